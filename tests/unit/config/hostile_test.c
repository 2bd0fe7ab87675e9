/* Files that were made to do harm: each must be refused, with a reason, in little time and memory. */
#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MEBIBYTE = 1 << 20 };

static bool bytes_fail_with(const struct bytes *text, const char *code) {
    struct loading_result result = loading_from_bytes(text->data, text->size);
    bool found = result.config == NULL && loading_reports(&result, code, "");
    cr_expect(found, "%.2000s", result.report.text.data);
    loading_finish(&result);
    return found;
}

/* With exactly this report: these files are too large for tests/gallery. */
static void expect_report(const struct bytes *text, const char *report) {
    struct loading_result result = loading_from_bytes(text->data, text->size);
    cr_expect_null(result.config);
    cr_expect_str_eq(result.report.text.data, report);
    loading_finish(&result);
}

/* `head`, then `part` until there are `size` bytes. */
static struct bytes repeat(const char *head, const char *part, size_t size) {
    struct bytes text;
    bytes_init(&text);
    bytes_append_text(&text, head);
    while (text.size < size) {
        bytes_append_text(&text, part);
    }
    return text;
}

Test(hostile, nesting_of_ten_megabytes_is_too_large, .timeout = 30) {
    struct bytes text = repeat("listeners: ", "[", 10 * MEBIBYTE);
    cr_expect(bytes_fail_with(&text, "E0102"));
    bytes_finish(&text);
}

Test(hostile, nesting_that_fits_into_a_file_is_too_deep, .timeout = 30) {
    static const char *const parts[] = {"[", "{a: ", "- ", "? "};
    for (size_t index = 0; index < sizeof(parts) / sizeof(parts[0]); index++) {
        struct bytes text = repeat("", parts[index], 4 * MEBIBYTE - 16);
        cr_expect(bytes_fail_with(&text, "E0"));
        bytes_finish(&text);
    }
}

Test(hostile, thirty_two_levels_are_allowed_and_thirty_three_are_not, .timeout = 10) {
    char text[256] = "listeners: ";
    size_t start = strlen(text);
    memset(text + start, '[', 31);
    memset(text + start + 31, ']', 31);
    cr_expect(loading_fails_with(text, "E0201", "\"listeners\" cannot be a list"));
    memset(text + start, '[', 32);
    memset(text + start + 32, ']', 32);
    cr_expect(loading_fails_with(text, "E0107", "deeper than 32"));
}

