#include "stage.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

/* --- accept and connect --------------------------------------------------------------------------------------------
 */

Test(ring, one_accept_takes_one_client_after_another, .timeout = 10) {
    struct stage stage;
    struct request accepting;
    struct address address;
    stage_open_plain(&stage);
    int listener = listener_open(&address);
    request_init(&accepting, &stage);
    ring_accept(stage.ring, &accepting.op, listener, true);
    for (uint32_t count = 1; count <= 5; count++) {
        int client = client_open(&address);
        stage_wait(&stage, accepting.completions == count);
        cr_assert_geq(accepting.result, 0);
        cr_assert(accepting.more);
        cr_assert_eq(fcntl(accepting.result, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        socket_write(client, 0, 10);
        socket_expect(accepting.result, 0, 10);
    }
    request_cancel(&accepting);
    cr_assert_eq(accepting.result, -ECANCELED);
    stage_close(&stage);
}

Test(ring, an_accept_of_one_ends_with_it, .timeout = 10) {
    struct stage stage;
    struct request accepting;
    struct address address;
    stage_open_plain(&stage);
    int listener = listener_open(&address);
    request_init(&accepting, &stage);
    ring_accept(stage.ring, &accepting.op, listener, false);
    client_open(&address);
    client_open(&address);
    cr_assert_geq(request_wait(&accepting), 0);
    cr_assert_eq(accepting.completions, 1);
    cr_assert_geq(kernel_accept(listener), 0, "the second still waits");
    stage_close(&stage);
}

Test(ring, connects_and_says_who_refuses, .timeout = 10) {
    struct stage stage;
    struct request connecting;
    struct address address;
    stage_open_plain(&stage);
    int listener = listener_open(&address);
    request_init(&connecting, &stage);
    int client = kernel_socket(AF_INET);
    ring_connect(stage.ring, &connecting.op, client, &address);
    cr_assert_eq(request_wait(&connecting), 0);
    kernel_close(listener);
    int refused = kernel_socket(AF_INET);
    ring_connect(stage.ring, &connecting.op, refused, &address);
    cr_assert_eq(request_wait(&connecting), -ECONNREFUSED);
    stage_close(&stage);
}

Test(ring, accept_says_that_no_descriptor_is_left, .timeout = 10) {
    struct stage stage;
    struct request accepting;
    struct address address;
    stage_open_plain(&stage);
    int listener = listener_open(&address);
    client_open(&address);
    request_init(&accepting, &stage);
    descriptors_limit(0);
    ring_accept(stage.ring, &accepting.op, listener, true);
    request_wait(&accepting);
    descriptors_unlimit();
    cr_assert_eq(accepting.result, -EMFILE);
    ring_accept(stage.ring, &accepting.op, listener, false);
    cr_assert_geq(request_wait(&accepting), 0, "the client was not lost");
    stage_close(&stage);
}

/* --- polling -------------------------------------------------------------------------------------------------------
 */

Test(ring, a_poll_for_reading_completes_once_when_bytes_come, .timeout = 10) {
    struct stage stage;
    struct request poll;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&poll, &stage);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_READ);
    stage_turn(&stage);
    cr_assert_eq(poll.completions, 0);
    socket_write(sockets[1], 0, 10);
    cr_assert_gt(request_wait(&poll), 0);
    socket_write(sockets[1], 10, 10);
    stage_turn(&stage);
    cr_assert_eq(poll.completions, 1);
    stage_close(&stage);
}

Test(ring, a_poll_for_reading_completes_at_the_end_of_the_stream_and_on_a_reset, .timeout = 10) {
    struct stage stage;
    struct request poll;
    int sockets[2];
    stage_open_plain(&stage);
    request_init(&poll, &stage);
    sockets_open_tcp(sockets);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_READ);
    kernel_shutdown_write(sockets[1]);
    cr_assert_gt(request_wait(&poll), 0);
    sockets_open_tcp(sockets);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_READ);
    kernel_reset(sockets[1]);
    cr_assert_gt(request_wait(&poll), 0);
    stage_close(&stage);
}

