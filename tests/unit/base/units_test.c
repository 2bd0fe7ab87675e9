#include "base/units.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <string.h>

typedef bool units_parse_fn(const char *text, uint64_t *value, struct error *error);

static void expect_value(units_parse_fn *parse, const char *text, uint64_t wanted) {
    struct error error = {.text = ""};
    uint64_t value = 0;
    cr_assert(parse(text, &value, &error), "%s: %s", text, error.text);
    cr_assert_eq(value, wanted, "%s: %" PRIu64 " instead of %" PRIu64, text, value, wanted);
}

static void expect_error(units_parse_fn *parse, const char *text, const char *wanted) {
    struct error error = {.text = ""};
    uint64_t value = 4711;
    cr_assert_not(parse(text, &value, &error), "\"%s\" was read as %" PRIu64, text, value);
    cr_assert_not_null(strstr(error.text, wanted), "\"%s\": %s", text, error.text);
    cr_assert_eq(value, 4711, "a failed parser leaves the value alone");
}

static bool parse_port(const char *text, uint64_t *value, struct error *error) {
    return units_parse_integer(text, 1, 65535, value, error);
}

static bool parse_any(const char *text, uint64_t *value, struct error *error) {
    return units_parse_integer(text, 0, UINT64_MAX, value, error);
}

Test(units, integer_reads_its_bounds, .timeout = 10) {
    expect_value(parse_port, "1", 1);
    expect_value(parse_port, "65535", 65535);
    expect_value(parse_any, "0", 0);
    expect_value(parse_any, "18446744073709551614", UINT64_MAX - 1);
}

Test(units, integer_outside_its_bounds_is_an_error_that_names_them, .timeout = 10) {
    expect_error(parse_port, "0", "0 is out of range (1-65535)");
    expect_error(parse_port, "65536", "65536 is out of range (1-65535)");
    expect_error(parse_any, "18446744073709551615", "out of range");
    expect_error(parse_any, "18446744073709551616", "out of range");
    expect_error(parse_any, "99999999999999999999999999", "out of range");
}

Test(units, integer_is_digits_alone, .timeout = 10) {
    const char *const texts[] = {"", " 1", "1 ", "+1", "-1", "01", "00", "0x10", "1.0", "1e3", "a", "1s", "\xd9\xa1"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(parse_port, texts[index], "is not a whole number (1-65535)");
    }
}

Test(units, duration_reads_every_unit, .timeout = 10) {
    expect_value(units_parse_duration, "7us", 7);
    expect_value(units_parse_duration, "250ms", 250000);
    expect_value(units_parse_duration, "5s", 5000000);
    expect_value(units_parse_duration, "10m", 600000000);
    expect_value(units_parse_duration, "1h", UINT64_C(3600000000));
    expect_value(units_parse_duration, "2d", UINT64_C(172800000000));
    expect_value(units_parse_duration, "0s", 0);
}

Test(units, duration_without_a_unit_is_an_error_that_proposes_units, .timeout = 10) {
    expect_error(units_parse_duration, "600", "a duration needs a unit: write 600s or 10m");
    struct error error;
    uint64_t value;
    cr_assert_not(units_parse_duration("5", &value, &error));
    cr_assert_str_eq(error.text, "a duration needs a unit: write 5s");
}

Test(units, duration_of_another_form_is_an_error_that_names_the_units, .timeout = 10) {
    const char *const texts[] = {"", "s", "off", "-5s", "05s", "1.5s", "5 s", "5sec", "5S", "1h30m", "5s ", "5\n"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(units_parse_duration, texts[index], "write a whole number and one of us ms s m h d");
    }
}

Test(units, duration_ends_at_a_hundred_years, .timeout = 10) {
    expect_value(units_parse_duration, "36500d", 36500 * UINT64_C(86400000000));
    expect_error(units_parse_duration, "36501d", "36501d is too long (at most 36500d)");
    expect_error(units_parse_duration, "3153600000000000001us", "too long");
    expect_error(units_parse_duration, "18446744073709551616us", "too long");
    expect_error(units_parse_duration, "213503982334602d", "too long");
}

Test(units, size_reads_every_unit, .timeout = 10) {
    expect_value(units_parse_size, "0B", 0);
    expect_value(units_parse_size, "512B", 512);
    expect_value(units_parse_size, "64KiB", 65536);
    expect_value(units_parse_size, "1MiB", 1048576);
    expect_value(units_parse_size, "2GiB", UINT64_C(2147483648));
    expect_value(units_parse_size, "1KB", 1000);
    expect_value(units_parse_size, "1MB", 1000000);
    expect_value(units_parse_size, "1GB", 1000000000);
    expect_value(units_parse_size, "17179869183GiB", UINT64_C(17179869183) << 30);
}

Test(units, size_without_a_unit_is_an_error_that_proposes_units, .timeout = 10) {
    expect_error(units_parse_size, "65536", "a size needs a unit: write 65536B or 64KiB");
    expect_error(units_parse_size, "17", "a size needs a unit: write 17B");
}

Test(units, size_of_another_form_is_an_error_that_names_the_units, .timeout = 10) {
    const char *const texts[] = {"", "KiB", "-1KiB", "064KiB", "1.5MiB", "64 KiB", "64k", "64kib", "64K", "1TiB"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(units_parse_size, texts[index], "write a whole number and one of B KiB MiB GiB KB MB GB");
    }
}

