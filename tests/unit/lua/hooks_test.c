#include "lua/hooks.h"

#include "tests/unit/lua/proxy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* --- each hook ---------------------------------------------------------------------------------------------------- */

Test(hooks, are_called_with_conn_in_their_order, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "local seen = {}\n"
                            "local function note(name) return function(conn) seen[#seen + 1] = name end end\n"
                            "return { route = note 'route', connected = note 'connected',\n"
                            "  from_client = note 'from_client', from_server = note 'from_server',\n"
                            "  client_eof = note 'client_eof', server_eof = note 'server_eof',\n"
                            "  closed = function(conn, info)\n"
                            "    print(table.concat(seen, ' '), info.reason, info.from_client, info.from_server)\n"
                            "  end }\n");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "hello");
    proxy_send(proxy.server, "answer");
    proxy_expect(&proxy, proxy.client, "answer");
    proxy_hang_up(&proxy);
    proxy_expect_log(&proxy, "route connected from_client from_server client_eof server_eof client_fin 5 6");
    proxy_close(&proxy);
}

Test(hooks, a_route_that_returns_nothing_leaves_it_to_the_listener, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return function(conn) end");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "hello");
    proxy_close(&proxy);
}

Test(hooks, route_answers_with_the_name_of_an_upstream, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.without_upstream = true;
    proxy_add(&proxy, "test", "return { route = function(conn) return 'app', { key = 'bob' } end }");
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.server, "hello");
    proxy_expect(&proxy, proxy.client, "hello");
    proxy_close(&proxy);
}

static void expect_route_refused(const char *answer, const char *message) {
    struct proxy proxy;
    char text[256];
    snprintf(text, sizeof(text), "\nreturn { route = function(conn) return %s end }", answer);
    proxy_open_with(&proxy, text);
    proxy_connect_client(&proxy);
    proxy_expect_closed(&proxy, CLOSE_FILTER_ERROR);
    proxy_expect_log(&proxy, message);
    proxy_close(&proxy);
}

Test(hooks, a_route_that_is_none_is_an_error_which_says_what_is_allowed, .timeout = 60) {
    expect_route_refused("5", "test.lua:2: the answer of route is a number: allowed are nil, the name of an upstream, "
                              "and an address");
    expect_route_refused("'ap'", "test.lua:2: the answer of route is not possible: ");
    expect_route_refused("'app', 'key'", "has a second value that is not a table");
    expect_route_refused("'app', { key = 5 }", "has a `key` that is not a string");
    expect_route_refused("{}", "is a table");
}

Test(hooks, connect_failed_leads_elsewhere, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.service.servers_count = 2;
    proxy.service.upstream_config.retry_attempts = 1;
    proxy_add(&proxy, "test",
              "local first = true\n"
              "return { route = function() return '127.0.0.1:1' end,\n"
              "  connect_failed = function(conn, why, tries) print(why, tries); return 'app' end }\n");
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "hello");
    proxy_expect_log(&proxy, "Connection refused 1");
    proxy_close(&proxy);
}

Test(hooks, byte_hooks_see_and_change_what_comes, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { from_client = function(conn, buf)\n"
                            "  buf:put('<' .. tostring(buf) .. '>') buf:drop(#buf) end }");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "one");
    proxy_expect(&proxy, proxy.server, "<one>");
    proxy_send(proxy.client, "two");
    proxy_expect(&proxy, proxy.server, "<two>");
    proxy_send(proxy.server, "three");
    proxy_expect(&proxy, proxy.client, "three");
    proxy_close(&proxy);
}

Test(hooks, allocate_nothing_for_a_chunk, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test", "return { from_client = function(conn, buf) conn.chunks = (conn.chunks or 0) + 1 end }")
        ->jit = false;
    proxy_open(&proxy);
    proxy_connect(&proxy);
    const struct heap *heap = &proxy_runtime(&proxy, 0)->script->heap;
    uint64_t growths = 0;
    for (int chunk = 0; chunk < 50; chunk++) {
        growths = chunk == 2 ? heap->growths : growths;
        proxy_send(proxy.client, "hello");
        proxy_expect(&proxy, proxy.server, "hello");
    }
    cr_assert_eq(heap->growths, growths);
    proxy_close(&proxy);
}

