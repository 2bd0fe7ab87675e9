#include "engine/outlier.h"

#include <criterion/criterion.h>
#include <errno.h>

enum { SERVERS = 4 };

struct group {
    char name[4];
    struct upstream upstream;
    struct server servers[SERVERS];
    struct server_state states[SERVERS];
    int told[OUTLIER_ANSWERED + 1];
    uint64_t now_ms;
};

static void group_init(struct group *group, uint32_t ejection_max) {
    *group = (struct group){.name = "web", .now_ms = 1000};
    group->upstream = (struct upstream){.name = group->name, .servers = group->servers, .servers_count = SERVERS};
    group->upstream.health.outlier = (struct config_outlier_detection){
        .on = true, .consecutive_failures = 3, .ejection_time_ms = 1000, .ejection_max = ejection_max};
    for (size_t index = 0; index < SERVERS; index++) {
        group->servers[index] = (struct server){.state = &group->states[index], .failures_max = 3};
    }
}

static void note(void *argument, const struct upstream *upstream, const struct server *server, enum outlier_news news) {
    struct group *group = argument;
    cr_assert(upstream == &group->upstream && server >= group->servers && server < group->servers + SERVERS);
    group->told[news]++;
}

/* As the control thread does when a worker says that somebody should look. */
static void look(struct group *group) {
    outlier_look(&group->upstream, group->now_ms, note, group);
}

static void fail(struct group *group, size_t server, int times) {
    for (int time = 0; time < times; time++) {
        if (server_note_failure(&group->servers[server], ECONNREFUSED)) {
            look(group);
        }
    }
}

static bool is_ejected(const struct group *group, size_t server) {
    return (server_numbers(&group->servers[server]).out & HEALTH_EJECTED) != 0;
}

Test(outlier, ejects_after_so_many_failures_in_a_row, .timeout = 10) {
    struct group group;
    group_init(&group, 50);
    fail(&group, 0, 2);
    cr_assert_not(server_note_success(&group.servers[0]));
    fail(&group, 0, 2);
    cr_assert_not(is_ejected(&group, 0));
    fail(&group, 0, 1);
    cr_assert(is_ejected(&group, 0));
    cr_assert_eq(group.told[OUTLIER_EJECTED], 1);
    cr_assert_eq(server_numbers(&group.servers[0]).failed_total, 5);
}

Test(outlier, ejects_no_more_than_max_ejection_and_says_so_once, .timeout = 10) {
    struct group group;
    group_init(&group, 50);
    for (size_t server = 0; server < SERVERS; server++) {
        fail(&group, server, 30);
    }
    cr_assert(is_ejected(&group, 0) && is_ejected(&group, 1) && !is_ejected(&group, 2) && !is_ejected(&group, 3));
    cr_assert_eq(group.told[OUTLIER_EJECTED], 2);
    cr_assert_eq(group.told[OUTLIER_SPARED], 2);
}

Test(outlier, ejects_who_was_spared_once_another_is_back, .timeout = 10) {
    struct group group;
    group_init(&group, 25);
    fail(&group, 0, 3);
    fail(&group, 1, 3);
    cr_assert_not(is_ejected(&group, 1));
    cr_assert(server_note_success(&group.servers[0]), "a session has connected although it is ejected");
    look(&group);
    cr_assert_eq(group.told[OUTLIER_ANSWERED], 1);
    cr_assert_not(is_ejected(&group, 0));
    cr_assert(is_ejected(&group, 1));
}

Test(outlier, one_failure_ejects_who_has_just_been_given_a_chance, .timeout = 10) {
    struct group group;
    group_init(&group, 50);
    fail(&group, 0, 3);
    group.now_ms += 1000;
    health_tend(&group.states[0].health, &group.upstream.health, 0, group.now_ms);
    outlier_give_chance(&group.servers[0]);
    look(&group);
    cr_assert_not(is_ejected(&group, 0));
    fail(&group, 0, 1);
    cr_assert(is_ejected(&group, 0));
    cr_assert_eq(group.states[0].health.ejection_ms, 2000);
}

Test(outlier, want_of_something_on_our_side_is_not_the_server_s_fault, .timeout = 10) {
    struct group group;
    group_init(&group, 50);
    for (int time = 0; time < 10; time++) {
        cr_assert_not(server_note_failure(&group.servers[0], EADDRNOTAVAIL));
    }
    look(&group);
    cr_assert_not(is_ejected(&group, 0));
    cr_assert_eq(server_numbers(&group.servers[0]).failed_total, 10);
}

/* However often it comes and goes: the times that it is out grow, so its share of time in service falls. */
Test(outlier, flapping_is_bounded, .timeout = 10) {
    struct group group;
    group_init(&group, 50);
    for (uint64_t end_ms = group.now_ms + 1000000; group.now_ms < end_ms; group.now_ms += 10) {
        fail(&group, 0, 1);
        uint32_t before = server_numbers(&group.servers[0]).out;
        health_tend(&group.states[0].health, &group.upstream.health, 0, group.now_ms);
        if (before != 0 && server_numbers(&group.servers[0]).out == 0) {
            outlier_give_chance(&group.servers[0]);
        }
    }
    uint64_t ejections = server_numbers(&group.servers[0]).ejections_total;
    cr_assert(ejections >= 100 && ejections <= 130, "%lu in 1000 s", (unsigned long)ejections);
}
