#include "protocol/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum {
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    FAMILY_UNKNOWN = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    FAMILY_UNIX = 0x31,
    SIGNATURE_SIZE = 12,
    AT_COMMAND = 12,
    AT_FAMILY = 13,
    AT_SIZE = 14,
    UNIX_NAME_SIZE = 108,
    TLV_HEAD_SIZE = 3,
    CRC_SIZE = 4,
};

static const uint8_t signature[] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};
static const char line_begin[] = "PROXY ";

void proxy_header_begin(struct proxy_header *header, unsigned versions) {
    *header = (struct proxy_header){.versions = (uint8_t)versions};
}

static enum parse_result refuse(struct proxy_header *header, const char *reason) {
    return parse_refuse(&header->reason, reason);
}

static uint16_t u16_at(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* ---- version 1: PROXY TCP4 10.0.0.7 10.0.0.1 51234 443 ------------------------------------------------------------
 */

/* Takes the next word, which ends at one blank or at the end of the line; "" when there is none. */
static const char *word_take(char **line) {
    char *word = *line;
    char *end = word + strcspn(word, " ");
    *line = *end == 0 ? end : end + 1;
    *end = 0;
    return word;
}

static bool port_read(const char *text, uint16_t *port) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != 0 || (digits > 1 && text[0] == '0')) {
        return false;
    }
    uint32_t number = 0;
    for (; *text != 0; text++) {
        number = number * 10 + (uint32_t)(*text - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

static bool ip_read(struct address *address, int family, const char *text) {
    if (family == AF_INET) {
        *address = (struct address){.length = sizeof(address->v4), .v4 = {.sin_family = AF_INET}};
        return inet_pton(AF_INET, text, &address->v4.sin_addr) == 1;
    }
    *address = (struct address){.length = sizeof(address->v6), .v6 = {.sin6_family = AF_INET6}};
    return inet_pton(AF_INET6, text, &address->v6.sin6_addr) == 1;
}

/* The four words behind TCP4 or TCP6. */
static enum parse_result line_read_addresses(struct proxy_header *header, int family, char *line) {
    struct address source;
    struct address destination;
    uint16_t source_port;
    uint16_t destination_port;
    if (!ip_read(&source, family, word_take(&line)) || !ip_read(&destination, family, word_take(&line))) {
        return refuse(header, "a PROXY header with a malformed address");
    }
    /* A blank behind the last word, or a fifth one, is a mistake as well. */
    bool has_both = port_read(word_take(&line), &source_port) && port_read(line, &destination_port);
    if (!has_both) {
        return refuse(header, "a PROXY header with a malformed port");
    }
    address_set_port(&source, source_port);
    address_set_port(&destination, destination_port);
    header->source = source;
    header->destination = destination;
    return PARSE_DONE;
}

/* What follows the first word and its blank, without the end of the line. */
static enum parse_result line_read(struct proxy_header *header, const uint8_t *bytes, size_t size) {
    char line[PROXY_V1_MAX + 1];
    memcpy(line, bytes, size);
    line[size] = 0;
    char *at = line;
    const char *family = word_take(&at);
    if (strcmp(family, "UNKNOWN") == 0) {
        return PARSE_DONE; /* whatever follows means nothing */
    }
    if (strlen(at) != size - (size_t)(at - line)) {
        return refuse(header, "a PROXY header with a zero byte");
    }
    if (strcmp(family, "TCP4") == 0) {
        return line_read_addresses(header, AF_INET, at);
    }
    if (strcmp(family, "TCP6") == 0) {
        return line_read_addresses(header, AF_INET6, at);
    }
    return refuse(header, "a PROXY header with neither TCP4, TCP6 nor UNKNOWN");
}

/* The line's end was found. */
static enum parse_result line_end(struct proxy_header *header, const uint8_t *bytes) {
    size_t begin = sizeof(line_begin) - 1;
    if (bytes[header->read - 2] != '\r') {
        return refuse(header, "a PROXY header whose line does not end in CR LF");
    }
    enum parse_result result = line_read(header, bytes + begin, header->read - begin - 2);
    header->size = result == PARSE_DONE ? header->read : 0;
    return result;
}

static enum parse_result line_walk(struct proxy_header *header, const uint8_t *bytes, size_t size) {
    while (header->read < size) {
        uint8_t byte = bytes[header->read];
        bool is_begin = header->read < sizeof(line_begin) - 1;
        if (is_begin && byte != (uint8_t)line_begin[header->read]) {
            return refuse(header, "no PROXY header");
        }
        header->read++;
        if (byte == '\n') {
            return line_end(header, bytes);
        }
        if (header->read == PROXY_V1_MAX) {
            return refuse(header, "a PROXY header whose line is longer than 107 bytes");
        }
    }
    return PARSE_MORE;
}

/* ---- version 2 ----------------------------------------------------------------------------------------------------
 */

/* Castagnoli's polynomial, four bits at a time; `skipped` bytes at `skip` count as zeros. */
static uint32_t crc32c(const uint8_t *bytes, uint32_t size, uint32_t skip, uint32_t skipped) {
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                       0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    uint32_t crc = UINT32_MAX;
    for (uint32_t at = 0; at < size; at++) {
        crc ^= at - skip < skipped ? 0 : bytes[at];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

bool proxy_tlv_next(const struct proxy_header *header, const uint8_t *bytes, uint32_t *at, struct proxy_tlv *tlv) {
    if (*at >= header->tlvs.size) {
        return false;
    }
    uint32_t head = header->tlvs.at + *at;
    *tlv = (struct proxy_tlv){.type = bytes[head], .value = {head + TLV_HEAD_SIZE, u16_at(bytes + head + 1)}};
    *at += TLV_HEAD_SIZE + tlv->value.size;
    return true;
}

static bool tlvs_are_whole(const struct proxy_header *header, const uint8_t *bytes) {
    for (uint32_t left = header->tlvs.size, at = header->tlvs.at; left > 0;) {
        uint32_t size = left < TLV_HEAD_SIZE ? UINT32_MAX : TLV_HEAD_SIZE + (uint32_t)u16_at(bytes + at + 1);
        if (size > left) {
            return false;
        }
        at += size;
        left -= size;
    }
    return true;
}

static enum parse_result tlvs_read(struct proxy_header *header, const uint8_t *bytes) {
    if (!tlvs_are_whole(header, bytes)) {
        return refuse(header, "a PROXY header with more in it than its size says");
    }
    struct proxy_tlv tlv;
    bool is_checked = false;
    for (uint32_t at = 0; proxy_tlv_next(header, bytes, &at, &tlv);) {
        if (tlv.type != PROXY_TLV_CRC32C) {
            continue;
        }
        if (tlv.value.size != CRC_SIZE || is_checked) {
            return refuse(header, "a PROXY header with a malformed checksum");
        }
        is_checked = true;
        const uint8_t *sum = bytes + tlv.value.at;
        if (crc32c(bytes, header->whole, tlv.value.at, CRC_SIZE) != ((uint32_t)u16_at(sum) << 16 | u16_at(sum + 2))) {
            return refuse(header, "a PROXY header whose checksum does not fit");
        }
    }
    header->size = header->whole;
    return PARSE_DONE;
}

/* Of both addresses together. */
static uint32_t addresses_size(uint8_t family) {
    switch (family) {
    case FAMILY_TCP4:
        return 12;
    case FAMILY_TCP6:
        return 36;
    case FAMILY_UNIX:
        return 2 * UNIX_NAME_SIZE;
    }
    return 0;
}

static struct address unix_read(const uint8_t *name) {
    struct address address = {.length = sizeof(sa_family_t), .local = {.sun_family = AF_UNIX}};
    memcpy(address.local.sun_path, name, UNIX_NAME_SIZE);
    size_t size = UNIX_NAME_SIZE;
    while (size > 0 && name[size - 1] == 0) {
        size--;
    }
    address.length += (socklen_t)size;
    return address;
}

static void addresses_read(struct proxy_header *header, uint8_t family, const uint8_t *bytes) {
    struct address *source = &header->source;
    struct address *destination = &header->destination;
    if (family == FAMILY_TCP4) {
        *source = (struct address){.length = sizeof(source->v4), .v4 = {.sin_family = AF_INET}};
        *destination = *source;
        memcpy(&source->v4.sin_addr, bytes, 4);
        memcpy(&destination->v4.sin_addr, bytes + 4, 4);
    } else if (family == FAMILY_TCP6) {
        *source = (struct address){.length = sizeof(source->v6), .v6 = {.sin6_family = AF_INET6}};
        *destination = *source;
        memcpy(&source->v6.sin6_addr, bytes, 16);
        memcpy(&destination->v6.sin6_addr, bytes + 16, 16);
    } else if (family == FAMILY_UNIX) {
        *source = unix_read(bytes);
        *destination = unix_read(bytes + UNIX_NAME_SIZE);
        return;
    }
    address_set_port(source, u16_at(bytes + addresses_size(family) - 4));
    address_set_port(destination, u16_at(bytes + addresses_size(family) - 2));
}

/* All of it is there. The addresses of a LOCAL header, and whatever follows them, mean nothing. */
static enum parse_result block_read(struct proxy_header *header, const uint8_t *bytes) {
    uint8_t family = bytes[AT_FAMILY];
    if (header->is_local) {
        header->size = header->whole;
        return PARSE_DONE;
    }
    uint32_t at = PROXY_V2_PREFIX + addresses_size(family);
    if (family != FAMILY_UNKNOWN) {
        addresses_read(header, family, bytes + PROXY_V2_PREFIX);
    }
    header->tlvs = (struct span){at, header->whole - at};
    return tlvs_read(header, bytes);
}

static enum parse_result family_check(struct proxy_header *header, uint8_t family) {
    if (header->is_local || family == FAMILY_UNKNOWN || addresses_size(family) > 0) {
        return PARSE_MORE;
    }
    bool is_datagram = family == (FAMILY_TCP4 ^ 3) || family == (FAMILY_TCP6 ^ 3) || family == (FAMILY_UNIX ^ 3);
    return refuse(header, is_datagram ? "a PROXY header of datagrams" : "a PROXY header of an unknown family");
}

static enum parse_result size_check(struct proxy_header *header, const uint8_t *bytes) {
    uint32_t rest = u16_at(bytes + AT_SIZE);
    if (rest > PROXY_V2_REST_MAX) {
        return refuse(header, "a PROXY header above 4 KiB");
    }
    if (!header->is_local && rest < addresses_size(bytes[AT_FAMILY])) {
        return refuse(header, "a PROXY header that is shorter than its addresses");
    }
    header->whole = PROXY_V2_PREFIX + rest;
    return PARSE_MORE;
}

/* The byte in front of header->read is the next one of the prefix. */
static enum parse_result prefix_read(struct proxy_header *header, const uint8_t *bytes) {
    uint32_t at = header->read - 1;
    if (at < SIGNATURE_SIZE) {
        return bytes[at] == signature[at] ? PARSE_MORE : refuse(header, "no PROXY header");
    }
    if (at == AT_COMMAND) {
        header->is_local = bytes[at] == COMMAND_LOCAL;
        bool is_known = header->is_local || bytes[at] == COMMAND_PROXY;
        return is_known ? PARSE_MORE : refuse(header, "a PROXY header of an unknown version or command");
    }
    if (at == AT_FAMILY) {
        return family_check(header, bytes[at]);
    }
    return at == AT_SIZE ? PARSE_MORE : size_check(header, bytes);
}

static enum parse_result block_walk(struct proxy_header *header, const uint8_t *bytes, size_t size) {
    enum parse_result result = PARSE_MORE;
    while (result == PARSE_MORE && header->read < PROXY_V2_PREFIX && header->read < size) {
        header->read++;
        result = prefix_read(header, bytes);
    }
    if (result != PARSE_MORE || header->read < PROXY_V2_PREFIX) {
        return result;
    }
    if (size < header->whole) {
        return PARSE_MORE;
    }
    return block_read(header, bytes);
}

/* ---- either -------------------------------------------------------------------------------------------------------
 */

/* The first byte tells the version. */
static enum parse_result version_decide(struct proxy_header *header, uint8_t byte) {
    bool is_first = byte == (uint8_t)line_begin[0];
    if (!is_first && byte != signature[0]) {
        return refuse(header, "no PROXY header");
    }
    header->version = is_first ? PROXY_V1 : PROXY_V2;
    if ((header->versions & header->version) == 0) {
        return refuse(header, is_first ? "no PROXY header of version 2" : "no PROXY header of version 1");
    }
    return PARSE_MORE;
}

enum parse_result proxy_header_read(struct proxy_header *header, const uint8_t *bytes, size_t size) {
    if (header->reason != NULL) {
        return PARSE_NO;
    }
    if (header->size > 0) {
        return PARSE_DONE;
    }
    if (header->version == 0 && size > 0 && version_decide(header, bytes[0]) == PARSE_NO) {
        return PARSE_NO;
    }
    if (header->version == 0) {
        return PARSE_MORE;
    }
    return header->version == PROXY_V1 ? line_walk(header, bytes, size) : block_walk(header, bytes, size);
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

/* An IPv4 address may be written as an IPv6 one (a dual-stack socket does), and an IPv6 one has to be when the other
 * is.
 */
static bool is_v4(const struct address *address) {
    return address_family(address) == AF_INET ||
           (address_family(address) == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr));
}

static bool is_ip(const struct address *address) {
    return address_family(address) == AF_INET || address_family(address) == AF_INET6;
}

static void ip_write(const struct address *address, uint8_t ip[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (address_family(address) == AF_INET) {
        memcpy(ip, mapped, sizeof(mapped));
        memcpy(ip + sizeof(mapped), &address->v4.sin_addr, 4);
    } else {
        memcpy(ip, &address->v6.sin6_addr, 16);
    }
}

static uint8_t family_of(const struct address *source, const struct address *destination) {
    if (address_is_unix(source) && address_is_unix(destination)) {
        return FAMILY_UNIX;
    }
    if (!is_ip(source) || !is_ip(destination)) {
        return FAMILY_UNKNOWN;
    }
    return is_v4(source) && is_v4(destination) ? FAMILY_TCP4 : FAMILY_TCP6;
}

static size_t line_write(char *line, uint8_t family, const struct address *source, const struct address *destination) {
    if (family != FAMILY_TCP4 && family != FAMILY_TCP6) {
        return (size_t)snprintf(line, PROXY_V1_MAX + 1, "PROXY UNKNOWN\r\n");
    }
    uint8_t ips[2][16];
    char texts[2][INET6_ADDRSTRLEN];
    ip_write(source, ips[0]);
    ip_write(destination, ips[1]);
    bool v4 = family == FAMILY_TCP4;
    for (int i = 0; i < 2; i++) {
        inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? ips[i] + 12 : ips[i], texts[i], sizeof(texts[i]));
    }
    return (size_t)snprintf(line, PROXY_V1_MAX + 1, "PROXY %s %s %s %u %u\r\n", v4 ? "TCP4" : "TCP6", texts[0],
                            texts[1], address_port(source), address_port(destination));
}

static void unix_write(uint8_t name[UNIX_NAME_SIZE], const struct address *address) {
    size_t size = address->length - sizeof(sa_family_t);
    memset(name, 0, UNIX_NAME_SIZE);
    memcpy(name, address->local.sun_path, size < UNIX_NAME_SIZE ? size : UNIX_NAME_SIZE);
}

static void addresses_write(uint8_t *bytes, uint8_t family, const struct address *source,
                            const struct address *destination) {
    if (family == FAMILY_UNIX) {
        unix_write(bytes, source);
        unix_write(bytes + UNIX_NAME_SIZE, destination);
        return;
    }
    uint8_t ips[2][16];
    size_t size = family == FAMILY_TCP4 ? 4 : 16;
    ip_write(source, ips[0]);
    ip_write(destination, ips[1]);
    memcpy(bytes, ips[0] + 16 - size, size);
    memcpy(bytes + size, ips[1] + 16 - size, size);
    uint16_t ports[2] = {htons(address_port(source)), htons(address_port(destination))};
    memcpy(bytes + 2 * size, ports, sizeof(ports));
}

static size_t block_write(uint8_t *bytes, uint8_t family, const struct address *source,
                          const struct address *destination) {
    uint32_t rest = addresses_size(family);
    memcpy(bytes, signature, SIGNATURE_SIZE);
    bytes[AT_COMMAND] = family == FAMILY_UNKNOWN ? COMMAND_LOCAL : COMMAND_PROXY;
    bytes[AT_FAMILY] = family;
    bytes[AT_SIZE] = 0;
    bytes[AT_SIZE + 1] = (uint8_t)rest;
    if (rest > 0) {
        addresses_write(bytes + PROXY_V2_PREFIX, family, source, destination);
    }
    return PROXY_V2_PREFIX + rest;
}

size_t proxy_header_write(uint8_t *bytes, unsigned version, const struct address *source,
                          const struct address *destination) {
    uint8_t family = family_of(source, destination);
    return version == PROXY_V1 ? line_write((char *)bytes, family, source, destination)
                               : block_write(bytes, family, source, destination);
}
