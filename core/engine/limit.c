#include "engine/limit.h"

enum {
    BURST_PART = 8,          /* of a second's bytes: what may come at once after a silence */
    QUANTUM_PART = 40,       /* of a second's bytes: less is not worth a receive, */
    QUANTUM_MAX = 16 * 1024, /* but so many always are */
    SECOND_US = 1000 * 1000,
};

static uint64_t at_least_1(uint64_t bytes) {
    return bytes == 0 ? 1 : bytes;
}

static uint64_t limit_burst(const struct limit *limit) {
    return at_least_1(limit->rate / BURST_PART);
}

static uint64_t limit_quantum(const struct limit *limit) {
    uint64_t bytes = at_least_1(limit->rate / QUANTUM_PART);
    return bytes < QUANTUM_MAX ? bytes : QUANTUM_MAX;
}

void limit_set(struct limit *limit, uint64_t rate, uint64_t now_us) {
    *limit =
        (struct limit){.rate = rate < LIMIT_RATE_MAX ? rate : LIMIT_RATE_MAX, .at_us = now_us, .due_us = UINT64_MAX};
    limit->credit = limit_quantum(limit) * SECOND_US;
}

static void limit_refill(struct limit *limit, uint64_t now_us) {
    uint64_t passed_us = now_us - limit->at_us;
    limit->credit += limit->rate * (passed_us < SECOND_US ? passed_us : SECOND_US);
    uint64_t full = limit_burst(limit) * SECOND_US;
    limit->credit = limit->credit < full ? limit->credit : full;
    limit->at_us = now_us;
}

uint32_t limit_allow(struct limit *limit, uint32_t room, uint64_t now_us) {
    if (limit->rate == 0) {
        return room;
    }
    limit_refill(limit, now_us);
    uint64_t wanted = limit_quantum(limit) * SECOND_US;
    if (limit->credit < wanted) {
        limit->due_us = now_us + (wanted - limit->credit + limit->rate - 1) / limit->rate;
        return 0;
    }
    limit->due_us = UINT64_MAX;
    uint64_t allowed = limit->credit / SECOND_US;
    return allowed < room ? (uint32_t)allowed : room;
}

void limit_spend(struct limit *limit, uint64_t size) {
    uint64_t spent = size * SECOND_US;
    limit->credit -= spent < limit->credit ? spent : limit->credit;
}
