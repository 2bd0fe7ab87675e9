/* Each timeout ends what it is for, at its time, with its reason, and nothing else. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void session_start(struct moonring *moonring, struct pair *pair, const char *timeouts) {
    struct peer_listener listener;
    moonring_start_web(moonring, &listener, timeouts, "");
    pair_open(pair, moonring->address, &listener);
}

/* Both sides are closed, not before `timeout_ms` after start_ms, and the log says why. */
static void expect_timeout(struct moonring *moonring, struct pair *pair, uint64_t start_ms, uint64_t timeout_ms,
                           const char *words) {
    moonring_expect_session(moonring, words);
    uint64_t took_ms = deadline_now_ms() - start_ms;
    cr_assert(took_ms + 5 >= timeout_ms, "it took %lu ms", took_ms);
    peer_expect_closed(&pair->client);
    peer_expect_closed(&pair->server);
}

Test(timeout, idle_closes_a_silent_session, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, "timeouts: {idle: 300ms}");
    uint64_t start_ms = deadline_now_ms(); /* before the last byte: from then on it counts */
    pair_exchange(&pair, 100);
    expect_timeout(&moonring, &pair, start_ms, 300, "reason=timeout_idle ended_by=moonring");
}

Test(timeout, idle_closes_a_session_that_never_spoke, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "timeouts: {idle: 300ms}", "");
    uint64_t start_ms = deadline_now_ms();
    pair_open(&pair, moonring.address, &listener);
    expect_timeout(&moonring, &pair, start_ms, 300, "reason=timeout_idle");
}

Test(timeout, idle_spares_a_session_in_which_one_side_speaks, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, "timeouts: {idle: 3s}");
    for (int round = 0; round < 10; round++) {
        peer_relay(&pair.server, &pair.client, 10);
        deadline_pause(400); /* all of them are longer than the timeout, none is nearly as long */
    }
    uint64_t start_ms = deadline_now_ms();
    pair_exchange(&pair, 100);
    expect_timeout(&moonring, &pair, start_ms, 3000, "reason=timeout_idle from_server_bytes=200");
}

Test(timeout, half_close_closes_when_the_open_direction_is_silent, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, "timeouts: {half_close: 300ms}");
    pair_exchange(&pair, 100);
    peer_end(&pair.client);
    uint64_t start_ms = deadline_now_ms();
    peer_expect_end(&pair.server);
    peer_relay(&pair.server, &pair.client, 100);
    expect_timeout(&moonring, &pair, start_ms, 300, "reason=timeout_half_close ended_by=moonring");
}

Test(timeout, half_close_spares_a_session_whose_sides_are_both_open, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, "timeouts: {half_close: 100ms}");
    deadline_pause(500);
    pair_exchange(&pair, 100);
}

/* A small window, and more bytes than the kernel takes on the way: with Debian's limits 16 MiB, on some machines more.
 */
static size_t stall_begin(struct moonring *moonring, struct pair *pair, const char *timeouts) {
    enum { WINDOW = 16384, MORE_THAN_FITS = 512 << 20 };
    struct peer_listener listener;
    moonring_start_web(moonring, &listener, timeouts, "");
    int size = WINDOW;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    peer_connect_socket(&pair->client, fd, moonring->address);
    pair_accept(pair, &listener);
    return peer_send_until_stuck(&pair->server, MORE_THAN_FITS);
}

Test(timeout, send_stall_closes_when_a_reader_takes_nothing, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    uint64_t start_ms = deadline_now_ms();
    stall_begin(&moonring, &pair, "timeouts: {send_stall: 800ms}");
    expect_timeout(&moonring, &pair, start_ms, 800, "reason=timeout_send_stall ended_by=moonring");
}

/* Its kernel takes some bytes again and again, but for long not so many that a send would find room. */
Test(timeout, send_stall_spares_a_slow_reader_that_takes_something, .timeout = 30) {
    enum { ROUNDS = 25, TAKEN = 30000 };
    struct moonring moonring;
    struct pair pair;
    size_t sent = stall_begin(&moonring, &pair, "timeouts: {send_stall: 3s}");
    for (int round = 0; round < ROUNDS; round++) {
        peer_expect_pattern(&pair.client, TAKEN);
        deadline_pause(160); /* 4 s in all */
    }
    peer_expect_pattern(&pair.client, sent - ROUNDS * TAKEN);
    pair_exchange(&pair, 100);
}

Test(timeout, max_lifetime_closes_a_busy_session, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "timeouts: {max_lifetime: 3s}", "");
    uint64_t start_ms = deadline_now_ms(); /* before it is accepted: from then on it counts */
    pair_open(&pair, moonring.address, &listener);
    for (int round = 0; round < 5; round++) {
        pair_exchange(&pair, 100);
        deadline_pause(100);
    }
    expect_timeout(&moonring, &pair, start_ms, 3000, "reason=timeout_lifetime ended_by=moonring from_client_bytes=500");
}
