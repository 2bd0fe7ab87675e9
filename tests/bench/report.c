#include "tests/bench/report.h"

#include "tests/bench/added.h"
#include "tests/bench/statistics.h"

#include <stdio.h>
#include <string.h>

/* ---- numbers over the rounds */

typedef double sample_value_fn(const struct sample *sample);

static double value_rate(const struct sample *sample) {
    return sample->units_per_s;
}
static double value_cost(const struct sample *sample) {
    return sample->cost;
}
static double value_generator(const struct sample *sample) {
    return sample->generator_cost;
}
static double value_p50(const struct sample *sample) {
    return sample->p50_us;
}
static double value_p99(const struct sample *sample) {
    return sample->p99_us;
}
static double value_p999(const struct sample *sample) {
    return sample->p999_us;
}
static double value_foreign(const struct sample *sample) {
    return sample->foreign_share * 100;
}
static double value_idle_cpu(const struct sample *sample) {
    return sample->idle_cpu_us_per_s;
}
static double value_kernel_memory(const struct sample *sample) {
    return sample->kernel_memory;
}
/* The machine's speed drifts; the generator, which does the same work in every run, drifts with it. */
static double value_cost_over_generator(const struct sample *sample) {
    return sample->generator_cost > 0 ? sample->cost / sample->generator_cost : 0;
}

static struct spread result_spread(const struct result *result, sample_value_fn *value) {
    double values[ROUNDS_MAX];
    for (size_t i = 0; i < result->samples_count; i++) {
        values[i] = value(&result->samples[i]);
    }
    return spread_of(values, result->samples_count);
}

/* Round by round: of `result` over of `base`. */
static struct spread result_ratio(const struct result *result, const struct result *base, sample_value_fn *value) {
    double ratios[ROUNDS_MAX];
    size_t count = 0;
    for (size_t i = 0; result != base && i < result->samples_count && i < base->samples_count; i++) {
        double above = value(&result->samples[i]);
        double below = value(&base->samples[i]);
        if (above > 0 && below > 0) {
            ratios[count++] = above / below;
        }
    }
    return spread_of(ratios, count);
}

double result_rate(const struct result *result) {
    return result_spread(result, value_rate).median;
}

/* ---- tables */

void report_print_head(const struct report *report) {
    const struct machine *machine = &report->machine;
    printf("moonring bench, %s, commit %s\n", machine->date, machine->commit);
    printf("%s, %d x %s, congestion control %s, net.core.skb_defer_max %s\n", machine->kernel, machine->cpus,
           machine->cpu, machine->congestion_control, machine->skb_defer_max);
    printf("%zu rounds of %.1f s each (some more where differences are small), alternating; proxy on CPU 1, load "
           "generator and server on "
           "CPU 0\n\n",
           report->rounds, report->seconds);
    for (size_t i = 0; i < report->entries_count; i++) {
        const struct entry *entry = &report->entries[i];
        printf("  %-15s %s%s%s\n", entry->contestant->name, entry->program.version,
               entry->program.version[0] != 0 ? ": " : "", entry->contestant->about);
    }
    printf("%s\n", report->notes.data);
    fflush(stdout);
}

static const char *median_format(const struct result *result, sample_value_fn *value, char *text) {
    double median = result_spread(result, value).median;
    if (median <= 0) {
        return "-"; /* not measured in this workload */
    }
    return number_format(median, text);
}

static void print_traffic_row(const struct result *result, const struct result *base) {
    char texts[8][SPREAD_TEXT_SIZE];
    struct spread cost = result_spread(result, value_cost);
    struct spread ratio = result_ratio(result, base, value_cost);
    struct spread adjusted = result_ratio(result, base, value_cost_over_generator);
    double rate = workload_rate(result->workload, result_spread(result, value_rate).median);
    printf("%-15s %9s %8s %8s %8s  %-21s %9s  %-19s %-19s %6.1f\n", result->contestant->name,
           number_format(rate, texts[0]), median_format(result, value_p50, texts[1]),
           median_format(result, value_p99, texts[2]), median_format(result, value_p999, texts[3]),
           cost.median > 0 ? spread_format(&cost, texts[4]) : "-", median_format(result, value_generator, texts[5]),
           spread_format(&ratio, texts[6]), spread_format(&adjusted, texts[7]),
           result_spread(result, value_foreign).max);
}

