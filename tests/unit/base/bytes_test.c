#include "base/bytes.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(bytes, are_an_empty_text_at_first, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    cr_assert_eq(bytes.size, 0);
    cr_assert_str_eq(bytes.data, "");
    bytes_finish(&bytes);
}

Test(bytes, appends_texts_characters_and_bytes_with_zeros, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append_text(&bytes, "one");
    bytes_append_char(&bytes, ' ');
    bytes_append(&bytes, "t\0w", 3);
    cr_assert_eq(bytes.size, 7);
    cr_assert_eq(memcmp(bytes.data, "one t\0w", 8), 0); /* with the 0 behind them */
    bytes_finish(&bytes);
}

Test(bytes, appending_nothing_changes_nothing, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append(&bytes, NULL, 0);
    bytes_append_text(&bytes, "");
    cr_assert_eq(bytes.size, 0);
    cr_assert_str_eq(bytes.data, "");
    cr_assert_not(bytes.failed);
    bytes_finish(&bytes);
}

Test(bytes, end_in_zero_at_every_size_while_they_grow, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    for (size_t size = 1; size <= 5000; size++) {
        bytes_append_char(&bytes, (char)('a' + size % 26));
        cr_assert_eq(bytes.size, size);
        cr_assert_lt(bytes.size, bytes.capacity);
        cr_assert_eq(strlen(bytes.data), size);
    }
    for (size_t size = 1; size <= 5000; size++) {
        cr_assert_eq(bytes.data[size - 1], (char)('a' + size % 26));
    }
    bytes_finish(&bytes);
}

Test(bytes, clear_empties_and_keeps_the_memory, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_clear(&bytes);
    bytes_append_text(&bytes, "something");
    size_t capacity = bytes.capacity;
    bytes_clear(&bytes);
    cr_assert_eq(bytes.size, 0);
    cr_assert_str_eq(bytes.data, "");
    cr_assert_eq(bytes.capacity, capacity);
    bytes_finish(&bytes);
}

Test(bytes, finish_leaves_an_empty_run_that_can_be_used_and_finished_again, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append_text(&bytes, "something");
    bytes_finish(&bytes);
    cr_assert_str_eq(bytes.data, "");
    bytes_append_text(&bytes, "more");
    cr_assert_str_eq(bytes.data, "more");
    bytes_finish(&bytes);
    bytes_finish(&bytes);
}

Test(bytes, what_is_too_large_is_dropped_with_all_that_follows, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append_text(&bytes, "kept");
    bytes_append(&bytes, "x", SIZE_MAX);
    cr_assert(bytes.failed);
    bytes_append_text(&bytes, "dropped");
    bytes_printf(&bytes, "%d", 1);
    cr_assert_str_eq(bytes.data, "kept");
    cr_assert_eq(bytes.size, 4);
    bytes_clear(&bytes);
    cr_assert_not(bytes.failed);
    bytes_append_text(&bytes, "again");
    cr_assert_str_eq(bytes.data, "again");
    bytes_finish(&bytes);
}

Test(bytes, a_run_that_failed_at_once_is_still_a_text, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append(&bytes, "x", SIZE_MAX / 2);
    cr_assert(bytes.failed);
    cr_assert_str_eq(bytes.data, "");
    bytes_finish(&bytes);
}

Test(bytes, printf_appends_formatted_text_of_any_length, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append_text(&bytes, "a");
    bytes_printf(&bytes, "%s=%d;", "b", 7);
    cr_assert_str_eq(bytes.data, "ab=7;");
    bytes_printf(&bytes, "%3000d", 9);
    cr_assert_eq(bytes.size, 3005);
    cr_assert_eq(strlen(bytes.data), 3005);
    cr_assert_eq(bytes.data[3004], '9');
    bytes_finish(&bytes);
}

static void expect_json(const char *text, const char *wanted) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append_json(&bytes, text);
    cr_assert_str_eq(bytes.data, wanted);
    bytes_finish(&bytes);
}

Test(bytes, json_puts_text_in_quotes, .timeout = 10) {
    expect_json("", "\"\"");
    expect_json("listener web", "\"listener web\"");
}

Test(bytes, json_escapes_quotes_backslashes_and_controls, .timeout = 10) {
    expect_json("a\"b\\c", "\"a\\\"b\\\\c\"");
    expect_json("\n\r\t", "\"\\n\\r\\t\"");
    expect_json("\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\"");
}

Test(bytes, json_keeps_utf8_of_every_length, .timeout = 10) {
    expect_json("\xc3\xa4", "\"\xc3\xa4\"");
    expect_json("\xe2\x82\xac", "\"\xe2\x82\xac\"");
    expect_json("\xf0\x9f\x8c\x99", "\"\xf0\x9f\x8c\x99\"");
    expect_json("\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
                "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"");
}

#define REPLACEMENT "\xef\xbf\xbd"

Test(bytes, json_replaces_each_byte_that_is_not_utf8, .timeout = 10) {
    expect_json("a\x80z", "\"a" REPLACEMENT "z\"");                             /* stray continuation */
    expect_json("\xff", "\"" REPLACEMENT "\"");                                 /* never a first byte */
    expect_json("\xc0\xaf", "\"" REPLACEMENT REPLACEMENT "\"");                 /* overlong, 2 bytes */
    expect_json("\xe0\x9f\xbf", "\"" REPLACEMENT REPLACEMENT REPLACEMENT "\""); /* overlong, 3 bytes */
    expect_json("\xed\xa0\x80", "\"" REPLACEMENT REPLACEMENT REPLACEMENT "\""); /* a surrogate */
    expect_json("\xf0\x8f\xbf\xbf", "\"" REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT "\"");
    expect_json("\xf4\x90\x80\x80", "\"" REPLACEMENT REPLACEMENT REPLACEMENT REPLACEMENT "\"");
}

Test(bytes, json_replaces_a_sequence_that_the_end_or_a_character_cuts, .timeout = 10) {
    expect_json("\xe2\x82", "\"" REPLACEMENT REPLACEMENT "\"");
    expect_json("\xf0\x9f\x8c", "\"" REPLACEMENT REPLACEMENT REPLACEMENT "\"");
    expect_json("\xc3\"", "\"" REPLACEMENT "\\\"\"");
}

Test(bytes, escaping_keeps_printable_characters_and_shows_the_rest_as_hexadecimal, .timeout = 10) {
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append_escaped(&bytes, "a ~\\\n\x1b[0m\0\x7f\x80\xff", 13);
    cr_assert_str_eq(bytes.data, "a ~\\x5c\\x0a\\x1b[0m\\x00\\x7f\\x80\\xff");
    bytes_finish(&bytes);
}

Test(bytes, escaping_a_byte_takes_one_or_four_characters, .timeout = 10) {
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t size = bytes_escape((char)byte, text);
        cr_assert_eq(size, byte >= 0x20 && byte < 0x7f && byte != '\\' ? 1 : 4);
        cr_assert_eq(text[0], size == 1 ? (char)byte : '\\');
    }
}
