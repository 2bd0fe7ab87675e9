#include "tests/unit/lua/viewing.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A frame is a letter and so many bytes more as its second byte says, a digit. Its length is known from two bytes. */
#define DIGITS "local function length(b) return b:byte(2) - 48 + 2 end\n"
/* Runs the body for each frame `f` of that kind. */
#define LOOP(body) DIGITS "return { from_client = function(buf) for f in buf:frames(2, length) do " body " end end }"

static const char three[] = "a3123b0c5hello";

static void expect_three(const char *script, const char *notes, const char *out) {
    expect_always(script, FROM_CLIENT, three, strlen(three), notes, out, strlen(out));
}

static void expect_fails(const char *script, const char *bytes, const char *reason) {
    expect_always_fails(script, FROM_CLIENT, bytes, strlen(bytes), reason);
}

/* --- what is shown ------------------------------------------------------------------------------------------------ */

Test(frames, are_shown_whole_however_they_come, .timeout = 20) {
    expect_three(LOOP("note(tostring(f)) assert(f.size == #f)"), "a3123;b0;c5hello;", three);
}

Test(frames, are_shown_as_far_as_was_asked, .timeout = 20) {
    expect_three(DIGITS "return { from_client = function(buf) for f in buf:frames(2, length, 4) do\n"
                        "note(tostring(f) .. f.size) end end }",
                 "a3125;b02;c5he7;", three);
    expect_three(DIGITS "return { from_client = function(buf) for f in buf:frames(2, length, 1) do\n"
                        "note(tostring(f)) assert(buf:byte(2)) end end }",
                 "a;b;c;", three);
}

Test(frames, have_the_readers_of_buf, .timeout = 10) {
    expect_three(LOOP("note(f:sub(1, 1) .. f:byte(2) - 48 .. f:view(3):hex()) assert(f:starts(f:sub(1, 2)))"),
                 "a3313233;b0;c568656c6c6f;", three);
}

Test(frames, that_do_not_end_are_left_alone_at_the_end, .timeout = 10) {
    const char bytes[] = "a3123b9..";
    expect_always(LOOP("note(tostring(f))"), FROM_CLIENT, bytes, strlen(bytes), "a3123;", bytes, strlen(bytes));
}

/* --- what is decided ---------------------------------------------------------------------------------------------- */

Test(frames, are_dropped_and_replaced_as_a_whole, .timeout = 20) {
    expect_three(LOOP("if f:byte(1) == 98 then f:pass() else f:drop() end"), "", "b0");
    expect_three(LOOP("if f:byte(1) ~= 98 then f:replace('<' .. tostring(f) .. '>') end"), "", "<a3123>b0<c5hello>");
    expect_three(LOOP("if f:byte(1) ~= 98 then f:replace('') end"), "", "b0");
    expect_three(LOOP("f:replace(f:view(1, 1))"), "", "abc");
}

Test(frames, are_changed_in_parts, .timeout = 20) {
    expect_three(LOOP("f:replace(2, 2, 'XY')"), "", "aXY123bXYcXYhello");
    expect_three(LOOP("f:replace(1, 0, '<') f:replace(-1, -1, '') f:replace(#f + 1, #f, '>')"), "",
                 "<a312><b><c5hell>");
    expect_three(LOOP("f:replace(1, 1, f:view(2, 2)) f:replace(2, 2, f:view(1, 1)) f:pass()"), "", "3a1230b5chello");
    expect_three(DIGITS "return { from_client = function(buf) for f in buf:frames(2, length, 2) do\n"
                        "f:replace(2, 2, '!') end end }",
                 "", "a!123b!c!hello");
}

/* What is decided of a large frame holds for what has not come, too. */
Test(frames, are_decided_before_they_are_there, .timeout = 20) {
    const char *decisions[] = {"f:pass()", "f:drop()", "f:replace('X')", "f:replace(2, 3, 'YY')", ""};
    const char *outs[] = {"c5hello", "", "X", "cYYello", "c5hello"};
    for (size_t index = 0; index < sizeof(decisions) / sizeof(decisions[0]); index++) {
        char script[512];
        char out[64];
        snprintf(script, sizeof(script),
                 DIGITS
                 "return { from_client = function(buf)\n"
                 "for f in buf:frames(2, length, 3) do note(tostring(f)) if f:byte(1) == 99 then %s end end end }",
                 decisions[index]);
        snprintf(out, sizeof(out), "a3123b0%sd1!", outs[index]);
        const char bytes[] = "a3123b0c5hellod1!";
        expect_always(script, FROM_CLIENT, bytes, strlen(bytes), "a31;b0;c5h;d1!;", out, strlen(out));
    }
}