Test(hooks, an_eof_hook_that_says_false_keeps_the_other_half_open, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { client_eof = function(conn) conn.server:write('bye') return false end,\n"
                            "  server_eof = function(conn) conn:close() end }");
    proxy_connect(&proxy);
    cr_assert_eq(kernel_shutdown_write(proxy.client), 0);
    proxy_expect(&proxy, proxy.server, "bye");
    proxy_send(proxy.server, "more");
    proxy_expect(&proxy, proxy.client, "more");
    proxy_close(&proxy);
}

Test(hooks, a_filter_serves_without_an_upstream, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.without_upstream = true;
    proxy_add(&proxy, "test",
              "return { serve = function(conn)\n"
              "  while true do\n"
              "    local line, why = conn.client:read_line()\n"
              "    if not line then print('ended by ' .. why) conn:close() end\n"
              "    conn.client:write('you said ' .. line .. '\\n')\n"
              "  end\n"
              "end }\n");
    proxy_open(&proxy);
    proxy_connect_client(&proxy);
    proxy_send(proxy.client, "hel");
    proxy_send(proxy.client, "lo\r\nwor");
    proxy_expect(&proxy, proxy.client, "you said hello\n");
    proxy_send(proxy.client, "ld\n");
    proxy_expect(&proxy, proxy.client, "you said world\n");
    cr_assert_eq(kernel_shutdown_write(proxy.client), 0);
    cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
    proxy_expect_log(&proxy, "ended by eof");
    proxy_close(&proxy);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* A session whose hook of that name does `body`, from its beginning to its end. The hook's name is put into the text.
 */
static void open_hook(struct proxy *proxy, const char *hook, const char *body) {
    char text[1024];
    snprintf(text, sizeof(text), "local mr = require 'moonring'\nreturn { %s = function(conn, ...)\n%s\nend%s }", hook,
             body, strcmp(hook, "connect_failed") == 0 ? ", route = function() return '127.0.0.1:1' end" : "");
    proxy_init(proxy);
    proxy->without_upstream = strcmp(hook, "serve") == 0;
    proxy_add(proxy, "test", text);
    proxy_open(proxy);
}

static const char *const hook_names[] = {"route",      "connect_failed", "connected", "from_client", "from_server",
                                         "client_eof", "server_eof",     "serve",     "closed"};

/* Does what makes the hook run. */
static void drive_hook(struct proxy *proxy, const char *hook) {
    bool has_server = strcmp(hook, "route") != 0 && strcmp(hook, "connect_failed") != 0 && strcmp(hook, "serve") != 0;
    if (!has_server) {
        proxy_connect_client(proxy);
        return;
    }
    proxy_connect(proxy);
    if (strcmp(hook, "from_client") == 0) {
        proxy_send(proxy->client, "hello");
    } else if (strcmp(hook, "from_server") == 0) {
        proxy_send(proxy->server, "hello");
    } else if (strcmp(hook, "client_eof") == 0) {
        cr_assert_eq(kernel_shutdown_write(proxy->client), 0);
    } else if (strcmp(hook, "server_eof") == 0) {
        cr_assert_eq(kernel_shutdown_write(proxy->server), 0);
    } else if (strcmp(hook, "closed") == 0) {
        kernel_close(proxy->client);
        kernel_close(proxy->server);
        proxy->client = proxy->server = -1;
    }
}

static bool is_closed_hook(const char *hook) {
    return strcmp(hook, "closed") == 0;
}

Test(hooks, an_error_in_any_of_them_closes_the_session_and_is_logged_with_its_place, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        const char *hook = hook_names[index];
        struct proxy proxy;
        char expected[128];
        open_hook(&proxy, hook, "local function deeper() error('no luck') end\ndeeper()");
        drive_hook(&proxy, hook);
        snprintf(expected, sizeof(expected), ": %s: test.lua:3: no luck <- ", hook);
        proxy_expect_log(&proxy, expected);
        proxy_expect_log(&proxy, "listener web: filter test: session 1 from 127.0.0.1:");
        cr_assert_eq(proxy_count_log(&proxy, "in function 'deeper' <- test.lua:4: "), 1, "%s", proxy_log(&proxy));
        if (!is_closed_hook(hook)) {
            proxy_expect_closed(&proxy, CLOSE_FILTER_ERROR);
        }
        proxy_close(&proxy);
    }
}

