#include "engine/flow.h"

#include "service.h"
#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Lets the client send for as long as anybody takes something. Returns how much it sent. */
static size_t send_until_stuck(struct service *service, int fd) {
    size_t sent = 0;
    for (int quiet = 0; quiet < 30;) {
        size_t part = socket_fill(fd, sent);
        sent += part;
        quiet = part > 0 ? 0 : quiet + 1;
        service_turn(service);
    }
    return sent;
}

Test(flow, relays_both_ways_at_once, .timeout = 20) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    for (uint64_t offset = 0; offset < 1000000; offset += 50000) {
        socket_write(pair.client, offset, 50000);
        socket_write(pair.server, offset, 50000);
        service_expect(&service, pair.server, offset, 50000);
        service_expect(&service, pair.client, offset, 50000);
    }
    cr_assert_eq(service_counters(&service)->from_client_bytes, 1000000);
    cr_assert_eq(service_counters(&service)->from_server_bytes, 1000000);
    service_close(&service);
}

Test(flow, relays_byte_by_byte, .timeout = 20) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    for (uint64_t offset = 0; offset < 500; offset++) {
        socket_write(pair.client, offset, 1);
        service_expect(&service, pair.server, offset, 1);
    }
    service_close(&service);
}

static void expect_everything_arrives(struct service *service) {
    service_open(service);
    struct service_pair pair = service_pair(service);
    size_t sent = send_until_stuck(service, pair.client);
    const struct flow *flow = &service_session(service)->from_client;
    cr_assert(flow->blocked);
    cr_assert_leq(flow->queue.bytes, FLOW_QUEUE_MAX);
    kernel_shutdown_write(pair.client);
    service_expect(service, pair.server, 0, sent);
    cr_assert_eq(service_expect_end(service, pair.server), 0);
    service_wait(service, list_is_empty(&service->worker.engine.zero_copies.open));
    service_close(service);
}

Test(flow, keeps_no_more_than_its_bound_for_a_slow_receiver_and_delivers_all, .timeout = 30) {
    struct service service;
    service_init(&service);
    expect_everything_arrives(&service);
}

Test(flow, delivers_all_with_splicing, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.io.splice = true;
    expect_everything_arrives(&service);
}

Test(flow, delivers_all_without_copying, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.io.zero_copy_send = true;
    expect_everything_arrives(&service);
}

Test(flow, delivers_all_on_a_kernel_without_the_newest_features, .timeout = 30) {
    struct service service;
    setenv("MOONRING_DISABLE", "recv_bundle,recv_limit,send_vectored,send_zero_copy", 1);
    service_init(&service);
    service.io.zero_copy_send = true;
    expect_everything_arrives(&service);
}

Test(flow, a_slow_receiver_does_not_hold_up_other_sessions, .timeout = 30) {
    struct service service;
    service_init(&service);
    service_open(&service);
    enum { SLOW = 20 };
    for (int index = 0; index < SLOW; index++) {
        send_until_stuck(&service, service_pair(&service).client);
    }
    struct service_pair pair = service_pair(&service);
    for (uint64_t offset = 0; offset < 1000000; offset += 50000) {
        socket_write(pair.client, offset, 50000);
        service_expect(&service, pair.server, offset, 50000);
    }
    service_close(&service);
}

Test(flow, finds_a_buffer_again_after_others_took_them_all, .timeout = 30) {
    enum { FLOWS = 64 };
    struct service service;
    struct service_pair pairs[FLOWS];
    size_t sent[FLOWS];
    service_init(&service);
    service_open(&service);
    for (int index = 0; index < FLOWS; index++) {
        pairs[index] = service_pair(&service);
    }
    for (int index = 0; index < FLOWS; index++) {
        sent[index] = socket_fill(pairs[index].client, 0);
    }
    for (int index = 0; index < FLOWS; index++) {
        service_expect(&service, pairs[index].server, 0, sent[index]);
    }
    cr_assert_gt(service_counters(&service)->starved, 0);
    cr_assert_eq(buffers_in_use(&service.worker.engine.buffers), 0);
    cr_assert_eq(service.worker.engine.buffers.heap_bytes, 0);
    service_close(&service);
}

Test(flow, whose_receiver_breaks_ends_and_tells_the_sender, .timeout = 20) {
    signal(SIGPIPE, SIG_IGN); /* as in the program: splice has no flag against it */
    for (int spliced = 0; spliced < 2; spliced++) {
        struct service service;
        service_init(&service);
        service.io.splice = spliced == 1;
        service_open(&service);
        struct service_pair pair = service_pair(&service);
        send_until_stuck(&service, pair.client);
        kernel_reset(pair.server);
        service_expect_closed(&service, CLOSE_SERVER_RESET, 1);
        cr_assert_eq(service_expect_end(&service, pair.client), -ECONNRESET);
        service_close(&service);
    }
}

