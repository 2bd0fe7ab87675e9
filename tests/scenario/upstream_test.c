/* Which server of an upstream a session goes to. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <unistd.h>

enum { SERVERS = 3 };

/* Three scripted servers, a b c; `keys` are more keys of each. When one is closed, nobody else shall take its port: the
 * servers of other tests listen on 127.0.0.1. */
static void start_with_three(struct moonring *moonring, struct peer_listener servers[SERVERS], const char *balance,
                             const char *keys[SERVERS]) {
    for (size_t index = 0; index < SERVERS; index++) {
        peer_listen(&servers[index], "127.0.0.3:0");
    }
    moonring_start(moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams:\n"
                   "  pool:\n"
                   "    balance: %s\n"
                   "    servers:\n"
                   "      - {name: a, address: '%s'%s}\n"
                   "      - {name: b, address: '%s'%s}\n"
                   "      - {name: c, address: '%s'%s}\n"
                   "process: {workers: 1}\n",
                   balance, servers[0].address, keys[0], servers[1].address, keys[1], servers[2].address, keys[2]);
}

/* Opens a session and returns the index of the server that it went to. */
static size_t session_open(struct moonring *moonring, struct pair *pair, const struct peer_listener servers[SERVERS]) {
    struct pollfd polls[SERVERS];
    for (size_t index = 0; index < SERVERS; index++) {
        polls[index] = (struct pollfd){.fd = servers[index].fd, .events = POLLIN};
    }
    peer_connect(&pair->client, moonring->address);
    cr_assert(poll(polls, SERVERS, 10000) > 0, "no server was connected");
    size_t index = 0;
    while (polls[index].revents == 0) {
        index++;
    }
    pair_accept(pair, &servers[index]);
    pair_exchange(pair, 100);
    return index;
}

/* Opens `sessions` of them one after the other; counts[i] of them went to server i. */
static void count_choices(struct moonring *moonring, const struct peer_listener servers[SERVERS], size_t sessions,
                          size_t counts[SERVERS]) {
    struct pair pair;
    for (size_t session = 0; session < sessions; session++) {
        counts[session_open(moonring, &pair, servers)]++;
    }
}

Test(upstream, round_robin_takes_turns_by_weight, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    size_t counts[SERVERS] = {0};
    start_with_three(&moonring, servers, "round_robin", (const char *[]){", weight: 2", "", ""});
    count_choices(&moonring, servers, 40, counts);
    cr_assert(counts[0] == 20 && counts[1] == 10 && counts[2] == 10, "%zu %zu %zu", counts[0], counts[1], counts[2]);
}

Test(upstream, first_takes_the_first_that_has_room, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    size_t counts[SERVERS] = {0};
    start_with_three(&moonring, servers, "first", (const char *[]){", max_connections: 3", ", max_connections: 2", ""});
    count_choices(&moonring, servers, 6, counts);
    cr_assert(counts[0] == 3 && counts[1] == 2 && counts[2] == 1, "%zu %zu %zu", counts[0], counts[1], counts[2]);
}

Test(upstream, random_uses_every_server, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    size_t counts[SERVERS] = {0};
    start_with_three(&moonring, servers, "random", (const char *[]){"", "", ""});
    count_choices(&moonring, servers, 60, counts); /* one left out by chance: 3 * (2/3)^60, once in 10^10 runs */
    cr_assert(counts[0] > 0 && counts[1] > 0 && counts[2] > 0, "%zu %zu %zu", counts[0], counts[1], counts[2]);
}

Test(upstream, least_conn_prefers_the_server_that_was_left, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pairs[SERVERS], next;
    size_t taken[SERVERS];
    start_with_three(&moonring, servers, "least_conn", (const char *[]){"", "", ""});
    for (size_t index = 0; index < SERVERS; index++) {
        taken[index] = session_open(&moonring, &pairs[index], servers);
    }
    cr_assert(taken[0] != taken[1] && taken[1] != taken[2] && taken[2] != taken[0]);
    pair_close(&pairs[1]);
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 2);
    cr_assert(session_open(&moonring, &next, servers) == taken[1]);
}

Test(upstream, backup_serves_only_when_all_others_are_out, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pair;
    size_t counts[SERVERS] = {0};
    start_with_three(&moonring, servers, "round_robin", (const char *[]){"", "", ", backup: true"});
    count_choices(&moonring, servers, 10, counts);
    cr_assert(counts[2] == 0);
    close(servers[0].fd);
    close(servers[1].fd);
    peer_connect(&pair.client, moonring.address);
    pair_accept(&pair, &servers[2]);
    pair_exchange(&pair, 100);
}

static void fourth_session_finds_no_room(const char *workers) {
    struct moonring moonring;
    struct peer_listener server;
    struct pair pairs[3];
    struct peer client;
    peer_listen(&server, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams: {pool: {servers: [{address: '%s', max_connections: 3}]}}\n"
                   "process: {workers: %s}\n",
                   server.address, workers);
    for (size_t index = 0; index < 3; index++) {
        pair_open(&pairs[index], moonring.address, &server);
    }
    peer_connect(&client, moonring.address);
    peer_expect_closed(&client);
    moonring_expect_session(&moonring, "reason=upstream_full ended_by=moonring");
    pair_close(&pairs[0]);
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 2);
    pair_open(&pairs[0], moonring.address, &server);
    pair_exchange(&pairs[0], 100);
}

Test(upstream, that_is_full_closes_the_client_and_serves_again_later, .timeout = 30) {
    fourth_session_finds_no_room("1");
}

Test(upstream, that_is_full_is_full_for_all_workers, .timeout = 30) {
    fourth_session_finds_no_room("2");
}
