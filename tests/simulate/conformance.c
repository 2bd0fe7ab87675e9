/* The same operations on the kernel and on the fake, through engine/ring.h only. Each test writes down what it saw;
 * what it must be was seen on Linux. The binary that is linked with ring.c and kernel.c proves that the expectations
 * are true, the one that is linked with the fake proves that the fake keeps them: when they disagree, the kernel is
 * right. */
#include "conformance.h"

#include "base/bytes.h"
#include "engine/ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BUFFERS = 16,
    BUFFER_SIZE = 16 * 1024,
    PATIENCE_US = 2 * 1000 * 1000, /* for what must happen */
    QUIET_US = 20 * 1000,          /* for what must not */
    MUCH = 4 * 1024 * 1024,        /* more than two sockets hold */
};

enum family { TCP, LOCAL };

/* A request and what became of it. */
struct asked {
    struct op op;
    struct stage *stage;
    int64_t bytes;      /* of a receive, so far */
    uint32_t completed; /* times */
    int first_result;   /* of the first completion, */
    int result;         /* of the last one */
    int descriptor;     /* of an accept: the last one */
};

struct stage {
    struct ring *ring;
    struct owner owner;
    struct owner *released;
    struct bytes seen;
    enum family family;
    struct address address; /* of the listener */
    int listener;
    int near; /* who connected */
    int far;  /* who was accepted */
    struct ring_message message;
};

static char much[MUCH];

/* --- asking --------------------------------------------------------------------------------------------------------
 */

static void asked_done(struct op *op, const struct completion *completion) {
    struct asked *asked = container_of(op, struct asked, op);
    asked->completed++;
    asked->first_result = asked->completed == 1 ? completion->result : asked->first_result;
    asked->result = completion->result;
    if (!completion->has_buffer) {
        return;
    }
    asked->bytes += completion->result;
    struct ring *ring = asked->stage->ring;
    uint32_t left = (uint32_t)completion->result;
    for (uint16_t buffer = completion->buffer; left > 0;) {
        uint32_t size = ring_buffer_size(ring, buffer);
        uint16_t after = left > size ? ring_buffer_after(ring, buffer) : 0;
        ring_buffer_give(ring, buffer);
        buffer = after;
        left -= left < size ? left : size;
    }
}

static void accept_done(struct op *op, const struct completion *completion) {
    struct asked *asked = container_of(op, struct asked, op);
    asked_done(op, completion);
    asked->descriptor = completion->result >= 0 ? completion->result : asked->descriptor;
}

static void ask(struct stage *stage, struct asked *asked) {
    *asked = (struct asked){.stage = stage, .descriptor = -1};
    op_init(&asked->op, &stage->owner, asked_done);
}

static void stage_turn(struct stage *stage) {
    uint64_t now_us;
    ring_run(stage->ring, QUIET_US, &now_us);
}

