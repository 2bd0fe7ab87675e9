#include "base/address.h"

#include "base/check.h"
#include "base/units.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const char address_forms[] = "10.0.0.1:80, [::1]:80, unix:/path or unix:@name";
static const char unix_prefix[] = "unix:";
enum { UNIX_PREFIX_LENGTH = sizeof(unix_prefix) - 1 };
enum { UNIX_NAME_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1 };
enum { UNIX_NAME_OFFSET = offsetof(struct sockaddr_un, sun_path) };

static bool address_parse_unix(struct address *address, const char *name, struct error *error) {
    bool is_abstract = name[0] == '@';
    size_t length = strlen(name);
    size_t length_max = is_abstract ? UNIX_NAME_MAX + 1 : UNIX_NAME_MAX; /* the @ stands for a byte of 0 */
    if (length == (is_abstract ? 1 : 0)) {
        return error_set(error, "unix:%s has no name: write unix:/path or unix:@name", name);
    }
    if (length > length_max) {
        return error_set(error, "the unix socket name %.40s... has %zu bytes (at most %d)", name,
                         is_abstract ? length - 1 : length, UNIX_NAME_MAX);
    }
    *address = (struct address){.local = {.sun_family = AF_UNIX}};
    memcpy(address->local.sun_path, name, length);
    if (is_abstract) {
        address->local.sun_path[0] = 0;
    }
    /* A path is sent with its 0; in an abstract name every byte counts. */
    address->length = (socklen_t)(UNIX_NAME_OFFSET + length + (is_abstract ? 0 : 1));
    return true;
}

static bool address_parse_port(const char *text, bool zero_port, uint16_t *port, struct error *error) {
    uint64_t value;
    uint64_t port_min = zero_port ? 0 : 1;
    if (!units_parse_integer(text, port_min, UINT16_MAX, &value, error)) {
        return error_set(error, "%.40s is not a port (%d-%d)", text[0] != 0 ? text : "nothing", (int)port_min,
                         UINT16_MAX);
    }
    *port = (uint16_t)value;
    return true;
}

/* Finds the host's text (without brackets) and the port's behind the last colon. */
static bool address_split(const char *text, char *host, size_t host_size, const char **port) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text) {
        return false;
    }
    const char *begin = text;
    const char *end = colon;
    if (text[0] == '[') {
        begin++;
        end--;
        if (end <= begin || *end != ']') {
            return false;
        }
    }
    size_t length = (size_t)(end - begin);
    if (length >= host_size) {
        return false;
    }
    memcpy(host, begin, length);
    host[length] = 0;
    *port = colon + 1;
    return true;
}

bool address_parse(struct address *address, const char *text, bool zero_port, struct error *error) {
    if (strncmp(text, unix_prefix, UNIX_PREFIX_LENGTH) == 0) {
        return address_parse_unix(address, text + UNIX_PREFIX_LENGTH, error);
    }
    char host[INET6_ADDRSTRLEN];
    const char *port_text;
    if (!address_split(text, host, sizeof(host), &port_text)) {
        return error_set(error, "\"%.200s\" is not an address: write %s", text, address_forms);
    }
    struct address parsed = {.length = 0};
    if (text[0] == '[' && inet_pton(AF_INET6, host, &parsed.v6.sin6_addr) == 1) {
        parsed.v6.sin6_family = AF_INET6;
        parsed.length = sizeof(parsed.v6);
    } else if (text[0] != '[' && inet_pton(AF_INET, host, &parsed.v4.sin_addr) == 1) {
        parsed.v4.sin_family = AF_INET;
        parsed.length = sizeof(parsed.v4);
    } else {
        return error_set(error, "\"%.200s\" is not an address: write %s", text, address_forms);
    }
    uint16_t port = 0;
    if (!address_parse_port(port_text, zero_port, &port, error)) {
        return false;
    }
    address_set_port(&parsed, port);
    *address = parsed;
    return true;
}

/* A name whose last part is a number is a mistyped IPv4 address, and resolvers take 10.1 for one. */
static bool host_is_name(const char *host) {
    static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    if (host[strspn(host, characters)] != 0 || host[0] == '-' || host[0] == '.' || strstr(host, "..") != NULL) {
        return false;
    }
    const char *last_part = host;
    for (const char *dot = strchr(host, '.'); dot != NULL && dot[1] != 0; dot = strchr(dot + 1, '.')) {
        last_part = dot + 1;
    }
    const char *behind_digits = last_part + strspn(last_part, "0123456789");
    return *behind_digits != 0 && *behind_digits != '.';
}

