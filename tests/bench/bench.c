/* The bench: starts moonring and its peers one after another, round by round, under each workload, and reports what a
 * unit of work costs each. README.md in this folder tells what is measured and how to read it. */
#include "tests/bench/costs.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/measure.h"
#include "tests/bench/options.h"
#include "tests/bench/process.h"
#include "tests/bench/reload.h"
#include "tests/bench/report.h"
#include "tests/bench/statistics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    ENTRIES_MAX = 32,
    WORKLOADS_MAX = 96,
    TRIES_MAX = 3,
    REPEATS_SHARE = 16,
    DESCRIPTORS_WANTED = 65536,
    EXIT_INTERRUPTED = 130
};
static const double DISTURBED_SHARE = 0.05;

struct bench {
    struct options options;
    struct ports ports;
    struct entry entries[ENTRIES_MAX];
    struct workload workloads[WORKLOADS_MAX]; /* copies: what the reach decides is filled in */
    size_t workloads_count;
    double reach_per_s;     /* what the slowest contestant does; 0: not yet known */
    struct result *results; /* ours */
    struct report report;
    size_t repeats_left; /* on a busy machine the bench takes longer, but not for ever */
    bool failed;
};

/* ---- who and what */

/* One of those that have a table of their own. */
static bool bench_wants(const struct options *options, const char *name) {
    return options->only == NULL ? options->contestants == NULL : options_names(options->only, name);
}

static bool contestant_is_known(const char *name) {
    for (size_t i = 0; i < contestant_count(); i++) {
        const struct contestant *contestant = contestant_at(i);
        if (strcmp(contestant->name, name) == 0 ||
            (contestant->program != NULL && strcmp(contestant->program, name) == 0)) {
            return true;
        }
    }
    return false;
}

