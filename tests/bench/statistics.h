/* The middle and the ends of a few numbers. */
#ifndef MOONRING_BENCH_STATISTICS_H
#define MOONRING_BENCH_STATISTICS_H

#include <stddef.h>

struct spread {
    size_t count; /* 0: the rest is 0 too */
    double median;
    double min;
    double max;
};

/* Sorts `values`. */
struct spread spread_of(double *values, size_t count);

enum { SPREAD_TEXT_SIZE = 64 };
/* `1.22 [1.19..1.25]`, with about three digits; `-` when there is nothing. */
const char *spread_format(const struct spread *spread, char *text);
/* A number with about three digits. */
const char *number_format(double number, char *text);

#endif
