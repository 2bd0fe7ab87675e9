/* Bytes arrive whole and in order, however they are sent. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>

static void session_start(struct moonring *moonring, struct pair *pair) {
    struct peer_listener listener;
    moonring_start_web(moonring, &listener, "", "");
    pair_open(pair, moonring->address, &listener);
}

static void exchange_both_ways(uint64_t size, size_t send_size, size_t read_size) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    struct transfer transfers[] = {
        {.peer = &pair.client, .send = size, .expect = size, .send_size = send_size, .read_size = read_size},
        {.peer = &pair.server, .send = size, .expect = size, .send_size = send_size, .read_size = read_size},
    };
    transfers_run(transfers, 2);
    peer_end(&pair.client);
    peer_expect_end(&pair.server);
    peer_end(&pair.server);
    peer_expect_end(&pair.client);
    const char *line = moonring_wait_session(&moonring);
    cr_assert(session_line_number(line, "from_client_bytes") == size &&
              session_line_number(line, "from_server_bytes") == size);
    moonring_stop(&moonring);
}

Test(exchange, of_single_bytes_both_ways_at_once_is_whole, .timeout = 30) {
    exchange_both_ways(50000, 1, 0);
}

Test(exchange, to_readers_of_single_bytes_is_whole, .timeout = 30) {
    exchange_both_ways(100000, 0, 1);
}

Test(exchange, of_1_mib_writes_both_ways_at_once_is_whole, .timeout = 30) {
    exchange_both_ways(256 << 20, 1 << 20, 0);
}

Test(exchange, of_odd_sizes_both_ways_at_once_is_whole, .timeout = 30) {
    exchange_both_ways(20000003, 16385, 9973);
}

Test(exchange, of_a_thousand_questions_and_answers_is_whole, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    for (size_t round = 0; round < 1000; round++) {
        pair_exchange(&pair, 1 + round * 37 % 5000);
    }
}

Test(exchange, may_be_begun_by_the_server, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair);
    peer_send(&pair.server, "220 welcome\r\n");
    peer_expect(&pair.client, "220 welcome\r\n");
    pair_exchange(&pair, 100);
}

Test(exchange, may_be_begun_by_the_client_before_the_server_is_there, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "");
    struct peer client, server;
    peer_connect(&client, moonring.address);
    peer_send(&client, "HELO there\r\n");
    peer_end(&client);
    peer_accept(&server, &listener);
    peer_expect(&server, "HELO there\r\n");
    peer_expect_end(&server);
}

Test(exchange, of_64_sessions_at_once_mixes_nothing_up, .timeout = 30) {
    enum { SESSIONS = 64, SIZE = 1 << 20 };
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "");
    struct pair pairs[SESSIONS];
    struct transfer transfers[2 * SESSIONS];
    for (size_t index = 0; index < SESSIONS; index++) {
        pair_open(&pairs[index], moonring.address, &listener);
        transfers[2 * index] = (struct transfer){.peer = &pairs[index].client, .send = SIZE, .expect = SIZE};
        transfers[2 * index + 1] = (struct transfer){.peer = &pairs[index].server, .send = SIZE, .expect = SIZE};
    }
    transfers_run(transfers, 2 * SESSIONS);
}