Test(hostile, a_billion_laughs_are_refused_before_they_are_laughed, .timeout = 10) {
    struct bytes text;
    bytes_init(&text);
    bytes_append_text(&text, "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
    for (int level = 1; level < 30; level++) {
        bytes_printf(&text, "x%d: &x%d [", level, level);
        for (int count = 0; count < 10; count++) {
            bytes_printf(&text, "%s*x%d", count > 0 ? ", " : "", level - 1);
        }
        bytes_append_text(&text, "]\n");
    }
    cr_expect(bytes_fail_with(&text, "E0112"));
    bytes_finish(&text);
}

Test(hostile, merge_keys_cannot_multiply_either, .timeout = 10) {
    struct bytes text = repeat("a: &a {", "", 0);
    for (int key = 0; key < 1000; key++) {
        bytes_printf(&text, "k%d: 1, ", key);
    }
    bytes_append_text(&text, "}\nb: {<<: [*a");
    for (int count = 0; count < 1000; count++) {
        bytes_append_text(&text, ", *a");
    }
    bytes_append_text(&text, "]}\n");
    cr_expect(bytes_fail_with(&text, "E0112"));
    bytes_finish(&text);
}

Test(hostile, too_many_values_are_refused, .timeout = 30) {
    struct bytes text = repeat("listeners: [", "a,", 3 * MEBIBYTE);
    cr_expect(bytes_fail_with(&text, "E0112"));
    bytes_finish(&text);
}

Test(hostile, too_many_anchors_are_refused, .timeout = 10) {
    struct bytes text = repeat("a: [", "", 0);
    for (int anchor = 0; anchor < 1001; anchor++) {
        bytes_printf(&text, "&a%d x, ", anchor);
    }
    bytes_append_text(&text, "]\n");
    expect_report(&text, "test.yaml:1:8895: error[E0116]: there are more than 1000 anchors\n"
                         "    1 | ...4 x, &a995 x, &a996 x, &a997 x, &a998 x, &a999 x, &a1000 x, ]\n"
                         "      |                                                      ^^^^^^^^\n"
                         "1 error: nothing was applied\n");
    bytes_finish(&text);
}

Test(hostile, a_huge_text_is_refused, .timeout = 10) {
    enum { SHOWN = 118 }; /* of the line */
    struct bytes text = repeat("log:\n  ", "x", MEBIBYTE + 8);
    bytes_append_char(&text, '\n');
    char report[512];
    char shown[SHOWN + 1];
    memset(shown, 'x', SHOWN);
    shown[SHOWN] = 0;
    snprintf(report, sizeof(report),
             "test.yaml:2:3: error[E0109]: this text has 1048577 bytes (at most 1 MiB)\n"
             "    2 |   %s...\n"
             "      |   ^\n"
             "1 error: nothing was applied\n",
             shown);
    expect_report(&text, report);
    bytes_finish(&text);
}

Test(hostile, a_large_text_in_a_message_is_cut, .timeout = 10) {
    struct bytes text = repeat("log: {error: {level: ", "x", MEBIBYTE / 2);
    bytes_append_text(&text, "}}\n");
    struct loading_result result = loading_from_bytes(text.data, text.size);
    cr_expect(loading_reports(&result, "E0303", "level"));
    cr_expect_lt(result.report.text.size, 4096);
    loading_finish(&result);
    bytes_finish(&text);
}

Test(hostile, a_file_of_four_mebibytes_is_read_and_one_byte_more_is_not, .timeout = 30) {
    struct bytes text = repeat(LOADING_SMALL, "# a comment of sixteen\n", 4 * MEBIBYTE - 64);
    while (text.size < 4 * MEBIBYTE) {
        bytes_append_char(&text, '#');
    }
    config_destroy(loading_good(text.data));
    bytes_append_char(&text, '#');
    expect_report(&text, "test.yaml: error[E0102]: the configuration is larger than 4 MiB\n"
                         "1 error: nothing was applied\n");
    bytes_finish(&text);
}

Test(hostile, a_file_that_never_ends_is_not_read_to_the_end, .timeout = 30) {
    struct config_report report;
    config_report_init(&report);
    cr_expect_null(config_load_file("/dev/zero", NULL, &report));
    cr_expect_not_null(strstr(report.text.data, "E0102"), "%s", report.text.data);
    config_report_finish(&report);
}

Test(hostile, bytes_that_are_not_utf8_are_refused_wherever_they_stand, .timeout = 10) {
    static const char *const wrong[] = {"\xff\xfel\0i\0", "\xc3", "a: \xed\xa0\x80", "\xfe\xff\0l", "# \x80 comment\n"};
    for (size_t index = 0; index < sizeof(wrong) / sizeof(wrong[0]); index++) {
        cr_expect(loading_fails_with(wrong[index], "E0103", "is not UTF-8"));
    }
}

Test(hostile, nul_bytes_are_refused_wherever_they_stand, .timeout = 10) {
    static const char text[] = "listeners:\n  web: {bind: ':8080', upstream: 'a:1'}\n\0log: 1\n";
    struct bytes bytes;
    bytes_init(&bytes);
    bytes_append(&bytes, text, sizeof(text) - 1);
    cr_expect(bytes_fail_with(&bytes, "E0104"));
    bytes_finish(&bytes);
}

Test(hostile, many_wrong_keys_are_counted_and_fifty_are_shown, .timeout = 30) {
    struct bytes text = repeat("", "", 0);
    for (int key = 0; key < 50000; key++) {
        bytes_printf(&text, "key_%d: 1\n", key);
    }
    struct loading_result result = loading_from_bytes(text.data, text.size);
    cr_expect_eq(result.report.errors_count, 50001); /* and no listener */
    cr_expect_lt(result.report.text.size, 16384);
    cr_expect_not_null(strstr(result.report.text.data, "\n50001 errors (50 are shown): nothing was applied\n"));
    loading_finish(&result);
    bytes_finish(&text);
}

Test(hostile, many_listeners_upstreams_and_servers_are_read_in_no_time, .timeout = 30) {
    struct bytes text;
    bytes_init(&text);
    bytes_append_text(&text, "listeners:\n");
    for (int number = 0; number < 10000; number++) {
        bytes_printf(&text, "  l%d: {bind: '127.%d.%d.1:80', upstream: u%d}\n", number, number / 250, number % 250,
                     number % 500);
    }
    bytes_append_text(&text, "upstreams:\n");
    for (int number = 0; number < 500; number++) {
        bytes_printf(&text, "  u%d: {servers: [", number);
        for (int server = 0; server < 100; server++) {
            bytes_printf(&text, "'10.0.%d.%d:80', ", server, number % 250);
        }
        bytes_append_text(&text, "]}\n");
    }
    struct config *config = loading_good(text.data);
    cr_expect_eq(config->listeners_count, 10000);
    cr_expect_eq(config->upstreams_count, 500);
    config_destroy(config);
    bytes_finish(&text);
}

Test(hostile, many_misspelt_references_are_reported_in_no_time, .timeout = 30) {
    struct bytes text = repeat("listeners:\n", "", 0);
    for (int number = 0; number < 20000; number++) {
        bytes_printf(&text, "  l%d: {bind: ':0', upstream: upstraem_%d}\n", number, number);
    }
    bytes_append_text(&text, "upstreams:\n");
    for (int number = 0; number < 20000; number++) {
        bytes_printf(&text, "  upstream_%d: {servers: ['a:1']}\n", number);
    }
    struct loading_result result = loading_from_bytes(text.data, text.size);
    cr_expect_eq(result.report.errors_count, 20000);
    cr_expect(loading_reports(&result, "E0402", "there is no upstream"));
    loading_finish(&result);
    bytes_finish(&text);
}

Test(hostile, a_file_may_end_where_a_value_should_begin, .timeout = 10) {
    static const char *const texts[] = {"a: [b, ", "a: {b: ",   "a: {",   "a: [", "a: \"",
                                        "a: *",    "a: {b: ${", "a: [::", "a: [["};
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        cr_expect(loading_fails_with(texts[index], "E0105", "not YAML"));
    }
}

Test(hostile, every_kind_of_line_end_counts_as_one_line, .timeout = 10) {
    struct loading_result result = loading_from("a: 1\r\nb: 2\rlisteners: {web: 1}\r\n");
    cr_expect(loading_reports(&result, "test.yaml:3:18: error[E0201]", ""));
    loading_finish(&result);
}

/* The sanitizers reserve address space that this limit would take from them. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#else
#define SANITIZED
#endif

#ifndef SANITIZED
static size_t address_space_used(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

Test(hostile, memory_that_runs_out_is_an_error_like_any_other, .timeout = 30) {
    struct bytes text = repeat("listeners: [", "a,", 400000);
    struct config_report report;
    config_report_init(&report);
    struct rlimit limit = {address_space_used() + 4 * MEBIBYTE, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    struct config *config = config_load_text(text.data, text.size, "test.yaml", &report);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_expect_null(config);
    cr_expect_str_eq(report.text.data, "test.yaml: error[E0100]: there is not enough memory to load it\n"
                                       "1 error: nothing was applied\n");
    config_report_finish(&report);
    bytes_finish(&text);
}
#endif
