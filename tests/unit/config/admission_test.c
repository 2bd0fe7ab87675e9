/* `allow` and `deny`, inline and in files. What is said about wrong ones is in tests/gallery. */
#include "loading.h"

#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loading_result load(const struct temporary *folder, const char *rules) {
    char path[TEMPORARY_PATH_MAX];
    struct loading_result result;
    temporary_write(folder, "main.yaml", "listeners:\n  web: {bind: ':8080', upstream: '10.0.0.1:80', %s}\n", rules);
    config_report_init(&result.report);
    result.config = config_load_file(temporary_path(folder, "main.yaml", path), NULL, &result.report);
    return result;
}

static struct config *load_good(const struct temporary *folder, const char *rules) {
    struct loading_result result = load(folder, rules);
    cr_assert_not_null(result.config, "%s", result.report.text.data);
    config_report_finish(&result.report);
    return result.config;
}

static void expect_failure(const struct temporary *folder, const char *rules, const char *code, const char *message) {
    struct loading_result result = load(folder, rules);
    cr_expect_null(result.config);
    cr_expect(loading_reports(&result, code, message), "%s", result.report.text.data);
    loading_finish(&result);
}

static bool lets_in(const struct config *config, const char *text) {
    struct cidr_ip ip;
    cr_assert(cidr_parse_ip(&ip, text), "%s", text);
    return admission_allows(config->listeners[0].admission, &ip);
}

Test(admission, is_nobody_s_business_without_rules, .timeout = 10) {
    struct config *config = loading_good(LOADING_SMALL);
    cr_expect_null(config->listeners[0].admission);
    config_destroy(config);
}

Test(admission, without_allow_lets_in_who_is_not_denied, .timeout = 10) {
    struct config *config = loading_good("listeners: {web: {bind: ':1', upstream: 'x:1', deny: 10.0.0.0/8}}\n");
    cr_expect_not(lets_in(config, "10.0.0.1"));
    cr_expect(lets_in(config, "192.0.2.1"));
    cr_expect(lets_in(config, "::1"));
    config_destroy(config);
}

/* What stands behind the 0 would go unread. */
Test(admission, refuses_files_with_bytes_of_0, .timeout = 10) {
    struct temporary folder;
    temporary_create(&folder);
    temporary_write(&folder, "bad.txt", "10.0.0.1%c/8\n", 0);
    expect_failure(&folder, "deny: 'file:bad.txt'", "E0330", "there is a byte of 0 in this line");
    temporary_write(&folder, "bad.txt", "%c10.0.0.1\n", 0);
    expect_failure(&folder, "deny: 'file:bad.txt'", "E0330", "there is a byte of 0 in this line");
    temporary_remove(&folder);
}

Test(admission, reads_files_with_comments_blanks_and_other_line_ends, .timeout = 10) {
    struct temporary folder;
    temporary_create(&folder);
    temporary_write(&folder, "partners.txt",
                    "# who pays\n\n10.0.0.0/8\r\n\t192.0.2.1 # a single one\n  # nothing\n2001:db8::/32");
    temporary_write(&folder, "bad.txt", "10.6.6.0/24#bad\n");
    struct config *config = load_good(&folder, "allow: ['file:partners.txt', 172.16.0.0/12], deny: ['file:bad.txt']");
    cr_expect(lets_in(config, "10.1.2.3"));
    cr_expect(lets_in(config, "192.0.2.1"));
    cr_expect(lets_in(config, "172.16.0.1"));
    cr_expect(lets_in(config, "2001:db8::1"));
    cr_expect_not(lets_in(config, "10.6.6.6"));
    cr_expect_not(lets_in(config, "192.0.2.2"));
    config_destroy(config);
}

Test(admission, has_its_files_watched_also_those_that_are_missing, .timeout = 10) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "partners.txt", "10.0.0.0/8\n");
    struct config *config = load_good(&folder, "allow: ['file:partners.txt', 'file:./partners.txt']");
    cr_assert_eq(config->files_count, 2);
    cr_expect_str_eq(config->files[1].path, temporary_path(&folder, "partners.txt", path));
    cr_assert_eq(config->address_files_count, 1);
    cr_expect_str_eq(config->address_files[0].path, path);
    config_destroy(config);
    struct loading_result result = load(&folder, "deny: 'file:nowhere.txt'");
    cr_assert_null(result.config);
    cr_assert_eq(result.report.files_count, 2);
    cr_expect_str_eq(result.report.files[1].path, temporary_path(&folder, "nowhere.txt", path));
    loading_finish(&result);
}

