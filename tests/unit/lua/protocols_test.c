#include "tests/unit/lua/viewing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MR "local mr = require 'moonring' "
/* A literal with its size, zeros inside it included. */
#define SIZED(literal) literal, sizeof(literal) - 1

static void expect_same(const char *script, enum direction direction, const char *bytes, size_t size,
                        const char *notes) {
    expect_always(script, direction, bytes, size, notes, bytes, size);
}

/* --- Redis -------------------------------------------------------------------------------------------------------- */

#define COMMANDS(body) MR "return { from_client = function(buf) for f in mr.resp.commands(buf) do " body " end end }"

static const char commands[] =
    "*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nset\r\n$3\r\nkey\r\n$5\r\nvalue\r\nget  a b\r\n*1\r\n$8\r\nFlushAll\r\n";

Test(resp, shows_commands_up_to_their_key, .timeout = 20) {
    expect_same(COMMANDS("note(mr.resp.name(f) .. ',' .. tostring(mr.resp.key(f)) .. ',' .. #f)"), FROM_CLIENT,
                SIZED(commands), "PING,nil,12;SET,key,20;GET,a,6;FLUSHALL,nil,16;");
}

Test(resp, lets_commands_be_replaced_in_order, .timeout = 20) {
    static const char out[] = "*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nset\r\n$3\r\nkey\r\n$5\r\nvalue\r\nget  a b\r\n!";
    expect_always(COMMANDS("if mr.resp.name(f) == 'FLUSHALL' then f:replace('!') end"), FROM_CLIENT, SIZED(commands),
                  "", SIZED(out));
    static const char without[] = "*1\r\n$4\r\nPING\r\nget  a b\r\n*1\r\n$8\r\nFlushAll\r\n";
    expect_always(COMMANDS("if mr.resp.key(f) == 'key' then f:drop() end"), FROM_CLIENT, SIZED(commands), "",
                  SIZED(without));
}

/* The size of a command with several arguments is known at its end only; its other arguments pass unseen. */
Test(resp, passes_what_follows_a_key_unseen, .timeout = 20) {
    enum { VALUE = 10 << 20, PIECE = 16 << 10 };
    static const char *const decisions[] = {"f:pass()", "f:drop()", "f:replace('X')", "f:replace(9, 11, 'get')"};
    static const size_t sizes[] = {VALUE + 56, 14, 15, VALUE + 56};
    char *piece = malloc(PIECE);
    memset(piece, 'x', PIECE);
    for (size_t index = 0; index < sizeof(decisions) / sizeof(decisions[0]); index++) {
        struct viewing viewing;
        char script[512];
        snprintf(script, sizeof(script), COMMANDS("note(tostring(f.size)) if mr.resp.key(f) then %s end"),
                 decisions[index]);
        viewing_open(&viewing);
        viewing_begin(&viewing, script);
        viewing_feed_text(&viewing, FROM_CLIENT, "*4\r\n$3\r\nset\r\n$3\r\nkey\r\n$10485760\r\n");
        for (int at = 0; at < VALUE; at += PIECE) {
            viewing_feed(&viewing, FROM_CLIENT, piece, PIECE);
            cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 0);
        }
        viewing_feed_text(&viewing, FROM_CLIENT, "\r\n$1\r\n");
        viewing_feed_text(&viewing, FROM_CLIENT, "1\r\n*1\r\n$4\r\nPING\r\n");
        cr_assert_not(viewing.failed, "%s", viewing.reason);
        cr_assert_str_eq(viewing.notes.data, "nil;14;", "%s", viewing.notes.data);
        cr_assert_eq(viewing.flows[FROM_CLIENT].entered, 2);
        cr_assert_eq(viewing.flows[FROM_CLIENT].out.size, sizes[index], "%s: %zu bytes", decisions[index],
                     viewing.flows[FROM_CLIENT].out.size);
        viewing_finish(&viewing);
        viewing_close(&viewing);
    }
    free(piece);
}

