#include "stage.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- making one ----------------------------------------------------------------------------------------------------
 */

Test(ring, has_the_features_that_the_probe_finds, .timeout = 10) {
    struct ring_features features;
    struct error error = {.text = ""};
    struct stage stage;
    cr_assert(ring_probe(&features, &error), "%s", error.text);
    stage_open_plain(&stage);
    const struct ring_features *own = ring_features(stage.ring);
    cr_assert_eq(own->recv_bundle, features.recv_bundle);
    cr_assert_eq(own->recv_limit, features.recv_limit);
    cr_assert_eq(own->send_vectored, features.send_vectored);
    cr_assert_eq(own->send_zero_copy, features.send_zero_copy);
    stage_close(&stage);
}

Test(ring, lacks_the_features_that_are_disabled_and_no_others, .timeout = 10) {
    struct ring_features all;
    struct ring_features features;
    struct error error = {.text = ""};
    cr_assert(ring_probe(&all, &error), "%s", error.text);
    setenv("MOONRING_DISABLE", "recv_limit,send_vectored", 1);
    cr_assert(ring_probe(&features, &error), "%s", error.text);
    cr_assert_not(features.recv_limit);
    cr_assert_not(features.send_vectored);
    cr_assert_eq(features.recv_bundle, all.recv_bundle);
    cr_assert_eq(features.send_zero_copy, all.send_zero_copy);
    setenv("MOONRING_DISABLE", "recv_bundle,send_zero_copy", 1);
    cr_assert(ring_probe(&features, &error), "%s", error.text);
    cr_assert_not(features.recv_bundle);
    cr_assert_not(features.recv_limit, "a limit needs bundles");
    cr_assert_not(features.send_zero_copy);
    cr_assert_eq(features.send_vectored, all.send_vectored);
}

Test(ring, believes_the_features_that_it_is_told, .timeout = 10) {
    const struct ring_features features = {.send_vectored = true};
    const struct ring_options options = {.entries = 8,
                                         .completions = 16,
                                         .buffers_count = 4,
                                         .buffer_size = 4096,
                                         .sqpoll_cpu = -1,
                                         .features = &features};
    struct stage stage;
    stage_open(&stage, &options);
    cr_assert(ring_features(stage.ring)->send_vectored);
    cr_assert_not(ring_features(stage.ring)->recv_limit);
    cr_assert_not(ring_features(stage.ring)->send_zero_copy);
    stage_close(&stage);
}

Test(ring, leaves_no_descriptor_behind, .timeout = 10) {
    struct stage stage;
    stage_open_plain(&stage);
    stage_close(&stage);
    size_t count = descriptors_count();
    for (int round = 0; round < 10; round++) {
        stage_open_plain(&stage);
        stage_close(&stage);
    }
    cr_assert_eq(descriptors_count(), count);
}

Test(ring, destroying_none_is_harmless, .timeout = 10) {
    ring_destroy(NULL);
}

Test(ring, says_what_to_do_when_no_descriptor_is_left, .timeout = 10) {
    const struct ring_options options = {.entries = 8, .completions = 16, .buffers_count = 4, .buffer_size = 4096};
    struct error error = {.text = ""};
    descriptors_limit(2); /* for the pair of sockets that the probe uses */
    struct ring *ring = ring_create(&options, &error);
    descriptors_unlimit();
    cr_assert_null(ring);
    cr_assert_not_null(strstr(error.text, "ulimit -n"), "%s", error.text);
}

/* From now on the kernel answers so when somebody wants to make an io_uring. The filter added last decides. */
static void refuse_io_uring(int number) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(instructions) / sizeof(instructions[0]), .filter = instructions};
    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0, "%m");
}

static void expect_refusal(int number, const char *wanted) {
    const struct ring_options options = {.entries = 8, .completions = 16, .buffers_count = 4, .buffer_size = 4096};
    struct error error = {.text = ""};
    refuse_io_uring(number);
    cr_assert_null(ring_create(&options, &error));
    cr_assert_not_null(strstr(error.text, wanted), "%s", error.text);
}

Test(ring, says_why_the_kernel_refuses_it_and_what_to_do, .timeout = 10) {
    size_t count = descriptors_count();
    expect_refusal(EPERM, "kernel.io_uring_disabled");
    expect_refusal(EPERM, "seccomp profile");
    expect_refusal(ENOSYS, "older than 6.1");
    expect_refusal(EINVAL, "Linux 6.1 or newer is required");
    expect_refusal(ENOMEM, "ulimit -l");
    expect_refusal(EMFILE, "ulimit -n");
    expect_refusal(ENFILE, "ulimit -n");
    expect_refusal(EIO, "Input/output error");
    cr_assert_eq(descriptors_count(), count);
}