/* Lets the ring run until the condition holds, but not for ever. */
#define run_until(stage, condition)                                                                                    \
    do {                                                                                                               \
        uint64_t end_ns = kernel_now_ns() + (uint64_t)PATIENCE_US * 1000;                                              \
        while (!(condition) && kernel_now_ns() < end_ns) {                                                             \
            stage_turn(stage);                                                                                         \
        }                                                                                                              \
        cr_assert(condition, "waited in vain for " #condition);                                                        \
    } while (0)

static void run_quietly(struct stage *stage) {
    stage_turn(stage);
    stage_turn(stage);
}

static const char *result_name(int result) {
    static char number[16];
    switch (result) {
    case -EAGAIN:
        return "EAGAIN";
    case -ECANCELED:
        return "ECANCELED";
    case -ECONNREFUSED:
        return "ECONNREFUSED";
    case -ECONNRESET:
        return "ECONNRESET";
    case -ENOBUFS:
        return "ENOBUFS";
    case -ENOENT:
        return "ENOENT";
    case -ENOTCONN:
        return "ENOTCONN";
    case -EPIPE:
        return "EPIPE";
    case -EOPNOTSUPP:
        return "EOPNOTSUPP";
    case -EADDRINUSE:
        return "EADDRINUSE";
    default:
        snprintf(number, sizeof(number), "%d", result);
        return number;
    }
}

static void note(struct stage *stage, const char *what, int result) {
    bytes_printf(&stage->seen, "%s %s\n", what, result_name(result));
}

/* --- the stage -----------------------------------------------------------------------------------------------------
 */

static void listener_open(struct stage *stage, uint32_t backlog) {
    struct kernel_listen_options options = {.backlog = backlog};
    struct address wanted;
    struct error error;
    char text[64];
    snprintf(text, sizeof(text), stage->family == TCP ? "127.0.0.1:0" : "unix:@moonring-conformance-%d", getpid());
    cr_assert(address_parse(&wanted, text, true, &error), "%s", error.text);
    stage->listener = kernel_socket(address_family(&wanted));
    cr_assert_eq(kernel_bind(stage->listener, &wanted, &options), 0);
    cr_assert_eq(kernel_listen(stage->listener, &options), 0);
    cr_assert_eq(kernel_local_address(stage->listener, &stage->address), 0);
}

static int connect_result(struct stage *stage, int fd) {
    struct asked connect;
    ask(stage, &connect);
    ring_connect(stage->ring, &connect.op, fd, &stage->address);
    run_until(stage, !connect.op.in_flight);
    return connect.result;
}

static int accepted(struct stage *stage, struct asked *accept) {
    run_until(stage, accept->descriptor >= 0);
    int fd = accept->descriptor;
    accept->descriptor = -1;
    return fd;
}

static void accept_start(struct stage *stage, struct asked *accept) {
    ask(stage, accept);
    accept->op.done = accept_done;
    ring_accept(stage->ring, &accept->op, stage->listener, true);
}

static void cancel(struct stage *stage, struct asked *asked) {
    ring_cancel(stage->ring, &asked->op);
    run_until(stage, !asked->op.in_flight);
}

static void release_nothing(struct owner *owner) {
    (void)owner;
}

static void stage_ring(struct stage *stage, enum family family, const char *disabled) {
    signal(SIGPIPE, SIG_IGN); /* splicing to a broken socket raises it */
    conformance_begin(disabled);
    struct error error;
    struct ring_options options = {
        .entries = 64, .completions = 256, .buffers_count = BUFFERS, .buffer_size = BUFFER_SIZE, .sqpoll_cpu = -1};
    *stage = (struct stage){.family = family, .listener = -1, .near = -1, .far = -1};
    stage->released = NULL;
    owner_init(&stage->owner, &stage->released, release_nothing);
    bytes_init(&stage->seen);
    stage->ring = ring_create(&options, &error);
    cr_assert(stage->ring != NULL, "%s", error.text);
}

/* Two connected sockets. */
static void stage_open(struct stage *stage, enum family family, const char *disabled) {
    struct asked accept;
    stage_ring(stage, family, disabled);
    listener_open(stage, 16);
    accept_start(stage, &accept);
    stage->near = kernel_socket(family == TCP ? AF_INET : AF_UNIX);
    cr_assert_eq(connect_result(stage, stage->near), 0);
    stage->far = accepted(stage, &accept);
    cancel(stage, &accept);
}

static void close_if_open(int fd) {
    if (fd >= 0) {
        kernel_close(fd);
    }
}

static void stage_close(struct stage *stage, const char *expected) {
    cr_assert_str_eq(stage->seen.data, expected);
    cr_assert_eq(stage->owner.held, 0);
    cr_assert_eq(ring_buffers_free(stage->ring), BUFFERS);
    close_if_open(stage->near);
    close_if_open(stage->far);
    close_if_open(stage->listener);
    ring_destroy(stage->ring);
    bytes_finish(&stage->seen);
    conformance_end();
}

/* --- operations ----------------------------------------------------------------------------------------------------
 */

/* Sends once; notes the bytes that were taken, or the error. */
static void say(struct stage *stage, int fd, size_t size) {
    struct asked send;
    ask(stage, &send);
    stage->message.iovecs[0] = (struct iovec){.iov_base = much, .iov_len = size};
    stage->message.count = 1;
    ring_send(stage->ring, &send.op, fd, &stage->message, false);
    run_until(stage, !send.op.in_flight);
    note(stage, "send", send.result);
}

static int64_t fill_once(struct stage *stage, int fd) {
    struct asked send;
    int64_t sent = 0;
    ask(stage, &send);
    do {
        stage->message.iovecs[0] = (struct iovec){.iov_base = much, .iov_len = sizeof(much)};
        stage->message.count = 1;
        ring_send(stage->ring, &send.op, fd, &stage->message, false);
        run_until(stage, !send.op.in_flight);
        sent += send.result > 0 ? send.result : 0;
    } while (send.result > 0);
    cr_assert_eq(send.result, -EAGAIN);
    return sent;
}

/* Sends until the socket takes no more, also not a moment later: a window may still have grown. Returns the bytes. */
static int64_t fill(struct stage *stage, int fd) {
    int64_t sent = 0;
    int64_t more = fill_once(stage, fd);
    while (more > 0) {
        sent += more;
        run_quietly(stage);
        more = fill_once(stage, fd);
    }
    return sent;
}

/* Receives until the request ends by itself, or nothing more comes: then it is cancelled. Notes all bytes, and how it
 * ended. */
static int64_t hear(struct stage *stage, int fd, size_t limit) {
    struct asked receive;
    ask(stage, &receive);
    ring_recv(stage->ring, &receive.op, fd, limit);
    uint32_t completed;
    do {
        completed = receive.completed;
        run_quietly(stage);
    } while (receive.op.in_flight && receive.completed > completed);
    if (receive.op.in_flight) {
        cancel(stage, &receive);
    }
    bytes_printf(&stage->seen, "recv %ld bytes, last %s\n", (long)receive.bytes,
                 receive.result > 0 ? "bytes" : result_name(receive.result));
    return receive.bytes;
}

/* Reads all that there is, without notes. Returns the bytes. */
static int64_t drain(struct stage *stage, int fd) {
    struct asked receive;
    int64_t drained = 0;
    do {
        ask(stage, &receive);
        ring_recv(stage->ring, &receive.op, fd, MUCH);
        run_quietly(stage);
        drained += receive.bytes;
    } while (receive.bytes > 0 && !receive.op.in_flight && receive.result > 0);
    while (receive.op.in_flight) {
        int64_t before = receive.bytes;
        run_quietly(stage);
        drained += receive.bytes - before;
        if (receive.bytes == before && receive.op.in_flight) {
            cancel(stage, &receive);
        }
    }
    return drained;
}

/* Notes whether a poll completes. */
static void look(struct stage *stage, int fd, enum ring_poll_events events) {
    struct asked poll;
    ask(stage, &poll);
    ring_poll(stage->ring, &poll.op, fd, events);
    run_quietly(stage);
    bytes_printf(&stage->seen, "%s %s\n", events == RING_POLL_READ ? "readable" : "writable",
                 poll.op.in_flight ? "no" : "yes");
    if (poll.op.in_flight) {
        cancel(stage, &poll);
    }
}

static void close_near(struct stage *stage) {
    kernel_close(stage->near);
    stage->near = -1;
}

static void reset_near(struct stage *stage) {
    kernel_reset(stage->near);
    stage->near = -1;
}

#define conforms(name) Test(conformance, name, .timeout = 20)

/* --- ends ----------------------------------------------------------------------------------------------------------
 */

static void fin_comes_behind_the_bytes(enum family family) {
    struct stage stage;
    stage_open(&stage, family, "");
    say(&stage, stage.near, 5);
    note(&stage, "shutdown", kernel_shutdown_write(stage.near));
    hear(&stage, stage.far, 1000);
    hear(&stage, stage.far, 1000);
    say(&stage, stage.near, 5);
    say(&stage, stage.far, 7);
    hear(&stage, stage.near, 1000);
    note(&stage, "shutdown", kernel_shutdown_write(stage.near));
    note(&stage, "shutdown", kernel_shutdown_write(stage.far));
    hear(&stage, stage.near, 1000);
    stage_close(&stage, "send 5\nshutdown 0\nrecv 5 bytes, last 0\nrecv 0 bytes, last 0\nsend EPIPE\nsend 7\n"
                        "recv 7 bytes, last ECANCELED\nshutdown 0\nshutdown 0\nrecv 0 bytes, last 0\n");
}

conforms(a_fin_comes_behind_the_bytes_tcp) {
    fin_comes_behind_the_bytes(TCP);
}

conforms(a_fin_comes_behind_the_bytes_unix) {
    fin_comes_behind_the_bytes(LOCAL);
}

conforms(a_reset_leaves_what_had_arrived_tcp) {
    struct stage stage;
    struct address address;
    stage_open(&stage, TCP, "");
    say(&stage, stage.near, 5);
    reset_near(&stage);
    look(&stage, stage.far, RING_POLL_READ);
    look(&stage, stage.far, RING_POLL_WRITE);
    note(&stage, "peer address", kernel_peer_address(stage.far, &address));
    hear(&stage, stage.far, 1000);
    hear(&stage, stage.far, 1000);
    say(&stage, stage.far, 5);
    note(&stage, "shutdown", kernel_shutdown_write(stage.far));
    stage_close(&stage, "send 5\nreadable yes\nwritable yes\npeer address ENOTCONN\n"
                        "recv 5 bytes, last ECONNRESET\nrecv 0 bytes, last 0\nsend EPIPE\nshutdown ENOTCONN\n");
}

conforms(a_reset_of_a_unix_socket_is_a_close) {
    struct stage stage;
    struct address address;
    stage_open(&stage, LOCAL, "");
    say(&stage, stage.near, 5);
    reset_near(&stage);
    look(&stage, stage.far, RING_POLL_READ);
    look(&stage, stage.far, RING_POLL_WRITE);
    note(&stage, "peer address", kernel_peer_address(stage.far, &address));
    hear(&stage, stage.far, 1000);
    say(&stage, stage.far, 5);
    note(&stage, "shutdown", kernel_shutdown_write(stage.far));
    stage_close(&stage, "send 5\nreadable yes\nwritable yes\npeer address 0\nrecv 5 bytes, last 0\nsend EPIPE\n"
                        "shutdown 0\n");
}

conforms(a_send_hears_of_a_reset_once) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    reset_near(&stage);
    say(&stage, stage.far, 5);
    say(&stage, stage.far, 5);
    hear(&stage, stage.far, 1000);
    stage_close(&stage, "send ECONNRESET\nsend EPIPE\nrecv 0 bytes, last 0\n");
}

