#include "header.h"

#include "base/check.h"
#include "place.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { V2_PREFIX = 16, V2_V4 = 0x11, V2_V6 = 0x21, V2_UNIX = 0x31, V2_NAME = 108 };

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

/* --- writing -------------------------------------------------------------------------------------------------------
 */

static void put(struct header *header, const void *bytes, size_t size) {
    check(header->size + size <= HEADER_SIZE_MAX);
    memcpy(header->bytes + header->size, bytes, size);
    header->size += (uint32_t)size;
}

static void put_byte(struct header *header, unsigned byte) {
    uint8_t one = (uint8_t)byte;
    put(header, &one, 1);
}

static void put_16(struct header *header, unsigned number) {
    put_byte(header, number >> 8);
    put_byte(header, number & 0xff);
}

/* One of the neighbours, so that rules are about it; from a port that none of them has itself. */
static void name_v4(struct header *header, uint64_t number) {
    address_any_v4(&header->named, (uint16_t)(1000 + number % 7000));
    header->named.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number % PLACE_NEIGHBOURS));
}

static void name_v6(struct header *header, uint64_t number) {
    char text[64];
    struct error error;
    snprintf(text, sizeof(text), "[2001:db8::%x]:%u", (unsigned)(number & 0xffff), 1000U);
    check(address_parse(&header->named, text, false, &error));
}

static void write_v1(struct header *header, uint64_t number, struct random *random) {
    char line[PROXY_V1_MAX + 1] = "PROXY UNKNOWN\r\n";
    switch (random_below(random, 4)) {
    case 0:
        break;
    case 1:
        snprintf(line, sizeof(line), "PROXY UNKNOWN whatever stands here %u\r\n", (unsigned)number);
        break;
    case 2:
        name_v6(header, number);
        snprintf(line, sizeof(line), "PROXY TCP6 2001:db8::%x 2001:db8:1::1 1000 443\r\n", (unsigned)(number & 0xffff));
        break;
    default:
        name_v4(header, number);
        snprintf(line, sizeof(line), "PROXY TCP4 127.0.0.%u 198.51.100.1 %u 443\r\n",
                 1 + (unsigned)(number % PLACE_NEIGHBOURS), address_port(&header->named));
        break;
    }
    put(header, line, strlen(line));
}

static uint32_t crc32c(const uint8_t *bytes, size_t size) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0);
        }
    }
    return ~crc;
}

/* Returns where the checksum stands; 0: there is none. */
static uint32_t put_tlvs(struct header *header, struct random *random) {
    static const char text[300] = "moonring";
    for (uint64_t count = random_below(random, 3); count > 0; count--) {
        unsigned size = (unsigned)random_scaled(random, sizeof(text)) - 1;
        put_byte(header, 0xe0 + (unsigned)random_below(random, 16));
        put_16(header, size);
        put(header, text, size);
    }
    if (random_chance(random, 500)) {
        return 0;
    }
    put_byte(header, PROXY_TLV_CRC32C);
    put_16(header, 4);
    put(header, "\0\0\0", 4);
    return header->size - 4;
}

static void put_addresses(struct header *header, unsigned family) {
    if (family == V2_V4) {
        put(header, &header->named.v4.sin_addr, 4);
        put(header, "\xc6\x33\x64\x01", 4);
        put_16(header, address_port(&header->named));
        put_16(header, 443);
    } else if (family == V2_V6) {
        put(header, &header->named.v6.sin6_addr, 16);
        put(header, &header->named.v6.sin6_addr, 16);
        put_16(header, address_port(&header->named));
        put_16(header, 443);
    } else if (family == V2_UNIX) {
        char names[2 * V2_NAME] = "/client";
        put(header, names, sizeof(names));
    }
}

