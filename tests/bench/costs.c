#include "tests/bench/costs.h"

#include "base/admission.h"
#include "base/check.h"
#include "engine/sources.h"
#include "tests/bench/clock.h"
#include "tests/bench/statistics.h"

#include <stdio.h>
#include <stdlib.h>

enum { RULES = 100000, CLIENTS = 2000000, ROUNDS = 5 };

/* Others than the last, and spread over all addresses: what a look-up finds is not in the cache by chance. */
static struct cidr_ip next_client(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1;
    return (struct cidr_ip){.low = *state >> 32};
}

static double nanoseconds_each(uint64_t begin_ns) {
    return (double)(clock_now_ns() - begin_ns) / CLIENTS;
}

static double look_up_ns(const struct admission *admission) {
    uint64_t state = 1;
    unsigned allowed = 0;
    uint64_t begin_ns = clock_now_ns();
    for (unsigned client = 0; client < CLIENTS; client++) {
        struct cidr_ip ip = next_client(&state);
        allowed += admission_allows(admission, &ip);
    }
    check(allowed > 0 && allowed < CLIENTS); /* both kinds of answers were asked for */
    return nanoseconds_each(begin_ns);
}

static double source_ns(struct sources *sources, uint64_t addresses) {
    const struct config_source_limits limits = {
        .connections_max = 100, .rate_per_hour = 3600 * 1000, .prefix_v4 = 32, .prefix_v6 = 64};
    uint64_t state = 1;
    uint64_t begin_ns = clock_now_ns();
    for (unsigned client = 0; client < CLIENTS; client++) {
        struct cidr_ip ip = {.low = next_client(&state).low % addresses};
        uint32_t source;
        if (sources_enter(sources, &limits, &ip, client, &source) && source != SOURCE_NONE) {
            sources_leave(sources, source, client);
        }
    }
    return nanoseconds_each(begin_ns);
}

static void print_cost(const char *what, double *each_ns) {
    char text[SPREAD_TEXT_SIZE];
    struct spread spread = spread_of(each_ns, ROUNDS);
    printf("%s: %s ns\n", what, spread_format(&spread, text));
}

/* Every block has a neighbour that is not in it: nothing melts together. */
static void rules_fill(struct admission_rule *rules) {
    for (uint64_t rule = 0; rule < RULES; rule++) {
        uint64_t first = rule * (UINT64_C(1) << 32) / RULES & ~UINT64_C(0xff);
        rules[rule] = (struct admission_rule){.cidr = {.first = {.low = first}, .last = {.low = first + 255}}};
    }
}

void costs_print(void) {
    struct admission_rule *rules = calloc(RULES, sizeof *rules);
    struct cidr_ip *turns = calloc((size_t)2 * RULES, sizeof *turns);
    struct sources *sources = sources_create(1);
    struct admission admission;
    double look_ups_ns[ROUNDS], few_ns[ROUNDS], many_ns[ROUNDS];
    check(rules != NULL && turns != NULL && sources != NULL);
    rules_fill(rules);
    admission_init(&admission, true, rules, RULES, turns);
    for (int round = 0; round < ROUNDS; round++) {
        look_ups_ns[round] = look_up_ns(&admission);
        few_ns[round] = source_ns(sources, 100);
        many_ns[round] = source_ns(sources, 1000000);
    }
    print_cost("a look-up among 100,000 rules", look_ups_ns);
    print_cost("a client of one of 100 sources comes and goes", few_ns);
    print_cost("a client of one of 1,000,000 sources comes and goes", many_ns);
    printf("\n");
    fflush(stdout);
    sources_destroy(sources);
    free(turns);
    free(rules);
}
