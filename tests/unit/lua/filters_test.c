#include "lua/filters.h"

#include "base/log.h"
#include "tests/unit/lua/proxy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* --- loading ------------------------------------------------------------------------------------------------------ */

static void expect_refused(const char *text, const char *message) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test", text);
    const char *report = proxy_load_report(&proxy);
    cr_assert_not_null(strstr(report, message), "says\n%s\ninstead of\n%s", report, message);
    cr_assert_not_null(strstr(report, "test.yaml:5:9: note: it is the filter 'test' of listener 'web'\n"), "%s",
                       report);
    cr_assert_not_null(strstr(report, "1 error: nothing was applied\n"), "%s", report);
    proxy_close(&proxy);
}

Test(filters, with_errors_are_refused_with_both_places, .timeout = 60) {
    expect_refused("\n\nlocal = 5", "test.lua:3: error: ");
    expect_refused("\nerror('no luck')", "test.lua:2: error: no luck\n");
    expect_refused("return { from_clients = function() end }",
                   "error: test.lua: there is no hook 'from_clients' (did you mean 'from_client'?)\n");
    expect_refused(
        "return { message = function() end }",
        "error: test.lua: there is no hook 'message': there are route, connect_failed, connected, from_client, "
        "from_server, client_eof, server_eof, serve, closed\n");
    expect_refused("return { from_client = true }", "the hook 'from_client' is not a function, but a boolean\n");
    expect_refused("return { function() end }", "the table of hooks has a field that is not a name, but a number\n");
    expect_refused("return {}", "the table of hooks is empty\n");
    expect_refused("return 5",
                   "a filter returns a table of hooks, or one function, which is `route`; this returns number");
    expect_refused("local x", "this returns nothing\n");
}

Test(filters, that_are_not_there_are_refused, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test", "");
    remove(proxy.paths[0]);
    const char *report = proxy_load_report(&proxy);
    cr_assert_not_null(strstr(report, "test.lua"), "%s", report);
    cr_assert_not_null(strstr(report, "No such file"), "%s", report);
    proxy_close(&proxy);
}

Test(filters, all_say_what_is_wrong_with_them, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "a", "error('one')");
    proxy_add(&proxy, "b", "return function() end");
    proxy_add(&proxy, "c", "error('two')");
    const char *report = proxy_load_report(&proxy);
    cr_assert_not_null(strstr(report, "a.lua:1: error: one\n"), "%s", report);
    cr_assert_not_null(strstr(report, "c.lua:1: error: two\n"), "%s", report);
    cr_assert_not_null(strstr(report, "2 errors: nothing was applied\n"), "%s", report);
    proxy_close(&proxy);
}

Test(filters, that_do_not_end_at_the_top_level_are_refused, .timeout = 60) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.load_budget_ms = 500;
    proxy_add(&proxy, "test", "while true do end");
    const char *report = proxy_load_report(&proxy);
    cr_assert_not_null(strstr(report, "over twice its CPU budget"), "%s", report);
    proxy_close(&proxy);
}

Test(filters, of_a_listener_without_an_upstream_must_route_or_serve, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.without_upstream = true;
    proxy_add(&proxy, "test", "return { from_client = function() end }");
    const char *report = proxy_load_report(&proxy);
    cr_assert_not_null(strstr(report,
                              "test.yaml:2:3: error: listener 'web' has no `upstream`, and none of its filters has "
                              "a hook `route` or `serve`\n"),
                       "%s", report);
    proxy_close(&proxy);
}

Test(filters, are_checked_without_being_used, .timeout = 20) {
    struct proxy proxy;
    struct config_report report;
    proxy_init(&proxy);
    proxy_add(&proxy, "test",
              "local mr = require 'moonring' mr.spawn(function() print('bad') end) return function() end");
    config_report_init(&report);
    cr_assert(filters_check(&proxy.config, &proxy.workbench.watch, &report));
    cr_assert_eq(report.errors_count, 0);
    config_report_finish(&report);
    cr_assert_eq(proxy_count_log(&proxy, "bad"), 0);
    proxy_close(&proxy);
}

