#include "engine/health.h"

#include <criterion/criterion.h>
#include <errno.h>

static const struct config_health usual = {
    .check = {.on = true, .interval_ms = 1000, .timeout_ms = 100, .rise = 2, .fall = 3},
    .outlier = {.on = true, .consecutive_failures = 5, .ejection_time_ms = 1000, .ejection_max = 50},
    .slow_start_ms = 10000,
};

/* One check for each letter: `+` passes, `-` fails. */
static void check_all(struct health *health, const char *results) {
    for (; *results != 0; results++) {
        health_note_check(health, &usual, *results == '+' ? 0 : ECONNREFUSED, 1);
    }
}

static const char *state_of(const struct health *health) {
    return health_name(atomic_load(&health->out));
}

Test(health, of_a_new_server_is_up_and_its_first_check_decides_alone, .timeout = 10) {
    struct health dead = {.out = 0};
    struct health alive = {.out = 0};
    cr_assert_str_eq(state_of(&dead), "up");
    check_all(&dead, "-");
    cr_assert_str_eq(state_of(&dead), "down");
    check_all(&alive, "+--");
    cr_assert_str_eq(state_of(&alive), "up");
}

Test(health, goes_down_after_fall_failures_in_a_row, .timeout = 10) {
    struct health health = {.out = 0};
    check_all(&health, "+--+--+--");
    cr_assert_str_eq(state_of(&health), "up");
    check_all(&health, "-");
    cr_assert_str_eq(state_of(&health), "down");
    cr_assert_eq(atomic_load(&health.check_error), ECONNREFUSED);
    cr_assert_eq(atomic_load(&health.checks_failed_total), 7);
    cr_assert_eq(atomic_load(&health.checks_passed_total), 3);
}

Test(health, comes_up_after_rise_passes_in_a_row, .timeout = 10) {
    struct health health = {.out = 0};
    check_all(&health, "-+-+-+");
    cr_assert_str_eq(state_of(&health), "down");
    check_all(&health, "+");
    cr_assert_str_eq(state_of(&health), "up");
    cr_assert_eq(atomic_load(&health.check_error), 0);
}

Test(health, is_not_down_once_it_is_checked_no_more, .timeout = 10) {
    struct health health = {.out = 0};
    check_all(&health, "-");
    health_forget_checks(&health, &usual, 5);
    cr_assert_str_eq(state_of(&health), "up");
    check_all(&health, "-");
    cr_assert_str_eq(state_of(&health), "down", "the next check is a first one again");
}

Test(health, grows_to_its_full_share_when_it_returns, .timeout = 10) {
    struct health health = {.out = 0};
    health_note_check(&health, &usual, ECONNREFUSED, 1);
    health_note_check(&health, &usual, 0, 1);
    cr_assert_eq(atomic_load(&health.held_back), 0, "whoever is down has no share that could be held back");
    health_note_check(&health, &usual, 0, 1000);
    cr_assert_eq(atomic_load(&health.held_back), 99);
    uint32_t before = 99;
    for (uint64_t now_ms = 1000; now_ms < 11000; now_ms += 1000) {
        cr_assert_eq(health_tend(&health, &usual, 0, now_ms), now_ms + 100);
        cr_assert_leq(atomic_load(&health.held_back), before);
        before = atomic_load(&health.held_back);
    }
    cr_assert_leq(before, 10);
    cr_assert_eq(health_tend(&health, &usual, 0, 11000), UINT64_MAX);
    cr_assert_eq(atomic_load(&health.held_back), 0);
}

Test(health, has_its_whole_share_at_once_without_slow_start, .timeout = 10) {
    struct config_health config = usual;
    struct health health = {.out = 0};
    config.slow_start_ms = 0;
    health_order(&health, &config, HEALTH_DRAINED, 1);
    health_order(&health, &config, 0, 2);
    cr_assert_eq(atomic_load(&health.held_back), 0);
    cr_assert_eq(health_tend(&health, &config, 0, 3), UINT64_MAX);
}

/* Ejects it at that time and tells how long it stays out. */
static uint64_t ejection_ms(struct health *health, uint64_t now_ms) {
    health_eject(health, &usual, now_ms);
    cr_assert_str_eq(state_of(health), "ejected");
    uint64_t due_ms = health_tend(health, &usual, 0, now_ms);
    health_tend(health, &usual, 0, due_ms - 1);
    cr_assert_str_eq(state_of(health), "ejected");
    health_tend(health, &usual, 0, due_ms);
    cr_assert_str_eq(state_of(health), "up");
    return due_ms - now_ms;
}

