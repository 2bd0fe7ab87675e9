/* A number that one thread changes and any thread may read, at the price of a plain one: relaxed loads and stores are
 * the processor's own, and with a single writer nothing can come between the two. */
#ifndef MOONRING_BASE_COUNTER_H
#define MOONRING_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* Any thread. */
static inline uint64_t counter_read(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* The writer's. */
static inline void counter_set(_Atomic uint64_t *counter, uint64_t value) {
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/* The writer's. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t added) {
    counter_set(counter, counter_read(counter) + added);
}

#endif
