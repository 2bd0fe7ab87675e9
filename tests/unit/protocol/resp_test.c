#include "protocol/resp.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

static enum parse_result frame_read(void *parser, const uint8_t *bytes, size_t size) {
    return resp_read(parser, bytes, size);
}

static uint64_t frame_size(const void *parser) {
    const struct resp *resp = parser;
    return resp->frame.read;
}

static struct feeding feeding_from(const struct resp *begun) {
    return (struct feeding){sizeof(*begun), true, begun, frame_read, frame_size};
}

static void command_done(const uint8_t *bytes, size_t size) {
    struct resp begun;
    resp_command_begin(&begun);
    const struct feeding feeding = feeding_from(&begun);
    expect_done(&feeding, bytes, size);
}

static void command_refused(const uint8_t *bytes, size_t size, const char *reason) {
    struct resp begun;
    resp_command_begin(&begun);
    const struct feeding feeding = feeding_from(&begun);
    expect_refused(&feeding, bytes, size, reason);
}

static void reply_done(const uint8_t *bytes, size_t size) {
    struct resp begun;
    resp_reply_begin(&begun);
    const struct feeding feeding = feeding_from(&begun);
    expect_done(&feeding, bytes, size);
}

static void reply_more(const uint8_t *bytes, size_t size) {
    struct resp begun;
    resp_reply_begin(&begun);
    const struct feeding feeding = feeding_from(&begun);
    expect_more(&feeding, bytes, size);
}

static void reply_refused(const uint8_t *bytes, size_t size, const char *reason) {
    struct resp begun;
    resp_reply_begin(&begun);
    const struct feeding feeding = feeding_from(&begun);
    expect_refused(&feeding, bytes, size, reason);
}

/* Reads a command or the beginning of one. */
static struct resp command_read(const uint8_t *bytes, size_t size) {
    struct resp resp;
    resp_command_begin(&resp);
    cr_assert_neq(resp_read(&resp, bytes, size), PARSE_NO, "%s", resp.frame.reason);
    return resp;
}

