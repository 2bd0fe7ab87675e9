/* Any bytes as the head of an HTTP/1 message and as a chunked body: how they are cut changes nothing, and what is read
 * of a head lies in it. The first byte of the input says where to cut. */
#include "protocol/chunked.h"
#include "protocol/http1.h"
#include "tests/fuzz/feeding.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static enum parse_result head_read(void *parser, const uint8_t *bytes, size_t size) {
    return http1_head_read(parser, bytes, size);
}

static uint64_t head_size(const void *parser) {
    const struct http1_head *head = parser;
    return head->size;
}

static enum parse_result body_read(void *parser, const uint8_t *bytes, size_t size) {
    return chunked_read(parser, bytes, size);
}

static uint64_t body_size(const void *parser) {
    const struct chunked *chunked = parser;
    return chunked->frame.read;
}

static void span_check(const struct http1_head *head, const uint8_t *bytes, struct span span) {
    check((uint64_t)span.at + span.size < head->size);
    check(span.size == 0 || memchr(bytes + span.at, '\n', span.size) == NULL);
    check(span.size == 0 || memchr(bytes + span.at, 0, span.size) == NULL);
}

static void head_check(const struct http1_head *head, const uint8_t *bytes) {
    check(memcmp(bytes + head->size - 4, "\r\n\r\n", 4) == 0);
    check((head->kind == HTTP1_REQUEST) == (head->method.size > 0));
    check((head->kind == HTTP1_RESPONSE) == (head->status >= 100));
    check(!(head->chunked && head->has_length));
    span_check(head, bytes, head->method);
    span_check(head, bytes, head->target);
    span_check(head, bytes, head->phrase);
    for (uint32_t index = 0; index < head->headers_count; index++) {
        check(head->headers[index].name.size > 0);
        span_check(head, bytes, head->headers[index].name);
        span_check(head, bytes, head->headers[index].value);
    }
    uint32_t length_at = http1_header_find(head, bytes, "content-length", 0);
    check((length_at < head->headers_count) == head->has_length);
    check(head->content_length == 0 || http1_request_body(head) == HTTP1_BODY_LENGTH);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1) {
        return 0;
    }
    struct http1_head head = {.reason = NULL};
    http1_head_begin(&head);
    const struct feeding head_feeding = {sizeof(head), false, &head, head_read, head_size};
    feeding_check(&head_feeding, input + 1, size - 1, input[0]);
    struct chunked chunked;
    chunked_begin(&chunked);
    const struct feeding body_feeding = {sizeof(chunked), true, &chunked, body_read, body_size};
    feeding_check(&body_feeding, input + 1, size - 1, input[0]);
    if (http1_head_read(&head, input + 1, size - 1) == PARSE_DONE) {
        head_check(&head, input + 1);
    }
    return 0;
}
