#include "lua/conn.h"

#include "tests/unit/lua/proxy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static void open_hook(struct proxy *proxy, const char *hook, const char *body) {
    char text[2048];
    snprintf(text, sizeof(text),
             "local mr = require 'moonring'\nlocal kept\nreturn { %s = function(conn, buf)\n%s\nend }", hook, body);
    proxy_init(proxy);
    proxy->without_upstream = strcmp(hook, "serve") == 0;
    proxy_add(proxy, "test", text);
    proxy_open(proxy);
}

/* In `from_client`, for which a client has sent `go`. */
static void run_body(struct proxy *proxy, const char *body) {
    open_hook(proxy, "from_client", body);
    proxy_connect(proxy);
    proxy_send(proxy->client, "go");
}

static void expect_says(const char *body, const char *line) {
    struct proxy proxy;
    run_body(&proxy, body);
    proxy_expect_log(&proxy, line);
    proxy_close(&proxy);
}

static void expect_raises_here(const char *body, const char *message) {
    struct proxy proxy;
    char line[512];
    run_body(&proxy, body);
    snprintf(line, sizeof(line), "from_client: test.lua:4: %s", message);
    proxy_expect_log(&proxy, line);
    proxy_expect_closed(&proxy, CLOSE_FILTER_ERROR);
    proxy_close(&proxy);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

Test(conn, knows_facts_of_its_session, .timeout = 60) {
    expect_says("print(conn.id, conn.listener, conn.from_client_bytes, conn.from_server_bytes)", "1 web 2 0");
    expect_says("print('started', mr.now() - conn.started >= 0, mr.now() - conn.started < 5)", "started true true");
    expect_says("print(conn.client.ip, conn.client.ip == conn.client.name:match('^(.*):'),\n"
                "tonumber(conn.client.name:match(':(%d+)$')) == conn.client.port, conn.client.eof, conn.client.tls)",
                "127.0.0.1 true true false nil");
    expect_says("print(conn.server.name, conn.server.ip, conn.server.port > 0, conn.server.eof)",
                "one 127.0.0.1 true false");
    expect_says("print(conn.client == conn.client, conn.client == conn.server)", "true false");
}

Test(conn, has_no_server_before_there_is_one, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "route", "print('server', conn.server)");
    proxy_connect(&proxy);
    proxy_expect_log(&proxy, "server nil");
    proxy_close(&proxy);
}

Test(conn, keeps_the_fields_of_its_filter, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "conn.count = (conn.count or 0) + #buf for name, value in pairs(conn) do print(name, value) end\n"
                     "print('nothing', conn.other)");
    proxy_expect_log(&proxy, "count 2");
    proxy_send(proxy.client, "again");
    proxy_expect_log(&proxy, "count 7");
    proxy_expect_log(&proxy, "nothing nil");
    proxy_close(&proxy);
}

Test(conn, protects_the_names_of_the_api, .timeout = 60) {
    static const char *const names[] = {"id",     "client", "server", "close",   "reject",           "shared",
                                        "detach", "limit",  "quota",  "timeout", "from_client_bytes"};
    for (size_t index = 0; index < sizeof(names) / sizeof(names[0]); index++) {
        char body[128];
        char message[128];
        snprintf(body, sizeof(body), "conn.%s = 1", names[index]);
        snprintf(message, sizeof(message), "assignment to conn.%s, which is the API's", names[index]);
        expect_raises_here(body, message);
    }
    expect_raises_here("conn.client.port = 5", "endpoints take no fields: put them on conn");
    expect_raises_here("print(conn.client.prot)", "an endpoint has no 'prot': it has eof, ip, name, port, tls and");
    expect_says("print('meta', getmetatable(conn), getmetatable(conn.client))", "meta false false");
}

