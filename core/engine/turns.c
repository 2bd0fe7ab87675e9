#include "engine/turns.h"

#include "base/counter.h"

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

static void raise_longest(struct turns *turns, uint64_t us) {
    if (us > counter_read(&turns->longest_us)) {
        counter_set(&turns->longest_us, us);
    }
}

void turns_add(struct turns *turns, uint64_t took_us) {
    size_t index = 0;
    while (took_us > bounds[index].us) {
        index++;
    }
    counter_add(&turns->counts[index], 1);
    counter_add(&turns->sum_us, took_us);
    raise_longest(turns, took_us);
}

void turns_merge(struct turns *into, const struct turns *from) {
    for (size_t i = 0; i <= TURNS_BOUNDS; i++) {
        counter_add(&into->counts[i], counter_read(&from->counts[i]));
    }
    counter_add(&into->sum_us, counter_read(&from->sum_us));
    raise_longest(into, counter_read(&from->longest_us));
}
