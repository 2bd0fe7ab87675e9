#include "protocol/http1.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

static enum parse_result head_read(void *parser, const uint8_t *bytes, size_t size) {
    return http1_head_read(parser, bytes, size);
}

static uint64_t head_size(const void *parser) {
    const struct http1_head *head = parser;
    return head->size;
}

/* What is read of a head that must be good. */
static struct http1_head head_done(const char *text) {
    struct http1_head head = {.reason = NULL};
    http1_head_begin(&head);
    const struct feeding feeding = {sizeof(head), false, &head, head_read, head_size};
    expect_done(&feeding, (const uint8_t *)text, strlen(text));
    cr_assert_eq(http1_head_read(&head, (const uint8_t *)text, strlen(text)), PARSE_DONE);
    return head;
}

static void head_refused_at(const uint8_t *bytes, size_t size, size_t known, const char *reason) {
    struct http1_head head = {.reason = NULL};
    http1_head_begin(&head);
    const struct feeding feeding = {sizeof(head), false, &head, head_read, head_size};
    expect_refused_at(&feeding, bytes, size, known, reason);
}

static void head_refused(const uint8_t *bytes, size_t size, const char *reason) {
    head_refused_at(bytes, size, size, reason);
}

/* A header that is refused as soon as its line is whole. */
static void header_refused(const char *line, const char *reason) {
    char text[512];
    int size = snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n", line);
    head_refused((const uint8_t *)text, (size_t)size, reason);
}

static void expect_span(const char *text, struct span span, const char *expected) {
    cr_expect_eq(span.size, strlen(expected), "%s", expected);
    cr_expect_eq(memcmp(text + span.at, expected, strlen(expected)), 0, "%s", expected);
}

/* ---- what a head says ------------------------------------------------------------------------------------------- */

Test(http1, reads_a_request, .timeout = 10) {
    static const char text[] = "GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nEmpty:\r\nPadded: \t x y \t\r\n\r\n";
    struct http1_head head = head_done(text);
    cr_assert_eq(head.kind, HTTP1_REQUEST);
    cr_assert_eq(head.minor_version, 1);
    expect_span(text, head.method, "GET");
    expect_span(text, head.target, "/a?b=c");
    cr_assert_eq(head.headers_count, 3);
    expect_span(text, head.headers[0].name, "Host");
    expect_span(text, head.headers[0].value, "example.com");
    expect_span(text, head.headers[1].name, "Empty");
    expect_span(text, head.headers[1].value, "");
    expect_span(text, head.headers[2].value, "x y");
    cr_assert(head.keep_alive);
    cr_assert_not(head.upgrade);
}

Test(http1, reads_a_response, .timeout = 10) {
    static const char text[] = "HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\n";
    struct http1_head head = head_done(text);
    cr_assert_eq(head.kind, HTTP1_RESPONSE);
    cr_assert_eq(head.minor_version, 0);
    cr_assert_eq(head.status, 404);
    expect_span(text, head.phrase, "Not Found");
    cr_assert_not(head.keep_alive);
    expect_span("", head_done("HTTP/1.1 200 \r\n\r\n").phrase, "");
    cr_assert_eq(head_done("HTTP/1.1 204\r\n\r\n").status, 204);
}

Test(http1, reads_a_request_whose_target_begins_like_a_version, .timeout = 10) {
    cr_assert_eq(head_done("GET / HTTP/1.1\r\n\r\n").kind, HTTP1_REQUEST);
    cr_assert_eq(head_done("HTTP / HTTP/1.1\r\n\r\n").kind, HTTP1_REQUEST);
    static const char text[] = "GET HTTP/1.1 HTTP/1.1\r\n\r\n";
    expect_span(text, head_done(text).target, "HTTP/1.1");
}

Test(http1, passes_over_empty_lines_before_a_request, .timeout = 10) {
    static const char text[] = "\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    expect_span(text, head_done(text).method, "GET");
}