Test(frames, of_ten_megabytes_hold_little, .timeout = 20) {
    enum { SIZE = 10 << 20, PIECE = 16 << 10 };
    struct viewing viewing;
    char *piece = malloc(PIECE);
    memset(piece, 'x', PIECE);
    viewing_open(&viewing);
    viewing_begin(
        &viewing,
        "return { from_client = function(buf) for f in buf:frames(1, function() return 10 * 2 ^ 20 + 3 end, 8) do\n"
        "note(#f .. ':' .. f.size) f:replace(1, 1, 'Y') end end }");
    for (int at = 0; at < SIZE; at += PIECE) {
        viewing_feed(&viewing, FROM_CLIENT, piece, PIECE);
        cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 0);
    }
    viewing_feed_text(&viewing, FROM_CLIENT, "endnext");
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(viewing.notes.data, "8:10485763;");
    cr_assert_eq(viewing.flows[FROM_CLIENT].entered, 2);
    cr_assert_eq(viewing.flows[FROM_CLIENT].out.size, SIZE + 3);
    cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 4);
    viewing_finish(&viewing);
    viewing_close(&viewing);
    free(piece);
}

Test(frames, stay_readable_until_the_next_step, .timeout = 20) {
    expect_three(LOOP("f:drop() note(tostring(f))"), "a3123;b0;c5hello;", "");
    expect_three(LOOP("f:replace('Z') note(f:sub(1, 1)) assert(buf:byte(1) == f:byte(1))"), "a;b;c;", "ZZZ");
    expect_fails(DIGITS "return { from_client = function(buf) local last for f in buf:frames(2, length) do\n"
                        "if last then last:byte(1) end last = f buf:wait(7) end end }",
                 "a3123b0", "frame used after the loop's next step (keep tostring(frame))");
}

Test(frames, cannot_be_used_in_the_next_run, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, "local last return { from_client = function(buf) if last then last:byte(1) end\n"
                            "for f in buf:frames(2, function() return 3 end, 1) do last = f end end }");
    viewing_feed_text(&viewing, FROM_CLIENT, "ab");
    viewing_feed_text(&viewing, FROM_CLIENT, "cd");
    cr_assert_not_null(strstr(viewing.reason, "frame used after from_client returned (keep tostring(frame))"), "%s",
                       viewing.reason);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(frames, are_decided_once, .timeout = 20) {
    const char *reason = "the frame was decided already";
    expect_fails(LOOP("f:pass() f:pass()"), "a0", reason);
    expect_fails(LOOP("f:drop() f:pass()"), "a0", reason);
    expect_fails(LOOP("f:replace('') f:drop()"), "a0", reason);
    expect_fails(LOOP("f:pass() f:replace(1, 1, '')"), "a0", reason);
    expect_fails(LOOP("f:replace(1, 1, '') f:drop()"), "a0", "a part of the frame was replaced already");
    expect_fails(LOOP("f:replace(1, 1, '') f:replace('')"), "a0", "a part of the frame was replaced already");
    expect_fails(LOOP("f:replace(2, 2, '') f:replace(1, 1, '')"), "a0", "goes from the front of a frame to its end");
    expect_fails(LOOP("f:replace(2, 4, '')"), "a1x",
                 "replace(2, 4, s): i and j are within what is shown of the frame, 3 bytes");
    expect_fails(LOOP("f:replace(0, 1, '')"), "a0", "replace(0, 1, s)");
    expect_fails(LOOP("f:replace(5)"), "a0", "replace: the bytes must be a string or a view, not a number");
    expect_fails(LOOP("f:bass()"), "a0", "frame has no 'bass' (did you mean 'pass'?)");
    expect_fails(LOOP("buf.pass(f)"), "a0", "this method is called on buf, with a colon");
    expect_fails(LOOP("f.pass(buf)"), "a0", "this method is called on a frame");
    expect_fails(LOOP("f:pass() f:view():byte(9) f = f:view() f.pass(f)"), "a0", "view has no 'pass'");
}

/* --- leaving the loop --------------------------------------------------------------------------------------------- */

