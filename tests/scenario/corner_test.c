/* Corners that no other scenario comes to: `make coverage` showed them. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { MIB = 1 << 20 };

Test(corner, of_thousands_of_small_messages_is_no_bulk_and_bulk_behind_them_is, .timeout = 30) {
    enum { MESSAGES = 2500, SMALL = 10 };
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", "process: {workers: 1}\n");
    pair_open(&pair, moonring.address, &listener);
    for (int message = 0; message < MESSAGES; message++) {
        peer_relay(&pair.client, &pair.server, SMALL);
    }
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") == 0);
    peer_relay(&pair.client, &pair.server, 32 * MIB);
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") > 0);
}

/* Splicing makes both descriptors non-blocking, and an old kernel's receive then fails where nothing has come yet. */
Test(corner, of_an_old_kernel_lets_small_messages_through_against_a_spliced_stream, .timeout = 30) {
    setenv("MOONRING_DISABLE", "recv_limit", 1);
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", "process: {workers: 1}\n");
    pair_open(&pair, moonring.address, &listener);
    peer_relay(&pair.server, &pair.client, 32 * MIB);
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") > 0);
    for (int message = 0; message < 100; message++) {
        peer_relay(&pair.client, &pair.server, 100);
    }
    uint64_t cpu_ns = process_idle_cpu_ns(&moonring.process, 500, 50000000);
    cr_assert(cpu_ns < 50000000, "%lu ns of CPU in half a second of silence", cpu_ns);
    pair_exchange(&pair, 4 * MIB);
}

/* Whoever waits to try again has no claim on the server's only place. */
Test(corner, of_a_server_that_is_full_when_it_is_tried_again_ends_the_session, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener server;
    struct peer waiting;
    struct pair pair;
    peer_refuse(&server, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams: {pool: {servers: [{address: '%s', max_connections: 1}], retry: {attempts: 5, backoff: "
                   "1s}}}\n",
                   server.address);
    peer_connect(&waiting, moonring.address);
    moonring_wait_counter(&moonring, "moonring_connects_failed_total", 1);
    peer_listener_open(&server);
    pair_open(&pair, moonring.address, &server);
    peer_expect_closed(&waiting);
    moonring_expect_session(&moonring, "reason=no_server ended_by=moonring tries=1");
    pair_exchange(&pair, 1000);
}