Test(conn, shares_a_table_among_the_filters_of_a_session, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "a", "return { from_client = function(conn) conn.shared.user = conn.id conn.user = 'mine' end }");
    proxy_add(&proxy, "b",
              "return { from_client = function(conn, buf)\n"
              "  print(tostring(buf), 'b', conn.shared.user, conn.user) end }");
    proxy_add(&proxy, "c",
              "return { from_client = function(conn, buf)\n"
              "  print(tostring(buf), 'c', conn.shared.user, conn.user) end }")
        ->isolate = true;
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "first");
    proxy_expect_log(&proxy, "first b 1 nil");
    proxy_expect_log(&proxy, "first c nil nil");
    proxy_hang_up(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "second");
    proxy_expect_log(&proxy, "second b 2 nil");
    proxy_close(&proxy);
}

Test(conn, and_its_endpoints_are_of_no_use_after_their_session, .timeout = 60) {
    static const char *const uses[] = {"kept.id",
                                       "kept.client",
                                       "kept.shared",
                                       "kept:close()",
                                       "kept:reject('x')",
                                       "kept:detach()",
                                       "kept:limit{from_client = 1}",
                                       "kept:timeout{idle = 1}",
                                       "kept:quota(1, print)",
                                       "kept:spawn(print)",
                                       "kept:log('info', 'x')",
                                       "client.ip",
                                       "client:write('x')",
                                       "client:peek(1)",
                                       "client:close_write()"};
    struct proxy proxy;
    char text[4096] = "local kept, client\nlocal uses = {\n";
    for (size_t index = 0; index < sizeof(uses) / sizeof(uses[0]); index++) {
        bool is_call = strchr(uses[index], '(') != NULL || strchr(uses[index], '{') != NULL;
        size_t size = strlen(text);
        snprintf(text + size, sizeof(text) - size, "function() %s%s end,\n", is_call ? "" : "local _ = ", uses[index]);
    }
    strcat(
        text,
        "}\nreturn { from_client = function(conn)\n"
        "if not kept then kept, client = conn, conn.client kept.own = 'own' return end\n"
        "for i, use in ipairs(uses) do\n"
        "  local good, why = pcall(use)\n"
        "  if good or not why:find('conn used after its session was closed', 1, true) then print('bad', i, why) end\n"
        "end print('done', kept.own) end }");
    proxy_open_with(&proxy, text);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "go");
    proxy_expect(&proxy, proxy.server, "go");
    proxy_hang_up(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "go");
    proxy_expect_log(&proxy, "done own");
    cr_assert_eq(proxy_count_log(&proxy, "bad"), 0, "%s", proxy_log(&proxy));
    proxy_close(&proxy);
}

Test(conn, cannot_be_made_up, .timeout = 60) {
    expect_raises_here("conn.close({})", "a method of conn is called with a colon: conn:close()");
    expect_raises_here("conn.close()", "a method of conn is called with a colon: conn:close()");
    expect_raises_here("conn.close(12345)", "a method of conn is called with a colon: conn:close()");
    expect_raises_here("conn.close(conn.client)", "a method of conn is called with a colon: conn:close()");
    expect_raises_here("conn.client.write(conn, 'x')", "a method of an endpoint is called with a colon: ");
    expect_raises_here("conn.client.write(buf, 'x')", "a method of an endpoint is called with a colon: ");
    expect_raises_here("conn.client.write('x')", "a method of an endpoint is called with a colon: ");
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

Test(conn, peeks_and_reads_at_the_client_before_there_is_a_server, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "route",
              "print('peek', tostring(conn.client:peek(3)), conn.client:peek(5) and 'five')\n"
              "print('read', conn.client:read(2), conn.client:consume(1), conn.client:read_line())");
    proxy_connect_client(&proxy);
    proxy_send(proxy.client, "ab");
    service_wait(&proxy.service, proxy_runtime(&proxy, 0)->tasks_count == 1);
    proxy_send(proxy.client, "cdef\r\nrest");
    proxy.server = service_server(&proxy.service, 0);
    proxy_expect(&proxy, proxy.server, "rest");
    proxy_expect_log(&proxy, "peek abc five");
    proxy_expect_log(&proxy, "read ab true def");
    proxy_close(&proxy);
}