/* The loop is left at `b`; later whole frames pass unseen, and the unfinished one is held for the next time. */
Test(frames, pass_unseen_after_a_break, .timeout = 20) {
    const char *leaves[] = {"break", "return", "f:pass() return", "f:drop() break", "f:replace('X') break"};
    const char *outs[] = {"a1.b1.c1.", "a1.b1.c1.", "a1.b1.c1.", "a1.c1.", "a1.Xc1."};
    for (size_t index = 0; index < sizeof(leaves) / sizeof(leaves[0]); index++) {
        char script[512];
        struct viewing viewing;
        snprintf(script, sizeof(script), LOOP("note(tostring(f)) if f:byte(1) == 98 then %s end"), leaves[index]);
        viewing_open(&viewing);
        viewing_begin(&viewing, script);
        viewing_feed_text(&viewing, FROM_CLIENT, "a1.b1.c1.d4..");
        cr_assert_not(viewing.failed, "%s", viewing.reason);
        cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), outs[index], "%s", leaves[index]);
        cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 4);
        viewing_feed_text(&viewing, FROM_CLIENT, "..e0");
        cr_assert_str_eq(viewing.notes.data, "a1.;b1.;d4....;e0;");
        cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 0);
        viewing_finish(&viewing);
        viewing_close(&viewing);
    }
}

Test(frames, after_a_break_may_fail, .timeout = 10) {
    expect_fails("return { from_client = function(buf) for f in buf:frames(1, function(b)\n"
                 "if b:byte(1) == 98 then return false, 'a bad letter' end return 1 end) do break end end }",
                 "ab", "not this protocol: a bad letter");
}

Test(frames, end_with_a_verb_of_buf, .timeout = 10) {
    expect_body("a0b0c0", "for f in buf:frames(2, function() return 2 end) do break end assert(#buf == 6) buf:drop(2) "
                          "assert(tostring(buf) == 'c0')");
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, LOOP("if f:byte(1) == 98 then f:drop() buf:put('<') buf:pass(1) buf:put('>') return end"));
    viewing_feed_text(&viewing, FROM_CLIENT, "a0b0c0d0");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "a0<c>0d0");
    viewing_finish(&viewing);
    viewing_close(&viewing);
    expect_fails(LOOP("buf:drop(1)"), "a0b", "has moved the bytes under the loop over frames");
}

Test(frames, can_be_kept_for_the_next_time, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, LOOP("note(tostring(f)) if f:byte(1) == 98 and #buf < 5 then return buf:need(5) end"));
    viewing_feed_text(&viewing, FROM_CLIENT, "a0b0");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "a0");
    viewing_feed_text(&viewing, FROM_CLIENT, "c0");
    cr_assert_str_eq(viewing.notes.data, "a0;b0;");
    cr_assert_eq(viewing_held(&viewing, FROM_CLIENT), 4);
    viewing_feed_text(&viewing, FROM_CLIENT, "d0");
    cr_assert_str_eq(viewing.notes.data, "a0;b0;b0;c0;d0;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "a0b0c0d0");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(frames, let_bytes_be_put_in_front_of_them_and_behind, .timeout = 20) {
    expect_three(LOOP("buf:put('<')"), "", "<a3123<b0<c5hello");
    expect_three(LOOP("f:pass() buf:put('>')"), "", "a3123>b0>c5hello>");
    expect_three(LOOP("f:drop() buf:put('>')"), "", ">>>");
    expect_fails(LOOP("f:drop() buf:put(f)"), "a0", "frame used after the loop's next step");
    expect_three(LOOP("buf:put(f) f:drop()"), "", three);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

Test(frames, that_are_decided_go_out_when_the_hook_waits, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  LOOP("if f:byte(1) == 98 then f:pass() end pause() if f:byte(1) == 97 then note(tostring(f)) end"));
    viewing_feed_text(&viewing, FROM_CLIENT, "a1xb0");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "");
    viewing_wake(&viewing, FROM_CLIENT);
    cr_assert_str_eq(viewing.notes.data, "a1x;");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "a1xb0");
    viewing_wake(&viewing, FROM_CLIENT);
    cr_assert_not_null(strstr(viewing.reason, "frame used after the loop's next step"), "%s", viewing.reason);
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

Test(frames, may_be_waited_for_in_a_loop, .timeout = 20) {
    expect_three(LOOP("if f:byte(1) == 97 then buf:wait(7) end note(tostring(f))"), "a3123;b0;c5hello;", three);
}

/* --- lengths ------------------------------------------------------------------------------------------------------ */

Test(frames, whose_length_is_told_late_are_waited_for, .timeout = 20) {
    expect_three("return { from_client = function(buf) for f in buf:frames(1, function(b)\n"
                 "if #b < 2 then return nil end return b:byte(2) - 46 end) do note(tostring(f)) end end }",
                 "a3123;b0;c5hello;", three);
    expect_three("return { from_client = function(buf) for f in buf:frames(1, function(b)\n"
                 "if #b == 1 then return nil, 1 end return b:byte(2) - 46 end) do note(tostring(f)) end end }",
                 "a3123;b0;c5hello;", three);
}

