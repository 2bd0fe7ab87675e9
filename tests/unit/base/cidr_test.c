#include "base/cidr.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- reading ------------------------------------------------------------------------------------------------------ */

static struct cidr parsed(const char *text) {
    struct cidr cidr;
    struct error error = {.text = ""};
    cr_assert(cidr_parse(&cidr, text, &error), "%s", error.text);
    return cidr;
}

static struct cidr_ip ip_of(const char *text) {
    struct cidr_ip ip;
    cr_assert(cidr_parse_ip(&ip, text), "%s", text);
    return ip;
}

static bool holds(const char *cidr_text, const char *ip_text) {
    struct cidr cidr = parsed(cidr_text);
    struct cidr_ip ip = ip_of(ip_text);
    return cidr_contains(&cidr, 1, &ip);
}

Test(cidr, holds_its_first_and_last_address_and_no_neighbour, .timeout = 10) {
    static const char *const cases[][5] = {
        /* block, one below, first, last, one above */
        {"10.0.0.0/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"10.1.2.3", "10.1.2.2", "10.1.2.3", "10.1.2.3", "10.1.2.4"},
        {"10.1.2.2/31", "10.1.2.1", "10.1.2.2", "10.1.2.3", "10.1.2.4"},
        {"128.0.0.0/1", "127.255.255.255", "128.0.0.0", "255.255.255.255", "::"},
        {"2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
         "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
        {"fe80::/64", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "fe80::ffff:ffff:ffff:ffff", "fe80:0:0:1::"},
        {"2001:db8::/63", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff",
         "2001:db8:0:2::"},
        {"2001:db8::8000:0:0:0/65", "2001:db8::7fff:ffff:ffff:ffff", "2001:db8::8000:0:0:0",
         "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"},
        {"::1", "::", "::1", "::1", "::2"},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        const char *const *texts = cases[index];
        cr_expect_not(holds(texts[0], texts[1]), "%s holds %s", texts[0], texts[1]);
        cr_expect(holds(texts[0], texts[2]), "%s lacks %s", texts[0], texts[2]);
        cr_expect(holds(texts[0], texts[3]), "%s lacks %s", texts[0], texts[3]);
        cr_expect_not(holds(texts[0], texts[4]), "%s holds %s", texts[0], texts[4]);
    }
}

Test(cidr, keeps_ipv4_and_ipv6_apart, .timeout = 10) {
    cr_expect(holds("0.0.0.0/0", "10.0.0.1"));
    cr_expect_not(holds("0.0.0.0/0", "::1"));
    cr_expect(holds("::/0", "::1"));
    cr_expect_not(holds("::/0", "10.0.0.1"));
    cr_expect_not(holds("::/0", "::ffff:10.0.0.1"));
    cr_expect_not(holds("::/80", "10.0.0.1"));
}

Test(cidr, takes_a_mapped_address_for_the_ipv4_one, .timeout = 10) {
    cr_expect(holds("10.0.0.0/8", "::ffff:10.0.0.1"));
    cr_expect(holds("::ffff:10.0.0.0/104", "10.255.0.1"));
    cr_expect(holds("::ffff:10.0.0.1", "10.0.0.1"));
    cr_expect(holds("::ffff:0:0/96", "1.2.3.4"));
    cr_expect_not(holds("::ffff:0:0/96", "::fffe:1.2.3.4"));
}

Test(cidr, says_what_is_wrong_with_a_text, .timeout = 10) {
    static const char *const cases[][2] = {
        {"", "\"\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {"10.0.0", "\"10.0.0\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {"010.0.0.0/8", "\"010.0.0.0/8\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {"example.com", "\"example.com\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {" ::1", "\" ::1\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {"fe80::1%eth0", "\"fe80::1%eth0\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {"/8", "\"/8\" is neither an IP address nor a block of them (10.0.0.0/8, 2001:db8::/32)"},
        {"10.0.0.0/", "\"10.0.0.0/\": the number behind the slash is 0 to 32"},
        {"10.0.0.0/33", "\"10.0.0.0/33\": the number behind the slash is 0 to 32"},
        {"10.0.0.0/08", "\"10.0.0.0/08\": the number behind the slash is 0 to 32"},
        {"10.0.0.0/+8", "\"10.0.0.0/+8\": the number behind the slash is 0 to 32"},
        {"10.0.0.0/8 ", "\"10.0.0.0/8 \": the number behind the slash is 0 to 32"},
        {"10.0.0.0/4294967304", "\"10.0.0.0/4294967304\": the number behind the slash is 0 to 32"},
        {"::/129", "\"::/129\": the number behind the slash is 0 to 128"},
        {"10.0.0.1/8", "\"10.0.0.1/8\" has bits set behind its first 8: write 10.0.0.0/8"},
        {"::1/0", "\"::1/0\" has bits set behind its first 0: write ::/0"},
        {"2001:db8::1/64", "\"2001:db8::1/64\" has bits set behind its first 64: write 2001:db8::/64"},
    };
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        struct cidr cidr;
        struct error error = {.text = ""};
        cr_expect_not(cidr_parse(&cidr, cases[index][0], &error), "%s", cases[index][0]);
        cr_expect_str_eq(error.text, cases[index][1], "says\n%s\ninstead of\n%s", error.text, cases[index][1]);
    }
    struct cidr_ip ip;
    cr_expect_not(cidr_parse_ip(&ip, "10.0.0.0/8"));
    cr_expect_not(cidr_parse_ip(&ip, ""));
}

Test(cidr, survives_a_long_text, .timeout = 10) {
    char text[5000];
    memset(text, ':', sizeof(text));
    text[sizeof(text) - 1] = 0;
    struct cidr cidr;
    struct error error;
    cr_assert_not(cidr_parse(&cidr, text, &error));
    cr_assert_lt(strlen(error.text), 200);
}

/* --- sets --------------------------------------------------------------------------------------------------------- */

Test(cidr, drops_what_lies_in_others, .timeout = 10) {
    static const char *const texts[] = {"10.1.0.0/16", "::1",        "10.0.0.0/8", "10.255.0.0/16",
                                        "11.0.0.0/8",  "10.0.0.0/9", "::1",        "10.0.0.0/8"};
    struct cidr set[sizeof(texts) / sizeof(texts[0])];
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        set[index] = parsed(texts[index]);
    }
    cr_assert_eq(cidr_sort(set, sizeof(texts) / sizeof(texts[0])), 3);
    struct cidr_ip inside = ip_of("10.255.255.255");
    struct cidr_ip outside = ip_of("12.0.0.0");
    cr_assert(cidr_contains(set, 3, &inside));
    cr_assert_not(cidr_contains(set, 3, &outside));
}

