/* The ClientHello that begins every TLS connection: where the client wants to go, before any key is agreed on. */
#ifndef MOONRING_PROTOCOL_TLS_H
#define MOONRING_PROTOCOL_TLS_H

#include "protocol/parse.h"

#include <stdbool.h>

enum {
    TLS_HELLO_MAX = 16384, /* bytes of all its records; real ones have 200 to 2,000 */
    TLS_NAME_MAX = 255,
    TLS_ALPN_MAX = 255,
    TLS_VERSIONS_MAX = 16,
};

enum { TLS_1_0 = 0x0301, TLS_1_1 = 0x0302, TLS_1_2 = 0x0303, TLS_1_3 = 0x0304 };

/* Names are copied, because a hello may be cut into records at any place. */
struct tls_hello {
    const char *reason; /* a constant text with PARSE_NO, else NULL */
    uint32_t size;      /* bytes of its records; 0 before PARSE_DONE */

    char name[TLS_NAME_MAX + 1]; /* the server that is asked for (SNI), in lower case; "" when none is */

    /* What the client wants to speak, the dearest first: each a byte with its length and that many bytes. */
    uint8_t alpn[TLS_ALPN_MAX];
    uint32_t alpn_size;

    uint16_t version_max;                /* the highest version that is offered */
    uint16_t versions[TLS_VERSIONS_MAX]; /* as offered, without GREASE */
    uint32_t versions_count;

    /* The parser's own. */
    uint32_t read;         /* bytes that were looked at */
    uint32_t header_read;  /* of the record's header */
    uint32_t record_left;  /* of the record's content */
    uint32_t message_read; /* of the hello itself, with its own header of 4 bytes */
    uint32_t message_size;
};

void tls_hello_begin(struct tls_hello *hello);
/* What is no TLS is refused at the first byte that shows it, SSLv2's way of saying hello too. */
enum parse_result tls_hello_read(struct tls_hello *hello, const uint8_t *bytes, size_t size);

/* Steps through hello->alpn: *at is 0 at first. False: there are no more. The protocol's bytes lie in the hello. */
bool tls_alpn_next(const struct tls_hello *hello, uint32_t *at, struct span *protocol);

#endif
