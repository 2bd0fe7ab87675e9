/* IP addresses in blocks (`10.0.0.0/8`), and whether one lies in a set of them. IPv4 and IPv6 do not meet: ::/0 holds
 * no IPv4 address, and an IPv4-mapped one (::ffff:10.0.0.1) is the IPv4 address that it stands for. */
#ifndef MOONRING_BASE_CIDR_H
#define MOONRING_BASE_CIDR_H

#include "base/address.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cidr_ip {
    bool v6;
    uint64_t high; /* 0 for IPv4 */
    uint64_t low;
};

/* From the first address to the last, both included. */
struct cidr {
    struct cidr_ip first;
    struct cidr_ip last;
};

/* Reads `10.0.0.1` or `::1`, without a zone (`%eth0`). */
bool cidr_parse_ip(struct cidr_ip *ip, const char *text);
/* That of a socket address; false: it is none of an IP. */
bool cidr_ip_of(struct cidr_ip *ip, const struct address *address);
/* Below 0, 0 or above: a stands before b, is b, stands behind it. IPv4 addresses stand before IPv6 ones. */
int cidr_compare_ip(const struct cidr_ip *a, const struct cidr_ip *b);
/* Goes on to the address behind; false: it was the last one. */
bool cidr_next_ip(struct cidr_ip *ip);
/* Reads such an address, or one with the length of its prefix behind a slash. Bits behind the prefix must be 0. */
bool cidr_parse(struct cidr *cidr, const char *text, struct error *error);

/* Makes a set of an array, in place: sorts it and drops what lies in others. Returns how many are left. Takes
 * n log n steps, and for large arrays memory of the same size for the moment. */
size_t cidr_sort(struct cidr *cidrs, size_t count);
/* Whether the address lies in the set that cidr_sort made, in log n steps. */
bool cidr_contains(const struct cidr *cidrs, size_t count, const struct cidr_ip *ip);

#endif
