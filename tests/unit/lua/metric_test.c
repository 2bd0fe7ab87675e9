#include "lua/metric.h"

#include "tests/unit/lua/library.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t define(const struct metric_definition *definition) {
    struct error error = {.text = ""};
    uint32_t metric = UINT32_MAX;
    cr_assert(metric_define(definition, &metric, &error), "%s", error.text);
    return metric;
}

static uint32_t series_of(uint32_t metric, const char *text) {
    struct metric_value value = {.text = text, .size = strlen(text)};
    return metric_series(metric, &value);
}

static void expect_described(const char *expected) {
    struct bytes out;
    bytes_init(&out);
    metrics_describe(&out);
    cr_assert_str_eq(out.data, expected);
    bytes_finish(&out);
}

/* --- what is described -------------------------------------------------------------------------------------------- */

Test(metric, is_the_sum_of_what_the_workers_counted, .timeout = 10) {
    uint32_t plain = define(&(struct metric_definition){.type = METRIC_COUNTER, .name = "a_total", .help = "As."});
    uint32_t gauge = define(&(struct metric_definition){.type = METRIC_GAUGE, .name = "b", .help = "Bs.\n\\"});
    uint32_t labelled = define(&(struct metric_definition){
        .type = METRIC_COUNTER, .name = "c:d", .help = "", .labels = {"who", "where"}, .labels_count = 2});
    struct metric_value values[] = {{.text = "x", .size = 1}, {.text = "q\"\\", .size = 3}};
    metric_row(0)[metric_series(plain, NULL)] = 1;
    metric_row(1)[metric_series(plain, NULL)] = 2;
    metric_row(1024)[metric_series(plain, NULL)] = 4;
    metric_row(3)[metric_series(gauge, NULL)] = -0.1;
    metric_row(3)[metric_series(labelled, values)] = 1e15;
    expect_described("# HELP a_total As.\n"
                     "# TYPE a_total counter\n"
                     "a_total 7\n"
                     "# HELP b Bs.\\n\\\\\n"
                     "# TYPE b gauge\n"
                     "b -0.1\n"
                     "# HELP c:d \n"
                     "# TYPE c:d counter\n"
                     "c:d{who=\"x\",where=\"q\\\"\\\\\"} 1e+15\n");
}

Test(metric, of_a_histogram_counts_what_is_below_each_bound, .timeout = 10) {
    uint32_t metric = define(&(struct metric_definition){.type = METRIC_HISTOGRAM,
                                                         .name = "took_seconds",
                                                         .help = "Time.",
                                                         .labels = {"who"},
                                                         .labels_count = 1,
                                                         .buckets = {0.1, 2},
                                                         .buckets_count = 2});
    double *cells = metric_row(0) + series_of(metric, "x");
    cells[0] = 1;
    cells[1] = 2;
    cells[2] = 4;
    cells[3] = 12.5;
    expect_described("# HELP took_seconds Time.\n"
                     "# TYPE took_seconds histogram\n"
                     "took_seconds_bucket{who=\"x\",le=\"0.1\"} 1\n"
                     "took_seconds_bucket{who=\"x\",le=\"2\"} 3\n"
                     "took_seconds_bucket{who=\"x\",le=\"+Inf\"} 7\n"
                     "took_seconds_sum{who=\"x\"} 12.5\n"
                     "took_seconds_count{who=\"x\"} 7\n");
}

struct shown {
    const char *value;
    size_t size;
    const char *text; /* as described */
};

