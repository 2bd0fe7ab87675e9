#include "engine/wheel.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* A timer that notes when it fired. */
struct alarm {
    struct timer timer;
    struct wheel *wheel;
    uint64_t fired_ms; /* the time of the advance */
    unsigned count;
};

static void alarm_fired(struct timer *timer) {
    struct alarm *alarm = container_of(timer, struct alarm, timer);
    alarm->fired_ms = alarm->wheel->now_ms;
    alarm->count++;
}

static void alarm_init(struct alarm *alarm, struct wheel *wheel) {
    *alarm = (struct alarm){.wheel = wheel};
    timer_init(&alarm->timer, alarm_fired);
}

/* Sets a timer and advances millisecond by millisecond around its time. */
static void expect_fires_on_time(uint64_t now_ms, uint64_t wait_ms) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, now_ms);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, now_ms + wait_ms);
    wheel_advance(&wheel, now_ms + wait_ms - 1);
    cr_assert_eq(alarm.count, 0, "set at %lu for %lu ms later, fired early", now_ms, wait_ms);
    cr_assert(timer_is_set(&alarm.timer));
    wheel_advance(&wheel, now_ms + wait_ms);
    cr_assert_eq(alarm.count, 1, "set at %lu for %lu ms later, did not fire", now_ms, wait_ms);
    cr_assert_not(timer_is_set(&alarm.timer));
    wheel_advance(&wheel, now_ms + wait_ms + 100);
    cr_assert_eq(alarm.count, 1);
}

/* Does as a worker does: sleeps as long as the wheel says, at the most, until the timer has fired. */
static uint64_t advance_until_fired(struct wheel *wheel, const struct alarm *alarm) {
    uint64_t turns = 0;
    while (alarm->count == 0) {
        uint64_t wait_ms = wheel_wait_ms(wheel);
        cr_assert_gt(wait_ms, 0);
        cr_assert_leq(wait_ms, alarm->timer.due_ms - wheel->now_ms, "it would have slept past its timer");
        wheel_advance(wheel, wheel->now_ms + wait_ms);
        turns++;
    }
    return turns;
}

static const uint64_t horizon_ms = UINT64_C(1) << 36; /* 6 levels of 6 bits */

Test(wheel, fires_on_the_millisecond_on_every_level, .timeout = 10) {
    for (uint64_t now_ms = 0; now_ms < 300000; now_ms += 9973) {
        for (unsigned shift = 0; shift < 36; shift++) {
            uint64_t wait_ms = UINT64_C(1) << shift;
            expect_fires_on_time(now_ms, wait_ms);
            expect_fires_on_time(now_ms, wait_ms + 1);
            expect_fires_on_time(now_ms, wait_ms + wait_ms / 2 + 1);
        }
    }
}

Test(wheel, fires_on_the_millisecond_beyond_the_horizon, .timeout = 10) {
    const uint64_t starts_ms[] = {0, 1, 12345678, horizon_ms / 2, horizon_ms - 1};
    for (size_t index = 0; index < sizeof(starts_ms) / sizeof(starts_ms[0]); index++) {
        expect_fires_on_time(starts_ms[index], horizon_ms);
        expect_fires_on_time(starts_ms[index], horizon_ms + 1);
        expect_fires_on_time(starts_ms[index], 5 * horizon_ms + 77);
    }
}

/* A machine that has run for two years crosses it. */
Test(wheel, fires_on_the_millisecond_when_its_clock_crosses_the_horizon, .timeout = 10) {
    for (unsigned shift = 0; shift < 36; shift++) {
        uint64_t wait_ms = UINT64_C(1) << shift;
        expect_fires_on_time(horizon_ms - 1, wait_ms);
        expect_fires_on_time(horizon_ms - wait_ms, wait_ms);
        expect_fires_on_time(3 * horizon_ms - wait_ms / 2 - 1, wait_ms);
    }
}

