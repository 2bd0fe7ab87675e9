#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

static void expect_time(uint64_t wall_ms, const char *wanted) {
    char text[CLOCK_TEXT_SIZE];
    clock_format(wall_ms, text);
    cr_assert_str_eq(text, wanted);
}

Test(clock, begins_in_1970, .timeout = 10) {
    expect_time(0, "1970-01-01T00:00:00.000Z");
}

Test(clock, has_milliseconds_with_leading_zeros, .timeout = 10) {
    expect_time(1, "1970-01-01T00:00:00.001Z");
    expect_time(999, "1970-01-01T00:00:00.999Z");
    expect_time(1769860800123, "2026-01-31T12:00:00.123Z");
}

Test(clock, knows_leap_days, .timeout = 10) {
    expect_time(951782400000, "2000-02-29T00:00:00.000Z");
    expect_time(4107542399999, "2100-02-28T23:59:59.999Z");
    expect_time(4107542400000, "2100-03-01T00:00:00.000Z");
}

Test(clock, is_utc_wherever_the_machine_stands, .timeout = 10) {
    setenv("TZ", "Asia/Kolkata", 1);
    tzset();
    expect_time(1769860800123, "2026-01-31T12:00:00.123Z");
}

Test(clock, stops_at_the_last_year_that_has_room, .timeout = 10) {
    expect_time(253402300799999, "9999-12-31T23:59:59.999Z");
    expect_time(253402300800000, "9999-12-31T23:59:59.999Z");
    expect_time(UINT64_MAX, "9999-12-31T23:59:59.999Z");
}