Test(conn, peeks_no_further_than_the_end_the_time_and_the_limit, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "serve",
              "print('limit', conn.client:peek(65537))\n"
              "print('timeout', conn.client:peek(1, 0.002))\n"
              "print('none', conn.client:peek(1, 0))\n"
              "conn.client:write('?')\n"
              "print('eof', conn.client:peek(10))\n"
              "print('rest', tostring(conn.client:peek(0)), conn.client:read(3), conn.client:read(1))\n"
              "print('end', conn.client:peek(0)) print('line', conn.client:read_line())\n"
              "print(conn.client.eof)");
    proxy_connect_client(&proxy);
    proxy_expect(&proxy, proxy.client, "?");
    proxy_send(proxy.client, "abc");
    kernel_shutdown_write(proxy.client);
    proxy_expect_log(&proxy, "limit nil limit");
    proxy_expect_log(&proxy, "timeout nil timeout");
    proxy_expect_log(&proxy, "none nil timeout");
    proxy_expect_log(&proxy, "eof nil eof");
    proxy_expect_log(&proxy, "rest abc abc nil eof");
    proxy_expect_log(&proxy, "end nil eof");
    proxy_expect_log(&proxy, "line nil eof");
    proxy_close(&proxy);
}

static void open_route(struct proxy *proxy, const char *text) {
    proxy_init(proxy);
    proxy->listener.timeouts.preread_ms = 20;
    proxy_add(proxy, "test", text);
    proxy_open(proxy);
}

/* The client has sent three bytes by then, and sends the rest when it is too late. */
Test(conn, routes_by_what_is_there_when_preread_is_over, .timeout = 20) {
    struct proxy proxy;
    open_route(&proxy, "return { route = function(conn)\n"
                       "print('peek', conn.client:peek(3)) print('more', conn.client:peek(5))\n"
                       "print('again', conn.client:peek(4, 10), tostring(conn.client:peek(3)))\n"
                       "end }");
    proxy_connect_client(&proxy);
    proxy_send(proxy.client, "abc");
    proxy_expect_log(&proxy, "more nil timeout");
    proxy_expect_log(&proxy, "again nil abc");
    proxy.server = service_server(&proxy.service, 0);
    proxy_send(proxy.client, "def");
    proxy_expect(&proxy, proxy.server, "abcdef");
    proxy_close(&proxy);
}

Test(conn, is_closed_when_its_route_waits_for_something_else_than_bytes_until_preread_is_over, .timeout = 20) {
    struct proxy proxy;
    open_route(&proxy, "local mr = require 'moonring'\nreturn { route = function(conn)\n"
                       "print('peek', conn.client:peek(3)) mr.sleep(60) end }");
    proxy_connect_client(&proxy);
    proxy_expect_log(&proxy, "peek nil timeout");
    proxy_expect_closed(&proxy, CLOSE_TIMEOUT_PREREAD);
    proxy_close(&proxy);
}

Test(conn, has_a_handshake_with_both_sides, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "connected",
              "conn.server:write('hello\\n')\n"
              "local greeting = conn.server:read_line()\n"
              "conn.client:write('server says ' .. greeting .. '\\n')\n"
              "conn.name = conn.client:read_line()");
    proxy_connect(&proxy);
    proxy_expect(&proxy, proxy.server, "hello\n");
    proxy_send(proxy.server, "welcome\nmore");
    proxy_expect(&proxy, proxy.client, "server says welcome\n");
    proxy_send(proxy.client, "bob\nrest");
    proxy_expect(&proxy, proxy.server, "rest");
    proxy_expect(&proxy, proxy.client, "more");
    proxy_close(&proxy);
}

Test(conn, is_read_only_where_no_bytes_flow, .timeout = 60) {
    expect_raises_here(
        "conn.client:read(1)",
        "conn.client:read is possible in route, connected and serve of its own session; this is from_client");
    expect_raises_here("conn.server:peek(1)",
                       "conn.server:peek is possible in connect_failed, route, connected and serve");
}