Test(wheel, fires_a_late_timer_at_the_first_advance_behind_its_time, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarms[36];
    wheel_init(&wheel, 1000);
    for (unsigned shift = 0; shift < 36; shift++) {
        alarm_init(&alarms[shift], &wheel);
        wheel_set(&wheel, &alarms[shift].timer, 1000 + (UINT64_C(1) << shift));
    }
    wheel_advance(&wheel, horizon_ms + 4321);
    for (unsigned shift = 0; shift < 36; shift++) {
        cr_assert_eq(alarms[shift].count, 1, "shift %u", shift);
        cr_assert_eq(alarms[shift].fired_ms, horizon_ms + 4321);
    }
    cr_assert_eq(wheel_wait_ms(&wheel), UINT64_MAX);
}

Test(wheel, fires_a_time_that_has_passed_a_millisecond_later, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 5000);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, 17);
    cr_assert_eq(wheel_wait_ms(&wheel), 1);
    wheel_advance(&wheel, 5001);
    cr_assert_eq(alarm.count, 1);
}

Test(wheel, a_passed_time_fires_also_when_the_next_millisecond_enters_upper_slots, .timeout = 10) {
    for (unsigned level = 1; level < WHEEL_LEVELS; level++) {
        struct wheel wheel;
        struct alarm alarm;
        uint64_t boundary_ms = UINT64_C(1) << (level * 6);
        wheel_init(&wheel, boundary_ms - 1);
        alarm_init(&alarm, &wheel);
        wheel_set(&wheel, &alarm.timer, 0);
        wheel_advance(&wheel, boundary_ms);
        cr_assert_eq(alarm.count, 1, "level %u", level);
    }
}

Test(wheel, fires_no_timer_that_was_stopped, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, 100);
    wheel_stop(&alarm.timer);
    cr_assert_not(timer_is_set(&alarm.timer));
    wheel_advance(&wheel, 200);
    cr_assert_eq(alarm.count, 0);
}

Test(wheel, stopping_a_timer_that_is_not_set_is_harmless, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    wheel_stop(&alarm.timer);
    wheel_set(&wheel, &alarm.timer, 1);
    wheel_advance(&wheel, 1);
    wheel_stop(&alarm.timer);
    wheel_stop(&alarm.timer);
    cr_assert_eq(alarm.count, 1);
}

Test(wheel, setting_a_timer_again_forgets_its_old_time, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, 100);
    wheel_set(&wheel, &alarm.timer, 70000);
    wheel_advance(&wheel, 69999);
    cr_assert_eq(alarm.count, 0);
    wheel_set(&wheel, &alarm.timer, 70001);
    wheel_advance(&wheel, 70001);
    cr_assert_eq(alarm.count, 1);
}

Test(wheel, a_clock_that_goes_back_fires_nothing, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 1000);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, 1001);
    wheel_advance(&wheel, 0);
    cr_assert_eq(alarm.count, 0);
    cr_assert_eq(wheel.now_ms, 1000);
    wheel_advance(&wheel, 1001);
    cr_assert_eq(alarm.count, 1);
}

/* --- from within a fired timer -------------------------------------------------------------------------------------
 */

/* Stops or sets its neighbour when it fires. */
struct meddler {
    struct alarm alarm; /* first: fired as an alarm too */
    struct timer *other;
    uint64_t other_due_ms; /* 0: stop it */
};

static void meddler_fired(struct timer *timer) {
    struct meddler *meddler = container_of(timer, struct meddler, alarm.timer);
    alarm_fired(timer);
    if (meddler->other_due_ms == 0) {
        wheel_stop(meddler->other);
    } else {
        wheel_set(meddler->alarm.wheel, meddler->other, meddler->other_due_ms);
    }
}

static void meddler_init(struct meddler *meddler, struct wheel *wheel, struct timer *other, uint64_t other_due_ms) {
    *meddler = (struct meddler){.alarm = {.wheel = wheel}, .other = other, .other_due_ms = other_due_ms};
    timer_init(&meddler->alarm.timer, meddler_fired);
}

Test(wheel, a_fired_timer_may_stop_one_that_is_due_in_the_same_advance, .timeout = 10) {
    struct wheel wheel;
    struct meddler meddler;
    struct alarm alarm;
    wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    meddler_init(&meddler, &wheel, &alarm.timer, 0);
    wheel_set(&wheel, &meddler.alarm.timer, 10);
    wheel_set(&wheel, &alarm.timer, 20);
    wheel_advance(&wheel, 1000);
    cr_assert_eq(meddler.alarm.count, 1);
    cr_assert_eq(alarm.count, 0);
    wheel_advance(&wheel, 100000);
    cr_assert_eq(alarm.count, 0);
}

