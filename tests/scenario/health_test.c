/* Servers that die, hang and come back, with checks, outlier detection, and sessions under way. */
#include "tests/support/moonring.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { SERVERS = 2 };

/* Two servers, a and b; `keys` are more keys of their upstream. */
static void start_with_two(struct moonring *moonring, struct peer_listener servers[SERVERS], const char *keys) {
    moonring_start(moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams:\n"
                   "  pool:\n"
                   "    servers: [{name: a, address: '%s'}, {name: b, address: '%s'}]\n"
                   "    slow_start: off\n"
                   "    %s\n"
                   "shutdown: {drain_timeout: 200ms}\n"
                   "process: {workers: 1}\n",
                   servers[0].address, servers[1].address, keys);
}

static void wait_log(struct moonring *moonring, const char *text) {
    process_wait_line(&moonring->process, &moonring->process.errors, text);
}

/* So many sessions, each of which goes to that server with the first try. Nobody accepts them: among those that wait
 * there are also the checks. */
static void expect_all_on(struct moonring *moonring, const char *words, int sessions) {
    struct peer client;
    for (int session = 0; session < sessions; session++) {
        peer_connect(&client, moonring->address);
        const char *counter = "moonring_server_sessions_active";
        moonring_wait_counter_is(moonring, counter, 1);
        peer_reset(&client);
        moonring_expect_session(moonring, words);
    }
}

#define CHECKS "health_check: {interval: 50ms, timeout: 2s}"

Test(health, a_server_that_refuses_is_down_and_comes_back, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    peer_refuse(&servers[0], "127.0.0.1:0");
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, CHECKS);
    wait_log(&moonring, "server a is down: Connection refused, the first check");
    expect_all_on(&moonring, "server=b tries=1", 10);
    peer_listener_open(&servers[0]);
    wait_log(&moonring, "server a is up again: 2 checks in a row have passed");
    peer_listener_close(&servers[1]);
    wait_log(&moonring, "server b is down: Connection refused, 3 checks in a row");
    expect_all_on(&moonring, "server=a tries=1", 4);
}

Test(health, a_server_that_is_silent_is_down, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    peer_blackhole(&servers[0]);
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, CHECKS);
    wait_log(&moonring, "server a is down: no answer within 2s, the first check");
    expect_all_on(&moonring, "server=b tries=1", 10);
}

Test(health, a_unix_socket_that_is_not_there_is_down, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    snprintf(servers[0].address, sizeof(servers[0].address), "unix:@moonring-nobody-%u", peer_free_port());
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, CHECKS);
    wait_log(&moonring, "server a is down: Connection refused, the first check");
    expect_all_on(&moonring, "server=b tries=1", 4);
}

/* Checks of it end with EAGAIN, as those for which we have no port. By the time that five of the other's have failed,
 * it has been checked, too. */
Test(health, a_check_that_fails_on_our_side_is_no_verdict, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct peer filler;
    char address[64];
    snprintf(address, sizeof(address), "unix:@moonring-full-%u", peer_free_port());
    peer_refuse(&servers[0], address);
    cr_assert_eq(listen(servers[0].fd, 0), 0);
    peer_connect(&filler, servers[0].address);
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, "health_check: {interval: 50ms, timeout: 200ms, fall: 5}");
    moonring_wait_counter(&moonring, "moonring_server_checks_total", 1);
    peer_listener_close(&servers[1]);
    wait_log(&moonring, "server b is down: Connection refused, 5 checks in a row");
    const char *log = process_text(&moonring.process.errors);
    cr_assert(strstr(log, "server a is down") == NULL, "%s", log);
}

Test(health, a_server_that_refuses_sessions_is_ejected_and_no_client_notices, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pair;
    peer_refuse(&servers[0], "127.0.0.1:0");
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, "outlier_detection: {consecutive_failures: 3, ejection_time: 1h}");
    for (int session = 0; session < 6; session++) {
        pair_open(&pair, moonring.address, &servers[1]);
        pair_exchange(&pair, 100);
        pair_close(&pair);
        moonring_expect_session(&moonring, "server=b");
    }
    /* After three, or as soon after as the control thread comes to it. */
    const char *line = process_wait_line(&moonring.process, &moonring.process.errors, "server a is ejected for 1h: ");
    cr_assert(strstr(line, " connects in a row have failed, the last with: Connection refused") != NULL, "%s", line);
    expect_all_on(&moonring, "server=b tries=1", 10);
}

