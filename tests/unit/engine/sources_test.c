#include "engine/sources.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { SECOND_US = 1000 * 1000 };

static struct cidr_ip ip_of(const char *text) {
    struct cidr_ip ip;
    cr_assert(cidr_parse_ip(&ip, text), "%s", text);
    return ip;
}

static struct cidr_ip nth_ip(uint32_t number) {
    return (struct cidr_ip){.low = UINT64_C(0x0a000000) + number};
}

static struct sources *make(void) {
    struct sources *sources = sources_create(7);
    cr_assert_not_null(sources);
    return sources;
}

static const struct config_source_limits two_at_once = {.connections_max = 2, .prefix_v4 = 32, .prefix_v6 = 64};
static const struct config_source_limits ten_a_second = {
    .rate_per_hour = 10 * 3600, .burst = 3, .prefix_v4 = 32, .prefix_v6 = 64};

static bool enter(struct sources *sources, const struct config_source_limits *limits, const char *ip, uint64_t now_us,
                  uint32_t *source) {
    struct cidr_ip address = ip_of(ip);
    return sources_enter(sources, limits, &address, now_us, source);
}

Test(sources, bound_the_sessions_of_each_by_itself, .timeout = 10) {
    struct sources *sources = make();
    uint32_t first, second, third, other;
    cr_assert(enter(sources, &two_at_once, "10.0.0.1", 0, &first));
    cr_assert(enter(sources, &two_at_once, "10.0.0.1", 0, &second));
    cr_assert_not(enter(sources, &two_at_once, "10.0.0.1", 0, &third));
    cr_assert_eq(third, SOURCE_NONE);
    cr_assert(enter(sources, &two_at_once, "10.0.0.2", 0, &other));
    cr_expect_eq(sources_count(sources), 2);
    cr_expect_eq(sources_refused(sources), 1);
    sources_leave(sources, first, 1);
    cr_assert(enter(sources, &two_at_once, "10.0.0.1", 1, &third));
    sources_leave(sources, second, 2);
    sources_leave(sources, third, 2);
    sources_leave(sources, other, 2);
    cr_expect_eq(sources_count(sources), 0, "who has no session and no haste is forgotten");
    sources_destroy(sources);
}

Test(sources, are_blocks_of_addresses, .timeout = 10) {
    struct config_source_limits limits = {.connections_max = 1, .prefix_v4 = 24, .prefix_v6 = 56};
    struct sources *sources = make();
    uint32_t taken[5], refused;
    cr_assert(enter(sources, &limits, "10.0.0.1", 0, &taken[0]));
    cr_assert_not(enter(sources, &limits, "10.0.0.255", 0, &refused));
    cr_assert(enter(sources, &limits, "10.0.1.1", 0, &taken[1]));
    cr_assert(enter(sources, &limits, "2001:db8::1", 0, &taken[2]));
    cr_assert_not(enter(sources, &limits, "2001:db8:0:ff::1", 0, &refused));
    cr_assert(enter(sources, &limits, "2001:db8:0:100::1", 0, &taken[3]));
    limits.prefix_v6 = 128;
    cr_assert(enter(sources, &limits, "2001:db8::2", 0, &taken[4]));
    cr_assert_not(enter(sources, &limits, "2001:db8::2", 0, &refused));
    for (int i = 0; i < 5; i++) {
        sources_leave(sources, taken[i], 0);
    }
    sources_destroy(sources);
}

/* So many of these get in who knock at this pace. */
static unsigned knock(struct sources *sources, const struct config_source_limits *limits, uint64_t from_us,
                      uint64_t to_us, uint64_t each_us) {
    unsigned entered = 0;
    for (uint64_t now_us = from_us; now_us < to_us; now_us += each_us) {
        uint32_t source;
        if (enter(sources, limits, "10.0.0.1", now_us, &source)) {
            entered++;
            sources_leave(sources, source, now_us);
        }
    }
    return entered;
}

Test(sources, begin_no_more_sessions_than_the_rate_and_its_burst_allow, .timeout = 10) {
    struct sources *sources = make();
    cr_expect_eq(knock(sources, &ten_a_second, 0, 1, 1), 1);
    cr_expect_eq(knock(sources, &ten_a_second, 1, 101, 1), 2, "the rest of the burst");
    cr_expect_eq(knock(sources, &ten_a_second, SECOND_US, 11 * SECOND_US, 1000), 3 + 99);
    cr_expect_eq(knock(sources, &ten_a_second, 20 * SECOND_US, 30 * SECOND_US, 100 * 1000), 100, "at its very pace");
    sources_destroy(sources);
}

Test(sources, have_a_second_s_worth_of_burst_where_none_is_set, .timeout = 10) {
    struct config_source_limits limits = ten_a_second;
    struct sources *sources = make();
    limits.burst = 0;
    cr_expect_eq(knock(sources, &limits, 0, 1000, 1), 10);
    limits.rate_per_hour = 60;
    cr_expect_eq(knock(sources, &limits, 1000 * SECOND_US, 1000 * SECOND_US + 1000, 1), 1);
    sources_destroy(sources);
}

