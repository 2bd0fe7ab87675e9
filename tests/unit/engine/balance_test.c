#include "engine/balance.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS_MAX = 4 };

/* Servers named a, b, c and d by their place. */
struct group {
    struct balance balance;
    struct server servers[SERVERS_MAX];
    struct server_state states[SERVERS_MAX];
    char names[SERVERS_MAX][2];
    size_t count;
};

/* One server for each weight, up to the first that is 0. */
static void group_init(struct group *group, enum config_balance policy, const uint32_t weights[SERVERS_MAX]) {
    *group = (struct group){.count = 0};
    while (group->count < SERVERS_MAX && weights[group->count] > 0) {
        group->names[group->count][0] = (char)('a' + group->count);
        group->servers[group->count].name = group->names[group->count];
        group->servers[group->count].weight = weights[group->count];
        group->servers[group->count].state = &group->states[group->count];
        group->count++;
    }
    cr_assert(balance_init(&group->balance, policy, group->servers, group->count, 42));
}

#define WEIGHTS(...) ((const uint32_t[SERVERS_MAX]){__VA_ARGS__})

static char letter_of(const struct group *group, const struct server *server) {
    return server == NULL ? '-' : (char)('a' + (server - group->servers));
}

/* So many picks as letters; `-` where there was none. */
static const char *picks(struct group *group, size_t count) {
    static char letters[64];
    cr_assert_lt(count, sizeof(letters));
    for (size_t index = 0; index < count; index++) {
        letters[index] = letter_of(group, balance_pick(&group->balance, NULL, 0));
    }
    letters[count] = 0;
    return letters;
}

static void expect_pick(struct group *group, struct server *const *tried, size_t tried_count, char wanted) {
    char got = letter_of(group, balance_pick(&group->balance, tried, tried_count));
    cr_assert_eq(got, wanted, "%c instead of %c", got, wanted);
}

/* Makes the server full. */
static void server_fill(struct server *server) {
    server->connections_max = 1;
    atomic_store(&server->state->active, 1);
}

static const enum config_balance policies[] = {BALANCE_ROUND_ROBIN, BALANCE_LEAST_CONN, BALANCE_RANDOM, BALANCE_FIRST};
enum { POLICIES = sizeof(policies) / sizeof(policies[0]) };

/* --- every policy --------------------------------------------------------------------------------------------------
 */

Test(balance, every_policy_leaves_out_servers_that_were_tried, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(5, 1, 1));
        struct server *const tried[] = {&group.servers[0], &group.servers[2]};
        for (int round = 0; round < 20; round++) {
            expect_pick(&group, tried, 2, 'b');
        }
        balance_finish(&group.balance);
    }
}

Test(balance, every_policy_leaves_out_servers_with_connections_max, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1, 1, 1));
        server_fill(&group.servers[0]);
        server_fill(&group.servers[1]);
        for (int round = 0; round < 20; round++) {
            expect_pick(&group, NULL, 0, 'c');
        }
        balance_finish(&group.balance);
    }
}

Test(balance, every_policy_takes_a_full_server_again_once_it_has_room, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1));
        server_fill(&group.servers[0]);
        expect_pick(&group, NULL, 0, '-');
        server_leave(&group.servers[0]);
        expect_pick(&group, NULL, 0, 'a');
        balance_finish(&group.balance);
    }
}

Test(balance, every_policy_takes_a_backup_only_when_all_others_are_out, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1000, 1, 1, 1000));
        group.servers[0].backup = true;
        group.servers[3].backup = true;
        struct server *const tried[] = {&group.servers[1], &group.servers[2], &group.servers[3]};
        for (int round = 0; round < 50; round++) {
            expect_pick(&group, tried, 1, 'c');
            expect_pick(&group, tried, 3, 'a');
        }
        balance_finish(&group.balance);
    }
}

Test(balance, every_policy_takes_a_backup_when_the_others_are_full, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1, 1));
        group.servers[1].backup = true;
        server_fill(&group.servers[0]);
        expect_pick(&group, NULL, 0, 'b');
        server_leave(&group.servers[0]);
        expect_pick(&group, NULL, 0, 'a');
        balance_finish(&group.balance);
    }
}

Test(balance, every_policy_finds_nobody_when_all_are_out, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1, 1, 1));
        group.servers[2].backup = true;
        server_fill(&group.servers[0]);
        struct server *const tried[] = {&group.servers[1], &group.servers[2]};
        expect_pick(&group, tried, 2, '-');
        balance_finish(&group.balance);
    }
}