Test(flow, whose_receiver_takes_no_more_does_not_end_the_other_direction, .timeout = 20) {
    struct service service;
    service_init(&service);
    service.unix_servers = true;
    service.listener_config.timeouts.send_stall_ms = 2000;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    for (size_t sent = 0; !service_session(&service)->from_client.blocked;) {
        sent += socket_fill(pair.client, sent);
        service_turn(&service);
    }
    cr_assert_eq(shutdown(pair.server, SHUT_RD), 0);
    socket_drain(pair.server); /* there is room now, but the next send fails */
    service_wait(&service, service_session(&service)->from_client.ended);
    uint64_t end_ms = deadline_after(2600);
    for (uint64_t offset = 0; deadline_left_ms(end_ms) > 0; offset += 10) {
        socket_write(pair.server, offset, 10);
        service_expect(&service, pair.client, offset, 10);
        deadline_pause(20);
    }
    service_close(&service);
}

Test(flow, copies_where_the_receiver_cannot_do_without, .timeout = 20) {
    struct service service;
    service_init(&service);
    service.unix_servers = true;
    service.io.zero_copy_send = true;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    for (uint64_t offset = 0; offset < 500000; offset += 50000) {
        socket_write(pair.client, offset, 50000);
        service_expect(&service, pair.server, offset, 50000);
    }
    cr_assert(service_session(&service)->from_client.copies);
    cr_assert_not(service_session(&service)->from_server.copies);
    service_close(&service);
}

Test(flow, idle_sessions_hold_no_buffer, .timeout = 20) {
    struct service service;
    service_init(&service);
    service_open(&service);
    for (int index = 0; index < 20; index++) {
        struct service_pair pair = service_pair(&service);
        socket_write(pair.client, 0, 1000);
        service_expect(&service, pair.server, 0, 1000);
    }
    cr_assert_eq(buffers_in_use(&service.worker.engine.buffers), 0);
    service_close(&service);
}

/* Moves as much as makes a flow bulk. */
static uint64_t move_bulk(struct service *service, struct service_pair pair, uint64_t offset) {
    for (int round = 0; round < 20; round++) {
        socket_write(pair.client, offset, 200000);
        service_expect(service, pair.server, offset, 200000);
        offset += 200000;
    }
    return offset;
}

Test(flow, delivers_all_to_a_unix_server, .timeout = 30) {
    for (int spliced = 0; spliced < 2; spliced++) {
        struct service service;
        service_init(&service);
        service.unix_servers = true;
        service.io.splice = spliced == 1;
        expect_everything_arrives(&service);
    }
}

Test(flow, bulk_is_spliced_and_small_messages_are_not, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.io.splice = true;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    uint64_t offset = move_bulk(&service, pair, 0);
    cr_assert_eq(service_counters(&service)->splice_promotions, 1);
    cr_assert_gt(service_counters(&service)->splice_bytes, 0);
    cr_assert(service_session(&service)->from_client.spliced);
    cr_assert_not(service_session(&service)->from_server.spliced);
    for (int message = 0; message < 50; message++, offset += 100) {
        socket_write(pair.client, offset, 100);
        service_expect(&service, pair.server, offset, 100);
    }
    cr_assert_eq(service_counters(&service)->splice_demotions, 1);
    cr_assert_not(service_session(&service)->from_client.spliced);
    move_bulk(&service, pair, offset);
    cr_assert_eq(service_counters(&service)->splice_promotions, 2);
    service_close(&service);
}

Test(flow, nothing_is_spliced_where_it_is_off, .timeout = 30) {
    struct service service;
    service_init(&service);
    service_open(&service);
    move_bulk(&service, service_pair(&service), 0);
    cr_assert_eq(service_counters(&service)->splice_promotions, 0);
    cr_assert_eq(service_counters(&service)->splice_bytes, 0);
    service_close(&service);
}

Test(flow, the_end_of_a_spliced_stream_comes_behind_its_bytes, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.io.splice = true;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    uint64_t offset = move_bulk(&service, pair, 0);
    socket_write(pair.client, offset, 100000);
    kernel_shutdown_write(pair.client);
    service_expect(&service, pair.server, offset, 100000);
    cr_assert_eq(service_expect_end(&service, pair.server), 0);
    socket_write(pair.server, 0, 1000);
    service_expect(&service, pair.client, 0, 1000);
    service_close(&service);
}

Test(flow, a_byte_of_urgent_data_neither_stops_nor_ends_a_spliced_stream, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.io.splice = true;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    uint64_t offset = move_bulk(&service, pair, 0);
    cr_assert(service_session(&service)->from_client.spliced);
    cr_assert_eq(send(pair.client, "!", 1, MSG_OOB), 1);
    socket_write(pair.client, offset, 100000);
    kernel_shutdown_write(pair.client);
    service_expect(&service, pair.server, offset, 100000);
    cr_assert_eq(service_expect_end(&service, pair.server), 0);
    service_close(&service);
}

Test(flow, small_sends_without_copying_end_when_the_kernel_lets_go_of_them, .timeout = 20) {
    struct service service;
    service_init(&service);
    service.io.zero_copy_send = true;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    for (uint64_t offset = 0; offset < 100000; offset += 1000) {
        socket_write(pair.client, offset, 1000);
        service_expect(&service, pair.server, offset, 1000);
    }
    service_wait(&service, list_is_empty(&service.worker.engine.zero_copies.open));
    cr_assert_eq(buffers_in_use(&service.worker.engine.buffers), 0);
    service_close(&service);
}