/* As MQTT has it: a byte for the kind, then the length of the rest as a varint. */
Test(frames, with_varints_are_found_by_a_function_of_the_script, .timeout = 20) {
    const char bytes[] = "\x30\x03one\xc0\x00\x30\x82\x01"
                         "0123456789012345678901234567890123456789012345678901234567890123456789"
                         "01234567890123456789012345678901234567890123456789012345678!\x10\x02ok";
    char out[sizeof(bytes)];
    size_t size = sizeof(bytes) - 1;
    memcpy(out, bytes, size);
    memmove(out + 5, out + 7, size - 7); /* the second one is dropped */
    expect_always("return { from_client = function(buf) for f in buf:frames(2, function(b)\n"
                  "local rest, at = b:varint(2)\n"
                  "if at == 'no' then return false, 'a length of more than ten bytes' end\n"
                  "if not rest then return nil end\n"
                  "return at - 1 + rest end, 8) do\n"
                  "note(f:byte(1) .. ' ' .. f.size) if f:byte(1) == 0xc0 then f:drop() end end end }",
                  FROM_CLIENT, bytes, size, "48 5;192 2;48 133;16 4;", out, size - 2);
}

Test(frames, of_impossible_lengths_raise, .timeout = 20) {
    const struct {
        const char *length;
        const char *reason;
    } cases[] = {{"0", "the length of a frame is a whole number from 1 on, not 0"},
                 {"-1", "not -1"},
                 {"1.5", "not 1.5"},
                 {"0 / 0", "a whole number from 1 on, not"},
                 {"1 / 0", "not inf"},
                 {"2 ^ 54", "a whole number from 1 on, not"},
                 {"'5'", "not 5"},
                 {"{}", "not table"},
                 {"true", "not true"},
                 {"false", "not this protocol: nil"},
                 {"false, 'no magic'", "not this protocol: no magic"},
                 {"nil, 0", "how many more bytes are needed is a whole number from 1 on, not 0"},
                 {"nil, 'x'", "how many more bytes"},
                 {"nil, 70000", "bytes are needed at once, and hold_max is 65536"},
                 {"error('mine')", "mine"}};
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        char body[256];
        snprintf(body, sizeof(body), "for f in buf:frames(1, function() return %s end) do end", cases[index].length);
        expect_body_fails("abc", body, cases[index].reason);
    }
    expect_body_fails("abc", "for f in buf:frames(1, function(b) b:pass(1) return 1 end) do end", "must only read");
}

Test(frames, ask_for_sensible_arguments, .timeout = 10) {
    expect_body_fails("abc", "buf:frames(0, type)", "header_len is a whole number from 1 on");
    expect_body_fails("abc", "buf:frames('4', type)", "header_len is a whole number from 1 on");
    expect_body_fails("abc", "buf:frames(4)", "length_fn must be a function");
    expect_body_fails("abc", "buf:frames(4, type, 0)", "how much of a frame is shown");
    expect_body_fails("abc", "buf:frames(4, type, 65537)",
                      "a loop that shows 65537 bytes of a frame, and hold_max is 65536");
    expect_body_fails("abc", "buf:view():frames(4, type)", "view has no 'frames'");
    expect_body_fails("abc", "for f in buf:frames(70000, type) do end", "70000 bytes are needed at once");
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

Test(lines, are_frames_with_their_end, .timeout = 20) {
    const char bytes[] = "one\r\n\ntwo\nthree";
    expect_always("return { from_client = function(buf) for f in buf:lines() do note((f:line() or tostring(f)) .. #f)\n"
                  "if f:starts('two') then f:replace('2\\n') end end end }",
                  FROM_CLIENT, bytes, strlen(bytes), "one5;1;two4;three5;", "one\r\n\n2\nthree", 13);
}

Test(lines, have_a_longest_one, .timeout = 20) {
    const char *script = "return { from_client = function(buf) for f in buf:lines(4) do note(f:line()) end end }";
    expect_always(script, FROM_CLIENT, "abc\nd\n", 6, "abc;d;", "abc\nd\n", 6);
    expect_fails(script, "abcd\n", "not lines: a line above 4 bytes");
    expect_body_fails("a\n", "buf:lines(0)", "how much of a frame is shown");
}

/* Of the last one the end is known only when nothing more comes: there must be room to see that. */
Test(lines, without_an_end_are_too_long_also_when_the_stream_has_ended, .timeout = 10) {
    for (size_t more = 2; more <= 3; more++) {
        struct viewing viewing;
        viewing_open(&viewing);
        viewing.filter.hold_max = 4;
        viewing_begin(&viewing,
                      "return { from_client = function(buf) pause() for f in buf:lines() do note(tostring(f)) "
                      "end end }");
        viewing_feed(&viewing, FROM_CLIENT, "a", 1);
        viewing_feed(&viewing, FROM_CLIENT, "bcd", more);
        viewing_end(&viewing, FROM_CLIENT);
        viewing_wake(&viewing, FROM_CLIENT);
        cr_expect_eq(viewing.failed, more == 3, "%s", viewing.reason);
        cr_expect_str_eq(viewing.notes.data, more == 3 ? "" : "abc;");
        viewing_finish(&viewing);
        viewing_close(&viewing);
    }
}

Test(lines, pass_unseen_after_a_break, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing,
                  "return { from_client = function(buf) for f in buf:lines() do note(f:line()) break end end }");
    viewing_feed_text(&viewing, FROM_CLIENT, "a\nb\nc\nd");
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "a\nb\nc\n");
    viewing_feed_text(&viewing, FROM_CLIENT, "e\n");
    cr_assert_str_eq(viewing.notes.data, "a;de;");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}

