#include "tests/bench/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static int compare_numbers(const void *left, const void *right) {
    const double *a = left;
    const double *b = right;
    return (*a > *b) - (*a < *b);
}

struct spread spread_of(double *values, size_t count) {
    if (count == 0) {
        return (struct spread){0};
    }
    qsort(values, count, sizeof values[0], compare_numbers);
    return (struct spread){
        .count = count,
        .median = (values[(count - 1) / 2] + values[count / 2]) / 2,
        .min = values[0],
        .max = values[count - 1],
    };
}

static int decimals_of(double number) {
    double size = fabs(number);
    if (size >= 100) {
        return 0;
    }
    return size >= 10 ? 1 : size >= 1 ? 2 : 3;
}

const char *number_format(double number, char *text) {
    snprintf(text, SPREAD_TEXT_SIZE, "%.*f", decimals_of(number), number);
    return text;
}

const char *spread_format(const struct spread *spread, char *text) {
    if (spread->count == 0) {
        snprintf(text, SPREAD_TEXT_SIZE, "-");
        return text;
    }
    int decimals = decimals_of(spread->median);
    snprintf(text, SPREAD_TEXT_SIZE, "%.*f [%.*f..%.*f]", decimals, spread->median, decimals, spread->min, decimals,
             spread->max);
    return text;
}