Test(balance, picking_does_not_enter_a_server, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1));
        picks(&group, 10);
        cr_assert_eq(atomic_load(&group.servers[0].state->active), 0);
        balance_finish(&group.balance);
    }
}

/* --- round_robin ---------------------------------------------------------------------------------------------------
 */

Test(balance, round_robin_takes_equal_servers_in_turn, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(1, 1, 1));
    cr_assert_str_eq(picks(&group, 9), "abcabcabc");
    balance_finish(&group.balance);
}

Test(balance, round_robin_spreads_a_heavy_server_among_the_others, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(5, 1, 1));
    cr_assert_str_eq(picks(&group, 14), "aaabaacaaabaac");
    balance_finish(&group.balance);
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(5, 1));
    cr_assert_str_eq(picks(&group, 12), "aaaabaaaaaba");
    balance_finish(&group.balance);
}

Test(balance, round_robin_keeps_its_smooth_order_around_a_server_that_was_out, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(1, 1, 1));
    server_fill(&group.servers[1]);
    cr_assert_str_eq(picks(&group, 40) + 36, "acac");
    server_leave(&group.servers[1]);
    group.servers[1].connections_max = 0;
    const char *letters = picks(&group, 6);
    for (int index = 0; index < 4; index++) {
        cr_assert(letters[index] != letters[index + 1], "who comes back does not get all at once: %s", letters);
    }
    balance_finish(&group.balance);
}

Test(balance, round_robin_gives_each_exactly_its_share, .timeout = 10) {
    struct group group;
    uint32_t counts[SERVERS_MAX] = {0};
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(1000, 37, 1, 562));
    for (int round = 0; round < 3 * 1600; round++) {
        counts[balance_pick(&group.balance, NULL, 0) - group.servers]++;
    }
    for (size_t index = 0; index < SERVERS_MAX; index++) {
        cr_assert_eq(counts[index], 3 * group.servers[index].weight);
    }
    balance_finish(&group.balance);
}

/* --- least_conn ----------------------------------------------------------------------------------------------------
 */

Test(balance, least_conn_takes_the_server_with_the_fewest_sessions, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_LEAST_CONN, WEIGHTS(1, 1, 1));
    atomic_store(&group.servers[0].state->active, 3);
    atomic_store(&group.servers[1].state->active, 1);
    atomic_store(&group.servers[2].state->active, 2);
    cr_assert_str_eq(picks(&group, 3), "bbb");
    atomic_store(&group.servers[1].state->active, 4);
    cr_assert_str_eq(picks(&group, 3), "ccc");
    balance_finish(&group.balance);
}

Test(balance, least_conn_counts_sessions_by_weight, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_LEAST_CONN, WEIGHTS(10, 1));
    atomic_store(&group.servers[0].state->active, 9);
    atomic_store(&group.servers[1].state->active, 1);
    cr_assert_str_eq(picks(&group, 4), "aaaa");
    atomic_store(&group.servers[0].state->active, 11);
    cr_assert_str_eq(picks(&group, 4), "bbbb");
    balance_finish(&group.balance);
}

Test(balance, least_conn_gives_an_idle_upstreams_sessions_to_all_in_turn, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_LEAST_CONN, WEIGHTS(1, 1, 1));
    cr_assert_str_eq(picks(&group, 6), "abcabc");
    balance_finish(&group.balance);
}

Test(balance, least_conn_fills_servers_in_proportion_to_their_weights, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_LEAST_CONN, WEIGHTS(6, 3, 1));
    for (int session = 0; session < 1000; session++) {
        struct server *server = balance_pick(&group.balance, NULL, 0);
        cr_assert(server_enter(server));
    }
    const uint32_t wanted[] = {600, 300, 100};
    for (size_t index = 0; index < group.count; index++) {
        uint32_t active = atomic_load(&group.servers[index].state->active);
        cr_assert(active + 2 >= wanted[index] && active <= wanted[index] + 2, "%u sessions, not %u", active,
                  wanted[index]);
    }
    balance_finish(&group.balance);
}

/* --- random --------------------------------------------------------------------------------------------------------
 */

Test(balance, random_gives_each_about_its_share, .timeout = 10) {
    enum { ROUNDS = 70000 };
    for (uint64_t seed = 0; seed < 5; seed++) {
        struct group group;
        uint32_t counts[SERVERS_MAX] = {0};
        group_init(&group, BALANCE_RANDOM, WEIGHTS(5, 1, 1));
        group.balance.random = seed;
        for (int round = 0; round < ROUNDS; round++) {
            counts[balance_pick(&group.balance, NULL, 0) - group.servers]++;
        }
        /* Five standard deviations: sqrt(70000 * 1/7 * 6/7) is 93, sqrt(70000 * 5/7 * 2/7) is 120. */
        cr_assert(counts[0] > 49400 && counts[0] < 50600, "%u", counts[0]);
        cr_assert(counts[1] > 9535 && counts[1] < 10465, "%u", counts[1]);
        cr_assert(counts[2] > 9535 && counts[2] < 10465, "%u", counts[2]);
        balance_finish(&group.balance);
    }
}

