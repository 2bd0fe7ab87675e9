#include "stage.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- receiving -----------------------------------------------------------------------------------------------------
 */

/* Receives with each limit from a socket that is full. */
static void expect_limits_kept(struct stage *stage, const int sockets[2]) {
    const size_t limits[] = {1, 100, BUFFER_SIZE - 1, BUFFER_SIZE, BUFFER_SIZE + 1, 3 * BUFFER_SIZE + 7, 40000};
    size_t filled = socket_fill(sockets[0], 0);
    size_t offset = 0;
    for (size_t index = 0; index < sizeof(limits) / sizeof(limits[0]); index++) {
        struct request receive;
        request_init(&receive, stage);
        ring_recv(stage->ring, &receive.op, sockets[1], limits[index]);
        cr_assert_gt(request_wait(&receive), 0);
        cr_assert_eq(receive.received.size, limits[index], "%zu bytes came of %zu", receive.received.size,
                     limits[index]);
        expect_pattern(receive.received.data, receive.received.size, offset);
        offset += receive.received.size;
        request_finish(&receive);
    }
    cr_assert_gt(filled, offset);
    cr_assert_eq(ring_buffers_free(stage->ring), BUFFERS);
}

Test(ring, a_receive_keeps_its_limit_on_a_full_socket, .timeout = 10) {
    struct stage stage;
    int sockets[2];
    stage_open_plain(&stage);
    if (!ring_features(stage.ring)->recv_limit) {
        cr_skip_test("this kernel has no recv_limit");
    }
    sockets_open_tcp(sockets);
    expect_limits_kept(&stage, sockets);
    sockets_close(sockets);
    sockets_open_unix(sockets);
    expect_limits_kept(&stage, sockets);
    stage_close(&stage);
}

Test(ring, a_receive_keeps_its_limit_when_bytes_come_piece_by_piece, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&receive, &stage);
    size_t limit = 2500;
    for (size_t offset = 0; offset < 10 * limit; offset += 100) {
        if (!receive.op.in_flight) {
            ring_recv(stage.ring, &receive.op, sockets[1], limit);
        }
        socket_write(sockets[0], offset, 100);
        stage_wait(&stage, receive.received.size == offset + 100);
        cr_assert(!receive.more || receive.received.size % limit != 0, "it goes on behind its limit");
    }
    expect_pattern(receive.received.data, 10 * limit, 0);
    if (receive.op.in_flight) {
        request_cancel(&receive);
    }
    stage_close(&stage);
}

Test(ring, without_recv_limit_a_receive_brings_one_buffer_at_the_most, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_without(&stage, "recv_limit");
    sockets_open_tcp(sockets);
    socket_fill(sockets[0], 0);
    request_init(&receive, &stage);
    ring_recv(stage.ring, &receive.op, sockets[1], 40000);
    cr_assert_eq(request_wait(&receive), BUFFER_SIZE);
    ring_recv(stage.ring, &receive.op, sockets[1], 100);
    cr_assert_eq(request_wait(&receive), 100);
    cr_assert_eq(receive.completions, 2);
    expect_pattern(receive.received.data, BUFFER_SIZE + 100, 0);
    cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS);
    stage_close(&stage);
}

static void expect_stream(struct stage *stage, const int sockets[2], size_t limit) {
    struct request receive;
    request_init(&receive, stage);
    size_t filled = socket_fill(sockets[0], 0);
    request_receive_all(&receive, sockets[1], filled, limit);
    cr_assert_eq(receive.received.size, filled);
    expect_pattern(receive.received.data, filled, 0);
    cr_assert_eq(ring_buffers_free(stage->ring), BUFFERS);
    request_finish(&receive);
}

Test(ring, receives_bring_every_byte_once_and_in_order, .timeout = 20) {
    const char *const disabled[] = {"", "recv_limit"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_tcp(sockets);
        expect_stream(&stage, sockets, 50000);
        sockets_close(sockets);
        sockets_open_unix(sockets);
        expect_stream(&stage, sockets, 50000);
        sockets_close(sockets);
        stage_close(&stage);
    }
}

Test(ring, a_receive_waits_for_bytes, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&receive, &stage);
    ring_recv(stage.ring, &receive.op, sockets[1], 1000);
    stage_turn(&stage);
    cr_assert_eq(receive.completions, 0);
    cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS, "one that waits holds no buffer");
    socket_write(sockets[0], 0, 1000);
    request_wait(&receive);
    cr_assert_eq(receive.received.size, 1000);
    stage_close(&stage);
}

Test(ring, a_receive_tells_the_end_of_the_stream_and_keeps_no_buffer, .timeout = 10) {
    const char *const disabled[] = {"", "recv_limit"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        struct request receive;
        stage_open_without(&stage, disabled[index]);
        request_init(&receive, &stage);
        for (int round = 0; round < 3 * BUFFERS; round++) {
            int sockets[2];
            sockets_open_unix(sockets);
            kernel_shutdown_write(sockets[0]);
            ring_recv(stage.ring, &receive.op, sockets[1], 10000);
            cr_assert_eq(request_wait(&receive), 0);
            sockets_close(sockets);
        }
        cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS);
        stage_close(&stage);
    }
}

Test(ring, the_end_of_the_stream_comes_behind_its_bytes, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&receive, &stage);
    socket_write(sockets[0], 0, 9000);
    kernel_shutdown_write(sockets[0]);
    ring_recv(stage.ring, &receive.op, sockets[1], 10000);
    while (request_wait(&receive) > 0) {
        ring_recv(stage.ring, &receive.op, sockets[1], 10000);
    }
    cr_assert_eq(receive.result, 0);
    cr_assert_eq(receive.received.size, 9000);
    cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS);
    stage_close(&stage);
}

