/* The numbers that each worker keeps about itself, one sample a worker. They are read while it runs, from any thread:
 * no worker is asked for anything. */
#ifndef MOONRING_PROGRAM_WORKER_METRICS_H
#define MOONRING_PROGRAM_WORKER_METRICS_H

#include "engine/worker.h"
#include "program/exposition.h"

#include <stddef.h>
#include <stdint.h>

enum { WORKER_METRICS_MAX = 64 };

struct worker_numbers {
    uint64_t values[WORKER_METRICS_MAX]; /* by row of the table */
    uint64_t sessions_closed[CLOSE_REASONS];
    uint64_t access_lost;
    struct turns turns;
};

/* Adds what the worker has counted. */
void worker_numbers_add(struct worker_numbers *numbers, const struct worker *worker);
/* Sets what is not counted to how it is now. */
void worker_numbers_look(struct worker_numbers *numbers, const struct worker *worker);

/* The families, with a sample for each of the workers, numbered from 0. */
void worker_metrics_write(const struct worker_numbers *workers, size_t count, struct exposition *exposition);

#endif