Test(hooks, errors_of_one_place_are_logged_once_a_second_and_counted, .timeout = 30) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { connected = function(conn) error('no luck') end }");
    for (int session = 0; session < 20; session++) {
        proxy_connect_client(&proxy);
        service_wait(&proxy.service,
                     service_counters(&proxy.service)->sessions_closed[CLOSE_FILTER_ERROR] == (uint64_t)session + 1);
    }
    size_t told = proxy_count_log(&proxy, "no luck");
    cr_assert(told >= 1 && told <= 4, "%zu lines", told);
    struct bytes text;
    bytes_init(&text);
    filters_describe(proxy.filters, &text);
    cr_assert_not_null(strstr(text.data, "filter test worker=0 listener=web file=test.lua state=on connected=20 "
                                         "waiting=0 errors=20 over=0 kills=0 holds=0"),
                       "%s", text.data);
    bytes_finish(&text);
    proxy_close(&proxy);
}

Test(hooks, a_filter_that_fails_is_bypassed_where_it_may_be, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test", "return { from_client = function(conn, buf) buf:drop() error('no luck') end }")
        ->on_error = ON_ERROR_BYPASS;
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.server, "hello");
    proxy_send(proxy.client, "again");
    proxy_expect(&proxy, proxy.server, "again");
    cr_assert_eq(proxy_count_log(&proxy, "no luck"), 1);
    proxy_close(&proxy);
}

Test(hooks, an_error_touches_no_other_session, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { from_client = function(conn, buf)\n"
                            "  if tostring(buf) == 'bad' then error('no luck') end end }");
    proxy_connect(&proxy);
    int client = proxy.client;
    int server = proxy.server;
    proxy.client = proxy.server = -1;
    proxy_connect(&proxy);
    proxy_send(proxy.client, "bad");
    proxy_expect_closed(&proxy, CLOSE_FILTER_ERROR);
    proxy_send(client, "good");
    proxy_expect(&proxy, server, "good");
    kernel_close(client);
    kernel_close(server);
    proxy_close(&proxy);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

Test(hooks, may_wait_in_any_of_them, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        const char *hook = hook_names[index];
        struct proxy proxy;
        open_hook(&proxy, hook,
                  "local before = mr.now()\n"
                  "pcall(function() mr.sleep(0.02) end)\n"
                  "if mr.now() - before > 0.0199 then print('slept') end");
        drive_hook(&proxy, hook);
        proxy_expect_log(&proxy, "slept");
        proxy_close(&proxy);
    }
}

Test(hooks, that_wait_are_dropped_with_their_session, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        const char *hook = hook_names[index];
        struct proxy proxy;
        if (is_closed_hook(hook)) {
            continue; /* it is what the session's end waits for */
        }
        open_hook(&proxy, hook, "print('waits') mr.sleep(1000) print('back')");
        drive_hook(&proxy, hook);
        proxy_expect_log(&proxy, "waits");
        struct runtime *runtime = proxy_runtime(&proxy, 0);
        cr_assert_eq(runtime->tasks_count, 1, "%s", hook);
        worker_close_sessions(&proxy.service.worker);
        service_wait(&proxy.service, list_is_empty(&runtime->conns));
        cr_assert_eq(runtime->tasks_count, 0, "%s", hook);
        cr_assert_eq(proxy_count_log(&proxy, "back"), 0);
        proxy_close(&proxy);
    }
}