Test(resp, decides_the_rest_of_a_command_in_pieces, .timeout = 20) {
    static const char bytes[] =
        "*4\r\n$3\r\nset\r\n$1\r\na\r\n$4\r\nlong\r\n$2\r\nEX\r\nping\r\n*3\r\n$3\r\nset\r\n$1\r\nb\r\n$0\r\n\r\n";
    static const char passed[] = "ping\r\n*3\r\n$3\r\nset\r\n$1\r\nb\r\n$0\r\n\r\n";
    static const char replaced[] = "Xping\r\n*3\r\n$3\r\nset\r\n$1\r\nb\r\n$0\r\n\r\n";
    static const char renamed[] =
        "*4\r\n$3\r\nget\r\n$1\r\na\r\n$4\r\nlong\r\n$2\r\nEX\r\nping\r\n*3\r\n$3\r\nset\r\n$1\r\nb\r\n$0\r\n\r\n";
    expect_same(COMMANDS("note(mr.resp.name(f))"), FROM_CLIENT, SIZED(bytes), "SET;PING;SET;");
    expect_always(COMMANDS("if mr.resp.key(f) == 'a' then f:drop() end"), FROM_CLIENT, SIZED(bytes), "", SIZED(passed));
    expect_always(COMMANDS("if mr.resp.key(f) == 'a' then f:replace('X') end"), FROM_CLIENT, SIZED(bytes), "",
                  SIZED(replaced));
    expect_always(COMMANDS("if mr.resp.key(f) == 'a' then f:replace(9, 11, 'get') end"), FROM_CLIENT, SIZED(bytes), "",
                  SIZED(renamed));
}

Test(resp, passes_whole_commands_unseen_after_a_break, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, COMMANDS("note(mr.resp.name(f)) break"));
    viewing_feed_text(&viewing, FROM_CLIENT, "*1\r\n$4\r\nPING\r\necho\r\n*2\r\n$3\r\nget\r\n$1\r\n");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "*1\r\n$4\r\nPING\r\necho\r\n");
    viewing_feed_text(&viewing, FROM_CLIENT, "a\r\n");
    cr_assert_str_eq(viewing.notes.data, "PING;GET;");
    cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 0);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(resp, refuses_what_is_no_command, .timeout = 20) {
    expect_always_fails(COMMANDS(""), FROM_CLIENT, SIZED("*1\r\n:5\r\n"),
                        "not RESP: a command's argument that is no bulk string");
    expect_always_fails(COMMANDS(""), FROM_CLIENT, SIZED("*3\r\n$3\r\nset\r\n$1\r\naXX"),
                        "not RESP: a string that is longer");
    expect_always_fails(COMMANDS("break"), FROM_CLIENT, SIZED("ping\r\n*x\r\n"),
                        "not RESP: a length that is no plain number");
    expect_always_fails(COMMANDS(""), FROM_CLIENT, SIZED("*3\r\n$3\r\nset\r\n$1\r\na\r\n:1\r\n"),
                        "not RESP: a command's argument");
}

Test(resp, names_only_its_commands, .timeout = 10) {
    expect_body_fails("a\n", "for f in buf:lines() do mr.resp.name(f) end", "the frame is none of mr.resp.commands");
    expect_body("a\n", "for f in buf:lines() do assert(mr.resp.key(f) == nil) end");
    expect_body_fails("a\n", "mr.resp.name('a')", "the argument must be a frame, not a string");
    expect_body_fails("a\n", "mr.resp.comands(buf)", "mr.resp has no 'comands' (did you mean 'commands'?)");
    expect_body_fails("a\n", "mr.resp.mine = 1", "assignment to a name of mr.resp");
    expect_body_fails("a\n", "mr.resp.commands('a')", "this method is called on buf");
    expect_body("\r\n",
                "for f in mr.resp.commands(buf) do assert(mr.resp.name(f) == '' and mr.resp.key(f) == nil) end");
}

/* However many names somebody makes up. */
Test(resp, keeps_a_bounded_number_of_names, .timeout = 20) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, COMMANDS("assert(mr.resp.name(f):find('^NAME')) if f.size then f:pass() end"));
    for (int round = 0; round < 20000; round++) {
        char text[64];
        snprintf(text, sizeof(text), "name%d\r\n", round);
        viewing_feed_text(&viewing, FROM_CLIENT, text);
        bytes_clear(&viewing.flows[FROM_CLIENT].out);
    }
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    viewing_finish(&viewing);
    lua_gc(viewing.workbench.script->state, LUA_GCCOLLECT, 0);
    cr_assert_lt(lua_gc(viewing.workbench.script->state, LUA_GCCOUNT, 0), 2000);
    viewing_close(&viewing);
}

#define REPLIES(see, body)                                                                                             \
    MR "return { from_server = function(buf) for f in mr.resp.replies(buf" see ") do " body " end end }"