conforms(a_reset_loses_what_had_not_arrived) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    int64_t sent = fill(&stage, stage.near);
    note(&stage, "unsent", kernel_unsent(stage.near) > 0);
    reset_near(&stage);
    int64_t arrived = drain(&stage, stage.far);
    note(&stage, "lost", arrived > 0 && arrived < sent);
    stage_close(&stage, "unsent 1\nlost 1\n");
}

conforms(closing_with_unread_bytes_resets_tcp) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    say(&stage, stage.far, 5);
    say(&stage, stage.near, 3);
    close_near(&stage);
    hear(&stage, stage.far, 1000);
    say(&stage, stage.far, 5);
    stage_close(&stage, "send 5\nsend 3\nrecv 3 bytes, last ECONNRESET\nsend EPIPE\n");
}

conforms(closing_with_unread_bytes_resets_unix) {
    struct stage stage;
    stage_open(&stage, LOCAL, "");
    say(&stage, stage.far, 5);
    say(&stage, stage.near, 3);
    close_near(&stage);
    hear(&stage, stage.far, 1000);
    hear(&stage, stage.far, 1000);
    say(&stage, stage.far, 5);
    stage_close(&stage, "send 5\nsend 3\nrecv 3 bytes, last ECONNRESET\nrecv 0 bytes, last 0\nsend EPIPE\n");
}

