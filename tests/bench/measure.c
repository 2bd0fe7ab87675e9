#include "tests/bench/measure.h"

#include "tests/bench/clock.h"
#include "tests/bench/contestant_run.h"
#include "tests/bench/cpu.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/ring_usage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Memory per session is what the later sessions add: the first ones make pools, buffers and tables grow. */
enum { IDLE_SESSIONS_FIRST = 500 };
static const uint64_t WARM_UP_NS = 250000000;
static const uint64_t SETTLE_NS = 300000000;

/* Everything that is counted, at one moment. */
struct snapshot {
    uint64_t now_ns;
    uint64_t generator_ns;
    uint64_t generator_cpu_busy_ns;
    uint64_t proxy_cpu_busy_ns;
    uint64_t proxy_ns;
};

static struct snapshot snapshot_take(const struct contestant_run *run) {
    struct snapshot snapshot = {0};
    if (run->process.pid != 0) {
        snapshot.proxy_ns = process_cpu_ns(&run->process);
    }
    snapshot.generator_cpu_busy_ns = cpu_busy_ns(LOAD_CPU);
    snapshot.proxy_cpu_busy_ns = cpu_busy_ns(PROXY_CPU);
    snapshot.now_ns = clock_now_ns();
    snapshot.generator_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    return snapshot;
}

static void sleep_ns(uint64_t duration_ns) {
    nanosleep(
        &(struct timespec){.tv_sec = (time_t)(duration_ns / 1000000000), .tv_nsec = (long)(duration_ns % 1000000000)},
        NULL);
}

/* ---- traffic */

