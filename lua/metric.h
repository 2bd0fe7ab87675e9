/* What scripts count, for whoever watches the program: counters, gauges and histograms, by name and labels.
 *
 * A process has one registry. It outlives scripts and configurations, so that a reload loses no count, and what was
 * registered stays. Values lie in cells: a series (a metric with the values of its labels) has the same cells in the
 * row of every worker, and only that worker's thread writes there, without a lock. Whoever reads adds the rows up; so
 * does a gauge, which is the sum of what the workers set.
 *
 * Any thread may call these functions. */
#ifndef MOONRING_LUA_METRIC_H
#define MOONRING_LUA_METRIC_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    METRICS_MAX = 1000,
    METRIC_SERIES_MAX = 1000,      /* of a metric; what comes later is counted in one more, labelled "overflow" */
    METRIC_CELLS_MAX = 128 * 1024, /* of all; then the same */
    METRIC_LABELS_MAX = 8,
    METRIC_BUCKETS_MAX = 50,
    METRIC_NAME_MAX = 128,  /* bytes, of a metric or a label */
    METRIC_HELP_MAX = 512,  /* bytes */
    METRIC_VALUE_MAX = 128, /* bytes, of a label; longer ones are cut */
    METRIC_ROWS_MAX = 1025, /* row 0 belongs to no worker, row 1 to worker 0 */
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
/* counter, gauge, histogram; then NULL. */
extern const char *const metric_type_names[];

struct metric_definition {
    enum metric_type type;
    const char *name;
    const char *help;
    const char *labels[METRIC_LABELS_MAX];
    size_t labels_count;
    double buckets[METRIC_BUCKETS_MAX]; /* of a histogram: upper bounds, growing; above the last is one more */
    size_t buckets_count;
};

/* A label's value: any bytes. Shown as \xNN where they are no UTF-8 or hold control characters. */
struct metric_value {
    const char *text;
    size_t size;
};

/* Finds the metric or registers it; its number goes to *metric. The newest help text wins. False: the definition is not
 * allowed, or there is such a metric with another type, labels or buckets. */
bool metric_define(const struct metric_definition *definition, uint32_t *metric, struct error *error);

/* The first cell of the series with these values, one for each label. Registers it, or gives the series for overflow.
 * A counter and a gauge have one cell. A histogram has one for each bucket, one for what is above, and one for the sum
 * of what was observed. */
uint32_t metric_series(uint32_t metric, const struct metric_value *values);

/* METRIC_CELLS_MAX cells, which stay where they are. NULL: not enough memory. */
double *metric_row(size_t row);

/* Appends all metrics in the text format of Prometheus. */
void metrics_describe(struct bytes *out);

#endif
