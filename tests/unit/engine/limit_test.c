#include "engine/limit.h"

#include <criterion/criterion.h>

enum { SECOND_US = 1000 * 1000 };

/* Takes whatever is allowed, asking again when it is told to, or up to late_us later. Returns the bytes. */
static uint64_t take_for(struct limit *limit, uint64_t *now_us, uint64_t wait_us, uint64_t late_us) {
    uint64_t end_us = *now_us + wait_us;
    uint64_t taken = 0;
    while (*now_us <= end_us) {
        uint32_t allowed = limit_allow(limit, UINT32_MAX, *now_us);
        limit_spend(limit, allowed);
        taken += allowed;
        if (allowed == 0) {
            cr_assert_gt(limit->due_us, *now_us);
            *now_us = limit->due_us + late_us;
        }
    }
    return taken;
}

Test(limit, that_is_none_allows_all_there_is_room_for, .timeout = 10) {
    struct limit limit;
    limit_set(&limit, 0, 0);
    cr_assert_eq(limit_allow(&limit, 12345, 1), 12345);
    limit_spend(&limit, 12345);
    cr_assert_eq(limit_allow(&limit, 12345, 1), 12345);
    cr_assert_eq(limit.due_us, UINT64_MAX);
}

Test(limit, is_kept_to_the_byte_over_a_minute, .timeout = 10) {
    static const uint64_t rates[] = {1, 7, 100, 999, 64 * 1024, 10 * 1000 * 1000, 123456789};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct limit limit;
        uint64_t now_us = 1000;
        limit_set(&limit, rates[i], now_us);
        uint64_t taken = take_for(&limit, &now_us, (uint64_t)60 * SECOND_US, 0);
        uint64_t exact = rates[i] * 60;
        cr_expect_geq(taken, exact - rates[i] / 8 - 1, "%lu", (unsigned long)rates[i]);
        cr_expect_leq(taken, exact + rates[i] / 8 + rates[i] / 40 + 2, "%lu", (unsigned long)rates[i]);
    }
}

/* Timers come a little late: what would have been allowed meanwhile is not lost. */
Test(limit, makes_up_for_timers_that_come_late, .timeout = 10) {
    static const uint64_t rates[] = {100, 5000, 64 * 1024, 10 * 1000 * 1000};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct limit limit;
        uint64_t now_us = 1000;
        limit_set(&limit, rates[i], now_us);
        uint64_t taken = take_for(&limit, &now_us, (uint64_t)60 * SECOND_US, 2000);
        cr_expect_geq(taken, rates[i] * 60 - rates[i] / 8 - 1, "%lu: %lu", (unsigned long)rates[i],
                      (unsigned long)taken);
    }
}

Test(limit, allows_no_more_than_a_burst_after_a_silence, .timeout = 10) {
    struct limit limit;
    limit_set(&limit, 8000, 0);
    cr_assert_leq(limit_allow(&limit, UINT32_MAX, 3600ULL * SECOND_US), 1000);
}

Test(limit, begins_with_a_moments_bytes, .timeout = 10) {
    struct limit limit;
    limit_set(&limit, 8000, 500);
    cr_assert_eq(limit_allow(&limit, UINT32_MAX, 500), 200);
}

Test(limit, says_when_to_ask_again, .timeout = 10) {
    struct limit limit;
    limit_set(&limit, 8000, 0);
    limit_spend(&limit, 200);
    cr_assert_eq(limit_allow(&limit, UINT32_MAX, 0), 0);
    cr_assert_eq(limit.due_us, 25 * 1000);
    cr_assert_eq(limit_allow(&limit, UINT32_MAX, limit.due_us - 1), 0);
    cr_assert_eq(limit_allow(&limit, UINT32_MAX, 25 * 1000), 200);
    cr_assert_eq(limit.due_us, UINT64_MAX);
}

Test(limit, never_allows_more_than_there_is_room_for, .timeout = 10) {
    struct limit limit;
    limit_set(&limit, LIMIT_RATE_MAX, 0);
    cr_assert_eq(limit_allow(&limit, 7, (uint64_t)SECOND_US * 3600 * 24 * 365), 7);
}

Test(limit, forgives_what_was_received_before_it_was_set, .timeout = 10) {
    struct limit limit;
    limit_set(&limit, 1000, 0);
    limit_spend(&limit, 128 * 1024);
    cr_assert_eq(limit_allow(&limit, UINT32_MAX, 0), 0);
    cr_assert_leq(limit.due_us, 25 * 1000);
}