Test(sources, in_a_hurry_are_remembered_until_they_might_begin_a_burst_again, .timeout = 10) {
    struct sources *sources = make();
    knock(sources, &ten_a_second, 0, 100, 1);
    cr_expect_eq(sources_count(sources), 1);
    for (uint32_t number = 0; number < 10000; number++) { /* some meet it in its shard */
        struct cidr_ip ip = nth_ip(number);
        uint32_t source;
        cr_assert(sources_enter(sources, &two_at_once, &ip, SECOND_US, &source));
        sources_leave(sources, source, SECOND_US);
    }
    cr_expect_eq(sources_count(sources), 0);
    sources_destroy(sources);
}

Test(sources, take_a_changed_limit_over, .timeout = 10) {
    struct config_source_limits limits = two_at_once;
    struct sources *sources = make();
    uint32_t taken[3], refused;
    cr_assert(enter(sources, &limits, "10.0.0.1", 0, &taken[0]));
    cr_assert(enter(sources, &limits, "10.0.0.1", 0, &taken[1]));
    limits.connections_max = 3;
    cr_assert(enter(sources, &limits, "10.0.0.1", 0, &taken[2]));
    limits.connections_max = 1;
    cr_assert_not(enter(sources, &limits, "10.0.0.1", 0, &refused));
    for (int i = 0; i < 3; i++) {
        sources_leave(sources, taken[i], 0);
    }
    sources_destroy(sources);
}

/* Every place is taken by sessions: strangers are let in uncounted, who is known stays bounded; then all leave. */
Test(sources, that_are_too_many_are_let_in_uncounted, .timeout = 30) {
    enum { MANY = SOURCES_MAX + SOURCES_MAX / 2 };
    struct sources *sources = make();
    uint32_t *taken = calloc(MANY, sizeof *taken);
    size_t counted = 0;
    for (uint32_t number = 0; number < MANY; number++) {
        struct cidr_ip ip = nth_ip(number);
        cr_assert(sources_enter(sources, &two_at_once, &ip, 0, &taken[number]));
        counted += taken[number] != SOURCE_NONE;
    }
    cr_expect_eq(counted, SOURCES_MAX);
    cr_expect_eq(sources_count(sources), SOURCES_MAX);
    cr_expect_eq(sources_uncounted(sources), MANY - SOURCES_MAX);
    uint32_t second, third;
    cr_expect(enter(sources, &two_at_once, "10.0.0.1", 0, &second));
    cr_expect_neq(second, SOURCE_NONE);
    cr_expect_not(enter(sources, &two_at_once, "10.0.0.1", 0, &third));
    sources_leave(sources, second, 0);
    for (uint32_t number = 0; number < MANY; number++) {
        if (taken[number] != SOURCE_NONE) {
            sources_leave(sources, taken[number], 0);
        }
    }
    cr_expect_eq(sources_count(sources), 0);
    sources_destroy(sources);
    free(taken);
}

/* A full table without sessions forgets who has been idle for longest: newcomers are counted. */
Test(sources, that_are_idle_make_room_for_newcomers, .timeout = 30) {
    const struct config_source_limits slow = {.rate_per_hour = 1, .prefix_v4 = 32, .prefix_v6 = 64};
    struct sources *sources = make();
    uint32_t source;
    for (uint32_t number = 0; number < 3 * SOURCES_MAX; number++) {
        struct cidr_ip ip = nth_ip(number);
        cr_assert(sources_enter(sources, &slow, &ip, 0, &source));
        cr_assert_neq(source, SOURCE_NONE);
        sources_leave(sources, source, 0);
    }
    cr_expect_eq(sources_count(sources), SOURCES_MAX);
    cr_expect_eq(sources_uncounted(sources), 0);
    struct cidr_ip last = nth_ip(3 * SOURCES_MAX - 1);
    cr_expect_not(sources_enter(sources, &slow, &last, 0, &source), "the youngest are remembered");
    sources_destroy(sources);
}

/* --- several threads ---------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 20000, NEIGHBOURS = 16 };

static _Atomic uint32_t inside[NEIGHBOURS];

static void *come_and_go(void *argument) {
    struct sources *sources = argument;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t neighbour = round % NEIGHBOURS;
        struct cidr_ip ip = nth_ip(neighbour);
        uint32_t source;
        if (sources_enter(sources, &two_at_once, &ip, round, &source)) {
            uint32_t before = atomic_fetch_add(&inside[neighbour], 1);
            cr_assert_lt(before, 2, "more than two are in");
            atomic_fetch_sub(&inside[neighbour], 1);
            sources_leave(sources, source, round);
        }
    }
    return NULL;
}

Test(sources, are_bounded_for_all_threads_together, .timeout = 60) {
    struct sources *sources = make();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, sources), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_expect_eq(sources_count(sources), 0);
    sources_destroy(sources);
}
