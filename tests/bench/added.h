/* What a filter adds to the cost of a unit of work: with it less without it, in one process, round by round. */
#ifndef MOONRING_BENCH_ADDED_H
#define MOONRING_BENCH_ADDED_H

#include "tests/bench/report.h"
#include "tests/bench/statistics.h"

#include <stdbool.h>
#include <stddef.h>

struct added {
    struct spread cost;     /* in the unit of workload_cost_name */
    struct spread chunk_us; /* for each chunk that the filter sees */
};

/* False when `result` is not one of a filter, or has no round. */
bool added_find(const struct result *result, struct added *added);
/* A table for the workload that results[first] belongs to. */
void added_print(const struct report *report, size_t first);

#endif
