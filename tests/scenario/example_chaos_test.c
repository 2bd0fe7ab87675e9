/* examples/chaos.yaml: 100 ms each way and up to 20 ms more, 4 MiB a second, and the end after 4 MiB. */
#include "tests/scenario/example_world.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>

#define FRONT "127.0.0.1:8093"

enum { MIB = 1 << 20 };

static void chaos_start(struct world *world, struct peer_listener *server) {
    world_enter(world);
    peer_listen(server, "127.0.0.1:9080");
    world_start(world, "chaos.yaml");
}

Test(example_chaos, delays_each_way, .timeout = 60) {
    struct world world;
    struct peer_listener listener;
    struct pair pair;
    chaos_start(&world, &listener);
    pair_open(&pair, FRONT, &listener);
    for (int round = 0; round < 5; round++) {
        uint64_t start_ms = deadline_now_ms();
        pair_exchange(&pair, 100);
        uint64_t took_ms = deadline_now_ms() - start_ms;
        cr_assert(took_ms >= 200, "it took %lu ms", took_ms);
    }
    pair_close(&pair);
    moonring_stop(&world.moonring);
}

enum { PIECES = 20 };

/* How long it takes until pieces have come that were sent within 100 ms. */
static uint64_t pieces_ms(struct pair *pair) {
    uint64_t start_ms = deadline_now_ms();
    for (int piece = 0; piece < PIECES; piece++) {
        peer_send_pattern(&pair->client, 100);
        deadline_pause(5);
    }
    peer_expect_pattern(&pair->server, PIECES * 100);
    return deadline_now_ms() - start_ms;
}

/* Pieces that follow one another are under way at the same time: they are late by 120 ms at the most. One by one it
 * would be 2 s, and 320 ms if what came during one delay began another of its own: never less, however often it is
 * tried; and on a machine that has much else to do it is tried again. */
Test(example_chaos, delays_pieces_at_the_same_time, .timeout = 60) {
    enum { TRIES = 40 };
    struct world world;
    struct peer_listener listener;
    struct pair pair;
    chaos_start(&world, &listener);
    pair_open(&pair, FRONT, &listener);
    uint64_t took_ms = pieces_ms(&pair);
    for (int try = 1; try < TRIES && took_ms >= 300; try++) {
        took_ms = pieces_ms(&pair);
    }
    cr_assert(took_ms >= 100 && took_ms < 300, "it took %lu ms", took_ms);
    pair_close(&pair);
    moonring_stop(&world.moonring);
}

Test(example_chaos, is_slow_and_breaks_in_the_midst, .timeout = 60) {
    struct world world;
    struct peer_listener listener;
    struct pair pair;
    chaos_start(&world, &listener);
    pair_open(&pair, FRONT, &listener);
    uint64_t start_ms = deadline_now_ms();
    peer_relay(&pair.server, &pair.client, 3 * MIB);
    uint64_t took_ms = deadline_now_ms() - start_ms;
    cr_assert(took_ms >= 500, "3 MiB took %lu ms", took_ms);
    peer_send_pattern(&pair.server, 1 * MIB);
    peer_send_pattern(&pair.client, 1);
    size_t more = peer_expect_pattern_until_reset(&pair.client);
    cr_assert(more < 1 * MIB, "%zu bytes came after 3 MiB", more);
    moonring_expect_session(&world.moonring, "reason=rejected");
    moonring_stop(&world.moonring);
}