bool address_split_host(const char *text, char *host, size_t host_size, uint16_t *port) {
    struct error error;
    const char *port_text;
    return text[0] != '[' && address_split(text, host, host_size, &port_text) && host_is_name(host) &&
           address_parse_port(port_text, false, port, &error);
}

/* The bytes of a unix name without the 0 that may end a path: kernels count it, callers need not. */
static size_t unix_name_length(const struct address *address) {
    size_t length = address->length > UNIX_NAME_OFFSET ? address->length - UNIX_NAME_OFFSET : 0;
    bool is_path = length > 0 && address->local.sun_path[0] != 0;
    return is_path ? strnlen(address->local.sun_path, length) : length;
}

static void address_format_unix(const struct address *address, char text[ADDRESS_TEXT_MAX]) {
    size_t length = unix_name_length(address);
    memcpy(text, unix_prefix, UNIX_PREFIX_LENGTH);
    for (size_t index = 0; index < length; index++) {
        char character = address->local.sun_path[index];
        text[UNIX_PREFIX_LENGTH + index] = character != 0 ? character : '@';
    }
    text[UNIX_PREFIX_LENGTH + length] = 0;
}

static void address_format_v6(const struct address *address, char text[ADDRESS_TEXT_MAX]) {
    const struct in6_addr *ip = &address->v6.sin6_addr;
    char ip_text[INET6_ADDRSTRLEN];
    if (IN6_IS_ADDR_V4MAPPED(ip)) {
        inet_ntop(AF_INET, &ip->s6_addr[12], ip_text, sizeof(ip_text));
        snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", ip_text, address_port(address));
    } else {
        inet_ntop(AF_INET6, ip, ip_text, sizeof(ip_text));
        snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", ip_text, address_port(address));
    }
}

static void address_format_v4(const struct address *address, char text[ADDRESS_TEXT_MAX]) {
    char ip_text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->v4.sin_addr, ip_text, sizeof(ip_text));
    snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", ip_text, address_port(address));
}

size_t address_format(const struct address *address, char *text, size_t text_size) {
    check(text_size > 0);
    char whole[ADDRESS_TEXT_MAX] = "-";
    if (address_is_unix(address)) {
        address_format_unix(address, whole);
    } else if (address_family(address) == AF_INET6) {
        address_format_v6(address, whole);
    } else if (address_family(address) == AF_INET) {
        address_format_v4(address, whole);
    }
    size_t length = strnlen(whole, text_size - 1);
    memcpy(text, whole, length);
    text[length] = 0;
    return length;
}

bool address_equal(const struct address *a, const struct address *b) {
    if (address_family(a) != address_family(b) || address_port(a) != address_port(b)) {
        return false;
    }
    switch (address_family(a)) {
    case AF_INET:
        return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    case AF_INET6:
        return memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0 &&
               a->v6.sin6_scope_id == b->v6.sin6_scope_id;
    case AF_UNIX: {
        size_t length = unix_name_length(a);
        return length == unix_name_length(b) && memcmp(a->local.sun_path, b->local.sun_path, length) == 0;
    }
    }
    return true; /* both of no family */
}

int address_family(const struct address *address) {
    return address->length >= sizeof(sa_family_t) ? address->any.sa_family : AF_UNSPEC;
}

bool address_is_unix(const struct address *address) {
    return address_family(address) == AF_UNIX;
}

uint16_t address_port(const struct address *address) {
    switch (address_family(address)) {
    case AF_INET:
        return ntohs(address->v4.sin_port);
    case AF_INET6:
        return ntohs(address->v6.sin6_port);
    }
    return 0;
}

void address_set_port(struct address *address, uint16_t port) {
    switch (address_family(address)) {
    case AF_INET:
        address->v4.sin_port = htons(port);
        break;
    case AF_INET6:
        address->v6.sin6_port = htons(port);
        break;
    }
}

void address_any_v6(struct address *address, uint16_t port) {
    *address = (struct address){
        .length = sizeof(address->v6),
        .v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_ANY_INIT},
    };
}

void address_any_v4(struct address *address, uint16_t port) {
    *address = (struct address){
        .length = sizeof(address->v4),
        .v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_ANY)}},
    };
}
