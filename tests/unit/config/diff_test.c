/* What a reload says it changed. */
#include "loading.h"

#include "config/diff.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

typedef bool diff_fn(const struct config *before, const struct config *after, struct bytes *text);

static void expect_text(diff_fn *diff, const char *before, const char *after, const char *expected) {
    struct config *old = loading_good(before);
    struct config *new = loading_good(after);
    struct bytes text;
    bytes_init(&text);
    cr_expect_eq(diff(old, new, &text), expected[0] != 0, "%s", text.data);
    cr_expect_str_eq(text.data, expected);
    bytes_finish(&text);
    config_destroy(old);
    config_destroy(new);
}

static void expect_diff(const char *before, const char *after, const char *expected) {
    expect_text(config_diff, before, after, expected);
}

/* Two values of one key of the listener `web`, between its braces. */
static void expect_listener_diff(const char *before, const char *after, const char *expected) {
    static const char form[] = "listeners:\n  web: {bind: ':80', upstream: app, %s}\n"
                               "upstreams:\n  app: {servers: ['10.0.0.1:80']}\n";
    char texts[2][1024];
    char line[512] = "";
    snprintf(texts[0], sizeof(texts[0]), form, before);
    snprintf(texts[1], sizeof(texts[1]), form, after);
    if (expected[0] != 0) {
        snprintf(line, sizeof(line), "listeners: ~web(%s)", expected);
    }
    expect_diff(texts[0], texts[1], line);
}

Test(diff, tells_what_came_what_changed_and_what_went, .timeout = 10) {
    expect_diff("listeners:\n"
                "  old: {bind: ':1', upstream: api}\n"
                "  pg: {bind: ':2', upstream: api, timeouts: {idle: 10m}}\n"
                "upstreams:\n"
                "  api: {servers: ['10.0.0.1:80', '10.0.0.2:80']}\n",
                "listeners:\n"
                "  pg: {bind: ':2', upstream: api, timeouts: {idle: 1h}}\n"
                "  web2: {bind: ':3', upstream: api}\n"
                "upstreams:\n"
                "  api: {servers: ['10.0.0.1:80', {address: '10.0.0.2:80', weight: 5}, '10.0.0.4:80']}\n",
                "listeners: +web2 ~pg(timeouts.idle 10m->1h) -old; "
                "upstreams: ~api(+10.0.0.4:80, 10.0.0.2:80 weight 1->5)");
}

Test(diff, of_the_same_is_empty, .timeout = 10) {
    expect_diff(LOADING_SMALL, LOADING_SMALL, "");
}

Test(diff, sees_no_change_in_another_spelling, .timeout = 10) {
    expect_diff(
        "listeners:\n"
        "  a: {bind: ':80', upstream: app, timeouts: {idle: 60m, connect: 5s}}\n"
        "  b: {bind: [':81', ':82'], upstream: '10.0.0.9:1', filters: [{lua: /x.lua, params: {a: 1, b: 2}}]}\n"
        "upstreams: {app: {servers: ['10.0.0.1:80']}}\n",
        "upstreams: {app: {balance: round_robin, servers: [{weight: 1, address: '10.0.0.1:80'}]}}\n"
        "defaults: {timeouts: {idle: 1h}}\n"
        "listeners:\n"
        "  b: {bind: [':82', ':81'], upstream: '10.0.0.9:1', filters: [{lua: /x.lua, params: {b: '2', a: 1}}]}\n"
        "  a: {bind: {address: ':80'}, upstream: app}\n",
        "");
}

Test(diff, tells_each_kind_of_value, .timeout = 10) {
    expect_listener_diff("limits: {max_connections: 5}", "limits: {max_connections: off}",
                         "limits.max_connections 5->off");
    expect_listener_diff("tcp: {nodelay: true}", "tcp: {nodelay: false}", "tcp.nodelay true->false");
    expect_listener_diff("tcp: {}", "tcp: {keepalive: {idle: 5s}}", "tcp.keepalive off->on");
    expect_listener_diff("tcp: {keepalive: {idle: 5s}}", "tcp: {keepalive: {idle: 6s, count: 2}}",
                         "tcp.keepalive.idle 5s->6s, tcp.keepalive.count 6->2");
    expect_listener_diff("filters: [/a.lua]", "filters: [{lua: /a.lua, hold_max: 1MiB, on_error: bypass}]",
                         "filters a on_error close->bypass, filters a hold_max 64KiB->1MiB");
}

Test(diff, tells_where_sessions_go_now, .timeout = 10) {
    expect_diff("listeners: {web: {bind: ':80', upstream: '10.0.0.1:80'}}\n",
                "listeners: {web: {bind: ':80', upstream: app}}\nupstreams: {app: {servers: ['10.0.0.1:80']}}\n",
                "listeners: ~web(upstream 10.0.0.1:80->app); upstreams: +app");
    expect_diff("listeners: {web: {bind: ':80', filters: [/a.lua]}}\n",
                "listeners: {web: {bind: ':80', filters: [/a.lua], upstream: 'unix:/a b'}}\n",
                "listeners: ~web(upstream unset->\"unix:/a b\")");
}