Test(ring, says_that_the_cpu_for_its_kernel_thread_does_not_exist, .timeout = 10) {
    const struct ring_options options = {
        .entries = 8, .completions = 16, .buffers_count = 4, .buffer_size = 4096, .sqpoll = true, .sqpoll_cpu = 4095};
    struct error error = {.text = ""};
    cr_assert_null(ring_create(&options, &error));
    cr_assert_not_null(strstr(error.text, "4095"), "%s", error.text);
}

/* --- turning -------------------------------------------------------------------------------------------------------
 */

Test(ring, a_turn_without_work_ends_after_its_time, .timeout = 10) {
    struct stage stage;
    stage_open_plain(&stage);
    uint64_t begin_us = kernel_now_ns() / 1000;
    uint64_t now_us = 0;
    ring_run(stage.ring, 30 * 1000, &now_us);
    cr_assert_geq(now_us, begin_us + 30 * 1000);
    cr_assert_leq(now_us, kernel_now_ns() / 1000);
    stage_close(&stage);
}

Test(ring, a_turn_that_is_not_to_wait_does_not, .timeout = 10) {
    struct stage stage;
    stage_open_plain(&stage);
    uint64_t begin_ns = kernel_now_ns();
    for (int turn = 0; turn < 100; turn++) {
        stage_look(&stage);
    }
    cr_assert_lt(kernel_now_ns() - begin_ns, UINT64_C(2000000000));
    stage_close(&stage);
}

Test(ring, a_turn_that_does_not_wait_finds_what_has_completed, .timeout = 10) {
    struct stage stage;
    struct request poll;
    int sockets[2];
    stage_open_plain(&stage);
    sockets_open_tcp(sockets);
    request_init(&poll, &stage);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_READ);
    stage_look(&stage);
    socket_write(sockets[1], 0, 1);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (poll.op.in_flight && deadline_left_ms(deadline_ms) > 0) {
        stage_look(&stage);
    }
    cr_assert_not(poll.op.in_flight);
    stage_close(&stage);
}

Test(ring, nothing_completes_within_the_call_that_starts_it, .timeout = 10) {
    struct stage stage;
    struct request request;
    uint64_t value = 0;
    int event = kernel_event_open();
    stage_open_plain(&stage);
    request_init(&request, &stage);
    kernel_event_signal(event);
    ring_read_event(stage.ring, &request.op, event, &value);
    cr_assert_eq(request.completions, 0);
    cr_assert(request.op.in_flight);
    cr_assert_eq(stage.owner.held, 1);
    request_wait(&request);
    cr_assert_eq(request.completions, 1);
    cr_assert_eq(stage.owner.held, 0);
    stage_close(&stage);
}

/* Two requests, of which the first one's completion starts the second. */
struct chain {
    struct request first;
    struct request second;
    int event;
    uint64_t value;
};

static void chain_first_done(struct op *op, const struct completion *completion) {
    struct chain *chain = container_of(op, struct chain, first.op);
    (void)completion;
    kernel_event_signal(chain->event);
    ring_read_event(chain->first.stage->ring, &chain->second.op, chain->event, &chain->value);
    cr_assert_eq(chain->second.completions, 0);
}

Test(ring, nothing_completes_within_a_completion_that_starts_it, .timeout = 10) {
    struct stage stage;
    struct chain chain;
    stage_open_plain(&stage);
    chain.event = kernel_event_open();
    request_init(&chain.first, &stage);
    request_init(&chain.second, &stage);
    chain.first.op.done = chain_first_done;
    kernel_event_signal(chain.event);
    ring_read_event(stage.ring, &chain.first.op, chain.event, &chain.value);
    stage_wait(&stage, !chain.first.op.in_flight);
    request_wait(&chain.second);
    cr_assert_eq(chain.second.completions, 1);
    cr_assert_eq(chain.second.result, (int)sizeof(chain.value));
    stage_close(&stage);
}

/* --- many requests -------------------------------------------------------------------------------------------------
 */

enum { MANY = 1000, QUEUE = 8 };

struct crowd {
    struct stage stage;
    struct request requests[MANY];
    int event;
};

/* Asks a thousand times whether an event can be read, through a queue of eight. */
static void crowd_open(struct crowd *crowd, uint32_t completions) {
    const struct ring_options options = {
        .entries = QUEUE, .completions = completions, .buffers_count = 4, .buffer_size = 4096, .sqpoll_cpu = -1};
    stage_open(&crowd->stage, &options);
    crowd->event = kernel_event_open();
    for (size_t index = 0; index < MANY; index++) {
        request_init(&crowd->requests[index], &crowd->stage);
        ring_poll(crowd->stage.ring, &crowd->requests[index].op, crowd->event, RING_POLL_READ);
    }
}