Test(balance, random_differs_between_workers_and_not_between_runs, .timeout = 10) {
    struct group groups[3];
    char letters[3][64];
    for (size_t index = 0; index < 3; index++) {
        group_init(&groups[index], BALANCE_RANDOM, WEIGHTS(1, 1, 1, 1));
        groups[index].balance.random = index == 2 ? 1 : index;
        strcpy(letters[index], picks(&groups[index], 60));
        balance_finish(&groups[index].balance);
    }
    cr_assert_str_neq(letters[0], letters[1]);
    cr_assert_str_eq(letters[1], letters[2]);
}

/* --- first ---------------------------------------------------------------------------------------------------------
 */

Test(balance, first_takes_the_next_server_only_when_those_before_it_are_full, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_FIRST, WEIGHTS(1, 1000, 1));
    group.servers[0].connections_max = 2;
    group.servers[1].connections_max = 1;
    char letters[] = "-----";
    for (int session = 0; session < 5; session++) {
        struct server *server = balance_pick(&group.balance, NULL, 0);
        cr_assert(server_enter(server));
        letters[session] = letter_of(&group, server);
    }
    cr_assert_str_eq(letters, "aabcc");
    server_leave(&group.servers[0]);
    expect_pick(&group, NULL, 0, 'a');
    balance_finish(&group.balance);
}

/* --- health ---------------------------------------------------------------------------------------------------------
 */

static void server_take_out(struct server *server, uint32_t out) {
    atomic_store(&server->state->health.out, out);
}

Test(balance, every_policy_leaves_out_servers_that_are_not_in_service, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(5, 5, 5, 1));
        server_take_out(&group.servers[0], HEALTH_DOWN);
        server_take_out(&group.servers[1], HEALTH_EJECTED);
        server_take_out(&group.servers[2], HEALTH_DRAINED);
        for (int round = 0; round < 20; round++) {
            expect_pick(&group, NULL, 0, 'd');
            cr_assert_eq(letter_of(&group, balance_pick_by_key(&group.balance, (uint64_t)round, NULL, 0)), 'd');
        }
        balance_finish(&group.balance);
    }
}

Test(balance, a_server_that_is_down_is_not_tried_while_another_one_is_in_service, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1, 1));
        server_take_out(&group.servers[0], HEALTH_DOWN);
        struct server *const tried[] = {&group.servers[1]};
        expect_pick(&group, tried, 1, '-');
        server_fill(&group.servers[1]);
        expect_pick(&group, NULL, 0, '-');
        balance_finish(&group.balance);
    }
}

Test(balance, every_policy_tries_who_is_down_when_nobody_is_in_service, .timeout = 10) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct group group;
        group_init(&group, policies[policy], WEIGHTS(1, 1, 1, 1));
        server_take_out(&group.servers[0], HEALTH_DRAINED);
        server_take_out(&group.servers[1], HEALTH_DOWN | HEALTH_DISABLED);
        server_take_out(&group.servers[2], HEALTH_DOWN);
        server_take_out(&group.servers[3], HEALTH_EJECTED);
        group.servers[3].backup = true;
        struct server *const tried[] = {&group.servers[2], &group.servers[3]};
        for (int round = 0; round < 20; round++) {
            expect_pick(&group, NULL, 0, 'c');
            expect_pick(&group, tried, 1, 'd');
            expect_pick(&group, tried, 2, '-');
        }
        balance_finish(&group.balance);
    }
}

static size_t count_letter(struct group *group, size_t count, char letter) {
    size_t found = 0;
    for (size_t index = 0; index < count; index++) {
        found += letter_of(group, balance_pick(&group->balance, NULL, 0)) == letter;
    }
    return found;
}

Test(balance, a_server_that_has_just_returned_gets_a_small_share, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(1, 1));
    atomic_store(&group.states[0].health.held_back, 90);
    size_t few = count_letter(&group, 1100, 'a');
    cr_assert(few >= 70 && few <= 130, "%zu", few);
    atomic_store(&group.states[0].health.held_back, 0);
    size_t half = count_letter(&group, 1000, 'a');
    cr_assert(half >= 499 && half <= 501, "%zu", half);
    balance_finish(&group.balance);
}