static void expect_waits_for_room(struct stage *stage, const int sockets[2]) {
    struct request poll;
    request_init(&poll, stage);
    socket_fill(sockets[0], 0);
    ring_poll(stage->ring, &poll.op, sockets[0], RING_POLL_WRITE);
    stage_turn(stage);
    stage_turn(stage);
    cr_assert_eq(poll.completions, 0);
    socket_drain(sockets[1]);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (poll.op.in_flight && deadline_left_ms(deadline_ms) > 0) {
        stage_turn(stage);
        socket_drain(sockets[1]); /* what was still on its way */
    }
    cr_assert_eq(poll.completions, 1);
    cr_assert_gt(poll.result, 0);
    request_finish(&poll);
}

Test(ring, a_poll_for_writing_completes_once_when_there_is_room, .timeout = 10) {
    struct stage stage;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    expect_waits_for_room(&stage, sockets);
    sockets_open_unix(sockets);
    expect_waits_for_room(&stage, sockets);
    stage_close(&stage);
}

/* The kernel would say at once, again and again, that something has happened. */
Test(ring, a_poll_for_writing_waits_for_room_also_when_the_peer_has_half_closed, .timeout = 10) {
    struct stage stage;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    kernel_shutdown_write(sockets[1]);
    expect_waits_for_room(&stage, sockets);
    cr_assert_leq(ring_counters(stage.ring)->completions, 10, "it spins");
    sockets_open_unix(sockets);
    kernel_shutdown_write(sockets[1]);
    expect_waits_for_room(&stage, sockets);
    cr_assert_leq(ring_counters(stage.ring)->completions, 20, "it spins");
    stage_close(&stage);
}

Test(ring, a_poll_for_writing_waits_for_room_when_the_peer_half_closes_meanwhile, .timeout = 10) {
    struct stage stage;
    struct request poll;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&poll, &stage);
    socket_fill(sockets[0], 0);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_WRITE);
    stage_turn(&stage);
    kernel_shutdown_write(sockets[1]);
    stage_turn(&stage);
    stage_turn(&stage);
    cr_assert_eq(poll.completions, 0);
    request_cancel(&poll);
    stage_close(&stage);
}

Test(ring, a_poll_for_writing_completes_when_the_connection_breaks, .timeout = 10) {
    for (int half_closed = 0; half_closed < 2; half_closed++) {
        struct stage stage;
        struct request poll;
        int sockets[2];
        stage_open_plain(&stage);
        sockets_open_tcp(sockets);
        request_init(&poll, &stage);
        socket_fill(sockets[0], 0);
        if (half_closed == 1) {
            kernel_shutdown_write(sockets[1]);
        }
        ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_WRITE);
        stage_turn(&stage);
        cr_assert_eq(poll.completions, 0);
        kernel_reset(sockets[1]);
        cr_assert_gt(request_wait(&poll), 0);
        stage_close(&stage);
    }
}

/* --- cancelling ----------------------------------------------------------------------------------------------------
 */

Test(ring, a_cancel_ends_a_poll, .timeout = 10) {
    const enum ring_poll_events events[] = {RING_POLL_READ, RING_POLL_WRITE};
    for (int half_closed = 0; half_closed < 2; half_closed++) {
        for (size_t index = 0; index < 2; index++) {
            struct stage stage;
            struct request poll;
            int sockets[2];
            stage_open_plain(&stage);
            sockets_open_tcp(sockets);
            request_init(&poll, &stage);
            socket_fill(sockets[0], 0);
            if (half_closed == 1 && events[index] == RING_POLL_WRITE) {
                kernel_shutdown_write(sockets[1]);
            }
            ring_poll(stage.ring, &poll.op, sockets[0], events[index]);
            stage_turn(&stage);
            request_cancel(&poll);
            cr_assert_eq(poll.result, -ECANCELED);
            cr_assert_eq(poll.completions, 1);
            stage_close(&stage);
        }
    }
}

Test(ring, a_cancel_ends_a_receive_that_goes_on, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&receive, &stage);
    ring_recv(stage.ring, &receive.op, sockets[1], 10000);
    socket_write(sockets[0], 0, 100);
    stage_wait(&stage, receive.received.size == 100);
    if (ring_features(stage.ring)->recv_limit) {
        cr_assert(receive.op.in_flight);
        request_cancel(&receive);
        cr_assert_eq(receive.result, -ECANCELED);
    }
    cr_assert_eq(ring_buffers_free(stage.ring), BUFFERS);
    stage_close(&stage);
}