Test(filters, of_no_listener_are_none, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_open(&proxy);
    cr_assert_null(filters_lists(proxy.filters));
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "hello");
    proxy_close(&proxy);
}

/* --- VMs ---------------------------------------------------------------------------------------------------------- */

Test(filters, share_a_vm_unless_they_want_their_own, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "a", "return function() end");
    proxy_add(&proxy, "b", "return function() end");
    proxy_add(&proxy, "c", "return function() end")->isolate = true;
    proxy_open(&proxy);
    cr_assert_eq(proxy_runtime(&proxy, 0), proxy_runtime(&proxy, 1));
    cr_assert_neq(proxy_runtime(&proxy, 0), proxy_runtime(&proxy, 2));
    cr_assert_not(proxy_runtime(&proxy, 0)->script->options.interpreted);
    proxy_close(&proxy);
}

Test(filters, without_jit_have_an_interpreter_of_their_own, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "a", "return function() end");
    proxy_add(&proxy, "b", "return function() end")->jit = false;
    proxy_open(&proxy);
    cr_assert_neq(proxy_runtime(&proxy, 0), proxy_runtime(&proxy, 1));
    cr_assert(proxy_runtime(&proxy, 1)->script->options.interpreted);
    proxy_close(&proxy);
}

Test(filters, run_their_top_level_once_for_each_use, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test",
              "local mine = {} return { from_client = function(conn)\n"
              "  mine[1] = (mine[1] or 0) + 1 print('count', mine[1]) end }");
    proxy.filter_configs[1] = proxy.filter_configs[0];
    proxy.filter_configs[1].name = "other";
    proxy.listener.filters_count = 2;
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "hello");
    cr_assert_eq(proxy_count_log(&proxy, "count 1"), 2);
    proxy_close(&proxy);
}

/* --- an onion ----------------------------------------------------------------------------------------------------- */

Test(filters, see_bytes_in_the_order_of_an_onion, .timeout = 20) {
    static const char text[] =
        "return {\n"
        "  from_client = function(conn, buf) if not conn.put then buf:put('%s') end conn.put = true end,\n"
        "  from_server = function(conn, buf) if conn.put then buf:put('%s') end conn.put = false end }";
    struct proxy proxy;
    proxy_init(&proxy);
    for (int index = 0; index < 3; index++) {
        static const char *const names[] = {"a", "b", "c"};
        char filter[256];
        snprintf(filter, sizeof(filter), text, names[index], names[index]);
        proxy_add(&proxy, names[index], filter);
    }
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "1");
    proxy_expect(&proxy, proxy.server, "cba1");
    proxy_send(proxy.server, "2");
    proxy_expect(&proxy, proxy.client, "abc2");
    proxy_close(&proxy);
}

/* --- killed VMs --------------------------------------------------------------------------------------------------- */

static const char wild[] = "local mr = require 'moonring'\n"
                           "mr.every(0.005, function() print('alive') end)\n"
                           "return { from_client = function(conn, buf)\n"
                           "  local said = tostring(buf)\n"
                           "  if said == 'kill' then while true do end end\n"
                           "  if said == 'wait' then mr.sleep(1000) end\n"
                           "end }";

static void open_wild(struct proxy *proxy, enum config_on_error on_error) {
    proxy_init(proxy);
    proxy->config.lua.budget_ms = 10;
    proxy_add(proxy, "test", wild)->on_error = on_error;
    proxy_open(proxy);
}

static void kill_once(struct proxy *proxy) {
    uint64_t closed = service_counters(&proxy->service)->sessions_closed[CLOSE_FILTER_BUDGET];
    proxy_connect(proxy);
    proxy_send(proxy->client, "kill");
    service_wait(&proxy->service, service_counters(&proxy->service)->sessions_closed[CLOSE_FILTER_BUDGET] > closed);
}