/* With least_conn a server that returns has no session: without a smaller share it would get every new one. */
Test(balance, least_conn_does_not_run_over_who_has_just_returned, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_LEAST_CONN, WEIGHTS(1, 1));
    atomic_store(&group.states[0].active, 1000);
    atomic_store(&group.states[1].health.held_back, 99);
    for (int session = 0; session < 100; session++) {
        cr_assert(server_enter(balance_pick(&group.balance, NULL, 0)));
    }
    uint32_t returned = atomic_load(&group.states[1].active);
    cr_assert(returned >= 10 && returned <= 12, "%u", returned);
    balance_finish(&group.balance);
}

Test(balance, an_operator_s_weight_stands_for_the_configured_one, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(1, 1));
    atomic_store(&group.states[0].health.weight, 3);
    cr_assert_eq(count_letter(&group, 100, 'a'), 75);
    balance_finish(&group.balance);
}

Test(balance, round_robin_goes_on_when_the_numbers_come_round, .timeout = 10) {
    struct group group;
    group_init(&group, BALANCE_ROUND_ROBIN, WEIGHTS(1, 1, 1));
    for (size_t i = 0; i < group.count; i++) {
        group.balance.due[i] += UINT64_MAX - (UINT64_C(1) << 36);
    }
    cr_assert_str_eq(picks(&group, 42), "abcabcabcabcabcabcabcabcabcabcabcabcabcabc");
    balance_finish(&group.balance);
}

/* --- many servers ---------------------------------------------------------------------------------------------------
 */

enum { MANY = 10000 };

struct crowd {
    struct balance balance;
    struct server servers[MANY];
    struct server_state states[MANY];
    char name[4];
};

static struct crowd *crowd_make(enum config_balance policy) {
    struct crowd *crowd = calloc(1, sizeof *crowd);
    cr_assert_not_null(crowd);
    for (size_t i = 0; i < MANY; i++) {
        crowd->servers[i] = (struct server){.name = crowd->name, .weight = 1, .state = &crowd->states[i]};
    }
    cr_assert(balance_init(&crowd->balance, policy, crowd->servers, MANY, 42));
    return crowd;
}

static void crowd_free(struct crowd *crowd) {
    balance_finish(&crowd->balance);
    free(crowd);
}

static uint32_t most_sessions(const struct crowd *crowd) {
    uint32_t most = 0;
    for (size_t i = 0; i < MANY; i++) {
        uint32_t active = atomic_load(&crowd->states[i].active);
        most = active > most ? active : most;
    }
    return most;
}

Test(balance, round_robin_of_ten_thousand_servers_takes_each_once_in_a_round, .timeout = 30) {
    struct crowd *crowd = crowd_make(BALANCE_ROUND_ROBIN);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert(server_enter(balance_pick(&crowd->balance, NULL, 0)));
    }
    cr_assert_eq(most_sessions(crowd), 1);
    crowd_free(crowd);
}

Test(balance, least_conn_of_ten_thousand_servers_fills_them_evenly, .timeout = 30) {
    struct crowd *crowd = crowd_make(BALANCE_LEAST_CONN);
    for (size_t i = 0; i < 3 * MANY; i++) {
        cr_assert(server_enter(balance_pick(&crowd->balance, NULL, 0)));
    }
    cr_assert_leq(most_sessions(crowd), 4);
    crowd_free(crowd);
}

Test(balance, random_of_ten_thousand_servers_reaches_all_of_them, .timeout = 30) {
    struct crowd *crowd = crowd_make(BALANCE_RANDOM);
    for (size_t i = 0; i < 20 * MANY; i++) {
        cr_assert(server_enter(balance_pick(&crowd->balance, NULL, 0)));
    }
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_gt(atomic_load(&crowd->states[i].active), 0);
    }
    cr_assert_leq(most_sessions(crowd), 60);
    crowd_free(crowd);
}

Test(balance, every_policy_finds_the_only_one_of_ten_thousand_that_is_in_service, .timeout = 30) {
    for (size_t policy = 0; policy < POLICIES; policy++) {
        struct crowd *crowd = crowd_make(policies[policy]);
        for (size_t i = 0; i < MANY; i++) {
            atomic_store(&crowd->states[i].health.out, i == 7777 ? 0 : HEALTH_DOWN);
        }
        cr_assert_eq(balance_pick(&crowd->balance, NULL, 0), &crowd->servers[7777]);
        cr_assert_eq(balance_pick(&crowd->balance, NULL, 0), &crowd->servers[7777]);
        crowd_free(crowd);
    }
}
