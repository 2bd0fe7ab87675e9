/* Variables of the environment in values. What is said about wrong ones is in tests/gallery. */
#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What becomes of a value: a parameter takes any text. */
static void expect_value(const char *written, const char *expected) {
    char text[1024];
    snprintf(text, sizeof(text),
             "listeners:\n  web:\n    bind: ':80'\n    filters:\n      - lua: /a.lua\n        params:\n"
             "          value: %s\n",
             written);
    struct config *config = loading_good(text);
    cr_expect_str_eq(config->listeners[0].filters[0].params.items[0].text, expected, "%s", written);
    config_destroy(config);
}

Test(variables, are_replaced_by_what_the_environment_says, .timeout = 10) {
    setenv("MOONRING_TEST_A", "one", 1);
    setenv("MOONRING_TEST_2_", "two words", 1);
    expect_value("${MOONRING_TEST_A}", "one");
    expect_value("\"${MOONRING_TEST_A}\"", "one");
    expect_value("'${MOONRING_TEST_A}'", "one");
    expect_value("<${MOONRING_TEST_A}${MOONRING_TEST_2_}>", "<onetwo words>");
    expect_value("a ${MOONRING_TEST_A} b", "a one b");
}

Test(variables, that_are_not_set_or_empty_may_have_a_default, .timeout = 10) {
    setenv("MOONRING_TEST_A", "set", 1);
    setenv("MOONRING_TEST_EMPTY", "", 1);
    expect_value("${MOONRING_TEST_A:-x}", "set");
    expect_value("${MOONRING_TEST_A:?is needed}", "set");
    expect_value("${MOONRING_TEST_NONE:-x y:z}", "x y:z");
    expect_value("${MOONRING_TEST_EMPTY:-x}", "x");
    expect_value("a${MOONRING_TEST_NONE:-}b", "ab");
    expect_value("a${MOONRING_TEST_EMPTY}b", "ab");
    expect_value("${MOONRING_TEST_NONE:-$5}", "$5");
}

Test(variables, begin_with_one_dollar_and_two_are_a_dollar, .timeout = 10) {
    setenv("MOONRING_TEST_A", "one", 1);
    expect_value("$$", "$");
    expect_value("$${MOONRING_TEST_A}", "${MOONRING_TEST_A}");
    expect_value("$$$${MOONRING_TEST_A}", "$${MOONRING_TEST_A}");
    expect_value("$$${MOONRING_TEST_A}", "$one");
    expect_value("^a(b|$)$", "^a(b|$)$");
    expect_value("5$", "5$");
    expect_value("$5", "$5");
    expect_value("$$HOME", "$HOME");
}

Test(variables, hold_texts_and_never_structure, .timeout = 10) {
    setenv("MOONRING_TEST_A", "x: {y: [z]} # ${HOME} $$ *a", 1);
    expect_value("${MOONRING_TEST_A}", "x: {y: [z]} # ${HOME} $$ *a");
    expect_value("\"${MOONRING_TEST_A}\"", "x: {y: [z]} # ${HOME} $$ *a");
}

Test(variables, are_replaced_in_every_type_of_value, .timeout = 10) {
    setenv("MOONRING_TEST_PORT", "8080", 1);
    setenv("MOONRING_TEST_IDLE", "90s", 1);
    setenv("MOONRING_TEST_OFF", "off", 1);
    setenv("MOONRING_TEST_MAX", "17", 1);
    setenv("MOONRING_TEST_TRUE", "true", 1);
    struct config *config = loading_good("listeners:\n"
                                         "  web:\n"
                                         "    bind: \":${MOONRING_TEST_PORT}\"\n"
                                         "    upstream: ${MOONRING_TEST_UPSTREAM:-app}\n"
                                         "    timeouts: &times {idle: \"${MOONRING_TEST_IDLE}\"}\n"
                                         "    limits: {max_connections: \"${MOONRING_TEST_MAX}\"}\n"
                                         "    tcp: {keepalive: \"${MOONRING_TEST_OFF}\"}\n"
                                         "  api: {bind: ':1', upstream: app, timeouts: *times}\n"
                                         "upstreams:\n"
                                         "  app: {servers: [\"10.0.0.1:${MOONRING_TEST_PORT}\"]}\n"
                                         "log: {access: \"${MOONRING_TEST_OFF}\"}\n"
                                         "io: {zero_copy_send: \"${MOONRING_TEST_TRUE}\"}\n");
    cr_expect_str_eq(config->listeners[0].binds[0].text, ":8080");
    cr_expect_eq(config->listeners[0].timeouts.idle_ms, 90000);
    cr_expect_eq(config->listeners[0].connections_max, 17);
    cr_expect(!config->listeners[0].tcp.keepalive);
    cr_expect_eq(config->listeners[1].timeouts.idle_ms, 90000);
    cr_expect_str_eq(config->upstreams[0].servers[0].name, "10.0.0.1:8080");
    cr_expect_null(config->log.access_target);
    cr_expect(config->io.zero_copy_send);
    config_destroy(config);
}

Test(variables, are_not_replaced_in_keys, .timeout = 10) {
    setenv("MOONRING_TEST_A", "one", 1);
    cr_expect(loading_fails_with("listeners:\n  ${MOONRING_TEST_A}: {bind: ':1', upstream: 'a:1'}\n", "E0207",
                                 "${MOONRING_TEST_A}"));
    struct config *config =
        loading_good("listeners:\n  a: {bind: ':1', filters: [{lua: /a.lua, params: {'${MOONRING_TEST_A}': 1}}]}\n");
    cr_expect_str_eq(config->listeners[0].filters[0].params.items[0].key, "${MOONRING_TEST_A}");
    config_destroy(config);
}

