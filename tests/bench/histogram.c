#include "tests/bench/histogram.h"

#include <stddef.h>
#include <string.h>

enum { STEP_BITS = 6, VALUE_BITS_MAX = 40 };

/* Values below 64 have a bucket each; above, a value's top seven bits and its size choose the bucket. */
static size_t bucket_of(uint64_t value_ns) {
    if (value_ns < HISTOGRAM_STEPS) {
        return (size_t)value_ns;
    }
    if (value_ns >> VALUE_BITS_MAX != 0) {
        return HISTOGRAM_BUCKETS - 1;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(value_ns) - STEP_BITS;
    return ((size_t)shift << STEP_BITS) + (size_t)(value_ns >> shift);
}

/* The middle of a bucket. */
static uint64_t value_of(size_t bucket) {
    if (bucket < HISTOGRAM_STEPS) {
        return bucket;
    }
    size_t shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t steps = HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS;
    return (steps << shift) + ((1ULL << shift) >> 1);
}

void histogram_clear(struct histogram *histogram) {
    memset(histogram, 0, sizeof *histogram);
}

void histogram_add(struct histogram *histogram, uint64_t value_ns) {
    histogram->buckets[bucket_of(value_ns)]++;
    histogram->count++;
}

void histogram_subtract(struct histogram *histogram, const struct histogram *earlier) {
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        histogram->buckets[bucket] -= earlier->buckets[bucket];
    }
    histogram->count -= earlier->count;
}

uint64_t histogram_quantile_ns(const struct histogram *histogram, double share) {
    uint64_t rank = (uint64_t)((double)histogram->count * share);
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen > rank) {
            return value_of(bucket);
        }
    }
    return 0;
}