Test(wheel, a_fired_timer_may_put_off_one_that_is_due_in_the_same_advance, .timeout = 10) {
    struct wheel wheel;
    struct meddler meddler;
    struct alarm alarm;
    wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    meddler_init(&meddler, &wheel, &alarm.timer, 5000);
    wheel_set(&wheel, &meddler.alarm.timer, 10);
    wheel_set(&wheel, &alarm.timer, 20);
    wheel_advance(&wheel, 4999);
    cr_assert_eq(alarm.count, 0);
    wheel_advance(&wheel, 5000);
    cr_assert_eq(alarm.count, 1);
}

Test(wheel, a_fired_timer_may_set_itself_again, .timeout = 10) {
    struct wheel wheel;
    struct meddler meddler;
    wheel_init(&wheel, 0);
    meddler_init(&meddler, &wheel, &meddler.alarm.timer, 300);
    wheel_set(&wheel, &meddler.alarm.timer, 10);
    wheel_advance(&wheel, 299);
    cr_assert_eq(meddler.alarm.count, 1);
    cr_assert(timer_is_set(&meddler.alarm.timer));
    wheel_advance(&wheel, 300);
    cr_assert_eq(meddler.alarm.count, 2);
}

Test(wheel, a_timer_that_sets_itself_for_now_fires_once_in_each_advance, .timeout = 10) {
    struct wheel wheel;
    struct meddler meddler;
    wheel_init(&wheel, 0);
    meddler_init(&meddler, &wheel, &meddler.alarm.timer, 1);
    wheel_set(&wheel, &meddler.alarm.timer, 1);
    for (unsigned turn = 1; turn <= 10; turn++) {
        wheel_advance(&wheel, turn * 10);
        cr_assert_eq(meddler.alarm.count, turn);
    }
}

/* --- waiting -------------------------------------------------------------------------------------------------------
 */

Test(wheel, wants_no_advance_when_nothing_is_set, .timeout = 10) {
    struct wheel wheel;
    wheel_init(&wheel, 123456789);
    cr_assert_eq(wheel_wait_ms(&wheel), UINT64_MAX);
}

Test(wheel, wants_its_advance_on_the_millisecond_of_a_near_timer, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 6400);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, 6437);
    cr_assert_eq(wheel_wait_ms(&wheel), 37);
}

Test(wheel, sleeping_as_long_as_it_says_fires_on_time_in_few_turns, .timeout = 10) {
    const uint64_t starts_ms[] = {0, 63, 4095, 987654321, horizon_ms - 1000, horizon_ms - 1, 7 * horizon_ms - 63};
    for (size_t index = 0; index < sizeof(starts_ms) / sizeof(starts_ms[0]); index++) {
        for (unsigned shift = 0; shift < 38; shift++) {
            struct wheel wheel;
            struct alarm alarm;
            uint64_t due_ms = starts_ms[index] + (UINT64_C(3) << shift) / 2;
            wheel_init(&wheel, starts_ms[index]);
            alarm_init(&alarm, &wheel);
            wheel_set(&wheel, &alarm.timer, due_ms);
            uint64_t turns = advance_until_fired(&wheel, &alarm);
            cr_assert_eq(alarm.fired_ms, due_ms);
            cr_assert_leq(turns, 2 * WHEEL_LEVELS, "%lu turns for a timer of %lu ms", turns, due_ms);
        }
    }
}

Test(wheel, a_stopped_timer_wakes_at_most_once_for_each_level, .timeout = 10) {
    struct wheel wheel;
    struct alarm alarm;
    wheel_init(&wheel, 0);
    alarm_init(&alarm, &wheel);
    wheel_set(&wheel, &alarm.timer, 1000000);
    wheel_stop(&alarm.timer);
    int turns = 0;
    for (; wheel_wait_ms(&wheel) != UINT64_MAX; turns++) {
        wheel_advance(&wheel, wheel.now_ms + wheel_wait_ms(&wheel));
    }
    cr_assert_leq(turns, 1);
}

/* --- against a model -----------------------------------------------------------------------------------------------
 */

enum { ALARMS = 128, OPERATIONS = 100000 };

