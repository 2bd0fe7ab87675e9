/* Latencies in buckets that grow with the value: 64 to a power of two, so that an answer is off by at most 1.6 %. */
#ifndef MOONRING_BENCH_HISTOGRAM_H
#define MOONRING_BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * 35 };

struct histogram {
    uint64_t count;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *histogram);
/* Values from 2^40 ns (18 minutes) on count as the largest. */
void histogram_add(struct histogram *histogram, uint64_t value_ns);
/* Takes away what `earlier`, a copy of the same histogram, had. */
void histogram_subtract(struct histogram *histogram, const struct histogram *earlier);
/* The value that `share` (0 to 1) of all values do not exceed; 0 when there is none. */
uint64_t histogram_quantile_ns(const struct histogram *histogram, double share);

#endif