Test(cidr, has_empty_sets, .timeout = 10) {
    struct cidr_ip ip = ip_of("::1");
    cr_assert_eq(cidr_sort(NULL, 0), 0);
    cr_assert_not(cidr_contains(NULL, 0, &ip));
}

/* Small numbers, so that blocks often lie in each other; IPv4 and IPv6 of the same bits. */
static struct cidr random_cidr(unsigned *seed) {
    char text[64];
    unsigned bits = (unsigned)rand_r(seed) % 9;
    unsigned value = (unsigned)rand_r(seed) % 256 >> bits << bits;
    if (rand_r(seed) % 2 == 0) {
        snprintf(text, sizeof(text), "10.0.0.%u/%u", value, 32 - bits);
    } else {
        snprintf(text, sizeof(text), "2001:db8::%x/%u", value, 128 - bits);
    }
    return parsed(text);
}

static bool holds_one_by_one(const struct cidr *cidrs, size_t count, const struct cidr_ip *ip) {
    for (size_t index = 0; index < count; index++) {
        if (cidr_contains(&cidrs[index], 1, ip)) {
            return true;
        }
    }
    return false;
}

Test(cidr, finds_what_a_look_at_each_block_finds, .timeout = 30) {
    enum { COUNT_MAX = 12 };
    unsigned seed = 1;
    for (int round = 0; round < 2000; round++) {
        struct cidr all[COUNT_MAX];
        struct cidr set[COUNT_MAX];
        size_t count = (size_t)(rand_r(&seed) % COUNT_MAX);
        for (size_t index = 0; index < count; index++) {
            all[index] = random_cidr(&seed);
        }
        memcpy(set, all, count * sizeof(all[0]));
        size_t left = cidr_sort(set, count);
        for (unsigned value = 0; value < 256; value++) {
            struct cidr_ip ips[] = {{.low = 0x0a000000 + value},
                                    {.v6 = true, .high = UINT64_C(0x20010db800000000), .low = value}};
            for (int family = 0; family < 2; family++) {
                bool expected = holds_one_by_one(all, count, &ips[family]);
                cr_assert_eq(cidr_contains(set, left, &ips[family]), expected, "round %d: %d", round, value);
            }
        }
    }
}