/* The plainest thing that keeps times: one place for each timer, looked through from first to last. */
struct model {
    struct wheel wheel;
    struct alarm alarms[ALARMS];
    uint64_t due_ms[ALARMS]; /* UINT64_MAX: not set */
    unsigned short seed[3];
};

static uint64_t model_random(struct model *model, uint64_t below) {
    return (((uint64_t)nrand48(model->seed) << 31) | (uint64_t)nrand48(model->seed)) % below;
}

/* Small and large numbers equally often. */
static uint64_t model_random_time(struct model *model, unsigned bits_max) {
    return model_random(model, UINT64_C(1) << model_random(model, bits_max));
}

static void model_init(struct model *model, uint64_t now_ms, unsigned short seed) {
    *model = (struct model){.seed = {seed, 2, 3}};
    wheel_init(&model->wheel, now_ms);
    for (size_t index = 0; index < ALARMS; index++) {
        alarm_init(&model->alarms[index], &model->wheel);
        model->due_ms[index] = UINT64_MAX;
    }
}

static void model_set(struct model *model, size_t index) {
    uint64_t now_ms = model->wheel.now_ms;
    uint64_t late_ms = model_random(model, 8) == 0 ? model_random_time(model, 10) : 0;
    uint64_t due_ms = late_ms > 0 && late_ms < now_ms ? now_ms - late_ms : now_ms + model_random_time(model, 38);
    wheel_set(&model->wheel, &model->alarms[index].timer, due_ms);
    model->due_ms[index] = due_ms > now_ms ? due_ms : now_ms + 1;
}

static void model_stop(struct model *model, size_t index) {
    wheel_stop(&model->alarms[index].timer);
    model->due_ms[index] = UINT64_MAX;
}

static uint64_t model_next(const struct model *model) {
    uint64_t next_ms = UINT64_MAX;
    for (size_t index = 0; index < ALARMS; index++) {
        next_ms = model->due_ms[index] < next_ms ? model->due_ms[index] : next_ms;
    }
    return next_ms;
}

static void model_advance(struct model *model, uint64_t now_ms) {
    for (size_t index = 0; index < ALARMS; index++) {
        model->alarms[index].count = 0;
    }
    wheel_advance(&model->wheel, now_ms);
    for (size_t index = 0; index < ALARMS; index++) {
        unsigned wanted = model->due_ms[index] <= now_ms ? 1 : 0;
        cr_assert_eq(model->alarms[index].count, wanted, "timer of %lu fired %u times at %lu", model->due_ms[index],
                     model->alarms[index].count, now_ms);
        model->due_ms[index] = wanted == 1 ? UINT64_MAX : model->due_ms[index];
        cr_assert_eq(timer_is_set(&model->alarms[index].timer), model->due_ms[index] != UINT64_MAX);
    }
}

static void model_check_wait(const struct model *model) {
    uint64_t next_ms = model_next(model);
    uint64_t wait_ms = wheel_wait_ms(&model->wheel);
    if (next_ms != UINT64_MAX) {
        cr_assert_leq(wait_ms, next_ms - model->wheel.now_ms, "at %lu it sleeps %lu past %lu", model->wheel.now_ms,
                      wait_ms, next_ms);
    }
}

static void model_step(struct model *model) {
    size_t index = model_random(model, ALARMS);
    switch (model_random(model, 8)) {
    case 0:
        model_stop(model, index);
        break;
    case 1:
        model_advance(model, model->wheel.now_ms + model_random_time(model, 33));
        break;
    case 2:
        if (model_next(model) != UINT64_MAX) {
            model_advance(model, model_next(model));
        }
        break;
    case 3:
        if (wheel_wait_ms(&model->wheel) != UINT64_MAX) {
            model_advance(model, model->wheel.now_ms + wheel_wait_ms(&model->wheel));
        }
        break;
    default:
        model_set(model, index);
        break;
    }
    model_check_wait(model);
}

Test(wheel, fires_what_a_plain_list_of_times_would_fire, .timeout = 60) {
    static struct model model;
    for (unsigned short seed = 1; seed <= 4; seed++) {
        model_init(&model, seed * UINT64_C(1234567), seed);
        for (int step = 0; step < OPERATIONS / 4; step++) {
            model_step(&model);
        }
    }
}
