/* Configurations of several files. What is said about wrong ones is in tests/gallery. */
#include "loading.h"

#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A folder with folders `conf.d` and `more` in it. */
static void folder_create(struct temporary *folder) {
    char path[TEMPORARY_PATH_MAX];
    temporary_create(folder);
    cr_assert_eq(mkdir(temporary_path(folder, "conf.d", path), 0755), 0);
    cr_assert_eq(mkdir(temporary_path(folder, "more", path), 0755), 0);
}

static struct loading_result load(const struct temporary *folder, const char *name, const char *as) {
    char path[TEMPORARY_PATH_MAX];
    struct loading_result result;
    config_report_init(&result.report);
    result.config = config_load_file(temporary_path(folder, name, path), as, &result.report);
    return result;
}

static struct config *load_good(const struct temporary *folder) {
    struct loading_result result = load(folder, "main.yaml", NULL);
    cr_assert_not_null(result.config, "%s", result.report.text.data);
    config_report_finish(&result.report);
    return result.config;
}

static void expect_failure(const struct temporary *folder, const char *code, const char *message) {
    struct loading_result result = load(folder, "main.yaml", NULL);
    cr_expect_null(result.config);
    cr_expect(loading_reports(&result, code, message), "%s", result.report.text.data);
    loading_finish(&result);
}

static void expect_path(const char *path, const struct temporary *folder, const char *name) {
    char expected[TEMPORARY_PATH_MAX];
    cr_expect_str_eq(path, temporary_path(folder, name, expected));
}

Test(include, joins_maps_of_several_files, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml",
                    "include: ['conf.d/*.yaml', more/log.yaml]\n"
                    "listeners:\n  main: {bind: ':1', upstream: app}\n"
                    "log: {access: off}\n");
    temporary_write(&folder, "conf.d/b.yaml", "listeners:\n  b: {bind: ':3', upstream: app}\n");
    temporary_write(&folder, "conf.d/a.yaml",
                    "listeners:\n  a: {bind: ':2', upstream: other}\n"
                    "upstreams:\n  app: {servers: ['10.0.0.1:80']}\n");
    temporary_write(&folder, "conf.d/c.yaml", "# only a comment\n");
    temporary_write(&folder, "conf.d/d.yaml", "\xef\xbb\xbfupstreams: {other: {servers: ['10.0.0.2:80']}}\n");
    temporary_write(&folder, "more/log.yaml", "log: {error: {level: debug}}\nprocess: {workers: 3}\n");
    struct config *config = load_good(&folder);
    cr_assert_eq(config->listeners_count, 3);
    cr_expect_str_eq(config->listeners[0].name, "main");
    cr_expect_str_eq(config->listeners[1].name, "a");
    cr_expect_str_eq(config->listeners[2].name, "b");
    cr_expect_eq(config->listeners[0].upstream, config->listeners[2].upstream);
    cr_expect_eq(config->upstreams_count, 2);
    cr_expect_null(config->log.access_target);
    cr_expect_eq(config->log.error_level, LOG_DEBUG);
    cr_expect_eq(config->process.workers, 3);
    config_destroy(config);
}

Test(include, takes_the_names_that_match_and_no_hidden_ones, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: './conf.d/[a-b]?.yaml'\nlisteners: {}\n");
    temporary_write(&folder, "conf.d/a1.yaml", "listeners:\n  a1: {bind: ':1', upstream: 'x:1'}\n");
    temporary_write(&folder, "conf.d/b2.yaml", "listeners:\n  b2: {bind: ':2', upstream: 'x:1'}\n");
    temporary_write(&folder, "conf.d/c3.yaml", "not: there\n");
    temporary_write(&folder, "conf.d/a1.yaml~", "not: there\n");
    temporary_write(&folder, "conf.d/.a1.yaml", "not: there\n");
    struct config *config = load_good(&folder);
    cr_expect_eq(config->listeners_count, 2);
    config_destroy(config);
}

