#include "engine/splice.h"

#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>

enum { PIPES_MAX = 3 };

/* A pool, and two connections to splice between. */
struct path {
    struct splices splices;
    int from[2]; /* what is written to the first comes out of the second */
    int to[2];
};

static void path_open(struct path *path) {
    splices_init(&path->splices, PIPES_MAX);
    sockets_open_tcp(path->from);
    sockets_open_tcp(path->to);
    cr_assert_eq(kernel_set_nonblocking(path->from[1], true), 0);
    cr_assert_eq(kernel_set_nonblocking(path->to[0], true), 0);
}

static void path_write(struct path *path, uint64_t offset, size_t size) {
    struct pollfd readable = {.fd = path->from[1], .events = POLLIN};
    socket_write(path->from[0], offset, size);
    cr_assert_eq(poll(&readable, 1, DEADLINE_MS / 2), 1);
}

/* --- the pool ------------------------------------------------------------------------------------------------------
 */

Test(splice, opens_no_pipe_before_the_first_is_taken, .timeout = 10) {
    struct splices splices;
    size_t count = descriptors_count();
    splices_init(&splices, PIPES_MAX);
    cr_assert_eq(splices.open_count, 0);
    cr_assert_eq(descriptors_count(), count);
    splices_finish(&splices);
}

Test(splice, a_pool_has_no_more_pipes_than_its_bound, .timeout = 10) {
    struct splices splices;
    struct splice *taken[PIPES_MAX];
    splices_init(&splices, PIPES_MAX);
    for (int index = 0; index < PIPES_MAX; index++) {
        taken[index] = splice_take(&splices);
        cr_assert_not_null(taken[index]);
        cr_assert_eq(taken[index]->bytes, 0);
    }
    cr_assert_null(splice_take(&splices));
    splice_give(&splices, taken[1]);
    cr_assert_eq(splice_take(&splices), taken[1]);
    cr_assert_null(splice_take(&splices));
    for (int index = 0; index < PIPES_MAX; index++) {
        splice_give(&splices, taken[index]);
    }
    splices_finish(&splices);
}

Test(splice, the_pipe_given_back_last_is_taken_first, .timeout = 10) {
    struct splices splices;
    splices_init(&splices, PIPES_MAX);
    struct splice *first = splice_take(&splices);
    struct splice *second = splice_take(&splices);
    splice_give(&splices, first);
    splice_give(&splices, second);
    cr_assert_eq(splice_take(&splices), second);
    cr_assert_eq(splice_take(&splices), first);
    cr_assert_eq(splices.open_count, 2);
    splice_give(&splices, first);
    splice_give(&splices, second);
    splices_finish(&splices);
}

Test(splice, finishing_closes_every_pipe, .timeout = 10) {
    struct splices splices;
    size_t count = descriptors_count();
    splices_init(&splices, PIPES_MAX);
    struct splice *first = splice_take(&splices);
    struct splice *second = splice_take(&splices);
    cr_assert_eq(descriptors_count(), count + 4);
    splice_give(&splices, first);
    splice_give(&splices, second);
    splices_finish(&splices);
    cr_assert_eq(descriptors_count(), count);
}

Test(splice, aborts_when_it_is_finished_while_a_pipe_is_out, .timeout = 10, .signal = SIGABRT) {
    struct splices splices;
    splices_init(&splices, PIPES_MAX);
    splice_take(&splices);
    splices_finish(&splices);
}

Test(splice, a_pipe_with_bytes_in_it_is_closed_and_makes_room_for_another, .timeout = 10) {
    struct path path;
    path_open(&path);
    size_t count = descriptors_count();
    for (int round = 0; round < 2 * PIPES_MAX; round++) {
        struct splice *splice = splice_take(&path.splices);
        cr_assert_not_null(splice);
        cr_assert_eq(splice_fill(splice, path.from[1]), -EAGAIN, "it holds what another session received");
        path_write(&path, 0, 100);
        cr_assert_eq(splice_fill(splice, path.from[1]), 100);
        splice_give(&path.splices, splice);
        cr_assert_eq(path.splices.open_count, 0);
        cr_assert_eq(descriptors_count(), count);
    }
    splices_finish(&path.splices);
}

Test(splice, a_pool_without_a_descriptor_has_no_pipe_until_there_is_one, .timeout = 10) {
    struct splices splices;
    splices_init(&splices, PIPES_MAX);
    descriptors_limit(1);
    struct splice *none = splice_take(&splices);
    descriptors_unlimit();
    cr_assert_null(none);
    cr_assert_eq(splices.open_count, 0);
    struct splice *splice = splice_take(&splices);
    cr_assert_not_null(splice);
    splice_give(&splices, splice);
    splices_finish(&splices);
}

