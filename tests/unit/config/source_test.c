#include "config/source.h"

#include <criterion/criterion.h>
#include <string.h>

static struct span span_of(uint32_t line, uint32_t column, uint32_t end_line, uint32_t end_column) {
    return (struct span){.start = {line, column}, .end = {end_line, end_column}};
}

static void expect_shown(const char *text, struct span span, const char *hint, const char *expected) {
    struct source source = {.name = "test", .text = text, .size = strlen(text)};
    struct bytes shown;
    bytes_init(&shown);
    source_show(&source, span, hint, &shown);
    cr_expect_str_eq(shown.data, expected, "%s", shown.data);
    bytes_finish(&shown);
}

Test(source, shows_a_line_with_carets_and_hint_below, .timeout = 10) {
    expect_shown("one: 1\ntwo: xyz\n", span_of(2, 6, 2, 9), "write 2", "    2 | two: xyz\n      |      ^^^ write 2\n");
}

Test(source, marks_an_empty_span_with_one_caret, .timeout = 10) {
    expect_shown("one:\n", span_of(1, 5, 1, 5), NULL, "    1 | one:\n      |     ^\n");
    expect_shown("ab", span_of(1, 1, 1, 1), NULL, "    1 | ab\n      | ^\n");
}

Test(source, marks_to_the_end_of_the_line_what_ends_in_a_later_one, .timeout = 10) {
    expect_shown("a: [1,\n2]", span_of(1, 4, 2, 3), NULL, "    1 | a: [1,\n      |    ^^^\n");
}

Test(source, repeats_tabs_so_that_carets_stand_below_their_text, .timeout = 10) {
    expect_shown("a:\tx", span_of(1, 4, 1, 5), NULL, "    1 | a:\tx\n      |   \t^\n");
}

Test(source, counts_two_columns_for_wide_characters_and_none_for_combining_marks, .timeout = 10) {
    expect_shown("\xe6\x97\xa5: x", span_of(1, 4, 1, 5), NULL, "    1 | \xe6\x97\xa5: x\n      |     ^\n");
    expect_shown("e\xcc\x81: x", span_of(1, 5, 1, 6), NULL, "    1 | e\xcc\x81: x\n      |    ^\n");
}

Test(source, replaces_what_a_terminal_would_obey, .timeout = 10) {
    expect_shown("a\x1b[2J\xff", span_of(1, 2, 1, 3), NULL, "    1 | a\xef\xbf\xbd[2J\xef\xbf\xbd\n      |  ^\n");
}

Test(source, cuts_long_lines_around_the_span, .timeout = 10) {
    char line[1001] = "";
    memset(line, 'x', 1000);
    memcpy(line + 500, "HERE", 4);
    struct source source = {.name = "test", .text = line, .size = 1000};
    struct bytes shown;
    bytes_init(&shown);
    source_show(&source, span_of(1, 501, 1, 505), "hint", &shown);
    cr_expect_lt(shown.size, 350, "%s", shown.data);
    const char *below = strchr(shown.data, '\n') + 1;
    const char *here = strstr(shown.data, "HERE");
    const char *caret = strstr(below, "^^^^ hint\n");
    cr_assert_not_null(here);
    cr_assert_not_null(caret);
    cr_expect_eq(here - shown.data, caret - below, "%s", shown.data);
    bytes_finish(&shown);
}

Test(source, shows_nothing_of_a_line_that_is_not_there, .timeout = 10) {
    expect_shown("a\n", span_of(3, 1, 3, 1), "hint", "");
}

Test(source, ends_lines_where_yaml_does, .timeout = 10) {
    const char *text = "one\r\ntwo\rthree\xc2\x85"
                       "four\xe2\x80\xa8"
                       "five\nsix";
    static const char *const lines[] = {"one", "two", "three", "four", "five", "six"};
    struct source source = {.name = "test", .text = text, .size = strlen(text)};
    for (uint32_t number = 1; number <= 6; number++) {
        size_t size;
        const char *line = source_line(&source, number, &size);
        cr_assert_not_null(line);
        cr_expect_eq(size, strlen(lines[number - 1]));
        cr_expect_eq(memcmp(line, lines[number - 1], size), 0);
    }
}

static enum source_fault fault_of(const char *text, size_t size, struct mark *mark) {
    struct source source = {.name = "test", .text = text, .size = size};
    unsigned char byte;
    return source_check(&source, mark, &byte);
}

Test(source, finds_the_place_of_bytes_that_yaml_does_not_allow, .timeout = 10) {
    struct mark mark;
    cr_expect_eq(fault_of("a: \xc3\xa9\tb\r\n", 9, &mark), SOURCE_FINE);
    cr_expect_eq(fault_of("a\n\xc3\xa9\xff", 5, &mark), SOURCE_NOT_UTF8);
    cr_expect_eq(mark.line, 2);
    cr_expect_eq(mark.column, 2);
    cr_expect_eq(fault_of("a\r\nb\0c", 6, &mark), SOURCE_CONTROL);
    cr_expect_eq(mark.line, 2);
    cr_expect_eq(mark.column, 2);
    cr_expect_eq(fault_of("\xef\xbf\xbf", 3, &mark), SOURCE_CONTROL);
}

Test(source, quotes_on_one_line_and_cuts_what_is_long, .timeout = 10) {
    char text[201] = "";
    memset(text, 'x', 200);
    struct bytes quoted;
    bytes_init(&quoted);
    source_quote("a\nb", 3, &quoted);
    cr_expect_str_eq(quoted.data, "\"a\\x0ab\"");
    bytes_clear(&quoted);
    source_quote(text, 200, &quoted);
    cr_expect_eq(quoted.size, 60 + strlen("\"...\""));
    bytes_finish(&quoted);
}