static bool workload_is_known(const char *name) {
    if (strcmp(name, "reload") == 0 || strcmp(name, "costs") == 0) {
        return true;
    }
    for (size_t i = 0; i < workload_count(); i++) {
        const struct workload *workload = workload_at(i);
        if (strcmp(workload->name, name) == 0 || strcmp(contest_name(workload->contest), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool contestant_is_named(const struct options *options, const struct contestant *contestant) {
    if (options->contestants == NULL) {
        return !contestant->only_named;
    }
    return options_names(options->contestants, contestant->name) ||
           (contestant->program != NULL && options_names(options->contestants, contestant->program));
}

static bool contestant_is_wanted(const struct bench *bench, const struct contestant *contestant) {
    bool takes_part = false;
    for (size_t i = 0; i < bench->workloads_count && !takes_part; i++) {
        takes_part = contestant_takes_part(contestant, &bench->workloads[i]);
    }
    return takes_part && contestant_is_named(&bench->options, contestant);
}

/* Where a program of this project lies; NULL for the others, which are searched. */
static const char *bench_path(const struct bench *bench, const char *program) {
    if (program != NULL && strcmp(program, "moonring") == 0) {
        return bench->options.moonring;
    }
    return program != NULL && strcmp(program, "epoll-relay") == 0 ? bench->options.epoll_relay : NULL;
}

/* A peer that is not there is noted; what belongs to this project must be there. */
static bool bench_enter(struct bench *bench, const struct contestant *contestant, struct error *error) {
    struct report *report = &bench->report;
    struct entry entry = {.contestant = contestant};
    const char *path = bench_path(bench, contestant->program);
    if (!contestant_find(contestant, path, bench->options.source, &entry.program, error)) {
        if (path != NULL) {
            return error_prefix(error, "run make bench, or see --help: ");
        }
        bytes_printf(&report->notes, "left out: %s: %s\n", contestant->name, error->text);
        return true;
    }
    bench->entries[report->entries_count++] = entry;
    return true;
}

static bool bench_choose_contestants(struct bench *bench, struct error *error) {
    for (size_t i = 0; i < contestant_count() && bench->report.entries_count < ENTRIES_MAX; i++) {
        const struct contestant *contestant = contestant_at(i);
        if (contestant_is_wanted(bench, contestant) && !bench_enter(bench, contestant, error)) {
            return false;
        }
    }
    if (bench->report.entries_count == 0 && bench->workloads_count > 0) {
        return error_set(error, "no contestant is left\n%s", bench->report.notes.data);
    }
    return true;
}

static bool bench_may_profile(struct bench *bench, const struct workload *workload) {
    struct error error;
    if (profiler_is_there(&error)) {
        return true;
    }
    bytes_printf(&bench->report.notes, "left out: %s: %s\n", workload->name, error.text);
    return false;
}

/* A load that is a share of the reach needs it found first. */
static bool options_need_reach(const struct options *options) {
    for (size_t i = 0; options->only != NULL && i < workload_count(); i++) {
        if (workload_at(i)->reach_percent > 0 && options_names(options->only, workload_at(i)->name)) {
            return true;
        }
    }
    return false;
}

static void bench_choose_workloads(struct bench *bench) {
    const struct options *options = &bench->options;
    bool needs_reach = options_need_reach(options);
    for (size_t i = 0; i < workload_count() && bench->workloads_count < WORKLOADS_MAX; i++) {
        const struct workload *workload = workload_at(i);
        bool in_contest = options->full || !workload->only_full;
        bool wanted = options->only == NULL
                          ? in_contest && !workload->only_named
                          : options_names(options->only, workload->name) ||
                                (in_contest && options_names(options->only, contest_name(workload->contest))) ||
                                (needs_reach && workload->finds_reach);
        if (wanted && (!workload->is_profiled || bench_may_profile(bench, workload))) {
            bench->workloads[bench->workloads_count++] = *workload;
        }
    }
}

static void bench_list(void) {
    printf("workloads (* only with --full or --only):\n");
    for (size_t i = 0; i < workload_count(); i++) {
        const struct workload *workload = workload_at(i);
        printf("  %-15s %-8s %s%s\n", workload->name, contest_name(workload->contest), workload->title,
               workload->only_full || workload->only_named ? " *" : "");
    }
    printf("  %-15s %-8s %s\n", "reload", "",
           "turns of a worker and latencies while a large configuration is reloaded");
    printf("  %-15s %-8s %s\n", "costs", "",
           "of a look-up among 100,000 rules, of a source in its table; in this process");
    printf("contestants (* only with --contestants):\n");
    for (size_t i = 0; i < contestant_count(); i++) {
        const struct contestant *contestant = contestant_at(i);
        printf("  %-15s %s%s\n", contestant->name, contestant->about, contestant->only_named ? " *" : "");
    }
}

/* ---- running */

static void print_progress(const struct result *result, size_t round, size_t rounds) {
    const struct sample *sample = &result->samples[result->samples_count - 1];
    char cost_text[SPREAD_TEXT_SIZE];
    fprintf(stderr, "%s, round %zu of %zu: %s: %s %s\n", result->workload->name, round + 1, rounds,
            result->contestant->name, number_format(sample->cost, cost_text), workload_cost_name(result->workload));
}

/* Measures once more what other programs on this machine disturbed; keeps the calmer one. */
static bool bench_measure_calmly(struct bench *bench, struct result *result, const struct contestant_program *program) {
    struct sample *best = &result->samples[result->samples_count];
    for (size_t try = 0; try < TRIES_MAX; try++) {
        struct sample sample;
        if (!measure(result->workload, result->contestant, program, &bench->ports, bench->options.seconds, &sample,
                     &result->problem)) {
            return false;
        }
        if (try == 0 || sample.foreign_share < best->foreign_share) {
            *best = sample;
        }
        if (best->foreign_share <= DISTURBED_SHARE || bench->repeats_left == 0) {
            break;
        }
        bench->repeats_left--;
    }
    return true;
}

static void bench_measure(struct bench *bench, struct result *result, const struct contestant_program *program,
                          size_t round, size_t rounds) {
    if (result->problem.text[0] != 0) {
        return;
    }
    if (bench_measure_calmly(bench, result, program)) {
        result->samples_count++;
        print_progress(result, round, rounds);
        return;
    }
    fprintf(stderr, "%s, round %zu: %s: %s\n", result->workload->name, round + 1, result->contestant->name,
            result->problem.text);
    bench->failed = true;
}

static const struct contestant_program *bench_program(const struct bench *bench, const struct contestant *contestant) {
    const struct entry *entry = bench->entries;
    while (entry->contestant != contestant) {
        entry++;
    }
    return &entry->program;
}

static size_t bench_rounds(const struct bench *bench, const struct workload *workload) {
    size_t rounds = bench->options.rounds;
    rounds += rounds > 1 ? workload->rounds_more : 0;
    return rounds < ROUNDS_MAX ? rounds : ROUNDS_MAX;
}

/* ---- the load that all reach */

static void bench_find_reach(struct bench *bench, size_t first) {
    for (size_t i = first; i < bench->report.results_count; i++) {
        double rate = result_rate(&bench->results[i]);
        if (rate > 0 && (bench->reach_per_s <= 0 || rate < bench->reach_per_s)) {
            bench->reach_per_s = rate;
        }
    }
}

/* False when it depends on a reach that is not known. */
static bool bench_pace(struct bench *bench, struct workload *workload) {
    if (workload->reach_percent == 0) {
        return true;
    }
    if (bench->reach_per_s <= 0) {
        fprintf(stderr, "%s is left out: it needs tail-reach\n", workload->name);
        bench->failed = true;
        return false;
    }
    workload->plan.requests_per_s = (uint64_t)(bench->reach_per_s * workload->reach_percent / 100);
    return true;
}

/* ---- rounds */

/* A B C A B C: what drifts slowly touches all alike. */
static void bench_run_workload(struct bench *bench, struct workload *workload) {
    struct report *report = &bench->report;
    size_t first = report->results_count;
    if (!bench_pace(bench, workload)) {
        return;
    }
    for (size_t i = 0; i < report->entries_count; i++) {
        const struct contestant *contestant = bench->entries[i].contestant;
        if (contestant_takes_part(contestant, workload)) {
            struct result *result = &bench->results[report->results_count++];
            *result = (struct result){.workload = workload, .contestant = contestant};
        }
    }
    size_t rounds = bench_rounds(bench, workload);
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = first; i < report->results_count && !interrupt_pending(); i++) {
            struct result *result = &bench->results[i];
            bench_measure(bench, result, bench_program(bench, result->contestant), round, rounds);
        }
    }
    if (first < report->results_count) {
        report_print_workload(report, first);
    }
    if (workload->finds_reach) {
        bench_find_reach(bench, first);
    }
}

/* Few enough for the bench to end in time on a machine that is busy all the while. */
static size_t bench_count_repeats(const struct bench *bench) {
    size_t measurements = 0;
    for (size_t i = 0; i < bench->workloads_count; i++) {
        for (size_t j = 0; j < bench->report.entries_count; j++) {
            bool takes_part = contestant_takes_part(bench->entries[j].contestant, &bench->workloads[i]);
            measurements += takes_part ? bench_rounds(bench, &bench->workloads[i]) : 0;
        }
    }
    return measurements / REPEATS_SHARE;
}

static bool bench_write_json(const struct bench *bench, struct error *error) {
    struct bytes json;
    bytes_init(&json);
    report_json(&bench->report, &json);
    FILE *file = fopen(bench->options.json, "we");
    bool written = file != NULL && fwrite(json.data, 1, json.size, file) == json.size;
    written = file != NULL && fclose(file) == 0 && written;
    bytes_finish(&json);
    return written || error_set(error, "%s: %s", bench->options.json, error_name(errno));
}

/* What is not a table of contestants: reloads, and rules. */
static bool bench_run_rest(struct bench *bench, struct error *error) {
    const struct options *options = &bench->options;
    if (bench_wants(options, "costs") && !interrupt_pending()) {
        costs_print();
    }
    return !bench_wants(options, "reload") || interrupt_pending() || reload_bench(options, &bench->ports, error);
}

static bool bench_run(struct bench *bench, struct error *error) {
    struct report *report = &bench->report;
    bench->results = calloc(bench->workloads_count * report->entries_count + 1, sizeof *bench->results);
    if (bench->results == NULL) {
        return error_set(error, "no memory for the results");
    }
    report->entries = bench->entries;
    report->results = bench->results;
    report->rounds = bench->options.rounds;
    report->seconds = bench->options.seconds;
    bench->repeats_left = bench_count_repeats(bench);
    machine_describe(&report->machine);
    report_print_head(report);
    for (size_t i = 0; i < bench->workloads_count && !interrupt_pending(); i++) {
        bench_run_workload(bench, &bench->workloads[i]);
    }
    if (bench->workloads_count > 0) {
        report_print_summary(report);
    }
    if (!bench_run_rest(bench, error)) {
        return false;
    }
    return bench->options.json == NULL || bench_write_json(bench, error);
}

/* ---- the program */

/* Each session takes two descriptors, here and in a proxy. Not more than that: some programs have a table of all. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS_WANTED ? limit.rlim_max : DESCRIPTORS_WANTED;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool bench_main(struct bench *bench, int argument_count, char **arguments, struct error *error) {
    if (!options_parse(&bench->options, argument_count, arguments, error)) {
        return false;
    }
    if (bench->options.help) {
        fputs(options_help(), stdout);
        return true;
    }
    if (bench->options.list) {
        bench_list();
        return true;
    }
    if (!options_check_names("--only", bench->options.only, workload_is_known, error) ||
        !options_check_names("--contestants", bench->options.contestants, contestant_is_known, error)) {
        return false;
    }
    raise_descriptor_limit();
    ports_init(&bench->ports);
    bench_choose_workloads(bench);
    return process_pin(LOAD_CPU, error) && bench_choose_contestants(bench, error) && bench_run(bench, error);
}

int main(int argument_count, char **arguments) {
    struct bench bench = {0};
    struct error error;
    interrupt_block();
    bytes_init(&bench.report.notes);
    bool done = bench_main(&bench, argument_count, arguments, &error);
    bytes_finish(&bench.report.notes);
    free(bench.results);
    if (!done) {
        fprintf(stderr, "benchmark: %s\n", error.text);
    }
    if (interrupt_pending()) {
        return EXIT_INTERRUPTED;
    }
    return done && !bench.failed ? EXIT_SUCCESS : EXIT_FAILURE;
}
