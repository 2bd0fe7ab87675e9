/* Rules that need more than one key. What each one prints is in tests/gallery; here is where each one begins and ends.
 */
#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>

static bool overlap(const char *first, const char *second) {
    char text[512];
    snprintf(text, sizeof(text), "listeners:\n  a: {bind: '%s', upstream: 'x:1'}\n  b: {bind: '%s', upstream: 'x:1'}\n",
             first, second);
    struct loading_result result = loading_from(text);
    bool found = loading_reports(&result, "E0403", "");
    cr_expect_eq(found, result.config == NULL, "%s", result.report.text.data);
    loading_finish(&result);
    return found;
}

Test(rules, two_binds_overlap_when_one_takes_what_the_other_would_get, .timeout = 10) {
    cr_expect(overlap("127.0.0.1:80", "127.0.0.1:80"));
    cr_expect(overlap(":80", ":80"));
    cr_expect(overlap(":80", "[::]:80"));
    cr_expect(overlap(":80", "0.0.0.0:80"));
    cr_expect(overlap(":80", "10.0.0.1:80"));
    cr_expect(overlap("10.0.0.1:80", ":80"));
    cr_expect(overlap("[::1]:80", ":80"));
    cr_expect(overlap("0.0.0.0:80", "10.0.0.1:80"));
    cr_expect(overlap("[::1]:80", "[::]:80"));
    cr_expect(overlap("[::ffff:10.0.0.1]:80", "10.0.0.1:80"));
    cr_expect(overlap("[0:0::1]:80", "[::1]:80"));
    cr_expect(overlap("unix:/run/a", "unix:/run/a"));
    cr_expect(overlap("unix:@a", "unix:@a"));
}

Test(rules, binds_beside_each_other_do_not_overlap, .timeout = 10) {
    cr_expect(!overlap(":80", ":81"));
    cr_expect(!overlap("0.0.0.0:80", "[::]:80"));
    cr_expect(!overlap("127.0.0.1:80", "127.0.0.2:80"));
    cr_expect(!overlap("0.0.0.0:80", "[::1]:80"));
    cr_expect(!overlap("unix:/run/a", "unix:/run/ab"));
    cr_expect(!overlap("unix:/run/a", "unix:@/run/a"));
    cr_expect(!overlap(":0", ":0"));
    cr_expect(!overlap("127.0.0.1:0", "127.0.0.1:0"));
}

Test(rules, every_bind_that_overlaps_is_reported_once, .timeout = 10) {
    struct loading_result result =
        loading_from("listeners:\n  a: {bind: [':80', '0.0.0.0:80', '10.0.0.1:80', ':80', ':81'], upstream: 'x:1'}\n");
    cr_expect_eq(result.report.errors_count, 3, "%s", result.report.text.data);
    loading_finish(&result);
}

static bool connects_to_itself(const char *bind, const char *server) {
    char text[512];
    snprintf(text, sizeof(text), "listeners:\n  a: {bind: '%s', upstream: '%s'}\n", bind, server);
    struct loading_result result = loading_from(text);
    bool found = loading_reports(&result, "E0405", "");
    cr_expect_eq(found, result.config == NULL, "%s", result.report.text.data);
    loading_finish(&result);
    return found;
}

Test(rules, a_server_is_not_its_own_listener, .timeout = 10) {
    cr_expect(connects_to_itself("10.0.0.1:80", "10.0.0.1:80"));
    cr_expect(connects_to_itself(":80", "127.0.0.1:80"));
    cr_expect(connects_to_itself(":80", "127.1.2.3:80"));
    cr_expect(connects_to_itself(":80", "[::1]:80"));
    cr_expect(connects_to_itself(":80", "localhost:80"));
    cr_expect(connects_to_itself("127.0.0.1:80", "localhost:80"));
    cr_expect(connects_to_itself("0.0.0.0:80", "127.0.0.1:80"));
    cr_expect(connects_to_itself("unix:/run/a", "unix:/run/a"));
    cr_expect(!connects_to_itself(":80", "127.0.0.1:81"));
    cr_expect(!connects_to_itself(":80", "localhost:81"));
    cr_expect(!connects_to_itself(":80", "10.0.0.1:80"));
    cr_expect(!connects_to_itself("[::]:80", "127.0.0.1:80"));
    cr_expect(!connects_to_itself("10.0.0.1:80", "localhost:80"));
    cr_expect(!connects_to_itself("unix:/run/a", "unix:/run/b"));
    cr_expect(!connects_to_itself(":0", "127.0.0.1:80"));
}

Test(rules, a_listener_may_lead_to_another_listener, .timeout = 10) {
    config_destroy(loading_good("listeners:\n"
                                "  front: {bind: ':80', upstream: '127.0.0.1:81'}\n"
                                "  back: {bind: ':81', upstream: '10.0.0.1:80'}\n"));
}

Test(rules, servers_of_two_upstreams_may_have_one_name, .timeout = 10) {
    config_destroy(loading_good("listeners:\n"
                                "  a: {bind: ':1', upstream: one}\n"
                                "  b: {bind: ':2', upstream: two}\n"
                                "upstreams:\n"
                                "  one: {servers: ['10.0.0.1:80']}\n"
                                "  two: {servers: ['10.0.0.1:80']}\n"));
}

Test(rules, one_server_that_is_no_backup_is_enough, .timeout = 10) {
    config_destroy(loading_good("listeners:\n"
                                "  a: {bind: ':1', upstream: one}\n"
                                "upstreams:\n"
                                "  one: {servers: ['a:1', {address: 'b:1', backup: true}]}\n"));
}

Test(rules, numbers_are_checked_at_both_ends, .timeout = 10) {
    static const char form[] = "listeners:\n"
                               "  a: {bind: ':1', upstream: one}\n"
                               "upstreams:\n"
                               "  one: {servers: [{address: 'a:1', weight: %d}], retry: {attempts: %d}}\n";
    char text[512];
    snprintf(text, sizeof(text), form, 1, 16);
    config_destroy(loading_good(text));
    snprintf(text, sizeof(text), form, 1000, 1);
    config_destroy(loading_good(text));
    snprintf(text, sizeof(text), form, 1001, 1);
    cr_expect(loading_fails_with(text, "E0302", "weight"));
    snprintf(text, sizeof(text), form, 0, 1);
    cr_expect(loading_fails_with(text, "E0302", "weight"));
    snprintf(text, sizeof(text), form, 1, 17);
    cr_expect(loading_fails_with(text, "E0302", "attempts"));
    snprintf(text, sizeof(text), form, 1, 0);
    cr_expect(loading_fails_with(text, "E0302", "attempts"));
}

Test(rules, keys_of_later_features_are_unknown, .timeout = 10) {
    static const char *const listener_keys[] = {"routes"};
    for (size_t index = 0; index < sizeof(listener_keys) / sizeof(listener_keys[0]); index++) {
        char text[512];
        snprintf(text, sizeof(text), "listeners:\n  a: {bind: ':1', upstream: 'x:1', %s: []}\n", listener_keys[index]);
        cr_expect(loading_fails_with(text, "E0203", "unknown key"));
    }
}

Test(rules, a_misspelt_reference_brings_no_warning_about_the_upstream_that_was_meant, .timeout = 10) {
    struct loading_result result = loading_from("listeners:\n  a: {bind: ':1', upstream: databse}\n"
                                                "upstreams:\n  database: {servers: ['x:1']}\n");
    cr_expect_eq(result.report.errors_count, 1);
    cr_expect_eq(result.report.warnings_count, 0);
    loading_finish(&result);
}
