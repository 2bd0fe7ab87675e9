/* A reset of one side is passed on as a reset, behind the data that was received before it. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

enum { STREAM_SIZE = 16 << 20 };

static void session_start(struct moonring *moonring, struct pair *pair) {
    struct peer_listener listener;
    moonring_start_web(moonring, &listener, "", "");
    pair_open(pair, moonring->address, &listener);
}

/* `from` sends as much as goes and resets; `to`, which had read nothing, gets all that had left `from`'s kernel. */
static void reset_behind_data(struct peer *from, struct peer *to) {
    size_t sent = peer_send_until_stuck(from, STREAM_SIZE);
    size_t taken = sent - peer_unsent(from);
    cr_assert(taken >= 100000, "only %zu bytes were taken", taken);
    peer_reset(from);
    deadline_pause(100); /* the reader is slow: the reset is long known when it begins */
    size_t received = peer_expect_pattern_until_reset(to);
    cr_assert(received >= taken, "%zu bytes had been taken before the reset, %zu came through", taken, received);
}

Test(reset, of_the_server_comes_behind_its_data_to_a_slow_client, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    reset_behind_data(&pair.server, &pair.client);
    moonring_expect_session(&moonring, "reason=server_reset ended_by=server");
}

Test(reset, of_the_client_comes_behind_its_data_to_a_slow_server, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    reset_behind_data(&pair.client, &pair.server);
    moonring_expect_session(&moonring, "reason=client_reset ended_by=client");
}

Test(reset, of_an_idle_client_resets_the_server, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    pair_exchange(&pair, 100);
    peer_reset(&pair.client);
    peer_expect_reset(&pair.server);
    moonring_expect_session(&moonring, "reason=client_reset ended_by=client from_client_bytes=100");
}

Test(reset, of_an_idle_server_resets_the_client, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    pair_exchange(&pair, 100);
    peer_reset(&pair.server);
    peer_expect_reset(&pair.client);
    moonring_expect_session(&moonring, "reason=server_reset ended_by=server from_server_bytes=100");
}

/* A send that fails takes the socket's error with it: what is read behind it looks like a FIN. */
Test(reset, of_the_server_resets_a_client_that_keeps_sending, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    peer_send_until_stuck(&pair.client, STREAM_SIZE); /* nobody reads: sends are waiting when the reset comes */
    peer_send_pattern(&pair.server, 50000);
    while (peer_unsent(&pair.server) > 0) {
        deadline_pause(1);
    }
    peer_reset(&pair.server);
    cr_assert(peer_expect_pattern_until_reset(&pair.client) == 50000);
    moonring_expect_session(&moonring, "reason=server_reset from_server_bytes=50000");
}

Test(reset, after_a_half_close_is_passed_on, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    peer_end(&pair.client);
    peer_expect_end(&pair.server);
    peer_relay(&pair.server, &pair.client, 50000);
    peer_reset(&pair.server);
    peer_expect_reset(&pair.client);
    moonring_wait_session(&moonring);
}

static void wait_for_state(struct moonring *moonring, const char *state) {
    struct process *process = &moonring->process;
    const char *line = "";
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); strstr(line, state) == NULL;) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "never %s: %s", state, line);
        deadline_pause(5);
        process_signal(&moonring->process, SIGUSR2);
        line = process_wait_line(process, &process->errors, "session ");
    }
}

/* The kernel still counts bytes as unsent when their receiver has reset the connection: they never become fewer. */
static void second_reset_ends_it(bool server_first) {
    enum { WINDOW = 16384, MORE_THAN_THE_WINDOW = 200000 };
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    struct peer *first = server_first ? &pair.server : &pair.client;
    struct peer *second = server_first ? &pair.client : &pair.server;
    int size = WINDOW;
    setsockopt(second->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    peer_send_pattern(first, MORE_THAN_THE_WINDOW);
    while (peer_unsent(first) > 0) {
        deadline_pause(1);
    }
    peer_reset(first);
    wait_for_state(&moonring, "state=resetting");
    peer_reset(second);
    moonring_wait_session(&moonring);
}

Test(reset, of_the_client_ends_a_session_that_waits_for_it_after_a_reset_of_the_server, .timeout = 30) {
    second_reset_ends_it(true);
}

Test(reset, of_the_server_ends_a_session_that_waits_for_it_after_a_reset_of_the_client, .timeout = 30) {
    second_reset_ends_it(false);
}