Test(diff, tells_addresses_and_filters_of_a_listener, .timeout = 10) {
    expect_diff("listeners: {web: {bind: [':80', ':81'], upstream: 'a:1', filters: [/one.lua, /two.lua]}}\n",
                "listeners: {web: {bind: [':82', ':81'], upstream: 'a:1', filters: [/two.lua, /three.lua]}}\n",
                "listeners: ~web(bind +:82, bind -:80, filters +three, filters -one)");
    expect_diff("listeners: {web: {bind: {address: 'unix:/a', mode: '0600'}, upstream: 'a:1'}}\n",
                "listeners: {web: {bind: {address: 'unix:/a', group: app}, upstream: 'a:1'}}\n",
                "listeners: ~web(bind unix:/a mode 0600->unset, bind unix:/a group unset->app)");
    expect_listener_diff("filters: [{lua: /one.lua, name: x}]", "filters: [{lua: /two.lua, name: x}]",
                         "filters x lua /one.lua->/two.lua");
}

Test(diff, tells_another_order_where_it_matters, .timeout = 10) {
    expect_listener_diff("filters: [/a.lua, /b.lua, /c.lua]", "filters: [/c.lua, /a.lua, /b.lua]", "filters reordered");
    expect_listener_diff("filters: [/a.lua, /b.lua, /c.lua]", "filters: [/a.lua, /c.lua, /d.lua]",
                         "filters +d, filters -b");
    expect_diff("listeners: {web: {bind: ':80', upstream: app}}\nupstreams: {app: {servers: ['a:1', 'b:1']}}\n",
                "listeners: {web: {bind: ':80', upstream: app}}\nupstreams: {app: {servers: ['b:1', 'a:1']}}\n",
                "upstreams: ~app(reordered)");
}

Test(diff, tells_parameters_by_name_and_never_their_values, .timeout = 10) {
    expect_listener_diff("filters: [{lua: /a.lua, params: {token: old, deny: [A], gone: 1, same: {x: [y]}}}]",
                         "filters: [{lua: /a.lua, params: {token: new, deny: [A, B], same: {x: [y]}, added: 1}}]",
                         "filters a params.token changed, filters a params.deny changed, filters a +params.added, "
                         "filters a -params.gone");
    expect_listener_diff("filters: [{lua: /a.lua, params: {a: [1], b: {c: 1}}}]",
                         "filters: [{lua: /a.lua, params: {a: {x: 1}, b: {d: 1}}}]",
                         "filters a params.a changed, filters a params.b changed");
}

Test(diff, tells_the_sections_of_the_process, .timeout = 10) {
    expect_diff(LOADING_SMALL,
                LOADING_SMALL "log: {error: {level: debug}, access: off}\n"
                              "process: {workers: 4, max_connections: 100}\n"
                              "lua: {path: [/a/?.lua, /b/?.lua], memory: 8MiB}\n"
                              "shutdown: {drain_timeout: off}\n",
                "log: error.level info->debug, access on->off; process: workers auto->4, max_connections auto->100; "
                "lua: path unset->\"/a/?.lua\", \"/b/?.lua\", memory 64MiB->8MiB; shutdown: drain_timeout 1m->off");
}

Test(diff, cuts_long_values_and_quotes_strange_ones, .timeout = 10) {
    char before[512];
    char after[512];
    char expected[512];
    snprintf(before, sizeof(before), LOADING_SMALL "log: {error: {target: 'file:/a b'}}\n");
    snprintf(after, sizeof(after), LOADING_SMALL "log: {error: {target: 'file:/%0200d'}}\n", 0);
    snprintf(expected, sizeof(expected), "log: error.target \"file:/a b\"->file:/%074d...", 0);
    expect_diff(before, after, expected);
}

Test(diff, counts_what_would_be_too_much_to_read, .timeout = 30) {
    struct bytes before;
    struct bytes after;
    bytes_init(&before);
    bytes_init(&after);
    bytes_append_text(&before, "listeners: {web: {bind: ':80', upstream: u0}}\nupstreams:\n");
    bytes_append_text(&after, before.data);
    for (int number = 0; number < 2000; number++) {
        bytes_printf(&before, "  u%d: {servers: ['10.0.0.1:1', '10.0.0.2:1']}\n", number);
        bytes_printf(&after, "  u%d: {servers: ['10.0.0.1:1', {address: '10.0.0.2:1', weight: 2}]}\n", number);
    }
    struct config *old = loading_good(before.data);
    struct config *new = loading_good(after.data);
    struct bytes text;
    bytes_init(&text);
    cr_expect(config_diff(old, new, &text));
    cr_expect_not_null(strstr(text.data, "~u99(10.0.0.2:1 weight 1->2); 1900 more changes"), "%s", text.data);
    cr_expect_null(strstr(text.data, "~u100("));
    bytes_finish(&text);
    bytes_finish(&before);
    bytes_finish(&after);
    config_destroy(old);
    config_destroy(new);
}

Test(diff, knows_what_takes_a_restart, .timeout = 10) {
    expect_text(config_diff_fixed, LOADING_SMALL,
                LOADING_SMALL "process: {workers: 4, user: nobody}\nio: {sqpoll: true, sqpoll_idle: 20ms}\n"
                              "log: {access: off}\nlua: {memory: 8MiB}\n",
                "process: user unset->nobody; io: sqpoll false->true, sqpoll_idle 10ms->20ms");
    expect_text(config_diff_fixed, LOADING_SMALL,
                "listeners: {x: {bind: ':8080', upstream: 'a:1'}}\nprocess: {workers: 4}\nlog: {access: off}\n", "");
}
