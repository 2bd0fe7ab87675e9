/* One thread that notices when a worker stays inside Lua for too long, and signals that worker: the CPU budget.
 *
 * Entering and leaving cost the worker one store each, to a cache line of its own: the watchdog looks at those lines
 * now and then, and reads the CPU clock of a worker only when it finds it inside. Its first look at an entry starts
 * that entry's budget, so an entry gets its whole budget and at most a tick more, or ten ticks when nothing had been
 * entered for a while. */
#ifndef MOONRING_LUA_WATCHDOG_H
#define MOONRING_LUA_WATCHDOG_H

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

struct watchdog;

enum watch_deadline {
    WATCH_BUDGET_SPENT = 1, /* the budget is over: ask for an end. Comes again and again, until: */
    WATCH_BUDGET_TWICE = 2, /* another budget is over since: make an end. Comes again and again, too */
};

/* Runs in a signal handler on the watched thread, between two arbitrary instructions of what was entered; `context` is
 * where that thread goes on. */
typedef void watch_overdue_fn(void *argument, enum watch_deadline deadline, ucontext_t *context);

/* A thread that is watched. */
struct watch {
    _Alignas(64) atomic_uint_fast32_t entry; /* odd while inside; written by the watched thread only */
    atomic_uint_fast32_t budget_ms;
    watch_overdue_fn *overdue;
    void *argument;
    uint32_t kills; /* VMs that had to be stopped by force on this thread */

    _Alignas(64) atomic_uint_fast32_t overdue_entry; /* the watchdog's from here on: which entry the signal is for */
    atomic_int deadline;
    uint_fast32_t seen_entry;
    uint_fast32_t looked_entry;
    bool asked;            /* this entry was asked to end */
    uint64_t since_cpu_ns; /* the thread's CPU time when it was, or when the entry was first seen */
    clockid_t clock;
    pthread_t thread;
    struct watchdog *watchdog;
    struct watch *next;
};

/* Starts the thread and takes over SIGVTALRM for the process. tick_ms: how often it looks. thread_begins: called first
 * on that thread, to give up rights; NULL: nothing to do. */
struct watchdog *watchdog_create(uint32_t tick_ms, void (*thread_begins)(void), struct error *error);
/* Every watch must have left. NULL is fine. */
void watchdog_destroy(struct watchdog *watchdog);

/* The calling thread is watched from now on, until it calls watch_leave. It may do so once at a time. */
bool watch_join(struct watch *watch, struct watchdog *watchdog, struct error *error);
void watch_leave(struct watch *watch);

/* Brackets what must end within budget_ms of CPU time; not to be nested. `overdue` may come at any instruction between.
 */
static inline void watch_enter(struct watch *watch, uint32_t budget_ms, watch_overdue_fn *overdue, void *argument) {
    watch->overdue = overdue;
    watch->argument = argument;
    atomic_store_explicit(&watch->budget_ms, budget_ms, memory_order_relaxed);
    atomic_store_explicit(&watch->entry, atomic_load_explicit(&watch->entry, memory_order_relaxed) + 1,
                          memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void watch_exit(struct watch *watch) {
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&watch->entry, atomic_load_explicit(&watch->entry, memory_order_relaxed) + 1,
                          memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

#endif
