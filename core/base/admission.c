#include "base/admission.h"

#include "base/check.h"

#include <stdlib.h>

/* Blocks that lie in one another, the outermost first: one of each length, and there are 129 lengths. */
enum { NESTED_MAX = 129 };

struct nested {
    struct cidr_ip last;
    bool allows;
};

struct builder {
    struct cidr_ip *turns;
    size_t turns_count;
    bool otherwise;
    bool allows; /* the answer behind the last turn */
    struct nested nested[NESTED_MAX];
    size_t depth;
};

/* A block stands before those that lie in it; of two rules about one block the one that allows comes first. */
static int rule_compare(const void *a, const void *b) {
    const struct admission_rule *left = a;
    const struct admission_rule *right = b;
    int order = cidr_compare_ip(&left->cidr.first, &right->cidr.first);
    if (order == 0) {
        order = cidr_compare_ip(&right->cidr.last, &left->cidr.last);
    }
    return order != 0 ? order : (int)right->allows - (int)left->allows;
}

/* From this address on the answer is another, or the same after all: where two blocks meet, or begin together. */
static void builder_turn(struct builder *builder, const struct cidr_ip *at, bool allows) {
    if (builder->turns_count > 0 && cidr_compare_ip(&builder->turns[builder->turns_count - 1], at) == 0) {
        builder->turns_count--;
        builder->allows = !builder->allows;
    }
    if (allows != builder->allows) {
        builder->turns[builder->turns_count++] = *at;
        builder->allows = allows;
    }
}

/* The innermost block ends: what is around it decides again. */
static void builder_leave(struct builder *builder) {
    struct cidr_ip behind = builder->nested[--builder->depth].last;
    bool allows = builder->depth > 0 ? builder->nested[builder->depth - 1].allows : builder->otherwise;
    if (cidr_next_ip(&behind)) {
        builder_turn(builder, &behind, allows);
    }
}

static void builder_enter(struct builder *builder, const struct admission_rule *rule) {
    const struct cidr *cidr = &rule->cidr;
    while (builder->depth > 0 && cidr_compare_ip(&builder->nested[builder->depth - 1].last, &cidr->first) < 0) {
        builder_leave(builder);
    }
    builder_turn(builder, &cidr->first, rule->allows);
    check(builder->depth < NESTED_MAX);
    builder->nested[builder->depth++] = (struct nested){.last = cidr->last, .allows = rule->allows};
}

/* The next rule is about the same block: it decides, being the same or the one that denies. */
static bool rule_is_overruled(const struct admission_rule *rule, const struct admission_rule *next) {
    return cidr_compare_ip(&rule->cidr.first, &next->cidr.first) == 0 &&
           cidr_compare_ip(&rule->cidr.last, &next->cidr.last) == 0;
}

void admission_init(struct admission *admission, bool otherwise, struct admission_rule *rules, size_t rules_count,
                    struct cidr_ip *turns) {
    struct builder builder = {.turns = turns, .otherwise = otherwise, .allows = otherwise};
    if (rules_count > 0) {
        qsort(rules, rules_count, sizeof rules[0], rule_compare);
    }
    for (size_t i = 0; i < rules_count; i++) {
        if (i + 1 == rules_count || !rule_is_overruled(&rules[i], &rules[i + 1])) {
            builder_enter(&builder, &rules[i]);
        }
    }
    while (builder.depth > 0) {
        builder_leave(&builder);
    }
    *admission = (struct admission){.otherwise = otherwise, .turns = turns, .turns_count = builder.turns_count};
}

bool admission_allows(const struct admission *admission, const struct cidr_ip *ip) {
    size_t behind = 0; /* turns at or below the address, as far as is known */
    for (size_t count = admission->turns_count; count > 0;) {
        size_t half = count / 2;
        bool reached = cidr_compare_ip(&admission->turns[behind + half], ip) <= 0;
        behind += reached ? half + 1 : 0;
        count = reached ? count - half - 1 : half;
    }
    return admission->otherwise ^ (behind % 2 != 0);
}

bool admission_is_closed(const struct admission *admission) {
    static const struct cidr_ip lowest = {.v6 = false};
    bool closed_at_all = admission->turns_count == 0 && !admission->otherwise;
    bool closed_by_rule =
        admission->turns_count == 1 && admission->otherwise && cidr_compare_ip(&admission->turns[0], &lowest) == 0;
    return closed_at_all || closed_by_rule;
}
