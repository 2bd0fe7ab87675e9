#include "engine/turns.h"

#include "base/counter.h"
#include "engine/ring.h"

enum {
    LONG_US = 1000, /* a turn that takes longer may have been interrupted */
    LOOK_US = 500,  /* a look is a system call: no more than 2,000 of them in a second */
};

static const struct {
    uint64_t us;
    const char *text;
} bounds[TURNS_BOUNDS + 1] = {{10, "0.00001"}, {20, "0.00002"}, {50, "0.00005"}, {100, "0.0001"}, {200, "0.0002"},
                              {500, "0.0005"}, {1000, "0.001"}, {2000, "0.002"}, {5000, "0.005"}, {10000, "0.01"},
                              {20000, "0.02"}, {50000, "0.05"}, {100000, "0.1"}, {1000000, "1"},  {UINT64_MAX, "+Inf"}};

uint64_t turns_bound_us(size_t index) {
    return bounds[index].us;
}

const char *turns_bound_text(size_t index) {
    return bounds[index].text;
}

static void raise_longest(struct turn_times *times, uint64_t us) {
    if (us > counter_read(&times->longest_us)) {
        counter_set(&times->longest_us, us);
    }
}

static size_t bound_of(uint64_t us) {
    size_t index = 0;
    while (us > bounds[index].us) {
        index++;
    }
    return index;
}

static void times_add(struct turn_times *times, uint64_t us, size_t bound) {
    counter_add(&times->counts[bound], 1);
    counter_add(&times->sum_us, us);
    raise_longest(times, us);
}

void turns_add(struct turns *turns, uint64_t took_us, uint64_t worked_us) {
    size_t bound = bound_of(took_us);
    times_add(&turns->took, took_us, bound);
    times_add(&turns->worked, worked_us, worked_us == took_us ? bound : bound_of(worked_us));
}

/* Since the last look nearly all was this turn's, if it was a long one. */
static uint64_t turns_look(struct turns *turns, uint64_t now_us) {
    uint64_t before_us = turns->used_us;
    turns->looked_us = now_us;
    turns->used_us = kernel_thread_ns() / 1000;
    return turns->used_us - before_us;
}

void turns_end(struct turns *turns, uint64_t began_us) {
    uint64_t now_us = kernel_now_ns() / 1000;
    uint64_t took_us = now_us - began_us;
    uint64_t worked_us = took_us;
    if (took_us > LONG_US || now_us - turns->looked_us > LOOK_US) {
        uint64_t used_us = turns_look(turns, now_us);
        worked_us = took_us > LONG_US && used_us < took_us ? used_us : took_us;
    }
    turns_add(turns, took_us, worked_us);
}

static void times_merge(struct turn_times *into, const struct turn_times *from) {
    for (size_t i = 0; i <= TURNS_BOUNDS; i++) {
        counter_add(&into->counts[i], counter_read(&from->counts[i]));
    }
    counter_add(&into->sum_us, counter_read(&from->sum_us));
    raise_longest(into, counter_read(&from->longest_us));
}

void turns_merge(struct turns *into, const struct turns *from) {
    times_merge(&into->took, &from->took);
    times_merge(&into->worked, &from->worked);
}
