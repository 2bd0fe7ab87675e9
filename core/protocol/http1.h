/* The head of an HTTP/1 request or response, and how its body is framed.
 *
 * The bytes go on as they came, so a head that the next reader could frame in another way (request smuggling) is
 * refused, also where the standard would let a proxy repair it: bare CR or LF, NUL, folded lines, a space before a
 * colon, Content-Length twice or beside Transfer-Encoding, a transfer encoding other than `chunked`, Host twice. */
#ifndef MOONRING_PROTOCOL_HTTP1_H
#define MOONRING_PROTOCOL_HTTP1_H

#include "protocol/parse.h"

#include <stdbool.h>

enum {
    HTTP1_HEAD_MAX = 65536,
    HTTP1_METHOD_MAX = 32,
    HTTP1_HEADERS_MAX = 128,
};
/* Scripts have doubles, which are exact to here. */
#define HTTP1_LENGTH_MAX (UINT64_C(1) << 53)

enum http1_kind { HTTP1_UNKNOWN, HTTP1_REQUEST, HTTP1_RESPONSE };

/* The methods that change how a response is framed. */
enum http1_method { HTTP1_METHOD_OTHER, HTTP1_METHOD_HEAD, HTTP1_METHOD_CONNECT };

enum http1_body {
    HTTP1_BODY_NONE,
    HTTP1_BODY_LENGTH, /* content_length bytes */
    HTTP1_BODY_CHUNKED,
    HTTP1_BODY_UNTIL_EOF,
    HTTP1_BODY_TUNNEL, /* no HTTP follows, in either direction */
};

struct http1_header {
    struct span name;
    struct span value; /* without blanks around it; may be empty */
};

struct http1_head {
    const char *reason; /* a constant text with PARSE_NO, else NULL */
    uint32_t size;      /* bytes, with the empty line; 0 before PARSE_DONE */
    enum http1_kind kind;
    uint8_t minor_version; /* 0 or 1, of HTTP/1.x; higher ones count as 1 */

    struct span method; /* of a request */
    struct span target;
    enum http1_method method_kind;

    uint16_t status; /* of a response, 100 to 999 */
    struct span phrase;

    bool has_length;
    bool chunked;
    bool keep_alive; /* as this head says; a body until eof ends the connection all the same */
    bool upgrade;    /* asks for, or grants, another protocol (Connection: upgrade and Upgrade) */
    uint64_t content_length;

    /* The parser's own. */
    bool has_host;
    bool has_upgrade;
    bool connection_close;
    bool connection_keep_alive;
    bool connection_upgrade;
    uint32_t line_at; /* where the first unread line begins */
    uint32_t scanned; /* no end of line lies between line_at and here */

    uint32_t headers_count;
    struct http1_header headers[HTTP1_HEADERS_MAX]; /* as they came; undefined behind headers_count */
};

void http1_head_begin(struct http1_head *head);
/* Whether it is a request or a response shows in its first line: a caller who expects one of them must look at `kind`.
 * What is no HTTP/1 at all is refused at the first byte that shows it. */
enum parse_result http1_head_read(struct http1_head *head, const uint8_t *bytes, size_t size);

/* The first header of this name from index on, case aside; headers_count when there is none. `name` in lower case. */
uint32_t http1_header_find(const struct http1_head *head, const uint8_t *bytes, const char *name, uint32_t index);

/* What follows the head. A response needs the method of the request that it answers. */
enum http1_body http1_request_body(const struct http1_head *request);
enum http1_body http1_response_body(const struct http1_head *response, enum http1_method request_method);

#endif
