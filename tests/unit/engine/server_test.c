#include "engine/server.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

Test(server, without_connections_max_always_has_room, .timeout = 10) {
    struct server_state state = {.active = 0};
    struct server server = {.state = &state, .connections_max = 0};
    for (int count = 0; count < 1000; count++) {
        cr_assert(server_has_room(&server));
        cr_assert(server_enter(&server));
    }
    cr_assert_eq(atomic_load(&server.state->active), 1000);
}

Test(server, takes_no_more_than_connections_max, .timeout = 10) {
    struct server_state state = {.active = 0};
    struct server server = {.state = &state, .connections_max = 2};
    cr_assert(server_enter(&server));
    cr_assert(server_has_room(&server));
    cr_assert(server_enter(&server));
    cr_assert_not(server_has_room(&server));
    cr_assert_not(server_enter(&server));
    cr_assert_eq(atomic_load(&server.state->active), 2, "who was refused is not counted");
}

Test(server, has_room_again_when_one_leaves, .timeout = 10) {
    struct server_state state = {.active = 0};
    struct server server = {.state = &state, .connections_max = 1};
    cr_assert(server_enter(&server));
    server_leave(&server);
    cr_assert_eq(atomic_load(&server.state->active), 0);
    cr_assert(server_has_room(&server));
    cr_assert(server_enter(&server));
}

Test(server, aborts_when_more_leave_than_entered, .timeout = 10, .signal = SIGABRT) {
    struct server_state state = {.active = 0};
    struct server server = {.state = &state, .connections_max = 1};
    server_leave(&server);
}

enum { THREADS = 4, ROUNDS = 20000, PLACES = 2 };

struct crowd {
    struct server server;
    _Atomic uint32_t inside;
    _Atomic uint32_t inside_max;
    _Atomic uint32_t entered;
};

static void *crowd_push(void *argument) {
    struct crowd *crowd = argument;
    for (int round = 0; round < ROUNDS; round++) {
        if (!server_enter(&crowd->server)) {
            continue;
        }
        uint32_t inside = atomic_fetch_add(&crowd->inside, 1) + 1;
        uint32_t seen = atomic_load(&crowd->inside_max);
        while (inside > seen && !atomic_compare_exchange_weak(&crowd->inside_max, &seen, inside)) {
        }
        atomic_fetch_add(&crowd->entered, 1);
        atomic_fetch_sub(&crowd->inside, 1);
        server_leave(&crowd->server);
    }
    return NULL;
}

Test(server, never_has_more_than_connections_max_from_several_threads, .timeout = 30) {
    struct server_state state = {.active = 0};
    struct crowd crowd = {.server = {.state = &state, .connections_max = PLACES}};
    pthread_t threads[THREADS];
    for (int index = 0; index < THREADS; index++) {
        cr_assert_eq(pthread_create(&threads[index], NULL, crowd_push, &crowd), 0);
    }
    for (int index = 0; index < THREADS; index++) {
        pthread_join(threads[index], NULL);
    }
    cr_assert_leq(atomic_load(&crowd.inside_max), PLACES);
    cr_assert_gt(atomic_load(&crowd.entered), 0);
    cr_assert_eq(atomic_load(&crowd.server.state->active), 0);
}
