#include "lua/exchange.h"
#include "lua/framers.h"
#include "protocol/chunked.h"

/* A message: its head is what is shown. */
struct message {
    struct http1_head head;
    struct chunked chunked; /* a body of that kind */
    enum http1_body body;
};

static void message_begin(struct framing *framing) {
    struct message *message = framing->state;
    http1_head_begin(&message->head);
    chunked_begin(&message->chunked);
}

/* Where the message ends, as far as its head tells. */
static uint64_t message_size(const struct message *message) {
    switch (message->body) {
    case HTTP1_BODY_NONE:
        return message->head.size;
    case HTTP1_BODY_LENGTH:
        return message->head.size + message->head.content_length;
    case HTTP1_BODY_CHUNKED:
        return 0;
    case HTTP1_BODY_UNTIL_EOF:
    case HTTP1_BODY_TUNNEL:
        break;
    }
    return FRAMING_FOR_EVER;
}

static enum parse_result message_refuse(struct error *error, const char *reason) {
    error_set(error, "%s", reason);
    return PARSE_NO;
}

static enum parse_result message_read(struct framing *framing, enum http1_kind kind, const uint8_t *bytes,
                                      uint32_t size, struct error *error) {
    struct message *message = framing->state;
    struct http1_head *head = &message->head;
    enum parse_result result = http1_head_read(head, bytes, size);
    framing->read = result == PARSE_DONE ? head->size : size;
    if (result == PARSE_NO) {
        return message_refuse(error, head->reason);
    }
    if (head->kind != HTTP1_UNKNOWN && head->kind != kind) {
        return message_refuse(error,
                              kind == HTTP1_REQUEST ? "a response from the client" : "a request from the server");
    }
    if (head->size > framing->see) {
        return message_refuse(error, "a head above hold_max");
    }
    return result;
}

static enum parse_result message_note(struct framing *framing, enum http1_body body) {
    struct message *message = framing->state;
    message->body = body;
    framing->head = message->head.size;
    framing->whole = message_size(message);
    return PARSE_DONE;
}

static enum parse_result message_go_by(struct framing *framing) {
    framing->whole = FRAMING_FOR_EVER;
    return PARSE_DONE;
}

static enum parse_result message_read_rest(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                           struct error *error) {
    struct chunked *chunked = &((struct message *)framing->state)->chunked;
    uint64_t before = chunked->frame.read;
    enum parse_result result = chunked_read(chunked, bytes, size);
    return framer_note_rest(framing, &chunked->frame, before, result, error);
}

/* --- requests -------------------------------------------------------------------------------------------------------
 */

static enum parse_result requests_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                       struct error *error) {
    if (framing->exchange->is_tunnel) {
        return message_go_by(framing);
    }
    enum parse_result result = message_read(framing, HTTP1_REQUEST, bytes, size, error);
    const struct message *message = framing->state;
    return result == PARSE_DONE ? message_note(framing, http1_request_body(&message->head)) : result;
}

static void requests_decided(struct framing *framing) {
    const struct message *message = framing->state;
    bool reaches_server = framing->decision != FRAME_DROPPED || framing->edits.size > 0;
    if (reaches_server) {
        exchange_request(framing->exchange, message->head.method_kind);
    }
}

const struct framer framer_requests = {.name = "HTTP/1",
                                       .state_size = sizeof(struct message),
                                       .begin = message_begin,
                                       .read = requests_read,
                                       .read_rest = message_read_rest,
                                       .decided = requests_decided};

/* --- responses ------------------------------------------------------------------------------------------------------
 */

static enum parse_result responses_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                        struct error *error) {
    const struct exchange *exchange = framing->exchange;
    if (exchange->is_tunnel) {
        return message_go_by(framing);
    }
    if (exchange->has_lost) {
        return message_refuse(error, "more than 256 requests that wait for their responses");
    }
    enum parse_result result = message_read(framing, HTTP1_RESPONSE, bytes, size, error);
    const struct message *message = framing->state;
    return result == PARSE_DONE ? message_note(framing, http1_response_body(&message->head, exchange_method(exchange)))
                                : result;
}

static void responses_decided(struct framing *framing) {
    const struct message *message = framing->state;
    exchange_response(framing->exchange, message->head.status, message->body);
}

const struct framer framer_responses = {.name = "HTTP/1",
                                        .state_size = sizeof(struct message),
                                        .begin = message_begin,
                                        .read = responses_read,
                                        .read_rest = message_read_rest,
                                        .decided = responses_decided};