Test(health, is_ejected_for_longer_each_time_up_to_eight_times, .timeout = 10) {
    static const uint64_t expected_ms[] = {1000, 2000, 4000, 8000, 8000, 8000};
    struct health health = {.out = 0};
    uint64_t now_ms = 1;
    for (size_t time = 0; time < sizeof(expected_ms) / sizeof(expected_ms[0]); time++) {
        uint64_t took_ms = ejection_ms(&health, now_ms);
        cr_assert_eq(took_ms, expected_ms[time], "%lu ms", (unsigned long)took_ms);
        now_ms += took_ms + 1;
    }
    cr_assert_eq(atomic_load(&health.ejections_total), 6);
    cr_assert_eq(ejection_ms(&health, now_ms + 8001), 1000, "it was well for as long as it was out");
}

Test(health, ejection_ends_when_nobody_wants_ejections_any_more, .timeout = 10) {
    struct config_health config = usual;
    struct health health = {.out = 0};
    health_eject(&health, &config, 1);
    config.outlier.on = false;
    health_tend(&health, &config, 0, 2);
    cr_assert_str_eq(state_of(&health), "up");
}

Test(health, an_operator_s_word_stands_beside_all_else, .timeout = 10) {
    struct health health = {.out = 0};
    check_all(&health, "-");
    health_order(&health, &usual, HEALTH_DRAINED, 2);
    cr_assert_str_eq(state_of(&health), "drained");
    check_all(&health, "++");
    cr_assert_str_eq(state_of(&health), "drained", "checks do not bring it back");
    check_all(&health, "---");
    health_order(&health, &usual, HEALTH_DISABLED, 3);
    cr_assert_str_eq(state_of(&health), "disabled");
    health_order(&health, &usual, 0, 4);
    cr_assert_str_eq(state_of(&health), "down", "to enable it does not mend it");
}

Test(health, an_operator_ends_an_ejection, .timeout = 10) {
    struct health health = {.out = 0};
    health_eject(&health, &usual, 1);
    health_order(&health, &usual, 0, 2);
    cr_assert_str_eq(state_of(&health), "up");
}

static uint32_t sessions_of(const struct health *health) {
    return atomic_load(&health->sessions);
}

Test(health, that_goes_down_leaves_sessions_alone_by_default, .timeout = 10) {
    struct health health = {.out = 0};
    check_all(&health, "-");
    health_tend(&health, &usual, 1000, 1000000);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_STAY);
}

Test(health, that_goes_down_resets_sessions_if_wanted, .timeout = 10) {
    struct config_health config = usual;
    struct health health = {.out = 0};
    config.on_server_down = SERVER_DOWN_RESET;
    health_order(&health, &config, HEALTH_DRAINED, 1);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_STAY, "who is drained is not down");
    health_order(&health, &config, HEALTH_DISABLED, 2);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_RESET);
    cr_assert_eq(atomic_load(&health.down_ms), 2);
    health_order(&health, &config, 0, 3);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_STAY);
}

Test(health, that_goes_down_drains_sessions_if_wanted, .timeout = 10) {
    struct config_health config = usual;
    struct health health = {.out = 0};
    config.on_server_down = SERVER_DOWN_DRAIN;
    health_note_check(&health, &config, ECONNREFUSED, 1000);
    cr_assert_eq(health_tend(&health, &config, 500, 1000), 1500);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_STAY);
    cr_assert_eq(health_tend(&health, &config, 500, 1500), UINT64_MAX);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_CLOSE);
}

/* Sessions connect to a server that is down, too, when no other is left. */
Test(health, a_further_reason_is_about_sessions_since_the_first, .timeout = 10) {
    struct config_health config = usual;
    struct health health = {.out = 0};
    config.on_server_down = SERVER_DOWN_DRAIN;
    health_note_check(&health, &config, ECONNREFUSED, 1000);
    health_tend(&health, &config, 500, 1500);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_CLOSE);
    health_order(&health, &config, HEALTH_DRAINED, 1900);
    cr_assert_eq(atomic_load(&health.down_ms), 1000, "who is drained is not down for another reason");
    health_order(&health, &config, HEALTH_DISABLED, 2000);
    cr_assert_eq(atomic_load(&health.down_ms), 2000);
    cr_assert_eq(health_tend(&health, &config, 500, 2000), 2500);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_STAY);
    health_tend(&health, &config, 500, 2500);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_CLOSE);
    health_order(&health, &config, 0, 3000);
    cr_assert_eq(atomic_load(&health.down_ms), 2000, "it is still down, and no reason has come");
}

Test(health, sessions_drain_for_ever_without_a_drain_timeout, .timeout = 10) {
    struct config_health config = usual;
    struct health health = {.out = 0};
    config.on_server_down = SERVER_DOWN_DRAIN;
    health_note_check(&health, &config, ECONNREFUSED, 1000);
    cr_assert_eq(health_tend(&health, &config, 0, UINT64_MAX / 2), UINT64_MAX);
    cr_assert_eq(sessions_of(&health), HEALTH_SESSIONS_STAY);
}
