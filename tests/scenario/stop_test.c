/* How moonring ends: a drain that lets sessions finish, a drain that is cut, and at once. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>

/* Starts with one live session and asks it to stop; returns when it has closed its listener. */
static void drain_begin(struct moonring *moonring, struct pair *pair, const char *shutdown) {
    struct peer_listener listener;
    moonring_start_web(moonring, &listener, "", shutdown);
    pair_open(pair, moonring->address, &listener);
    pair_exchange(pair, 1000);
    process_signal(&moonring->process, SIGTERM);
    struct peer client;
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (peer_try_connect(&client, moonring->address) != ECONNREFUSED) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "it still accepts");
        peer_reset(&client); /* one that came too early makes a session: it is to end at once */
        deadline_pause(5);
    }
}

Test(stop, without_sessions_ends_at_once, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "shutdown: {drain_timeout: 1h}\n");
    moonring_stop(&moonring);
}

Test(stop, refuses_new_clients_and_lets_live_sessions_finish, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    drain_begin(&moonring, &pair, "");
    pair_exchange(&pair, 1 << 20);
    cr_assert(process_is_running(&moonring.process));
    peer_end(&pair.client);
    peer_expect_end(&pair.server);
    peer_end(&pair.server);
    peer_expect_end(&pair.client);
    cr_assert(process_wait(&moonring.process) == 0);
    process_wait_line(&moonring.process, &moonring.process.output, "reason=client_fin");
}

Test(stop, cuts_sessions_that_outlive_the_drain, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    uint64_t start_ms = deadline_now_ms();
    drain_begin(&moonring, &pair, "shutdown: {drain_timeout: 500ms}\n");
    peer_expect_closed(&pair.client);
    peer_expect_closed(&pair.server);
    cr_assert(process_wait(&moonring.process) == 0);
    uint64_t took_ms = deadline_now_ms() - start_ms;
    cr_assert(took_ms >= 500, "it took %lu ms", took_ms);
    process_wait_line(&moonring.process, &moonring.process.output, "reason=shutdown ended_by=moonring");
}

static void second_signal_ends_now(int signal) {
    struct moonring moonring;
    struct pair pair;
    drain_begin(&moonring, &pair, "shutdown: {drain_timeout: 1h}\n");
    pair_exchange(&pair, 1000);
    process_signal(&moonring.process, signal);
    cr_assert(process_wait(&moonring.process) == 0);
    peer_expect_closed(&pair.client);
    peer_expect_closed(&pair.server);
    process_wait_line(&moonring.process, &moonring.process.output, "reason=shutdown ended_by=moonring");
}

Test(stop, happens_at_once_with_a_second_sigterm, .timeout = 30) {
    second_signal_ends_now(SIGTERM);
}

Test(stop, happens_at_once_with_a_sigint_after_the_sigterm, .timeout = 30) {
    second_signal_ends_now(SIGINT);
}

Test(stop, at_once_ends_a_session_that_is_still_connecting, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener dead;
    struct peer client;
    peer_blackhole(&dead);
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s', timeouts: {connect: 1h}}}\n"
                   "shutdown: {drain_timeout: 1h}\n",
                   dead.address);
    peer_connect(&client, moonring.address);
    moonring_wait_counter(&moonring, "moonring_sessions_active", 1);
    process_signal(&moonring.process, SIGTERM);
    process_wait_line(&moonring.process, &moonring.process.errors, "stopping"); /* or both would be one signal */
    process_signal(&moonring.process, SIGTERM);
    peer_expect_closed(&client);
    cr_assert(process_wait(&moonring.process) == 0);
}

Test(stop, serves_clients_that_were_waiting_in_the_queue, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair first, second;
    moonring_start_web(&moonring, &listener, "", "process: {workers: 1}\n");
    process_signal(&moonring.process, SIGSTOP); /* so that the clients come before the signal and wait together */
    peer_connect(&first.client, moonring.address);
    peer_connect(&second.client, moonring.address);
    process_signal(&moonring.process, SIGTERM);
    process_signal(&moonring.process, SIGCONT);
    pair_accept(&first, &listener);
    pair_accept(&second, &listener);
    cr_assert(process_is_running(&moonring.process));
}

Test(stop, delivers_what_a_slow_reader_has_not_read, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    drain_begin(&moonring, &pair, "");
    size_t sent = peer_send_until_stuck(&pair.server, 64 << 20);
    peer_end(&pair.server);
    peer_expect_pattern(&pair.client, sent);
    peer_expect_end(&pair.client);
    peer_end(&pair.client);
    cr_assert(process_wait(&moonring.process) == 0);
}

/* Clients that were still in the accept queue become sessions after all others were closed: they are closed too. */
Test(stop, at_once_also_ends_clients_that_come_at_the_last_moment, .timeout = 60) {
    enum { CLIENTS = 200 };
    for (int round = 0; round < 5; round++) {
        struct moonring moonring;
        struct peer_listener listener;
        struct peer clients[CLIENTS];
        moonring_start_web(&moonring, &listener, "", "process: {workers: 2}\n");
        process_signal(&moonring.process, SIGSTOP);
        for (size_t index = 0; index < CLIENTS; index++) {
            peer_connect(&clients[index], moonring.address);
        }
        process_signal(&moonring.process, SIGINT);
        process_signal(&moonring.process, SIGCONT);
        cr_assert(process_wait(&moonring.process) == 0);
        for (size_t index = 0; index < CLIENTS; index++) {
            peer_close(&clients[index]);
        }
        peer_listener_close(&listener);
    }
}