Test(admission, tells_contents_of_files_apart, .timeout = 10) {
    struct temporary folder;
    temporary_create(&folder);
    temporary_write(&folder, "partners.txt", "10.0.0.0/8\n");
    struct config *config = load_good(&folder, "allow: 'file:partners.txt'");
    uint64_t hash = config->address_files[0].hash;
    config_destroy(config);
    temporary_write(&folder, "partners.txt", "10.0.0.0/9\n");
    config = load_good(&folder, "allow: 'file:partners.txt'");
    cr_expect_neq(config->address_files[0].hash, hash);
    config_destroy(config);
}

Test(admission, refuses_what_is_no_regular_file_without_waiting_for_it, .timeout = 10) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    cr_assert_eq(mkfifo(temporary_path(&folder, "pipe", path), 0600), 0);
    expect_failure(&folder, "allow: 'file:pipe'", "E0101", "it is not a file");
    expect_failure(&folder, "allow: 'file:.'", "E0101", "it is not a file");
    expect_failure(&folder, "allow: 'file:/dev/zero'", "E0101", "it is not a file");
}

Test(admission, refuses_a_file_beyond_16_mib, .timeout = 30) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    FILE *file = fopen(temporary_path(&folder, "large.txt", path), "wb");
    cr_assert_not_null(file);
    cr_assert_eq(ftruncate(fileno(file), (16 << 20) + 1), 0);
    fclose(file);
    struct loading_result result = load(&folder, "allow: 'file:large.txt'");
    char report[1024];
    snprintf(report, sizeof(report),
             "%s/main.yaml:2:56: error[E0130]: %s/large.txt is larger than 16 MiB\n"
             "    2 |   web: {bind: ':8080', upstream: '10.0.0.1:80', allow: 'file:large.txt'}\n"
             "      |                                                        ^^^^^^^^^^^^^^^^\n"
             "1 error: nothing was applied\n",
             folder.path, folder.path);
    cr_expect_str_eq(result.report.text.data, report);
    loading_finish(&result);
}

Test(admission, says_where_in_the_file_it_is_wrong_and_counts_the_rest, .timeout = 30) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    FILE *file = fopen(temporary_path(&folder, "wrong.txt", path), "wb");
    cr_assert_not_null(file);
    for (int line = 0; line < 1000; line++) {
        fprintf(file, "10.0.0.%d/8\n", line);
    }
    fclose(file);
    struct loading_result result = load(&folder, "deny: 'file:wrong.txt'");
    cr_expect_not_null(strstr(result.report.text.data, "wrong.txt:2:1: error[E0330]"), "%s", result.report.text.data);
    cr_expect_eq(result.report.errors_count, 999);
    loading_finish(&result);
}

Test(admission, survives_bytes_that_are_no_text, .timeout = 10) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    FILE *file = fopen(temporary_path(&folder, "binary.txt", path), "wb");
    cr_assert_not_null(file);
    for (int byte = 0; byte < 256; byte++) {
        fprintf(file, "10.0.0.1%c\n", byte);
    }
    fclose(file);
    expect_failure(&folder, "allow: 'file:binary.txt'", "E0330", "is not a block of IP addresses");
}

Test(admission, reads_100000_blocks, .timeout = 60) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    FILE *file = fopen(temporary_path(&folder, "many.txt", path), "wb");
    cr_assert_not_null(file);
    for (unsigned block = 0; block < 100000; block++) {
        fprintf(file, "%u.%u.%u.0/25\n", 1 + block / 65536, block / 256 % 256, block % 256);
    }
    fclose(file);
    struct config *config = load_good(&folder, "deny: 'file:many.txt'");
    cr_expect_eq(config->listeners[0].admission->turns_count, 200000);
    cr_expect_not(lets_in(config, "1.0.0.127"));
    cr_expect(lets_in(config, "1.0.0.128"));
    cr_expect_not(lets_in(config, "2.134.159.1"));
    cr_expect(lets_in(config, "2.134.160.1"));
    config_destroy(config);
}

Test(admission, is_dumped_as_it_is_read, .timeout = 10) {
    struct temporary folder;
    struct bytes dumped;
    temporary_create(&folder);
    temporary_write(&folder, "partners.txt", "10.0.0.0/8\n");
    struct config *config = load_good(&folder, "allow: ['file:partners.txt', 172.16.0.0/12], deny: ['::1']");
    bytes_init(&dumped);
    config_dump(config, &dumped);
    struct config *again = loading_good(dumped.data);
    cr_expect_eq(again->listeners[0].allow_count, 2);
    cr_expect_eq(again->listeners[0].deny_count, 1);
    cr_expect(lets_in(again, "10.0.0.1"));
    cr_expect_not(lets_in(again, "::1"));
    config_destroy(again);
    config_destroy(config);
    bytes_finish(&dumped);
}