static void crowd_expect_all(struct crowd *crowd) {
    cr_assert_eq(crowd->stage.owner.held, MANY);
    kernel_event_signal(crowd->event);
    stage_wait(&crowd->stage, crowd->stage.owner.held == 0);
    for (size_t index = 0; index < MANY; index++) {
        cr_assert_eq(crowd->requests[index].completions, 1, "request %zu completed %u times", index,
                     crowd->requests[index].completions);
        cr_assert_eq(crowd->requests[index].result, POLLIN);
    }
    cr_assert_eq(ring_counters(crowd->stage.ring)->submissions, MANY);
    cr_assert_eq(ring_counters(crowd->stage.ring)->completions, MANY);
}

Test(ring, takes_many_more_requests_than_its_queue_holds, .timeout = 20) {
    static struct crowd crowd;
    crowd_open(&crowd, 2048);
    crowd_expect_all(&crowd);
    cr_assert_eq(ring_counters(crowd.stage.ring)->overflows, 0);
    stage_close(&crowd.stage);
}

Test(ring, loses_no_completion_when_more_come_than_its_queue_holds, .timeout = 20) {
    static struct crowd crowd;
    crowd_open(&crowd, 16);
    crowd_expect_all(&crowd);
    cr_assert_gt(ring_counters(crowd.stage.ring)->overflows, 0);
    stage_close(&crowd.stage);
}

Test(ring, counts_turns_calls_submissions_and_completions, .timeout = 10) {
    struct stage stage;
    struct request polls[3];
    stage_open_plain(&stage);
    int event = kernel_event_open();
    kernel_event_signal(event);
    for (int index = 0; index < 3; index++) {
        request_init(&polls[index], &stage);
        ring_poll(stage.ring, &polls[index].op, event, RING_POLL_READ);
    }
    stage_turn(&stage);
    const struct ring_counters *counters = ring_counters(stage.ring);
    cr_assert_eq(counters->turns, 1);
    cr_assert_eq(counters->system_calls, 1, "three requests in one call");
    cr_assert_eq(counters->submissions, 3);
    cr_assert_eq(counters->completions, 3);
    cr_assert_eq(counters->overflows, 0);
    stage_close(&stage);
}

Test(ring, a_busy_poll_finds_work_without_sleeping, .timeout = 20) {
    const struct ring_options options = {.entries = 8,
                                         .completions = 16,
                                         .buffers_count = 4,
                                         .buffer_size = 4096,
                                         .sqpoll_cpu = -1,
                                         .busy_poll_us = 2000000};
    struct stage stage;
    struct request poll;
    int sockets[2];
    stage_open(&stage, &options);
    sockets_open_unix(sockets);
    request_init(&poll, &stage);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_READ);
    stage_look(&stage);
    socket_write(sockets[1], 0, 1);
    uint64_t now_us;
    ring_run(stage.ring, UINT64_MAX, &now_us);
    cr_assert_not(poll.op.in_flight);
    stage_close(&stage);
}

static void *write_later(void *fd) {
    deadline_pause(50); /* the ring spins meanwhile */
    socket_write(*(const int *)fd, 0, 1);
    return NULL;
}

Test(ring, a_busy_poll_is_counted_when_it_finds_work_before_it_would_have_slept, .timeout = 20) {
    const struct ring_options options = {.entries = 8,
                                         .completions = 16,
                                         .buffers_count = 4,
                                         .buffer_size = 4096,
                                         .sqpoll_cpu = -1,
                                         .busy_poll_us = 5000000};
    struct stage stage;
    struct request poll;
    pthread_t thread;
    int sockets[2];
    stage_open(&stage, &options);
    sockets_open_unix(sockets);
    request_init(&poll, &stage);
    ring_poll(stage.ring, &poll.op, sockets[0], RING_POLL_READ);
    cr_assert_eq(pthread_create(&thread, NULL, write_later, &sockets[1]), 0);
    stage_wait(&stage, !poll.op.in_flight);
    pthread_join(thread, NULL);
    cr_assert_eq(ring_counters(stage.ring)->spins, 1);
    stage_close(&stage);
}

Test(ring, a_busy_poll_that_finds_nothing_sleeps_out_its_time, .timeout = 20) {
    const struct ring_options options = {
        .entries = 8, .completions = 16, .buffers_count = 4, .buffer_size = 4096, .sqpoll_cpu = -1, .busy_poll_us = 50};
    struct stage stage;
    stage_open(&stage, &options);
    for (int turn = 0; turn < 30; turn++) {
        uint64_t begin_us = kernel_now_ns() / 1000;
        uint64_t now_us;
        ring_run(stage.ring, 2000, &now_us);
        cr_assert_geq(now_us, begin_us + 2000);
    }
    cr_assert_eq(ring_counters(stage.ring)->spins, 0);
    stage_close(&stage);
}

/* --- looking for more ----------------------------------------------------------------------------------------------
 */

