#include "engine/tally.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(tally, adds_up_what_each_worker_has_counted, .timeout = 10) {
    struct tally *tally = tally_create();
    struct tally_cells sum = {.next = NULL};
    tally_bytes(tally_cells(tally, 0), 1, 10);
    tally_bytes(tally_cells(tally, 7), 2, 20);
    tally_closed(tally_cells(tally, 7), CLOSE_NO_SERVER);
    tally_sum(tally, &sum);
    cr_assert_eq(counter_read(&sum.from_client_bytes), 3);
    cr_assert_eq(counter_read(&sum.from_server_bytes), 30);
    cr_assert_eq(counter_read(&sum.closed[CLOSE_NO_SERVER]), 1);
    cr_assert_eq(counter_read(&sum.closed[CLOSE_DENIED]), 0);
    tally_drop(tally);
}

Test(tally, has_the_same_cells_for_a_worker_again, .timeout = 10) {
    struct tally *tally = tally_create();
    struct tally_cells *first = tally_cells(tally, 0);
    cr_assert_neq(first, tally_cells(tally, 1));
    cr_assert_eq(first, tally_cells(tally_hold(tally), 0));
    tally_drop(tally);
    cr_assert_eq(first, tally_cells(tally, 0), "somebody has it still");
    tally_drop(tally);
}

static void check_bounds(const struct tally_bounds *bounds) {
    for (size_t i = 0; i < TALLY_BOUNDS; i++) {
        cr_assert(i == 0 || bounds->us[i] > bounds->us[i - 1]);
        cr_assert_float_eq((double)bounds->us[i] / 1e6, strtod(bounds->texts[i], NULL), 1e-9, "%s", bounds->texts[i]);
    }
    cr_assert_str_eq(bounds->texts[TALLY_BOUNDS], "+Inf");
}

Test(tally, names_its_bounds_in_seconds, .timeout = 10) {
    check_bounds(&tally_connects);
    check_bounds(&tally_durations);
}

Test(tally, counts_a_time_at_the_first_bound_that_holds_it, .timeout = 10) {
    struct tally_cells cells = {.next = NULL};
    tally_time(&cells, &tally_connects, 500);
    tally_time(&cells, &tally_connects, 501);
    tally_time(&cells, &tally_connects, UINT64_C(10000001));
    cr_assert_eq(counter_read(&cells.times[0]), 1);
    cr_assert_eq(counter_read(&cells.times[1]), 1);
    cr_assert_eq(counter_read(&cells.times[TALLY_BOUNDS]), 1);
    cr_assert_eq(counter_read(&cells.times_sum_us), 10001002);
}