static void print_idle_row(const struct result *result, const struct result *base) {
    char cost_text[SPREAD_TEXT_SIZE];
    char ratio_text[SPREAD_TEXT_SIZE];
    char cpu_text[SPREAD_TEXT_SIZE];
    char kernel_text[SPREAD_TEXT_SIZE];
    struct spread cost = result_spread(result, value_cost);
    struct spread ratio = result_ratio(result, base, value_cost);
    struct spread cpu = result_spread(result, value_idle_cpu);
    struct spread kernel = result_spread(result, value_kernel_memory);
    printf("%-15s %-24s %-19s %-24s %s\n", result->contestant->name, spread_format(&cost, cost_text),
           spread_format(&ratio, ratio_text), spread_format(&cpu, cpu_text), spread_format(&kernel, kernel_text));
}

static double value_p99_alone(const struct sample *sample) {
    return sample->p99_alone_us;
}
static double value_p99_growth(const struct sample *sample) {
    return sample->p99_us / sample->p99_alone_us;
}

static void print_slow_row(const struct result *result) {
    char texts[3][SPREAD_TEXT_SIZE];
    struct spread alone = result_spread(result, value_p99_alone);
    struct spread beside = result_spread(result, value_p99);
    struct spread growth = result_spread(result, value_p99_growth);
    printf("%-15s %-24s %-24s %-24s %6.1f\n", result->contestant->name, spread_format(&alone, texts[0]),
           spread_format(&beside, texts[1]), spread_format(&growth, texts[2]),
           result_spread(result, value_foreign).max);
}

static void print_start_row(const struct result *result, const struct result *base) {
    char texts[2][SPREAD_TEXT_SIZE];
    struct spread cost = result_spread(result, value_cost);
    struct spread ratio = result_ratio(result, base, value_cost);
    printf("%-15s %-24s %-19s\n", result->contestant->name, spread_format(&cost, texts[0]),
           spread_format(&ratio, texts[1]));
}

static void print_columns(const struct workload *workload) {
    switch (workload->kind) {
    case WORKLOAD_TRAFFIC:
    case WORKLOAD_FILTER:
        printf("%-15s %9s %8s %8s %8s  %-21s %9s  %-19s %-19s %6s\n", "", workload_rate_name(workload), "p50 us",
               "p99 us", "p99.9 us", workload_cost_name(workload), "generator", "ratio", "adjusted ratio", "other%");
        return;
    case WORKLOAD_IDLE:
        printf("%-15s %-24s %-19s %-24s %s\n", "", workload_cost_name(workload), "ratio", "idle CPU, us/s",
               "slabs of the kernel, B/session");
        return;
    case WORKLOAD_SLOW:
        printf("%-15s %-24s %-24s %-24s %6s\n", "", "p99 us alone", "p99 us beside them", "ratio", "other%");
        return;
    case WORKLOAD_START:
        printf("%-15s %-24s %-19s\n", "", workload_cost_name(workload), "ratio");
        return;
    }
}

static void print_row(const struct result *result, const struct result *base) {
    if (result->samples_count == 0) {
        printf("%-15s failed\n", result->contestant->name);
        return;
    }
    switch (result->workload->kind) {
    case WORKLOAD_TRAFFIC:
    case WORKLOAD_FILTER:
        print_traffic_row(result, base);
        return;
    case WORKLOAD_IDLE:
        print_idle_row(result, base);
        return;
    case WORKLOAD_SLOW:
        print_slow_row(result);
        return;
    case WORKLOAD_START:
        print_start_row(result, base);
        return;
    }
}

static double value_system_calls(const struct sample *sample) {
    return sample->system_calls_per_unit;
}

static double value_submissions(const struct sample *sample) {
    return sample->submissions_per_turn;
}

static double value_completions(const struct sample *sample) {
    return sample->completions_per_turn;
}

static double value_arms(const struct sample *sample) {
    return sample->arms_per_million_receives;
}

static double value_accept_arms(const struct sample *sample) {
    return sample->arms_per_million_accepts;
}

static double value_own_share(const struct sample *sample) {
    return sample->profile.own * 100;
}
static double value_liburing_share(const struct sample *sample) {
    return sample->profile.liburing * 100;
}
static double value_library_share(const struct sample *sample) {
    return sample->profile.libraries * 100;
}
static double value_kernel_share(const struct sample *sample) {
    return sample->profile.kernel * 100;
}

static void print_profile(const struct result *result) {
    char texts[4][SPREAD_TEXT_SIZE];
    if (!result->workload->is_profiled || result->samples_count == 0) {
        return;
    }
    struct spread own = result_spread(result, value_own_share);
    struct spread liburing = result_spread(result, value_liburing_share);
    struct spread libraries = result_spread(result, value_library_share);
    struct spread kernel = result_spread(result, value_kernel_share);
    printf("%-15s own code %s %%, liburing %s %%, other libraries %s %%, kernel %s %%\n", result->contestant->name,
           spread_format(&own, texts[0]), spread_format(&liburing, texts[1]), spread_format(&libraries, texts[2]),
           spread_format(&kernel, texts[3]));
}

