/* What a bench shows: tables for people, JSON for programs. */
#ifndef MOONRING_BENCH_REPORT_H
#define MOONRING_BENCH_REPORT_H

#include "base/bytes.h"
#include "base/error.h"
#include "tests/bench/contestant.h"
#include "tests/bench/machine.h"
#include "tests/bench/measure.h"
#include "tests/bench/workload.h"

#include <stddef.h>

enum { ROUNDS_MAX = 64 };

/* One contestant that takes part. */
struct entry {
    const struct contestant *contestant;
    struct contestant_program program;
};

/* One contestant under one workload, round by round. */
struct result {
    const struct workload *workload;
    const struct contestant *contestant;
    struct sample samples[ROUNDS_MAX];
    size_t samples_count;
    struct error problem; /* empty text: none; else no round after it */
};

/* Everything that was measured. Results of one workload stand together; the first contestant of each is the one that
 * the others are compared with. */
struct report {
    struct machine machine;
    const struct entry *entries;
    size_t entries_count;
    const struct result *results;
    size_t results_count;
    struct bytes notes; /* lines for the head */
    size_t rounds;
    double seconds;
};

/* Units per second, the median of its rounds; 0: it has none. */
double result_rate(const struct result *result);

void report_print_head(const struct report *report);
/* The table of the workload that results[first] belongs to; for filters also what each adds. */
void report_print_workload(const struct report *report, size_t first);
/* All ratios between proxies once more, side by side. */
void report_print_summary(const struct report *report);
void report_json(const struct report *report, struct bytes *json);

#endif
