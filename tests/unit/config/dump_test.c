#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct bytes dump(const struct config *config) {
    struct bytes text;
    bytes_init(&text);
    config_dump(config, &text);
    return text;
}

/* Loads, dumps, loads the dump, and dumps again. */
static void expect_round_trip(const char *text) {
    struct config *config = loading_good(text);
    struct bytes first = dump(config);
    struct config *again = loading_good(first.data);
    struct bytes second = dump(again);
    cr_expect_str_eq(first.data, second.data);
    cr_assert_eq(config->listeners_count, again->listeners_count);
    cr_assert_eq(config->upstreams_count, again->upstreams_count);
    for (size_t index = 0; index < config->listeners_count; index++) {
        cr_expect_eq(config->listeners[index].upstream, again->listeners[index].upstream);
        cr_expect_str_eq(config->listeners[index].name, again->listeners[index].name);
    }
    for (size_t index = 0; index < config->upstreams_count; index++) {
        cr_expect_str_eq(config->upstreams[index].name, again->upstreams[index].name);
        cr_expect_eq(config->upstreams[index].servers_count, again->upstreams[index].servers_count);
    }
    bytes_finish(&first);
    bytes_finish(&second);
    config_destroy(config);
    config_destroy(again);
}

/* A small configuration, with all that was left out. */
static const char with_defaults[] = "listeners:\n"
                                    "  web:\n"
                                    "    bind:\n"
                                    "      - address: \":8080\"\n"
                                    "    upstream: \"app\"\n"
                                    "    proxy_protocol: off\n"
                                    "    timeouts:\n"
                                    "      connect: 5s\n"
                                    "      preread: 5s\n"
                                    "      handshake: 10s\n"
                                    "      idle: 1h\n"
                                    "      half_close: 1m\n"
                                    "      send_stall: 5m\n"
                                    "      max_lifetime: off\n"
                                    "    limits:\n"
                                    "      max_connections: off\n"
                                    "      bandwidth: off\n"
                                    "      per_source: off\n"
                                    "    tcp:\n"
                                    "      nodelay: true\n"
                                    "      keepalive: off\n"
                                    "      backlog: 4096\n"
                                    "upstreams:\n"
                                    "  app:\n"
                                    "    servers:\n"
                                    "      - name: \"10.0.0.1:80\"\n"
                                    "        address: \"10.0.0.1:80\"\n"
                                    "        weight: 1\n"
                                    "        max_connections: off\n"
                                    "        backup: false\n"
                                    "    balance: round_robin\n"
                                    "    proxy_protocol: off\n"
                                    "    retry:\n"
                                    "      attempts: 3\n"
                                    "      backoff: 50ms\n"
                                    "    health_check: off\n"
                                    "    outlier_detection: off\n"
                                    "    on_server_down: keep\n"
                                    "    on_removed: keep\n"
                                    "    slow_start: 10s\n"
                                    "log:\n"
                                    "  error:\n"
                                    "    target: stderr\n"
                                    "    level: info\n"
                                    "  access:\n"
                                    "    target: stdout\n"
                                    "    format: text\n"
                                    "    when:\n"
                                    "      - close\n"
                                    "    every: off\n"
                                    "    skip_empty: false\n"
                                    "    tcp_info: false\n"
                                    "process:\n"
                                    "  workers: auto\n"
                                    "  max_connections: auto\n"
                                    "io:\n"
                                    "  sqpoll: false\n"
                                    "  sqpoll_idle: 10ms\n"
                                    "  sqpoll_cpu: any\n"
                                    "  splice: auto\n"
                                    "  zero_copy_send: false\n"
                                    "  busy_poll: off\n"
                                    "lua:\n"
                                    "  memory: 64MiB\n"
                                    "  budget: 100ms\n"
                                    "  libs: safe\n"
                                    "  retired_max: 8\n"
                                    "  retire_timeout: 1h\n"
                                    "reload:\n"
                                    "  watch: false\n"
                                    "shutdown:\n"
                                    "  drain_timeout: 1m\n";

Test(dump, writes_every_value_with_its_default, .timeout = 10) {
    struct config *config = loading_good("listeners:\n  web: {bind: ':8080', upstream: app}\n"
                                         "upstreams:\n  app: {servers: ['10.0.0.1:80']}\n");
    struct bytes text = dump(config);
    cr_expect_str_eq(text.data, with_defaults);
    bytes_finish(&text);
    config_destroy(config);
}

