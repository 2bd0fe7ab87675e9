/* The table of what is measured. */
#ifndef MOONRING_BENCH_WORKLOAD_H
#define MOONRING_BENCH_WORKLOAD_H

#include "tests/bench/load.h"

#include <stdbool.h>
#include <stddef.h>

enum workload_kind {
    WORKLOAD_TRAFFIC, /* CPU per unit of work */
    WORKLOAD_IDLE,    /* memory per session; `sessions` are open, each has exchanged one message */
};

struct workload {
    const char *name;
    const char *title;
    enum workload_kind kind;
    struct load_plan plan;
    bool only_full; /* left out unless asked for: --full or --only */
};

size_t workload_count(void);
const struct workload *workload_at(size_t index);

/* `requests/s`, `GB/s`, `conns/s`. */
const char *workload_rate_name(const struct workload *workload);
/* Units per second -> what workload_rate_name says. */
double workload_rate(const struct workload *workload, double units_per_s);
/* What one unit costs: `us/request`, `s/GB`, `us/connection`, `B/session`. */
const char *workload_cost_name(const struct workload *workload);
/* CPU nanoseconds per unit -> what workload_cost_name says. */
double workload_cost(const struct workload *workload, double cpu_ns_per_unit);

#endif
