#include "base/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct address parsed(const char *text) {
    struct address address;
    struct error error = {.text = ""};
    cr_assert(address_parse(&address, text, true, &error), "%s: %s", text, error.text);
    return address;
}

static void expect_error(const char *text, const char *wanted) {
    struct address address;
    struct error error = {.text = ""};
    cr_assert_not(address_parse(&address, text, false, &error), "\"%s\" was read", text);
    cr_assert_not_null(strstr(error.text, wanted), "\"%s\": %s", text, error.text);
}

static void expect_text(const struct address *address, const char *wanted) {
    char text[ADDRESS_TEXT_MAX];
    cr_assert_eq(address_format(address, text, sizeof(text)), strlen(wanted));
    cr_assert_str_eq(text, wanted);
}

/* unix:PREFIX and as many x as make the name behind `unix:` `length` bytes long. */
static const char *unix_text(char text[256], const char *prefix, size_t length) {
    memset(text, 'x', 256);
    memcpy(text, "unix:", 5);
    memcpy(text + 5, prefix, strlen(prefix));
    text[5 + length] = 0;
    return text;
}

Test(address, reads_and_writes_the_same_spelling, .timeout = 10) {
    const char *const texts[] = {
        "10.0.0.1:80",     "0.0.0.0:65535",    "255.255.255.255:1", "[::1]:80",       "[::]:443",
        "[2001:db8::1]:1", "unix:/run/x.sock", "unix:relative",     "unix:@abstract", "unix:@a:b@c",
    };
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        struct address address = parsed(texts[index]);
        expect_text(&address, texts[index]);
    }
}

Test(address, fills_what_the_kernel_wants_of_an_ipv4_address, .timeout = 10) {
    struct address address = parsed("10.1.2.3:80");
    cr_assert_eq(address_family(&address), AF_INET);
    cr_assert_eq(address.length, sizeof(struct sockaddr_in));
    cr_assert_eq(address.v4.sin_addr.s_addr, htonl(0x0a010203));
    cr_assert_eq(address.v4.sin_port, htons(80));
}

Test(address, fills_what_the_kernel_wants_of_an_ipv6_address, .timeout = 10) {
    struct address address = parsed("[::1]:80");
    cr_assert_eq(address_family(&address), AF_INET6);
    cr_assert_eq(address.length, sizeof(struct sockaddr_in6));
    cr_assert(IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr));
    cr_assert_eq(address.v6.sin6_port, htons(80));
}

Test(address, fills_what_the_kernel_wants_of_unix_names, .timeout = 10) {
    struct address path = parsed("unix:/a");
    cr_assert_eq(address_family(&path), AF_UNIX);
    cr_assert_eq(path.length, offsetof(struct sockaddr_un, sun_path) + 3);
    cr_assert_str_eq(path.local.sun_path, "/a");

    struct address abstract = parsed("unix:@ab");
    cr_assert_eq(abstract.length, offsetof(struct sockaddr_un, sun_path) + 3);
    cr_assert_eq(memcmp(abstract.local.sun_path, "\0ab", 3), 0);
}

Test(address, port_zero_is_read_only_where_it_is_allowed, .timeout = 10) {
    struct address address = parsed("127.0.0.1:0");
    cr_assert_eq(address_port(&address), 0);
    expect_error("127.0.0.1:0", "0 is not a port (1-65535)");
}

Test(address, a_wrong_port_is_an_error_that_names_the_range, .timeout = 10) {
    expect_error("10.0.0.1:70000", "70000 is not a port (1-65535)");
    expect_error("10.0.0.1:http", "http is not a port (1-65535)");
    expect_error("[::1]:-1", "-1 is not a port (1-65535)");
    expect_error("10.0.0.1:080", "080 is not a port (1-65535)");
    expect_error("10.0.0.1:", "nothing is not a port (1-65535)");
}