Test(variables, that_leave_nothing_leave_a_key_without_a_value, .timeout = 10) {
    setenv("MOONRING_TEST_EMPTY", "", 1);
    cr_expect(loading_fails_with("listeners:\n  a: {bind: ':1', upstream: \"${MOONRING_TEST_EMPTY}\"}\n", "E0306",
                                 "upstream"));
    cr_expect(loading_fails_with("listeners:\n  a:\n    bind: ':1'\n    upstream: ${MOONRING_TEST_EMPTY}\n", "E0205",
                                 "upstream"));
}

Test(variables, that_are_wrong_are_the_only_thing_said_about_their_value, .timeout = 10) {
    static const char *const keys[] = {
        "bind: '${NO}'",
        "bind: {address: '${NO}'}",
        "bind: ['${NO}']",
        "upstream: '${NO}'",
        "timeouts: '${NO}'",
        "timeouts: {idle: '${NO}'}",
        "filters: '${NO}'",
        "filters: ['${NO}']",
        "filters: [{lua: a.lua, params: {a: '${NO}', b: ['${NO}']}}]",
        "tcp: {keepalive: '${NO}'}",
    };
    unsetenv("NO");
    for (size_t index = 0; index < sizeof(keys) / sizeof(keys[0]); index++) {
        char text[512];
        bool bind = strncmp(keys[index], "bind", 4) == 0;
        bool upstream = strncmp(keys[index], "upstream", 8) == 0;
        snprintf(text, sizeof(text), "listeners:\n  web:\n    %s\n%s%s", keys[index], bind ? "" : "    bind: ':1'\n",
                 upstream ? "" : "    upstream: 'a:1'\n");
        struct loading_result result = loading_from(text);
        cr_expect(loading_reports(&result, "E0318", "NO"), "%s", result.report.text.data);
        cr_expect_null(strstr(result.report.text.data, "E02"), "%s", result.report.text.data);
        cr_expect_null(strstr(result.report.text.data, "E04"), "%s", result.report.text.data);
        loading_finish(&result);
    }
}

Test(variables, may_not_bring_what_no_text_may_have, .timeout = 10) {
    static const char *const values[] = {"a\nb", "\x1b[2J", "\xff", "a\xc3", "\xed\xa0\x80"};
    for (size_t index = 0; index < sizeof(values) / sizeof(values[0]); index++) {
        setenv("MOONRING_TEST_A", values[index], 1);
        cr_expect(loading_fails_with("listeners:\n  a: {bind: ':1', upstream: \"x${MOONRING_TEST_A}\"}\n", "E0319",
                                     "the variable MOONRING_TEST_A holds a byte 0x"));
    }
}

Test(variables, cannot_make_endless_texts, .timeout = 30) {
    char value[100001];
    struct bytes text;
    bytes_init(&text);
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = 0;
    setenv("MOONRING_TEST_A", value, 1);
    bytes_append_text(&text, "log: \"");
    for (int count = 0; count < 40000; count++) {
        bytes_append_text(&text, "${MOONRING_TEST_A}");
    }
    bytes_append_text(&text, "\"\n");
    cr_expect(loading_fails_with(text.data, "E0109", "more than 1 MiB with its variables"));
    bytes_finish(&text);
}

Test(variables, are_written_out_so_that_a_dump_loads_to_the_same, .timeout = 10) {
    setenv("MOONRING_TEST_A", "x: [y] # $HOME", 1);
    setenv("MOONRING_TEST_B", "10", 1);
    struct config *config = loading_good("listeners:\n"
                                         "  web:\n"
                                         "    bind: {address: 'unix:/a$$b', group: $$g}\n"
                                         "    upstream: 'unix:/$${X}'\n"
                                         "    filters:\n"
                                         "      - lua: /$$a.lua\n"
                                         "        params: {a: $$x, b: '$$y', c: \"${MOONRING_TEST_A}\", d: $5}\n"
                                         "      - lua: /b.lua\n"
                                         "        params:\n"
                                         "          plain: ${MOONRING_TEST_A}\n"
                                         "          number: ${MOONRING_TEST_B}\n"
                                         "log: {error: {target: 'file:/$$log'}}\n"
                                         "lua: {path: '/$$lib/?.lua'}\n");
    struct bytes first;
    struct bytes second;
    bytes_init(&first);
    bytes_init(&second);
    config_dump(config, &first);
    setenv("MOONRING_TEST_A", "changed", 1);
    struct config *again = loading_good(first.data);
    config_dump(again, &second);
    cr_expect_str_eq(first.data, second.data);
    cr_expect_str_eq(again->listeners[0].binds[0].text, "unix:/a$b");
    cr_expect_str_eq(again->listeners[0].filters[0].path, "/$a.lua");
    cr_expect_str_eq(again->listeners[0].filters[1].params.items[0].text, "x: [y] # $HOME");
    cr_expect_str_eq(again->log.error_target, "/$log");
    cr_expect_not_null(strstr(first.data, "number: 10\n"), "%s", first.data);
    cr_expect_not_null(strstr(first.data, "plain: \"x: [y] # $$HOME\"\n"), "%s", first.data);
    bytes_finish(&first);
    bytes_finish(&second);
    config_destroy(config);
    config_destroy(again);
}