Test(include, of_a_pattern_that_matches_nothing_is_fine, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/*.yaml\n" LOADING_SMALL);
    config_destroy(load_good(&folder));
}

Test(include, takes_relative_paths_from_the_file_that_names_them, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml",
                    "include: conf.d/a.yaml\n"
                    "listeners:\n  main: {bind: 'unix:run/l', upstream: 'unix:run/app', filters: [x.lua]}\n"
                    "lua: {path: lib/?.lua}\n");
    temporary_write(&folder, "conf.d/a.yaml",
                    "listeners:\n"
                    "  a: {bind: 'unix:run/l', upstream: 'unix:run/app', filters: [x.lua]}\n"
                    "  b: {bind: ':1', upstream: 'unix:run/app'}\n"
                    "log: {error: {target: 'file:error.log'}}\n");
    struct config *config = load_good(&folder);
    char path[TEMPORARY_PATH_MAX];
    cr_expect_str_eq(config->folder, folder.path);
    expect_path(config->listeners[0].filters[0].path, &folder, "x.lua");
    expect_path(config->listeners[1].filters[0].path, &folder, "conf.d/x.lua");
    expect_path(config->listeners[0].binds[0].text + strlen("unix:"), &folder, "run/l");
    expect_path(config->listeners[1].binds[0].text + strlen("unix:"), &folder, "conf.d/run/l");
    expect_path(config->log.error_target, &folder, "conf.d/error.log");
    expect_path(config->lua.paths[0], &folder, "lib/?.lua");
    cr_assert_eq(config->upstreams_count, 2, "one text, two folders: two servers");
    cr_expect_eq(config->listeners[1].upstream, config->listeners[2].upstream);
    cr_expect_neq(config->listeners[0].upstream, config->listeners[1].upstream);
    cr_expect_str_eq(config->upstreams[config->listeners[1].upstream].servers[0].address_text + strlen("unix:"),
                     temporary_path(&folder, "conf.d/run/app", path));
    config_destroy(config);
}

Test(include, knows_in_which_file_everything_stands, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/a.yaml\nlisteners: {m: {bind: ':1', upstream: app}}\n");
    temporary_write(&folder, "conf.d/a.yaml", "upstreams:\n  app:\n    servers: ['10.0.0.1:1']\n");
    struct config *config = load_good(&folder);
    expect_path(config->listeners[0].place.file, &folder, "main.yaml");
    expect_path(config->upstreams[0].servers[0].place.file, &folder, "conf.d/a.yaml");
    cr_expect_eq(config->upstreams[0].servers[0].place.line, 3);
    config_destroy(config);
}

Test(include, keeps_anchors_of_each_file_to_itself, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml",
                    "include: conf.d/*.yaml\n"
                    "listeners: {m: &m {bind: ':1', upstream: 'x:1', timeouts: {idle: 5s}}}\n");
    temporary_write(&folder, "conf.d/a.yaml",
                    "listeners:\n  a: &m {bind: ':2', upstream: 'x:1'}\n  b: {<<: *m, bind: ':3'}\n");
    struct config *config = load_good(&folder);
    cr_expect_eq(config->listeners[2].timeouts.idle_ms, 3600000);
    config_destroy(config);
    temporary_write(&folder, "conf.d/b.yaml", "listeners: {c: {<<: *m, bind: ':4'}}\n");
    expect_failure(&folder, "E0110", "there is no anchor \"&m\" above");
}

Test(include, replaces_variables_in_patterns_and_in_included_files, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    setenv("MOONRING_TEST_SITE", "conf.d", 1);
    temporary_write(&folder, "main.yaml", "include: [\"${MOONRING_TEST_SITE}/*.yaml\"]\n");
    temporary_write(&folder, "conf.d/a.yaml",
                    "listeners: {\"a\": {bind: ':1', upstream: \"${MOONRING_TEST_SITE}:1\"}}\n");
    struct config *config = load_good(&folder);
    cr_expect_str_eq(config->upstreams[0].name, "conf.d:1");
    config_destroy(config);
}

Test(include, dumps_all_files_as_one, .timeout = 10) {
    struct temporary folder;
    struct bytes first;
    struct bytes second;
    bytes_init(&first);
    bytes_init(&second);
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/*.yaml\nlisteners: {m: {bind: ':1', upstream: app}}\n");
    temporary_write(&folder, "conf.d/a.yaml", "upstreams: {app: {servers: ['unix:run/app']}}\n");
    struct config *config = load_good(&folder);
    config_dump(config, &first);
    struct config *again = loading_good(first.data);
    config_dump(again, &second);
    cr_expect_str_eq(first.data, second.data);
    cr_expect_null(strstr(first.data, "include"));
    bytes_finish(&first);
    bytes_finish(&second);
    config_destroy(config);
    config_destroy(again);
}

/* ---- what is to be watched ---- */

static bool watches(const struct config_file *files, size_t count, const char *path, const char *pattern) {
    for (size_t index = 0; index < count; index++) {
        bool same_pattern = (files[index].pattern == NULL) == (pattern == NULL) &&
                            (pattern == NULL || strcmp(files[index].pattern, pattern) == 0);
        if (same_pattern && strcmp(files[index].path, path) == 0) {
            return true;
        }
    }
    return false;
}

static bool watches_in(const struct config *config, const struct temporary *folder, const char *name,
                       const char *pattern) {
    char path[TEMPORARY_PATH_MAX];
    return watches(config->files, config->files_count, temporary_path(folder, name, path), pattern);
}

Test(include, tells_what_is_to_be_watched, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: [conf.d/*.yaml, more/one.yaml]\n" LOADING_SMALL);
    temporary_write(&folder, "conf.d/a.yaml", "\n");
    temporary_write(&folder, "more/one.yaml", "\n");
    struct config *config = load_good(&folder);
    cr_expect_eq(config->files_count, 4);
    cr_expect(watches_in(config, &folder, "main.yaml", NULL));
    cr_expect(watches_in(config, &folder, "conf.d", "*.yaml"));
    cr_expect(watches_in(config, &folder, "conf.d/a.yaml", NULL));
    cr_expect(watches_in(config, &folder, "more/one.yaml", NULL));
    config_destroy(config);
}

Test(include, tells_what_is_to_be_watched_after_a_failure_too, .timeout = 10) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: [conf.d/a.yaml, more/one.yaml]\n" LOADING_SMALL);
    temporary_write(&folder, "conf.d/a.yaml", "listeners: [\n");
    struct loading_result result = load(&folder, "main.yaml", NULL);
    cr_expect_null(result.config);
    const struct config_file *files = result.report.files;
    size_t count = result.report.files_count;
    cr_expect(watches(files, count, temporary_path(&folder, "main.yaml", path), NULL));
    cr_expect(watches(files, count, temporary_path(&folder, "conf.d/a.yaml", path), NULL));
    cr_expect(watches(files, count, temporary_path(&folder, "more/one.yaml", path), NULL), "it may come");
    loading_finish(&result);
}

Test(include, watches_nothing_where_no_file_was_read, .timeout = 10) {
    struct config *config = loading_good(LOADING_SMALL);
    cr_expect_eq(config->files_count, 0);
    config_destroy(config);
}

/* ---- other folders ---- */

Test(include, looks_beside_the_path_that_a_file_is_checked_as, .timeout = 10) {
    struct temporary folder;
    char as[TEMPORARY_PATH_MAX];
    char expected[512];
    folder_create(&folder);
    temporary_write(&folder, "copy", "include: conf.d/*.yaml\nlisteners: {m: {bind: ':1', upstream: app}}\n");
    temporary_write(&folder, "more/main.yaml", "the one that is there now\n");
    char path[TEMPORARY_PATH_MAX];
    cr_assert_eq(mkdir(temporary_path(&folder, "more/conf.d", path), 0755), 0);
    temporary_write(&folder, "more/conf.d/a.yaml", "upstreams: {app: {servers: ['a:1'], x: 1}}\n");
    struct loading_result result = load(&folder, "copy", temporary_path(&folder, "more/main.yaml", as));
    snprintf(expected, sizeof(expected), "%s/more/conf.d/a.yaml:1:37: error[E0203]", folder.path);
    cr_expect(loading_reports(&result, expected, ""), "%s", result.report.text.data);
    loading_finish(&result);
}

Test(include, of_its_own_folder_does_not_take_the_main_file, .timeout = 10) {
    struct temporary folder;
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: [m*.yaml]\n" LOADING_SMALL);
    expect_failure(&folder, "E0118", "main.yaml is the file that includes");
}

Test(include, sees_through_links_to_one_file, .timeout = 10) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/*.yaml\n");
    temporary_write(&folder, "conf.d/a.yaml", LOADING_SMALL);
    cr_assert_eq(symlink("a.yaml", temporary_path(&folder, "conf.d/b.yaml", path)), 0);
    expect_failure(&folder, "E0118", "conf.d/b.yaml is included twice");
}

Test(include, of_what_is_no_file_does_not_wait_for_it, .timeout = 10) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/*.yaml\n" LOADING_SMALL);
    cr_assert_eq(mkfifo(temporary_path(&folder, "conf.d/a.yaml", path), 0644), 0);
    expect_failure(&folder, "E0101", "conf.d/a.yaml is not a file");
}

/* ---- too much ---- */

Test(include, of_more_than_a_thousand_files_is_refused, .timeout = 30) {
    struct temporary folder;
    char name[64];
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/*.yaml\n" LOADING_SMALL);
    for (int number = 0; number < 1000; number++) {
        snprintf(name, sizeof(name), "conf.d/%d.yaml", number);
        temporary_write(&folder, name, "listeners: {l%d: {bind: ':0', upstream: app}}\n", number);
    }
    struct config *config = load_good(&folder);
    cr_expect_eq(config->listeners_count, 1001);
    config_destroy(config);
    temporary_write(&folder, "conf.d/one_more.yaml", "\n");
    struct loading_result result = load(&folder, "main.yaml", NULL);
    char report[1024];
    snprintf(report, sizeof(report),
             "%s/main.yaml:1:10: error[E0119]: these are more than 1000 files\n"
             "    1 | include: conf.d/*.yaml\n"
             "      |          ^^^^^^^^^^^^^\n"
             "1 error: nothing was applied\n",
             folder.path);
    cr_expect_str_eq(result.report.text.data, report);
    loading_finish(&result);
}

Test(include, counts_all_files_together_against_the_limits, .timeout = 30) {
    struct temporary folder;
    struct bytes text;
    bytes_init(&text);
    folder_create(&folder);
    temporary_write(&folder, "main.yaml", "include: conf.d/*.yaml\n" LOADING_SMALL);
    while (text.size < (5 << 20) / 2) {
        bytes_append_text(&text, "# a comment of sixteen\n");
    }
    temporary_write(&folder, "conf.d/a.yaml", "%s", text.data);
    config_destroy(load_good(&folder));
    temporary_write(&folder, "conf.d/b.yaml", "%s", text.data);
    expect_failure(&folder, "E0102", "larger than 4 MiB, all its files together");
    bytes_clear(&text);
    for (int count = 0; count < 130000; count++) {
        bytes_append_text(&text, count == 0 ? "x: [" : "a,");
    }
    bytes_append_text(&text, "]\n");
    temporary_write(&folder, "conf.d/a.yaml", "%s", text.data);
    temporary_write(&folder, "conf.d/b.yaml", "%s", text.data);
    expect_failure(&folder, "E0112", "more than 250000 values");
    bytes_finish(&text);
}