Test(health, an_ejected_server_gets_a_chance_and_longer_ejections, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pair;
    peer_refuse(&servers[0], "127.0.0.1:0");
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, "outlier_detection: {consecutive_failures: 1, ejection_time: 100ms}");
    for (int time = 0; time < 2; time++) {
        for (int session = 0; session < 2; session++) {
            pair_open(&pair, moonring.address, &servers[1]);
            pair_close(&pair);
        }
        wait_log(&moonring, time == 0 ? "server a is ejected for 100ms" : "server a is ejected for 200ms");
        wait_log(&moonring, "server a is no longer ejected");
    }
}

static void fail_to_connect(const char *address, int sessions) {
    struct peer client;
    for (int session = 0; session < sessions; session++) {
        peer_connect(&client, address);
        peer_expect_closed(&client);
    }
}

/* Somebody looks at all servers when c has failed: at a, too, which no session has tried since it is back. */
Test(health, a_server_that_is_back_is_not_ejected_for_failures_while_it_was_down, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    char other[ADDRESS_TEXT_MAX];
    peer_refuse(&servers[0], "127.0.0.1:0");
    peer_refuse(&servers[1], "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}, other: {bind: '127.0.0.1:0', upstream: "
                   "rest}}\n"
                   "upstreams:\n"
                   "  pool:\n"
                   "    servers: [{name: a, address: '%s'}]\n"
                   "    health_check: {interval: 50ms}\n"
                   "    outlier_detection: {consecutive_failures: 2, ejection_time: 1h, max_ejection: 100%%}\n"
                   "  rest:\n"
                   "    servers: [{name: c, address: '%s'}]\n"
                   "    outlier_detection: {consecutive_failures: 1, ejection_time: 1h, max_ejection: 100%%}\n"
                   "process: {workers: 1}\n",
                   servers[0].address, servers[1].address);
    moonring_listener_address(&moonring, "other", 0, other);
    wait_log(&moonring, "server a is down");
    fail_to_connect(moonring.address, 3);
    peer_listener_open(&servers[0]);
    wait_log(&moonring, "server a is up again");
    fail_to_connect(other, 1);
    wait_log(&moonring, "server c is ejected");
    const char *log = process_text(&moonring.process.errors);
    cr_assert(strstr(log, "server a is ejected") == NULL, "%s", log);
}

/* One of two may be ejected: else a mistake about one could take the other along. */
Test(health, max_ejection_spares_the_last_server, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct peer client;
    peer_refuse(&servers[0], "127.0.0.1:0");
    peer_refuse(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, "outlier_detection: {consecutive_failures: 2, ejection_time: 1h}");
    for (int session = 0; session < 4; session++) {
        peer_connect(&client, moonring.address);
        peer_expect_closed(&client);
    }
    wait_log(&moonring, "is ejected for 1h");
    wait_log(&moonring, "it is not ejected: max_ejection is 50%");
}

Test(health, servers_that_are_all_down_are_tried_anyway, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pair;
    peer_refuse(&servers[0], "127.0.0.1:0");
    peer_refuse(&servers[1], "127.0.0.1:0");
    start_with_two(&moonring, servers, "health_check: {interval: 1h}\n    outlier_detection: {max_ejection: 100%}");
    wait_log(&moonring, "pool: no server is in service");
    peer_listener_open(&servers[1]); /* and no check will say so within the hour */
    for (int session = 0; session < 4; session++) {
        pair_open(&pair, moonring.address, &servers[1]);
        pair_exchange(&pair, 100);
        pair_close(&pair);
        moonring_expect_session(&moonring, "server=b");
    }
}

/* Two sessions, of which only that of server a is held; returns b's. */
static void open_on_both(struct moonring *moonring, struct peer_listener servers[SERVERS], struct pair pairs[SERVERS]) {
    for (size_t index = 0; index < SERVERS; index++) {
        pair_open(&pairs[index], moonring->address, &servers[index]);
        pair_exchange(&pairs[index], 100);
    }
}

static void lose_a(struct moonring *moonring, struct peer_listener servers[SERVERS], struct pair pairs[SERVERS],
                   const char *on_server_down) {
    char keys[256];
    snprintf(keys, sizeof(keys), "outlier_detection: {consecutive_failures: 1, ejection_time: 1h}\n    %s",
             on_server_down);
    peer_listen(&servers[0], "127.0.0.1:0");
    peer_listen(&servers[1], "127.0.0.1:0");
    start_with_two(moonring, servers, keys);
    open_on_both(moonring, servers, pairs);
    peer_listener_close(&servers[0]);
    struct pair pair;
    pair_open(&pair, moonring->address, &servers[1]);
    wait_log(moonring, "server a is ejected");
    pair_close(&pair);
}

Test(health, on_server_down_keep_lets_sessions_live, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pairs[SERVERS];
    lose_a(&moonring, servers, pairs, "on_server_down: keep");
    pair_exchange(&pairs[0], 1000);
    pair_exchange(&pairs[1], 1000);
}