static void write_v2(struct header *header, uint64_t number, struct random *random) {
    static const unsigned families[] = {0, V2_V4, V2_V4, V2_V4, V2_V6, V2_UNIX};
    unsigned family = families[random_below(random, sizeof(families) / sizeof(families[0]))];
    if (family == V2_V4) {
        name_v4(header, number);
    } else if (family == V2_V6) {
        name_v6(header, number);
    } else if (family == V2_UNIX) {
        header->named.length = sizeof(sa_family_t);
        header->named.any.sa_family = AF_UNIX;
    }
    put(header, signature, sizeof(signature) - 1);
    put_byte(header, family == 0 ? 0x20 : 0x21);
    put_byte(header, family);
    put_16(header, 0);
    put_addresses(header, family);
    uint32_t crc_at = put_tlvs(header, random);
    header->bytes[V2_PREFIX - 2] = (uint8_t)((header->size - V2_PREFIX) >> 8);
    header->bytes[V2_PREFIX - 1] = (uint8_t)(header->size - V2_PREFIX);
    if (crc_at > 0) {
        uint32_t crc = htonl(crc32c(header->bytes, header->size));
        memcpy(header->bytes + crc_at, &crc, sizeof(crc));
    }
}

/* What no listener takes. */
static void write_wrong(struct header *header, struct random *random) {
    static const char *const lines[] = {
        "GET / HTTP/1.0\r\n\r\n",
        "PROXY tcp4 127.0.0.1 127.0.0.1 1 1\r\n",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1 65536\r\n",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1\r\n",
        "PROXY TCP4 ::1 ::1 1 1\r\n",
        "\r\n\r\n\r\n\r\nQUIT\n",
    };
    static const uint8_t blocks[][4] = {{0x31, V2_V4, 0, 12}, /* version 3 */
                                        {0x22, V2_V4, 0, 12}, /* no such command */
                                        {0x21, V2_V4, 0, 11}, /* no room for the addresses */
                                        {0x21, V2_V4, 0xff, 0xff} /* it would never end */};
    enum { LINES = sizeof(lines) / sizeof(lines[0]), BLOCKS = sizeof(blocks) / sizeof(blocks[0]) };
    size_t which = random_below(random, LINES + BLOCKS);
    if (which < LINES) {
        put(header, lines[which], strlen(lines[which]));
    } else {
        put(header, signature, sizeof(signature) - 1);
        put(header, blocks[which - LINES], sizeof(blocks[0]));
        put(header, "\x7f\0\0\1\x7f\0\0\1\0\1\0\1", 12);
    }
}

struct header *header_draw(unsigned versions, uint64_t number, struct random *random) {
    bool is_wrong = random_chance(random, 150);
    if (is_wrong && random_chance(random, 200)) {
        return NULL;
    }
    struct header *header = calloc(1, sizeof(*header));
    check(header != NULL);
    unsigned version = versions == PROXY_ANY ? 1 + (unsigned)random_below(random, 2) : versions;
    header->is_good = !is_wrong;
    if (is_wrong && (versions == PROXY_ANY || random_chance(random, 700))) {
        write_wrong(header, random);
    } else {
        version = is_wrong ? PROXY_ANY - version : version; /* the one that is not accepted */
        (version == PROXY_V1 ? write_v1 : write_v2)(header, number, random);
    }
    return header;
}

/* --- hearing -------------------------------------------------------------------------------------------------------
 */

struct header *header_expect(unsigned version) {
    struct header *header = calloc(1, sizeof(*header));
    check(header != NULL);
    proxy_header_begin(&header->heard, version);
    return header;
}

size_t header_hear(struct header *header, const char *bytes, size_t size) {
    uint32_t before = header->passed;
    size_t part = size < HEADER_SIZE_MAX - before ? size : HEADER_SIZE_MAX - before;
    memcpy(header->bytes + before, bytes, part);
    enum parse_result result = proxy_header_read(&header->heard, header->bytes, before + part);
    if (result == PARSE_NO || (result != PARSE_DONE && before + part == HEADER_SIZE_MAX)) {
        world_violation("a server hears no good PROXY header: %s",
                        header->heard.reason == NULL ? "it does not end" : header->heard.reason);
    }
    if (result == PARSE_DONE) {
        header->size = header->heard.size;
        header->named = header->heard.source;
        part = header->size - before;
    }
    header->passed = before + (uint32_t)part;
    return part;
}