Test(address, a_wrong_host_is_an_error_that_shows_the_forms, .timeout = 10) {
    const char *const texts[] = {
        "",
        "80",
        ":80",
        "10.0.0.1",
        "10.0.0:80",
        "256.0.0.1:80",
        "010.0.0.1:80",
        "localhost:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[]:80",
        "[::1:80",
        "[10.0.0.1]:80",
        "[::g]:80",
        "unixx:/a",
        " 10.0.0.1:80",
        "10.0.0.1 :80",
        "[::1%lo]:80",
        "[::1]x:80",
        "]:80",
        "1111111111111111111111111111111111111111111111111:80",
    };
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        expect_error(texts[index], "is not an address: write 10.0.0.1:80, [::1]:80, unix:/path or unix:@name");
    }
}

Test(address, a_failed_parse_leaves_the_address_alone, .timeout = 10) {
    struct address address = parsed("10.0.0.1:80");
    struct error error;
    cr_assert_not(address_parse(&address, "[::1]:70000", false, &error));
    expect_text(&address, "10.0.0.1:80");
}

Test(address, unix_names_have_at_most_107_bytes, .timeout = 10) {
    char text[256];
    struct address longest_path = parsed(unix_text(text, "/", 107));
    expect_text(&longest_path, text);
    struct address longest_abstract = parsed(unix_text(text, "@", 108));
    cr_assert_eq(longest_abstract.length, sizeof(struct sockaddr_un));
    expect_text(&longest_abstract, text);
    expect_error(unix_text(text, "/", 108), "has 108 bytes (at most 107)");
    expect_error(unix_text(text, "@", 109), "has 108 bytes (at most 107)");
}

Test(address, unix_without_a_name_is_an_error, .timeout = 10) {
    expect_error("unix:", "unix: has no name: write unix:/path or unix:@name");
    expect_error("unix:@", "unix:@ has no name");
}

Test(address, writes_a_mapped_ipv4_address_as_ipv4, .timeout = 10) {
    struct address address = parsed("[::ffff:10.0.0.1]:80");
    expect_text(&address, "10.0.0.1:80");
}

Test(address, writes_a_unix_peer_without_a_name, .timeout = 10) {
    struct address address = {.length = sizeof(sa_family_t), .local = {.sun_family = AF_UNIX}};
    expect_text(&address, "unix:");
}

Test(address, writes_a_path_with_or_without_its_counted_zero, .timeout = 10) {
    struct address address = parsed("unix:/run/x");
    address.length = sizeof(struct sockaddr_un);
    expect_text(&address, "unix:/run/x");
    address.length = offsetof(struct sockaddr_un, sun_path) + 6; /* "/run/x" */
    expect_text(&address, "unix:/run/x");
    memset(address.local.sun_path, 'x', sizeof(address.local.sun_path)); /* Linux takes 108 bytes without a 0 */
    address.length = sizeof(struct sockaddr_un);
    char text[ADDRESS_TEXT_MAX];
    cr_assert_eq(address_format(&address, text, sizeof(text)), 5 + 108);
}

Test(address, writes_zeros_in_an_abstract_name_as_at_signs, .timeout = 10) {
    struct address address = parsed("unix:@abc");
    address.local.sun_path[2] = 0;
    expect_text(&address, "unix:@a@c");
}

Test(address, writes_a_dash_for_no_family, .timeout = 10) {
    struct address address = {.length = 0};
    expect_text(&address, "-");
    cr_assert_eq(address_family(&address), AF_UNSPEC);
    cr_assert_eq(address_port(&address), 0);
}

Test(address, cuts_a_text_that_does_not_fit, .timeout = 10) {
    struct address address = parsed("10.0.0.1:80");
    char text[8];
    cr_assert_eq(address_format(&address, text, sizeof(text)), 7);
    cr_assert_str_eq(text, "10.0.0.");
    cr_assert_eq(address_format(&address, text, 1), 0);
    cr_assert_str_eq(text, "");
}

Test(address, a_text_without_room_is_a_bug, .timeout = 10, .signal = SIGABRT) {
    struct address address = parsed("10.0.0.1:80");
    char text[1];
    address_format(&address, text, 0);
}

Test(address, is_equal_by_family_host_and_port, .timeout = 10) {
    const char *const texts[] = {
        "10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[::1]:80", "[::2]:80", "unix:/a", "unix:/ab", "unix:@a",
    };
    size_t count = sizeof(texts) / sizeof(texts[0]);
    for (size_t first = 0; first < count; first++) {
        for (size_t second = 0; second < count; second++) {
            struct address a = parsed(texts[first]);
            struct address b = parsed(texts[second]);
            cr_assert_eq(address_equal(&a, &b), first == second, "%s and %s", texts[first], texts[second]);
        }
    }
}

