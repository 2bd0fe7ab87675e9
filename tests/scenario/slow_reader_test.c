/* A slow reader stops its own sender, within bounded memory, and nobody else. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    MIB = 1 << 20,
    BUFFER_SIZE = 16384,
    FLOW_MAX = 128 << 10,  /* what may be queued for one reader, */
    PIPE_SIZE = 256 << 10, /* and where it is spliced */
    STREAM_SIZE = 64 * MIB
};

/* A small window, so that what waits waits in moonring. */
static void slow_client_open(struct pair *pair, const char *address, const struct peer_listener *listener) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int size = BUFFER_SIZE;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    peer_connect_socket(&pair->client, fd, address);
    pair_accept(pair, listener);
}

/* What moonring holds of its only session's flow, in bytes. */
static uint64_t queued_bytes(struct moonring *moonring, const char *key) {
    process_signal(&moonring->process, SIGUSR2);
    return session_line_number(process_wait_line(&moonring->process, &moonring->process.errors, "session "), key);
}

static void stops_its_sender(const char *configuration, uint64_t queued_max) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", configuration);
    slow_client_open(&pair, moonring.address, &listener);
    uint64_t memory_before_kib = process_memory_kib(&moonring.process);
    size_t sent = peer_send_until_stuck(&pair.server, STREAM_SIZE);
    cr_assert(sent < STREAM_SIZE, "the sender was never stopped");
    uint64_t queued = queued_bytes(&moonring, "from_server_queued");
    cr_assert(queued <= queued_max, "%lu bytes are queued", queued);
    cr_assert(process_memory_kib(&moonring.process) < memory_before_kib + 8 * MIB / 1024);
    peer_relay(&pair.client, &pair.server, MIB); /* the other direction does not care */
    struct transfer rest[] = {{.peer = &pair.server, .send = STREAM_SIZE - sent},
                              {.peer = &pair.client, .expect = STREAM_SIZE}};
    transfers_run(rest, 2);
    moonring_wait_counter_is(&moonring, "moonring_buffers_in_use", 0);
}

Test(slow_reader, stops_its_sender_and_gets_everything_later, .timeout = 30) {
    stops_its_sender("process: {workers: 1}\nio: {splice: off}\n", FLOW_MAX + BUFFER_SIZE);
}

Test(slow_reader, stops_its_sender_that_is_spliced_too, .timeout = 30) {
    stops_its_sender("process: {workers: 1}\nio: {splice: auto}\n", PIPE_SIZE);
}

Test(slow_reader, does_not_stop_another_session, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair slow, other;
    moonring_start_web(&moonring, &listener, "", "process: {workers: 1}\n");
    slow_client_open(&slow, moonring.address, &listener);
    peer_send_until_stuck(&slow.server, STREAM_SIZE);
    pair_open(&other, moonring.address, &listener);
    for (int round = 0; round < 200; round++) {
        pair_exchange(&other, 1000);
    }
    pair_exchange(&other, 10 * MIB);
}

/* The receive is armed only when the server is connected, and by then the client's socket is full: a receive without
 * a limit would take all of it at once. */
Test(slow_reader, is_owed_no_more_than_its_share_by_a_receive_armed_on_a_full_socket, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    peer_blackhole(&listener);
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s'}}\n"
                   "process: {workers: 1}\nio: {splice: off}\n",
                   listener.address);
    peer_connect(&pair.client, moonring.address);
    pair.client.send_stream = 1;
    size_t early = peer_send_until_stuck(&pair.client, STREAM_SIZE);
    peer_listener_unblock(&listener);
    peer_accept(&pair.server, &listener);
    pair.server.receive_stream = 1;
    size_t late = peer_send_until_stuck(&pair.client, STREAM_SIZE - early);
    cr_assert(early + late < STREAM_SIZE);
    cr_assert(queued_bytes(&moonring, "from_client_queued") <= FLOW_MAX + BUFFER_SIZE);
    peer_expect_pattern(&pair.server, early + late);
}

/* Unix sockets keep the kernel's share small: it gives them a fixed room, about 200 KiB on each side of moonring. */
static void start_on_unix_sockets(struct moonring *moonring, struct temporary *folder, struct peer_listener *listener) {
    char address[ADDRESS_TEXT_MAX];
    temporary_create(folder);
    snprintf(address, sizeof(address), "unix:%s/server.sock", folder->path);
    peer_listen(listener, address);
    moonring_start(moonring,
                   "listeners: {web: {bind: 'unix:%s/client.sock', upstream: '%s'}}\n"
                   "process: {workers: 1}\nio: {splice: off}\n",
                   folder->path, listener->address);
}

Test(slow_reader, is_owed_128_kib_at_the_most, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listener;
    struct pair pair;
    start_on_unix_sockets(&moonring, &folder, &listener);
    pair_open(&pair, moonring.address, &listener);
    size_t sent = peer_send_until_stuck(&pair.server, STREAM_SIZE);
    cr_assert(sent < FLOW_MAX + MIB / 2, "%zu bytes are on their way", sent);
    peer_expect_pattern(&pair.client, sent);
}

Test(slow_reader, times_64_that_hold_the_whole_buffer_ring_stops_no_other_session, .timeout = 60) {
    enum { SESSIONS = 64, SIZE = 4 * MIB };
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listener;
    struct pair slow[SESSIONS], other;
    struct transfer transfers[2 * SESSIONS];
    start_on_unix_sockets(&moonring, &folder, &listener);
    pair_open(&other, moonring.address, &listener);
    for (size_t index = 0; index < SESSIONS; index++) {
        pair_open(&slow[index], moonring.address, &listener);
        transfers[2 * index] = (struct transfer){.peer = &slow[index].client, .send = SIZE};
        transfers[2 * index + 1] = (struct transfer){.peer = &slow[index].server, .send = SIZE};
    }
    uint64_t memory_before_kib = process_memory_kib(&moonring.process);
    transfers_run_until_stuck(transfers, 2 * SESSIONS);
    for (int round = 0; round < 200; round++) {
        pair_exchange(&other, 20000);
    }
    cr_assert(moonring_counter(&moonring, "moonring_buffers_heap_bytes") > 0, "the ring was never short");
    uint64_t growth_kib = process_memory_kib(&moonring.process) - memory_before_kib;
    cr_assert(growth_kib < 64 * MIB / 1024, "grew by %lu KiB", growth_kib);
    for (size_t index = 0; index < 2 * SESSIONS; index++) {
        cr_assert(transfers[index].send > SIZE - MIB, "a sender was not stopped");
        transfers[index].expect = SIZE;
    }
    transfers_run(transfers, 2 * SESSIONS);
    moonring_wait_counter_is(&moonring, "moonring_buffers_in_use", 0);
}
