/* The same sessions over each way that the bytes can take: kernel polling, splice or not, and the fallbacks for kernels
 * that lack something. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    MIB = 1 << 20,
    MORE_THAN_FITS =
        512 * MIB, /* in the kernel's buffers on the way: with Debian's limits 72 MiB, on some machines more */
};

static void exchange_both_ways(struct pair *pair) {
    struct transfer transfers[] = {
        {.peer = &pair->client, .send = 16 * MIB, .expect = 16 * MIB, .send_size = MIB},
        {.peer = &pair->server, .send = 16 * MIB, .expect = 16 * MIB, .read_size = 9973},
    };
    transfers_run(transfers, 2);
}

static void stop_and_go(struct pair *pair) {
    size_t sent = peer_send_until_stuck(&pair->server, MORE_THAN_FITS);
    cr_assert(sent < MORE_THAN_FITS, "a slow reader does not stop its sender");
    peer_expect_pattern(&pair->client, sent);
}

static void half_close(struct pair *pair) {
    peer_end(&pair->client);
    peer_expect_end(&pair->server);
    peer_relay(&pair->server, &pair->client, 10 * MIB);
    peer_end(&pair->server);
    peer_expect_end(&pair->client);
}

static void reset_behind_data(struct pair *pair) {
    peer_send_pattern(&pair->server, 50000);
    while (peer_unsent(&pair->server) > 0) {
        deadline_pause(1);
    }
    peer_reset(&pair->server);
    cr_assert(peer_expect_pattern_until_reset(&pair->client) == 50000);
}

/* What every way must do. Leaves moonring running and without sessions. */
static void core_scenario(struct moonring *moonring, const char *configuration) {
    struct peer_listener listener;
    struct pair pair, other;
    moonring_start_web(moonring, &listener, "", configuration);
    pair_open(&pair, moonring->address, &listener);
    pair_open(&other, moonring->address, &listener);
    for (size_t round = 0; round < 100; round++) {
        pair_exchange(&pair, 1 + round * 700);
    }
    exchange_both_ways(&pair);
    stop_and_go(&pair);
    half_close(&pair);
    moonring_expect_session(moonring, "reason=client_fin");
    reset_behind_data(&other);
    moonring_expect_session(moonring, "reason=server_reset");
    moonring_wait_counter_is(moonring, "moonring_sessions_active", 0);
    moonring_wait_counter_is(moonring, "moonring_buffers_in_use", 0);
}

static void core_scenario_without(const char *features) {
    setenv("MOONRING_DISABLE", features, 1); /* of this test's own process, which moonring inherits */
    struct moonring moonring;
    core_scenario(&moonring, "io: {splice: off}\n");
    moonring_stop(&moonring);
}

Test(feature, all_that_the_kernel_offers_serves, .timeout = 60) {
    struct moonring moonring;
    core_scenario(&moonring, "");
    moonring_stop(&moonring);
}

Test(feature, recv_bundle_can_be_missing, .timeout = 60) {
    core_scenario_without("recv_bundle");
}

Test(feature, recv_limit_can_be_missing, .timeout = 60) {
    core_scenario_without("recv_limit");
}

Test(feature, send_vectored_can_be_missing, .timeout = 60) {
    core_scenario_without("send_vectored");
}

Test(feature, send_zero_copy_can_be_missing, .timeout = 60) {
    setenv("MOONRING_DISABLE", "send_zero_copy", 1);
    struct moonring moonring;
    core_scenario(&moonring, "io: {splice: off, zero_copy_send: true}\n");
}

Test(feature, all_can_be_missing_as_on_linux_6_1, .timeout = 60) {
    core_scenario_without("recv_bundle,recv_limit,send_vectored,send_zero_copy");
}

Test(feature, zero_copy_sends_serve, .timeout = 60) {
    struct moonring moonring;
    core_scenario(&moonring, "io: {splice: off, zero_copy_send: true}\n");
    moonring_stop(&moonring);
}

Test(feature, busy_poll_serves, .timeout = 60) {
    struct moonring moonring;
    core_scenario(&moonring, "io: {busy_poll: 20us}\n");
    moonring_stop(&moonring);
}

Test(feature, sqpoll_serves, .timeout = 60) {
    struct moonring moonring;
    core_scenario(&moonring, "process: {workers: 1}\nio: {sqpoll: true, sqpoll_idle: 5ms}\n");
    moonring_stop(&moonring);
}

Test(feature, sqpoll_serves_without_splice, .timeout = 60) {
    struct moonring moonring;
    core_scenario(&moonring, "process: {workers: 1}\nio: {sqpoll: true, sqpoll_cpu: 0, splice: off}\n");
    moonring_stop(&moonring);
}

Test(feature, splice_takes_over_bulk_and_only_bulk, .timeout = 60) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair small, bulk;
    moonring_start_web(&moonring, &listener, "", "io: {splice: auto}\n");
    pair_open(&small, moonring.address, &listener);
    pair_exchange(&small, 1000);
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") == 0);
    pair_open(&bulk, moonring.address, &listener);
    exchange_both_ways(&bulk);
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") >= 1);
    for (size_t round = 0; round < 200; round++) { /* back to small messages after the bulk */
        pair_exchange(&bulk, 100);
    }
    half_close(&bulk);
}

Test(feature, splice_off_never_splices, .timeout = 60) {
    struct moonring moonring;
    core_scenario(&moonring, "io: {splice: off}\n");
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") == 0);
    moonring_stop(&moonring);
}

/* splice(2) stops in front of urgent data as if nothing more came. Its byte is out of band and not relayed; all others
 * are, and the end comes behind them. */
static void urgent_byte_within_bulk(struct pair *pair) {
    peer_relay(&pair->client, &pair->server, 32 * MIB);
    cr_assert(send(pair->client.fd, "!", 1, MSG_OOB) == 1);
    peer_send_pattern(&pair->client, 100000);
}

Test(feature, splice_does_not_stop_at_urgent_data, .timeout = 60) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", "");
    pair_open(&pair, moonring.address, &listener);
    urgent_byte_within_bulk(&pair);
    peer_expect_pattern(&pair.server, 100000);
    peer_relay(&pair.client, &pair.server, 1 * MIB);
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") >= 1);
}

Test(feature, splice_loses_nothing_between_urgent_data_and_the_end, .timeout = 60) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", "");
    pair_open(&pair, moonring.address, &listener);
    urgent_byte_within_bulk(&pair);
    peer_end(&pair.client);
    peer_expect_pattern(&pair.server, 100000);
    peer_expect_end(&pair.server);
}

Test(feature, splice_keeps_the_data_before_a_reset, .timeout = 60) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", "");
    pair_open(&pair, moonring.address, &listener);
    peer_relay(&pair.server, &pair.client, 32 * MIB);
    cr_assert(moonring_counter(&moonring, "moonring_splice_promotions_total") >= 1);
    reset_behind_data(&pair);
}