/* What was written before close() still arrives; what comes for the closed end is answered with a RST, which a FIN that
 * was received turns into EPIPE. */
conforms(bytes_for_a_closed_end_are_answered_with_a_reset) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    say(&stage, stage.near, 5);
    close_near(&stage);
    say(&stage, stage.far, 5);
    look(&stage, stage.far, RING_POLL_WRITE);
    hear(&stage, stage.far, 1000);
    say(&stage, stage.far, 5);
    say(&stage, stage.far, 5);
    stage_close(&stage, "send 5\nsend 5\nwritable yes\nrecv 5 bytes, last 0\nsend EPIPE\nsend EPIPE\n");
}

conforms(bytes_for_a_closed_unix_end_are_refused) {
    struct stage stage;
    stage_open(&stage, LOCAL, "");
    say(&stage, stage.near, 5);
    close_near(&stage);
    say(&stage, stage.far, 5);
    hear(&stage, stage.far, 1000);
    hear(&stage, stage.far, 1000);
    stage_close(&stage, "send 5\nsend EPIPE\nrecv 5 bytes, last 0\nrecv 0 bytes, last 0\n");
}

/* --- full sockets --------------------------------------------------------------------------------------------------
 */

static void full_socket_takes_bytes_once_it_was_read(enum family family) {
    struct stage stage;
    stage_open(&stage, family, "");
    look(&stage, stage.near, RING_POLL_WRITE);
    look(&stage, stage.far, RING_POLL_READ);
    int64_t sent = fill(&stage, stage.near);
    note(&stage, "unsent", kernel_unsent(stage.near) > 0);
    look(&stage, stage.near, RING_POLL_WRITE);
    look(&stage, stage.far, RING_POLL_READ);
    note(&stage, "all arrived", drain(&stage, stage.far) == sent);
    note(&stage, "unsent", kernel_unsent(stage.near));
    look(&stage, stage.near, RING_POLL_WRITE);
    say(&stage, stage.near, 5);
    hear(&stage, stage.far, 5);
    stage_close(&stage, "writable yes\nreadable no\nunsent 1\nwritable no\nreadable yes\n"
                        "all arrived 1\nunsent 0\nwritable yes\nsend 5\nrecv 5 bytes, last bytes\n");
}

conforms(a_full_socket_takes_bytes_once_it_was_read_tcp) {
    full_socket_takes_bytes_once_it_was_read(TCP);
}

conforms(a_full_socket_takes_bytes_once_it_was_read_unix) {
    full_socket_takes_bytes_once_it_was_read(LOCAL);
}

static void knows_the_state_of_tcp(enum family family, const char *expected) {
    struct stage stage;
    struct kernel_tcp_state state = {.rtt_us = 0};
    stage_open(&stage, family, "");
    say(&stage, stage.near, 1000);
    hear(&stage, stage.far, 1000);
    bool known = kernel_tcp_state(stage.near, &state) == 0;
    note(&stage, "known", known);
    note(&stage, "round trip", known && state.rtt_us > 0);
    note(&stage, "retransmits", (int)state.retransmits);
    stage_close(&stage, expected);
}

conforms(the_state_of_tcp_is_known_of_tcp) {
    knows_the_state_of_tcp(TCP, "send 1000\nrecv 1000 bytes, last bytes\nknown 1\nround trip 1\nretransmits 0\n");
}

conforms(the_state_of_tcp_is_not_known_of_unix_sockets) {
    knows_the_state_of_tcp(LOCAL, "send 1000\nrecv 1000 bytes, last bytes\nknown 0\nround trip 0\nretransmits 0\n");
}

conforms(bytes_that_arrived_are_not_unsent) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    say(&stage, stage.near, 1000);
    note(&stage, "unsent", kernel_unsent(stage.near));
    hear(&stage, stage.far, 1000);
    stage_close(&stage, "send 1000\nunsent 0\nrecv 1000 bytes, last bytes\n");
}

conforms(nothing_is_unsent_after_a_reset) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    fill(&stage, stage.far);
    reset_near(&stage);
    look(&stage, stage.far, RING_POLL_WRITE);
    say(&stage, stage.far, 5);
    note(&stage, "unsent", kernel_unsent(stage.far));
    stage_close(&stage, "writable yes\nsend ECONNRESET\nunsent 0\n");
}

/* The kernel adds POLLRDHUP to every poll, which must not show. */
conforms(a_full_socket_is_not_writable_because_the_peer_has_half_closed) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    fill(&stage, stage.near);
    note(&stage, "shutdown", kernel_shutdown_write(stage.far));
    look(&stage, stage.near, RING_POLL_WRITE);
    drain(&stage, stage.far);
    look(&stage, stage.near, RING_POLL_WRITE);
    stage_close(&stage, "shutdown 0\nwritable no\nwritable yes\n");
}

