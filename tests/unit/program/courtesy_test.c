#include "program/courtesy.h"

#include "engine/ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

static void compute_until(const struct courtesy *courtesy, uint64_t yields) {
    while (courtesy->yields < yields) {
        kernel_thread_ns(); /* ThreadSanitizer holds signals back until some function of the C library is called */
    }
}

Test(courtesy, lets_others_go_first_while_a_thread_computes, .timeout = 10) {
    struct courtesy courtesy;
    courtesy_open(&courtesy);
    cr_assert(courtesy.is_open);
    courtesy_begin(&courtesy);
    compute_until(&courtesy, 3);
    courtesy_end(&courtesy);
    uint64_t yields = courtesy.yields;
    courtesy_begin(&courtesy);
    compute_until(&courtesy, yields + 1);
    courtesy_close(&courtesy);
    cr_assert_not(courtesy.is_open);
}

Test(courtesy, is_over_at_its_end, .timeout = 10) {
    struct courtesy ended;
    struct courtesy other;
    courtesy_open(&ended);
    courtesy_open(&other);
    courtesy_begin(&ended);
    compute_until(&ended, 1);
    courtesy_end(&ended);
    uint64_t yields = ended.yields;
    courtesy_begin(&other);
    compute_until(&other, 3); /* whose timer is set to the same time */
    cr_assert_eq(ended.yields, yields);
    courtesy_close(&other);
    courtesy_close(&ended);
}

Test(courtesy, that_was_never_open_may_begin_end_and_be_closed, .timeout = 10) {
    struct courtesy courtesy = {.is_open = false};
    courtesy_begin(&courtesy);
    cr_assert_not(courtesy.is_on);
    courtesy_end(&courtesy);
    courtesy_close(&courtesy);
}

struct writer {
    int fd;
    struct courtesy courtesy;
};

/* Signals of the reader's timer have come by then: this one's has, and was set later. */
static void *write_late(void *argument) {
    struct writer *writer = argument;
    courtesy_open(&writer->courtesy);
    courtesy_begin(&writer->courtesy);
    compute_until(&writer->courtesy, 3);
    courtesy_close(&writer->courtesy);
    cr_assert_eq(write(writer->fd, "x", 1), 1);
    return NULL;
}

Test(courtesy, lets_a_system_call_go_on_and_leaves_errno_alone, .timeout = 10) {
    struct courtesy courtesy;
    struct writer writer;
    pthread_t thread;
    int fds[2];
    char byte = 0;
    cr_assert_eq(pipe(fds), 0);
    writer.fd = fds[1];
    courtesy_open(&courtesy);
    courtesy_begin(&courtesy);
    errno = ENOTTY;
    cr_assert_eq(pthread_create(&thread, NULL, write_late, &writer), 0);
    cr_assert_eq(read(fds[0], &byte, 1), 1);
    cr_assert_eq(byte, 'x');
    cr_assert_eq(errno, ENOTTY);
    pthread_join(thread, NULL);
    courtesy_close(&courtesy);
    close(fds[0]);
    close(fds[1]);
}
