#include "protocol/chunked.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

static enum parse_result body_read(void *parser, const uint8_t *bytes, size_t size) {
    return chunked_read(parser, bytes, size);
}

static uint64_t body_size(const void *parser) {
    const struct chunked *chunked = parser;
    return chunked->frame.read;
}

static void body_done(const uint8_t *bytes, size_t size) {
    struct chunked chunked;
    chunked_begin(&chunked);
    const struct feeding feeding = {sizeof(chunked), true, &chunked, body_read, body_size};
    expect_done(&feeding, bytes, size);
}

static void body_refused(const uint8_t *bytes, size_t size, const char *reason) {
    struct chunked chunked;
    chunked_begin(&chunked);
    const struct feeding feeding = {sizeof(chunked), true, &chunked, body_read, body_size};
    expect_refused(&feeding, bytes, size, reason);
}

Test(chunked, finds_the_end_of_a_body, .timeout = 10) {
    body_done(SAMPLE("0\r\n\r\n"));
    body_done(SAMPLE("5\r\nhello\r\n0\r\n\r\n"));
    body_done(SAMPLE("a\r\n0123456789\r\n1\r\n\n\r\n000\r\n\r\n"));
    body_done(SAMPLE("7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n"));
}

Test(chunked, passes_over_extensions_padding_and_trailers, .timeout = 10) {
    body_done(SAMPLE("5;name=value;\"q\"\r\nhello\r\n0;last\r\n\r\n"));
    body_done(SAMPLE("5  \r\nhello\r\n0\t\r\n\r\n"));
    body_done(SAMPLE("0\r\nDigest: abc\r\nEmpty:\r\n\r\n"));
}

Test(chunked, counts_a_large_chunk_without_looking_at_it, .timeout = 10) {
    struct chunked chunked;
    chunked_begin(&chunked);
    cr_assert_eq(chunked_read(&chunked, SAMPLE("fFfFfFf0\r\nabc")), PARSE_MORE);
    cr_assert_eq(chunked.frame.skip, 0xfffffff0 - 3);
    frame_skip(&chunked.frame, chunked.frame.skip);
    cr_assert_eq(chunked_read(&chunked, SAMPLE("\r\n0\r\n\r\n")), PARSE_DONE);
    cr_assert_eq(chunked.frame.read, UINT64_C(0xfffffff0) + strlen("fFfFfFf0\r\n\r\n0\r\n\r\n"));
}

Test(chunked, refuses_malformed_chunks, .timeout = 10) {
    body_refused(SAMPLE("x"), "without a size");
    body_refused(SAMPLE("\r"), "without a size");
    body_refused(SAMPLE(" "), "without a size");
    body_refused(SAMPLE("-"), "without a size");
    body_refused(SAMPLE("0x"), "no plain number");
    body_refused(SAMPLE("5\n"), "no plain number");
    body_refused(SAMPLE("5\rx"), "without a line feed");
    body_refused(SAMPLE("5;a\n"), "control character in a chunk");
    body_refused(SAMPLE("5\r\nhellos"), "longer than its size");
    body_refused(SAMPLE("5\r\nhello\n"), "longer than its size");
    body_refused(SAMPLE("5\r\nhello\rx"), "without a line feed");
    body_refused(SAMPLE("0\r\n "), "trailer without a proper name");
    body_refused(SAMPLE("0\r\n\n"), "trailer without a proper name");
    body_refused(SAMPLE("0\r\na "), "trailer without a proper name");
    body_refused(SAMPLE("0\r\na\r"), "trailer without a proper name");
    body_refused(SAMPLE("0\r\na: b\n"), "control character in a trailer");
    body_refused(SAMPLE("0\r\na: b\r\r"), "without a line feed");
    body_refused(SAMPLE("0\r\n\rx"), "without a line feed");
}

Test(chunked, limits_the_size_of_a_chunk, .timeout = 10) {
    struct chunked chunked;
    chunked_begin(&chunked);
    cr_assert_eq(chunked_read(&chunked, SAMPLE("20000000000000\r\n")), PARSE_MORE);
    cr_assert_eq(chunked.frame.skip, CHUNKED_SIZE_MAX);
    body_refused(SAMPLE("20000000000001"), "above 2^53");
    body_refused(SAMPLE("ffffffffffffff"), "above 2^53");
}

/* Reads `before`, and then `a` again and again until there is an answer. Returns the bytes read. */
static uint64_t read_without_end(const char *before, const char *reason) {
    struct chunked chunked;
    chunked_begin(&chunked);
    cr_assert_eq(chunked_read(&chunked, (const uint8_t *)before, strlen(before)), PARSE_MORE);
    while (chunked.frame.reason == NULL) {
        cr_assert_lt(chunked.frame.read, 3 * CHUNKED_LINE_MAX);
        chunked_read(&chunked, SAMPLE("a"));
    }
    cr_assert(strstr(chunked.frame.reason, reason) != NULL);
    return chunked.frame.read;
}

Test(chunked, limits_lines_and_trailers, .timeout = 10) {
    cr_assert_eq(read_without_end("0;", "above 16 KiB"), CHUNKED_LINE_MAX + 1);
    cr_assert_eq(read_without_end("0\r\n", "above 16 KiB"), CHUNKED_LINE_MAX + 1 + strlen("0\r\n"));
    cr_assert_eq(read_without_end("1;x\r\na\r\n0\r\na:b\r\nc:", "above 16 KiB"),
                 CHUNKED_LINE_MAX + 1 + strlen("1;x\r\na\r\n0\r\n"));
}

Test(chunked, many_small_chunks_are_no_long_line, .timeout = 10) {
    struct chunked chunked;
    chunked_begin(&chunked);
    for (size_t chunk = 0; chunk < CHUNKED_LINE_MAX; chunk++) {
        cr_assert_eq(chunked_read(&chunked, SAMPLE("1\r\na\r\n")), PARSE_MORE);
    }
    cr_assert_eq(chunked_read(&chunked, SAMPLE("0\r\n\r\n")), PARSE_DONE);
}