static void print_ring(const struct result *result) {
    char texts[5][SPREAD_TEXT_SIZE];
    if (result->workload->contest == CONTEST_RING && result->samples_count > 0) {
        printf("%-15s system calls a unit %s; a turn: submissions %s, completions %s; for a million of their "
               "answers: receive requests %s, accept requests %s\n",
               result->contestant->name, median_format(result, value_system_calls, texts[0]),
               median_format(result, value_submissions, texts[1]), median_format(result, value_completions, texts[2]),
               median_format(result, value_arms, texts[3]), median_format(result, value_accept_arms, texts[4]));
    }
}

void report_print_workload(const struct report *report, size_t first) {
    const struct result *base = &report->results[first];
    printf("%s (%s)\n", base->workload->title, base->workload->name);
    print_columns(base->workload);
    for (size_t i = first; i < report->results_count && report->results[i].workload == base->workload; i++) {
        const struct result *result = &report->results[i];
        print_row(result, base);
        print_ring(result);
        print_profile(result);
        if (result->problem.text[0] != 0) {
            printf("%-15s stopped after %zu rounds: %s\n", result->contestant->name, result->samples_count,
                   result->problem.text);
        }
    }
    printf("\n");
    if (base->workload->contest == CONTEST_FILTERS) {
        added_print(report, first);
    }
    fflush(stdout);
}

static const struct result *report_find(const struct report *report, const struct workload *workload,
                                        const struct contestant *contestant) {
    for (size_t i = 0; i < report->results_count; i++) {
        if (report->results[i].workload == workload && report->results[i].contestant == contestant) {
            return &report->results[i];
        }
    }
    return NULL;
}

/* Whose column a summary of the contest has: all but the first, which the others are compared with. */
static bool summary_has(const struct report *report, size_t entry) {
    return entry > 0 && contestant_is_in(report->entries[entry].contestant, CONTEST_PROXIES);
}

static void print_summary_row(const struct report *report, const struct result *base) {
    printf("%-10s", base->workload->name);
    for (size_t i = 0; i < report->entries_count; i++) {
        if (!summary_has(report, i)) {
            continue;
        }
        const struct result *result = report_find(report, base->workload, report->entries[i].contestant);
        struct spread ratio = result == NULL ? (struct spread){0} : result_ratio(result, base, value_cost);
        char text[SPREAD_TEXT_SIZE];
        printf(" %-19s", spread_format(&ratio, text));
    }
    printf("\n");
}

static void print_summary_head(const struct report *report) {
    const char *base_name = report->entries[0].contestant->name;
    printf("All ratios: cost over that of %s in the same round; above 1: %s needs less\n%-10s", base_name, base_name,
           "");
    for (size_t i = 0; i < report->entries_count; i++) {
        if (summary_has(report, i)) {
            printf(" %-19s", report->entries[i].contestant->name);
        }
    }
    printf("\n");
}

void report_print_summary(const struct report *report) {
    const struct workload *workload = NULL;
    for (size_t i = 0; i < report->results_count && report->entries_count > 1; i++) {
        const struct result *base = &report->results[i];
        if (base->workload->contest != CONTEST_PROXIES || base->workload == workload) {
            continue;
        }
        if (workload == NULL) {
            print_summary_head(report);
        }
        workload = base->workload;
        print_summary_row(report, base);
    }
    fflush(stdout);
}

/* ---- JSON */

static void json_pair(struct bytes *json, const char *name, const char *text, const char *after) {
    bytes_append_json(json, name);
    bytes_append_text(json, ": ");
    bytes_append_json(json, text);
    bytes_append_text(json, after);
}

static void json_head(const struct report *report, struct bytes *json) {
    const struct machine *machine = &report->machine;
    json_pair(json, "date", machine->date, ", ");
    json_pair(json, "commit", machine->commit, ", ");
    json_pair(json, "kernel", machine->kernel, ", ");
    json_pair(json, "cpu", machine->cpu, ", ");
    bytes_printf(json, "\"cpus\": %d, ", machine->cpus);
    json_pair(json, "congestion_control", machine->congestion_control, ", ");
    json_pair(json, "skb_defer_max", machine->skb_defer_max, ",\n ");
    bytes_printf(json, "\"rounds\": %zu, \"seconds\": %g, ", report->rounds, report->seconds);
    json_pair(json, "notes", report->notes.data, ",\n");
}