static void expect_words(const uint8_t *bytes, size_t size, const char *name, const char *key) {
    struct resp resp = command_read(bytes, size);
    cr_expect_eq(resp.name.size, strlen(name));
    cr_expect_eq(memcmp(bytes + resp.name.at, name, strlen(name)), 0);
    cr_expect_eq(resp.key.size, strlen(key));
    cr_expect_eq(memcmp(bytes + resp.key.at, key, strlen(key)), 0);
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

Test(resp, finds_the_end_of_a_command, .timeout = 10) {
    command_done(SAMPLE("*1\r\n$4\r\nPING\r\n"));
    command_done(SAMPLE("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"));
    command_done(SAMPLE("*2\r\n$3\r\nGET\r\n$0\r\n\r\n"));
    command_done(SAMPLE("*2\r\n$3\r\nGET\r\n$9\r\n\r\n*1\r\n\0$4\r\n"));
    command_done(SAMPLE("*1\r\n$0\r\n\r\n"));
    command_done(SAMPLE("*0\r\n"));
}

Test(resp, finds_the_end_of_an_inline_command, .timeout = 10) {
    command_done(SAMPLE("PING\r\n"));
    command_done(SAMPLE("PING\n"));
    command_done(SAMPLE("\t SET  key value \r\n"));
    command_done(SAMPLE("SET key \"a b\"\r\n"));
    command_done(SAMPLE("\r\n"));
    command_done(SAMPLE("\n"));
}

Test(resp, shows_name_and_key_of_a_command, .timeout = 10) {
    expect_words(SAMPLE("*1\r\n$4\r\nPING\r\n"), "PING", "");
    expect_words(SAMPLE("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), "GET", "a");
    expect_words(SAMPLE("*4\r\n$3\r\nSET\r\n$3\r\nkey\r\n$1\r\nv\r\n$2\r\nNX\r\n"), "SET", "key");
    expect_words(SAMPLE("PING\r\n"), "PING", "");
    expect_words(SAMPLE("  GET\ta\n"), "GET", "a");
    expect_words(SAMPLE("SET key value\r\n"), "SET", "key");
    expect_words(SAMPLE("*0\r\n"), "", "");
    expect_words(SAMPLE("\r\n"), "", "");
}

Test(resp, knows_the_size_of_the_head_before_its_bytes_are_there, .timeout = 10) {
    cr_assert_eq(command_read(SAMPLE("*3\r\n$3\r\nSET\r\n$3\r")).head_size, 0);
    cr_assert_eq(command_read(SAMPLE("*3\r\n$3\r\nSET\r\n$3\r\n")).head_size, strlen("*3\r\n$3\r\nSET\r\n$3\r\nkey"));
    cr_assert_eq(command_read(SAMPLE("*1\r\n$4\r\n")).head_size, strlen("*1\r\n$4\r\nPING"));
    cr_assert_eq(command_read(SAMPLE("GET ke")).head_size, 0);
    cr_assert_eq(command_read(SAMPLE("GET key ")).head_size, strlen("GET key"));
    cr_assert_eq(command_read(SAMPLE("PING \r\n")).head_size, strlen("PING"));
    cr_assert_eq(command_read(SAMPLE("*0\r\n")).head_size, strlen("*0\r\n"));
    cr_assert_eq(command_read(SAMPLE(" \r\n")).head_size, strlen(" \r\n"));
}

Test(resp, counts_a_large_value_without_looking_at_it, .timeout = 10) {
    struct resp resp = command_read(SAMPLE("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$10485760\r\nbegin"));
    cr_assert_eq(resp.frame.skip, 10485760 - strlen("begin"));
    cr_assert_eq(resp.frame.whole, 0, "an argument follows");
    frame_skip(&resp.frame, resp.frame.skip);
    cr_assert_eq(resp_read(&resp, SAMPLE("\r\n$2\r\nNX")), PARSE_MORE);
    cr_assert_eq(resp.frame.whole, strlen("*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$10485760\r\n\r\n$2\r\nNX\r\n") + 10485760);
    cr_assert_eq(resp_read(&resp, SAMPLE("\r\n*1\r\n")), PARSE_DONE);
    cr_assert_eq(resp.frame.read, resp.frame.whole);
}

Test(resp, knows_the_whole_size_at_the_last_length, .timeout = 10) {
    cr_assert_eq(command_read(SAMPLE("*2\r\n$3\r\nGET\r\n$5\r")).frame.whole, 0);
    cr_assert_eq(command_read(SAMPLE("*2\r\n$3\r\nGET\r\n$5\r\n")).frame.whole,
                 strlen("*2\r\n$3\r\nGET\r\n$5\r\nabcde\r\n"));
}

Test(resp, stops_at_the_end_of_each_pipelined_command, .timeout = 10) {
    static const char bytes[] = "*1\r\n$4\r\nPING\r\nGET a\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n";
    static const size_t sizes[] = {14, 7, 20};
    size_t at = 0;
    for (size_t index = 0; index < 3; index++) {
        struct resp resp;
        resp_command_begin(&resp);
        cr_assert_eq(resp_read(&resp, (const uint8_t *)bytes + at, strlen(bytes) - at), PARSE_DONE);
        cr_assert_eq(resp.frame.read, sizes[index]);
        at += resp.frame.read;
    }
    cr_assert_eq(at, strlen(bytes));
}

Test(resp, refuses_commands_that_two_readers_could_take_in_two_ways, .timeout = 10) {
    command_refused(SAMPLE("*x"), "no plain number");
    command_refused(SAMPLE("*-"), "no plain number");
    command_refused(SAMPLE("*+"), "no plain number");
    command_refused(SAMPLE("*01"), "no plain number");
    command_refused(SAMPLE("*?"), "no plain number");
    command_refused(SAMPLE("*\r"), "no plain number");
    command_refused(SAMPLE("*1\n"), "no plain number");
    command_refused(SAMPLE("*1\rx"), "without a line feed");
    command_refused(SAMPLE("*1\r\n:"), "no bulk string");
    command_refused(SAMPLE("*1\r\n*"), "no bulk string");
    command_refused(SAMPLE("*1\r\n$-"), "no plain number");
    command_refused(SAMPLE("*1\r\n$4\r\nPINGS"), "longer than its length");
    command_refused(SAMPLE("*1\r\n$4\r\nPING\rx"), "longer than its length");
}

Test(resp, refuses_inline_commands_whose_words_are_not_what_they_seem, .timeout = 10) {
    command_refused(SAMPLE("\""), "quotes");
    command_refused(SAMPLE("FLUSH\""), "quotes");
    command_refused(SAMPLE("GET '"), "quotes");
    command_refused(SAMPLE("FLUSHALL\v"), "control character");
    command_refused(SAMPLE("PING\0"), "control character");
    command_refused(SAMPLE("\x16"), "control character");
    command_refused(SAMPLE("GET a\rF"), "without a line feed");
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

Test(resp, limits_the_numbers, .timeout = 10) {
    struct resp resp = command_read(SAMPLE("*4294967295\r\n$1\r\na\r\n$4294967295\r\n"));
    cr_assert_eq(resp.frame.skip, UINT32_MAX);
    cr_assert_eq(resp.key.size, UINT32_MAX);
    command_refused(SAMPLE("*4294967296"), "above 4294967295");
    command_refused(SAMPLE("*9999999999"), "above 4294967295");
    reply_more(SAMPLE("*4294967295\r\n:1\r\n"));
    reply_refused(SAMPLE("*2\r\n*4294967295\r\n"), "values owed");
    reply_refused(SAMPLE("%2147483648\r\n"), "values owed");
}

/* `size` bytes of 'a' with these around them. */
static uint8_t *line_make(const char *before, size_t size, const char *behind, size_t *whole) {
    size_t before_size = strlen(before);
    *whole = before_size + size + strlen(behind);
    uint8_t *line = malloc(*whole);
    cr_assert_not_null(line);
    memcpy(line, before, before_size);
    memset(line + before_size, 'a', size);
    memcpy(line + before_size + size, behind, strlen(behind));
    return line;
}

static void lines_try(const struct resp *begun, const char *before, size_t size, const char *behind,
                      const char *reason) {
    size_t whole;
    uint8_t *line = line_make(before, size, behind, &whole);
    struct resp resp = *begun;
    enum parse_result result = resp_read(&resp, line, whole);
    cr_expect_eq(result, reason == NULL ? PARSE_DONE : PARSE_NO);
    cr_expect(reason == NULL || strstr(resp.frame.reason, reason) != NULL);
    free(line);
}

Test(resp, limits_lines_and_names, .timeout = 10) {
    struct resp reply;
    resp_reply_begin(&reply);
    lines_try(&reply, "+", RESP_LINE_MAX, "\r\n", NULL);
    lines_try(&reply, "+", RESP_LINE_MAX + 1, "\r\n", "above 64 KiB");
    struct resp command;
    resp_command_begin(&command);
    lines_try(&command, "GET ", RESP_LINE_MAX - 6, "\r\n", NULL);
    lines_try(&command, "GET ", RESP_LINE_MAX - 4, "\r\n", "above 64 KiB");
    lines_try(&command, "", RESP_NAME_MAX, "\r\n", NULL);
    lines_try(&command, "", RESP_NAME_MAX + 1, "\r\n", "name above 512");
    lines_try(&command, "*1\r\n$512\r\n", RESP_NAME_MAX, "\r\n", NULL);
    lines_try(&command, "*1\r\n$513\r\n", RESP_NAME_MAX + 1, "\r\n", "name above 512");
}

/* ---- replies ---------------------------------------------------------------------------------------------------- */

Test(resp, finds_the_end_of_replies_of_every_type, .timeout = 10) {
    reply_done(SAMPLE("+OK\r\n"));
    reply_done(SAMPLE("+\r\n"));
    reply_done(SAMPLE("-ERR no\r\n"));
    reply_done(SAMPLE(":-1000\r\n"));
    reply_done(SAMPLE("$5\r\nhello\r\n"));
    reply_done(SAMPLE("$0\r\n\r\n"));
    reply_done(SAMPLE("$-1\r\n"));
    reply_done(SAMPLE("*-1\r\n"));
    reply_done(SAMPLE("*0\r\n"));
    reply_done(SAMPLE("*2\r\n:1\r\n$1\r\na\r\n"));
    reply_done(SAMPLE("_\r\n"));
    reply_done(SAMPLE(",-1.5e3\r\n"));
    reply_done(SAMPLE(",inf\r\n"));
    reply_done(SAMPLE("#t\r\n"));
    reply_done(SAMPLE("!5\r\nERR x\r\n"));
    reply_done(SAMPLE("=7\r\ntxt:abc\r\n"));
    reply_done(SAMPLE("(3492890328409238509324850943850943825024385\r\n"));
    reply_done(SAMPLE("~2\r\n+a\r\n+b\r\n"));
    reply_done(SAMPLE("%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n"));
    reply_done(SAMPLE(">2\r\n+message\r\n$1\r\nx\r\n"));
}

Test(resp, takes_an_attribute_and_what_it_describes_as_one_reply, .timeout = 10) {
    reply_done(SAMPLE("|1\r\n+ttl\r\n:3600\r\n$1\r\na\r\n"));
    reply_done(SAMPLE("|0\r\n+OK\r\n"));
    reply_done(SAMPLE("*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n"));
    reply_done(SAMPLE("|1\r\n+a\r\n|1\r\n+b\r\n:1\r\n:2\r\n:3\r\n"));
    reply_more(SAMPLE("|1\r\n+ttl\r\n:3600\r\n"));
}

Test(resp, follows_nested_replies_to_any_depth, .timeout = 10) {
    enum { DEPTH = 1000 };
    uint8_t bytes[DEPTH * 4 + 4];
    for (size_t level = 0; level < DEPTH; level++) {
        memcpy(bytes + level * 4, "*1\r\n", 4);
    }
    memcpy(bytes + (size_t)DEPTH * 4, ":1\r\n", 4);
    reply_done(bytes, sizeof(bytes));
    reply_done(SAMPLE("*3\r\n*2\r\n*0\r\n*1\r\n*-1\r\n%1\r\n+a\r\n~2\r\n:1\r\n:2\r\n$1\r\nx\r\n"));
}

Test(resp, follows_streamed_strings_and_aggregates, .timeout = 10) {
    reply_done(SAMPLE("$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n"));
    reply_done(SAMPLE("$?\r\n;0\r\n"));
    reply_done(SAMPLE("*?\r\n.\r\n"));
    reply_done(SAMPLE("*?\r\n:1\r\n*2\r\n:2\r\n:3\r\n.\r\n"));
    reply_done(SAMPLE("%?\r\n+a\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n"));
    reply_done(SAMPLE("*2\r\n~?\r\n:1\r\n*?\r\n*?\r\n*?\r\n.\r\n.\r\n.\r\n.\r\n+end\r\n"));
    reply_done(SAMPLE("*?\r\n|1\r\n+a\r\n+b\r\n:1\r\n.\r\n"));
    reply_refused(SAMPLE("*?\r\n*?\r\n*?\r\n*?\r\n*?\r\n"), "more than 4 streamed");
}

Test(resp, refuses_malformed_replies, .timeout = 10) {
    reply_refused(SAMPLE("H"), "unknown type");
    reply_refused(SAMPLE("\r"), "unknown type");
    reply_refused(SAMPLE("\0"), "unknown type");
    reply_refused(SAMPLE("."), "unknown type");
    reply_refused(SAMPLE(";"), "unknown type");
    reply_refused(SAMPLE("*1\r\n>"), "unknown type");
    reply_refused(SAMPLE("*1\r\n."), "unknown type");
    reply_refused(SAMPLE("*?\r\n*2\r\n:1\r\n."), "unknown type");
    reply_refused(SAMPLE("$?\r\n+"), "something else in it");
    reply_refused(SAMPLE("+OK\n"), "without a carriage return");
    reply_refused(SAMPLE("+a\rb"), "without a line feed");
    reply_refused(SAMPLE(":1x"), "does not fit its type");
    reply_refused(SAMPLE("#x"), "does not fit its type");
    reply_refused(SAMPLE("#tt"), "does not fit its type");
    reply_refused(SAMPLE("_x"), "does not fit its type");
    reply_refused(SAMPLE("(1."), "does not fit its type");
    reply_refused(SAMPLE(":\r"), "empty");
    reply_refused(SAMPLE("$-2\r"), "no plain number");
    reply_refused(SAMPLE("$-\r"), "no plain number");
    reply_refused(SAMPLE("$--"), "no plain number");
    reply_refused(SAMPLE("$1-"), "no plain number");
    reply_refused(SAMPLE("$?1"), "no plain number");
    reply_refused(SAMPLE("%-"), "no plain number");
    reply_refused(SAMPLE("!?"), "no plain number");
    reply_refused(SAMPLE("=3\r\n"), "verbatim");
    reply_refused(SAMPLE("$1\r\nab"), "longer than its length");
}