conforms(nothing_is_unsent_to_a_closed_unix_socket) {
    struct stage stage;
    stage_open(&stage, LOCAL, "");
    fill(&stage, stage.far);
    note(&stage, "unsent", kernel_unsent(stage.far) > 0);
    close_near(&stage);
    note(&stage, "unsent", kernel_unsent(stage.far));
    look(&stage, stage.far, RING_POLL_WRITE);
    hear(&stage, stage.far, 1000);
    stage_close(&stage, "unsent 1\nunsent 0\nwritable yes\nrecv 0 bytes, last ECONNRESET\n");
}

/* --- receiving at once ---------------------------------------------------------------------------------------------
 */

static void note_received(struct stage *stage, const char *what, int fd, size_t size, bool peek) {
    char bytes[16];
    note(stage, what, kernel_receive(fd, bytes, size, peek));
}

/* A look changes nothing, and what was taken does not make the socket readable again. */
static void a_look_leaves_the_bytes_where_they_are(enum family family) {
    struct stage stage;
    stage_open(&stage, family, "");
    note_received(&stage, "peek", stage.far, 16, true);
    say(&stage, stage.near, 10);
    look(&stage, stage.far, RING_POLL_READ);
    note_received(&stage, "peek", stage.far, 16, true);
    note_received(&stage, "peek", stage.far, 4, true);
    note_received(&stage, "take", stage.far, 4, false);
    note_received(&stage, "peek", stage.far, 16, true);
    note_received(&stage, "take", stage.far, 6, false);
    note_received(&stage, "take", stage.far, 6, false);
    look(&stage, stage.far, RING_POLL_READ);
    note(&stage, "shutdown", kernel_shutdown_write(stage.near));
    look(&stage, stage.far, RING_POLL_READ);
    note_received(&stage, "peek", stage.far, 16, true);
    stage_close(&stage, "peek EAGAIN\nsend 10\nreadable yes\npeek 10\npeek 4\ntake 4\npeek 6\ntake 6\ntake EAGAIN\n"
                        "readable no\nshutdown 0\nreadable yes\npeek 0\n");
}

conforms(a_look_leaves_the_bytes_where_they_are) {
    a_look_leaves_the_bytes_where_they_are(TCP);
}

conforms(a_look_leaves_the_bytes_where_they_are_unix) {
    a_look_leaves_the_bytes_where_they_are(LOCAL);
}

conforms(a_look_takes_the_error_of_a_reset) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    reset_near(&stage);
    note_received(&stage, "peek", stage.far, 16, true);
    note_received(&stage, "peek", stage.far, 16, true);
    stage_close(&stage, "peek ECONNRESET\npeek 0\n");
}

/* --- receiving -----------------------------------------------------------------------------------------------------
 */

conforms(a_receive_ends_at_its_limit) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    say(&stage, stage.near, 100000);
    hear(&stage, stage.far, 65537);
    hear(&stage, stage.far, 100);
    hear(&stage, stage.far, 65536);
    stage_close(&stage, "send 100000\nrecv 65537 bytes, last bytes\nrecv 100 bytes, last bytes\n"
                        "recv 34363 bytes, last ECANCELED\n");
}

conforms(a_receive_without_limits_brings_one_buffer) {
    struct stage stage;
    stage_open(&stage, TCP, "recv_limit");
    say(&stage, stage.near, 100000);
    hear(&stage, stage.far, 65537);
    hear(&stage, stage.far, 100);
    note(&stage, "rest", (int)drain(&stage, stage.far));
    stage_close(&stage, "send 100000\nrecv 16384 bytes, last bytes\nrecv 100 bytes, last bytes\nrest 83516\n");
}

/* Receives whose buffers are kept. */
struct kept {
    struct op op;
    int result;
    uint32_t count;
    uint16_t buffers[BUFFERS];
};

static void kept_done(struct op *op, const struct completion *completion) {
    struct kept *kept = container_of(op, struct kept, op);
    kept->result = completion->result;
    if (completion->has_buffer) {
        kept->buffers[kept->count++] = completion->buffer;
    }
}

conforms(a_receive_without_buffers_fails_at_once) {
    struct stage stage;
    struct kept kept = {.count = 0};
    stage_open(&stage, TCP, "");
    op_init(&kept.op, &stage.owner, kept_done);
    for (uint32_t i = 0; i < BUFFERS; i++) {
        say(&stage, stage.near, 5);
        ring_recv(stage.ring, &kept.op, stage.far, 5);
        run_until(&stage, !kept.op.in_flight);
    }
    bytes_clear(&stage.seen);
    note(&stage, "free", (int)ring_buffers_free(stage.ring));
    hear(&stage, stage.far, 1000);
    say(&stage, stage.near, 5);
    hear(&stage, stage.far, 1000);
    while (kept.count > 0) {
        ring_buffer_give(stage.ring, kept.buffers[--kept.count]);
    }
    hear(&stage, stage.far, 5);
    stage_close(&stage, "free 0\nrecv 0 bytes, last ENOBUFS\nsend 5\nrecv 0 bytes, last ENOBUFS\n"
                        "recv 5 bytes, last bytes\n");
}

