#include "program/errand.h"

#include <criterion/criterion.h>
#include <sys/resource.h>

struct seen {
    pthread_t thread;
    int priority;
    int times;
};

static void look(void *argument) {
    struct seen *seen = argument;
    seen->thread = pthread_self();
    seen->priority = getpriority(PRIO_PROCESS, 0);
    seen->times++;
}

Test(errand, runs_on_a_thread_of_lower_priority_while_the_caller_waits, .timeout = 10) {
    struct errand errand = {.runs = false};
    struct courtesy courtesy = {.is_open = false};
    struct error error;
    struct seen seen = {.times = 0};
    int priority = getpriority(PRIO_PROCESS, 0);
    cr_assert(errand_start(&errand, &courtesy, &error), "%s", error.text);
    errand_run(&errand, look, &seen);
    cr_assert_eq(seen.times, 1);
    errand_run(&errand, look, &seen);
    cr_assert_eq(seen.times, 2);
    cr_assert_not(pthread_equal(seen.thread, pthread_self()));
    cr_assert_gt(seen.priority, priority);
    cr_assert_eq(getpriority(PRIO_PROCESS, 0), priority);
    errand_finish(&errand);
}

struct patience {
    sem_t enough;
    pthread_t thread;
    bool apart;
};

static void wait_for_patience(void *argument) {
    struct patience *patience = argument;
    while (sem_wait(&patience->enough) < 0) {
    }
}

static void be_patient(void *argument, bool apart) {
    struct patience *patience = argument;
    patience->apart = apart;
    patience->thread = pthread_self();
    sem_post(&patience->enough);
}

Test(errand, that_takes_long_leaves_the_caller_time_for_something_else, .timeout = 10) {
    struct errand errand = {.runs = false};
    struct courtesy courtesy = {.is_open = false};
    struct error error;
    struct patience patience;
    cr_assert_eq(sem_init(&patience.enough, 0, 0), 0);
    cr_assert(errand_start(&errand, &courtesy, &error), "%s", error.text);
    errand_set_meanwhile(&errand, be_patient, &patience);
    errand_run(&errand, wait_for_patience, &patience);
    cr_assert(pthread_equal(patience.thread, pthread_self()));
    cr_assert_not(patience.apart);
    errand_run_apart(&errand, wait_for_patience, &patience);
    cr_assert(patience.apart);
    errand_finish(&errand);
    sem_destroy(&patience.enough);
}

Test(errand, that_never_started_may_be_finished, .timeout = 10) {
    struct errand errand = {.runs = false};
    errand_finish(&errand);
    cr_assert_not(errand.runs);
}
