/* A thread for what takes long and may take long: reading a configuration, loading filters, taking them down. It has a
 * lower priority than the workers, which have traffic and perhaps share its processor, and is courteous
 * (program/courtesy.h). Whoever sends it waits, so nothing runs at the same time that would
 * not without it, but for what errand_set_meanwhile names. */
#ifndef MOONRING_PROGRAM_ERRAND_H
#define MOONRING_PROGRAM_ERRAND_H

#include "base/error.h"
#include "program/courtesy.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef void errand_fn(void *argument);
typedef void errand_meanwhile_fn(void *argument, bool apart);

struct errand {
    pthread_t thread;
    bool runs;                 /* the thread does */
    struct courtesy *courtesy; /* of the thread that sends it */
    sem_t asked;
    sem_t done;
    errand_fn *function; /* NULL: the thread is to end */
    void *argument;
    atomic_bool busy;               /* it was asked, and has not done it */
    errand_meanwhile_fn *meanwhile; /* NULL: nothing */
    void *meanwhile_argument;
};

/* Starts the thread. `courtesy` is that of the thread that will send it, and rests while that waits. errand_finish may
 * be called in any case, also for one that is all zero. */
bool errand_start(struct errand *errand, struct courtesy *courtesy, struct error *error);
void errand_finish(struct errand *errand);
/* Runs the function there, and waits until it has returned. Not to be called from there, nor from `meanwhile`. */
void errand_run(struct errand *errand, errand_fn *function, void *argument);
/* The same for one that goes well with what the waiting thread does else: it changes nothing that others see. */
void errand_run_apart(struct errand *errand, errand_fn *function, void *argument);
/* What both do fifty times a second, on the thread that waits, once an errand takes long; they tell it which of them it
 * is. NULL: nothing, as at first. */
void errand_set_meanwhile(struct errand *errand, errand_meanwhile_fn *meanwhile, void *argument);

#endif