Test(resp, shows_replies, .timeout = 20) {
    static const char bytes[] = "+OK\r\n-ERR no\r\n*2\r\n$3\r\nfoo\r\n:5\r\n$-1\r\n>1\r\n+x\r\n";
    expect_same(REPLIES("", "note(tostring(f.size))"), FROM_SERVER, SIZED(bytes), "5;9;17;5;8;");
    expect_same(REPLIES(", 2", "note(tostring(f))"), FROM_SERVER, SIZED(bytes), "+O;-E;*2;$-;>1;");
    static const char out[] = "+OK\r\n-!\r\n*2\r\n$3\r\nfoo\r\n:5\r\n$-1\r\n>1\r\n+x\r\n";
    expect_always(REPLIES(", 1", "if f:starts('-') then f:replace('-!\\r\\n') end"), FROM_SERVER, SIZED(bytes), "",
                  SIZED(out));
}

/* --- numbers in front --------------------------------------------------------------------------------------------- */

#define PREFIXED(fields, body)                                                                                         \
    MR "local frames = mr.len_prefix" fields " return { from_client = function(buf) for f in frames(buf) do " body     \
       " end end }"

Test(len_prefix, finds_frames, .timeout = 20) {
    expect_same(PREFIXED("{}", "note(f:sub(5))"), FROM_CLIENT, SIZED("\0\0\0\3abc\0\0\0\0\0\0\0\1d"), "abc;;d;");
    expect_same(PREFIXED("{ at = 2, bytes = 2, add = 1, order = 'le' }", "note(f:sub(4))"), FROM_CLIENT,
                SIZED("x\4\0abx\2\0x\3\0c"), "ab;;c;");
    expect_always(PREFIXED("{}", "if #f == 5 then f:drop() end"), FROM_CLIENT, SIZED("\0\0\0\3abc\0\0\0\1d"), "",
                  SIZED("\0\0\0\3abc"));
    expect_always_fails(PREFIXED("{ max = 6 }", ""), FROM_CLIENT, SIZED("\0\0\0\3abc"), "a length above the limit");
}

Test(len_prefix, asks_for_sensible_fields, .timeout = 10) {
    const struct {
        const char *call;
        const char *reason;
    } cases[] = {{"mr.len_prefix()", "takes a table"},
                 {"mr.len_prefix{ byte = 4 }", "mr.len_prefix has no 'byte' (did you mean 'bytes'?)"},
                 {"mr.len_prefix{ bytes = 9 }", "bytes"},
                 {"mr.len_prefix{ bytes = 0 }", "bytes is a whole number from 1 on"},
                 {"mr.len_prefix{ at = 1.5 }", "at is a whole number"},
                 {"mr.len_prefix{ at = '1' }", "at is a whole number"},
                 {"mr.len_prefix{ order = 'big' }", "order is \"be\" or \"le\""},
                 {"mr.len_prefix{ max = 2 ^ 60 }", "max is a whole number"},
                 {"for i = 1, 300 do mr.len_prefix{ at = i } end", "more than 256 different length prefixes"}};
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        expect_body_fails("abc", cases[index].call, cases[index].reason);
    }
    expect_body("abc", "for i = 1, 300 do mr.len_prefix{ at = 2 } end");
}

/* --- PostgreSQL --------------------------------------------------------------------------------------------------- */

#define STARTUP "\0\0\0\x18\0\3\0\0user\0bob\0key\0v\0\0"
#define TLS_REQUEST "\0\0\0\x08\x04\xd2\x16\x2f"
#define GSS_REQUEST "\0\0\0\x08\x04\xd2\x16\x30"
#define CANCEL "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\1\0\0\0\2"
#define QUERY "Q\0\0\0\x0dselect 1\0"
#define MESSAGES(direction, body)                                                                                      \
    MR "return { from_" direction " = function(buf) for f in mr.pg.messages(buf) do note(mr.pg.kind(f)) " body         \
       " end end }"

Test(pg, knows_what_a_client_sends, .timeout = 20) {
    const char *script = MESSAGES("client", "");
    expect_same(script, FROM_CLIENT, SIZED(STARTUP QUERY "X\0\0\0\4"), "startup;Q;X;");
    expect_same(script, FROM_CLIENT, SIZED(TLS_REQUEST STARTUP QUERY), "tls;startup;Q;");
    expect_same(script, FROM_CLIENT, SIZED(GSS_REQUEST TLS_REQUEST STARTUP), "encryption;tls;startup;");
    expect_same(script, FROM_CLIENT, SIZED(CANCEL), "cancel;");
    expect_always(MESSAGES("client", "if mr.pg.kind(f) == 'Q' then f:drop() end"), FROM_CLIENT,
                  SIZED(STARTUP QUERY "X\0\0\0\4"), "startup;Q;X;", SIZED(STARTUP "X\0\0\0\4"));
}