Test(ring, a_cancel_ends_its_request_and_no_other_on_the_descriptor, .timeout = 10) {
    struct stage stage;
    struct request own[3];
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    socket_fill(sockets[0], 0);
    for (int index = 0; index < 3; index++) {
        request_init(&own[index], &stage);
    }
    ring_recv(stage.ring, &own[0].op, sockets[0], 1000);
    ring_poll(stage.ring, &own[1].op, sockets[0], RING_POLL_READ);
    ring_poll(stage.ring, &own[2].op, sockets[0], RING_POLL_WRITE);
    stage_turn(&stage);
    for (int index = 0; index < 3; index++) {
        for (int other = 0; other < 3; other++) {
            cr_assert_eq(own[other].completions, other < index);
        }
        cr_assert_eq(request_cancel(&own[index]), -ECANCELED);
        stage_turn(&stage);
    }
    stage_close(&stage);
}

/* Connects until somebody waits: the queue of a listener that nobody accepts on is full. */
static int full_listener_open(struct address *address) {
    const struct kernel_listen_options options = {.backlog = 0};
    int listener = listener_open(address);
    cr_assert_eq(kernel_listen(listener, &options), 0);
    for (int result = 0; result == 0;) {
        int client = kernel_socket(AF_INET);
        kernel_set_nonblocking(client, true);
        struct pollfd connected = {.fd = client, .events = POLLOUT};
        cr_assert(connect(client, &address->any, address->length) == 0 || errno == EINPROGRESS, "%m");
        result = poll(&connected, 1, 100) == 1 ? 0 : -1;
    }
    return listener;
}

Test(ring, a_cancel_ends_a_connect, .timeout = 10) {
    struct stage stage;
    struct request connecting;
    struct address address;
    stage_open_plain(&stage);
    request_init(&connecting, &stage);
    int listener = full_listener_open(&address);
    int client = kernel_socket(AF_INET);
    ring_connect(stage.ring, &connecting.op, client, &address);
    stage_turn(&stage);
    cr_assert_eq(connecting.completions, 0);
    request_cancel(&connecting);
    cr_assert_lt(connecting.result, 0);
    kernel_close(listener);
    stage_close(&stage);
}

static void release_nothing(struct owner *owner) {
    (void)owner;
}

Test(ring, an_owner_that_closes_is_released_after_the_last_completion, .timeout = 10) {
    struct stage stage;
    struct request receive;
    int sockets[2];
    stage_open_plain(&stage);
    stage.owner.release = release_nothing;
    sockets_open_tcp(sockets);
    request_init(&receive, &stage);
    ring_recv(stage.ring, &receive.op, sockets[1], 1000);
    owner_close(&stage.owner);
    ring_cancel(stage.ring, &receive.op);
    cr_assert_null(stage.released);
    stage_wait(&stage, stage.released != NULL);
    cr_assert_not(receive.op.in_flight);
    owners_release(&stage.released);
    stage_close(&stage);
}

/* --- events --------------------------------------------------------------------------------------------------------
 */

static void *signal_event(void *fd) {
    kernel_event_signal(*(const int *)fd);
    return NULL;
}

Test(ring, an_event_of_another_thread_wakes_it, .timeout = 10) {
    struct stage stage;
    struct request reading;
    uint64_t value = 0;
    pthread_t thread;
    stage_open_plain(&stage);
    int event = kernel_event_open();
    request_init(&reading, &stage);
    for (int round = 0; round < 20; round++) {
        ring_read_event(stage.ring, &reading.op, event, &value);
        cr_assert_eq(pthread_create(&thread, NULL, signal_event, &event), 0);
        uint64_t now_us;
        ring_run(stage.ring, UINT64_MAX, &now_us);
        cr_assert_eq(request_wait(&reading), (int)sizeof(value));
        cr_assert_eq(value, 1);
        pthread_join(thread, NULL);
    }
    stage_close(&stage);
}

Test(ring, a_cancel_ends_the_wait_for_an_event, .timeout = 10) {
    struct stage stage;
    struct request reading;
    uint64_t value = 0;
    stage_open_plain(&stage);
    int event = kernel_event_open();
    request_init(&reading, &stage);
    ring_read_event(stage.ring, &reading.op, event, &value);
    stage_turn(&stage);
    request_cancel(&reading);
    cr_assert_eq(reading.result, -ECANCELED);
    stage_close(&stage);
}
