#include "program/errand.h"

#include "base/check.h"
#include "engine/ring.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

/* Beside a worker that needs its whole processor this leaves some 10 %. */
enum { NICER_BY = 10 };
enum { MEANWHILE_MS = 20 };

static void semaphore_wait(sem_t *semaphore) {
    while (sem_wait(semaphore) < 0 && errno == EINTR) {
    }
}

static void *errand_loop(void *argument) {
    struct errand *errand = argument;
    struct courtesy courtesy;
    pthread_setname_np(pthread_self(), "errands");
    /* On Linux it is the calling thread's. Where it fails, reloads are felt more, and no more than that. */
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER_BY);
    courtesy_open(&courtesy);
    for (;;) {
        semaphore_wait(&errand->asked);
        if (errand->function == NULL) {
            courtesy_close(&courtesy);
            return NULL;
        }
        courtesy_begin(&courtesy);
        errand->function(errand->argument);
        courtesy_end(&courtesy);
        atomic_store(&errand->busy, false);
        sem_post(&errand->done);
    }
}

bool errand_start(struct errand *errand, struct courtesy *courtesy, struct error *error) {
    errand->courtesy = courtesy;
    check(sem_init(&errand->asked, 0, 0) == 0 && sem_init(&errand->done, 0, 0) == 0);
    int failure = pthread_create(&errand->thread, NULL, errand_loop, errand);
    errand->runs = failure == 0;
    if (!errand->runs) {
        sem_destroy(&errand->asked);
        sem_destroy(&errand->done);
        return error_set(error, "cannot start a thread for reloads: %s", error_name(failure));
    }
    return true;
}

void errand_finish(struct errand *errand) {
    if (errand->runs) {
        errand->function = NULL;
        sem_post(&errand->asked);
        pthread_join(errand->thread, NULL);
        sem_destroy(&errand->asked);
        sem_destroy(&errand->done);
        errand->runs = false;
    }
}

void errand_set_meanwhile(struct errand *errand, errand_meanwhile_fn *meanwhile, void *argument) {
    errand->meanwhile = meanwhile;
    errand->meanwhile_argument = argument;
}

/* False: not yet. */
static bool wait_a_while(struct errand *errand) {
    uint64_t at_ns = kernel_now_ns() + (uint64_t)MEANWHILE_MS * 1000000;
    const struct timespec until = {.tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000)};
    int result;
    do {
        result = sem_clockwait(&errand->done, CLOCK_MONOTONIC, &until);
    } while (result < 0 && errno == EINTR);
    return result == 0;
}

static void errand_do_meanwhile(struct errand *errand, bool apart) {
    if (errand->meanwhile != NULL) {
        courtesy_begin(errand->courtesy);
        errand->meanwhile(errand->meanwhile_argument, apart);
        courtesy_end(errand->courtesy);
    }
}

static void errand_send(struct errand *errand, errand_fn *function, void *argument, bool apart) {
    bool was_on = errand->courtesy->is_on;
    check(!atomic_load(&errand->busy)); /* nor while it waits for another one */
    courtesy_end(errand->courtesy);
    errand->function = function;
    errand->argument = argument;
    atomic_store(&errand->busy, true);
    sem_post(&errand->asked);
    while (!wait_a_while(errand)) {
        errand_do_meanwhile(errand, apart);
    }
    check(!atomic_load(&errand->busy)); /* (ThreadSanitizer knows nothing of sem_clockwait) */
    if (was_on) {
        courtesy_begin(errand->courtesy);
    }
}

void errand_run(struct errand *errand, errand_fn *function, void *argument) {
    errand_send(errand, function, argument, false);
}

void errand_run_apart(struct errand *errand, errand_fn *function, void *argument) {
    errand_send(errand, function, argument, true);
}