Test(http1, finds_headers_whatever_their_case, .timeout = 10) {
    static const char text[] = "GET / HTTP/1.1\r\nX-A: 1\r\nx-a: 2\r\nX-AB: 3\r\n\r\n";
    const uint8_t *bytes = (const uint8_t *)text;
    struct http1_head head = head_done(text);
    cr_assert_eq(http1_header_find(&head, bytes, "x-a", 0), 0);
    cr_assert_eq(http1_header_find(&head, bytes, "x-a", 1), 1);
    cr_assert_eq(http1_header_find(&head, bytes, "x-a", 2), head.headers_count);
    cr_assert_eq(http1_header_find(&head, bytes, "x-ab", 0), 2);
    cr_assert_eq(http1_header_find(&head, bytes, "host", 0), head.headers_count);
}

Test(http1, tells_whether_the_connection_stays, .timeout = 10) {
    cr_assert(head_done("GET / HTTP/1.1\r\n\r\n").keep_alive);
    cr_assert_not(head_done("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keep_alive);
    cr_assert_not(head_done("GET / HTTP/1.1\r\nConnection: TE , Close\r\n\r\n").keep_alive);
    cr_assert_not(head_done("GET / HTTP/1.1\r\nConnection: TE\r\nConnection: ,close,\r\n\r\n").keep_alive);
    cr_assert(head_done("GET / HTTP/1.1\r\nConnection: closed\r\n\r\n").keep_alive);
    cr_assert_not(head_done("GET / HTTP/1.0\r\n\r\n").keep_alive);
    cr_assert(head_done("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
    cr_assert_not(head_done("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n").keep_alive);
}

Test(http1, tells_whether_another_protocol_is_asked_for, .timeout = 10) {
    cr_assert(head_done("GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n").upgrade);
    cr_assert_not(head_done("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n").upgrade);
    cr_assert_not(head_done("GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n").upgrade);
}

/* ---- what follows a head ---------------------------------------------------------------------------------------- */

static enum http1_body request_body(const char *text) {
    struct http1_head head = head_done(text);
    return http1_request_body(&head);
}

static enum http1_body response_body(const char *text, enum http1_method method) {
    struct http1_head head = head_done(text);
    return http1_response_body(&head, method);
}

Test(http1, tells_how_the_body_of_a_request_is_framed, .timeout = 10) {
    cr_assert_eq(request_body("GET / HTTP/1.1\r\n\r\n"), HTTP1_BODY_NONE);
    cr_assert_eq(request_body("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), HTTP1_BODY_NONE);
    cr_assert_eq(request_body("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), HTTP1_BODY_LENGTH);
    cr_assert_eq(request_body("POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n"), HTTP1_BODY_CHUNKED);
    cr_assert_eq(head_done("POST / HTTP/1.1\r\nContent-Length:  0042 \r\n\r\n").content_length, 42);
    cr_assert_eq(head_done("POST / HTTP/1.1\r\nContent-Length: 9007199254740992\r\n\r\n").content_length,
                 HTTP1_LENGTH_MAX);
}

Test(http1, tells_how_the_body_of_a_response_is_framed, .timeout = 10) {
    cr_assert_eq(response_body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP1_METHOD_OTHER), HTTP1_BODY_LENGTH);
    cr_assert_eq(response_body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP1_METHOD_OTHER),
                 HTTP1_BODY_CHUNKED);
    cr_assert_eq(response_body("HTTP/1.1 200 OK\r\n\r\n", HTTP1_METHOD_OTHER), HTTP1_BODY_UNTIL_EOF);
}

Test(http1, knows_responses_without_a_body, .timeout = 10) {
    cr_assert_eq(response_body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP1_METHOD_HEAD), HTTP1_BODY_NONE);
    cr_assert_eq(response_body("HTTP/1.1 100 Continue\r\n\r\n", HTTP1_METHOD_OTHER), HTTP1_BODY_NONE);
    cr_assert_eq(response_body("HTTP/1.1 204 No\r\n\r\n", HTTP1_METHOD_OTHER), HTTP1_BODY_NONE);
    cr_assert_eq(response_body("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", HTTP1_METHOD_OTHER), HTTP1_BODY_NONE);
}

Test(http1, knows_where_http_ends, .timeout = 10) {
    cr_assert_eq(response_body("HTTP/1.1 101 Switching\r\n\r\n", HTTP1_METHOD_OTHER), HTTP1_BODY_TUNNEL);
    cr_assert_eq(response_body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HTTP1_METHOD_CONNECT),
                 HTTP1_BODY_TUNNEL);
    cr_assert_eq(response_body("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n", HTTP1_METHOD_CONNECT),
                 HTTP1_BODY_LENGTH);
    cr_assert_eq(head_done("CONNECT a:443 HTTP/1.1\r\n\r\n").method_kind, HTTP1_METHOD_CONNECT);
    cr_assert_eq(head_done("HEAD / HTTP/1.1\r\n\r\n").method_kind, HTTP1_METHOD_HEAD);
    cr_assert_eq(head_done("head / HTTP/1.1\r\n\r\n").method_kind, HTTP1_METHOD_OTHER);
}

/* ---- what is refused -------------------------------------------------------------------------------------------- */

Test(http1, refuses_what_is_no_http_at_the_first_byte_that_shows_it, .timeout = 10) {
    head_refused_at(SAMPLE("\x16\x03\x01\x02"), 1, "no method");
    head_refused_at(SAMPLE("SSH-2.0-OpenSSH_9.2\r\n"), 20, "no method");
    head_refused_at(SAMPLE("*1\r\n$4\r\nPING\r\n"), 3, "no method");
    head_refused_at(SAMPLE("HTTPS/1.1"), 6, "no method");
    head_refused_at(SAMPLE("\rPOST / HTTP/1.1\r\n"), 2, "no method");
    head_refused_at(SAMPLE(" GET / HTTP/1.1\r\n\r\n"), 1, "no method");
    head_refused_at(SAMPLE("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ"), HTTP1_METHOD_MAX + 1, "no method");
}

Test(http1, refuses_malformed_first_lines, .timeout = 10) {
    head_refused(SAMPLE("GET /\r\n"), "without target or version");
    head_refused(SAMPLE("GET  / HTTP/1.1\r\n"), "without target or version");
    head_refused(SAMPLE("GET / HTTP/1.1 \r\n"), "does not end in HTTP/1.0");
    head_refused(SAMPLE("GET / a HTTP/1.1\r\n"), "does not end in HTTP/1.0");
    head_refused(SAMPLE("PRI * HTTP/2.0\r\n"), "does not end in HTTP/1.0");
    head_refused(SAMPLE("GET / http/1.1\r\n"), "does not end in HTTP/1.0");
    head_refused(SAMPLE("GET / HTTP/1.x\r\n"), "does not end in HTTP/1.0");
    head_refused(SAMPLE("GET /\ta HTTP/1.1\r\n"), "control character in the request");
    head_refused(SAMPLE("GET /\0 HTTP/1.1\r\n"), "control character in the request");
    head_refused(SAMPLE("GET /\x7f HTTP/1.1\r\n"), "control character in the request");
    head_refused(SAMPLE("GET / HTTP/1.1\n"), "without a carriage return");
    head_refused(SAMPLE("\r\n\n"), "no method");
    head_refused(SAMPLE("HTTP/2 200\r\n"), "does not begin with HTTP/1.0");
    head_refused(SAMPLE("HTTP/1.1\r\n"), "no number from 100");
    head_refused(SAMPLE("HTTP/1.1 20\r\n"), "no number from 100");
    head_refused(SAMPLE("HTTP/1.1 2000\r\n"), "no number from 100");
    head_refused(SAMPLE("HTTP/1.1 099 OK\r\n"), "no number from 100");
    head_refused(SAMPLE("HTTP/1.1 2x0 OK\r\n"), "no number from 100");
    head_refused(SAMPLE("HTTP/1.1 200 O\rK\r\n"), "control character in the response");
}

Test(http1, refuses_headers_that_two_readers_could_take_in_two_ways, .timeout = 10) {
    header_refused("A: b\r\n c", "folded");
    header_refused("A: b\r\n\tc", "folded");
    header_refused(" A: b", "folded");
    header_refused("A : b", "space before a header's colon");
    header_refused("A\t: b", "space before a header's colon");
    header_refused("A", "proper name");
    header_refused(": b", "proper name");
    header_refused("A b: c", "proper name");
    header_refused("A(b): c", "proper name");
    header_refused("A\x80: c", "proper name");
    header_refused("A: b\rc", "control character");
    header_refused("A: b\r", "control character");
    header_refused("A: \x01", "control character");
    header_refused("A: \x7f", "control character");
    header_refused("Host: a\r\nHost: a", "Host twice");
    head_refused(SAMPLE("GET / HTTP/1.1\r\nA: b\0\r\n"), "control character");
    head_refused(SAMPLE("GET / HTTP/1.1\r\nA\0: b\r\n"), "proper name");
    head_refused(SAMPLE("GET / HTTP/1.1\r\nA: b\n"), "without a carriage return");
    head_refused(SAMPLE("GET / HTTP/1.1\r\n\n"), "without a carriage return");
    head_refused(SAMPLE("GET / HTTP/1.1\r\n\r\r\n"), "proper name");
}

Test(http1, refuses_bodies_that_two_readers_could_frame_in_two_ways, .timeout = 10) {
    header_refused("Content-Length: 5\r\nContent-Length: 6", "Content-Length twice");
    header_refused("Content-Length: 5\r\ncontent-length: 5", "Content-Length twice");
    header_refused("Content-Length: 5, 5", "no plain number");
    header_refused("Content-Length: +5", "no plain number");
    header_refused("Content-Length: -5", "no plain number");
    header_refused("Content-Length: 0x5", "no plain number");
    header_refused("Content-Length: 5 5", "no plain number");
    header_refused("Content-Length:", "no plain number");
    header_refused("Content-Length: 9007199254740993", "above 2^53");
    header_refused("Content-Length: 99999999999999999999999999", "above 2^53");
    header_refused("Transfer-Encoding: gzip, chunked", "other than chunked");
    header_refused("Transfer-Encoding: xchunked", "other than chunked");
    header_refused("Transfer-Encoding: chunked;x", "other than chunked");
    header_refused("Transfer-Encoding:", "other than chunked");
    header_refused("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding twice");
    header_refused("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "both Content-Length");
    header_refused("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "both Content-Length");
    head_refused(SAMPLE("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "in HTTP/1.0");
    head_refused(SAMPLE("CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n"), "CONNECT with a body");
    head_refused(SAMPLE("CONNECT a:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), "CONNECT with a body");
    head_refused(SAMPLE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), "both");
}

/* ---- limits ----------------------------------------------------------------------------------------------------- */

Test(http1, limits_the_number_of_headers, .timeout = 10) {
    char text[2048] = "GET / HTTP/1.1\r\n";
    for (size_t index = 0; index < HTTP1_HEADERS_MAX; index++) {
        strcat(text, "a:b\r\n");
    }
    size_t size = strlen(text);
    strcat(text, "\r\n");
    cr_assert_eq(head_done(text).headers_count, HTTP1_HEADERS_MAX);
    strcpy(text + size, "c:d\r\n");
    head_refused((const uint8_t *)text, strlen(text), "more than 128 headers");
}

/* A head of this size with one header. */
static char *head_make(size_t size) {
    static const char begin[] = "GET / HTTP/1.1\r\nA: ";
    char *text = malloc(size + 1);
    cr_assert_not_null(text);
    memset(text, 'a', size);
    memcpy(text, begin, strlen(begin));
    memcpy(text + size - 4, "\r\n\r\n", 5);
    return text;
}

Test(http1, limits_the_size_of_a_head, .timeout = 60) {
    struct http1_head head;
    for (size_t size = HTTP1_HEAD_MAX - 1; size <= HTTP1_HEAD_MAX + 5; size++) {
        char *text = head_make(size);
        enum parse_result expected = size <= HTTP1_HEAD_MAX ? PARSE_DONE : PARSE_NO;
        http1_head_begin(&head);
        cr_expect_eq(http1_head_read(&head, (const uint8_t *)text, size), expected, "whole, %zu bytes", size);
        http1_head_begin(&head);
        enum parse_result result = PARSE_MORE;
        for (size_t given = 0; given <= size && result == PARSE_MORE; given++) {
            result = http1_head_read(&head, (const uint8_t *)text, given);
        }
        cr_expect_eq(result, expected, "byte by byte, %zu bytes", size);
        cr_expect(expected == PARSE_DONE || strstr(head.reason, "above 64 KiB") != NULL);
        free(text);
    }
}