Test(hooks, of_one_direction_wait_while_the_other_goes_on, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy,
                    "local mr = require 'moonring'\n"
                    "return { from_client = function(conn) conn.go = conn.go or mr.signal() conn.go:wait() end,\n"
                    "  from_server = function(conn) conn.go:set() end }\n");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "question");
    struct runtime *runtime = proxy_runtime(&proxy, 0);
    service_wait(&proxy.service, runtime->tasks_count == 1);
    proxy_send(proxy.server, "go");
    proxy_expect(&proxy, proxy.client, "go");
    proxy_expect(&proxy, proxy.server, "question");
    cr_assert_eq(runtime->tasks_count, 0);
    proxy_close(&proxy);
}

Test(hooks, wait_for_more_bytes_in_place, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { from_client = function(conn, buf)\n"
                            "  buf:wait(6) conn.server:write('[' .. tostring(buf) .. ']') buf:drop(#buf) end }");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "abc");
    struct runtime *runtime = proxy_runtime(&proxy, 0);
    service_wait(&proxy.service, runtime->tasks_count == 1);
    proxy_send(proxy.client, "def");
    proxy_expect(&proxy, proxy.server, "[abcdef]");
    proxy_close(&proxy);
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

Test(hooks, end_with_close_even_inside_of_pcall, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        const char *hook = hook_names[index];
        struct proxy proxy;
        open_hook(&proxy, hook, "print('here') pcall(conn.close, conn) print('not here')");
        drive_hook(&proxy, hook);
        proxy_expect_log(&proxy, "here");
        if (!is_closed_hook(hook)) {
            cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
        }
        proxy_hang_up(&proxy);
        if (!is_closed_hook(hook)) {
            bool serves = strcmp(hook, "serve") == 0; /* then it is the server, and an end is what servers do */
            proxy_expect_closed(&proxy, serves ? CLOSE_SERVER_FIN : CLOSE_REJECTED);
        }
        cr_assert_eq(proxy_count_log(&proxy, "not here"), 0, "%s", hook);
        proxy_close(&proxy);
    }
}

Test(hooks, have_a_last_word, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { from_client = function(conn) conn:reject('go away\\n') end }");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect(&proxy, proxy.client, "go away\n");
    cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
    cr_assert_eq(proxy_expect_end(&proxy, proxy.server), 0);
    proxy_expect_closed(&proxy, CLOSE_REJECTED);
    proxy_close(&proxy);
}

Test(hooks, reset_the_client, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { from_client = function(conn) conn:reset() end }");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    cr_assert_lt(proxy_expect_end(&proxy, proxy.client), 0);
    proxy_close(&proxy);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static void expect_over(const char *hook, const char *body, bool jit, uint64_t budget_ms, const char *message) {
    struct proxy proxy;
    char text[1024];
    snprintf(text, sizeof(text), "return { %s = function(conn, ...)\n%s\nend%s }", hook, body,
             strcmp(hook, "connect_failed") == 0 ? ", route = function() return '127.0.0.1:1' end" : "");
    proxy_init(&proxy);
    proxy.config.lua.budget_ms = budget_ms;
    proxy.config.lua.memory = (size_t)8 << 20;
    proxy.without_upstream = strcmp(hook, "serve") == 0;
    proxy_add(&proxy, "test", text)->jit = jit;
    proxy_open(&proxy);
    drive_hook(&proxy, hook);
    proxy_expect_log(&proxy, message);
    if (!is_closed_hook(hook)) {
        proxy_expect_closed(&proxy, CLOSE_FILTER_BUDGET);
    }
    proxy_close(&proxy);
}

Test(hooks, over_the_budget_cost_their_session, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        expect_over(hook_names[index], "while true do end", false, 20, "test.lua:2: over its CPU budget");
    }
}

Test(hooks, in_compiled_loops_cost_their_vm, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        expect_over(hook_names[index], "while true do end", true, 20,
                    ": test.lua:1: somewhere in the hook from here to line 3: the VM was stopped: over twice its CPU "
                    "budget, 20 ms");
    }
}

