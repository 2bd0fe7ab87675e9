#include "tests/bench/measure.h"

#include "tests/bench/clock.h"
#include "tests/bench/contestant_run.h"
#include "tests/bench/cpu.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/machine.h"
#include "tests/bench/ring_usage.h"
#include "tests/bench/statistics.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Memory per session is what the later sessions add: the first ones make pools, buffers and tables grow. */
enum { IDLE_SESSIONS_FIRST = 500, PROFILES_MAX = 3 };
/* A stall of the machine is in one window or two; the median of all of them does not see it. */
enum { WINDOWS = 24, WINDOWS_A_SECOND = 10 };
static const uint64_t WARM_UP_NS = 250000000;
static const uint64_t SETTLE_NS = 300000000;
/* Long enough for caches to warm, short enough that nothing drifts from a turn to the next. */
static const uint64_t TURN_NS = 50000000;

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

/* All 0 of one that does not tell. Asking costs it CPU time, and those who wait meanwhile: it is done where nothing
 * else is compared, and not between two snapshots. */
static struct ring_usage run_ask_ring(const struct contestant_run *run, const struct workload *workload) {
    char path[CONTESTANT_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/admin.sock", run->folder);
    bool is_asked = run->tells_ring && workload->contest == CONTEST_RING;
    return is_asked ? ring_usage_ask(path) : (struct ring_usage){0};
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
    sample->arms_per_million_accepts =
        1e6 * per(begin->accepts_armed, end->accepts_armed, (double)(end->accepts - begin->accepts));
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

/* Of a load that runs. */
static bool measure_running(const struct workload *workload, const struct contestant *contestant, struct load *load,
                            const struct contestant_run *run, double seconds, struct sample *sample,
                            struct error *error) {
    load_counts_clear(load);
    struct ring_usage ring_begin = run_ask_ring(run, workload);
    struct snapshot begin = snapshot_take(run);
    if (!load_run(load, (uint64_t)(seconds * 1e9), error)) {
        return false;
    }
    struct snapshot end = snapshot_take(run);
    struct ring_usage ring_end = run_ask_ring(run, workload);
    if (load_counts(load)->units == 0) {
        return error_set(error, "nothing was finished in %.1f s", seconds);
    }
    sample_fill(sample, workload, contestant, load_counts(load), &begin, &end);
    sample_note_ring(sample, &ring_begin, &ring_end, (double)load_counts(load)->units);
    return true;
}

/* Each session has had its turn when that is over. */
static uint64_t warm_up_ns(const struct load_plan *plan) {
    uint64_t cycle_ns = plan->requests_per_s == 0 ? 0 : plan->sessions * UINT64_C(1000000000) / plan->requests_per_s;
    return cycle_ns > WARM_UP_NS ? cycle_ns : WARM_UP_NS;
}

static bool load_warm_up(struct load *load, const struct workload *workload, uint16_t port, struct error *error) {
    return load_open(load, port, workload->plan.sessions, error) && load_run(load, warm_up_ns(&workload->plan), error);
}

static bool measure_traffic(const struct workload *workload, const struct contestant *contestant, struct load *load,
                            const struct contestant_run *run, double seconds, struct sample *sample,
                            struct error *error) {
    return load_warm_up(load, workload, run->ports.listen, error) &&
           measure_running(workload, contestant, load, run, seconds, sample, error) && load_finish(load, error);
}

/* perf looks from the start of the traffic to its end. */
static bool measure_with_profiler(const struct workload *workload, const struct contestant *contestant,
                                  struct load *load, const struct contestant_run *run, double seconds,
                                  struct sample *sample, struct error *error) {
    struct profiler profiler;
    if (!profiler_start(&profiler, &run->process, run->program_path, run->folder, error)) {
        return false;
    }
    bool measured = measure_traffic(workload, contestant, load, run, seconds, sample, error);
    profiler_stop(&profiler, measured ? &sample->profile : NULL);
    return measured;
}

/* An empty profile is taken again, a few times. */
static bool measure_profiled(const struct workload *workload, const struct contestant *contestant, struct load *load,
                             const struct contestant_run *run, double seconds, struct sample *sample,
                             struct error *error) {
    for (size_t try = 0; try < PROFILES_MAX; try++) {
        if (!measure_with_profiler(workload, contestant, load, run, seconds, sample, error)) {
            return false;
        }
        if (!profile_is_empty(&sample->profile)) {
            return true;
        }
    }
    return error_set(error, "perf has recorded nothing, %d times", PROFILES_MAX);
}

/* The p99 of what is answered within a window; its whole length where nothing is. */
static bool window_run(struct load *load, uint64_t window_ns, double *p99_us, struct error *error) {
    struct histogram earlier = load_counts(load)->latency;
    if (!load_run(load, window_ns, error)) {
        return false;
    }
    struct histogram latency = load_counts(load)->latency;
    histogram_subtract(&latency, &earlier);
    *p99_us = latency.count > 0 ? quantile_us(&latency, 0.99) : (double)window_ns / 1e3;
    return true;
}

/* As measure_running, but the p99 is the median of those of the windows. `seconds` are ten of them. */
static bool measure_windows(const struct workload *workload, const struct contestant *contestant, struct load *load,
                            const struct contestant_run *run, double seconds, struct sample *sample,
                            struct error *error) {
    double p99_us[WINDOWS];
    load_counts_clear(load);
    struct snapshot begin = snapshot_take(run);
    for (size_t i = 0; i < WINDOWS; i++) {
        if (!window_run(load, (uint64_t)(seconds * 1e9 / WINDOWS_A_SECOND), &p99_us[i], error)) {
            return false;
        }
    }
    struct snapshot end = snapshot_take(run);
    if (load_counts(load)->units == 0) {
        return error_set(error, "nothing was finished in %d windows", WINDOWS);
    }
    sample_fill(sample, workload, contestant, load_counts(load), &begin, &end);
    sample->p99_us = spread_of(p99_us, WINDOWS).median;
    return true;
}

/* The same sessions twice: as long as the slow half is silent, and beside what it makes the proxy hold. */
static bool measure_slow(const struct workload *workload, const struct contestant *contestant, struct load *load,
                         const struct contestant_run *run, double seconds, struct sample *sample, struct error *error) {
    struct sample alone;
    if (!load_warm_up(load, workload, run->ports.listen, error) ||
        !measure_windows(workload, contestant, load, run, seconds, &alone, error)) {
        return false;
    }
    load_slow_begin(load);
    if (!load_run(load, SETTLE_NS, error) ||
        !measure_windows(workload, contestant, load, run, seconds, sample, error)) {
        return false;
    }
    sample->p99_alone_us = alone.p99_us;
    if (load_counts(load)->slow_bytes == 0) {
        return error_set(error, "the slow readers got nothing in %d windows", WINDOWS);
    }
    return load_finish(load, error);
}

/* ---- filters */

/* One of the two listeners of a contestant with a filter, and its own load. */
struct side {
    struct load *load;
    uint64_t proxy_ns;
    uint64_t generator_ns;
};

/* What was begun is finished in the same turn, so that all of it is counted there. */
static bool side_take_turn(struct side *side, const struct contestant_run *run, struct error *error) {
    uint64_t proxy_ns = process_cpu_ns(&run->process);
    uint64_t generator_ns = clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
    if (!load_run(side->load, TURN_NS, error) || !load_finish(side->load, error)) {
        return false;
    }
    side->proxy_ns += process_cpu_ns(&run->process) - proxy_ns;
    side->generator_ns += clock_read_ns(CLOCK_THREAD_CPUTIME_ID) - generator_ns;
    return true;
}

/* A filter adds little to a lot. In one process, and in turns, nothing else differs: neither where its memory lies nor
 * what the machine does meanwhile. Who begins alternates, too. */
static bool sides_take_turns(struct side sides[2], const struct contestant_run *run, double seconds,
                             struct error *error) {
    size_t turns = (size_t)(seconds * 1e9) / (2 * TURN_NS);
    for (size_t turn = 0; turn < 2 * turns; turn++) {
        size_t pair = turn / 2;
        if (!side_take_turn(&sides[(turn + pair) % 2], run, error)) {
            return false;
        }
    }
    return true;
}

static bool side_begin(const struct side *side, const struct workload *workload, uint16_t port, struct error *error) {
    bool warm = load_warm_up(side->load, workload, port, error) && load_finish(side->load, error);
    load_counts_clear(side->load);
    return warm;
}

static double side_cost(const struct side *side, const struct workload *workload, uint64_t cpu_ns) {
    return workload_cost(workload, (double)cpu_ns / (double)load_counts(side->load)->units);
}

static bool measure_filter(const struct workload *workload, const struct contestant *contestant, struct load *load,
                           struct load *plain_load, const struct contestant_run *run, double seconds,
                           struct sample *sample, struct error *error) {
    struct side sides[2] = {{.load = load}, {.load = plain_load}};
    if (!side_begin(&sides[0], workload, run->ports.listen, error) ||
        !side_begin(&sides[1], workload, run->ports.plain, error)) {
        return false;
    }
    struct snapshot begin = snapshot_take(run);
    if (!sides_take_turns(sides, run, seconds, error)) {
        return false;
    }
    struct snapshot end = snapshot_take(run);
    sample_fill(sample, workload, contestant, load_counts(load), &begin, &end);
    sample->units_per_s *= 2; /* it had half of the time */
    sample->cost = side_cost(&sides[0], workload, sides[0].proxy_ns);
    sample->generator_cost = side_cost(&sides[0], workload, sides[0].generator_ns);
    sample->plain_cost = side_cost(&sides[1], workload, sides[1].proxy_ns);
    return true;
}

/* ---- idle sessions */

static bool measure_idle(const struct workload *workload, struct load *load, const struct contestant_run *run,
                         double seconds, struct sample *sample, struct error *error) {
    if (!load_open(load, run->ports.listen, IDLE_SESSIONS_FIRST, error)) {
        return false;
    }
    sleep_ns(SETTLE_NS);
    uint64_t memory_first = process_memory(&run->process);
    uint64_t slabs_first = machine_slab_memory();
    if (!load_open(load, run->ports.listen, workload->plan.sessions, error)) {
        return false;
    }
    sleep_ns(SETTLE_NS);
    uint64_t memory = process_memory(&run->process);
    uint64_t slabs = machine_slab_memory();
    struct snapshot begin = snapshot_take(run);
    sleep_ns((uint64_t)(seconds * 1e9));
    struct snapshot end = snapshot_take(run);
    double sessions = (double)(workload->plan.sessions - IDLE_SESSIONS_FIRST);
    double idle_s = (double)(end.now_ns - begin.now_ns) / 1e9;
    *sample = (struct sample){
        .cost = ((double)memory - (double)memory_first) / sessions,
        .kernel_memory = ((double)slabs - (double)slabs_first) / sessions,
        .idle_cpu_us_per_s = (double)(end.proxy_ns - begin.proxy_ns) / 1e3 / idle_s,
    };
    return true;
}

/* ---- starting */

static bool measure_start(struct load *load, const struct contestant_run *run, struct sample *sample,
                          struct error *error) {
    if (!load_open(load, run->ports.listen, 1, error)) {
        return false;
    }
    *sample = (struct sample){.cost = (double)(clock_now_ns() - run->started_ns) / 1e6};
    return load_finish(load, error);
}

/* ---- a run */

/* What is there while a contestant is measured. */
struct stage {
    const struct workload *workload;
    const struct contestant *contestant;
    struct contestant_ports ports;
    struct load *load;       /* ours */
    struct load *plain_load; /* ours; of workloads of filters */
    struct contestant_run run;
    double seconds;
};

static bool stage_measure(struct stage *stage, struct sample *sample, struct error *error) {
    const struct workload *workload = stage->workload;
    const struct contestant *contestant = stage->contestant;
    switch (workload->kind) {
    case WORKLOAD_TRAFFIC:
        return (workload->is_profiled ? measure_profiled : measure_traffic)(workload, contestant, stage->load,
                                                                            &stage->run, stage->seconds, sample, error);
    case WORKLOAD_IDLE:
        return measure_idle(workload, stage->load, &stage->run, stage->seconds, sample, error);
    case WORKLOAD_FILTER:
        return measure_filter(workload, contestant, stage->load, stage->plain_load, &stage->run, stage->seconds, sample,
                              error);
    case WORKLOAD_SLOW:
        return measure_slow(workload, contestant, stage->load, &stage->run, stage->seconds, sample, error);
    case WORKLOAD_START:
        return measure_start(stage->load, &stage->run, sample, error);
    }
    return false;
}

static bool stage_set(struct stage *stage, struct ports *ports, struct error *error) {
    uint16_t *const wanted[] = {&stage->ports.server, &stage->ports.listen, &stage->ports.plain_server,
                                &stage->ports.plain};
    size_t count = stage->workload->kind == WORKLOAD_FILTER ? 4 : 2;
    for (size_t i = 0; i < count; i++) {
        *wanted[i] = ports_take(ports, error);
        if (*wanted[i] == 0) {
            return false;
        }
    }
    stage->load = load_create(&stage->workload->plan, stage->ports.server, error);
    if (stage->load == NULL || count == 2) {
        return stage->load != NULL;
    }
    stage->plain_load = load_create(&stage->workload->plan, stage->ports.plain_server, error);
    return stage->plain_load != NULL;
}

bool measure(const struct workload *workload, const struct contestant *contestant,
             const struct contestant_program *program, struct ports *ports, double seconds, struct sample *sample,
             struct error *error) {
    struct stage stage = {.workload = workload, .contestant = contestant};
    stage.seconds = seconds * (double)(workload->seconds_times > 0 ? workload->seconds_times : 1);
    bool started = stage_set(&stage, ports, error) &&
                   contestant_start(&stage.run, contestant, workload, program, &stage.ports, error);
    bool measured = started && stage_measure(&stage, sample, error);
    if (started && !measured && !interrupt_pending()) {
        contestant_explain(&stage.run, error);
    }
    load_destroy(stage.load); /* first: a proxy that drains would wait for its sessions */
    load_destroy(stage.plain_load);
    if (started) {
        contestant_stop(&stage.run);
    }
    return measured;
}
