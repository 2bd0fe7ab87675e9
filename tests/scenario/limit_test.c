/* What happens when there is no more of something: descriptors, connections. And that there is plenty before. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/resource.h>

/* Its clients get through the handshake and wait in the kernel's queue. */
static void expect_waiting(struct peer *client, const struct peer_listener *listener) {
    peer_send(client, "let me in");
    cr_assert(!peer_listener_has_client(listener, 200), "the limit let another session through");
}

static void expect_served(struct peer *client, const struct peer_listener *listener) {
    struct peer server;
    peer_accept(&server, listener);
    peer_expect(&server, "let me in");
    peer_send(&server, "welcome");
    peer_expect(client, "welcome");
}

static void third_session_waits(const char *keys, const char *rest) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair first, second;
    struct peer third;
    moonring_start_web(&moonring, &listener, keys, rest);
    pair_open(&first, moonring.address, &listener);
    pair_open(&second, moonring.address, &listener);
    peer_connect(&third, moonring.address);
    expect_waiting(&third, &listener);
    moonring_wait_counter(&moonring, "moonring_accepts_limited_total", 1);
    pair_exchange(&second, 1000);
    pair_close(&first);
    expect_served(&third, &listener);
    pair_exchange(&second, 1000);
}

Test(limit, of_a_listener_lets_clients_wait_until_one_leaves, .timeout = 30) {
    third_session_waits("limits: {max_connections: 2}", "process: {workers: 1}\n");
}

Test(limit, of_a_listener_holds_for_all_workers_together, .timeout = 30) {
    third_session_waits("limits: {max_connections: 2}", "process: {workers: 2}\n");
}

Test(limit, of_the_process_lets_clients_wait_until_one_leaves, .timeout = 30) {
    third_session_waits("", "process: {workers: 1, max_connections: 2}\n");
}

static void allow_64_descriptors(void) {
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Takes descriptors away from a running moonring, which was told at its start that there are many. */
static void leave_descriptors(const struct moonring *moonring, rlim_t count) {
    const struct rlimit limit = {.rlim_cur = count, .rlim_max = count};
    cr_assert(prlimit(moonring->process.pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

static void expect_no_spin(const struct moonring *moonring) {
    uint64_t cpu_ns = process_idle_cpu_ns(&moonring->process, 1000, 200000000);
    cr_assert(cpu_ns < 200000000, "it used %lu ns of CPU in a second of waiting", cpu_ns);
}

/* The servers of clients that are gone, until every client has been let in and has left. */
static void servers_close(struct moonring *moonring, const struct peer_listener *listener, size_t clients) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    double opened, active;
    do {
        while (peer_listener_has_client(listener, 20)) {
            struct peer server;
            peer_accept(&server, listener);
            peer_close(&server);
        }
        const char *report = moonring_report(moonring);
        opened = report_counter(report, "moonring_sessions_opened_total");
        active = report_counter(report, "moonring_sessions_active");
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%g sessions of %zu were opened, %g are open", opened, clients,
                  active);
    } while (opened < (double)clients || active > 0);
}

Test(limit, of_64_descriptors_stops_accepting_without_a_spin_and_recovers, .timeout = 30) {
    enum { CLIENTS = 64 };
    struct moonring moonring;
    struct peer_listener listener;
    struct peer clients[CLIENTS];
    moonring_start_web(&moonring, &listener, "", "process: {workers: 1}\n");
    leave_descriptors(&moonring, 64);
    for (size_t index = 0; index < CLIENTS; index++) {
        peer_connect(&clients[index], moonring.address);
    }
    moonring_wait_counter(&moonring, "moonring_accepts_exhausted_total", 1);
    expect_no_spin(&moonring);
    size_t lines = process_count_lines(&moonring.process.errors, "cannot accept");
    cr_assert(lines == 1, "it told %zu times", lines);

    for (size_t index = 0; index < CLIENTS; index++) {
        peer_close(&clients[index]);
    }
    servers_close(&moonring, &listener, CLIENTS);
    struct pair pair;
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 100000);
}

/* True when its server is connected, false when there was no descriptor for that. */
static bool has_server(struct moonring *moonring, const struct peer_listener *listener) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (!peer_listener_has_client(listener, 50)) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "a client is neither served nor does it wait");
        if (moonring_counter(moonring, "moonring_accepts_exhausted_total") > 0) {
            return peer_listener_has_client(listener, 0); /* it may have come meanwhile */
        }
    }
    return true;
}

/* Opens sessions until one finds no descriptor for its server; returns how many have one. */
static size_t open_until_exhausted(struct moonring *moonring, const struct peer_listener *listener, struct pair *pairs,
                                   size_t count) {
    for (size_t index = 0; index < count; index++) {
        peer_connect(&pairs[index].client, moonring->address);
        if (!has_server(moonring, listener)) {
            return index;
        }
        peer_accept(&pairs[index].server, listener);
    }
    cr_assert_fail("there are still descriptors");
    return count;
}

/* Whether the last descriptor went to the client or was left: whoever comes last waits instead of making way for the
 * next one, and is served when somebody leaves. */