/* What the log says of a kill, for bodies of a hook that begins in line 1. */
Test(hooks, that_killed_their_vm_are_told_with_their_line, .timeout = 60) {
    static const struct {
        const char *body;
        const char *message;
        bool is_interpreted;
    } kills[] = {
        /* compiled code */
        {"for i = 1, 9 do\n local n = 0\n while true do\n n = n + 1 end\n end",
         ": test.lua:1: somewhere in the hook from here to line 7: the VM was stopped: over twice its CPU budget, 20 "
         "ms",
         false},
        /* interpreted code that was asked to stop, and caught the error */
        {"xpcall(function()\n while true do ('a'):gsub('a', 'b') end end,\n"
         "function() string.find(('a'):rep(100000), '.-.-.-b') end)",
         ": test.lua:3: the VM was stopped: over twice its CPU budget, 20 ms, in the hook at test.lua:1", true},
        /* C code that does not end, called by the interpreter */
        {"\nstring.find(('a'):rep(100000), '.-.-.-b')",
         ": test.lua:1: somewhere in the hook from here to line 4: the VM was stopped", false},
        /* memory */
        {"local s = ('x'):rep(1024)\n\n while true do s = s .. s end", ": test.lua:4: over its memory limit", false},
        /* what was spawned, in a hook that is over */
        {"conn:spawn(function()\n mr.sleep(0)\n while true do end end)",
         ": task: test.lua:2: somewhere in the spawned function from here to line 4: the VM was stopped", false},
        {"conn:spawn(function()\n string.find(('a'):rep(100000), '.-.-.-b') end)",
         ": task: test.lua:2: somewhere in the spawned function from here to line 3: the VM was stopped", false},
        {"mr.all(\n function() string.find(('a'):rep(100000), '.-.-.-b') end)",
         ": test.lua:2: in what was spawned here: the VM was stopped", false},
    };
    for (size_t index = 0; index < sizeof(kills) / sizeof(kills[0]); index++) {
        struct proxy proxy;
        char text[512];
        snprintf(text, sizeof(text),
                 "local mr = require 'moonring' return { from_client = function(conn, buf)\n%s\nend }",
                 kills[index].body);
        proxy_init(&proxy);
        proxy.config.lua.budget_ms = 20;
        proxy.config.lua.memory = (size_t)8 << 20;
        proxy_add(&proxy, "test", text)->jit = !kills[index].is_interpreted;
        proxy_open(&proxy);
        proxy_connect(&proxy);
        proxy_send(proxy.client, "go");
        proxy_expect_closed(&proxy, CLOSE_FILTER_BUDGET);
        proxy_expect_log(&proxy, kills[index].message);
        proxy_close(&proxy);
    }
}

Test(hooks, over_the_memory_limit_cost_their_session, .timeout = 60) {
    for (size_t index = 0; index < sizeof(hook_names) / sizeof(hook_names[0]); index++) {
        expect_over(hook_names[index], "local t = {} for i = 1, 1e9 do t[i] = { i } end", false, 5000,
                    "over its memory limit");
    }
}

Test(hooks, that_killed_their_vm_are_told_with_the_first_bytes_that_they_held, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.config.lua.budget_ms = 20;
    proxy_add(&proxy, "test", "return { from_client = function(conn, buf) while true do end end }");
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "AB\n");
    proxy_expect_log(&proxy, ", held 3 bytes: 41 42 0a");
    proxy_close(&proxy);
}