Test(dump, of_a_small_configuration_loads_to_the_same, .timeout = 10) {
    expect_round_trip(LOADING_SMALL);
}

Test(dump, leaves_upstreams_that_an_address_made_to_the_address, .timeout = 10) {
    expect_round_trip("listeners:\n"
                      "  a: {bind: ':1', upstream: 'unix:/run/z.sock'}\n"
                      "  b: {bind: ':2', upstream: '10.0.0.1:80'}\n"
                      "  c: {bind: ':3', upstream: 'unix:/run/z.sock'}\n");
}

Test(dump, of_a_configuration_with_every_key_loads_to_the_same, .timeout = 10) {
    expect_round_trip(
        "defaults:\n"
        "  timeouts: {connect: 2s, idle: 90s}\n"
        "  tcp: {keepalive: {idle: 30s}}\n"
        "listeners:\n"
        "  1-a.b_c:\n"
        "    bind: [':80', 'unix:@name \"with\" \\ and # : {}',\n"
        "      {address: 'unix:/run/\xc3\xa9.sock', mode: '0600', group: www}]\n"
        "    upstream: app\n"
        "    timeouts: {connect: 1500ms, idle: 1h, half_close: off, send_stall: 7d, max_lifetime: 365d}\n"
        "    limits: {max_connections: 10000000}\n"
        "    tcp: {nodelay: false, keepalive: {interval: 5s, count: 127}, backlog: 65535}\n"
        "    filters:\n"
        "      - lua: filters/a.lua\n"
        "        on_error: bypass\n"
        "        strict: true\n"
        "        hold_max: 1MiB\n"
        "        hold_timeout: off\n"
        "        jit: false\n"
        "        isolate: true\n"
        "      - {lua: filters/a.lua, name: again, params: {list: [1, \"1\", [], {}], 'a \"b\"': {c: d}}}\n"
        "      - b.lua\n"
        "  second:\n"
        "    bind: '[::1]:0'\n"
        "    upstream: 'db.internal:5432'\n"
        "    tcp: {keepalive: off}\n"
        "upstreams:\n"
        "  app:\n"
        "    balance: first\n"
        "    retry: {attempts: 1, backoff: off}\n"
        "    timeouts: {connect: off}\n"
        "    health_check: {interval: 10ms, timeout: 1m, rise: 1000, fall: 1}\n"
        "    outlier_detection: {consecutive_failures: 1, ejection_time: 1d, max_ejection: 0%}\n"
        "    on_server_down: reset\n"
        "    on_removed: drain\n"
        "    slow_start: off\n"
        "    servers:\n"
        "      - {name: \"a\\\"b\\\\c'd\", address: '10.0.0.1:1', weight: 1000, max_connections: 1}\n"
        "      - {address: '[2001:db8::1]:65535', backup: true}\n"
        "log:\n"
        "  error: {target: 'file:/tmp/a \"b\".log', level: trace}\n"
        "  access: off\n"
        "process: {workers: 1024, user: nobody, max_connections: 1}\n"
        "io: {sqpoll: true, sqpoll_idle: 1ms, sqpoll_cpu: 7, splice: off, zero_copy_send: true,\n"
        "  busy_poll: 1s}\n"
        "lua: {path: [lib/?.lua, '/\"?'], memory: 5MiB, budget: 1s, libs: full}\n"
        "shutdown: {drain_timeout: off}\n");
}

Test(dump, of_names_with_blanks_and_of_the_longest_ones_loads_to_the_same, .timeout = 10) {
    char host[256];
    char text[1024];
    memset(host, 'h', sizeof(host) - 1);
    host[sizeof(host) - 1] = 0;
    snprintf(text, sizeof(text),
             "listeners:\n  a: {bind: 'unix:/a b', upstream: app}\n  b: {bind: ':1', upstream: 'unix:@c  d'}\n"
             "upstreams:\n  app: {servers: ['%s:65535', 'unix:/e f']}\n",
             host);
    expect_round_trip(text);
}

static void expect_equal_values(const struct config_value *one, const struct config_value *other) {
    cr_assert_eq(one->kind, other->kind);
    cr_assert_eq(one->items_count, other->items_count);
    cr_assert((one->key == NULL) == (other->key == NULL));
    if (one->key != NULL) {
        cr_expect_str_eq(one->key, other->key);
    }
    if (one->kind == CONFIG_VALUE_TEXT) {
        cr_expect_str_eq(one->text, other->text);
        cr_expect_eq(one->quoted, other->quoted, "%s", one->text);
    }
    for (size_t index = 0; index < one->items_count; index++) {
        expect_equal_values(&one->items[index], &other->items[index]);
    }
}

