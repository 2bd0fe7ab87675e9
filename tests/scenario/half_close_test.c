/* One side ends its stream and the other goes on, for longer than the half_close timeout, which counts only silence. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { REPLY_SIZE = 10 << 20, REPLY_PIECES = 20, PIECE_PAUSE_MS = 160 }; /* 3.2 s; half_close is 3 s */

static void relay_slowly(struct peer *from, struct peer *to) {
    for (int piece = 0; piece < REPLY_PIECES; piece++) {
        peer_relay(from, to, REPLY_SIZE / REPLY_PIECES);
        deadline_pause(PIECE_PAUSE_MS);
    }
}

/* `first` ends, `last` sends 10 MiB slowly and ends. */
static void end_one_after_the_other(struct peer *first, struct peer *last) {
    peer_relay(first, last, 1000);
    peer_end(first);
    peer_expect_end(last);
    relay_slowly(last, first);
    peer_end(last);
    peer_expect_end(first);
}

enum kind { TCP, UNIX };

/* `folder` is where the socket of a unix address lies. */
static const char *kind_address(enum kind kind, const struct temporary *folder, const char *name, char *address) {
    if (kind == TCP) {
        return "127.0.0.1:0";
    }
    snprintf(address, ADDRESS_TEXT_MAX, "unix:%s/%s", folder->path, name);
    return address;
}

static void session_start(struct moonring *moonring, struct pair *pair, enum kind client, enum kind server) {
    struct temporary folder;
    temporary_create(&folder);
    char address[ADDRESS_TEXT_MAX];
    struct peer_listener listener;
    peer_listen(&listener, kind_address(server, &folder, "server.sock", address));
    moonring_start(moonring, "listeners: {web: {bind: '%s', upstream: '%s', timeouts: {half_close: 3s}}}\n",
                   kind_address(client, &folder, "client.sock", address), listener.address);
    pair_open(pair, moonring->address, &listener);
}

static void client_ends_first(enum kind client, enum kind server) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, client, server);
    end_one_after_the_other(&pair.client, &pair.server);
    moonring_expect_session(&moonring, "reason=client_fin ended_by=client from_client_bytes=1000 "
                                       "from_server_bytes=10485760");
}

static void server_ends_first(enum kind client, enum kind server) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, client, server);
    end_one_after_the_other(&pair.server, &pair.client);
    moonring_expect_session(&moonring, "reason=server_fin ended_by=server from_client_bytes=10485760 "
                                       "from_server_bytes=1000");
}

Test(half_close, a_tcp_server_answers_after_a_tcp_client_ended, .timeout = 30) {
    client_ends_first(TCP, TCP);
}

Test(half_close, a_unix_server_answers_after_a_tcp_client_ended, .timeout = 30) {
    client_ends_first(TCP, UNIX);
}

Test(half_close, a_tcp_server_answers_after_a_unix_client_ended, .timeout = 30) {
    client_ends_first(UNIX, TCP);
}

Test(half_close, a_unix_server_answers_after_a_unix_client_ended, .timeout = 30) {
    client_ends_first(UNIX, UNIX);
}

Test(half_close, a_tcp_client_goes_on_after_a_tcp_server_ended, .timeout = 30) {
    server_ends_first(TCP, TCP);
}

Test(half_close, a_tcp_client_goes_on_after_a_unix_server_ended, .timeout = 30) {
    server_ends_first(TCP, UNIX);
}

Test(half_close, a_unix_client_goes_on_after_a_tcp_server_ended, .timeout = 30) {
    server_ends_first(UNIX, TCP);
}

Test(half_close, a_unix_client_goes_on_after_a_unix_server_ended, .timeout = 30) {
    server_ends_first(UNIX, UNIX);
}

Test(half_close, an_end_without_a_byte_is_passed_on, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, TCP, TCP);
    peer_end(&pair.client);
    peer_expect_end(&pair.server);
    peer_end(&pair.server);
    peer_expect_end(&pair.client);
    moonring_expect_session(&moonring, "reason=client_fin from_client_bytes=0 from_server_bytes=0");
}

Test(half_close, an_end_right_behind_the_data_comes_after_the_data, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    session_start(&moonring, &pair, TCP, TCP);
    for (int round = 0; round < 2; round++) {
        struct peer *from = round == 0 ? &pair.client : &pair.server;
        struct peer *to = round == 0 ? &pair.server : &pair.client;
        peer_send_pattern(from, 100000);
        peer_end(from);
        peer_expect_pattern(to, 100000);
        peer_expect_end(to);
    }
}