/* --- several loops ------------------------------------------------------------------------------------------------ */

Test(frames, of_one_kind_may_follow_those_of_another, .timeout = 20) {
    const char bytes[] = "hello\na1xb0bye\n";
    expect_always("local state = 1 " DIGITS "return { from_client = function(buf)\n"
                  "if state == 1 then for f in buf:lines() do note(f:line()) state = 2 f:pass() break end end\n"
                  "end, from_server = length }",
                  FROM_CLIENT, bytes, 6, "hello;", bytes, 6);
    expect_body("hello\na0b0bye\n",
                "local seen = '' for f in buf:lines() do seen = seen .. f:line() "
                "for g in buf:frames(2, function() return 2 end) do seen = seen .. tostring(g) if g:byte(1) == 98 then "
                "break end end "
                "break end assert(seen == 'helloa0b0') buf:pass(0) assert(tostring(buf) == 'bye\\n')");
}

Test(frames, of_two_loops_at_once_raise, .timeout = 20) {
    const char *loops[] = {"buf:lines()", "buf:frames(1, function() return 1 end)", "mr.resp.commands(buf)",
                           "mr.len_prefix{ bytes = 1, add = -9 }(buf)"};
    for (size_t outer = 0; outer < sizeof(loops) / sizeof(loops[0]); outer++) {
        for (size_t inner = 0; inner < sizeof(loops) / sizeof(loops[0]); inner++) {
            char body[512];
            snprintf(body, sizeof(body), "for f in %s do for g in %s do end end", loops[outer], loops[inner]);
            expect_body_fails("\nping\n", body, "loop over frames has");
        }
    }
}

Test(frames, have_iterators_that_belong_to_one_buf, .timeout = 10) {
    const char *loops[] = {"buf:lines()", "buf:frames(1, function() return 1 end)"};
    for (size_t index = 0; index < sizeof(loops) / sizeof(loops[0]); index++) {
        struct viewing viewing;
        char script[256];
        snprintf(script, sizeof(script),
                 "local step return { from_client = function(buf) step = %s end,\n"
                 "from_server = function(buf) step(buf) end }",
                 loops[index]);
        viewing_open(&viewing);
        viewing_begin(&viewing, script);
        viewing_feed_text(&viewing, FROM_CLIENT, "a\n");
        viewing_feed_text(&viewing, FROM_SERVER, "a\n");
        cr_assert_not_null(strstr(viewing.reason, "another loop over frames has begun"), "%s", viewing.reason);
        viewing_finish(&viewing);
        viewing_close(&viewing);
        char body[256];
        snprintf(body, sizeof(body), "local step = %s while step(buf) do end step(buf)", loops[index]);
        expect_body_fails("a\n", body, "the loop over frames has ended");
    }
    expect_body_fails("a\n", "local step = buf:lines() step('a')", "this method is called on buf");
}

Test(frames, that_are_kept_lose_their_edits, .timeout = 10) {
    struct viewing viewing;
    viewing_open(&viewing);
    viewing_begin(&viewing, LOOP("f:replace(1, 1, 'X') if #buf < 3 then return buf:need(3) end"));
    viewing_feed_text(&viewing, FROM_CLIENT, "a0");
    viewing_feed_text(&viewing, FROM_CLIENT, "b0");
    cr_assert_not(viewing.failed, "%s", viewing.reason);
    cr_assert_str_eq(viewing_out(&viewing, FROM_CLIENT), "X0");
    viewing_finish(&viewing);
    viewing_close(&viewing);
}
