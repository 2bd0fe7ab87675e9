/* What many sessions with filters at once may not do to each other. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/peer.h"
#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

enum { SLEEPERS = 1000 };

/* A hook of theirs sleeps for an hour; whoever says something else is served meanwhile. */
static const char sleeper[] = "local mr = require 'moonring'\n"
                              "return { from_client = function(conn, buf)\n"
                              "    if buf:starts('sleep') then mr.sleep(3600) end\n"
                              "end }\n";

static void wait_for_sleepers(struct moonring *moonring) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (moonring_counter(moonring, "moonring_hooks_total") < SLEEPERS) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "not every hook was entered");
        deadline_pause(10);
    }
}

Test(filter, that_sleeps_in_a_thousand_sessions_holds_no_buffer_and_slows_nobody, .timeout = 120) {
    struct moonring moonring;
    struct peer_listener server;
    struct temporary folder;
    struct pair awake;
    char path[TEMPORARY_PATH_MAX];
    struct pair *asleep = calloc(SLEEPERS, sizeof *asleep);
    temporary_create(&folder);
    temporary_write(&folder, "sleeper.lua", "%s", sleeper);
    peer_listen(&server, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s', filters: ['%s'], timeouts: {idle: 2h}}}\n"
                   "process: {workers: 1}\n"
                   "shutdown: {drain_timeout: 100ms}\n", /* who sleeps an hour is closed by force */
                   server.address, temporary_path(&folder, "sleeper.lua", path));
    for (size_t index = 0; index < SLEEPERS; index++) {
        pair_open(&asleep[index], moonring.address, &server);
        peer_send(&asleep[index].client, "sleep, and hold what comes behind");
    }
    wait_for_sleepers(&moonring);
    cr_assert_eq(moonring_counter(&moonring, "moonring_buffers_in_use"), 0);
    pair_open(&awake, moonring.address, &server);
    for (int round = 0; round < 100; round++) {
        pair_exchange(&awake, 4096);
    }
    pair_close(&awake);
    cr_assert_geq(moonring_counter(&moonring, "moonring_sessions_active"), SLEEPERS);
    for (size_t index = 0; index < SLEEPERS; index++) {
        pair_close(&asleep[index]);
    }
    moonring_stop(&moonring);
    temporary_remove(&folder);
    free(asleep);
}

/* Once the session is routed no Lua is entered, and bulk goes through pipes. */
Test(filter, that_only_routes_leaves_the_bytes_on_their_way, .timeout = 60) {
    enum { PIECE = 256 * 1024, PIECES = 64 };
    struct moonring moonring;
    struct peer_listener server;
    struct temporary folder;
    struct pair pair;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "route.lua", "return { route = function(conn) return 'app' end }\n");
    peer_listen(&server, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', filters: ['%s']}}\n"
                   "upstreams: {app: {servers: ['%s']}}\n"
                   "process: {workers: 1}\n",
                   temporary_path(&folder, "route.lua", path), server.address);
    pair_open(&pair, moonring.address, &server);
    for (int piece = 0; piece < PIECES; piece++) {
        peer_send_pattern(&pair.client, PIECE);
        peer_expect_pattern(&pair.server, PIECE);
    }
    cr_assert_eq(moonring_counter(&moonring, "moonring_hooks_total"), 1);
    cr_assert_gt(moonring_counter(&moonring, "moonring_splice_bytes_total"), PIECE * PIECES / 2);
    pair_close(&pair);
    moonring_stop(&moonring);
    temporary_remove(&folder);
}
