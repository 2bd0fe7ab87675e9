#include "stage.h"

#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* --- sending -------------------------------------------------------------------------------------------------------
 */

enum { PART_SIZE = 1000 };

/* A message of so many parts of the pattern, each from its own place in memory. */
static void message_init(struct ring_message *message, char *memory, uint32_t parts) {
    message->count = parts;
    for (uint32_t part = 0; part < parts; part++) {
        char *at = memory + (size_t)(parts - 1 - part) * PART_SIZE;
        pattern_fill(PATTERN, (size_t)part * PART_SIZE, at, PART_SIZE);
        message->iovecs[part] = (struct iovec){.iov_base = at, .iov_len = PART_SIZE};
    }
}

static void expect_sent_in_order(struct stage *stage, const int sockets[2]) {
    const uint32_t counts[] = {1, 2, 5, RING_SEND_MAX};
    static char memory[RING_SEND_MAX * PART_SIZE];
    struct ring_message message;
    for (size_t index = 0; index < sizeof(counts) / sizeof(counts[0]); index++) {
        message_init(&message, memory, counts[index]);
        cr_assert_eq(request_send(stage, sockets[0], &message, false), (int)(counts[index] * PART_SIZE));
        socket_expect(sockets[1], 0, counts[index] * PART_SIZE);
    }
}

Test(ring, a_send_brings_its_parts_in_order, .timeout = 10) {
    const char *const disabled[] = {"", "send_vectored"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_tcp(sockets);
        expect_sent_in_order(&stage, sockets);
        sockets_close(sockets);
        sockets_open_unix(sockets);
        expect_sent_in_order(&stage, sockets);
        sockets_close(sockets);
        stage_close(&stage);
    }
}

Test(ring, a_send_to_a_full_socket_does_not_wait, .timeout = 10) {
    const char *const disabled[] = {"", "send_vectored"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        static char memory[2 * PART_SIZE];
        struct ring_message message;
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_tcp(sockets);
        socket_fill(sockets[0], 0);
        message_init(&message, memory, 1);
        cr_assert_eq(request_send(&stage, sockets[0], &message, false), -EAGAIN);
        message_init(&message, memory, 2);
        cr_assert_eq(request_send(&stage, sockets[0], &message, false), -EAGAIN);
        stage_close(&stage);
    }
}

Test(ring, a_send_says_how_much_a_socket_took, .timeout = 10) {
    const char *const disabled[] = {"", "send_vectored"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        static char memory[2][4 * 1024 * 1024];
        struct ring_message message = {.iovecs = {{memory[0], sizeof(memory[0])}, {memory[1], sizeof(memory[1])}},
                                       .count = 2};
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_tcp(sockets);
        pattern_fill(PATTERN, 0, memory[0], sizeof(memory[0]));
        pattern_fill(PATTERN, sizeof(memory[0]), memory[1], sizeof(memory[1]));
        int sent = request_send(&stage, sockets[0], &message, false);
        cr_assert_gt(sent, 0);
        cr_assert_lt(sent, (int)sizeof(memory));
        socket_expect(sockets[1], 0, (size_t)sent);
        cr_assert_eq(recv(sockets[1], memory[0], 1, MSG_DONTWAIT), -1, "more was sent than was said");
        stage_close(&stage);
    }
}

Test(ring, a_send_to_a_broken_connection_is_an_error_and_no_signal, .timeout = 10) {
    const char *const disabled[] = {"", "send_vectored"};
    for (size_t index = 0; index < 2; index++) {
        struct stage stage;
        static char memory[2 * PART_SIZE];
        struct ring_message message;
        int sockets[2];
        stage_open_without(&stage, disabled[index]);
        sockets_open_unix(sockets);
        kernel_close(sockets[1]);
        message_init(&message, memory, 1);
        cr_assert_eq(request_send(&stage, sockets[0], &message, false), -EPIPE);
        message_init(&message, memory, 2);
        cr_assert_eq(request_send(&stage, sockets[0], &message, false), -EPIPE);
        stage_close(&stage);
    }
}

Test(ring, a_zero_copy_send_completes_with_its_count_and_again_when_its_bytes_are_free, .timeout = 10) {
    struct stage stage;
    static char memory[2 * PART_SIZE];
    struct ring_message message;
    int sockets[2];
    stage_open_plain(&stage);
    if (!ring_features(stage.ring)->send_zero_copy) {
        cr_skip_test("this kernel has no zero-copy send");
    }
    sockets_open_tcp(sockets);
    for (uint32_t parts = 1; parts <= 2; parts++) {
        uint64_t completions = ring_counters(stage.ring)->completions;
        message_init(&message, memory, parts);
        cr_assert_eq(request_send(&stage, sockets[0], &message, true), (int)(parts * PART_SIZE));
        cr_assert_eq(ring_counters(stage.ring)->completions, completions + 2);
        memset(memory, 0, sizeof(memory)); /* what is on its way must not change any more */
        socket_expect(sockets[1], 0, parts * PART_SIZE);
    }
    stage_close(&stage);
}

Test(ring, a_zero_copy_send_to_a_full_or_broken_socket_says_so_first, .timeout = 10) {
    struct stage stage;
    static char memory[2 * PART_SIZE];
    struct ring_message message;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    socket_fill(sockets[0], 0);
    for (uint32_t parts = 1; parts <= 2; parts++) {
        message_init(&message, memory, parts);
        cr_assert_eq(request_send(&stage, sockets[0], &message, true), -EAGAIN);
    }
    sockets_close(sockets);
    sockets_open_tcp(sockets);
    kernel_reset(sockets[1]);
    cr_assert_eq(socket_read(sockets[0]), -ECONNRESET);
    message_init(&message, memory, 2);
    cr_assert_eq(request_send(&stage, sockets[0], &message, true), -EPIPE);
    stage_close(&stage);
}

Test(ring, a_zero_copy_send_that_is_disabled_is_a_plain_one, .timeout = 10) {
    struct stage stage;
    static char memory[2 * PART_SIZE];
    struct ring_message message;
    int sockets[2];
    stage_open_without(&stage, "send_zero_copy");
    sockets_open_tcp(sockets);
    message_init(&message, memory, 2);
    cr_assert_eq(request_send(&stage, sockets[0], &message, true), 2 * PART_SIZE);
    cr_assert_eq(ring_counters(stage.ring)->completions, 1);
    socket_expect(sockets[1], 0, 2 * PART_SIZE);
    stage_close(&stage);
}

Test(ring, a_zero_copy_send_to_a_unix_socket_is_refused, .timeout = 10) {
    struct stage stage;
    static char memory[2 * PART_SIZE];
    struct ring_message message;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_unix(sockets);
    for (uint32_t parts = 1; parts <= 2; parts++) {
        message_init(&message, memory, parts);
        cr_assert_eq(request_send(&stage, sockets[0], &message, true), -EOPNOTSUPP);
        cr_assert_eq(request_send(&stage, sockets[0], &message, false), (int)(parts * PART_SIZE));
        socket_expect(sockets[1], 0, parts * PART_SIZE);
    }
    stage_close(&stage);
}