Test(metric, shows_any_bytes_as_a_labels_value, .timeout = 10) {
    static const struct shown cases[] = {
        {"", 0, ""},
        {"gr\xc3\xbc\xc3\x9f", 6, "gr\xc3\xbc\xc3\x9f"},
        {"a\nb", 3, "a\\\\x0ab"},
        {"\xff", 1, "\\\\xff"},
        {"a\0b", 3, "a\\\\x00b"},
    };
    uint32_t metric = define(&(struct metric_definition){
        .type = METRIC_COUNTER, .name = "a_total", .help = "As.", .labels = {"l"}, .labels_count = 1});
    struct bytes expected;
    bytes_init(&expected);
    bytes_append_text(&expected, "# HELP a_total As.\n# TYPE a_total counter\n");
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        struct metric_value value = {.text = cases[index].value, .size = cases[index].size};
        uint32_t cell = metric_series(metric, &value);
        cr_assert_eq(metric_series(metric, &value), cell);
        bytes_printf(&expected, "a_total{l=\"%s\"} 0\n", cases[index].text);
    }
    expect_described(expected.data);
    bytes_finish(&expected);
}

Test(metric, cuts_long_values_between_characters, .timeout = 10) {
    uint32_t metric = define(&(struct metric_definition){
        .type = METRIC_COUNTER, .name = "a_total", .help = "As.", .labels = {"l"}, .labels_count = 1});
    char value[400];
    memset(value, 'x', sizeof(value));
    memcpy(value + METRIC_VALUE_MAX - 1, "\xc3\xbc", 2);
    value[sizeof(value) - 1] = 0;
    series_of(metric, value);
    char expected[512];
    snprintf(expected, sizeof(expected), "# HELP a_total As.\n# TYPE a_total counter\na_total{l=\"%.*s\"} 0\n",
             METRIC_VALUE_MAX - 1, value);
    expect_described(expected);
}

/* --- what is refused ---------------------------------------------------------------------------------------------- */

static void expect_refused(const struct metric_definition *definition, const char *text) {
    struct error error = {.text = ""};
    uint32_t metric;
    cr_assert_not(metric_define(definition, &metric, &error), "%s", definition->name);
    cr_assert_str_eq(error.text, text, "%s: says\n%s\ninstead of\n%s", definition->name, error.text, text);
}

static void expect_name_refused(const char *name) {
    char text[256];
    snprintf(text, sizeof(text),
             "\"%.64s\" is no name for a metric (letters, digits, _ and :, no digit first, at most 128)", name);
    expect_refused(&(struct metric_definition){.name = name, .help = ""}, text);
}

static void expect_label_refused(const char *label) {
    char text[256];
    snprintf(text, sizeof(text),
             "a: \"%.64s\" is no name for a label (letters, digits and _, no digit or __ first, at most 128)", label);
    expect_refused(&(struct metric_definition){.name = "a", .help = "", .labels = {label}, .labels_count = 1}, text);
}

