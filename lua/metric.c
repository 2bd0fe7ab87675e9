#include "lua/metric.h"

#include "base/check.h"
#include "base/log.h"
#include "config/utf8.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUES_SIZE = METRIC_LABELS_MAX * (METRIC_VALUE_MAX + 1), /* one behind the other, each with a 0 behind it */
    CHAINS = 256,
};

struct series {
    struct series *_Atomic next; /* of the metric, in the order of registering */
    struct series *chained;      /* the next one whose values have the same hash; under the lock */
    uint32_t cell;
    size_t size;
    char values[];
};

/* What is constant when it is in the registry may be read without the lock. */
struct metric {
    enum metric_type type;
    char *name;
    char *help; /* under the lock */
    char *labels[METRIC_LABELS_MAX];
    size_t labels_count;
    double *buckets;
    size_t buckets_count;
    struct series *_Atomic first;  /* of a metric with labels the one for overflow */
    struct series *last;           /* under the lock */
    struct series *chains[CHAINS]; /* by the hash of the values; under the lock */
    size_t series_count;           /* under the lock; without the first */
    atomic_bool first_is_used;
};

static struct {
    pthread_mutex_t lock; /* for everything that writes here */
    struct metric *metrics[METRICS_MAX];
    atomic_size_t metrics_count; /* grows when the metric is there */
    uint32_t cells_count;
    double *_Atomic rows[METRIC_ROWS_MAX];
    atomic_size_t rows_end; /* beyond the last that is there */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

const char *const metric_type_names[] = {"counter", "gauge", "histogram", NULL};

/* --- what is allowed ---------------------------------------------------------------------------------------------- */

static bool name_is_good(const char *name, const char *letters) {
    size_t size = strlen(name);
    bool begins = size > 0 && (name[0] < '0' || name[0] > '9');
    return begins && size <= METRIC_NAME_MAX && strspn(name, letters) == size;
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

static bool check_name(const struct metric_definition *definition, struct error *error) {
    const char *name = definition->name;
    if (!name_is_good(name, LETTERS ":")) {
        return error_set(error,
                         "\"%.64s\" is no name for a metric (letters, digits, _ and :, no digit first, at most %d)",
                         name, METRIC_NAME_MAX);
    }
    if (strncmp(name, "moonring_", strlen("moonring_")) == 0) {
        return error_set(error, "\"%s\": names that begin with moonring_ are the program's own", name);
    }
    if (strlen(definition->help) > METRIC_HELP_MAX) {
        return error_set(error, "%s: the help text is longer than %d bytes", name, METRIC_HELP_MAX);
    }
    return true;
}

static bool check_label(const struct metric_definition *definition, size_t index, struct error *error) {
    const char *label = definition->labels[index];
    if (!name_is_good(label, LETTERS) || strncmp(label, "__", 2) == 0) {
        return error_set(error,
                         "%s: \"%.64s\" is no name for a label (letters, digits and _, no digit or __ first, "
                         "at most %d)",
                         definition->name, label, METRIC_NAME_MAX);
    }
    if (definition->type == METRIC_HISTOGRAM && strcmp(label, "le") == 0) {
        return error_set(error, "%s: the label \"le\" of a histogram says which bucket it is", definition->name);
    }
    for (size_t other = 0; other < index; other++) {
        if (strcmp(label, definition->labels[other]) == 0) {
            return error_set(error, "%s: the label \"%s\" is there twice", definition->name, label);
        }
    }
    return true;
}

static bool check_buckets(const struct metric_definition *definition, struct error *error) {
    for (size_t index = 0; index < definition->buckets_count; index++) {
        double bucket = definition->buckets[index];
        if (!isfinite(bucket) || (index > 0 && bucket <= definition->buckets[index - 1])) {
            return error_set(error, "%s: bucket %zu is %g: buckets are numbers that grow", definition->name, index + 1,
                             bucket);
        }
    }
    return true;
}

static bool check_definition(const struct metric_definition *definition, struct error *error) {
    if (!check_name(definition, error)) {
        return false;
    }
    for (size_t index = 0; index < definition->labels_count; index++) {
        if (!check_label(definition, index, error)) {
            return false;
        }
    }
    return check_buckets(definition, error);
}

static bool labels_are_equal(const struct metric *metric, const struct metric_definition *definition) {
    bool equal = metric->labels_count == definition->labels_count;
    for (size_t index = 0; equal && index < metric->labels_count; index++) {
        equal = strcmp(metric->labels[index], definition->labels[index]) == 0;
    }
    return equal;
}

static bool buckets_are_equal(const struct metric *metric, const struct metric_definition *definition) {
    bool equal = metric->buckets_count == definition->buckets_count;
    for (size_t index = 0; equal && index < metric->buckets_count; index++) {
        equal = metric->buckets[index] == definition->buckets[index];
    }
    return equal;
}

static bool check_same(const struct metric *metric, const struct metric_definition *definition, struct error *error) {
    char what[32];
    if (metric->type != definition->type) {
        snprintf(what, sizeof(what), "is a %s", metric_type_names[metric->type]);
    } else if (!labels_are_equal(metric, definition)) {
        snprintf(what, sizeof(what), "has other labels");
    } else if (!buckets_are_equal(metric, definition)) {
        snprintf(what, sizeof(what), "has other buckets");
    } else {
        return true;
    }
    return error_set(error, "%s %s already, and keeps its type, labels and buckets until moonring starts again",
                     metric->name, what);
}

/* --- registering; under the lock ---------------------------------------------------------------------------------- */

static uint32_t cells_of_series(const struct metric *metric) {
    return metric->type == METRIC_HISTOGRAM ? (uint32_t)metric->buckets_count + 2 : 1;
}

static struct series **chain_of(struct metric *metric, const char *values, size_t size) {
    return &metric->chains[bytes_hash(values, size) % CHAINS];
}

/* NULL: there is no room. */
static struct series *series_create(struct metric *metric, const char *values, size_t size) {
    uint32_t cells = cells_of_series(metric);
    struct series *series = cells <= METRIC_CELLS_MAX - registry.cells_count ? malloc(sizeof(*series) + size) : NULL;
    if (series == NULL) {
        return NULL;
    }
    struct series **chain = chain_of(metric, values, size);
    *series = (struct series){.chained = *chain, .cell = registry.cells_count, .size = size};
    *chain = series;
    memcpy(series->values, values, size);
    registry.cells_count += cells;
    atomic_store_explicit(metric->last == NULL ? &metric->first : &metric->last->next, series, memory_order_release);
    metric->last = series;
    return series;
}

static bool series_create_first(struct metric *metric) {
    static const char overflow[] = "overflow";
    char values[VALUES_SIZE];
    for (size_t index = 0; index < metric->labels_count; index++) {
        memcpy(values + index * sizeof(overflow), overflow, sizeof(overflow));
    }
    return series_create(metric, values, metric->labels_count * sizeof(overflow)) != NULL;
}

static void metric_destroy(struct metric *metric) {
    for (size_t index = 0; index < metric->labels_count; index++) {
        free(metric->labels[index]);
    }
    free(metric->buckets);
    free(metric->help);
    free(metric->name);
    free(metric);
}

static struct metric *metric_create(const struct metric_definition *definition) {
    struct metric *metric = calloc(1, sizeof(*metric));
    if (metric == NULL) {
        return NULL;
    }
    size_t buckets_count = definition->buckets_count;
    metric->type = definition->type;
    metric->name = strdup(definition->name);
    metric->help = strdup(definition->help);
    metric->buckets = calloc(buckets_count + 1, sizeof(double));
    bool good = metric->name != NULL && metric->help != NULL && metric->buckets != NULL;
    for (size_t index = 0; good && index < definition->labels_count; index++) {
        metric->labels[index] = strdup(definition->labels[index]);
        metric->labels_count++;
        good = metric->labels[index] != NULL;
    }
    if (good) {
        memcpy(metric->buckets, definition->buckets, buckets_count * sizeof(double));
        metric->buckets_count = buckets_count;
    }
    if (!good || !series_create_first(metric)) {
        metric_destroy(metric);
        return NULL;
    }
    return metric;
}

static bool registry_add(const struct metric_definition *definition, struct error *error) {
    size_t count = atomic_load_explicit(&registry.metrics_count, memory_order_relaxed);
    struct metric *metric = count < METRICS_MAX ? metric_create(definition) : NULL;
    if (metric == NULL) {
        return error_set(error, "%s: no room for another metric (at most %d, with %d cells)", definition->name,
                         METRICS_MAX, METRIC_CELLS_MAX);
    }
    registry.metrics[count] = metric;
    atomic_store_explicit(&registry.metrics_count, count + 1, memory_order_release);
    return true;
}

/* The newest text is the one that its author sees in the file. */
static void metric_set_help(struct metric *metric, const char *help) {
    char *copy = strcmp(metric->help, help) != 0 ? strdup(help) : NULL;
    if (copy != NULL) {
        free(metric->help);
        metric->help = copy;
    }
}

static bool registry_find(const struct metric_definition *definition, uint32_t *metric, struct error *error) {
    size_t count = atomic_load_explicit(&registry.metrics_count, memory_order_relaxed);
    size_t index = 0;
    while (index < count && strcmp(registry.metrics[index]->name, definition->name) != 0) {
        index++;
    }
    *metric = (uint32_t)index;
    if (index == count) {
        return registry_add(definition, error);
    }
    if (!check_same(registry.metrics[index], definition, error)) {
        return false;
    }
    metric_set_help(registry.metrics[index], definition->help);
    return true;
}

bool metric_define(const struct metric_definition *definition, uint32_t *metric, struct error *error) {
    if (!check_definition(definition, error)) {
        return false;
    }
    pthread_mutex_lock(&registry.lock);
    bool found = registry_find(definition, metric, error);
    pthread_mutex_unlock(&registry.lock);
    return found;
}

/* --- series ------------------------------------------------------------------------------------------------------- */

static bool value_is_plain(const struct metric_value *value) {
    const char *end = value->text + value->size;
    for (const char *at = value->text; at < end;) {
        uint32_t character;
        size_t length = utf8_decode(at, end, &character);
        if (length == 0 || utf8_is_control(character)) {
            return false;
        }
        at += length;
    }
    return true;
}

/* Whole characters of it, at most METRIC_VALUE_MAX bytes, and a 0. Returns the size. */
static size_t value_write(const struct metric_value *value, char *text) {
    bool plain = value_is_plain(value);
    const char *end = value->text + value->size;
    size_t size = 0;
    for (const char *at = value->text; at < end;) {
        uint32_t character;
        char escaped[4];
        size_t length = plain ? utf8_decode(at, end, &character) : 1;
        size_t piece = plain ? length : bytes_escape(*at, escaped);
        if (size + piece > METRIC_VALUE_MAX) {
            break;
        }
        memcpy(text + size, plain ? at : escaped, piece);
        size += piece;
        at += length;
    }
    text[size] = 0;
    return size + 1;
}

static struct series *series_find(struct metric *metric, const char *values, size_t size) {
    struct series *series = *chain_of(metric, values, size);
    while (series != NULL && (series->size != size || memcmp(series->values, values, size) != 0)) {
        series = series->chained;
    }
    if (series == NULL && metric->series_count < METRIC_SERIES_MAX) {
        series = series_create(metric, values, size);
        metric->series_count += series != NULL;
    }
    return series;
}

static void tell_overflow(const struct metric *metric) {
    log_warn(
        "metric %s: too many values of its labels (at most %d, and %d cells of all metrics): others are counted as "
        "\"overflow\"",
        metric->name, METRIC_SERIES_MAX, METRIC_CELLS_MAX);
}

uint32_t metric_series(uint32_t metric, const struct metric_value *values) {
    check(metric < atomic_load_explicit(&registry.metrics_count, memory_order_acquire));
    struct metric *found = registry.metrics[metric];
    char text[VALUES_SIZE];
    size_t size = 0;
    for (size_t index = 0; index < found->labels_count; index++) {
        size += value_write(&values[index], text + size);
    }
    pthread_mutex_lock(&registry.lock);
    struct series *series = series_find(found, text, size);
    pthread_mutex_unlock(&registry.lock);
    struct series *first = atomic_load_explicit(&found->first, memory_order_relaxed);
    if (series != NULL && series != first) {
        return series->cell;
    }
    if (!atomic_exchange(&found->first_is_used, true) && series == NULL) {
        tell_overflow(found);
    }
    return first->cell;
}

double *metric_row(size_t row) {
    check(row < METRIC_ROWS_MAX);
    pthread_mutex_lock(&registry.lock);
    double *cells = atomic_load_explicit(&registry.rows[row], memory_order_relaxed);
    if (cells == NULL) {
        /* The system gives memory for what is touched only. */
        cells = calloc(METRIC_CELLS_MAX, sizeof(double));
        atomic_store_explicit(&registry.rows[row], cells, memory_order_release);
        if (row >= atomic_load(&registry.rows_end)) {
            atomic_store(&registry.rows_end, row + 1);
        }
    }
    pthread_mutex_unlock(&registry.lock);
    return cells;
}

/* --- describing --------------------------------------------------------------------------------------------------- */

/* Its writer is code of LuaJIT: a store of 8 bytes, which the processor does at once, but which no compiler knows for
 * an atomic one. ThreadSanitizer would see its interpreter's, made by memcpy, as a race. */
__attribute__((no_sanitize("thread"))) static double cell_read(const double *cell) {
    return *(const volatile double *)cell;
}

static double cell_sum(uint32_t cell) {
    double sum = 0;
    size_t end = atomic_load(&registry.rows_end);
    for (size_t row = 0; row < end; row++) {
        const double *cells = atomic_load_explicit(&registry.rows[row], memory_order_acquire);
        sum += cells != NULL ? cell_read(&cells[cell]) : 0;
    }
    return sum;
}

enum { NUMBER_SIZE = 32 };

/* The shortest text that is read as the same number. */
static void number_write(double number, char text[static NUMBER_SIZE]) {
    snprintf(text, NUMBER_SIZE, "%.15g", number);
    if (strtod(text, NULL) != number) {
        snprintf(text, NUMBER_SIZE, "%.17g", number);
    }
}

static void help_write(struct metric *metric, struct bytes *out) {
    bytes_printf(out, "# HELP %s ", metric->name);
    pthread_mutex_lock(&registry.lock);
    for (const char *at = metric->help; *at != 0; at++) {
        if (*at == '\\' || *at == '\n') {
            bytes_append_text(out, *at == '\n' ? "\\n" : "\\\\");
        } else {
            bytes_append_char(out, *at);
        }
    }
    pthread_mutex_unlock(&registry.lock);
    bytes_append_char(out, '\n');
}

/* NAME{LABEL="VALUE",le="BOUND"} NUMBER; bound NULL: without. */
static void sample_write(const struct metric *metric, const struct series *series, const char *suffix,
                         const char *bound, double number, struct bytes *out) {
    bytes_printf(out, "%s%s", metric->name, suffix);
    const char *value = series->values;
    const char *before = "{";
    for (size_t index = 0; index < metric->labels_count; index++) {
        bytes_printf(out, "%s%s=", before, metric->labels[index]);
        bytes_append_json(out, value);
        value += strlen(value) + 1;
        before = ",";
    }
    if (bound != NULL) {
        bytes_printf(out, "%sle=\"%s\"", before, bound);
        before = ",";
    }
    char text[NUMBER_SIZE];
    number_write(number, text);
    bytes_printf(out, "%s %s\n", before[0] == ',' ? "}" : "", text);
}

static void histogram_write(const struct metric *metric, const struct series *series, struct bytes *out) {
    double count = 0;
    for (size_t index = 0; index < metric->buckets_count; index++) {
        count += cell_sum(series->cell + (uint32_t)index);
        char bound[NUMBER_SIZE];
        number_write(metric->buckets[index], bound);
        sample_write(metric, series, "_bucket", bound, count, out);
    }
    count += cell_sum(series->cell + (uint32_t)metric->buckets_count);
    sample_write(metric, series, "_bucket", "+Inf", count, out);
    sample_write(metric, series, "_sum", NULL, cell_sum(series->cell + (uint32_t)metric->buckets_count + 1), out);
    sample_write(metric, series, "_count", NULL, count, out);
}

static void metric_write(struct metric *metric, struct bytes *out) {
    help_write(metric, out);
    bytes_printf(out, "# TYPE %s %s\n", metric->name, metric_type_names[metric->type]);
    struct series *series = atomic_load_explicit(&metric->first, memory_order_acquire);
    if (!atomic_load(&metric->first_is_used)) {
        series = atomic_load_explicit(&series->next, memory_order_acquire);
    }
    for (; series != NULL; series = atomic_load_explicit(&series->next, memory_order_acquire)) {
        if (metric->type == METRIC_HISTOGRAM) {
            histogram_write(metric, series, out);
        } else {
            sample_write(metric, series, "", NULL, cell_sum(series->cell), out);
        }
    }
}

void metrics_describe(struct bytes *out) {
    size_t count = atomic_load_explicit(&registry.metrics_count, memory_order_acquire);
    for (size_t index = 0; index < count; index++) {
        metric_write(registry.metrics[index], out);
    }
}