Test(filters, of_a_killed_vm_lose_their_sessions_and_new_ones_find_a_fresh_vm, .timeout = 30) {
    struct proxy proxy;
    open_wild(&proxy, ON_ERROR_CLOSE);
    struct runtime *before = proxy_runtime(&proxy, 0);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "wait");
    service_wait(&proxy.service, before->tasks_count == 2);
    int waiting = proxy.client;
    proxy.client = -1;
    proxy_connect(&proxy);
    proxy_send(proxy.client, "idle");
    proxy_expect(&proxy, proxy.server, "idle");
    int idle = proxy.client;
    proxy.client = -1;
    kill_once(&proxy);
    cr_assert_leq(proxy_expect_end(&proxy, waiting), 0);
    cr_assert_leq(proxy_expect_end(&proxy, idle), 0);
    service_wait(&proxy.service, service_counters(&proxy.service)->sessions_closed[CLOSE_FILTER_BUDGET] == 3);
    kernel_close(waiting);
    kernel_close(idle);

    size_t alive = proxy_count_log(&proxy, "alive");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "fine");
    proxy_expect(&proxy, proxy.server, "fine");
    service_wait(&proxy.service, proxy_count_log(&proxy, "alive") > alive);
    proxy_close(&proxy);
}

Test(filters, in_another_vm_do_not_suffer, .timeout = 30) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.config.lua.budget_ms = 10;
    proxy_add(&proxy, "wild", wild)->isolate = true;
    proxy_add(&proxy, "tame", "return { from_client = function(conn, buf) buf:put('tame ') end }");
    proxy_open(&proxy);
    struct runtime *tame = proxy_runtime(&proxy, 1);
    kill_once(&proxy);
    cr_assert_eq(proxy_runtime(&proxy, 1), tame);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "fine");
    proxy_expect(&proxy, proxy.server, "tame fine");
    proxy_close(&proxy);
}

Test(filters, that_kill_their_vm_three_times_are_off, .timeout = 30) {
    struct proxy proxy;
    open_wild(&proxy, ON_ERROR_CLOSE);
    for (int time = 0; time < 3; time++) {
        kill_once(&proxy);
    }
    proxy_expect_log(&proxy, "listener web: filter test: it is off from now on: its VM was killed three times within a "
                             "minute");
    cr_assert_null(proxy_runtime(&proxy, 0));
    proxy_connect_client(&proxy);
    cr_assert_leq(proxy_expect_end(&proxy, proxy.client), 0);
    struct bytes text;
    bytes_init(&text);
    filters_describe(proxy.filters, &text);
    cr_assert_not_null(strstr(text.data, "state=off from_client=3 task="), "%s", text.data);
    cr_assert_not_null(strstr(text.data, "kills=3"), "%s", text.data);
    bytes_finish(&text);
    proxy_close(&proxy);
}

Test(filters, that_are_off_are_bypassed_where_they_may_be, .timeout = 30) {
    struct proxy proxy;
    open_wild(&proxy, ON_ERROR_BYPASS);
    for (int time = 0; time < 3; time++) {
        kill_once(&proxy);
    }
    proxy_expect_log(&proxy, "it is off from now on");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "kill");
    proxy_expect(&proxy, proxy.server, "kill");
    proxy_close(&proxy);
}

Test(filters, whose_file_has_changed_wait_for_a_reload, .timeout = 30) {
    struct proxy proxy;
    open_wild(&proxy, ON_ERROR_CLOSE);
    workbench_write(&proxy.workbench, "test.lua", "return { from_client = function() end }");
    kill_once(&proxy);
    proxy_expect_log(&proxy, "its VM was killed, and its file has changed since it was loaded");
    proxy_connect_client(&proxy);
    cr_assert_leq(proxy_expect_end(&proxy, proxy.client), 0);
    proxy_close(&proxy);
}

