#include "tests/bench/added.h"

#include <stdio.h>
#include <string.h>

/* ---- numbers */

bool added_find(const struct result *result, struct added *added) {
    if (result->workload->kind != WORKLOAD_FILTER || result->samples_count == 0) {
        return false;
    }
    double costs[ROUNDS_MAX];
    double chunks_us[ROUNDS_MAX];
    for (size_t i = 0; i < result->samples_count; i++) {
        costs[i] = result->samples[i].cost - result->samples[i].plain_cost;
        chunks_us[i] = workload_chunk_us(result->workload, costs[i], result->contestant->one_way);
    }
    *added = (struct added){
        .cost = spread_of(costs, result->samples_count),
        .chunk_us = spread_of(chunks_us, result->samples_count),
    };
    return true;
}

/* ---- the table */

/* The same filter of the first contestant that has it: moonring's. */
static const struct result *find_rival(const struct report *report, const struct result *result) {
    const char *filter = result->contestant->filter;
    for (size_t i = 0; filter != NULL && i < report->results_count; i++) {
        const struct result *other = &report->results[i];
        const char *other_filter = other->contestant->filter;
        if (other->workload == result->workload && other_filter != NULL && strcmp(other_filter, filter) == 0) {
            return other == result ? NULL : other;
        }
    }
    return NULL;
}

/* How many times the rival's: of the medians, and at least (the lowest round over the rival's highest). */
static void print_times(const struct result *rival, const struct spread *own, const struct spread *other) {
    const char *name = rival->contestant->name;
    char median[SPREAD_TEXT_SIZE] = "many";
    char least[SPREAD_TEXT_SIZE];
    if (other->max <= 0) {
        printf("what %s adds does not show", name);
        return;
    }
    if (other->median > 0) {
        number_format(own->median / other->median, median);
    }
    printf("%s times %s (at least %s)", median, name, number_format(own->min / other->max, least));
}

static void print_row(const struct report *report, const struct result *result, const struct added *added) {
    char cost_text[SPREAD_TEXT_SIZE];
    char chunk_text[SPREAD_TEXT_SIZE];
    printf("%-15s %-24s %-24s ", result->contestant->name, spread_format(&added->chunk_us, chunk_text),
           spread_format(&added->cost, cost_text));
    const struct result *rival = find_rival(report, result);
    struct added rival_added;
    if (rival != NULL && added_find(rival, &rival_added)) {
        print_times(rival, &added->chunk_us, &rival_added.chunk_us);
    }
    printf("\n");
}

void added_print(const struct report *report, size_t first) {
    const struct workload *workload = report->results[first].workload;
    size_t rows = 0;
    for (size_t i = first; i < report->results_count && report->results[i].workload == workload; i++) {
        struct added added;
        if (!added_find(&report->results[i], &added)) {
            continue;
        }
        if (rows++ == 0) {
            printf("%-15s %-24s %-24s %s\n", "added by", "us/chunk", workload_cost_name(workload), "that is");
        }
        print_row(report, &report->results[i], &added);
    }
    printf("%s", rows > 0 ? "\n" : "");
}