/* What calls us without end is ended like everything else, and leaves nothing of ours behind. */
Test(hooks, that_call_the_api_without_end_are_ended, .timeout = 120) {
    static const char *const loops[] = {"local x = conn.id",
                                        "conn.field = {}",
                                        "conn.shared[{}] = conn.client",
                                        "local x = conn.client.name .. conn.server.name",
                                        "mr.signal():set()",
                                        "pcall(mr.spawn, function() end)",
                                        "pcall(conn.spawn, conn, function(...) end, 1, 2, 3)",
                                        "conn:spawn(function() end):cancel()",
                                        "pcall(conn.client.write, conn.client, 'x')",
                                        "pcall(conn.client.write, conn.client, buf)",
                                        "pcall(mr.sleep)",
                                        "conn:quota(1e9, function() end)",
                                        "conn:limit{ from_client = 0 }",
                                        "pcall(conn.timeout, conn, { idle = 'x' })",
                                        "conn:log('info', 'x')",
                                        "pcall(coroutine.wrap(function() conn:close() end))",
                                        "pcall(conn.close, {})",
                                        "for key in pairs(conn) do end"};
    for (size_t index = 0; index < 2 * sizeof(loops) / sizeof(loops[0]); index++) {
        struct proxy proxy;
        char text[512];
        snprintf(text, sizeof(text),
                 "local mr = require 'moonring'\nreturn { from_client = function(conn, buf)\n"
                 "if tostring(buf) == 'go' then while true do %s end end end }",
                 loops[index / 2]);
        proxy_init(&proxy);
        proxy.config.lua.budget_ms = 10;
        proxy.config.lua.memory = (size_t)16 << 20;
        proxy_add(&proxy, "test", text)->jit = index % 2 == 0;
        proxy_open(&proxy);
        proxy_connect(&proxy);
        proxy_send(proxy.client, "go");
        proxy_expect_closed(&proxy, CLOSE_FILTER_BUDGET);
        proxy_connect(&proxy);
        proxy_send(proxy.client, "fine");
        proxy_expect(&proxy, proxy.server, "fine");
        proxy_close(&proxy);
    }
}

/* What we call for a script: a loop in it ends as one in a hook does, and new sessions are served. */
Test(hooks, whose_callbacks_do_not_end_are_ended, .timeout = 60) {
    static const char *const calls[] = {
        "for f in buf:frames(1, function() while true do end end) do end",
        "conn:quota(1, function() while true do end end) mr.sleep(1)",
        "conn:spawn(function() while true do end end) mr.sleep(1)",
        "mr.after(0, function() while true do end end)",
        "mr.every(0.001, function() while true do end end)",
        "mr.all(function() while true do end end)",
        "table.sort({ 1, 2, 3 }, function() while true do end end)",
        "tostring(setmetatable({}, { __tostring = function() while true do end end }))",
    };
    for (size_t index = 0; index < 2 * sizeof(calls) / sizeof(calls[0]); index++) {
        struct proxy proxy;
        char text[512];
        snprintf(text, sizeof(text),
                 "local mr = require 'moonring'\nreturn { from_client = function(conn, buf)\n"
                 "if buf:starts('go') then %s end end }",
                 calls[index / 2]);
        proxy_init(&proxy);
        proxy.config.lua.budget_ms = 10;
        proxy_add(&proxy, "test", text)->jit = index % 2 == 0;
        proxy_open(&proxy);
        proxy_connect(&proxy);
        proxy_send(proxy.client, "go on");
        proxy_expect_log(&proxy, "its CPU budget");
        proxy_connect(&proxy);
        proxy_send(proxy.client, "fine");
        proxy_expect(&proxy, proxy.server, "fine");
        proxy_close(&proxy);
    }
}

/* --- what is held ------------------------------------------------------------------------------------------------- */

static void expect_hold(const char *body, const char *message) {
    struct proxy proxy;
    char text[256];
    snprintf(text, sizeof(text), "return { from_client = function(conn, buf)\n%s\nend }", body);
    proxy_init(&proxy);
    struct config_filter *config = proxy_add(&proxy, "test", text);
    config->hold_timeout_ms = 20;
    config->hold_max = 4096;
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "hello");
    proxy_expect_closed(&proxy, CLOSE_FILTER_HOLD);
    proxy_expect_log(&proxy, message);
    proxy_close(&proxy);
}

