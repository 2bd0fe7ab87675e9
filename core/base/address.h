/* Socket addresses: IPv4, IPv6, unix stream and abstract unix, and their one spelling as text. */
#ifndef MOONRING_BASE_ADDRESS_H
#define MOONRING_BASE_ADDRESS_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    };
};

enum { ADDRESS_TEXT_MAX = 128 }; /* the longest text with its 0: unix:@ + 107 bytes */

/* Reads `10.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:@abstract`. Ports are 1-65535 (0 too where `zero_port` is set).
 * The error says what is allowed. No names are looked up. A unix path may be relative; it has at most 107 bytes. */
bool address_parse(struct address *address, const char *text, bool zero_port, struct error *error);

/* Splits `name:port` where name is a host name (letters, digits, - . _; not an IP address). False when it is none. */
bool address_split_host(const char *text, char *host, size_t host_size, uint16_t *port);

/* Writes the spelling that address_parse reads; an IPv4-mapped IPv6 address is written as IPv4. Always ends in 0.
 * A unix peer without a name (the usual client) is `unix:`, an address of no family `-`. A text that does not fit is
 * cut (ADDRESS_TEXT_MAX always fits). Returns the length of what was written. */
size_t address_format(const struct address *address, char *text, size_t text_size);

bool address_equal(const struct address *a, const struct address *b);
int address_family(const struct address *address);
bool address_is_unix(const struct address *address);
/* 0 for unix addresses. */
uint16_t address_port(const struct address *address);
void address_set_port(struct address *address, uint16_t port);
/* `[::]:port`. */
void address_any_v6(struct address *address, uint16_t port);
/* `0.0.0.0:port`. */
void address_any_v4(struct address *address, uint16_t port);

#endif