/* --- moving --------------------------------------------------------------------------------------------------------
 */

Test(splice, moves_bytes_in_order_and_knows_how_many_are_in_the_pipe, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    path_write(&path, 0, 1000);
    cr_assert_eq(splice_fill(splice, path.from[1]), 1000);
    path_write(&path, 1000, 500);
    cr_assert_eq(splice_fill(splice, path.from[1]), 500);
    cr_assert_eq(splice->bytes, 1500);
    cr_assert_eq(splice_drain(splice, path.to[0]), 1500);
    cr_assert_eq(splice->bytes, 0);
    socket_expect(path.to[1], 0, 1500);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, filling_says_that_nothing_is_there, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    cr_assert_eq(splice_fill(splice, path.from[1]), -EAGAIN);
    cr_assert_eq(splice->bytes, 0);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, filling_tells_the_end_of_the_stream, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    kernel_shutdown_write(path.from[0]);
    cr_assert_eq(socket_read(path.from[1]), 0);
    cr_assert_eq(splice_fill(splice, path.from[1]), 0);
    cr_assert_eq(splice->bytes, 0);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, filling_tells_a_reset, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    struct pollfd broken = {.fd = path.from[1], .events = POLLIN};
    kernel_reset(path.from[0]);
    cr_assert_eq(poll(&broken, 1, DEADLINE_MS / 2), 1);
    cr_assert_eq(splice_fill(splice, path.from[1]), -ECONNRESET);
    cr_assert_eq(splice->bytes, 0);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, one_filling_moves_no_more_than_the_pipes_size, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    size_t filled = socket_fill(path.from[0], 0);
    cr_assert_gt(filled, splice->pipe.size);
    int64_t moved = splice_fill(splice, path.from[1]);
    cr_assert_gt(moved, 0);
    cr_assert_leq(moved, splice->pipe.size);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

/* What fits is a matter of slots, not of bytes: one slot may hold many pages of a socket's. */
Test(splice, filling_stops_when_the_pipe_is_full, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    int64_t moved = 1;
    for (size_t offset = 0; moved > 0 && offset < 100 * 1024 * 1024; offset += 10000) {
        path_write(&path, offset, 10000);
        moved = splice_fill(splice, path.from[1]);
    }
    cr_assert_eq(moved, -EAGAIN);
    cr_assert_gt(splice->bytes, 0);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, draining_to_a_full_socket_keeps_the_bytes, .timeout = 10) {
    struct path path;
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    size_t filled = socket_fill(path.to[0], 0);
    path_write(&path, filled, 2000);
    cr_assert_eq(splice_fill(splice, path.from[1]), 2000);
    cr_assert_eq(splice_drain(splice, path.to[0]), -EAGAIN);
    cr_assert_eq(splice->bytes, 2000);
    socket_expect(path.to[1], 0, filled);
    struct pollfd writable = {.fd = path.to[0], .events = POLLOUT};
    cr_assert_eq(poll(&writable, 1, DEADLINE_MS / 2), 1);
    cr_assert_eq(splice_drain(splice, path.to[0]), 2000);
    socket_expect(path.to[1], filled, 2000);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, draining_to_a_broken_connection_is_an_error, .timeout = 10) {
    struct path path;
    signal(SIGPIPE, SIG_IGN); /* as in the program: splice has no flag against it */
    path_open(&path);
    struct splice *splice = splice_take(&path.splices);
    path_write(&path, 0, 2000);
    cr_assert_eq(splice_fill(splice, path.from[1]), 2000);
    struct pollfd broken = {.fd = path.to[0], .events = POLLIN};
    kernel_reset(path.to[1]);
    cr_assert_eq(poll(&broken, 1, DEADLINE_MS / 2), 1);
    int64_t first = splice_drain(splice, path.to[0]);
    cr_assert(first == -ECONNRESET || first == -EPIPE, "%ld", first);
    cr_assert_eq(splice->bytes, 2000);
    splice_give(&path.splices, splice);
    splices_finish(&path.splices);
}

Test(splice, aborts_when_an_empty_pipe_is_drained, .timeout = 10, .signal = SIGABRT) {
    struct path path;
    path_open(&path);
    splice_drain(splice_take(&path.splices), path.to[0]);
}