Test(filters, that_cannot_be_loaded_again_are_off, .timeout = 30) {
    struct proxy proxy;
    open_wild(&proxy, ON_ERROR_CLOSE);
    remove(proxy.paths[0]);
    kill_once(&proxy);
    proxy_expect_log(&proxy, "it is off from now on: test.lua");
    proxy_close(&proxy);
}

Test(filters, are_off_after_too_many_kills_on_one_worker, .timeout = 30) {
    struct proxy proxy;
    open_wild(&proxy, ON_ERROR_CLOSE);
    proxy.workbench.watch.kills = SCRIPT_KILLS_MAX - 1;
    kill_once(&proxy);
    proxy_expect_log(&proxy, "it is off from now on: its VM was killed, and no other could be made");
    proxy_close(&proxy);
}

Test(filters, do_not_begin_after_too_many_kills_on_one_worker, .timeout = 30) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.workbench.watch.kills = SCRIPT_KILLS_MAX;
    proxy_add(&proxy, "test", wild)->on_error = ON_ERROR_BYPASS;
    proxy_open(&proxy);
    proxy_expect_log(&proxy, "it is off from now on: too many VMs were killed on this worker; a restart helps");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "kill");
    proxy_expect(&proxy, proxy.server, "kill");
    cr_assert_eq(proxy_count_log(&proxy, "alive"), 0);
    proxy_close(&proxy);
}

/* --- generations -------------------------------------------------------------------------------------------------- */

Test(filters, of_two_generations_live_side_by_side, .timeout = 30) {
    static const char text[] = "local mr = require 'moonring' mr.every(0.002, function() print('%s') end)\n"
                               "return { from_client = function(conn, buf) buf:put('%s ') end }";
    struct proxy proxy;
    char script[256];
    proxy_init(&proxy);
    snprintf(script, sizeof(script), text, "old", "old");
    proxy_add(&proxy, "test", script);
    proxy_open(&proxy);
    struct filters *old = proxy.filters;
    proxy_expect_log(&proxy, "old");
    proxy_connect(&proxy);

    struct config_report report;
    const struct filters_options options = {.worker = 0};
    config_report_init(&report);
    snprintf(script, sizeof(script), text, "new", "new");
    workbench_write(&proxy.workbench, "test.lua", script);
    proxy.filters = filters_load(&proxy.config, &options, &proxy.workbench.watch, &report);
    cr_assert_not_null(proxy.filters, "%s", report.text.data);
    config_report_finish(&report);
    filters_start(proxy.filters, &proxy.service.worker.engine, &proxy.workbench.watch);
    filters_retire(old);
    size_t said = proxy_count_log(&proxy, "old");
    proxy_expect_log(&proxy, "new");
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "old hello");
    proxy_hang_up(&proxy);
    service_turn(&proxy.service);
    filters_stop(old);
    filters_destroy(old, &proxy.workbench.watch);
    cr_assert_eq(proxy_count_log(&proxy, "old"), said);

    proxy.service.epoch->filter_lists = filters_lists(proxy.filters);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "new hello");
    proxy_close(&proxy);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static const char whole_life[] =
    "local mr = require 'moonring'\n"
    "return { route = function(conn) conn.user = tostring(conn.id) conn.client:peek(1) end,\n"
    "  connected = function(conn) conn:spawn(function() mr.sleep(0) end) end,\n"
    "  from_client = function(conn, buf) conn.shared.text = tostring(buf) buf:view(1, 2) mr.sleep(0)\n"
    "    mr.all(function() mr.sleep(0) end, function() end) conn.client:write('!' .. conn.client.ip) end,\n"
    "  closed = function(conn, info) mr.sleep(0) print('closed', info.reason) end }";

