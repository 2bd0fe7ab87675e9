#include "base/admission.h"

#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 200 };

/* Rules as they are written: `+10.0.0.0/8` allows, `-10.0.0.0/8` denies. */
struct table {
    struct admission_rule rules[RULES_MAX];
    size_t count;
    bool otherwise;
    struct cidr_ip turns[2 * RULES_MAX];
    struct admission admission;
};

static void table_init(struct table *table, bool otherwise, const char *const *rules) {
    *table = (struct table){.otherwise = otherwise};
    for (; *rules != NULL; rules++) {
        struct error error;
        struct admission_rule *rule = &table->rules[table->count++];
        rule->allows = (*rules)[0] == '+';
        cr_assert(cidr_parse(&rule->cidr, *rules + 1, &error), "%s", error.text);
    }
    admission_init(&table->admission, otherwise, table->rules, table->count, table->turns);
}

#define TABLE(table, otherwise, ...) table_init(table, otherwise, (const char *const[]){__VA_ARGS__, NULL})

static bool lets_in(const struct table *table, const char *text) {
    struct cidr_ip ip;
    cr_assert(cidr_parse_ip(&ip, text), "%s", text);
    return admission_allows(&table->admission, &ip);
}

Test(admission, lets_only_the_allowed_in_and_knows_their_ends, .timeout = 10) {
    struct table table;
    TABLE(&table, false, "+10.0.0.0/8", "+2001:db8::/32", "+192.0.2.7");
    cr_expect(lets_in(&table, "10.0.0.0"));
    cr_expect(lets_in(&table, "10.255.255.255"));
    cr_expect(lets_in(&table, "192.0.2.7"));
    cr_expect(lets_in(&table, "2001:db8::"));
    cr_expect(lets_in(&table, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"));
    cr_expect_not(lets_in(&table, "9.255.255.255"));
    cr_expect_not(lets_in(&table, "11.0.0.0"));
    cr_expect_not(lets_in(&table, "192.0.2.6"));
    cr_expect_not(lets_in(&table, "192.0.2.8"));
    cr_expect_not(lets_in(&table, "2001:db9::"));
    cr_expect_not(lets_in(&table, "::1"));
}

Test(admission, believes_the_longest_prefix, .timeout = 10) {
    struct table table;
    TABLE(&table, false, "+10.0.0.0/8", "-10.1.0.0/16", "+10.1.2.0/24", "-10.1.2.3");
    cr_expect(lets_in(&table, "10.0.255.255"));
    cr_expect_not(lets_in(&table, "10.1.0.0"));
    cr_expect(lets_in(&table, "10.1.2.0"));
    cr_expect_not(lets_in(&table, "10.1.2.3"));
    cr_expect(lets_in(&table, "10.1.2.4"));
    cr_expect_not(lets_in(&table, "10.1.3.0"));
    cr_expect(lets_in(&table, "10.2.0.0"));
}

Test(admission, denies_what_is_both, .timeout = 10) {
    struct table table;
    TABLE(&table, false, "+10.0.0.0/8", "-10.0.0.0/8", "+10.0.0.0/8", "+172.16.0.0/12");
    cr_expect_not(lets_in(&table, "10.0.0.1"));
    cr_expect(lets_in(&table, "172.16.0.1"));
}

Test(admission, keeps_ipv4_and_ipv6_apart, .timeout = 10) {
    struct table table;
    TABLE(&table, false, "+0.0.0.0/0");
    cr_expect(lets_in(&table, "0.0.0.0"));
    cr_expect(lets_in(&table, "255.255.255.255"));
    cr_expect(lets_in(&table, "::ffff:10.0.0.1"));
    cr_expect_not(lets_in(&table, "::"));
    TABLE(&table, false, "+::/0");
    cr_expect_not(lets_in(&table, "255.255.255.255"));
    cr_expect(lets_in(&table, "::"));
    cr_expect(lets_in(&table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
}

Test(admission, knows_when_nobody_comes_in, .timeout = 10) {
    struct table table;
    TABLE(&table, true, "-0.0.0.0/0", "-::/0");
    cr_expect(admission_is_closed(&table.admission));
    TABLE(&table, true, "-0.0.0.0/0");
    cr_expect_not(admission_is_closed(&table.admission));
    TABLE(&table, false, "+10.0.0.1", "-10.0.0.0/31", "-10.0.0.1");
    cr_expect(admission_is_closed(&table.admission));
    admission_init(&table.admission, true, NULL, 0, table.turns);
    cr_expect_not(admission_is_closed(&table.admission));
    admission_init(&table.admission, false, NULL, 0, table.turns);
    cr_expect(admission_is_closed(&table.admission));
}

/* What the rules say, asked one by one. */
static bool asked_one_by_one(const struct table *table, const struct cidr_ip *ip) {
    const struct admission_rule *best = NULL;
    for (size_t index = 0; index < table->count; index++) {
        const struct admission_rule *rule = &table->rules[index];
        if (!cidr_contains(&rule->cidr, 1, ip)) {
            continue;
        }
        int order = best == NULL ? 1 : cidr_compare_ip(&rule->cidr.first, &best->cidr.first);
        order = order != 0 ? order : cidr_compare_ip(&best->cidr.last, &rule->cidr.last);
        best = order > 0 || (order == 0 && !rule->allows) ? rule : best;
    }
    return best == NULL ? table->otherwise : best->allows;
}

/* Blocks that lie in one another, meet, begin or end together: all of a few neighbours' addresses. */
static void random_rule(struct admission_rule *rule, struct random *random) {
    char text[64];
    struct error error;
    bool v6 = random_chance(random, 50);
    unsigned zeros = random_between(random, 0, 8);
    unsigned low = random_between(random, 0, 255) & (0xffU << zeros & 0xff);
    if (v6) {
        snprintf(text, sizeof(text), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ff%02x/%u", low, 128 - zeros);
    } else {
        snprintf(text, sizeof(text), "255.255.255.%u/%u", low, 32 - zeros);
    }
    cr_assert(cidr_parse(&rule->cidr, text, &error), "%s", error.text);
    rule->allows = random_chance(random, 50);
}

static void expect_all_right(const struct table *table, const char *first, size_t count) {
    struct cidr_ip ip;
    cr_assert(cidr_parse_ip(&ip, first));
    for (size_t index = 0; index < count; index++, cidr_next_ip(&ip)) {
        cr_assert_eq(admission_allows(&table->admission, &ip), asked_one_by_one(table, &ip), "%zu behind %s", index,
                     first);
    }
}

Test(admission, says_what_the_rules_say_one_by_one, .timeout = 60) {
    struct random random = {.state = 1};
    for (int round = 0; round < 300; round++) {
        struct table table = {.count = random_between(&random, 1, RULES_MAX), .otherwise = round % 2 == 0};
        for (size_t index = 0; index < table.count; index++) {
            random_rule(&table.rules[index], &random);
        }
        admission_init(&table.admission, table.otherwise, table.rules, table.count, table.turns);
        cr_assert_leq(table.admission.turns_count, 2 * table.count);
        expect_all_right(&table, "255.255.254.250", 6 + 256 + 6); /* and on to the first of IPv6 */
        expect_all_right(&table, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fefa", 6 + 256);
    }
}

Test(admission, is_small_where_blocks_meet, .timeout = 10) {
    struct table table;
    TABLE(&table, false, "+10.0.0.0/9", "+10.128.0.0/9", "+11.0.0.0/8", "+10.3.0.0/16");
    cr_expect_eq(table.admission.turns_count, 2);
    cr_expect(lets_in(&table, "11.255.255.255"));
    cr_expect_not(lets_in(&table, "12.0.0.0"));
}