Test(units, size_that_has_no_room_in_64_bits_is_an_error, .timeout = 10) {
    expect_error(units_parse_size, "17179869184GiB", "too large");
    expect_error(units_parse_size, "18446744073709551616B", "too large");
    expect_error(units_parse_size, "99999999999999999999KB", "too large");
}

Test(units, rate_is_events_per_hour, .timeout = 10) {
    expect_value(units_parse_rate, "50/s", 180000);
    expect_value(units_parse_rate, "10/m", 600);
    expect_value(units_parse_rate, "1/h", 1);
    expect_value(units_parse_rate, "0/s", 0);
    expect_value(units_parse_rate, "5124095576030431/s", UINT64_C(5124095576030431) * 3600);
}

Test(units, rate_of_another_form_is_an_error, .timeout = 10) {
    const char *const texts[] = {"", "50", "/s", "50/", "50/d", "50/sec", "50 /s", "-1/s", "1.5/s"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(units_parse_rate, texts[index], "write a whole number and one of /s /m /h");
    }
    expect_error(units_parse_rate, "5124095576030432/s", "too high");
}

Test(units, rate_is_written_as_it_is_read, .timeout = 10) {
    static const char *const texts[] = {"50/s", "10/m", "1/h", "90/m", "1000000/s", "61/h"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        struct error error;
        uint64_t value;
        char text[32];
        cr_assert(units_parse_rate(texts[index], &value, &error), "%s", error.text);
        units_format_rate(value, text, sizeof(text));
        cr_expect_str_eq(text, texts[index]);
    }
}

Test(units, bandwidth_is_bytes_a_second, .timeout = 10) {
    expect_value(units_parse_bandwidth, "10MiB/s", 10 << 20);
    expect_value(units_parse_bandwidth, "1B/s", 1);
    expect_value(units_parse_bandwidth, "125KB/s", 125000);
    char text[32];
    units_format_bandwidth(10 << 20, text, sizeof(text));
    cr_expect_str_eq(text, "10MiB/s");
}

Test(units, bandwidth_of_another_form_is_an_error, .timeout = 10) {
    static const char *const texts[] = {"",
                                        "/s",
                                        "10/s",
                                        "10MiB",
                                        "10MiB/m",
                                        "10MiB/s/s",
                                        "-1B/s",
                                        "1.5MiB/s",
                                        "10 MiB/s",
                                        "10Mbit/s",
                                        "10000000000000000000000000000000000000000000MiB/s"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(units_parse_bandwidth, texts[index], "write a size for each second, like 10MiB/s");
    }
}

Test(units, percent_reads_0_to_100, .timeout = 10) {
    expect_value(units_parse_percent, "0%", 0);
    expect_value(units_parse_percent, "50%", 50);
    expect_value(units_parse_percent, "100%", 100);
}

Test(units, percent_of_another_form_is_an_error, .timeout = 10) {
    const char *const texts[] = {"", "%", "50", "101%", "50%%", "5.5%", "-1%", "050%", "99999999999999999999%"};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(units_parse_percent, texts[index], "write a whole number from 0% to 100%");
    }
}

static void expect_duration_text(uint64_t microseconds, const char *wanted) {
    char text[32];
    cr_assert_eq(units_format_duration(microseconds, text, sizeof(text)), strlen(wanted));
    cr_assert_str_eq(text, wanted);
    if (microseconds <= 36500 * UINT64_C(86400000000)) {
        expect_value(units_parse_duration, text, microseconds);
    }
}

Test(units, duration_is_written_in_its_shortest_exact_form, .timeout = 10) {
    expect_duration_text(0, "0s");
    expect_duration_text(1, "1us");
    expect_duration_text(999, "999us");
    expect_duration_text(250000, "250ms");
    expect_duration_text(1500000, "1500ms");
    expect_duration_text(90000000, "90s");
    expect_duration_text(600000000, "10m");
    expect_duration_text(UINT64_C(86400000000), "1d");
    expect_duration_text(UINT64_C(90000000000), "25h");
    expect_duration_text(UINT64_MAX, "18446744073709551615us");
}

static void expect_size_text(uint64_t bytes, const char *wanted) {
    char text[32];
    cr_assert_eq(units_format_size(bytes, text, sizeof(text)), strlen(wanted));
    cr_assert_str_eq(text, wanted);
    if (bytes < UINT64_MAX) {
        expect_value(units_parse_size, text, bytes);
    }
}

Test(units, size_is_written_in_its_shortest_exact_form, .timeout = 10) {
    expect_size_text(0, "0B");
    expect_size_text(1023, "1023B");
    expect_size_text(1024, "1KiB");
    expect_size_text(65536, "64KiB");
    expect_size_text(1048576, "1MiB");
    expect_size_text(UINT64_C(1) << 40, "1024GiB");
    expect_size_text(1000000, "1MB");
    expect_size_text(UINT64_MAX, "18446744073709551615B");
}

Test(units, formatting_is_cut_at_the_end_of_the_text, .timeout = 10) {
    char text[4];
    cr_assert_eq(units_format_size(65536, text, sizeof(text)), 3);
    cr_assert_str_eq(text, "64K");
}