/* A turn that submits and sleeps out its time needs one system call; one that looks for more in between needs two. */
static uint64_t quiet_turn_system_calls(struct crowd *crowd, size_t index, int fd) {
    struct stage *stage = &crowd->stage;
    uint64_t before = counter_read(&ring_counters(stage->ring)->system_calls);
    request_init(&crowd->requests[index], stage);
    ring_poll(stage->ring, &crowd->requests[index].op, fd, RING_POLL_READ);
    ring_run(stage->ring, 1000, &stage->now_us);
    return counter_read(&ring_counters(stage->ring)->system_calls) - before;
}

static void quiet_turns_end(struct crowd *crowd, size_t count, int fd) {
    socket_write(fd, 0, 1);
    for (size_t i = 0; i < count; i++) {
        stage_wait(&crowd->stage, !crowd->requests[i].op.in_flight);
    }
    stage_close(&crowd->stage);
}

Test(ring, looks_for_more_where_it_is_expected_and_only_in_the_next_turn, .timeout = 20) {
    static struct crowd crowd;
    int sockets[2];
    stage_open_plain(&crowd.stage);
    sockets_open_unix(sockets);
    ring_expect_more(crowd.stage.ring, 64 * 1024);
    cr_expect_eq(quiet_turn_system_calls(&crowd, 0, sockets[0]), 2);
    cr_expect_eq(quiet_turn_system_calls(&crowd, 1, sockets[0]), 1);
    quiet_turns_end(&crowd, 2, sockets[1]);
}

Test(ring, never_looks_for_more_where_none_is_expected, .timeout = 20) {
    enum { TURNS = 300 };
    static struct crowd crowd;
    int sockets[2];
    stage_open_plain(&crowd.stage);
    sockets_open_unix(sockets);
    for (size_t i = 0; i < TURNS; i++) {
        cr_expect_eq(quiet_turn_system_calls(&crowd, i, sockets[0]), 1);
    }
    quiet_turns_end(&crowd, TURNS, sockets[1]);
}

Test(ring, takes_many_more_requests_than_its_queue_holds_with_a_kernel_thread_that_submits, .timeout = 30) {
    const struct ring_options options = {.entries = QUEUE,
                                         .completions = 2048,
                                         .buffers_count = 4,
                                         .buffer_size = 4096,
                                         .sqpoll = true,
                                         .sqpoll_idle_ms = 5,
                                         .sqpoll_cpu = 0};
    static struct crowd crowd;
    stage_open(&crowd.stage, &options);
    crowd.event = kernel_event_open();
    for (size_t index = 0; index < MANY; index++) {
        request_init(&crowd.requests[index], &crowd.stage);
        ring_poll(crowd.stage.ring, &crowd.requests[index].op, crowd.event, RING_POLL_READ);
    }
    crowd_expect_all(&crowd);
    stage_close(&crowd.stage);
}

/* --- relaying ------------------------------------------------------------------------------------------------------
 */

/* Receives from one pair and sends to the other until so many bytes have gone through. */
static void expect_relays(struct stage *stage, size_t size) {
    int from[2];
    int to[2];
    struct request receive;
    struct ring_message message;
    sockets_open_tcp(from);
    sockets_open_tcp(to);
    request_init(&receive, stage);
    for (size_t offset = 0; offset < size;) {
        size_t part = size - offset < 30000 ? size - offset : 30000;
        bytes_clear(&receive.received);
        socket_write(from[0], offset, part);
        request_receive_all(&receive, from[1], part, part);
        message.iovecs[0] = (struct iovec){.iov_base = receive.received.data, .iov_len = part / 2};
        message.iovecs[1] = (struct iovec){.iov_base = receive.received.data + part / 2, .iov_len = part - part / 2};
        message.count = 2;
        cr_assert_eq(request_send(stage, to[0], &message, false), (int)part);
        socket_expect(to[1], offset, part);
        offset += part;
    }
    sockets_close(from);
    sockets_close(to);
    request_finish(&receive);
}

Test(ring, relays, .timeout = 20) {
    struct stage stage;
    stage_open_plain(&stage);
    expect_relays(&stage, 1000000);
    stage_close(&stage);
}

Test(ring, relays_with_a_kernel_thread_that_submits, .timeout = 30) {
    const struct ring_options options = {.entries = 8,
                                         .completions = 64,
                                         .buffers_count = BUFFERS,
                                         .buffer_size = BUFFER_SIZE,
                                         .sqpoll = true,
                                         .sqpoll_idle_ms = 5,
                                         .sqpoll_cpu = -1};
    struct stage stage;
    stage_open(&stage, &options);
    expect_relays(&stage, 1000000);
    deadline_pause(50); /* the kernel's thread goes to sleep, and must be woken */
    expect_relays(&stage, 100000);
    stage_close(&stage);
}