Test(pg, knows_what_a_server_answers, .timeout = 20) {
    const char *script = MESSAGES("server", "");
    expect_same(script, FROM_SERVER, SIZED("R\0\0\0\x08\0\0\0\0S\0\0\0\x06\0\0Z\0\0\0\5I"), "R;S;Z;");
    expect_same(script, FROM_SERVER, SIZED("NNR\0\0\0\x08\0\0\0\0N\0\0\0\5\0"), "refused;refused;R;N;");
    expect_same(script, FROM_SERVER, SIZED("E\0\0\0\5\0"), "E;");
}

Test(pg, refuses_what_cannot_be, .timeout = 20) {
    const char *script = MESSAGES("client", "");
    expect_always_fails(script, FROM_CLIENT, SIZED("GET / HTTP/1.1\r\n"), "not PostgreSQL");
    expect_always_fails(script, FROM_CLIENT, SIZED(CANCEL "x"), "not PostgreSQL: something follows a cancel request");
    expect_always_fails(script, FROM_CLIENT, SIZED(STARTUP "\1\0\0\0\4"),
                        "not PostgreSQL: a message of an unknown type");
    expect_always_fails(script, FROM_CLIENT, SIZED(TLS_REQUEST "\0\0\0\x09\x60\0\0\0\0"), "not PostgreSQL");
    expect_body_fails("a\n", "for f in buf:lines() do mr.pg.kind(f) end", "the frame is none of mr.pg.messages");
}

static void expect_detached(enum direction direction, const char *bytes, size_t size, const char *notes) {
    char script[512];
    snprintf(script, sizeof(script), MESSAGES("%s", ""), direction == FROM_CLIENT ? "client" : "server");
    expect_same(script, direction, bytes, size, notes);
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, script);
    viewing_feed(&viewing, direction, bytes, size);
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_not(viewing.filter_session->stages[FROM_CLIENT].has_hook);
    cr_assert_not(viewing.filter_session->stages[FROM_SERVER].has_hook);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(pg, leaves_a_session_that_is_encrypted, .timeout = 20) {
    expect_detached(FROM_CLIENT, SIZED(TLS_REQUEST "\x16\3\1\0\5hello and more"), "tls;");
    expect_detached(FROM_CLIENT, SIZED("\x16\3\1\0\5hello"), "");
    expect_detached(FROM_CLIENT, SIZED(GSS_REQUEST "\0\0\1\0\x60token"), "encryption;");
    expect_detached(FROM_SERVER, SIZED("S\x16\3\1\0\5hello"), "accepted;");
    expect_detached(FROM_SERVER, SIZED("NGtoken"), "refused;accepted;");
    expect_detached(FROM_SERVER, SIZED("\x16\3\1\0\5hello"), "");
}