Test(hooks, that_hold_too_long_or_too_much_are_told_with_their_line, .timeout = 20) {
    expect_hold("buf:need(10)",
                ": from_client: test.lua:1: no byte came for hold_timeout while it held 5 and needed 10");
    expect_hold("print('x')\nbuf:wait(10)",
                ": test.lua:3: no byte came for hold_timeout while it held 5 and needed 10");
    expect_hold("\nbuf:need(5000)", ": test.lua:3: 5000 bytes are needed at once, and hold_max is 4096");
}

/* --- what is counted ---------------------------------------------------------------------------------------------- */

static void take_facts(void *argument, const struct usage_facts *facts) {
    struct usage_facts *taken = argument;
    cr_assert_str_eq(facts->listener, "web");
    cr_assert_str_eq(facts->filter, "test");
    cr_assert_str_eq(facts->script, "test.lua");
    *taken = *facts;
}

static struct usage_facts read_usage(void) {
    struct usage_facts facts = {.workers = 0};
    usages_visit(take_facts, &facts);
    return facts;
}

Test(hooks, are_counted_for_whoever_watches_the_program, .timeout = 30) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.config.lua.budget_ms = 10;
    proxy_add(&proxy, "test",
              "return { connected = function(conn) local t = os.clock() repeat until os.clock() - t > 0.002 end,\n"
              "from_client = function(conn, buf) local word = tostring(buf)\n"
              "if word == 'error' then error('no luck') end while word == 'loop' do end end }")
        ->hold_timeout_ms = 20;
    proxy_open(&proxy);
    static const char *const words[] = {"fine", "error", "loop"};
    static const enum close_reason reasons[] = {CLOSE_CLIENT_FIN, CLOSE_FILTER_ERROR, CLOSE_FILTER_BUDGET};
    for (int index = 0; index < 3; index++) {
        proxy_connect(&proxy);
        proxy_send(proxy.client, words[index]);
        if (index == 0) {
            proxy_expect(&proxy, proxy.server, words[index]);
        } else {
            proxy_expect_closed(&proxy, reasons[index]);
        }
        proxy_hang_up(&proxy);
    }
    struct usage_facts facts = read_usage();
    cr_assert_eq(facts.entered[HOOK_CONNECTED], 3);
    cr_assert_eq(facts.entered[HOOK_FROM_CLIENT], 3);
    cr_assert_eq(facts.errors, 1);
    cr_assert_eq(facts.kills, 1);
    cr_assert_eq(facts.over, 0);
    cr_assert_eq(facts.holds, 0);
    cr_assert_geq(facts.busy_ns, 6000000);
    cr_assert_gt(facts.memory, 100000);
    cr_assert_eq(facts.workers, 1);
    cr_assert_eq(facts.workers_off, 0);
    proxy_close(&proxy);
    cr_assert_eq(read_usage().workers, 0, "the filters are gone");
}

/* --- where it failed ---------------------------------------------------------------------------------------------- */

struct failed_at {
    const char *text; /* of the filter */
    const char *rows; /* `place kind count, ` each */
    enum close_reason reason;
    bool interpreted;
};

static void append_row(void *argument, const char *place, enum failure failure, uint64_t count) {
    bytes_printf(argument, "%s %s %u, ", place, failure_name(failure), (unsigned)count);
}

static void append_rows(void *argument, const struct usage_facts *facts) {
    failures_visit(facts->failures, append_row, argument);
}

static void expect_failed_at(const struct failed_at *expected) {
    struct proxy proxy;
    struct bytes rows;
    bytes_init(&rows);
    proxy_init(&proxy);
    proxy.config.lua.budget_ms = 300; /* long enough to take all memory before */
    proxy.config.lua.memory = (size_t)16 << 20;
    struct config_filter *config = proxy_add(&proxy, "test", expected->text);
    config->jit = !expected->interpreted;
    config->hold_timeout_ms = 20;
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "x");
    proxy_expect_closed(&proxy, expected->reason);
    usages_visit(append_rows, &rows);
    cr_expect_str_eq(rows.data, expected->rows, "%s\n%s", expected->text, proxy_log(&proxy));
    proxy_close(&proxy);
    bytes_finish(&rows);
}

