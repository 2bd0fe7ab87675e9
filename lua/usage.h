/* What filters did and cost, for whoever watches the program: counted for each filter, by its listener, its name and
 * its script, since it was configured first. A reload that keeps the filter loses no count; one that removes it ends
 * its row when its last session is over.
 *
 * To read it, from any thread and at any time: usages_visit. Nobody waits for that: each worker counts in cells of its
 * own, with relaxed stores of its thread alone, and the visit adds them up. */
#ifndef MOONRING_LUA_USAGE_H
#define MOONRING_LUA_USAGE_H

#include "engine/filter.h"
#include "lua/failure.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct usage;

/* The sums over all workers. */
struct usage_facts {
    const char *listener;
    const char *filter;
    const char *script;          /* as messages name it: relative to the configuration's folder where it lies below */
    uint64_t entered[HOOKS + 1]; /* by enum hook (hook_name): begun, or gone on after a wait */
    uint64_t errors;             /* raised and not caught */
    uint64_t over;               /* stopped: over the budget, or the memory limit */
    uint64_t kills;              /* of its VM, while it ran */
    uint64_t holds;              /* sessions in which it held more than hold_max, or for longer than hold_timeout */
    uint64_t busy_ns;            /* in its code. Of byte hooks, one of USAGE_SAMPLING is measured, and counts for all */
    uint64_t memory;             /* bytes; of its VMs, which filters share unless they have `isolate` or `jit: false` */
    uint32_t workers;            /* that it is loaded on */
    uint32_t workers_off;        /* of these, those that it is switched off on */
    struct failures *failures;   /* the same errors and so on, by the places in its scripts */
};

/* The texts are there during the call. */
typedef void usage_visit_fn(void *argument, const struct usage_facts *facts);
/* Visits every filter in the order in which they were configured first. visit must not call this file. */
void usages_visit(usage_visit_fn *visit, void *argument);

/* --- for the filters of a worker ---------------------------------------------------------------------------------- */

enum { USAGE_SAMPLING = 61 }; /* prime, so that what repeats is not always measured at the same place */

struct usage_cells {
    struct usage_cells *next; /* of the same filter on another worker */
    struct usage *usage;
    uint32_t worker;
    uint32_t users;      /* filters of it on that worker, of different generations */
    uint32_t unmeasured; /* byte hooks until one is measured */
    atomic_uint_fast64_t entered[HOOKS + 1];
    atomic_uint_fast64_t errors;
    atomic_uint_fast64_t over;
    atomic_uint_fast64_t kills;
    atomic_uint_fast64_t holds;
    atomic_uint_fast64_t busy_ns;
    atomic_uint_fast64_t memory;
    atomic_bool off;
};

/* The cells of a filter on a worker, to be given back. The texts are copied. NULL: not enough memory. */
struct usage_cells *usage_take(const char *listener, const char *filter, const char *script, uint32_t worker);
/* NULL is fine. */
void usage_give(struct usage_cells *cells);

/* Counts what went wrong, and where: place is as the log names it, `file:line`. By the worker's thread only. */
void usage_count_failure(struct usage_cells *cells, enum failure failure, const char *place, uint64_t now_us);

/* By the worker's thread only: no other one writes there. */
static inline void usage_add(atomic_uint_fast64_t *cell, uint64_t count) {
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + count, memory_order_relaxed);
}

static inline uint64_t usage_read(const atomic_uint_fast64_t *cell) {
    return atomic_load_explicit(cell, memory_order_relaxed);
}

#endif