/* From the n-th allocation on the system has no memory. Whether that was noticed. */
static bool run_without_memory(uint64_t allowed) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test", whole_life);
    proxy_open(&proxy);
    struct heap *heap = &proxy_runtime(&proxy, 0)->script->heap;
    heap->fail_from = heap->growths + allowed;
    proxy_connect_client(&proxy);
    send(proxy.client, "hello", 5, MSG_NOSIGNAL);
    char byte;
    const _Atomic uint64_t *over = &service_counters(&proxy.service)->sessions_closed[CLOSE_FILTER_BUDGET];
    service_wait(&proxy.service, *over == 1 || recv(proxy.client, &byte, 1, MSG_DONTWAIT) == 1);
    proxy_hang_up(&proxy);
    service_wait(&proxy.service, list_is_empty(&proxy.service.worker.engine.closed_chains));
    bool noticed = proxy_count_log(&proxy, "the system has no more") > 0;
    cr_assert(noticed || proxy_count_log(&proxy, "test: closed client_") == 1, "%s", proxy_log(&proxy));
    proxy_close(&proxy);
    return noticed;
}

Test(filters, get_over_a_lack_of_memory_at_any_moment, .timeout = 240) {
    uint64_t allowed = 1;
    while (run_without_memory(allowed)) {
        allowed++;
        cr_assert_lt(allowed, 2000);
    }
    cr_assert_gt(allowed, 20);
}

/* --- all at once -------------------------------------------------------------------------------------------------- */

/* Does one thing after the other, as a seed of the session's own decides. */
static const char monkey[] =
    "local mr = require 'moonring'\n"
    "local signal, others = mr.signal(), {}\n"
    "local function draw(conn, count)\n"
    "  conn.seed = ((conn.seed or conn.id * 7919) * 1103515245 + 12345) % 2^31\n"
    "  return math.floor(conn.seed / 65536) % count + 1\n"
    "end\n"
    "local acts\n"
    "local function act(conn, buf) for i = 1, draw(conn, 4) do acts[draw(conn, #acts)](conn, buf) end end\n"
    "acts = {\n"
    "  function(conn) mr.sleep(draw(conn, 3) / 1000) end,\n"
    "  function(conn) mr.sleep(0) end,\n"
    "  function(conn) conn:spawn(act, conn) end,\n"
    "  function(conn) mr.spawn(pcall, act, conn) end,\n"
    "  function(conn) mr.after(0.001, function() pcall(act, conn) end) end,\n"
    "  function(conn) conn.client:write(('x'):rep(draw(conn, 70000))) end,\n"
    "  function(conn) signal:wait(0.002) end,\n"
    "  function(conn) signal:set() end,\n"
    "  function(conn) others[draw(conn, 5)] = conn end,\n"
    "  function(conn) local other = others[draw(conn, 5)] if other then pcall(act, other) end end,\n"
    "  function(conn) mr.race(function() mr.sleep(0.002) end, function() act(conn) end) end,\n"
    "  function(conn) conn:quota(draw(conn, 1000), function() act(conn) end) end,\n"
    "  function(conn, buf) if buf then buf:pass(draw(conn, #buf)) end end,\n"
    "  function(conn, buf) if buf then buf:wait(#buf + draw(conn, 10)) end end,\n"
    "  function(conn, buf) if buf then buf:put('y') end end,\n"
    "  function(conn) if draw(conn, 5) == 1 then conn:close() end end,\n"
    "  function(conn) if draw(conn, 5) == 1 then conn:reject('bye') end end,\n"
    "  function(conn) if draw(conn, 5) == 1 then conn:reset() end end,\n"
    "  function(conn) if draw(conn, 5) == 1 then error('no luck') end end,\n"
    "  function(conn) if conn.id % 700 >= 100 and conn.id % 700 < 102 then while true do end end end,\n"
    "  function(conn) if draw(conn, 5) == 1 then conn:detach() end end,\n"
    "}\n"
    "return { route = function(conn) act(conn) end, connected = function(conn) act(conn) end,\n"
    "  from_client = act, from_server = act, client_eof = act, server_eof = act,\n"
    "  closed = function(conn) act(conn) end }\n";

enum { MONKEY_PAIRS = 12, MONKEY_STEPS = 3000 };

