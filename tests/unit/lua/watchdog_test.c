#include "lua/watchdog.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <time.h>

struct sentry {
    struct watchdog *watchdog;
    struct watch watch;
    volatile sig_atomic_t spent;
    volatile sig_atomic_t twice;
};

static void sentry_overdue(void *argument, enum watch_deadline deadline, ucontext_t *context) {
    (void)context;
    struct sentry *sentry = argument;
    sentry->spent += deadline == WATCH_BUDGET_SPENT;
    sentry->twice += deadline == WATCH_BUDGET_TWICE;
}

static void sentry_open(struct sentry *sentry) {
    *sentry = (struct sentry){.spent = 0};
    struct error error = {.text = ""};
    sentry->watchdog = watchdog_create(1, NULL, &error);
    cr_assert_not_null(sentry->watchdog, "%s", error.text);
    cr_assert(watch_join(&sentry->watch, sentry->watchdog, &error), "%s", error.text);
}

static void sentry_close(struct sentry *sentry) {
    watch_leave(&sentry->watch);
    watchdog_destroy(sentry->watchdog);
}

static double clock_ms(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void enter(struct sentry *sentry, uint32_t budget_ms) {
    watch_enter(&sentry->watch, budget_ms, sentry_overdue, sentry);
}

static void burn(double cpu_ms) {
    double end_ms = clock_ms(CLOCK_THREAD_CPUTIME_ID) + cpu_ms;
    while (clock_ms(CLOCK_THREAD_CPUTIME_ID) < end_ms) {
    }
}

Test(watchdog, signals_at_the_budget_and_again_at_twice_of_it, .timeout = 10) {
    struct sentry sentry;
    sentry_open(&sentry);
    double before_ms = clock_ms(CLOCK_THREAD_CPUTIME_ID);
    enter(&sentry, 50);
    while (sentry.spent == 0) {
    }
    double spent_ms = clock_ms(CLOCK_THREAD_CPUTIME_ID) - before_ms;
    cr_assert_eq(sentry.twice, 0);
    while (sentry.twice < 3) {
    }
    double twice_ms = clock_ms(CLOCK_THREAD_CPUTIME_ID) - before_ms;
    watch_exit(&sentry.watch);
    cr_assert_geq(spent_ms, 50);
    cr_assert_geq(twice_ms, 100);
    sentry_close(&sentry);
}

/* Each entry gets its own budget, however soon it follows. */
Test(watchdog, leaves_alone_who_comes_out_in_time, .timeout = 10) {
    struct sentry sentry;
    sentry_open(&sentry);
    for (unsigned entry = 0; entry < 50; entry++) {
        enter(&sentry, 50);
        burn(4);
        watch_exit(&sentry.watch);
    }
    burn(100);
    cr_assert_eq(sentry.spent, 0);
    sentry_close(&sentry);
}

Test(watchdog, counts_the_time_on_the_processor_and_not_the_time_asleep, .timeout = 10) {
    struct sentry sentry;
    sentry_open(&sentry);
    enter(&sentry, 20);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    watch_exit(&sentry.watch);
    cr_assert_eq(sentry.spent, 0);
    sentry_close(&sentry);
}

Test(watchdog, sends_nothing_after_the_exit, .timeout = 10) {
    struct sentry sentry;
    sentry_open(&sentry);
    for (unsigned entry = 0; entry < 20; entry++) {
        sentry.spent = 0;
        enter(&sentry, 2);
        while (sentry.spent == 0) {
        }
        watch_exit(&sentry.watch);
        sig_atomic_t spent = sentry.spent;
        sig_atomic_t twice = sentry.twice;
        enter(&sentry, 1000);
        burn(5);
        watch_exit(&sentry.watch);
        cr_assert_eq(sentry.spent, spent);
        cr_assert_eq(sentry.twice, twice);
    }
    sentry_close(&sentry);
}

static void *second_thread(void *argument) {
    struct sentry *first = argument;
    struct sentry second = {.watchdog = first->watchdog};
    struct error error;
    if (!watch_join(&second.watch, second.watchdog, &error)) {
        return NULL;
    }
    enter(&second, 10);
    while (second.twice == 0) {
    }
    watch_exit(&second.watch);
    watch_leave(&second.watch);
    return argument;
}

Test(watchdog, watches_several_threads_at_once, .timeout = 10) {
    struct sentry sentry;
    sentry_open(&sentry);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, second_thread, &sentry), 0);
    enter(&sentry, 10);
    while (sentry.twice == 0) {
    }
    watch_exit(&sentry.watch);
    void *result;
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, &sentry);
    sentry_close(&sentry);
}

Test(watchdog, gives_the_signal_back, .timeout = 10) {
    struct sentry sentry;
    struct sigaction before;
    struct sigaction after;
    sigaction(SIGVTALRM, NULL, &before);
    sentry_open(&sentry);
    sentry_close(&sentry);
    sigaction(SIGVTALRM, NULL, &after);
    cr_assert_eq(before.sa_handler, after.sa_handler);
}
