/* The header that a proxy puts in front of a connection, to say who is at its other end: the PROXY protocol, versions 1
 * (a line of text) and 2 (binary). Reading and writing. */
#ifndef MOONRING_PROTOCOL_PROXY_HEADER_H
#define MOONRING_PROTOCOL_PROXY_HEADER_H

#include "base/address.h"
#include "protocol/parse.h"

#include <stdbool.h>

enum { PROXY_V1 = 1, PROXY_V2 = 2, PROXY_ANY = PROXY_V1 | PROXY_V2 };

enum {
    PROXY_V1_MAX = 107,       /* bytes of a line, its end included, as the protocol says */
    PROXY_V2_PREFIX = 16,     /* signature, command, family, size of the rest */
    PROXY_V2_REST_MAX = 4096, /* the protocol allows 65,535; real ones have some 12 to 600 */
    PROXY_HEADER_MAX = PROXY_V2_PREFIX + PROXY_V2_REST_MAX,
    PROXY_WRITTEN_MAX = PROXY_V2_PREFIX + 216, /* of what proxy_header_write makes: two unix names */
};

struct proxy_header {
    const char *reason; /* a constant text with PARSE_NO, else NULL */
    uint32_t size;      /* 0 before PARSE_DONE */
    uint8_t version;    /* PROXY_V1 or PROXY_V2; 0 as long as that is open */
    bool is_local;      /* the proxy speaks for itself (LOCAL): nobody is behind it */

    /* Who connected, and where to; length 0: the header does not say (UNKNOWN, LOCAL). */
    struct address source;
    struct address destination;
    struct span tlvs; /* what else it says: proxy_tlv_next */

    /* The parser's own. */
    uint8_t versions; /* that are accepted */
    uint32_t read;    /* bytes that were looked at */
    uint32_t whole;   /* of version 2: the size, once it is known */
};

/* versions: PROXY_V1, PROXY_V2 or PROXY_ANY; a header of another version is refused. */
void proxy_header_begin(struct proxy_header *header, unsigned versions);
/* A head. What breaks a rule of the protocol is refused, at the first byte that shows it; so is a checksum (CRC32C)
 * that does not fit. */
enum parse_result proxy_header_read(struct proxy_header *header, const uint8_t *bytes, size_t size);

/* Types of what version 2 may say besides addresses. */
enum { PROXY_TLV_ALPN = 0x01, PROXY_TLV_AUTHORITY = 0x02, PROXY_TLV_CRC32C = 0x03, PROXY_TLV_UNIQUE_ID = 0x05 };

struct proxy_tlv {
    uint8_t type;
    struct span value; /* in the header's bytes */
};
/* Steps through header->tlvs: *at is 0 at first; bytes are the header's. False: there are no more. */
bool proxy_tlv_next(const struct proxy_header *header, const uint8_t *bytes, uint32_t *at, struct proxy_tlv *tlv);

/* Writes a header of that version, PROXY_WRITTEN_MAX bytes at the most, and returns its size. Where one of the two
 * addresses is not known, or they have nothing in common, it says UNKNOWN or LOCAL; so does version 1 of unix
 * addresses, for which it has no words. IPv4 addresses that are written as IPv6 ones become what they are. */
size_t proxy_header_write(uint8_t *bytes, unsigned version, const struct address *source,
                          const struct address *destination);

#endif