/* A step of one client and whoever has a connection at the server. */
static void monkey_step(struct proxy *proxy, int *client, int *server, unsigned draw) {
    static char bytes[4096];
    if (*client < 0) {
        *client = service_client(&proxy->service);
    } else if (draw % 16 == 0) {
        kernel_close(*client);
        *client = -1;
    } else if (draw % 16 == 1) {
        kernel_shutdown_write(*client);
    } else {
        send(*client, bytes, draw % 3000 + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        recv(*client, bytes, sizeof(bytes), MSG_DONTWAIT);
    }
    if (*server < 0) {
        *server = kernel_accept(proxy->service.servers[0]);
    } else if (draw / 16 % 16 == 0) {
        kernel_close(*server);
        *server = -1;
    } else {
        recv(*server, bytes, sizeof(bytes), MSG_DONTWAIT);
        send(*server, bytes, draw % 2000 + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    worker_turn(&proxy->service.worker, 100);
}

Test(filters, survive_whatever_scripts_and_peers_do, .timeout = 120) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.config.lua.budget_ms = 10;
    proxy_add(&proxy, "a", monkey)->on_error = ON_ERROR_BYPASS;
    proxy_add(&proxy, "b", monkey);
    proxy_add(&proxy, "c", monkey)->isolate = true;
    proxy_open(&proxy);
    int clients[MONKEY_PAIRS];
    int servers[MONKEY_PAIRS];
    memset(clients, -1, sizeof(clients));
    memset(servers, -1, sizeof(servers));
    unsigned seed = 1;
    for (int step = 0; step < MONKEY_STEPS; step++) {
        seed = seed * 1664525 + 1013904223;
        unsigned pair = (seed >> 8) % MONKEY_PAIRS;
        monkey_step(&proxy, &clients[pair], &servers[pair], seed >> 12);
        proxy.workbench.watch.kills = 0; /* so that it can go on */
    }
    for (int pair = 0; pair < MONKEY_PAIRS; pair++) {
        kernel_close(clients[pair]);
        kernel_close(servers[pair]);
    }
    worker_close_sessions(&proxy.service.worker);
    service_wait(&proxy.service, proxy.service.worker.engine.sessions_count == 0);
    proxy_close(&proxy);
}

/* --- trace -------------------------------------------------------------------------------------------------------- */

Test(filters, are_traced, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.trace = true;
    log_set_level(LOG_TRACE);
    proxy_add(&proxy, "test",
              "return { connected = function() end, from_client = function(conn, buf)\n"
              "  if #buf < 40 then buf:pass(14) buf:need(40) end end }");
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "0123456789012345678901234567890123456");
    proxy_expect_log(&proxy, "trace #1 test connected: returned");
    proxy_expect_log(&proxy, "trace #1 test from_client 37 B: pass 14, hold 23 (needs 40)");
    proxy_send(proxy.client, "01234567890123456789");
    proxy_expect_log(&proxy, "trace #1 test from_client 43 B: pass 43");
    proxy_close(&proxy);
}

Test(filters, that_are_replaced_say_goodbye, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy,
                    "local mr = require 'moonring'\n"
                    "local task = mr.every(0.001, function() print('tick') end, { where = 'all' })\n"
                    "mr.on_retire(function() print('goodbye') task:cancel() mr.sleep(0.001) print('slept') end)\n"
                    "mr.on_retire(function() error('no luck') end)\n"
                    "return { from_client = function(conn, buf) mr.on_retire(print) end }");
    proxy_connect(&proxy);
    proxy_expect_log(&proxy, "tick");
    cr_assert_eq(proxy_count_log(&proxy, "goodbye"), 0);
    filters_retire(proxy.filters);
    cr_assert_eq(proxy_count_log(&proxy, "goodbye"), 1);
    proxy_expect_log(&proxy, "task: test.lua:4: no luck");
    proxy_expect_log(&proxy, "slept");
    proxy_send(proxy.client, "x");
    proxy_expect_log(&proxy, "mr.on_retire: only at the top level");
    proxy_close(&proxy);
}
