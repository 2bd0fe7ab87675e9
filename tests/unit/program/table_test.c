#include "program/table.h"

#include "program/human.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_table(const char *text, const char *wanted) {
    struct bytes out;
    bytes_init(&out);
    table_align(text, &out);
    cr_expect_str_eq(out.data, wanted);
    bytes_finish(&out);
}

Test(table, has_columns_as_wide_as_their_widest_cell, .timeout = 10) {
    expect_table("NAME\tADDRESS\nweb\t10.0.0.1:80\nlonger\t:1\n", "NAME    ADDRESS\nweb     10.0.0.1:80\nlonger  :1\n");
}

Test(table, numbers_stand_to_the_right, .timeout = 10) {
    expect_table("NAME\tSESSIONS\tMAX\na\t7\t-\nb\t1234567890\t12\n",
                 "NAME    SESSIONS  MAX\na              7    -\nb     1234567890   12\n");
}

Test(table, lines_without_tabs_stay_as_they_are, .timeout = 10) {
    expect_table("up 3d\n\na\tb\ncc\td\nend", "up 3d\n\na   b\ncc  d\nend");
    expect_table("", "");
}

Test(table, rows_may_have_empty_and_missing_cells, .timeout = 10) {
    expect_table("A\tB\tC\n\tx\t\n1\t2\n", "A  B  C\n   x  \n1  2\n");
}

Test(table, of_too_many_columns_ends_where_there_are_no_more, .timeout = 10) {
    char text[2 * (TABLE_COLUMNS_MAX + 8) + 2] = "";
    struct bytes out;
    for (size_t i = 0; i < TABLE_COLUMNS_MAX + 8; i++) {
        memcpy(text + strlen(text), "x\t", 3);
    }
    memcpy(text + strlen(text), "\n", 2);
    bytes_init(&out);
    table_align(text, &out);
    cr_expect_eq(out.size, TABLE_COLUMNS_MAX * 3 - 2 + 1);
    bytes_finish(&out);
}

static void expect_age(uint64_t milliseconds, const char *wanted) {
    struct bytes out;
    bytes_init(&out);
    human_append_age(&out, milliseconds);
    cr_expect_str_eq(out.data, wanted);
    bytes_finish(&out);
}

Test(human, ages_have_their_two_largest_units, .timeout = 10) {
    expect_age(0, "0.0s");
    expect_age(9990, "9.9s");
    expect_age(59999, "59s");
    expect_age(60000, "1m 0s");
    expect_age((3 * 86400 + 4 * 3600 + 59 * 60) * UINT64_C(1000), "3d 4h");
}

static void expect_size(uint64_t size, const char *wanted) {
    struct bytes out;
    bytes_init(&out);
    human_append_size(&out, size);
    cr_expect_str_eq(out.data, wanted);
    bytes_finish(&out);
}

Test(human, sizes_have_one_place_behind_the_point, .timeout = 10) {
    expect_size(0, "0B");
    expect_size(1023, "1023B");
    expect_size(1024, "1.0KiB");
    expect_size(1288490189, "1.2GiB");
    expect_size(1048575, "1.0MiB");
    expect_size(UINT64_MAX, "16.0EiB");
}