Test(health, on_server_down_reset_resets_only_its_sessions, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pairs[SERVERS];
    lose_a(&moonring, servers, pairs, "on_server_down: reset");
    peer_expect_reset(&pairs[0].client);
    peer_expect_reset(&pairs[0].server);
    pair_exchange(&pairs[1], 1000);
    pair_close(&pairs[1]);
    while (strstr(moonring_wait_session(&moonring), "server=a") == NULL) {
    }
    cr_assert(strstr(process_text(&moonring.process.output), "reason=server_down ended_by=moonring") != NULL);
}

Test(health, on_server_down_drain_closes_sessions_after_the_drain_timeout, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pairs[SERVERS];
    lose_a(&moonring, servers, pairs, "on_server_down: drain");
    peer_expect_closed(&pairs[0].client);
    pair_exchange(&pairs[1], 1000);
    while (strstr(moonring_wait_session(&moonring), "reason=drained") == NULL) {
    }
}

/* A server that a reload removes: on_removed of that reload. */
static void remove_a(struct moonring *moonring, struct pair pairs[SERVERS], const char *on_removed) {
    static const char format[] = "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                                 "upstreams: {pool: {servers: [%s{name: b, address: '%s'}], on_removed: %s}}\n"
                                 "shutdown: {drain_timeout: 200ms}\n"
                                 "process: {workers: 1}\n";
    struct peer_listener servers[SERVERS];
    char first[ADDRESS_TEXT_MAX + 64];
    peer_listen(&servers[0], "127.0.0.1:0");
    peer_listen(&servers[1], "127.0.0.1:0");
    snprintf(first, sizeof(first), "{name: a, address: '%s'}, ", servers[0].address);
    moonring_start(moonring, format, first, servers[1].address, "keep");
    open_on_both(moonring, servers, pairs);
    moonring_reload(moonring, format, "", servers[1].address, on_removed);
}

Test(health, on_removed_keep_lets_sessions_of_a_removed_server_live, .timeout = 30) {
    struct moonring moonring;
    struct pair pairs[SERVERS];
    remove_a(&moonring, pairs, "keep");
    pair_exchange(&pairs[0], 1000);
    pair_exchange(&pairs[1], 1000);
}

Test(health, on_removed_reset_resets_sessions_of_a_removed_server, .timeout = 30) {
    struct moonring moonring;
    struct pair pairs[SERVERS];
    remove_a(&moonring, pairs, "reset");
    peer_expect_reset(&pairs[0].client);
    peer_expect_reset(&pairs[0].server);
    moonring_expect_session(&moonring, "server=a reason=server_down");
    pair_exchange(&pairs[1], 1000);
}

Test(health, on_removed_drain_closes_sessions_of_a_removed_server_later, .timeout = 30) {
    struct moonring moonring;
    struct pair pairs[SERVERS];
    remove_a(&moonring, pairs, "drain");
    peer_expect_closed(&pairs[0].client);
    moonring_expect_session(&moonring, "server=a reason=drained");
    pair_exchange(&pairs[1], 1000);
}

Test(health, on_server_down_drain_holds_for_a_server_that_a_reload_removes, .timeout = 30) {
    static const char format[] = "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                                 "upstreams:\n"
                                 "  pool:\n"
                                 "    servers: [%s{name: b, address: '%s'}]\n"
                                 "    outlier_detection: {consecutive_failures: 1, ejection_time: 1h}\n"
                                 "    on_server_down: drain\n"
                                 "shutdown: {drain_timeout: %s}\n"
                                 "process: {workers: 1}\n";
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    struct pair pairs[SERVERS];
    struct pair pair;
    char first[ADDRESS_TEXT_MAX + 64];
    peer_listen(&servers[0], "127.0.0.1:0");
    peer_listen(&servers[1], "127.0.0.1:0");
    snprintf(first, sizeof(first), "{name: a, address: '%s'}, ", servers[0].address);
    moonring_start(&moonring, format, first, servers[1].address, "1h");
    open_on_both(&moonring, servers, pairs);
    peer_listener_close(&servers[0]);
    pair_open(&pair, moonring.address, &servers[1]);
    wait_log(&moonring, "server a is ejected");
    moonring_reload(&moonring, format, "", servers[1].address, "1h");
    pair_exchange(&pairs[0], 1000);
    moonring_reload(&moonring, format, "", servers[1].address, "200ms");
    peer_expect_closed(&pairs[0].client);
    moonring_expect_session(&moonring, "server=a reason=drained");
    pair_exchange(&pairs[1], 1000);
}