static void last_client_waits(rlim_t descriptors) {
    enum { PAIRS = 64 };
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pairs[PAIRS];
    moonring_start_web(&moonring, &listener, "", "process: {workers: 1}\n");
    leave_descriptors(&moonring, descriptors);
    size_t open = open_until_exhausted(&moonring, &listener, pairs, PAIRS);
    struct peer *last = &pairs[open].client;
    peer_expect_silence(last, 300);
    pair_close(&pairs[0]);
    peer_accept(&pairs[open].server, &listener);
    peer_send(last, "here I am");
    peer_expect(&pairs[open].server, "here I am");
}

Test(limit, of_an_even_number_of_descriptors_lets_the_last_client_wait, .timeout = 30) {
    last_client_waits(64);
}

Test(limit, of_an_odd_number_of_descriptors_lets_the_last_client_wait, .timeout = 30) {
    last_client_waits(65);
}

/* Left to itself, or told a number that cannot be, moonring serves no more sessions at once than it has descriptors
 * for. */
static void nobody_is_turned_away(const char *process) {
    enum { CLIENTS = 64 };
    struct moonring moonring;
    struct peer_listener listener;
    struct peer clients[CLIENTS];
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start_prepared(&moonring, allow_64_descriptors,
                            "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s'}}\nprocess: {workers: 1%s}\n",
                            listener.address, process);
    for (size_t index = 0; index < CLIENTS; index++) {
        peer_connect(&clients[index], moonring.address);
        peer_send(&clients[index], "let me in");
    }
    for (size_t index = 0; index < CLIENTS; index++) {
        struct peer server;
        peer_accept(&server, &listener);
        peer_expect(&server, "let me in");
        peer_send(&server, "bye");
        peer_expect(&clients[index], "bye"); /* the queue is in order */
        peer_close(&clients[index]);
        peer_close(&server);
    }
}

Test(limit, of_64_descriptors_turns_no_client_away_by_default, .timeout = 30) {
    nobody_is_turned_away("");
}

Test(limit, of_connections_is_not_above_that_of_descriptors, .timeout = 30) {
    nobody_is_turned_away(", max_connections: 1000");
}

/* A pipe is taken while a slow reader leaves bytes in it. Unix sockets, since their room is fixed: TCP would ask ever
 * more rarely whether a reader that was slow for long has room again. */
Test(limit, of_pipes_is_no_limit_of_slow_readers, .timeout = 60) {
    enum { PIPES = 64, PAIRS = PIPES + 2, SIZE = 4 << 20 };
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listener;
    struct pair pairs[PAIRS];
    struct transfer transfers[2 * PAIRS];
    char address[ADDRESS_TEXT_MAX];
    temporary_create(&folder);
    snprintf(address, sizeof(address), "unix:%s/server.sock", folder.path);
    peer_listen(&listener, address);
    moonring_start(&moonring,
                   "listeners: {web: {bind: 'unix:%s/client.sock', upstream: '%s'}}\nprocess: {workers: 1}\n",
                   folder.path, address);
    for (size_t index = 0; index < PAIRS; index++) {
        pair_open(&pairs[index], moonring.address, &listener);
        peer_relay(&pairs[index].client, &pairs[index].server, SIZE);
        transfers[2 * index] = (struct transfer){.peer = &pairs[index].client, .send = SIZE};
        transfers[2 * index + 1] = (struct transfer){.peer = &pairs[index].server};
    }
    transfers_run_until_stuck(transfers, 2 * PAIRS);
    moonring_wait_counter_is(&moonring, "moonring_pipes_open", PIPES);
    moonring_wait_counter(&moonring, "moonring_buffers_in_use", 1); /* who is not spliced is received from */
    for (size_t index = 0; index < PAIRS; index++) {
        cr_assert(transfers[2 * index].send > 0, "a sender was not stopped");
        transfers[2 * index + 1].expect = SIZE;
    }
    transfers_run(transfers, 2 * PAIRS);
    moonring_wait_counter_is(&moonring, "moonring_buffers_in_use", 0);
}

static void raise_descriptors(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

Test(limit, is_not_reached_by_5000_sessions_at_once, .timeout = 60) {
    enum { SESSIONS = 5000 };
    static struct pair pairs[SESSIONS];
    struct moonring moonring;
    struct peer_listener listener;
    raise_descriptors();
    moonring_start_web(&moonring, &listener, "", "log: {access: off}\n");
    for (size_t index = 0; index < SESSIONS; index++) {
        pair_open(&pairs[index], moonring.address, &listener);
    }
    cr_assert(moonring_counter(&moonring, "moonring_sessions_active") == SESSIONS);
    for (size_t index = 0; index < SESSIONS; index++) {
        peer_send_pattern(&pairs[index].client, 1000);
    }
    for (size_t index = 0; index < SESSIONS; index++) {
        peer_expect_pattern(&pairs[index].server, 1000);
        peer_send_pattern(&pairs[index].server, 1000);
    }
    for (size_t index = 0; index < SESSIONS; index++) {
        peer_expect_pattern(&pairs[index].client, 1000);
        pair_close(&pairs[index]);
    }
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 0);
    moonring_stop(&moonring);
}