Test(address, is_equal_whatever_lies_in_the_padding, .timeout = 10) {
    struct address a = parsed("10.0.0.1:80");
    struct address b = parsed("10.0.0.1:80");
    memset(b.v4.sin_zero, 0xff, sizeof(b.v4.sin_zero));
    cr_assert(address_equal(&a, &b));
    struct address path = parsed("unix:/a");
    struct address as_the_kernel_tells_it = path;
    as_the_kernel_tells_it.length = sizeof(struct sockaddr_un);
    cr_assert(address_equal(&path, &as_the_kernel_tells_it));
}

Test(address, differs_by_the_interface_of_an_ipv6_address, .timeout = 10) {
    struct address a = parsed("[fe80::1]:80");
    struct address b = parsed("[fe80::1]:80");
    b.v6.sin6_scope_id = 2;
    cr_assert_not(address_equal(&a, &b));
}

Test(address, addresses_of_no_family_are_equal, .timeout = 10) {
    struct address a = {.length = 0};
    struct address b = {.length = 0};
    cr_assert(address_equal(&a, &b));
}

Test(address, knows_unix_from_internet, .timeout = 10) {
    struct address local = parsed("unix:/a");
    struct address v6 = parsed("[::1]:80");
    cr_assert(address_is_unix(&local));
    cr_assert_not(address_is_unix(&v6));
}

Test(address, port_is_read_and_set_where_there_is_one, .timeout = 10) {
    struct address v4 = parsed("10.0.0.1:80");
    address_set_port(&v4, 65535);
    cr_assert_eq(address_port(&v4), 65535);
    expect_text(&v4, "10.0.0.1:65535");
    struct address v6 = parsed("[::1]:80");
    address_set_port(&v6, 1);
    cr_assert_eq(address_port(&v6), 1);
    struct address local = parsed("unix:/a");
    address_set_port(&local, 80);
    cr_assert_eq(address_port(&local), 0);
    expect_text(&local, "unix:/a");
}

Test(address, any_is_every_local_address, .timeout = 10) {
    struct address address;
    address_any_v6(&address, 8080);
    expect_text(&address, "[::]:8080");
    cr_assert_eq(address.length, sizeof(struct sockaddr_in6));
    address_any_v4(&address, 8080);
    expect_text(&address, "0.0.0.0:8080");
    cr_assert_eq(address.length, sizeof(struct sockaddr_in));
}

Test(address, splits_host_names_from_ports, .timeout = 10) {
    const char *const names[] = {"localhost", "db.internal", "DB-1.example_x.com", "a.", "1a", "3com.example", "_srv"};
    for (size_t index = 0; index < sizeof(names) / sizeof(names[0]); index++) {
        char text[64];
        snprintf(text, sizeof(text), "%s:5432", names[index]);
        char host[64];
        uint16_t port;
        cr_assert(address_split_host(text, host, sizeof(host), &port), "%s", text);
        cr_assert_str_eq(host, names[index]);
        cr_assert_eq(port, 5432);
    }
}

Test(address, takes_nothing_else_for_a_host_name, .timeout = 10) {
    const char *const texts[] = {
        "",        "host",         "host:",  "host:0",    "host:65536", "host:x",         ":80",   "10.0.0.1:80",
        "10.1:80", "256.0.0.1:80", "1:80",   "a.b.1.:80", "[::1]:80",   "::1:80",         "-a:80", ".a:80",
        "a..b:80", "a b:80",       "a/b:80", "unix:/a",   "unix:@a",    "h\xc3\xa4st:80",
    };
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        char host[64];
        uint16_t port;
        cr_assert_not(address_split_host(texts[index], host, sizeof(host), &port), "%s", texts[index]);
    }
}

Test(address, a_host_name_must_fit_its_room, .timeout = 10) {
    char host[5];
    uint16_t port;
    cr_assert(address_split_host("abcd:1", host, sizeof(host), &port));
    cr_assert_not(address_split_host("abcde:1", host, sizeof(host), &port));
}
