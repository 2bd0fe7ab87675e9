#include "base/cidr.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = INET6_ADDRSTRLEN };

static const uint64_t mapped = UINT64_C(0xffff) << 32; /* ::ffff:0:0/96, its lower half */

static unsigned ip_bits(const struct cidr_ip *ip) {
    return ip->v6 ? 128 : 32;
}

int cidr_compare_ip(const struct cidr_ip *a, const struct cidr_ip *b) {
    if (a->v6 != b->v6) {
        return a->v6 ? 1 : -1;
    }
    if (a->high != b->high) {
        return a->high > b->high ? 1 : -1;
    }
    return (a->low > b->low) - (a->low < b->low);
}

static struct cidr_ip ip_of_v4(struct in_addr address) {
    return (struct cidr_ip){.low = be32toh(address.s_addr)};
}

static struct cidr_ip ip_of_v6(const struct in6_addr *address) {
    uint64_t halves[2];
    memcpy(halves, address, sizeof(halves));
    return (struct cidr_ip){.v6 = true, .high = be64toh(halves[0]), .low = be64toh(halves[1])};
}

/* Takes an IPv6 address for what it is, also if it stands for an IPv4 one. */
static bool ip_read(struct cidr_ip *ip, const char *text) {
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        *ip = ip_of_v4(v4);
        return true;
    }
    struct in6_addr v6;
    if (inet_pton(AF_INET6, text, &v6) != 1) {
        return false;
    }
    *ip = ip_of_v6(&v6);
    return true;
}

static bool ip_is_mapped(const struct cidr_ip *ip) {
    return ip->v6 && ip->high == 0 && (ip->low & ~(uint64_t)UINT32_MAX) == mapped;
}

static void ip_unmap(struct cidr_ip *ip) {
    *ip = (struct cidr_ip){.low = ip->low & UINT32_MAX};
}

static const char *ip_write(const struct cidr_ip *ip, char text[static TEXT_SIZE]) {
    if (ip->v6) {
        uint64_t halves[2] = {htobe64(ip->high), htobe64(ip->low)};
        return inet_ntop(AF_INET6, halves, text, TEXT_SIZE);
    }
    struct in_addr v4 = {.s_addr = htobe32((uint32_t)ip->low)};
    return inet_ntop(AF_INET, &v4, text, TEXT_SIZE);
}

bool cidr_parse_ip(struct cidr_ip *ip, const char *text) {
    if (!ip_read(ip, text)) {
        return false;
    }
    if (ip_is_mapped(ip)) {
        ip_unmap(ip);
    }
    return true;
}

bool cidr_ip_of(struct cidr_ip *ip, const struct address *address) {
    if (address->length == 0 || (address_family(address) != AF_INET && address_family(address) != AF_INET6)) {
        return false;
    }
    if (address_family(address) == AF_INET) {
        *ip = ip_of_v4(address->v4.sin_addr);
        return true;
    }
    *ip = ip_of_v6(&address->v6.sin6_addr);
    if (ip_is_mapped(ip)) {
        ip_unmap(ip);
    }
    return true;
}

bool cidr_next_ip(struct cidr_ip *ip) {
    if (!ip->v6) {
        bool last = ip->low == UINT32_MAX;
        *ip = (struct cidr_ip){.v6 = last, .low = last ? 0 : ip->low + 1};
        return true;
    }
    ip->low++;
    ip->high += ip->low == 0;
    return ip->low != 0 || ip->high != 0;
}

/* The last `bits` bits of 64, or all. */
static uint64_t low_bits(unsigned bits) {
    return bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* From the address with its last `bits` bits cleared to the one with them set. */
static void cidr_spread(struct cidr *cidr, const struct cidr_ip *ip, unsigned bits) {
    uint64_t low = low_bits(bits);
    uint64_t high = bits > 64 ? low_bits(bits - 64) : 0;
    cidr->first = (struct cidr_ip){.v6 = ip->v6, .high = ip->high & ~high, .low = ip->low & ~low};
    cidr->last = (struct cidr_ip){.v6 = ip->v6, .high = ip->high | high, .low = ip->low | low};
}

/* Reads the number behind the slash: at most three digits, none of them a leading 0. False: it is none, or above max.
 */
static bool length_read(const char *text, unsigned max, unsigned *length) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 3 || text[digits] != 0 || (digits > 1 && text[0] == '0')) {
        return false;
    }
    *length = 0;
    for (size_t index = 0; index < digits; index++) {
        *length = *length * 10 + (unsigned)(text[index] - '0');
    }
    return *length <= max;
}

static bool cidr_refuse_bits(const struct cidr *cidr, const char *text, unsigned length, struct error *error) {
    char first[TEXT_SIZE];
    return error_set(error, "\"%s\" has bits set behind its first %u: write %s/%u", text, length,
                     ip_write(&cidr->first, first), length);
}

bool cidr_parse(struct cidr *cidr, const char *text, struct error *error) {
    size_t size = strcspn(text, "/");
    char address[TEXT_SIZE];
    struct cidr_ip ip;
    memcpy(address, text, size < TEXT_SIZE ? size : 0);
    address[size < TEXT_SIZE ? size : 0] = 0;
    if (!ip_read(&ip, address)) {
        return error_set(error, "\"%.64s\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)",
                         text);
    }
    unsigned length = ip_bits(&ip);
    if (text[size] == '/' && !length_read(text + size + 1, length, &length)) {
        return error_set(error, "\"%.64s\": the number behind the slash is 0 to %u", text, ip_bits(&ip));
    }
    cidr_spread(cidr, &ip, ip_bits(&ip) - length);
    if (cidr_compare_ip(&cidr->first, &ip) != 0) {
        return cidr_refuse_bits(cidr, text, length, error);
    }
    if (ip_is_mapped(&ip) && length >= 96) {
        ip_unmap(&cidr->first);
        ip_unmap(&cidr->last);
    }
    return true;
}

/* A block stands before those that lie in it. */
static int cidr_compare(const void *a, const void *b) {
    const struct cidr *left = a;
    const struct cidr *right = b;
    int order = cidr_compare_ip(&left->first, &right->first);
    return order != 0 ? order : cidr_compare_ip(&right->last, &left->last);
}

size_t cidr_sort(struct cidr *cidrs, size_t count) {
    if (count == 0) {
        return 0;
    }
    qsort(cidrs, count, sizeof(cidrs[0]), cidr_compare);
    size_t last = 0;
    for (size_t index = 1; index < count; index++) {
        /* Two blocks lie one in the other or apart. */
        if (cidr_compare_ip(&cidrs[index].first, &cidrs[last].last) > 0) {
            cidrs[++last] = cidrs[index];
        }
    }
    return last + 1;
}

bool cidr_contains(const struct cidr *cidrs, size_t count, const struct cidr_ip *ip) {
    size_t from = 0;
    while (count > 0) {
        size_t half = count / 2;
        const struct cidr *middle = &cidrs[from + half];
        if (cidr_compare_ip(ip, &middle->first) < 0) {
            count = half;
        } else if (cidr_compare_ip(ip, &middle->last) <= 0) {
            return true;
        } else {
            from += half + 1;
            count -= half + 1;
        }
    }
    return false;
}