Test(pg, shows_start_up_messages_as_tables, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(
        &viewing,
        MR "return { from_client = function(buf) local start, why, reason = mr.pg.startup(buf)\n"
           "if not start then note(why .. tostring(reason)) if why == 'more' then buf:need() end return end\n"
           "note(start.kind .. start.size .. (start.user or '') .. (start.database or '')\n"
           ".. (start.parameters and start.parameters.key or '') .. (start.process or '')) buf:pass(start.size) end }");
    viewing_feed(&viewing, FROM_CLIENT, SIZED(STARTUP));
    viewing_feed(&viewing, FROM_CLIENT, SIZED(TLS_REQUEST));
    viewing_feed(&viewing, FROM_CLIENT, SIZED(CANCEL));
    viewing_feed(&viewing, FROM_CLIENT, SIZED("\0\0\0"));
    viewing_feed(&viewing, FROM_CLIENT, SIZED("\1"));
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(
        viewing.notes.data,
        "startup24bobbobv;tls8;cancel161;morenil;nono PostgreSQL, or a start-up message above 10000 bytes;", "%s",
        viewing.notes.data);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* --- HTTP/1 ------------------------------------------------------------------------------------------------------- */

#define REQUESTS(body)                                                                                                 \
    MR "return { from_client = function(buf) for f in mr.http1.requests(buf) do local h = mr.http1.head(f) " body      \
       " end end }"
#define GET "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nT: x\r\n\r\n"

Test(http1, shows_the_heads_of_requests, .timeout = 20) {
    expect_same(REQUESTS("note(h.method .. h.target .. h.headers.host .. tostring(f.size and f.size - #f))"),
                FROM_CLIENT, SIZED(GET POST CHUNKED GET), "GET/aa0;POST/ba5;PUT/canil;GET/aa0;");
}

Test(http1, lets_heads_be_changed_and_bodies_pass, .timeout = 20) {
    static const char out[] =
        "GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
        "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: 1\r\n\r\nhello"
        "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n4\r\nbody\r\n0\r\nT: x\r\n\r\n";
    expect_always(REQUESTS("f:replace(#f - 1, #f - 2, 'X: 1\\r\\n')"), FROM_CLIENT, SIZED(GET POST CHUNKED), "",
                  SIZED(out));
    static const char without[] = "GET /a HTTP/1.1\r\n\r\n";
    expect_always(REQUESTS("local host = h.headers[1] f:replace(host.at, host.at + host.size - 1, '')"), FROM_CLIENT,
                  SIZED(GET), "", SIZED(without));
}

Test(http1, drops_and_replaces_messages_with_their_bodies, .timeout = 20) {
    expect_always(REQUESTS("if h.method ~= 'GET' then f:drop() end"), FROM_CLIENT, SIZED(GET POST CHUNKED GET), "",
                  SIZED(GET GET));
    expect_always(REQUESTS("if h.method ~= 'GET' then f:replace('X') end"), FROM_CLIENT, SIZED(GET POST CHUNKED GET),
                  "", SIZED(GET "XX" GET));
}

Test(http1, refuses_what_is_no_http, .timeout = 20) {
    expect_always_fails(REQUESTS(""), FROM_CLIENT, SIZED("\x16\3\1"), "not HTTP/1");
    expect_always_fails(REQUESTS(""), FROM_CLIENT, SIZED("HTTP/1.1 200 OK\r\n\r\n"), "not HTTP/1");
    expect_always_fails(REQUESTS(""), FROM_CLIENT,
                        SIZED("PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnope"),
                        "not HTTP/1: a chunk");
    expect_body_fails("HTTP/1.1 200 OK\r\n\r\n", "for f in mr.http1.responses(buf) do end",
                      "needs a loop over mr.http1.requests(buf) in from_client");
}

#define EXCHANGE                                                                                                       \
    MR "return { from_client = function(buf) for f in mr.http1.requests(buf) do note('>' .. #f) end end,\n"            \
       "from_server = function(buf) for f in mr.http1.responses(buf) do note('<' .. mr.http1.head(f).status .. ',' "   \
       ".. tostring(f.size)) end end }"

static void expect_exchange(const char *const *pieces, const char *notes) {
    struct viewing viewing;
    char sent[2][2048] = {"", ""};
    viewing_open(&viewing);
    viewing_begin(&viewing, EXCHANGE);
    for (size_t index = 0; pieces[index] != NULL; index++) {
        enum direction direction = pieces[index][0] == '>' ? FROM_CLIENT : FROM_SERVER;
        viewing_feed_text(&viewing, direction, pieces[index] + 1);
        strcat(sent[direction], pieces[index] + 1);
        cr_assert_not(viewing.failed, "%s: %s", pieces[index], viewing.reason);
    }
    cr_assert_str_eq(viewing.notes.data, notes, "%s", viewing.notes.data);
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), sent[FROM_CLIENT]);
    cr_assert_str_eq(viewing_out(&viewing, FROM_SERVER), sent[FROM_SERVER]);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(http1, frames_responses_by_their_requests, .timeout = 10) {
    const char *const pieces[] = {
        ">" GET GET "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET GET,
        "<HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n",
        "<HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        "<HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        "<\r\nHTTP/1.0 200 OK\r\n\r\nuntil the",
        "<end",
        NULL};
    expect_exchange(pieces, ">28;>28;>28;>28;>28;<200,40;<304,39;<200,38;<100,25;<200,nil;<200,nil;");
}