Test(conn, is_not_read_past_a_nearer_filter, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "near", "return { from_client = function() end }");
    proxy_add(&proxy, "far", "return { connected = function(conn) conn.client:peek(1) end }");
    proxy_open(&proxy);
    proxy_connect_client(&proxy);
    proxy_expect_log(&proxy, "filter far: session 1 from 127.0.0.1");
    proxy_expect_log(&proxy,
                     "conn.client:peek: the filter 'near' stands nearer to that side and has a hook for its bytes");
    proxy_close(&proxy);
}

Test(conn, writes_in_both_directions_from_anywhere, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "conn.client:write('to the client') conn.server:write('to the server ')");
    proxy_expect(&proxy, proxy.client, "to the client");
    proxy_expect(&proxy, proxy.server, "to the server go");
    proxy_close(&proxy);
}

Test(conn, waits_with_writing_while_the_peer_reads_nothing, .timeout = 60) {
    struct proxy proxy;
    open_hook(&proxy, "serve",
              "local piece = ('x'):rep(65536)\n"
              "for i = 1, 200 do conn.client:write(piece) end\n"
              "print('all written') conn:close()");
    proxy_connect_client(&proxy);
    struct runtime *runtime = proxy_runtime(&proxy, 0);
    service_wait(&proxy.service, runtime->tasks_count == 1);
    cr_assert_eq(proxy_count_log(&proxy, "all written"), 0);
    size_t received = 0;
    ssize_t part = -EAGAIN;
    static char bytes[65536];
    while (part != 0) {
        service_wait(&proxy.service, (part = recv(proxy.client, bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0);
        received += (size_t)part;
    }
    cr_assert_eq(received, (size_t)200 * 65536);
    proxy_expect_log(&proxy, "all written");
    proxy_close(&proxy);
}

Test(conn, that_ends_wakes_who_waited_to_write_to_it, .timeout = 60) {
    struct proxy proxy;
    open_hook(&proxy, "serve",
              "if not kept then kept = conn conn.client:write('first') mr.sleep(0.05) conn:reset() end\n"
              "local piece = ('x'):rep(65536)\n"
              "local good, why repeat good, why = pcall(kept.client.write, kept.client, piece) until not good\n"
              "print('writer', why)");
    proxy_connect_client(&proxy);
    proxy_expect(&proxy, proxy.client, "first");
    int first = proxy.client;
    proxy.client = -1;
    proxy_connect_client(&proxy);
    proxy_expect_log(&proxy, "writer test.lua:6: conn used after its session was closed");
    kernel_close(first);
    proxy_close(&proxy);
}

Test(conn, writes_what_can_be_written, .timeout = 60) {
    expect_raises_here("conn.client:write(5)", "what is written must be a string or a view, not a number");
    expect_raises_here("conn.client:write()", "what is written must be a string or a view, not a nil");
    expect_raises_here("conn.client:write(('x'):rep(17 * 2^20))", "not enough memory, or more than 16777216 bytes");
}

Test(conn, half_closes_behind_what_was_written, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "conn.client:write('bye') conn.client:close_write() print(conn.client:write('x'))");
    proxy_expect(&proxy, proxy.client, "bye");
    cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
    proxy_expect(&proxy, proxy.server, "go");
    proxy_close(&proxy);
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

Test(conn, detaches_its_filter, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "print('seen', tostring(buf)) conn:detach()");
    proxy_expect(&proxy, proxy.server, "go");
    proxy_send(proxy.client, "more");
    proxy_expect(&proxy, proxy.server, "more");
    cr_assert_eq(proxy_count_log(&proxy, "seen"), 1);
    proxy_close(&proxy);
}

Test(conn, detaches_one_direction, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "return { from_client = function(conn) print('client') conn:detach('from_client') end,\n"
                            "from_server = function(conn) print('server') end }");
    proxy_connect(&proxy);
    for (int round = 0; round < 2; round++) {
        proxy_send(proxy.client, "one");
        proxy_expect(&proxy, proxy.server, "one");
        proxy_send(proxy.server, "two");
        proxy_expect(&proxy, proxy.client, "two");
    }
    cr_assert_eq(proxy_count_log(&proxy, "client"), 1);
    cr_assert_eq(proxy_count_log(&proxy, "server"), 2);
    proxy_close(&proxy);
}

