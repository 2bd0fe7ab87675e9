#include "protocol/http1.h"

#include "protocol/http1_byte.h"

/* A line without its CR LF. */
struct line {
    const uint8_t *bytes; /* the whole head's, so that positions in it are the head's */
    uint32_t at;
    uint32_t end;
};

static enum parse_result refuse(struct http1_head *head, const char *reason) {
    return parse_refuse(&head->reason, reason);
}

void http1_head_begin(struct http1_head *head) {
    /* The headers are most of it and need no zeros. */
    memset(head, 0, offsetof(struct http1_head, headers));
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

/* `word` in lower case. */
static bool span_is(const uint8_t *bytes, struct span span, const char *word) {
    if (span.size != strlen(word)) {
        return false;
    }
    for (uint32_t index = 0; index < span.size; index++) {
        if (http1_byte_lower(bytes[span.at + index]) != (uint8_t)word[index]) {
            return false;
        }
    }
    return true;
}

static struct span span_trim(const uint8_t *bytes, uint32_t at, uint32_t end) {
    while (at < end && http1_byte_is_blank(bytes[at])) {
        at++;
    }
    while (at < end && http1_byte_is_blank(bytes[end - 1])) {
        end--;
    }
    return (struct span){at, end - at};
}

/* From `at` to the byte, or to the line's end when it is not there. */
static struct span line_until(const struct line *line, uint32_t at, uint8_t byte) {
    const uint8_t *found = memchr(line->bytes + at, byte, line->end - at);
    uint32_t end = found != NULL ? (uint32_t)(found - line->bytes) : line->end;
    return (struct span){at, end - at};
}

static bool line_begins(const struct line *line, const char *word) {
    size_t size = strlen(word);
    return line->end - line->at >= size && memcmp(line->bytes + line->at, word, size) == 0;
}

static bool line_is_text(const struct line *line, uint32_t at) {
    while (at < line->end && http1_byte_is_text(line->bytes[at])) {
        at++;
    }
    return at == line->end;
}

static bool span_is_token(const uint8_t *bytes, struct span span) {
    for (uint32_t index = 0; index < span.size; index++) {
        if (!http1_byte_is_token(bytes[span.at + index])) {
            return false;
        }
    }
    return span.size > 0;
}

/* ---- the first line --------------------------------------------------------------------------------------------- */

/* `HTTP/1.` and a digit? Puts the digit into the head. */
static bool version_read(struct http1_head *head, const uint8_t *bytes, uint32_t at, uint32_t end) {
    const uint32_t prefix_size = (uint32_t)strlen("HTTP/1.");
    if (end - at != prefix_size + 1 || memcmp(bytes + at, "HTTP/1.", prefix_size) != 0) {
        return false;
    }
    uint8_t digit = bytes[at + prefix_size];
    head->minor_version = digit == '0' ? 0 : 1;
    return digit >= '0' && digit <= '9';
}

static enum http1_method method_kind(const uint8_t *bytes, struct span method) {
    /* Methods differ in case: `head` is not HEAD. */
    if (method.size == 4 && memcmp(bytes + method.at, "HEAD", 4) == 0) {
        return HTTP1_METHOD_HEAD;
    }
    if (method.size == 7 && memcmp(bytes + method.at, "CONNECT", 7) == 0) {
        return HTTP1_METHOD_CONNECT;
    }
    return HTTP1_METHOD_OTHER;
}

/* `GET /path HTTP/1.1`; first_line_may_be_http has seen to it that a method and a space are there. */
static enum parse_result request_line_read(struct http1_head *head, const struct line *line) {
    head->kind = HTTP1_REQUEST;
    head->method = line_until(line, line->at, ' ');
    head->method_kind = method_kind(line->bytes, head->method);
    check(head->method.at + head->method.size < line->end);
    head->target = line_until(line, head->method.at + head->method.size + 1, ' ');
    uint32_t target_end = head->target.at + head->target.size;
    if (head->target.size == 0 || target_end == line->end) {
        return refuse(head, "a request line without target or version");
    }
    if (!line_is_text(line, head->target.at) || memchr(line->bytes + head->target.at, '\t', head->target.size)) {
        return refuse(head, "a control character in the request's first line");
    }
    if (!version_read(head, line->bytes, target_end + 1, line->end)) {
        return refuse(head, "a request line that does not end in HTTP/1.0 or HTTP/1.1");
    }
    return PARSE_MORE;
}

static bool digit_is(uint8_t byte) {
    return byte >= '0' && byte <= '9';
}

/* `HTTP/1.1 200 OK`; the phrase, and even the space before it, may be missing. */
static enum parse_result status_line_read(struct http1_head *head, const struct line *line) {
    head->kind = HTTP1_RESPONSE;
    struct span version = line_until(line, line->at, ' ');
    if (!version_read(head, line->bytes, version.at, version.at + version.size)) {
        return refuse(head, "a status line that does not begin with HTTP/1.0 or HTTP/1.1");
    }
    uint32_t at = version.at + version.size + 1;
    const uint8_t *digits = line->bytes + at;
    if (line->end < at + 3 || !digit_is(digits[0]) || !digit_is(digits[1]) || !digit_is(digits[2]) ||
        digits[0] == '0' || (line->end > at + 3 && digits[3] != ' ')) {
        return refuse(head, "a status that is no number from 100 to 999");
    }
    head->status = (uint16_t)((digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0'));
    head->phrase = span_trim(line->bytes, at + 3, line->end);
    return line_is_text(line, at + 3) ? PARSE_MORE : refuse(head, "a control character in the response's first line");
}

/* Looks at what is there of the first line, so that what is no HTTP is refused before its line is whole: a method and a
 * space, or `HTTP/`, or an empty line, which some clients send behind a body. */
static bool first_line_may_be_http(const uint8_t *bytes, uint32_t size) {
    uint32_t word_size = 0;
    while (word_size < size && http1_byte_is_token(bytes[word_size])) {
        word_size++;
        if (word_size > HTTP1_METHOD_MAX) {
            return false;
        }
    }
    if (word_size == size) {
        return true;
    }
    switch (bytes[word_size]) {
    case ' ':
        return word_size > 0;
    case '/':
        return word_size == 4 && memcmp(bytes, "HTTP", 4) == 0;
    case '\r':
        return word_size == 0 && (size == 1 || bytes[1] == '\n');
    }
    return false;
}

/* ---- headers ---------------------------------------------------------------------------------------------------- */

static enum parse_result length_read(struct http1_head *head, const uint8_t *bytes, struct span value) {
    if (head->has_length) {
        return refuse(head, "Content-Length twice");
    }
    uint64_t length = 0;
    for (uint32_t index = 0; index < value.size; index++) {
        uint8_t byte = bytes[value.at + index];
        if (!digit_is(byte)) {
            return refuse(head, "a Content-Length that is no plain number");
        }
        length = length * 10 + (byte - '0');
        if (length > HTTP1_LENGTH_MAX) {
            return refuse(head, "a Content-Length above 2^53");
        }
    }
    if (value.size == 0) {
        return refuse(head, "a Content-Length that is no plain number");
    }
    head->has_length = true;
    head->content_length = length;
    return PARSE_MORE;
}

static enum parse_result encoding_read(struct http1_head *head, const uint8_t *bytes, struct span value) {
    if (head->chunked) {
        return refuse(head, "Transfer-Encoding twice");
    }
    if (!span_is(bytes, value, "chunked")) {
        return refuse(head, "a Transfer-Encoding other than chunked");
    }
    head->chunked = true;
    return PARSE_MORE;
}

/* A list of words between commas; there may be several such headers. */
static void connection_read(struct http1_head *head, const struct line *line, struct span value) {
    const struct line list = {line->bytes, value.at, value.at + value.size};
    for (uint32_t at = list.at; at < list.end;) {
        struct span item = line_until(&list, at, ',');
        struct span word = span_trim(list.bytes, item.at, item.at + item.size);
        head->connection_close |= span_is(list.bytes, word, "close");
        head->connection_keep_alive |= span_is(list.bytes, word, "keep-alive");
        head->connection_upgrade |= span_is(list.bytes, word, "upgrade");
        at = item.at + item.size + 1;
    }
}

/* The headers that say something about framing. */
static enum parse_result header_apply(struct http1_head *head, const struct line *line,
                                      const struct http1_header *header) {
    if (span_is(line->bytes, header->name, "content-length")) {
        return length_read(head, line->bytes, header->value);
    }
    if (span_is(line->bytes, header->name, "transfer-encoding")) {
        return encoding_read(head, line->bytes, header->value);
    }
    if (span_is(line->bytes, header->name, "connection")) {
        connection_read(head, line, header->value);
    } else if (span_is(line->bytes, header->name, "upgrade")) {
        head->has_upgrade = true;
    } else if (span_is(line->bytes, header->name, "host")) {
        if (head->has_host) {
            return refuse(head, "Host twice");
        }
        head->has_host = true;
    }
    return PARSE_MORE;
}

static enum parse_result name_refuse(struct http1_head *head, const struct line *line, struct span name) {
    if (http1_byte_is_blank(line->bytes[line->at])) {
        return refuse(head, "a folded header line");
    }
    if (name.size > 0 && http1_byte_is_blank(line->bytes[name.at + name.size - 1])) {
        return refuse(head, "a space before a header's colon");
    }
    return refuse(head, "a header without a proper name");
}

static enum parse_result header_line_read(struct http1_head *head, const struct line *line) {
    struct span name = line_until(line, line->at, ':');
    uint32_t colon = name.at + name.size;
    if (colon == line->end || !span_is_token(line->bytes, name)) {
        return name_refuse(head, line, name);
    }
    if (!line_is_text(line, colon + 1)) {
        return refuse(head, "a control character in a header");
    }
    if (head->headers_count == HTTP1_HEADERS_MAX) {
        return refuse(head, "more than 128 headers");
    }
    struct http1_header *header = &head->headers[head->headers_count++];
    *header = (struct http1_header){name, span_trim(line->bytes, colon + 1, line->end)};
    return header_apply(head, line, header);
}

/* ---- the head --------------------------------------------------------------------------------------------------- */

/* The empty line was read: do the headers make sense together? */
static enum parse_result head_end(struct http1_head *head, uint32_t size) {
    if (head->chunked && head->has_length) {
        return refuse(head, "both Content-Length and Transfer-Encoding");
    }
    if (head->chunked && head->minor_version == 0) {
        return refuse(head, "Transfer-Encoding in HTTP/1.0");
    }
    if (head->method_kind == HTTP1_METHOD_CONNECT && (head->chunked || head->content_length > 0)) {
        return refuse(head, "CONNECT with a body");
    }
    bool persistent = head->minor_version == 1 || head->connection_keep_alive;
    head->keep_alive = persistent && !head->connection_close;
    head->upgrade = head->connection_upgrade && head->has_upgrade;
    head->size = size;
    return PARSE_DONE;
}

static enum parse_result line_read(struct http1_head *head, const struct line *line, uint32_t next_line_at) {
    bool empty = line->at == line->end;
    if (head->kind != HTTP1_UNKNOWN) {
        return empty ? head_end(head, next_line_at) : header_line_read(head, line);
    }
    if (empty) {
        return PARSE_MORE;
    }
    return line_begins(line, "HTTP/") ? status_line_read(head, line) : request_line_read(head, line);
}

/* Reads the next line if its end is there. */
static enum parse_result line_next(struct http1_head *head, const uint8_t *bytes, uint32_t size) {
    uint32_t at = head->line_at;
    if (head->kind == HTTP1_UNKNOWN && !first_line_may_be_http(bytes + at, size - at)) {
        return refuse(head, "no method and no HTTP/ at the beginning");
    }
    const uint8_t *feed = memchr(bytes + head->scanned, '\n', size - head->scanned);
    if (feed == NULL) {
        head->scanned = size;
        return PARSE_MORE;
    }
    uint32_t feed_at = (uint32_t)(feed - bytes);
    if (feed_at == at || bytes[feed_at - 1] != '\r') {
        return refuse(head, "a line feed without a carriage return");
    }
    const struct line line = {bytes, at, feed_at - 1};
    head->line_at = head->scanned = feed_at + 1;
    return line_read(head, &line, feed_at + 1);
}

enum parse_result http1_head_read(struct http1_head *head, const uint8_t *bytes, size_t size) {
    if (head->reason != NULL) {
        return PARSE_NO;
    }
    if (head->size > 0) {
        return PARSE_DONE;
    }
    uint32_t window = size < HTTP1_HEAD_MAX ? (uint32_t)size : HTTP1_HEAD_MAX;
    enum parse_result result = PARSE_MORE;
    while (result == PARSE_MORE && head->scanned < window) {
        result = line_next(head, bytes, window);
    }
    if (result == PARSE_MORE && window == HTTP1_HEAD_MAX) {
        return refuse(head, "a head above 64 KiB");
    }
    return result;
}

uint32_t http1_header_find(const struct http1_head *head, const uint8_t *bytes, const char *name, uint32_t index) {
    while (index < head->headers_count && !span_is(bytes, head->headers[index].name, name)) {
        index++;
    }
    return index;
}

static enum http1_body framed_body(const struct http1_head *head, enum http1_body otherwise) {
    if (head->chunked) {
        return HTTP1_BODY_CHUNKED;
    }
    if (head->has_length) {
        return head->content_length > 0 ? HTTP1_BODY_LENGTH : HTTP1_BODY_NONE;
    }
    return otherwise;
}

enum http1_body http1_request_body(const struct http1_head *request) {
    return framed_body(request, HTTP1_BODY_NONE);
}

enum http1_body http1_response_body(const struct http1_head *response, enum http1_method request_method) {
    bool success = response->status / 100 == 2;
    if (response->status == 101 || (success && request_method == HTTP1_METHOD_CONNECT)) {
        return HTTP1_BODY_TUNNEL;
    }
    if (request_method == HTTP1_METHOD_HEAD || response->status < 200 || response->status == 204 ||
        response->status == 304) {
        return HTTP1_BODY_NONE;
    }
    return framed_body(response, HTTP1_BODY_UNTIL_EOF);
}
