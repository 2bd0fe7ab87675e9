/* One run: one contestant under one workload, from its start to its end. */
#ifndef MOONRING_BENCH_MEASURE_H
#define MOONRING_BENCH_MEASURE_H

#include "base/error.h"
#include "tests/bench/contestant.h"
#include "tests/bench/ports.h"
#include "tests/bench/profile.h"
#include "tests/bench/workload.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOAD_CPU = 0 };

/* What a run has shown. Costs are in the workload's unit (workload_cost_name). */
struct sample {
    double units_per_s;
    double cost;           /* the contestant's, per unit of work (WORKLOAD_IDLE: memory per session) */
    double generator_cost; /* the generator's CPU per unit of work */
    /* What a kind of workload or a contestant does not tell is 0. */
    double p50_us;
    double p99_us; /* WORKLOAD_SLOW: the median of 24 windows' */
    double p999_us;
    double foreign_share;     /* of CPU 0 or 1, whichever is more, that went to others */
    double idle_cpu_us_per_s; /* WORKLOAD_IDLE: what the sessions cost while nothing happens, */
    double kernel_memory;     /* and slabs of the kernel for one, in bytes, the sockets of both its peers included */
    double plain_cost;        /* WORKLOAD_FILTER: without the filter */
    double p99_alone_us;      /* WORKLOAD_SLOW: the same, before there are slow readers */
    struct profile profile;   /* of workloads with is_profiled */
    /* Of moonring only: */
    double system_calls_per_unit;
    double submissions_per_turn;
    double completions_per_turn;
    double arms_per_million_receives;
    double arms_per_million_accepts;
};

bool measure(const struct workload *workload, const struct contestant *contestant,
             const struct contestant_program *program, struct ports *ports, double seconds, struct sample *sample,
             struct error *error);

#endif