Test(conn, sets_timeouts_of_its_session, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "conn:timeout{ idle = 0.02, max_lifetime = false }");
    proxy_expect(&proxy, proxy.server, "go");
    proxy_expect_closed(&proxy, CLOSE_TIMEOUT_IDLE);
    proxy_close(&proxy);
}

Test(conn, limits_the_speed_of_its_session, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "connected", "conn:limit{ from_client = 100000 }");
    proxy_connect(&proxy);
    static char bytes[20000];
    memset(bytes, 'x', sizeof(bytes) - 1);
    uint64_t before_ms = deadline_now_ms();
    proxy_send(proxy.client, bytes);
    char received[32768];
    for (size_t done = 0; done < sizeof(bytes) - 1;) {
        ssize_t part = -1;
        service_wait(&proxy.service, (part = recv(proxy.server, received, sizeof(received), MSG_DONTWAIT)) > 0);
        done += (size_t)part;
    }
    cr_assert_geq(deadline_now_ms() - before_ms, 50);
    proxy_close(&proxy);
}

Test(conn, calls_back_when_its_quota_is_passed, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "connected",
              "conn:quota(3, function() print('never') end)\n"
              "conn:quota(10, function() print('passed', conn.from_client_bytes) mr.sleep(0.001)\n"
              "  conn:close() end)");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "12345");
    proxy_expect(&proxy, proxy.server, "12345");
    cr_assert_eq(proxy_count_log(&proxy, "passed"), 0, "%s", proxy_log(&proxy));
    proxy_send(proxy.client, "67890");
    proxy_expect_log(&proxy, "passed 10");
    cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
    cr_assert_eq(proxy_count_log(&proxy, "never"), 0);
    proxy_close(&proxy);
}

Test(conn, refuses_bounds_that_make_no_sense, .timeout = 60) {
    expect_raises_here("conn:detach('from_nobody')", "conn:detach takes nothing, \"from_client\" or \"from_server\"");
    expect_raises_here("conn:limit{ form_client = 5 }",
                       "conn:limit has no 'form_client': it knows from_client, from_server");
    expect_raises_here("conn:limit(5)", "conn:limit takes a table with from_client, from_server");
    expect_raises_here("conn:limit{ from_client = -5 }",
                       "conn:limit: from_client is a number from 0 to 1e+12, or false");
    expect_raises_here("conn:timeout{ idle = '5s' }", "conn:timeout: idle is a number from 0 to 1e+09, or false");
    expect_raises_here("conn:timeout{ idle = 0/0 }", "conn:timeout: idle is a number");
    expect_raises_here("conn:quota('x', print)", "conn:quota: the number of bytes goes from 0 to 2^53");
    expect_raises_here("conn:quota(5)", "conn:quota: what is to be called must be a function");
    expect_raises_here("conn:log('loud', 'x')", "conn:log: the level is error, warn, info or debug");
}

Test(conn, logs_with_what_it_is, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "conn:log('warn', 'strange', 5)");
    proxy_expect_log(&proxy, "warn test: #1 127.0.0.1:");
    proxy_expect_log(&proxy, ": strange 5");
    proxy_close(&proxy);
}

/* A command whose size is not known at its key: what another hook writes toward the server must not land in it. */
Test(conn, writes_wait_for_the_end_of_a_message_of_unknown_size, .timeout = 60) {
    struct proxy proxy;
    proxy_open_with(&proxy, "local mr = require 'moonring'\n"
                            "return {\n"
                            "    from_client = function(conn, buf) for command in mr.resp.commands(buf) do end end,\n"
                            "    from_server = function(conn, buf) conn.server:write('[written]') end,\n"
                            "}");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n");
    proxy_expect(&proxy, proxy.server, "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n");
    proxy_send(proxy.server, "reply");
    proxy_expect(&proxy, proxy.client, "reply");
    proxy_send(proxy.client, "$2\r\nvv\r\n");
    proxy_expect(&proxy, proxy.server, "$2\r\nvv\r\n");
    proxy_send(proxy.client, "$2\r\nNX\r\n");
    proxy_expect(&proxy, proxy.server, "$2\r\nNX\r\n[written]");
    proxy_close(&proxy);
}

