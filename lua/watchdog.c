#include "lua/watchdog.h"

#include "base/check.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

/* Its default is to end the process, nobody else uses it, and its name says what it is: an alarm in CPU time. */
enum { WATCH_SIGNAL = SIGVTALRM };

/* How soon a signal is repeated. The second is often refused, when the thread is just in the unwinder or in libc. */
enum { AGAIN_NS = 1000000, TWICE_AGAIN_NS = 200000 };
enum { CALM_TICKS = 10 }; /* between two looks, at the most, while nobody runs a script */

struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    uint64_t tick_ns;
    struct watch *watches; /* guarded by lock, as are the rest of this struct and the watchdog's half of each watch */
    bool ending;
    struct sigaction old_action;
    void (*thread_begins)(void);
};

/* A signal handler has nothing else by which to find what its thread is doing. */
static _Thread_local struct watch *thread_watch;

static void watch_signalled(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    struct watch *watch = thread_watch;
    if (watch == NULL) {
        return;
    }
    uint_fast32_t entry = atomic_load_explicit(&watch->entry, memory_order_relaxed);
    /* The entry that it was sent for may be over, and the next one have begun. */
    if (entry % 2 == 1 && entry == atomic_load_explicit(&watch->overdue_entry, memory_order_acquire)) {
        int saved_errno = errno;
        watch->overdue(watch->argument, (enum watch_deadline)atomic_load(&watch->deadline), context);
        errno = saved_errno;
    }
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec time = {0};
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void watch_signal(struct watch *watch, uint_fast32_t entry, enum watch_deadline deadline) {
    atomic_store(&watch->deadline, (int)deadline);
    atomic_store_explicit(&watch->overdue_entry, entry, memory_order_release);
    pthread_kill(watch->thread, WATCH_SIGNAL);
}

/* Signals the thread if it is overdue. Returns in how many nanoseconds to look again, at the latest. */
static uint64_t watch_look(struct watch *watch, uint64_t tick_ns) {
    uint_fast32_t entry = atomic_load_explicit(&watch->entry, memory_order_acquire);
    if (entry % 2 == 0) {
        return tick_ns;
    }
    uint64_t cpu_ns = clock_ns(watch->clock);
    if (entry != watch->seen_entry) {
        watch->seen_entry = entry;
        watch->since_cpu_ns = cpu_ns;
        watch->asked = false;
    }
    uint64_t spent_ns = cpu_ns - watch->since_cpu_ns;
    uint64_t budget_ns = (uint64_t)atomic_load_explicit(&watch->budget_ms, memory_order_relaxed) * 1000000;
    if (!watch->asked && spent_ns < budget_ns) {
        return budget_ns - spent_ns;
    }
    if (watch->asked && spent_ns >= budget_ns) {
        watch_signal(watch, entry, WATCH_BUDGET_TWICE);
        return TWICE_AGAIN_NS;
    }
    if (!watch->asked) {
        watch->asked = true; /* and however late that is, it gets another budget to come to its end */
        watch->since_cpu_ns = cpu_ns;
    }
    watch_signal(watch, entry, WATCH_BUDGET_SPENT);
    return AGAIN_NS;
}

static void watchdog_sleep(struct watchdog *watchdog, uint64_t sleep_ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t end_ns = (uint64_t)until.tv_nsec + sleep_ns;
    until.tv_sec += (time_t)(end_ns / 1000000000);
    until.tv_nsec = (long)(end_ns % 1000000000);
    pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &until);
}

/* Since the look before. */
static bool watch_was_entered(struct watch *watch) {
    uint_fast32_t entry = atomic_load_explicit(&watch->entry, memory_order_relaxed);
    bool was_entered = entry != watch->looked_entry || entry % 2 != 0;
    watch->looked_entry = entry;
    return was_entered;
}

/* Where no script runs there is little to look for. */
static uint64_t longer(uint64_t calm_ns, uint64_t tick_ns) {
    return calm_ns * 2 < tick_ns * CALM_TICKS ? calm_ns * 2 : tick_ns * CALM_TICKS;
}

static void *watchdog_run(void *argument) {
    struct watchdog *watchdog = argument;
    if (watchdog->thread_begins != NULL) {
        watchdog->thread_begins();
    }
    pthread_mutex_lock(&watchdog->lock);
    uint64_t calm_ns = watchdog->tick_ns;
    while (!watchdog->ending) {
        bool is_calm = true;
        uint64_t sleep_ns = calm_ns;
        for (struct watch *watch = watchdog->watches; watch != NULL; watch = watch->next) {
            is_calm = is_calm && !watch_was_entered(watch);
            uint64_t watch_ns = watch_look(watch, calm_ns);
            sleep_ns = watch_ns < sleep_ns ? watch_ns : sleep_ns;
        }
        calm_ns = is_calm ? longer(calm_ns, watchdog->tick_ns) : watchdog->tick_ns;
        watchdog_sleep(watchdog, sleep_ns);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

static int watchdog_start(struct watchdog *watchdog) {
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* the process' signals are not for the new thread */
    int result = pthread_create(&watchdog->thread, NULL, watchdog_run, watchdog);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}

struct watchdog *watchdog_create(uint32_t tick_ms, void (*thread_begins)(void), struct error *error) {
    struct watchdog *watchdog = malloc(sizeof(*watchdog));
    if (watchdog == NULL) {
        error_set(error, "watchdog: not enough memory");
        return NULL;
    }
    *watchdog = (struct watchdog){.tick_ns = (uint64_t)tick_ms * 1000000, .thread_begins = thread_begins};
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watchdog->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    struct sigaction action = {.sa_sigaction = watch_signalled, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    sigaction(WATCH_SIGNAL, &action, &watchdog->old_action);
    int result = watchdog_start(watchdog);
    if (result != 0) {
        error_set(error, "watchdog: cannot start its thread: %s", error_name(result));
        sigaction(WATCH_SIGNAL, &watchdog->old_action, NULL);
        free(watchdog);
        return NULL;
    }
    return watchdog;
}

void watchdog_destroy(struct watchdog *watchdog) {
    if (watchdog == NULL) {
        return;
    }
    check(watchdog->watches == NULL);
    pthread_mutex_lock(&watchdog->lock);
    watchdog->ending = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    sigaction(WATCH_SIGNAL, &watchdog->old_action, NULL);
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->lock);
    free(watchdog);
}

bool watch_join(struct watch *watch, struct watchdog *watchdog, struct error *error) {
    check(thread_watch == NULL);
    *watch = (struct watch){.thread = pthread_self(), .watchdog = watchdog};
    int result = pthread_getcpuclockid(watch->thread, &watch->clock);
    if (result != 0) {
        return error_set(error, "watchdog: cannot watch a thread: %s", error_name(result));
    }
    thread_watch = watch;
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, WATCH_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    pthread_mutex_lock(&watchdog->lock);
    watch->next = watchdog->watches;
    watchdog->watches = watch;
    pthread_mutex_unlock(&watchdog->lock);
    return true;
}

void watch_leave(struct watch *watch) {
    check(thread_watch == watch);
    struct watchdog *watchdog = watch->watchdog;
    pthread_mutex_lock(&watchdog->lock);
    for (struct watch **at = &watchdog->watches; *at != NULL; at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            break;
        }
    }
    pthread_mutex_unlock(&watchdog->lock);
    thread_watch = NULL;
}
