#include "program/errand.h"

#include "base/check.h"

#include <errno.h>
#include <sys/resource.h>

/* Beside a worker that needs its whole processor this leaves some 10 %. */
enum { NICER_BY = 10 };

static void semaphore_wait(sem_t *semaphore) {
    while (sem_wait(semaphore) < 0 && errno == EINTR) {
    }
}

static void *errand_loop(void *argument) {
    struct errand *errand = argument;
    pthread_setname_np(pthread_self(), "errands");
    /* On Linux it is the calling thread's. Where it fails, reloads are felt more, and no more than that. */
    setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER_BY);
    for (;;) {
        semaphore_wait(&errand->asked);
        if (errand->function == NULL) {
            return NULL;
        }
        errand->function(errand->argument);
        sem_post(&errand->done);
    }
}

bool errand_start(struct errand *errand, struct error *error) {
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

void errand_run(struct errand *errand, errand_fn *function, void *argument) {
    errand->function = function;
    errand->argument = argument;
    sem_post(&errand->asked);
    semaphore_wait(&errand->done);
}