#define FILTER(body) "return { from_client = function(conn, buf)\n" body "\nend }"

Test(hooks, that_fail_are_counted_with_the_line_that_the_log_names, .timeout = 60) {
    static const struct failed_at all[] = {
        {FILTER("local none\nnone.x = 1"), "test.lua:3 error 1, ", CLOSE_FILTER_ERROR, false},
        {FILTER("\nbuf:byte({})"), "test.lua:3 error 1, ", CLOSE_FILTER_ERROR, false},
        {FILTER("\n\nerror({})"), "test.lua:4 error 1, ", CLOSE_FILTER_ERROR, false},
        {FILTER("error('user bob:7: no', 0)"), "test.lua:2 error 1, ", CLOSE_FILTER_ERROR, false},
        {FILTER("coroutine.yield(1)"), "test.lua:2 error 1, ", CLOSE_FILTER_ERROR, false},
        /* Interpreted, it is stopped at its line; compiled, the line is lost with the VM, and the hook's is told. */
        {FILTER("local n = 1\nwhile true do n = n + 1 end"), "test.lua:3 budget 1, ", CLOSE_FILTER_BUDGET, true},
        {FILTER("local n = 1\nwhile true do n = n + 1 end"), "test.lua:1 kill 1, ", CLOSE_FILTER_BUDGET, false},
        {FILTER("\nstring.find(('a'):rep(100000), '.-.-.-b')"), "test.lua:1 kill 1, ", CLOSE_FILTER_BUDGET, true},
        {FILTER("local t = {}\nfor i = 1, 1e9 do t[i] = { i } end"), "test.lua:3 memory 1, ", CLOSE_FILTER_BUDGET,
         true},
        {FILTER("\nlocal s = 'x' while true do s = s .. s end"), "test.lua:3 memory 1, ", CLOSE_FILTER_BUDGET, true},
        {"local b, s = require('string.buffer').new(), ('x'):rep(4e6)\nreturn { from_client = function()\n"
         "b:put(s, s, s, s, s, s, s, s, s, s)\nend }",
         "test.lua:2 kill 1, ", CLOSE_FILTER_BUDGET, true},
        {FILTER("\nbuf:need(10)"), "test.lua:1 hold 1, ", CLOSE_FILTER_HOLD, false},
        {FILTER("\nbuf:wait(10)"), "test.lua:3 hold 1, ", CLOSE_FILTER_HOLD, false},
    };
    for (size_t index = 0; index < sizeof(all) / sizeof(all[0]); index++) {
        expect_failed_at(&all[index]);
    }
}

static void count_rows(void *argument, const struct usage_facts *facts) {
    cr_assert_str_eq(facts->listener, "one");
    struct bytes *rows = argument;
    failures_visit(facts->failures, append_row, rows);
}

/* A reload takes the new generation's before it gives the old one's back. */
Test(hooks, that_have_failed_stay_counted_while_their_filter_is_configured, .timeout = 10) {
    struct bytes rows;
    bytes_init(&rows);
    struct usage_cells *old = usage_take("one", "test", "test.lua", 0);
    usage_count_failure(old, FAILURE_MEMORY, "test.lua:7", 1);
    struct usage_cells *new = usage_take("one", "test", "test.lua", 0);
    struct usage_cells *other_worker = usage_take("one", "test", "test.lua", 1);
    usage_give(old);
    usage_count_failure(new, FAILURE_MEMORY, "test.lua:7", 2);
    usage_count_failure(other_worker, FAILURE_MEMORY, "test.lua:7", 2);
    usages_visit(count_rows, &rows);
    cr_assert_str_eq(rows.data, "test.lua:7 memory 3, ");
    usage_give(new);
    usage_give(other_worker);
    bytes_clear(&rows);
    usages_visit(count_rows, &rows);
    cr_assert_eq(rows.size, 0);
    bytes_finish(&rows);
}
