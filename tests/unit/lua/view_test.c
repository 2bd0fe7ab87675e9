#include "tests/unit/lua/viewing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* --- readers ------------------------------------------------------------------------------------------------------ */

Test(view, reads_numbers_of_every_kind, .timeout = 10) {
    expect_body("\x01\x82\x03\x84\x05\x86\x07\x88",
                "assert(#buf == 8)\n"
                "assert(buf:byte(1) == 1 and buf:byte(8) == 0x88 and buf:u8(2) == 0x82 and buf:byte() == 1)\n"
                "assert(buf:i8(2) == 0x82 - 256 and buf:i8(1) == 1)\n"
                "assert(buf:u16be(1) == 0x0182 and buf:u16le(1) == 0x8201 and buf:i16be(1) == 0x0182)\n"
                "assert(buf:i16be(2) == 0x8203 - 0x10000 and buf:i16le(1) == 0x8201 - 0x10000)\n"
                "assert(buf:u24be(2) == 0x820384 and buf:u24le(2) == 0x840382)\n"
                "assert(buf:u32be(2) == 0x82038405 and buf:u32le(1) == 0x84038201)\n"
                "assert(buf:i32be(2) == 0x82038405 - 2 ^ 32 and buf:i32be(1) == 0x01820384)\n"
                "assert(buf:i32le(1) == 0x84038201 - 2 ^ 32 and buf:i32le(2) == 0x05840382)\n"
                "assert(buf:u64be(1) == 0x01820384 * 2 ^ 32 + 0x05860788)\n"
                "assert(buf:u64le(1) == 0x88078605 * 2 ^ 32 + 0x84038201)\n"
                "assert(buf:i64be(1) == 0x01820384 * 2 ^ 32 + 0x05860788)\n"
                "assert(buf:i64le(1) == (0x88078605 - 2 ^ 32) * 2 ^ 32 + 0x84038201)\n");
    expect_body("\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff\xff\xff\xff\xff",
                "assert(buf:i64be(1) == -2 and buf:i64le(8) == -2)\n"
                "assert(buf:i32be(1) == -1 and buf:i16le(1) == -1 and buf:i8(8) == -2)\n");
}

/* Each reader with each index around the bounds, over every size of a view in the middle of other bytes. */
Test(view, says_nil_where_bytes_are_not_all_there, .timeout = 10) {
    expect_body(
        "<<<<<<0123456789>>>>>>",
        "local widths = { byte = 1, u8 = 1, i8 = 1, u16be = 2, u16le = 2, i16be = 2, i16le = 2, u24be = 3, u24le = 3,\n"
        "                 u32be = 4, u32le = 4, i32be = 4, i32le = 4, u64be = 8, u64le = 8, i64be = 8, i64le = 8 }\n"
        "local inf = math.huge\n"
        "for size = 0, 10 do\n"
        "    local view = buf:view(7, 6 + size)\n"
        "    assert(#view == size)\n"
        "    for name, width in pairs(widths) do\n"
        "        for index = -size - 3, size + 3 do\n"
        "            local at = index < 0 and size + index + 1 or index\n"
        "            local there = at >= 1 and at + width - 1 <= size\n"
        "            local value = view[name](view, index)\n"
        "            assert((value ~= nil) == there)\n"
        "            assert(value == (there and buf[name](buf, at + 6) or nil))\n"
        "        end\n"
        "        for _, odd in ipairs { inf, -inf, 0 / 0, 2 ^ 53, -2 ^ 53, 2 ^ 32 + 1, -2 ^ 32, 1e300, 0, size + 0.5 } "
        "do\n"
        "            assert(view[name](view, odd) == nil)\n"
        "        end\n"
        "    end\n"
        "end\n");
}

Test(view, may_be_empty, .timeout = 10) {
    expect_body("abc",
                "buf:pass() local views = { buf, buf:view(), buf:view(2, 9) }\n"
                "for _, view in ipairs(views) do\n"
                "    assert(#view == 0 and tostring(view) == '' and view:sub(1) == '' and view:hex() == '')\n"
                "    assert(view:byte() == nil and view:u64be(-1) == nil and view:varint() == nil)\n"
                "    assert(view:find('a') == nil and view:find('') == 1 and view:find_any('a') == nil)\n"
                "    assert(view:starts('') and view:equal(1, view) and not view:starts('a') and view:line() == nil)\n"
                "    buf:put(view) assert(mr.http1.head(view) == nil)\n"
                "end\n");
}