Test(conn, writes_go_behind_a_frame_that_was_passed_before, .timeout = 60) {
    struct proxy proxy;
    proxy_open_with(&proxy,
                    "local mr = require 'moonring'\n"
                    "return { from_client = function(conn, buf)\n"
                    "    for command in mr.resp.commands(buf) do command:pass() conn.server:write('[behind]') end\n"
                    "end }");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n");
    proxy_expect(&proxy, proxy.server, "*1\r\n$4\r\nPING\r\n[behind]*1\r\n$4\r\nQUIT\r\n[behind]");
    proxy_close(&proxy);
}

static void expect_state(struct proxy *proxy, const char *script, const char *state) {
    struct bytes text;
    bytes_init(&text);
    proxy_open_with(proxy, script);
    proxy_connect_client(proxy);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (strstr(text.data == NULL ? "" : text.data, state) == NULL) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s", text.data);
        worker_turn(&proxy->service.worker, 5000);
        bytes_clear(&text);
        session_describe(service_session(&proxy->service), &text);
    }
    bytes_finish(&text);
    proxy_close(proxy);
}

Test(conn, shows_in_which_state_its_session_waits, .timeout = 60) {
    struct proxy proxy;
    expect_state(&proxy, "return { route = function(conn) conn.client:peek(1) end }", "state=routing");
    expect_state(&proxy, "return { connected = function(conn) conn.client:peek(1) end }", "state=greeting");
    expect_state(&proxy, "return { route = function(conn) conn:reject('no') end }", "state=lingering");
}

/* --- at the edges ------------------------------------------------------------------------------------------------- */

/* Only the framer can tell where what is dropped ends: until then it stays, and the rest does not leak. */
Test(conn, detaches_behind_a_dropped_frame_whose_end_is_on_its_way, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "from_client",
              "for request in mr.http1.requests(buf) do request:drop() conn:detach() print('detached') end");
    proxy_connect(&proxy);
    proxy_send(proxy.client, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    proxy_expect_log(&proxy, "detached");
    proxy_send(proxy.client, "lo\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    proxy_expect(&proxy, proxy.server, "GET / HTTP/1.1\r\n\r\n");
    proxy_send(proxy.client, "anything");
    proxy_expect(&proxy, proxy.server, "anything");
    cr_assert_eq(proxy_count_log(&proxy, "detached"), 1, "%s", proxy_log(&proxy));
    proxy_close(&proxy);
}

/* The hook that would make room runs only later: waiting for it would be for ever. */
Test(conn, cannot_write_much_towards_a_hook_that_does_not_run_yet, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "writer",
              "return { connected = function(conn)\nfor i = 1, 100 do conn.server:write(('x'):rep(4096)) end end }");
    proxy_add(&proxy, "reader", "return { from_client = function(conn, buf) end }");
    proxy_open(&proxy);
    proxy_connect_client(&proxy);
    proxy_expect_closed(&proxy, CLOSE_FILTER_ERROR);
    proxy_expect_log(&proxy,
                     "connected: writer.lua:2: there is no room for more before the hook of filter 'reader' runs");
    proxy_close(&proxy);
}

Test(conn, counts_what_a_filter_serves, .timeout = 20) {
    struct proxy proxy;
    open_hook(&proxy, "serve",
              "conn.client:write('hello') conn.client:read(1) print('bytes', conn.from_client_bytes, "
              "conn.from_server_bytes)");
    proxy_connect_client(&proxy);
    proxy_expect(&proxy, proxy.client, "hello");
    proxy_send(proxy.client, "x");
    proxy_expect_log(&proxy, "bytes 1 5");
    proxy_close(&proxy);
}