static void json_entries(const struct report *report, struct bytes *json) {
    bytes_append_text(json, " \"contestants\": [");
    for (size_t i = 0; i < report->entries_count; i++) {
        const struct entry *entry = &report->entries[i];
        bytes_append_text(json, i == 0 ? "\n  {" : ",\n  {");
        json_pair(json, "name", entry->contestant->name, ", ");
        json_pair(json, "version", entry->program.version, ", ");
        json_pair(json, "about", entry->contestant->about, "}");
    }
    bytes_append_text(json, "],\n");
}

/* What only some kinds of workloads tell. */
static void json_special(const struct sample *sample, const struct workload *workload, struct bytes *json) {
    switch (workload->kind) {
    case WORKLOAD_TRAFFIC:
        break;
    case WORKLOAD_IDLE:
        bytes_printf(json, ", \"kernel_memory\": %.6g, \"idle_cpu_us_per_s\": %.6g", sample->kernel_memory,
                     sample->idle_cpu_us_per_s);
        return;
    case WORKLOAD_FILTER:
        bytes_printf(json, ", \"plain_cost\": %.6g", sample->plain_cost);
        return;
    case WORKLOAD_SLOW:
        bytes_printf(json, ", \"p99_alone_us\": %.6g", sample->p99_alone_us);
        return;
    case WORKLOAD_START:
        return;
    }
    if (workload->is_profiled) {
        bytes_printf(json,
                     ", \"own_share\": %.6g, \"liburing_share\": %.6g, \"library_share\": %.6g, \"kernel_share\": %.6g",
                     sample->profile.own, sample->profile.liburing, sample->profile.libraries, sample->profile.kernel);
    }
}

static void json_sample(const struct sample *sample, const struct workload *workload, struct bytes *json) {
    bytes_printf(
        json,
        "{\"units_per_s\": %.9g, \"cost\": %.6g, \"generator_cost\": %.6g, \"p50_us\": %.5g, \"p99_us\": %.5g, "
        "\"p999_us\": %.5g, \"foreign_share\": %.4g",
        sample->units_per_s, sample->cost, sample->generator_cost, sample->p50_us, sample->p99_us, sample->p999_us,
        sample->foreign_share);
    if (sample->submissions_per_turn > 0) {
        bytes_printf(
            json,
            ", \"system_calls_per_unit\": %.6g, \"submissions_per_turn\": %.5g, \"completions_per_turn\": %.5g, "
            "\"arms_per_million_receives\": %.5g, \"arms_per_million_accepts\": %.5g",
            sample->system_calls_per_unit, sample->submissions_per_turn, sample->completions_per_turn,
            sample->arms_per_million_receives, sample->arms_per_million_accepts);
    }
    json_special(sample, workload, json);
    bytes_append_char(json, '}');
}

static void json_spread(struct bytes *json, const char *name, const struct spread *spread) {
    if (spread->count > 0) {
        bytes_printf(json, ", \"%s\": {\"median\": %.6g, \"min\": %.6g, \"max\": %.6g}", name, spread->median,
                     spread->min, spread->max);
    }
}

static void json_result(const struct result *result, const struct result *base, struct bytes *json) {
    bytes_append_text(json, "\n  {");
    json_pair(json, "workload", result->workload->name, ", ");
    json_pair(json, "contestant", result->contestant->name, ", ");
    json_pair(json, "cost_unit", workload_cost_name(result->workload), "");
    struct spread ratio = result_ratio(result, base, value_cost);
    struct spread adjusted = result_ratio(result, base, value_cost_over_generator);
    json_spread(json, "ratio", &ratio);
    json_spread(json, "adjusted_ratio", &adjusted);
    struct added added;
    if (added_find(result, &added)) {
        bytes_append_text(json, ", ");
        json_pair(json, "filter", result->contestant->filter, "");
        json_spread(json, "added", &added.cost);
        json_spread(json, "added_us_per_chunk", &added.chunk_us);
    }
    if (result->problem.text[0] != 0) {
        bytes_append_text(json, ", ");
        json_pair(json, "problem", result->problem.text, "");
    }
    bytes_append_text(json, ",\n   \"rounds\": [");
    for (size_t i = 0; i < result->samples_count; i++) {
        bytes_append_text(json, i == 0 ? "" : ",\n              ");
        json_sample(&result->samples[i], result->workload, json);
    }
    bytes_append_text(json, "]}");
}

void report_json(const struct report *report, struct bytes *json) {
    bytes_append_text(json, "{");
    json_head(report, json);
    json_entries(report, json);
    bytes_append_text(json, " \"results\": [");
    const struct result *base = NULL;
    for (size_t i = 0; i < report->results_count; i++) {
        const struct result *result = &report->results[i];
        if (base == NULL || base->workload != result->workload) {
            base = result;
        }
        bytes_append_text(json, i == 0 ? "" : ",");
        json_result(result, base, json);
    }
    bytes_append_text(json, "]}\n");
}