/* Where all buffers together could not hold the limit, the kernel ends the request after one completion. */
conforms(a_receive_beyond_all_buffers_ends_with_its_first_bytes) {
    struct stage stage;
    stage_open(&stage, TCP, "");
    say(&stage, stage.near, 5);
    hear(&stage, stage.far, BUFFERS * BUFFER_SIZE);
    say(&stage, stage.near, 5);
    hear(&stage, stage.far, BUFFERS * BUFFER_SIZE + 1);
    stage_close(&stage, "send 5\nrecv 5 bytes, last ECANCELED\nsend 5\nrecv 5 bytes, last bytes\n");
}

/* Where read(2) would say -EAGAIN. */
static void receive_waits_on_a_nonblocking_socket(enum family family) {
    struct stage stage;
    stage_open(&stage, family, "");
    note(&stage, "set", kernel_set_nonblocking(stage.far, true));
    hear(&stage, stage.far, 1000);
    say(&stage, stage.near, 5);
    hear(&stage, stage.far, 1000);
    close_near(&stage);
    hear(&stage, stage.far, 1000);
    stage_close(&stage, "set 0\nrecv 0 bytes, last ECANCELED\nsend 5\nrecv 5 bytes, last ECANCELED\n"
                        "recv 0 bytes, last 0\n");
}

conforms(a_receive_waits_on_a_nonblocking_socket_too_tcp) {
    receive_waits_on_a_nonblocking_socket(TCP);
}

conforms(a_receive_waits_on_a_nonblocking_socket_too_unix) {
    receive_waits_on_a_nonblocking_socket(LOCAL);
}

conforms(many_slices_are_sent_in_order) {
    struct stage stage;
    struct asked send;
    stage_open(&stage, TCP, "send_vectored");
    ask(&stage, &send);
    for (uint32_t i = 0; i < RING_SEND_MAX; i++) {
        stage.message.iovecs[i] = (struct iovec){.iov_base = much, .iov_len = 100 + i};
    }
    stage.message.count = RING_SEND_MAX;
    ring_send(stage.ring, &send.op, stage.near, &stage.message, false);
    run_until(&stage, !send.op.in_flight);
    note(&stage, "send", send.result);
    hear(&stage, stage.far, 10000);
    stage_close(&stage, "send 8416\nrecv 8416 bytes, last ECANCELED\n");
}

static void zero_copy_sends(enum family family, const char *expected) {
    struct stage stage;
    struct asked send;
    stage_open(&stage, family, "");
    ask(&stage, &send);
    stage.message.iovecs[0] = (struct iovec){.iov_base = much, .iov_len = 1000};
    stage.message.count = 1;
    ring_send(stage.ring, &send.op, stage.near, &stage.message, true);
    run_until(&stage, send.completed > 0);
    hear(&stage, stage.far, 10000);
    run_until(&stage, !send.op.in_flight);
    note(&stage, "send", send.first_result);
    note(&stage, "completions", (int)send.completed);
    stage_close(&stage, expected);
}

conforms(a_zero_copy_send_completes_twice) {
    zero_copy_sends(TCP, "recv 1000 bytes, last ECANCELED\nsend 1000\ncompletions 2\n");
}

conforms(unix_sockets_refuse_zero_copy) {
    zero_copy_sends(LOCAL, "recv 0 bytes, last ECANCELED\nsend EOPNOTSUPP\ncompletions 2\n");
}

conforms(a_socket_may_be_closed_while_the_bytes_of_a_zero_copy_send_are_kept) {
    struct stage stage;
    struct asked send;
    stage_open(&stage, TCP, "");
    ask(&stage, &send);
    stage.message.iovecs[0] = (struct iovec){.iov_base = much, .iov_len = 1000};
    stage.message.count = 1;
    ring_send(stage.ring, &send.op, stage.near, &stage.message, true);
    run_until(&stage, send.completed > 0);
    note(&stage, "send", send.first_result);
    close_near(&stage);
    hear(&stage, stage.far, 1000);
    hear(&stage, stage.far, 1000);
    run_until(&stage, !send.op.in_flight);
    stage_close(&stage, "send 1000\nrecv 1000 bytes, last bytes\nrecv 0 bytes, last 0\n");
}

/* --- cancelling ----------------------------------------------------------------------------------------------------
 */

conforms(a_cancel_ends_its_request_and_no_other) {
    struct stage stage;
    struct asked receive;
    struct asked poll;
    struct asked accept;
    stage_open(&stage, TCP, "");
    fill(&stage, stage.near);
    ask(&stage, &receive);
    ask(&stage, &poll);
    ask(&stage, &accept);
    ring_recv(stage.ring, &receive.op, stage.near, 1000);
    ring_poll(stage.ring, &poll.op, stage.near, RING_POLL_WRITE);
    ring_accept(stage.ring, &accept.op, stage.listener, true);
    run_quietly(&stage);
    cancel(&stage, &receive);
    note(&stage, "recv", receive.result);
    note(&stage, "polls", poll.op.in_flight);
    cancel(&stage, &poll);
    note(&stage, "poll", poll.result);
    note(&stage, "accepts", accept.op.in_flight);
    cancel(&stage, &accept);
    note(&stage, "accept", accept.result);
    stage_close(&stage, "recv ECANCELED\npolls 1\npoll ECANCELED\naccepts 1\naccept ECANCELED\n");
}

