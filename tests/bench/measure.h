/* One run: one contestant under one workload, from its start to its end. */
#ifndef MOONRING_BENCH_MEASURE_H
#define MOONRING_BENCH_MEASURE_H

#include "base/error.h"
#include "tests/bench/contestant.h"
#include "tests/bench/ports.h"
#include "tests/bench/workload.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOAD_CPU = 0 };

/* What a run has shown. Costs are in the workload's unit (workload_cost_name). */
struct sample {
    double units_per_s;
    double cost;           /* the contestant's, per unit of work (WORKLOAD_IDLE: memory per session) */
    double generator_cost; /* the generator's CPU per unit of work; 0 in WORKLOAD_IDLE */
    double p50_us;
    double p99_us;
    double p999_us;
    double foreign_share;     /* of CPU 0 or 1, whichever is more, that went to others */
    double idle_cpu_us_per_s; /* WORKLOAD_IDLE only: what the sessions cost while nothing happens */
    /* Of a contestant that tells how it uses its ring; else 0: */
    double system_calls_per_unit;
    double submissions_per_turn;
    double completions_per_turn;
    double arms_per_million_receives;
};

bool measure(const struct workload *workload, const struct contestant *contestant,
             const struct contestant_program *program, struct ports *ports, double seconds, struct sample *sample,
             struct error *error);

#endif
