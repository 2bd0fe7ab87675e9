#include "engine/turns.h"

#include "engine/ring.h"

#include <criterion/criterion.h>
#include <time.h>

static uint64_t count_at(const struct turn_times *times, size_t index) {
    return atomic_load(&times->counts[index]);
}

Test(turns, are_counted_up_to_the_bound_that_they_do_not_exceed, .timeout = 10) {
    struct turns turns = {.looked_us = 0};
    turns_add(&turns, 0, 0);
    turns_add(&turns, turns_bound_us(0), 0);
    turns_add(&turns, turns_bound_us(0) + 1, 0);
    turns_add(&turns, turns_bound_us(TURNS_BOUNDS - 1), 0);
    turns_add(&turns, turns_bound_us(TURNS_BOUNDS - 1) + 1, 0);
    cr_expect(count_at(&turns.took, 0) == 2);
    cr_expect(count_at(&turns.took, 1) == 1);
    cr_expect(count_at(&turns.took, TURNS_BOUNDS - 1) == 1);
    cr_expect(count_at(&turns.took, TURNS_BOUNDS) == 1);
}

Test(turns, have_ascending_bounds, .timeout = 10) {
    for (size_t i = 1; i < TURNS_BOUNDS; i++) {
        cr_expect(turns_bound_us(i) > turns_bound_us(i - 1));
    }
}

Test(turns, are_added_up_and_keep_the_longest, .timeout = 10) {
    struct turns turns = {.looked_us = 0};
    turns_add(&turns, 30, 0);
    turns_add(&turns, 700, 0);
    turns_add(&turns, 5, 0);
    struct turns copy = {.took = {.longest_us = 100}};
    turns_merge(&copy, &turns);
    turns_merge(&copy, &turns);
    cr_expect(atomic_load(&copy.took.longest_us) == 700);
    cr_expect(atomic_load(&copy.took.sum_us) == 2 * 735);
    cr_expect(count_at(&copy.worked, 0) == 6);
    cr_expect(count_at(&copy.took, 0) == 2 && count_at(&copy.took, 2) == 2 && count_at(&copy.took, 6) == 2);
}

static uint64_t now_us(void) {
    return kernel_now_ns() / 1000;
}

static void spin_us(uint64_t us) {
    uint64_t end_us = kernel_thread_ns() / 1000 + us;
    while (kernel_thread_ns() / 1000 < end_us) {
    }
}

Test(turns, tell_the_time_that_was_worked_from_the_time_that_passed, .timeout = 10) {
    const struct timespec interruption = {.tv_nsec = 50 * 1000 * 1000};
    struct turns turns = {.looked_us = 0};
    turns_end(&turns, now_us());
    uint64_t began_us = now_us();
    spin_us(3000);
    nanosleep(&interruption, NULL);
    turns_end(&turns, began_us);
    cr_expect(atomic_load(&turns.took.longest_us) >= 53000);
    cr_expect(atomic_load(&turns.worked.longest_us) >= 3000);
    cr_expect(atomic_load(&turns.worked.longest_us) < 30000);
}

Test(turns, that_are_short_were_worked_through, .timeout = 10) {
    struct turns turns = {.looked_us = 0};
    turns_end(&turns, now_us() - 700);
    cr_expect(count_at(&turns.worked, 6) == 1, "(as far as anybody knows)");
}