/* Both are handed over in one turn. */
conforms(a_cancel_finds_what_was_started_just_before) {
    struct stage stage;
    struct asked receive;
    stage_open(&stage, TCP, "");
    ask(&stage, &receive);
    ring_recv(stage.ring, &receive.op, stage.far, 1000);
    cancel(&stage, &receive);
    note(&stage, "recv", receive.result);
    stage_close(&stage, "recv ECANCELED\n");
}

/* What is cancelled may be asked again at once: the kernel takes requests in their order. */
conforms(a_cancel_does_not_find_what_is_started_later) {
    struct stage stage;
    struct asked poll;
    stage_open(&stage, TCP, "");
    ask(&stage, &poll);
    ring_poll(stage.ring, &poll.op, stage.near, RING_POLL_WRITE);
    ring_cancel(stage.ring, &poll.op); /* too late, or just in time */
    run_until(&stage, !poll.op.in_flight);
    ring_recv(stage.ring, &poll.op, stage.near, 1000);
    run_quietly(&stage);
    note(&stage, "receives", poll.op.in_flight);
    cancel(&stage, &poll);
    note(&stage, "recv", poll.result);
    stage_close(&stage, "receives 1\nrecv ECANCELED\n");
}

conforms(who_connects_after_a_cancelled_accept_waits) {
    struct stage stage;
    struct asked accept;
    stage_ring(&stage, TCP, "");
    listener_open(&stage, 16);
    accept_start(&stage, &accept);
    run_quietly(&stage);
    cancel(&stage, &accept);
    note(&stage, "accept", accept.result);
    stage.near = kernel_socket(AF_INET);
    note(&stage, "connect", connect_result(&stage, stage.near));
    stage.far = kernel_accept(stage.listener);
    note(&stage, "accepted", stage.far >= 0);
    note(&stage, "accept", kernel_accept(stage.listener));
    stage_close(&stage, "accept ECANCELED\nconnect 0\naccepted 1\naccept EAGAIN\n");
}

conforms(a_single_accept_takes_one_client) {
    struct stage stage;
    struct asked accept;
    stage_ring(&stage, TCP, "");
    listener_open(&stage, 16);
    stage.near = kernel_socket(AF_INET);
    note(&stage, "connect", connect_result(&stage, stage.near));
    int second = kernel_socket(AF_INET);
    note(&stage, "connect", connect_result(&stage, second));
    ask(&stage, &accept);
    accept.op.done = accept_done;
    ring_accept(stage.ring, &accept.op, stage.listener, false);
    stage.far = accepted(&stage, &accept);
    note(&stage, "in flight", accept.op.in_flight);
    run_quietly(&stage);
    note(&stage, "completed", (int)accept.completed);
    kernel_close(second);
    stage_close(&stage, "connect 0\nconnect 0\nin flight 0\ncompleted 1\n");
}

/* --- connecting ----------------------------------------------------------------------------------------------------
 */

static void nobody_listens(enum family family) {
    struct stage stage;
    stage_ring(&stage, family, "");
    listener_open(&stage, 16);
    kernel_close(stage.listener);
    stage.listener = -1;
    stage.near = kernel_socket(family == TCP ? AF_INET : AF_UNIX);
    note(&stage, "connect", connect_result(&stage, stage.near));
    note(&stage, "connect", connect_result(&stage, stage.near));
    stage_close(&stage, "connect ECONNREFUSED\nconnect ECONNREFUSED\n");
}

conforms(where_nobody_listens_a_connect_is_refused_tcp) {
    nobody_listens(TCP);
}

conforms(where_nobody_listens_a_connect_is_refused_unix) {
    nobody_listens(LOCAL);
}

/* A backlog of 1 holds two who wait. */
conforms(a_full_unix_queue_refuses_who_does_not_wait) {
    struct stage stage;
    int waiting[3];
    stage_ring(&stage, LOCAL, "");
    listener_open(&stage, 1);
    for (int i = 0; i < 3; i++) {
        waiting[i] = kernel_socket(AF_UNIX);
        cr_assert_eq(kernel_set_nonblocking(waiting[i], true), 0);
        note(&stage, "connect", connect_result(&stage, waiting[i]));
    }
    kernel_close(kernel_accept(stage.listener));
    note(&stage, "connect", connect_result(&stage, waiting[2]));
    for (int i = 0; i < 3; i++) {
        kernel_close(waiting[i]);
    }
    stage_close(&stage, "connect 0\nconnect 0\nconnect EAGAIN\nconnect 0\n");
}

conforms(an_address_is_bound_once_unless_it_is_shared) {
    struct stage stage;
    struct kernel_listen_options alone = {.backlog = 16};
    struct kernel_listen_options shared = {.backlog = 16, .reuse_port = true};
    stage_ring(&stage, TCP, "");
    listener_open(&stage, 16);
    stage.near = kernel_socket(AF_INET);
    note(&stage, "bind", kernel_bind(stage.near, &stage.address, &alone));
    note(&stage, "bind shared", kernel_bind(stage.near, &stage.address, &shared));
    stage_close(&stage, "bind EADDRINUSE\nbind shared EADDRINUSE\n");
}

