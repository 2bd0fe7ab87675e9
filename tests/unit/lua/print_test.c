#include "lua/print.h"

#include "base/log.h"
#include "tests/unit/lua/library.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MR "local mr = require 'moonring'\n"

static void expect_logged(struct workbench *workbench, const char *body, const char *lines) {
    char text[512];
    char path[128];
    snprintf(path, sizeof(path), "%s/error.log", workbench->folder);
    cr_assert_eq(truncate(path, 0), 0);
    snprintf(text, sizeof(text), MR "return function() %s end", body);
    cr_assert_eq(workbench_run(workbench, text), SCRIPT_RETURNED, "%s", workbench->result.text);
    char *logged = library_log_read(workbench);
    cr_assert_str_eq(logged, lines, "%s: logged\n%s\ninstead of\n%s", body, logged, lines);
    free(logged);
}

static void library_open_log(struct workbench *workbench) {
    library_open(workbench);
    library_log_open(workbench);
    values_set_filter(library_values(workbench), "guard");
}

Test(print, writes_a_line_with_the_filters_name, .timeout = 10) {
    struct workbench workbench;
    library_open_log(&workbench);
    expect_logged(&workbench, "print('hello', 1, true, nil)", "info guard: hello 1 true nil\n");
    expect_logged(&workbench, "print()", "info guard: \n");
    expect_logged(&workbench, "mr.log.error('a') mr.log.warn('b') mr.log.info('c')",
                  "error guard: a\nwarn guard: b\ninfo guard: c\n");
    expect_logged(&workbench, "print(setmetatable({}, { __tostring = function() return 'told' end }))",
                  "info guard: told\n");
    values_set_filter(library_values(&workbench), NULL);
    expect_logged(&workbench, "print('x')", "info script: x\n");
    workbench_close(&workbench);
}

Test(print, escapes_what_would_harm_a_terminal, .timeout = 10) {
    struct workbench workbench;
    library_open_log(&workbench);
    expect_logged(&workbench, "print('a\\n\\27[2J\\t\\\\\\200')", "info guard: a\\x0a\\x1b[2J\\x09\\x5c\\xc8\n");
    expect_logged(&workbench, "print('a\\0b')", "info guard: a.b\n");
    workbench_close(&workbench);
}

Test(print, shows_no_address, .timeout = 10) {
    struct workbench workbench;
    library_open_log(&workbench);
    cr_assert_eq(workbench_run(&workbench, MR "return function() local t = {} print(t) return tostring(t) end"),
                 SCRIPT_RETURNED);
    char expected[128];
    snprintf(expected, sizeof(expected), "info guard: %s\n", workbench_answer(&workbench));
    char *logged = library_log_read(&workbench);
    cr_assert_str_eq(logged, expected);
    free(logged);
    workbench_close(&workbench);
}

Test(print, bounds_a_line, .timeout = 10) {
    struct workbench workbench;
    library_open_log(&workbench);
    cr_assert_eq(workbench_run(&workbench, MR "return function() print(('x'):rep(1e6), ('y'):rep(1e6)) end"),
                 SCRIPT_RETURNED);
    char *logged = library_log_read(&workbench);
    cr_assert_leq(strlen(logged), 4096);
    cr_assert_geq(strlen(logged), 4000);
    free(logged);
    workbench_close(&workbench);
}

Test(print, writes_nothing_above_the_level, .timeout = 10) {
    struct workbench workbench;
    library_open_log(&workbench);
    expect_logged(&workbench, "mr.log.debug('x')", "");
    log_set_level(LOG_DEBUG);
    expect_logged(&workbench, "mr.log.debug('x')", "debug guard: x\n");
    log_set_level(LOG_ERROR);
    expect_logged(&workbench, "mr.log.warn('x') print('y') mr.log.error('z')", "error guard: z\n");
    workbench_close(&workbench);
}

/* The limit counts whole seconds of the clock: the test sets back which one it was. */
Test(print, is_bounded_in_lines_a_second, .timeout = 20) {
    struct workbench workbench;
    library_open_log(&workbench);
    struct print_limit *limit = &library_values(&workbench)->lines;
    size_t lines_in_all = 0;
    for (int round = 0; round < 2; round++) {
        workbench_run(&workbench, "return function() for i = 1, 1000 do print(i) end end");
        lines_in_all += 1000;
    }
    cr_assert_gt(limit->left_out, 0);
    cr_assert_leq(limit->written, PRINT_LINES_MAX);
    *limit = (struct print_limit){.second = 1, .written = PRINT_LINES_MAX, .left_out = 7};
    workbench_run(&workbench, "return function() print('again') end");
    char *logged = library_log_read(&workbench);
    cr_assert_not_null(strstr(logged,
                              "info guard: 100\nwarn guard: more than 100 lines in a second: the rest of this second "
                              "is left out\n"),
                       "%s", logged);
    cr_assert_not_null(strstr(logged, "warn guard: 7 lines were left out\ninfo guard: again\n"), "%s", logged);
    size_t lines = 0;
    for (const char *at = logged; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    cr_assert_lt(lines, lines_in_all / 2, "%zu lines", lines);
    free(logged);
    workbench_close(&workbench);
}

Test(print, ends_recursion_before_the_stack_does, .timeout = 10) {
    struct workbench workbench;
    library_open_log(&workbench);
    expect_raises(&workbench,
                  "local t t = setmetatable({}, { __tostring = function() print(t) return 'x' end })\n"
                  "return function() print(t) end",
                  "stack overflow");
    workbench_close(&workbench);
}
