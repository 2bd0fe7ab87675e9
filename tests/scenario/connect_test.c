/* Servers that refuse, hang or come late; the next one is tried before any byte was sent. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Two servers in the order in which they are to be tried. */
static void start_with_two(struct moonring *moonring, const struct peer_listener *first,
                           const struct peer_listener *second) {
    moonring_start(moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool, timeouts: {connect: 300ms}}}\n"
                   "upstreams: {pool: {balance: first, servers: ['%s', '%s'], retry: {attempts: 2, backoff: 10ms}}}\n",
                   first->address, second->address);
}

static void start_with_one(struct moonring *moonring, const struct peer_listener *server) {
    moonring_start(moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool, timeouts: {connect: 300ms}}}\n"
                   "upstreams: {pool: {servers: ['%s'], retry: {attempts: 1}}}\n",
                   server->address);
}

static void next_server_is_tried(const struct peer_listener *bad) {
    struct moonring moonring;
    struct peer_listener good;
    struct pair pair;
    peer_listen(&good, "127.0.0.1:0");
    start_with_two(&moonring, bad, &good);
    peer_connect(&pair.client, moonring.address);
    peer_send(&pair.client, "early words");
    pair_accept(&pair, &good);
    peer_expect(&pair.server, "early words");
    pair_exchange(&pair, 1000);
    peer_end(&pair.client);
    peer_end(&pair.server);
    char words[256];
    snprintf(words, sizeof(words), "tries=2 server_address=%s from_client_bytes=1011", good.address);
    moonring_expect_session(&moonring, words);
}

Test(connect, tries_the_next_server_when_one_refuses, .timeout = 30) {
    struct peer_listener bad;
    peer_refuse(&bad, "127.0.0.1:0");
    next_server_is_tried(&bad);
}

Test(connect, tries_the_next_server_when_one_hangs, .timeout = 30) {
    struct peer_listener bad;
    peer_blackhole(&bad);
    next_server_is_tried(&bad);
}

Test(connect, tries_the_next_server_when_a_unix_socket_is_missing, .timeout = 30) {
    struct peer_listener bad = {.address = "unix:/nonexistent/server.sock"};
    next_server_is_tried(&bad);
}

Test(connect, waits_for_a_slow_server, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener slow;
    struct pair pair;
    peer_blackhole(&slow);
    moonring_start(&moonring, "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s'}}\n", slow.address);
    peer_connect(&pair.client, moonring.address);
    peer_send(&pair.client, "patience");
    peer_expect_silence(&pair.client, 300);
    peer_listener_unblock(&slow);
    pair_accept(&pair, &slow);
    peer_expect(&pair.server, "patience");
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    const char *line = moonring_wait_session(&moonring);
    cr_assert(session_line_number(line, "connect_ms") >= 300, "%s", line);
}

Test(connect, closes_the_client_when_all_servers_are_down, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener first, second;
    peer_refuse(&first, "127.0.0.1:0");
    peer_refuse(&second, "127.0.0.1:0");
    start_with_two(&moonring, &first, &second);
    uint64_t cpu_before_ns = process_cpu_ns(&moonring.process);
    for (int attempt = 0; attempt < 20; attempt++) {
        struct peer client;
        peer_connect(&client, moonring.address);
        peer_expect_closed(&client);
        moonring_expect_session(&moonring, "reason=no_server ended_by=moonring tries=2");
    }
    uint64_t cpu_ns = process_cpu_ns(&moonring.process) - cpu_before_ns;
    cr_assert(cpu_ns < 200000000, "20 failures took %lu ns of CPU", cpu_ns);
}

Test(connect, gives_up_on_a_server_that_hangs, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener dead;
    peer_blackhole(&dead);
    start_with_one(&moonring, &dead);
    struct peer client;
    uint64_t start_ms = deadline_now_ms();
    peer_connect(&client, moonring.address);
    peer_expect_closed(&client);
    uint64_t took_ms = deadline_now_ms() - start_ms;
    cr_assert(took_ms >= 300 && took_ms < 5000, "it took %lu ms", took_ms); /* what it is without being told */
    moonring_expect_session(&moonring, "reason=timeout_connect ended_by=moonring");
}

Test(connect, goes_to_a_server_that_came_back, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener server;
    struct pair pair;
    peer_refuse(&server, "127.0.0.1:0");
    start_with_one(&moonring, &server);
    peer_connect(&pair.client, moonring.address);
    peer_expect_closed(&pair.client);
    peer_listener_open(&server);
    pair_open(&pair, moonring.address, &server);
    pair_exchange(&pair, 1000);
}

Test(connect, ends_when_the_client_leaves_first, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener dead;
    peer_blackhole(&dead);
    moonring_start(&moonring, "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s', timeouts: {connect: 1s}}}\n",
                   dead.address);
    struct peer client;
    peer_connect(&client, moonring.address);
    moonring_wait_counter(&moonring, "moonring_sessions_active", 1);
    peer_reset(&client);
    moonring_wait_session(&moonring);
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 0);
}