Test(metric, refuses_names_that_prometheus_refuses, .timeout = 10) {
    char name[METRIC_NAME_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = 0;
    expect_name_refused("");
    expect_name_refused("1a");
    expect_name_refused("a-b");
    expect_name_refused("a\xc3\xbc");
    expect_name_refused(name);
    expect_label_refused("");
    expect_label_refused("1");
    expect_label_refused("a:b");
    expect_label_refused("__a");
    expect_label_refused(name);
    name[METRIC_NAME_MAX] = 0;
    define(&(struct metric_definition){.name = name, .help = "", .labels = {name}, .labels_count = 1});
    expect_refused(&(struct metric_definition){.name = "moonring_x", .help = ""},
                   "\"moonring_x\": names that begin with moonring_ are the program's own");
    expect_refused(&(struct metric_definition){.name = "a", .help = "", .labels = {"l", "m", "l"}, .labels_count = 3},
                   "a: the label \"l\" is there twice");
    expect_refused(
        &(struct metric_definition){
            .type = METRIC_HISTOGRAM, .name = "a", .help = "", .labels = {"le"}, .labels_count = 1},
        "a: the label \"le\" of a histogram says which bucket it is");
}

Test(metric, refuses_buckets_that_do_not_grow, .timeout = 10) {
    struct metric_definition definition = {
        .type = METRIC_HISTOGRAM, .name = "a", .help = "", .buckets = {1, 2, 2}, .buckets_count = 3};
    expect_refused(&definition, "a: bucket 3 is 2: buckets are numbers that grow");
    definition.buckets[2] = INFINITY;
    expect_refused(&definition, "a: bucket 3 is inf: buckets are numbers that grow");
    definition.buckets[2] = NAN;
    expect_refused(&definition, "a: bucket 3 is nan: buckets are numbers that grow");
}

Test(metric, keeps_type_labels_and_buckets_but_not_its_help, .timeout = 10) {
    struct metric_definition definition = {.type = METRIC_HISTOGRAM,
                                           .name = "a",
                                           .help = "old",
                                           .labels = {"l"},
                                           .labels_count = 1,
                                           .buckets = {1},
                                           .buckets_count = 1};
    uint32_t metric = define(&definition);
    definition.help = "new";
    cr_assert_eq(define(&definition), metric);
    expect_described("# HELP a new\n# TYPE a histogram\n");
    definition.buckets[0] = 2;
    expect_refused(&definition,
                   "a has other buckets already, and keeps its type, labels and buckets until moonring starts again");
    definition.labels[0] = "m";
    expect_refused(&definition,
                   "a has other labels already, and keeps its type, labels and buckets until moonring starts again");
    definition.type = METRIC_GAUGE;
    expect_refused(&definition,
                   "a is a histogram already, and keeps its type, labels and buckets until moonring starts again");
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

static size_t count_lines(void) {
    struct bytes out;
    bytes_init(&out);
    metrics_describe(&out);
    size_t lines = 0;
    for (const char *at = out.data; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    bytes_finish(&out);
    return lines;
}

Test(metric, counts_too_many_series_in_one_for_overflow, .timeout = 20) {
    uint32_t metric = define(&(struct metric_definition){
        .type = METRIC_COUNTER, .name = "a_total", .help = "As.", .labels = {"l"}, .labels_count = 1});
    uint32_t cells[METRIC_SERIES_MAX];
    char value[32];
    for (int index = 0; index < METRIC_SERIES_MAX; index++) {
        snprintf(value, sizeof(value), "v%d", index);
        cells[index] = series_of(metric, value);
    }
    cr_assert_eq(count_lines(), 2 + METRIC_SERIES_MAX);
    uint32_t overflow = series_of(metric, "one more");
    cr_assert_eq(series_of(metric, "and another"), overflow);
    cr_assert_eq(series_of(metric, "overflow"), overflow);
    cr_assert_eq(series_of(metric, "v7"), cells[7]);
    cr_assert_eq(count_lines(), 2 + METRIC_SERIES_MAX + 1);
    struct bytes out;
    bytes_init(&out);
    metrics_describe(&out);
    cr_assert_not_null(strstr(out.data, "a_total{l=\"overflow\"} 0\n"));
    bytes_finish(&out);
}

Test(metric, shows_the_one_for_overflow_to_who_chose_that_value, .timeout = 10) {
    uint32_t metric = define(&(struct metric_definition){
        .type = METRIC_COUNTER, .name = "a_total", .help = "As.", .labels = {"l"}, .labels_count = 1});
    metric_row(0)[series_of(metric, "overflow")] = 3;
    expect_described("# HELP a_total As.\n# TYPE a_total counter\na_total{l=\"overflow\"} 3\n");
}

Test(metric, has_bounds_for_all_cells_and_all_metrics, .timeout = 20) {
    struct metric_definition histogram = {
        .type = METRIC_HISTOGRAM, .help = "", .labels = {"l"}, .labels_count = 1, .buckets_count = METRIC_BUCKETS_MAX};
    for (int index = 0; index < METRIC_BUCKETS_MAX; index++) {
        histogram.buckets[index] = index;
    }
    uint32_t metrics[4];
    char name[32];
    for (int index = 0; index < 4; index++) {
        snprintf(name, sizeof(name), "h%d", index);
        histogram.name = name;
        metrics[index] = define(&histogram);
    }
    uint32_t last = 0;
    for (int index = 0; index < 4000; index++) {
        char value[32];
        snprintf(value, sizeof(value), "%d", index / 4);
        last = series_of(metrics[index % 4], value);
        cr_assert_leq(last, METRIC_CELLS_MAX - (METRIC_BUCKETS_MAX + 2));
    }
    cr_assert_eq(last, series_of(metrics[3], "something else"));
    histogram.name = "h4";
    expect_refused(&histogram, "h4: no room for another metric (at most 1000, with 131072 cells)");
    struct metric_definition counter = {.type = METRIC_COUNTER, .name = name, .help = ""};
    struct error error;
    uint32_t metric;
    int defined = 4;
    while (snprintf(name, sizeof(name), "c%d", defined), metric_define(&counter, &metric, &error)) {
        defined++;
    }
    cr_assert_leq(defined, METRICS_MAX);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

enum { WORKERS = 2, CALLS = 50, ROUNDS = 2000 };

struct counting {
    const struct workbench *first;
    uint32_t worker;
    atomic_bool *ready;
    bool failed;
};

static const char counting_text[] =
    "local mr = require 'moonring'\n"
    "local plain = mr.counter('plain_total', 'all')\n"
    "local labelled = mr.counter('labelled_total', 'by i', { 'i' })\n"
    "local took = mr.histogram('took_seconds', 'time', nil, { 1, 2 })\n"
    "return function()\n"
    "  for i = 1, 2000 do plain:inc() labelled:with(i % 100):inc(2) took:observe(1.5) end\n"
    "end";

static void *count_on_thread(void *argument) {
    struct counting *counting = argument;
    struct workbench workbench;
    workbench_open_beside(&workbench, counting->first);
    workbench.options.budget_ms = 5000;
    library_start(&workbench);
    counting->failed = !values_set_worker(library_values(&workbench), counting->worker);
    counting->failed |= workbench_load_text(&workbench, counting_text) != SCRIPT_RETURNED;
    values_attach(library_values(&workbench), NULL);
    for (int call = 0; call < CALLS && !counting->failed; call++) {
        counting->failed = workbench_call(&workbench) != SCRIPT_RETURNED;
    }
    workbench_close(&workbench);
    atomic_store(counting->ready, true);
    return NULL;
}

/* Under ThreadSanitizer, too: what compiled code writes it does not see, but everything else. */
Test(metric, is_read_while_workers_count, .timeout = 60) {
    struct workbench workbench;
    atomic_bool ready[WORKERS] = {false};
    struct counting counting[WORKERS];
    pthread_t threads[WORKERS];
    workbench_open(&workbench);
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        counting[worker] = (struct counting){.first = &workbench, .worker = worker, .ready = &ready[worker]};
        cr_assert_eq(pthread_create(&threads[worker], NULL, count_on_thread, &counting[worker]), 0);
    }
    struct bytes out;
    bytes_init(&out);
    while (!atomic_load(&ready[0]) || !atomic_load(&ready[1])) {
        bytes_clear(&out);
        metrics_describe(&out);
    }
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        pthread_join(threads[worker], NULL);
        cr_assert_not(counting[worker].failed);
    }
    bytes_clear(&out);
    metrics_describe(&out);
    char expected[128];
    snprintf(expected, sizeof(expected), "\nplain_total %d\n", WORKERS * CALLS * ROUNDS);
    cr_assert_not_null(strstr(out.data, expected), "%s", out.data);
    snprintf(expected, sizeof(expected), "\nlabelled_total{i=\"42\"} %d\n", WORKERS * CALLS * ROUNDS / 100 * 2);
    cr_assert_not_null(strstr(out.data, expected), "%s", out.data);
    snprintf(expected, sizeof(expected), "\ntook_seconds_count %d\n", WORKERS * CALLS * ROUNDS);
    cr_assert_not_null(strstr(out.data, expected), "%s", out.data);
    bytes_finish(&out);
    workbench_close(&workbench);
}