/* All 0 of one that does not tell. Asking costs it CPU time: not between two snapshots. */
static struct ring_usage run_ask_ring(const struct contestant_run *run) {
    char path[CONTESTANT_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/admin.sock", run->folder);
    return run->tells_ring ? ring_usage_ask(path) : (struct ring_usage){0};
}

static double quantile_us(const struct histogram *histogram, double share) {
    return (double)histogram_quantile_ns(histogram, share) / 1e3;
}

/* What others used of one CPU while the bench used `own_ns` of it. */
static double foreign_share(uint64_t busy_begin_ns, uint64_t busy_end_ns, double own_ns, double elapsed_ns) {
    double foreign_ns = (double)(busy_end_ns - busy_begin_ns) - own_ns;
    return foreign_ns > 0 ? foreign_ns / elapsed_ns : 0;
}

/* The larger share of the two CPUs; of a proxy that runs on both, the share of both together. */
static double sample_foreign_share(const struct contestant *contestant, const struct snapshot *begin,
                                   const struct snapshot *end) {
    double elapsed_ns = (double)(end->now_ns - begin->now_ns);
    double proxy_ns = (double)(end->proxy_ns - begin->proxy_ns);
    double generator_ns = (double)(end->generator_ns - begin->generator_ns);
    if (contestant->two_cpus) {
        uint64_t busy_begin_ns = begin->proxy_cpu_busy_ns + begin->generator_cpu_busy_ns;
        uint64_t busy_end_ns = end->proxy_cpu_busy_ns + end->generator_cpu_busy_ns;
        return foreign_share(busy_begin_ns, busy_end_ns, proxy_ns + generator_ns, 2 * elapsed_ns);
    }
    double of_proxy = foreign_share(begin->proxy_cpu_busy_ns, end->proxy_cpu_busy_ns, proxy_ns, elapsed_ns);
    double of_generator =
        foreign_share(begin->generator_cpu_busy_ns, end->generator_cpu_busy_ns, generator_ns, elapsed_ns);
    return of_proxy > of_generator ? of_proxy : of_generator;
}

static double per(uint64_t begin, uint64_t end, double divisor) {
    return divisor > 0 ? (double)(end - begin) / divisor : 0;
}

static void sample_note_ring(struct sample *sample, const struct ring_usage *begin, const struct ring_usage *end,
                             double units) {
    double turns = (double)(end->turns - begin->turns);
    double receives = (double)(end->receives - begin->receives);
    sample->system_calls_per_unit = per(begin->system_calls, end->system_calls, units);
    sample->submissions_per_turn = per(begin->submissions, end->submissions, turns);
    sample->completions_per_turn = per(begin->completions, end->completions, turns);
    sample->arms_per_million_receives = 1e6 * per(begin->receives_armed, end->receives_armed, receives);
}

static void sample_fill(struct sample *sample, const struct workload *workload, const struct contestant *contestant,
                        const struct load_counts *counts, const struct snapshot *begin, const struct snapshot *end) {
    double units = (double)counts->units;
    double elapsed_ns = (double)(end->now_ns - begin->now_ns);
    double proxy_ns = (double)(end->proxy_ns - begin->proxy_ns);
    double generator_ns = (double)(end->generator_ns - begin->generator_ns);
    *sample = (struct sample){
        .units_per_s = units / elapsed_ns * 1e9,
        .cost = workload_cost(workload, proxy_ns / units),
        .generator_cost = workload_cost(workload, generator_ns / units),
        .p50_us = quantile_us(&counts->latency, 0.5),
        .p99_us = quantile_us(&counts->latency, 0.99),
        .p999_us = quantile_us(&counts->latency, 0.999),
        .foreign_share = sample_foreign_share(contestant, begin, end),
    };
}

static bool measure_traffic(const struct workload *workload, const struct contestant *contestant, struct load *load,
                            const struct contestant_run *run, double seconds, struct sample *sample,
                            struct error *error) {
    if (!load_open(load, run->port, workload->plan.sessions, error) || !load_run(load, WARM_UP_NS, error)) {
        return false;
    }
    load_counts_clear(load);
    struct ring_usage ring_begin = run_ask_ring(run);
    struct snapshot begin = snapshot_take(run);
    if (!load_run(load, (uint64_t)(seconds * 1e9), error)) {
        return false;
    }
    struct snapshot end = snapshot_take(run);
    struct ring_usage ring_end = run_ask_ring(run);
    if (load_counts(load)->units == 0) {
        return error_set(error, "nothing was finished in %.1f s", seconds);
    }
    sample_fill(sample, workload, contestant, load_counts(load), &begin, &end);
    sample_note_ring(sample, &ring_begin, &ring_end, (double)load_counts(load)->units);
    return load_finish(load, error);
}

/* ---- idle sessions */

static bool measure_idle(const struct workload *workload, struct load *load, const struct contestant_run *run,
                         double seconds, struct sample *sample, struct error *error) {
    if (!load_open(load, run->port, IDLE_SESSIONS_FIRST, error)) {
        return false;
    }
    sleep_ns(SETTLE_NS);
    uint64_t memory_first = process_memory(&run->process);
    if (!load_open(load, run->port, workload->plan.sessions, error)) {
        return false;
    }
    sleep_ns(SETTLE_NS);
    uint64_t memory = process_memory(&run->process);
    struct snapshot begin = snapshot_take(run);
    sleep_ns((uint64_t)(seconds * 1e9));
    struct snapshot end = snapshot_take(run);
    double sessions = (double)(workload->plan.sessions - IDLE_SESSIONS_FIRST);
    double idle_s = (double)(end.now_ns - begin.now_ns) / 1e9;
    *sample = (struct sample){
        .cost = ((double)memory - (double)memory_first) / sessions,
        .idle_cpu_us_per_s = (double)(end.proxy_ns - begin.proxy_ns) / 1e3 / idle_s,
    };
    return true;
}

/* ---- a run */

static bool measure_running(const struct workload *workload, const struct contestant *contestant, struct load *load,
                            struct contestant_run *run, double seconds, struct sample *sample, struct error *error) {
    switch (workload->kind) {
    case WORKLOAD_TRAFFIC:
        return measure_traffic(workload, contestant, load, run, seconds, sample, error);
    case WORKLOAD_IDLE:
        return measure_idle(workload, load, run, seconds, sample, error);
    }
    return false;
}

bool measure(const struct workload *workload, const struct contestant *contestant,
             const struct contestant_program *program, struct ports *ports, double seconds, struct sample *sample,
             struct error *error) {
    uint16_t server_port = ports_take(ports, error);
    uint16_t port = ports_take(ports, error);
    if (server_port == 0 || port == 0) {
        return false;
    }
    struct load *load = load_create(&workload->plan, server_port, error);
    if (load == NULL) {
        return false;
    }
    struct contestant_run run;
    bool started = contestant_start(&run, contestant, workload, program, port, server_port, error);
    bool measured = started && measure_running(workload, contestant, load, &run, seconds, sample, error);
    if (started && !measured && !interrupt_pending()) {
        contestant_explain(&run, error);
    }
    load_destroy(load); /* first: a proxy that drains would wait for its sessions */
    if (started) {
        contestant_stop(&run);
    }
    return measured;
}