Test(http1, becomes_a_tunnel_when_both_want_that, .timeout = 10) {
    static const char upgrade[] = ">GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    const char *const accepted[] = {
        upgrade,    "<HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\1a",
        ">\x81\1b", "<\x81\1c",
        ">\x81\1d", NULL};
    expect_exchange(accepted, ">70;<101,nil;");
    const char *const refused[] = {upgrade, "<HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", ">" GET, NULL};
    expect_exchange(refused, ">70;<200,39;>28;");
    const char *const connected[] = {">CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "<HTTP/1.1 200 OK\r\n\r\n",
                                     ">\x16\3", "<\x16\3", NULL};
    expect_exchange(connected, ">35;<200,nil;");
}

Test(http1, forgets_no_request_that_waits_for_its_response, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, EXCHANGE);
    for (int round = 0; round < 256; round++) {
        viewing_feed_text(&viewing, FROM_CLIENT, round % 2 == 0 ? GET : "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for (int round = 0; round < 256; round++) {
        viewing_feed_text(&viewing, FROM_SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        if (round % 2 == 0) {
            viewing_feed_text(&viewing, FROM_SERVER, "ok");
        }
    }
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    for (int round = 0; round < 257; round++) {
        viewing_feed_text(&viewing, FROM_CLIENT, GET);
    }
    viewing_feed_text(&viewing, FROM_SERVER, "HTTP/1.1 200 OK\r\n\r\n");
    cr_assert_not_null(strstr(viewing.reason, "more than 256 requests"), "%s", viewing.reason);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(http1, shows_heads_as_tables, .timeout = 10) {
    expect_body(
        "GET /x HTTP/1.0\r\nHost: a\r\nCookie: 1\r\nCOOKIE:  2 \r\n\r\nrest",
        "local head = mr.http1.head(buf) assert(head.kind == 'request' and head.method == 'GET' and head.target == "
        "'/x')\n"
        "assert(head.version == '1.0' and head.size == #buf - 4 and not head.keep_alive and not head.chunked)\n"
        "assert(#head.headers == 3 and head.headers.cookie == '1' and head.headers[3].value == '2')\n"
        "assert(head.headers[3].name == 'COOKIE' and buf:sub(head.headers[2].at, head.headers[2].at + 1) == 'Co')\n"
        "assert(buf:sub(head.headers[3].at, head.headers[3].at + head.headers[3].size - 1) == 'COOKIE:  2 \\r\\n')");
    expect_body("HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n",
                "local head = mr.http1.head(tostring(buf)) assert(head.kind == 'response' and head.status == 404)\n"
                "assert(head.phrase == 'Not Found' and head.length == 7 and head.keep_alive and head.target == nil)");
    expect_body("GET /x HT", "local head, why = mr.http1.head(buf:view(1, 9)) assert(head == nil and why == 'more')");
    expect_body("nonsense\r\n",
                "local head, why, reason = mr.http1.head(buf) assert(head == nil and why == 'no' and #reason > 0)");
    expect_body("a", "local head, why = mr.http1.head(buf:view(1, 0)) assert(head == nil and why == 'more')");
    expect_body_fails("a", "mr.http1.head(5)", "mr.http1.head reads a string, buf, view or frame, not a number");
    expect_body_fails("a", "local view = buf:view() buf:pass() mr.http1.head(view)", "passed or dropped already");
}

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

Test(tls, shows_a_hello_as_a_table, .timeout = 10) {
    static const char bytes[] = "\x16\3\1\0\x56\1\0\0\x52\3\3rrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr\0\0\2\x13\1\1\0\0\x27"
                                "\0\0\0\x0a\0\x08\0\0\5Host1"                         /* the server's name */
                                "\0\x10\0\x0e\0\x0c\2h2\x08http/1.1\0\x2b\0\3\2\3\4"; /* ALPN, versions */
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(
        &viewing,
        MR "return { from_client = function(buf) local hello, why = mr.tls.hello(buf)\n"
           "if why == 'more' then return buf:need() end assert(hello, why)\n"
           "note(hello.name .. hello.version .. hello.alpn[1] .. hello.alpn[2] .. #hello.alpn .. hello.versions[1])\n"
           "assert(hello.size == #buf) end }");
    for (size_t index = 0; index < sizeof(bytes) - 1; index++) {
        viewing_feed(&viewing, FROM_CLIENT, &bytes[index], 1);
    }
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(viewing.notes.data, "host11.3h2http/1.121.3;", "%s", viewing.notes.data);
    viewing_finish(&viewing);
    viewing_close(&viewing);
    expect_body("GET /", "local hello, why = mr.tls.hello(buf) assert(hello == nil and why == 'no')");
}
