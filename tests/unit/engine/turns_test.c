#include "engine/turns.h"

#include <criterion/criterion.h>

static uint64_t count_at(const struct turns *turns, size_t index) {
    return atomic_load(&turns->counts[index]);
}

Test(turns, are_counted_up_to_the_bound_that_they_do_not_exceed, .timeout = 10) {
    struct turns turns = {.longest_us = 0};
    turns_add(&turns, 0);
    turns_add(&turns, turns_bound_us(0));
    turns_add(&turns, turns_bound_us(0) + 1);
    turns_add(&turns, turns_bound_us(TURNS_BOUNDS - 1));
    turns_add(&turns, turns_bound_us(TURNS_BOUNDS - 1) + 1);
    cr_expect(count_at(&turns, 0) == 2);
    cr_expect(count_at(&turns, 1) == 1);
    cr_expect(count_at(&turns, TURNS_BOUNDS - 1) == 1);
    cr_expect(count_at(&turns, TURNS_BOUNDS) == 1);
}

Test(turns, have_ascending_bounds, .timeout = 10) {
    for (size_t i = 1; i < TURNS_BOUNDS; i++) {
        cr_expect(turns_bound_us(i) > turns_bound_us(i - 1));
    }
}

Test(turns, are_added_up_and_keep_the_longest, .timeout = 10) {
    struct turns turns = {.longest_us = 0};
    turns_add(&turns, 30);
    turns_add(&turns, 700);
    turns_add(&turns, 5);
    struct turns copy = {.longest_us = 100};
    turns_merge(&copy, &turns);
    turns_merge(&copy, &turns);
    cr_expect(atomic_load(&copy.longest_us) == 700);
    cr_expect(atomic_load(&copy.sum_us) == 2 * 735);
    cr_expect(count_at(&copy, 0) == 2 && count_at(&copy, 2) == 2 && count_at(&copy, 6) == 2);
}