Test(view, takes_a_fraction_for_the_byte_it_lies_in, .timeout = 10) {
    expect_body("abc",
                "assert(buf:byte(1.9) == 97 and buf:byte(3) == 99 and buf:byte(3.5) == nil and buf:byte(0.9) == nil)\n"
                "assert(buf:byte(-0.5) == nil and buf:sub(1.9, 2.9) == \"ab\" and #buf:view(1.5, 2.5) == 2)\n");
}

Test(view, reads_varints, .timeout = 10) {
    expect_body("\x05\xac\x02\xff\xff\xff\x7f",
                "local value, next = buf:varint(1)\n"
                "assert(value == 5 and next == 2)\n"
                "value, next = buf:varint(next)\n"
                "assert(value == 300 and next == 4)\n"
                "value, next = buf:varint(next)\n"
                "assert(value == 2 ^ 28 - 1 and next == 8)\n"
                "assert(select(2, buf:varint(next)) == \"more\" and buf:varint(next) == nil)\n"
                "assert(select(2, buf:view(2, 2):varint(1)) == \"more\")\n");
    expect_body("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                "assert(buf:varint(1) == nil and select(2, buf:varint(1)) == \"no\")\n"
                "assert(select(2, buf:view(1, 9):varint(1)) == \"more\")\n"
                "assert(buf:varint(2) == 2 ^ 64 and select(2, buf:varint(2)) == 12)\n");
}

Test(view, finds_and_compares, .timeout = 10) {
    expect_body(
        "hello world\r\nsecond\nrest",
        "local first, last = buf:find(\"world\")\n"
        "assert(first == 7 and last == 11 and buf:find(\"world\", 7) == 7 and buf:find(\"world\", 8) == nil)\n"
        "assert(buf:find(\"l.\", 1) == nil and buf:find(\"o\", -5) == nil and buf:find(\"rest\", -4) == 21)\n"
        "assert(buf:find(\"\") == 1 and select(2, buf:find(\"\")) == 0 and buf:find(\"\", 25) == 25 and buf:find(\"\", "
        "26) == nil)\n"
        "assert(buf:find_any(\"dw\") == 7 and buf:find_any(\"\\r\\n\") == 12 and buf:find_any(\"xyz\") == nil)\n"
        "assert(buf:find_any(\"h\", 2) == nil and buf:find_any(\"\") == nil)\n"
        "assert(buf:starts(\"hello\") and not buf:starts(\"world\") and buf:starts(\"\"))\n"
        "assert(buf:equal(7, \"world\") and not buf:equal(7, \"worlds\") and not buf:equal(22, \"rest\") and "
        "buf:equal(-4, \"rest\"))\n"
        "assert(buf:equal(25, \"\") and not buf:equal(26, \"\") and buf:equal(1, buf:view(1, 5)))\n"
        "assert(not buf:equal(24, \"tt\") and buf:view(1, 5):equal(1, \"hello\") and not buf:view(1, 5):equal(1, "
        "\"hello \"))\n"
        "assert(buf:line() == \"hello world\" and select(2, buf:line()) == 14)\n"
        "assert(buf:line(14) == \"second\" and select(2, buf:line(14)) == 21 and buf:line(21) == nil)\n"
        "assert(buf:view(1, 5):find(\"world\") == nil and buf:view(1, 5):line() == nil)\n");
}

Test(view, cuts_as_strings_do, .timeout = 10) {
    expect_body("abcdef", "local text = \"abcdef\"\n"
                          "assert(tostring(buf) == text and buf:hex() == \"616263646566\")\n"
                          "for i = -8, 8 do\n"
                          "    assert(buf:sub(i) == text:sub(i) and tostring(buf:view(i)) == text:sub(i))\n"
                          "    for j = -8, 8 do\n"
                          "        assert(buf:sub(i, j) == text:sub(i, j))\n"
                          "        local view = buf:view(i, j)\n"
                          "        assert(tostring(view) == text:sub(i, j) and #view == #text:sub(i, j))\n"
                          "        assert(tostring(view:view(2, -2)) == text:sub(i, j):sub(2, -2))\n"
                          "        assert(view:sub(-2) == text:sub(i, j):sub(-2))\n"
                          "    end\n"
                          "end\n"
                          "assert(buf:sub(-math.huge, math.huge) == text and buf:sub(0 / 0, 0 / 0) == text and "
                          "buf:sub(2 ^ 60) == \"\")\n");
}

Test(view, tells_the_end_and_the_age, .timeout = 10) {
    struct viewing viewing;
    uint64_t now_us = 5000000;
    viewing_open(&viewing);
    views_set_clock(viewing.views, &now_us);
    viewing_begin(&viewing, "return { from_client = function(buf) note(buf.age .. tostring(buf.eof)) buf:need() end }");
    viewing.engine.now_us = 3500000;
    viewing_feed_text(&viewing, FROM_CLIENT, "ab");
    viewing.engine.now_us = 4500000;
    viewing_feed_text(&viewing, FROM_CLIENT, "cd");
    viewing_end(&viewing, FROM_CLIENT);
    cr_assert_str_eq(viewing.notes.data, "1.5false;1.5false;1.5true;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "abcd");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* What came while the hook slept was not waited for: it has an age of its own. */
Test(view, tells_the_age_of_what_came_while_the_hook_slept, .timeout = 10) {
    struct viewing viewing;
    uint64_t now_us = 5000000;
    viewing_open(&viewing);
    views_set_clock(viewing.views, &now_us);
    viewing_begin(&viewing, "return { from_client = function(buf) note(tostring(buf) .. buf.age) pause() end }");
    viewing.engine.now_us = 3500000;
    viewing_feed_text(&viewing, FROM_CLIENT, "ab");
    viewing.engine.now_us = 4500000;
    viewing_feed_text(&viewing, FROM_CLIENT, "cd");
    viewing.engine.now_us = 4750000;
    viewing_feed_text(&viewing, FROM_CLIENT, "ef");
    for (int piece = 0; piece < 3; piece++) {
        viewing_wake(&viewing, FROM_CLIENT);
    }
    cr_assert_str_eq(viewing.notes.data, "ab1.5;cd0.5;ef0.25;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "abcdef");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* --- verbs -------------------------------------------------------------------------------------------------------- */

static void expect_sent(const char *bytes, const char *body, const char *out) {
    struct viewing viewing;
    char script[2048];
    snprintf(script, sizeof(script), "return { from_client = function(buf) %s\nend }", body);
    viewing_open(&viewing);
    viewing_begin(&viewing, script);
    viewing_feed_text(&viewing, FROM_CLIENT, bytes);
    cr_assert_not(viewing.failed, "%s: %s", body, viewing.reason);
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), out, "%s: sent %s", body, viewing_out(&viewing, FROM_CLIENT));
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(view, passes_drops_puts_and_replaces, .timeout = 10) {
    expect_sent("abcdef", "", "abcdef");
    expect_sent("abcdef", "buf:pass(2) assert(#buf == 4 and buf:byte(1) == 99) buf:drop(1) buf:put('X')", "abXdef");
    expect_sent("abcdef", "buf:pass() assert(#buf == 0 and buf:byte(1) == nil and buf:byte(-1) == nil)", "abcdef");
    expect_sent("abcdef", "buf:drop()", "");
    expect_sent("abcdef", "buf:pass(0) buf:drop(0) buf:put('')", "abcdef");
    expect_sent("abcdef", "buf:replace(2, 3, 'XYZ') assert(tostring(buf) == 'def')", "aXYZdef");
    expect_sent("abcdef", "buf:replace(-2, -1, 'X') buf:put('!')", "abcdX!");
    expect_sent("abcdef", "buf:replace(1, 0, 'X') buf:replace(7, 6, 'Y')", "XabcdefY");
    expect_sent("abcdef", "buf:replace(2, 3, buf:view(1, 1)) buf:put(buf:view(2, 2)) buf:put(buf)", "aaedefdef");
}

Test(view, decides_bytes_that_have_not_come, .timeout = 10) {
    const struct {
        const char *body;
        const char *out;
        uint32_t entered;
    } cases[] = {{"buf:pass(9)", "abcdefghijkl", 2},
                 {"buf:drop(9)", "jkl", 2},
                 {"buf:replace(2, 9, 'X')", "aXjkl", 2},
                 {"buf:pass(9) assert(#buf == 0)", "abcdefghijkl", 2},
                 {"buf:pass(1e9)", "abcdefghijkl", 1}};
    struct viewing viewing;
    viewing_open(&viewing);
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        char script[512];
        snprintf(script, sizeof(script),
                 "local first = true return { from_client = function(buf) "
                 "if first then %s end first = false end }",
                 cases[index].body);
        viewing_begin(&viewing, script);
        viewing_feed_text(&viewing, FROM_CLIENT, "abcd");
        viewing_feed_text(&viewing, FROM_CLIENT, "efgh");
        viewing_feed_text(&viewing, FROM_CLIENT, "ijkl");
        cr_assert_not(viewing.failed, "%s", viewing.reason);
        cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), cases[index].out, "%s", cases[index].body);
        cr_assert_eq(viewing.flows[FROM_CLIENT].entered, cases[index].entered, "%s", cases[index].body);
        viewing_finish(&viewing);
    }
    viewing_close(&viewing);
}

Test(view, refuses_to_decide_twice, .timeout = 10) {
    const char *verbs[] = {"pass()", "pass(1)", "drop(1)", "replace(1, 0, '')"};
    for (size_t index = 0; index < sizeof(verbs) / sizeof(verbs[0]); index++) {
        char body[128];
        snprintf(body, sizeof(body), "buf:pass(9) buf:%s", verbs[index]);
        expect_body_fails("abc", body, "test.lua:1: bytes that have not come yet were passed or dropped already");
    }
    expect_body("abc", "buf:pass(9) buf:put('X')");
}

Test(view, refuses_verbs_that_make_no_sense, .timeout = 10) {
    const struct {
        const char *body;
        const char *reason;
    } cases[] = {
        {"buf:pass(-1)", "test.lua:1: pass(n): n must be a whole number from 0 on"},
        {"buf:pass(1.5)", "pass(n)"},
        {"buf:pass('1')", "pass(n)"},
        {"buf:pass(0 / 0)", "pass(n)"},
        {"buf:pass(2 ^ 54)", "pass(n)"},
        {"buf:drop(math.huge)", "drop(n)"},
        {"buf:put(5)", "put: the bytes must be a string or a view, not a number"},
        {"buf:put()", "put: the bytes must be a string or a view, not a nil"},
        {"buf:put({})", "not a table"},
        {"buf:put(('x'):rep(9e6)) buf:put(('x'):rep(9e6))", "more than 16777216 bytes put without a wait"},
        {"buf:replace(0, 1, '')", "replace(0, 1, s): i is from 1 to #buf + 1, 4, and j from i - 1 on"},
        {"buf:replace(5, 6, '')", "replace(5, 6, s)"},
        {"buf:replace(3, 1, '')", "replace(3, 1, s)"},
        {"buf:replace(-9, 1, '')", "replace(-5, 1, s)"},
        {"buf:replace(1, nil, '')", "i and j must be numbers"},
        {"buf:replace(1, 2)", "replace: the bytes must be a string or a view, not a nil"},
        {"buf:replace(1, 2 ^ 60, '')", "replace(1,"},
        {"buf:need(2)", "need(2): 3 bytes are there already"},
        {"buf:need(0.5)", "need(n)"},
        {"buf:wait(-1)", "wait(n)"},
        {"buf.size = 1", "buf takes no fields: put them on conn"},
        {"buf:bite(1)", "buf has no 'bite' (did you mean 'byte'?)"},
        {"local x = buf.eoff", "buf has no 'eoff' (did you mean 'eof'?)"},
        {"local x = buf[1]", "buf has no '1'"},
        {"buf:view():pass()", "view has no 'pass'"},
        {"buf.byte(nil, 1)", "called with a colon"},
        {"buf:byte({})", "an index must be a number, not a table"},
        {"buf:find(5)", "the text must be a string, not a number"},
        {"buf:sub('a')", "the bounds of a part must be numbers"},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        expect_body_fails("abc", cases[index].body, cases[index].reason);
    }
}

Test(view, is_called_again_when_so_many_bytes_are_there, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  "return { from_client = function(buf) note(tostring(buf)) if #buf < 5 then buf:need(5) end end }");
    for (const char *at = "abcdefg"; *at != 0; at++) {
        viewing_feed(&viewing, FROM_CLIENT, at, 1);
    }
    cr_assert_str_eq(viewing.notes.data, "a;abcde;f;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "abcde");
    cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 2);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(view, asks_for_no_more_than_can_be_held, .timeout = 10) {
    expect_body_fails("abc", "buf:need(65537)", "test.lua:1: 65537 bytes are needed at once, and hold_max is 65536");
    expect_body_fails("abc", "buf:wait(65537)", "65537 bytes are needed at once, and hold_max is 65536");
    expect_body_fails("abc", "buf:need(2 ^ 53)", "bytes are needed at once, and hold_max is 65536");
    expect_body_fails("abc", "pcall(buf.need, buf, 65537)", "hold_max");
    expect_body("abc", "buf:need(65536)");
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

Test(view, waits_until_so_many_bytes_are_there, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, "return { from_client = function(buf)\n"
                            "local head = buf:view(1, 1) assert(buf:wait(1)) note(tostring(buf:wait(4)))\n"
                            "note(tostring(buf) .. tostring(head)) buf:pass(2) note(tostring(buf:wait()))\n"
                            "note(tostring(buf)) buf:drop(1) note(tostring(buf:wait(9))) note(tostring(buf)) end }");
    for (const char *at = "abcdef"; *at != 0; at++) {
        viewing_feed(&viewing, FROM_CLIENT, at, 1);
    }
    viewing_end(&viewing, FROM_CLIENT);
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(viewing.notes.data, "true;abcda;true;cde;false;def;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "abdef");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(view, cannot_wait_in_a_coroutine_of_the_script, .timeout = 10) {
    expect_body_fails("abc", "coroutine.wrap(function() buf:wait() end)()", "cannot wait inside a coroutine of yours");
}

/* --- what is gone ------------------------------------------------------------------------------------------------- */

/* The second entry runs `body` with what the first has kept. */
static void expect_second(const char *keeping, const char *body, const char *reason) {
    struct viewing viewing;
    char script[2048];
    snprintf(script, sizeof(script),
             "local kept return { from_client = function(buf) if kept == nil then kept = %s else %s end end, "
             "from_server = function() %s end }",
             keeping, body, body);
    viewing_open(&viewing);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        viewing_begin(&viewing, script);
        viewing_feed_text(&viewing, FROM_CLIENT, "abc");
        cr_assert_not(viewing.failed, "%s", viewing.reason);
        viewing_feed_text(&viewing, (enum direction)direction, "def");
        cr_assert(viewing.failed, "%s: %s: did not fail", keeping, body);
        cr_assert_not_null(strstr(viewing.reason, reason), "%s: %s: %s", keeping, body, viewing.reason);
        viewing_finish(&viewing);
    }
    viewing_close(&viewing);
}

Test(view, raises_when_the_hook_has_returned, .timeout = 10) {
    expect_second("buf:view()", "kept:byte(1)", "view used after from_client returned (keep tostring(view))");
    expect_second("buf:view(2, 2)", "tostring(kept)", "view used after from_client returned");
    expect_second("buf:view()", "return #kept", "view used after from_client returned");
}

Test(view, raises_for_the_buf_of_another_time, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, "local kept return { from_client = function(buf) kept = buf end, "
                            "from_server = function(buf) return kept:byte(1) end }");
    viewing_feed_text(&viewing, FROM_CLIENT, "abc");
    viewing_feed_text(&viewing, FROM_SERVER, "abc");
    cr_assert_not_null(strstr(viewing.reason, "buf used after from_client returned (keep tostring(buf))"), "%s",
                       viewing.reason);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* The slot of a session is taken over by the next one. */
Test(view, raises_for_the_buf_of_another_session, .timeout = 10) {
    struct viewing viewing;
    const char *script = "local mr = require 'string.buffer' mr.kept = mr.kept or {} local kept = mr.kept\n"
                         "return { from_client = function(buf) kept[#kept + 1] = buf if #kept == 2 then\n"
                         "assert(kept[2]:byte(1) == 97 and kept[1] ~= kept[2]) return kept[1]:byte(1) end end }";
    viewing_open(&viewing);
    viewing_begin(&viewing, script);
    uint32_t slot = viewing.slot;
    viewing_feed_text(&viewing, FROM_CLIENT, "abc");
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    viewing_finish(&viewing);
    viewing_begin(&viewing, script);
    cr_assert_eq(viewing.slot, slot);
    viewing_feed_text(&viewing, FROM_CLIENT, "abc");
    cr_assert_not_null(strstr(viewing.reason, "buf used after from_client returned"), "%s", viewing.reason);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(view, raises_for_bytes_that_were_decided, .timeout = 10) {
    expect_body_fails("abc", "local view = buf:view(1, 1) buf:pass(1) view:byte(1)",
                      "test.lua:1: view of bytes that were passed or dropped already (keep tostring(view))");
    expect_body_fails("abc", "local view = buf:view(1, 2) buf:drop(1) return #view", "passed or dropped already");
    expect_body("abc", "local view = buf:view(2, 3) buf:pass(1) assert(tostring(view) == 'bc')");
    expect_body_fails("abc", "local view = buf:view() buf:replace(1, 1, 'x') view:view(2)",
                      "passed or dropped already");
    expect_body_fails("abc", "local view = buf:view(2, 3) buf:pass(9) view:byte(1)", "passed or dropped already");
}

/* Enters a function of the script that belongs to no session. */
static int probe(lua_State *L, void *argument) {
    const struct viewing *viewing = argument;
    lua_rawgeti(L, LUA_REGISTRYINDEX, viewing->workbench.reference);
    lua_getfield(L, -1, "probe");
    lua_call(L, 0, 0);
    return 0;
}

Test(view, is_hidden_from_others_while_its_hook_waits, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  "local kept, part return { from_client = function(buf) kept, part = buf, buf:view(2, 3) pause()\n"
                  "note(tostring(buf) .. tostring(part)) end,\n"
                  "probe = function() assert(not pcall(kept.byte, kept, 1) and not pcall(part.byte, part, 1))\n"
                  "note('hidden') end }");
    viewing_feed_text(&viewing, FROM_CLIENT, "abc");
    struct workbench *workbench = &viewing.workbench;
    enum script_outcome outcome = script_call(workbench->script, probe, &viewing, &workbench->result);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s", workbench->result.text);
    viewing_wake(&viewing, FROM_CLIENT);
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(viewing.notes.data, "hidden;abcbc;");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* Both directions' hooks may wait at once; an entry of their session sees the bytes where they lie then. */
Test(view, sees_what_another_hook_of_its_session_waits_with, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  "local kept return { from_client = function(buf) kept = buf pause() note(tostring(buf)) end,\n"
                  "from_server = function(buf) note(tostring(kept)) kept:pass(1) note(kept:sub(1, 1)) end }");
    viewing_feed_text(&viewing, FROM_CLIENT, "abc");
    viewing_feed_text(&viewing, FROM_SERVER, "xyz");
    viewing_wake(&viewing, FROM_CLIENT);
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(viewing.notes.data, "abc;b;bc;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "abc");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* --- getting at other memory -------------------------------------------------------------------------------------- */

Test(view, reads_no_other_memory_however_it_is_asked, .timeout = 30) {
    const char *tries[] = {
        /* Something else for self. */
        "buf.byte(123ULL, 1)",
        "buf.byte(0x7f0000000000ULL, 1)",
        "buf.byte(1i, 1)",
        "buf.byte(5, 1)",
        "buf.byte('text', 1)",
        "buf.byte({ _id = 1, _view = 0 }, 1)",
        "buf.byte(setmetatable({}, { __index = buf }), 1)",
        "buf.u32be(coroutine.create(print), 1)",
        "local f = buf.pass f(buf:view(), 1)",
        "buf.pass(1LL, 1)",
        "buf.need({ _view = 0 }, 100)",
        "buf.wait(7LL, 3)",
        "buf.frames(1ULL, 4, print)",
        "mr.resp.name(1ULL)",
        "mr.resp.name(buf)",
        "mr.pg.kind(buf:view())",
        "mr.http1.head(1ULL)",
        "mr.tls.hello({})",
        "buf:equal(1, 1ULL)",
        "buf:put(1ULL)",
        "buf:replace(1, 2, { _view = 1 })",
        /* Something else for a number. */
        ("local t = setmetatable({}, { __lt = function() return true end, __le = function() return true end, "
         "__add = function() return 1e9 end, __sub = function() return 1e9 end }) return buf:byte(t)"),
        "return buf:byte(5ULL)",
        "return buf:byte(-1LL)",
        "return buf:byte('1')",
        "buf:sub(1ULL, 1e9)",
        "buf:view(1, 1000000ULL)",
        "buf:find('a', 1e9 + 0ULL)",
        "buf:pass(1ULL)",
        "buf:replace(1ULL, 2ULL, 'x')",
        "buf:frames(1ULL, print)",
        /* Changing what it is. */
        "buf._id = 2",
        "buf._view = 1000",
        "buf:view()._offset = -4096",
        "buf:view()._size = 1e9",
        "getmetatable(buf).__index = print",
        "setmetatable(buf, {})",
        "rawset(buf, '_view', 3)",
        /* Making one. */
        "getmetatable(buf).__new(1, 2)",
        "return buf.new(1, 2)",
        "return buf(1, 2)",
        "return buf + 1",
        "return buf - buf",
        "return buf < buf",
        "return -buf",
        "return buf[0][0]",
        "return buf.start",
        "return buf:view().start[1000]",
        "for _ in pairs(buf) do end",
        "return require('string.buffer').encode(buf)",
        "return unpack(buf, 1, 100)",
        "return require('ffi')",
        "return getfenv(buf.byte)",
    };
    for (size_t index = 0; index < sizeof(tries) / sizeof(tries[0]); index++) {
        expect_body_fails("abcdef", tries[index], "");
    }
}

Test(view, shows_no_address, .timeout = 10) {
    expect_body("abc",
                "local view = buf:view(2, 3)\n"
                "assert(tostring(buf) == \"abc\" and (\"%s\"):format(view) == \"bc\")\n"
                "assert(getmetatable(buf) == \"ffi\" and type(buf) == \"cdata\")\n"
                "for _, value in ipairs { buf._id, buf._view, view._epoch, view._offset, view._size, view._view } do\n"
                "    assert(type(value) == \"number\" and value < 1e6)\n"
                "end\n"
                "local good, message = pcall(function() return buf + 1 end)\n"
                "assert(not good and not message:find(\"0x\"))\n"
                "assert(buf ~= view and buf == buf and buf ~= 1)\n");
}

/* Compiled code checks as interpreted code does. */
Test(view, checks_in_compiled_code, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  "local kept, round, sum = nil, 0, 0 return { from_client = function(buf) round = round + 1\n"
                  "local view = buf:view(2, 3) local of = round < 500 and view or kept\n"
                  "for i = -4, 5 do sum = sum + (of:byte(i) or 0) end kept = view end }");
    for (int round = 1; round < 500; round++) {
        viewing_feed_text(&viewing, FROM_CLIENT, "abcd");
        cr_assert_not(viewing.failed, "%s", viewing.reason);
    }
    viewing_feed_text(&viewing, FROM_CLIENT, "abcd");
    cr_assert_not_null(strstr(viewing.reason, "view used after from_client returned"), "%s", viewing.reason);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(view, allocates_nothing_once_it_is_compiled, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  "local sum = 0 return { from_client = function(buf) sum = buf:byte(1) + buf:u32be(2) + #buf\n"
                  "+ buf:view(3, 5):u16le(1) + buf:find('e') if buf.eof then buf:pass() end end }");
    uint64_t growths = 0;
    for (int round = 0; round < 2000; round++) {
        if (round == 1000) {
            growths = viewing.workbench.script->heap.growths;
        }
        viewing_feed_text(&viewing, FROM_CLIENT, "abcdefgh");
    }
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_eq(viewing.workbench.script->heap.growths, growths);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

struct peek {
    struct viewing *viewing;
    uint32_t size;
    int reference;
};

static int push_peek(lua_State *L, void *argument) {
    struct peek *peek = argument;
    struct viewing *viewing = peek->viewing;
    view_push_peek(L, viewing->views, viewing->slot, FROM_CLIENT, &viewing->filter_session->stages[FROM_CLIENT],
                   &viewing->engine.buffers, peek->size);
    lua_setfield(L, LUA_GLOBALSINDEX, "peeked");
    return 0;
}

static int use_peek(lua_State *L, void *argument) {
    struct viewing *viewing = argument;
    size_t size = 0;
    lua_getfield(L, LUA_GLOBALSINDEX, "peeked");
    const char *bytes = view_bytes(L, viewing->views, -1, &size);
    bytes_append(&viewing->notes, bytes, size);
    lua_pushliteral(L, "a string");
    cr_assert_null(view_bytes(L, viewing->views, -1, &size));
    return 0;
}

static void expect_peeked(struct viewing *viewing, const char *bytes, const char *reason) {
    bytes_clear(&viewing->notes);
    enum script_outcome outcome = script_call(viewing->workbench.script, use_peek, viewing, &viewing->workbench.result);
    cr_assert_str_eq(viewing->notes.data, bytes);
    cr_assert_eq(outcome, reason == NULL ? SCRIPT_RETURNED : SCRIPT_RAISED, "%s", viewing->workbench.result.text);
    cr_assert(reason == NULL || strstr(viewing->workbench.result.text, reason) != NULL, "%s",
              viewing->workbench.result.text);
}

static void peek_again(struct viewing *viewing, uint32_t size) {
    struct peek peek = {.viewing = viewing, .size = size};
    enum script_outcome outcome = script_call(viewing->workbench.script, push_peek, &peek, &viewing->workbench.result);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s", viewing->workbench.result.text);
}

Test(view, of_what_is_peeked_lasts_until_the_next_call, .timeout = 10) {
    static const char stale[] = "peeked bytes used after the next call on their endpoint, or the end of the hook";
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, "return { from_client = function(buf) buf:need(20) end }");
    viewing_feed_text(&viewing, FROM_CLIENT, "abc");
    viewing_feed_text(&viewing, FROM_CLIENT, "def");
    viewing.engine.entry.open = true;
    peek_again(&viewing, 5);
    expect_peeked(&viewing, "abcde", NULL);
    view_pause(viewing.views, viewing.slot);
    expect_peeked(&viewing, "", stale);
    viewing_feed_text(&viewing, FROM_CLIENT, "ghi"); /* and what is held moves */
    view_resume(viewing.views, viewing.slot);
    expect_peeked(&viewing, "abcde", NULL);
    peek_again(&viewing, 2);
    expect_peeked(&viewing, "ab", NULL);
    view_end_peek(viewing.views, viewing.slot, FROM_CLIENT);
    expect_peeked(&viewing, "", stale);
    viewing.engine.entry.open = false;
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* --- slots -------------------------------------------------------------------------------------------------------- */

Test(view, has_slots_for_so_many_sessions, .timeout = 30) {
    struct views *views = views_create();
    struct filter_session filter_session = {.gone = false};
    static uint32_t slots[VIEWS_SLOTS_MAX];
    uint32_t slot;
    for (int round = 0; round < 2; round++) {
        for (size_t index = 0; index < VIEWS_SLOTS_MAX; index++) {
            cr_assert(views_take(views, &filter_session, &slots[index]));
        }
        cr_assert_not(views_take(views, &filter_session, &slot));
        for (size_t index = 0; index < VIEWS_SLOTS_MAX; index++) {
            views_give(views, slots[index]);
        }
    }
    views_destroy(views);
    views_destroy(NULL);
}