conforms(who_is_gone_before_the_accept_is_still_accepted) {
    struct stage stage;
    stage_ring(&stage, TCP, "");
    listener_open(&stage, 16);
    stage.near = kernel_socket(AF_INET);
    note(&stage, "connect", connect_result(&stage, stage.near));
    say(&stage, stage.near, 5);
    close_near(&stage);
    stage.far = kernel_accept(stage.listener);
    hear(&stage, stage.far, 1000);
    kernel_close(stage.far);
    stage.near = kernel_socket(AF_INET);
    note(&stage, "connect", connect_result(&stage, stage.near));
    reset_near(&stage);
    stage.far = kernel_accept(stage.listener);
    note(&stage, "accepted", stage.far >= 0);
    hear(&stage, stage.far, 1000);
    stage_close(&stage, "connect 0\nsend 5\nrecv 5 bytes, last 0\nconnect 0\naccepted 1\n"
                        "recv 0 bytes, last ECONNRESET\n");
}

conforms(a_closed_listener_resets_who_still_waits) {
    struct stage stage;
    stage_ring(&stage, TCP, "");
    listener_open(&stage, 16);
    stage.near = kernel_socket(AF_INET);
    note(&stage, "connect", connect_result(&stage, stage.near));
    kernel_close(stage.listener);
    stage.listener = -1;
    hear(&stage, stage.near, 1000);
    stage_close(&stage, "connect 0\nrecv 0 bytes, last ECONNRESET\n");
}

/* --- splicing ------------------------------------------------------------------------------------------------------
 */

static void splice_passes_bytes_and_their_end(enum family family) {
    struct stage stage;
    struct kernel_pipe pipe;
    stage_open(&stage, family, "");
    cr_assert_eq(kernel_pipe_open(&pipe, 64 * 1024), 0);
    note(&stage, "size", (int)pipe.size);
    kernel_set_nonblocking(stage.far, true);
    kernel_set_nonblocking(stage.near, true);
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    say(&stage, stage.near, 5);
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    note(&stage, "out", (int)kernel_splice(pipe.read_fd, stage.far, 1000));
    hear(&stage, stage.near, 1000);
    kernel_shutdown_write(stage.near);
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    kernel_pipe_close(&pipe);
    stage_close(&stage, "size 65536\nin EAGAIN\nsend 5\nin 5\nin EAGAIN\nout 5\nrecv 5 bytes, last ECANCELED\nin 0\n");
}

conforms(a_splice_passes_bytes_and_their_end_tcp) {
    splice_passes_bytes_and_their_end(TCP);
}

conforms(a_splice_passes_bytes_and_their_end_unix) {
    splice_passes_bytes_and_their_end(LOCAL);
}

conforms(a_splice_to_a_full_socket_says_again) {
    struct stage stage;
    struct kernel_pipe pipe;
    stage_open(&stage, TCP, "");
    cr_assert_eq(kernel_pipe_open(&pipe, 64 * 1024), 0);
    kernel_set_nonblocking(stage.far, true);
    say(&stage, stage.near, 5);
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    fill(&stage, stage.far);
    note(&stage, "out", (int)kernel_splice(pipe.read_fd, stage.far, 1000));
    reset_near(&stage);
    note(&stage, "out", (int)kernel_splice(pipe.read_fd, stage.far, 1000));
    note(&stage, "out", (int)kernel_splice(pipe.read_fd, stage.far, 1000));
    kernel_pipe_close(&pipe);
    stage_close(&stage, "send 5\nin 5\nout EAGAIN\nout ECONNRESET\nout EPIPE\n");
}

conforms(a_splice_hears_of_a_reset) {
    struct stage stage;
    struct kernel_pipe pipe;
    stage_open(&stage, TCP, "");
    cr_assert_eq(kernel_pipe_open(&pipe, 64 * 1024), 0);
    kernel_set_nonblocking(stage.far, true);
    say(&stage, stage.near, 5);
    reset_near(&stage);
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    note(&stage, "in", (int)kernel_splice(stage.far, pipe.write_fd, 1000));
    kernel_pipe_close(&pipe);
    stage_close(&stage, "send 5\nin 5\nin ECONNRESET\nin 0\n");
}

/* --- events --------------------------------------------------------------------------------------------------------
 */

conforms(an_event_counts_its_signals) {
    struct stage stage;
    struct asked read;
    uint64_t value = 0;
    stage_ring(&stage, TCP, "");
    int fd = kernel_event_open();
    kernel_event_signal(fd);
    kernel_event_signal(fd);
    ask(&stage, &read);
    ring_read_event(stage.ring, &read.op, fd, &value);
    run_until(&stage, !read.op.in_flight);
    note(&stage, "read", read.result);
    note(&stage, "value", (int)value);
    ask(&stage, &read);
    ring_read_event(stage.ring, &read.op, fd, &value);
    run_quietly(&stage);
    note(&stage, "waits", read.op.in_flight);
    kernel_event_signal(fd);
    run_until(&stage, !read.op.in_flight);
    note(&stage, "value", (int)value);
    kernel_close(fd);
    stage_close(&stage, "read 8\nvalue 2\nwaits 1\nvalue 1\n");
}