/* Whatever YAML takes as a plain text in one place it must take in the place where it is written out. */
Test(dump, of_parameters_loads_to_the_same_ones, .timeout = 10) {
    static const char *const params[] = {
        "{a: 1, b: \"1\", c: '', d: [1, 'x', [], {}, [[y], [z, {k: v}]]], e: {f: {g: {h: i}}}}",
        "{colon: a:b, dash: -x, dashes: [--- x, '-'], hash: a#b, question: [x?], url: http://x/?a=b&c}",
        "{quote: it's, double: 6\" x, backslash: 'C:\\\\x', percent: '%x', at: '@x', tick: '`x`', tilde: ~}",
        "{10: 1, 'a b': 2, a.b: 3, a-b: 4, 'true': 5, '<<': 6, '': 7, '#': 8, 'x: y': 9, \xc3\xa9: 10}",
        "\n          block: ?x\n          colon: :x\n          brackets: a[b], {c}\n          list:\n          - - x",
        "{lone: [-], folded: two\n      words, text: \"  blanks  \", no: no, null: null, wide: \xe6\x97\xa5}",
        "{bom: a\xef\xbb\xbfz, quoted: \"\xef\xbb\xbf\", end: \"\\\"\"}",
    };
    for (size_t index = 0; index < sizeof(params) / sizeof(params[0]); index++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "listeners:\n  a:\n    bind: ':1'\n    filters:\n      - lua: /a.lua\n        params: %s\n",
                 params[index]);
        struct config *config = loading_good(text);
        struct bytes written = dump(config);
        struct config *again = loading_good(written.data);
        expect_equal_values(&config->listeners[0].filters[0].params, &again->listeners[0].filters[0].params);
        bytes_finish(&written);
        config_destroy(config);
        config_destroy(again);
    }
}

Test(dump, writes_filters_as_people_would, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  a:\n"
                                         "    bind: ':1'\n"
                                         "    filters:\n"
                                         "      - /a.lua\n"
                                         "      - {lua: /b.lua, params: {deny: [x, [y]], hosts: {'a b': 1, c: {}}}}\n"
                                         "lua: {path: /lib/?.lua}\n");
    struct bytes text = dump(config);
    cr_expect_not_null(strstr(text.data, "    filters:\n"
                                         "      - lua: \"/a.lua\"\n"
                                         "        name: \"a\"\n"
                                         "        params: {}\n"
                                         "        on_error: close\n"
                                         "        strict: false\n"
                                         "        hold_max: 64KiB\n"
                                         "        hold_timeout: 10s\n"
                                         "        jit: true\n"
                                         "        isolate: false\n"
                                         "      - lua: \"/b.lua\"\n"
                                         "        name: \"b\"\n"
                                         "        params:\n"
                                         "          deny:\n"
                                         "            - x\n"
                                         "            -\n"
                                         "              - y\n"
                                         "          hosts:\n"
                                         "            \"a b\": 1\n"
                                         "            c: {}\n"
                                         "        on_error: close\n"),
                       "%s", text.data);
    cr_expect_not_null(strstr(text.data, "lua:\n  path:\n    - \"/lib/?.lua\"\n  memory: 64MiB\n"), "%s", text.data);
    cr_expect_null(strstr(text.data, "upstream"), "%s", text.data);
    bytes_finish(&text);
    config_destroy(config);
}

Test(dump, holds_for_every_place_it_is_loaded_from, .timeout = 10) {
    const char *text = "listeners:\n  web: {bind: 'unix:run/a', upstream: 'unix:run/b'}\n"
                       "log: {access: {target: 'file:access.log'}}\n";
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_text(text, strlen(text), "/etc/moonring/moonring.yaml", &report);
    cr_assert_not_null(config, "%s", report.text.data);
    struct bytes first = dump(config);
    cr_expect_not_null(strstr(first.data, "target: \"file:/etc/moonring/access.log\""), "%s", first.data);
    struct config *again = config_load_text(first.data, first.size, "/elsewhere/copy.yaml", &report);
    cr_assert_not_null(again, "%s", report.text.data);
    struct bytes second = dump(again);
    cr_expect_str_eq(first.data, second.data);
    bytes_finish(&first);
    bytes_finish(&second);
    config_destroy(config);
    config_destroy(again);
    config_report_finish(&report);
}
