/* The table of what is measured. */
#ifndef MOONRING_BENCH_WORKLOAD_H
#define MOONRING_BENCH_WORKLOAD_H

#include "tests/bench/load.h"

#include <stdbool.h>
#include <stddef.h>

enum workload_kind {
    WORKLOAD_TRAFFIC, /* CPU per unit of work */
    WORKLOAD_IDLE,    /* memory per session; `sessions` are open, each has exchanged one message */
    WORKLOAD_FILTER,  /* the same traffic in turns with a filter and without it, in one process */
    WORKLOAD_SLOW,    /* latency beside plan.slow_sessions whose clients read slowly, and without those */
    WORKLOAD_START,   /* milliseconds from the program's start to the first answer */
};

/* What is compared. */
enum contest {
    CONTEST_PROXIES, /* programs with each other, all without filters */
    CONTEST_FILTERS, /* each program with its filters and without */
    CONTEST_TAIL,    /* latency at shares of the load that the slowest program reaches */
    CONTEST_SLOW,    /* latency beside slow readers */
    CONTEST_PROFILE, /* where the CPU time goes */
    CONTEST_START,   /* how soon a program serves */
    CONTEST_WORKERS, /* programs with two workers */
    CONTEST_RING,    /* moonring's ways to use its ring */
    CONTEST_CURVES,  /* one figure against a quantity that grows */
};
enum { CONTESTS = CONTEST_CURVES + 1 };

struct workload {
    const char *name;
    const char *title;
    enum workload_kind kind;
    enum contest contest;
    struct load_plan plan;
    size_t rounds_more;     /* than the others, unless those have just one */
    size_t seconds_times;   /* as long as the others, times this; 0 is 1 */
    unsigned reach_percent; /* paced at this share of the reach; 0: as planned */
    bool finds_reach;       /* what its slowest program does is the reach */
    bool is_profiled;       /* perf tells whose code takes the time */
    bool has_pauses;        /* a proxy sleeps between its requests, unless it spins: `spins` of contestants */
    bool only_full;         /* left out unless asked for: --full or --only */
    bool only_named;        /* left out unless --only names it or its contest */
    size_t listeners;       /* that the proxy has, one of which is used; 0 is 1 */
    size_t servers;         /* that its upstream has; 0 is 1 */
};

size_t workload_count(void);
const struct workload *workload_at(size_t index);

/* `proxies`, `filters`, ...: a name for all workloads of a contest. */
const char *contest_name(enum contest contest);

/* `requests/s`, `GB/s`, `conns/s`. */
const char *workload_rate_name(const struct workload *workload);
/* Units per second -> what workload_rate_name says. */
double workload_rate(const struct workload *workload, double units_per_s);
/* What one unit costs: `us/request`, `s/GB`, `us/connection`, `B/session`, `ms`. */
const char *workload_cost_name(const struct workload *workload);
/* CPU nanoseconds per unit -> what workload_cost_name says. */
double workload_cost(const struct workload *workload, double cpu_ns_per_unit);
/* A cost in the unit of workload_cost_name -> microseconds for each chunk (what a proxy receives at a time) that a
 * filter sees: of a request one each way, or with `one_way` only the client's; in bulk each 16 KiB. 0 where none are
 * counted. */
double workload_chunk_us(const struct workload *workload, double cost, bool one_way);

#endif