Test(ring, a_receive_tells_a_reset, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&receive, &stage);
    ring_recv(stage.ring, &receive.op, sockets[1], 10000);
    stage_turn(&stage);
    kernel_reset(sockets[0]);
    cr_assert_eq(request_wait(&receive), -ECONNRESET);
    cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS);
    stage_close(&stage);
}

Test(ring, a_receive_from_an_empty_nonblocking_socket_waits_or_says_that_it_must_be_polled, .timeout = 10) {
    const char *const disabled[] = {"", "recv_limit"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        struct request receive;
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_tcp(sockets);
        kernel_set_nonblocking(sockets[1], true);
        request_init(&receive, &stage);
        ring_recv(stage.ring, &receive.op, sockets[1], 3000);
        stage_turn(&stage);
        socket_write(sockets[0], 0, 3000);
        if (!receive.op.in_flight) {
            cr_assert_eq(receive.result, -EAGAIN);
            ring_poll(stage.ring, &receive.op, sockets[1], RING_POLL_READ);
            cr_assert_gt(request_wait(&receive), 0);
            ring_recv(stage.ring, &receive.op, sockets[1], 3000);
        }
        cr_assert_eq(request_wait(&receive), 3000);
        stage_close(&stage);
    }
}

/* --- receive buffers -----------------------------------------------------------------------------------------------
 */

Test(ring, buffers_are_separate_pieces_of_memory, .timeout = 10) {
    struct stage stage;
    stage_open_plain(&stage);
    for (uint16_t buffer = 0; buffer < BUFFERS; buffer++) {
        memset(ring_buffer_bytes(stage.ring, buffer), buffer, BUFFER_SIZE);
    }
    for (uint16_t buffer = 0; buffer < BUFFERS; buffer++) {
        cr_assert_eq(ring_buffer_bytes(stage.ring, buffer)[0], buffer);
        cr_assert_eq(ring_buffer_bytes(stage.ring, buffer)[BUFFER_SIZE - 1], buffer);
    }
    stage_close(&stage);
}

Test(ring, a_receive_without_a_free_buffer_says_so_and_recovers, .timeout = 10) {
    const char *const disabled[] = {"", "recv_limit"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        struct request receive;
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_tcp(sockets);
        size_t filled = socket_fill(sockets[0], 0);
        cr_assert_gt(filled, BUFFERS * BUFFER_SIZE);
        request_init(&receive, &stage);
        receive.keeps_buffers = true;
        do {
            ring_recv(stage.ring, &receive.op, sockets[1], 2 * BUFFERS * BUFFER_SIZE);
        } while (request_wait(&receive) > 0);
        cr_assert_eq(receive.result, -ENOBUFS);
        cr_assert_eq(ring_counters(stage.ring)->no_buffers, 1);
        cr_assert_eq(ring_buffers_free(stage.ring), 0);
        cr_assert_eq(receive.kept_count, BUFFERS);
        cr_assert_eq(receive.received.size, BUFFERS * BUFFER_SIZE);

        ring_buffer_give(stage.ring, receive.kept[7]);
        cr_assert_eq(ring_buffers_free(stage.ring), 1);
        ring_recv(stage.ring, &receive.op, sockets[1], BUFFER_SIZE);
        cr_assert_eq(request_wait(&receive), BUFFER_SIZE);
        cr_assert_eq(receive.kept[BUFFERS], receive.kept[7], "it took the one that was given back");
        expect_pattern(receive.received.data, (BUFFERS + 1) * BUFFER_SIZE, 0);
        stage_close(&stage);
    }
}

Test(ring, buffers_are_filled_again_in_whatever_order_they_come_back, .timeout = 20) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    unsigned short seed[3] = {1, 2, 3};
    stage_open_plain(&stage);
    sockets_open_unix(sockets);
    request_init(&receive, &stage);
    receive.keeps_buffers = true;
    uint64_t offset = 0;
    for (int round = 0; round < 500; round++) {
        size_t size = 1 + (size_t)nrand48(seed) % (5 * BUFFER_SIZE);
        socket_write(sockets[0], offset, size);
        bytes_clear(&receive.received);
        request_receive_all(&receive, sockets[1], size, size);
        expect_pattern(receive.received.data, size, offset);
        offset += size;
        /* Keep up to eight buffers for later; give back others at random. */
        while (receive.kept_count > (uint32_t)nrand48(seed) % 8) {
            uint32_t index = (uint32_t)nrand48(seed) % receive.kept_count;
            ring_buffer_give(stage.ring, receive.kept[index]);
            receive.kept[index] = receive.kept[--receive.kept_count];
        }
        cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS - receive.kept_count);
    }
    stage_close(&stage);
}

/* A waiting receive may have cut the first free buffer down to its own limit. */
Test(ring, a_buffer_that_a_waiting_receive_cut_down_is_not_taken_for_a_full_one, .timeout = 10) {
    struct stage stage;
    struct request waiting;
    struct request receive;
    int quiet[2];
    int busy[2];
    stage_open_plain(&stage);
    sockets_open_tcp(quiet);
    sockets_open_tcp(busy);
    request_init(&waiting, &stage);
    request_init(&receive, &stage);
    for (size_t limit = 1; limit < BUFFER_SIZE; limit += 500) {
        ring_recv(stage.ring, &waiting.op, quiet[1], limit);
        stage_turn(&stage);
        socket_write(busy[0], 0, 5 * BUFFER_SIZE);
        request_receive_all(&receive, busy[1], 5 * BUFFER_SIZE, 5 * BUFFER_SIZE);
        expect_pattern(receive.received.data, 5 * BUFFER_SIZE, 0);
        cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS);
        bytes_clear(&receive.received);
        request_cancel(&waiting);
    }
    stage_close(&stage);
}
