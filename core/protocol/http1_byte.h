/* Which bytes may stand where in HTTP/1 (RFC 9110, section 5). Never by the locale. */
#ifndef MOONRING_PROTOCOL_HTTP1_BYTE_H
#define MOONRING_PROTOCOL_HTTP1_BYTE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint8_t http1_byte_lower(uint8_t byte) {
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

/* In a method or a header's name? */
static inline bool http1_byte_is_token(uint8_t byte) {
    uint8_t lower = http1_byte_lower(byte);
    bool alphanumeric = (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9');
    return alphanumeric || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static inline bool http1_byte_is_blank(uint8_t byte) {
    return byte == ' ' || byte == '\t';
}

/* In a header's value? Bytes from 0x80 on are old but not harmful. */
static inline bool http1_byte_is_text(uint8_t byte) {
    return (byte >= ' ' && byte != 0x7f) || byte == '\t';
}

#endif
