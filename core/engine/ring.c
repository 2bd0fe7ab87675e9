#include "engine/ring.h"

#include "engine/spin.h"
#include "engine/uring.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_GROUP = 0 };
/* Looking for work before sleeping. */
enum {
    BUSY_POLL_DEARER_MAX_PERCENT = 5, /* for shorter delays */
    BYTES_OF_WORK = 8 * 1024,         /* that are moved count as much as a completion */
};

/* What is expected comes soon, or is not waited for awake. It is worth more CPU time only where more gets done: between
 * two that sleep and wake each other for each piece. */
static const struct spin_terms expected_terms = {
    .duration_ns = 20 * 1000, .dearer_max_percent = 25, .gain_min_percent = 25};

struct ring {
    struct io_uring uring;
    struct ring_features features;
    struct ring_counters counters;
    bool sqpoll;
    struct spin spin;
    bool busy_polls;      /* before it sleeps, always, */
    bool expects_more;    /* or this time */
    uint64_t moved_bytes; /* as ring_expect_more was told */

    /* The receive buffers. The kernel takes them in the order in which they were given. */
    struct io_uring_buf_ring *buffers; /* ours, mapped; shared with the kernel */
    char *memory;                      /* ours, mapped */
    uint16_t *order;                   /* ours: the buffer at each place of the buffer ring */
    uint16_t *place;                   /* ours: the place of each buffer */
    uint32_t buffers_count;
    uint32_t buffer_size;
    uint16_t tail;
    uint32_t buffers_free;
};

/* --- making one ------------------------------------------------------------------------------------------------- */

static void explain_refusal(struct error *error, int number) {
    switch (number) {
    case EPERM:
    case EACCES:
        error_set(error,
                  "this kernel refuses io_uring (%s): either `sysctl kernel.io_uring_disabled` is not 0 (set it to 0, "
                  "or put the user into kernel.io_uring_group when it is 1), or a container's seccomp profile forbids "
                  "io_uring_setup (use the profile that moonring installs: seccomp.json)",
                  error_name(number));
        return;
    case ENOSYS:
        error_set(error, "this kernel has no io_uring (ENOSYS): it is older than 6.1, built without it, or a sandbox "
                         "hides it (a container's seccomp profile or gVisor); moonring cannot run here");
        return;
    case EINVAL:
        error_set(error, "this kernel's io_uring lacks what moonring needs (EINVAL): Linux 6.1 or newer is required; "
                         "`uname -r` says which one runs");
        return;
    case ENOMEM:
        error_set(error, "no memory for an io_uring (ENOMEM): raise the locked-memory limit (`ulimit -l`, systemd: "
                         "LimitMEMLOCK=) or lower process.workers");
        return;
    case EMFILE:
    case ENFILE:
        error_set(error, "no file descriptor left for an io_uring (%s): raise `ulimit -n` (systemd: LimitNOFILE=)",
                  error_name(number));
        return;
    default:
        error_set(error, "cannot make an io_uring: %s", strerror(number));
    }
}

static int uring_open(struct io_uring *uring, const struct ring_options *options) {
    struct io_uring_params params = {0};
    params.flags = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER;
    params.cq_entries = options->completions;
    if (options->sqpoll) {
        /* The kernel's thread submits for us; deferred task work cannot be combined with it (EINVAL). */
        params.flags |= IORING_SETUP_SQPOLL;
        params.sq_thread_idle = options->sqpoll_idle_ms;
        if (options->sqpoll_cpu >= 0) {
            params.flags |= IORING_SETUP_SQ_AFF;
            params.sq_thread_cpu = (uint32_t)options->sqpoll_cpu;
        }
    } else {
        /* TASKRUN_FLAG lets a busy poll see in user memory that there is work to run. */
        params.flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    }
    return -io_uring_queue_init_params(options->entries, uring, &params);
}

static void *memory_map(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static size_t buffer_ring_size(const struct ring *ring) {
    return ring->buffers_count * sizeof(struct io_uring_buf);
}

static size_t buffer_memory_size(const struct ring *ring) {
    return (size_t)ring->buffers_count * ring->buffer_size;
}

static void buffers_close(struct ring *ring) {
    if (ring->buffers != NULL) {
        munmap(ring->buffers, buffer_ring_size(ring));
    }
    if (ring->memory != NULL) {
        munmap(ring->memory, buffer_memory_size(ring));
    }
    free(ring->order);
    free(ring->place);
}

/* Debian's liburing 2.3 has no io_uring_setup_buf_ring; registering by hand works from 5.19 on. */
static bool buffers_open(struct ring *ring, struct error *error) {
    ring->buffers = memory_map(buffer_ring_size(ring));
    ring->memory = memory_map(buffer_memory_size(ring));
    ring->order = calloc(ring->buffers_count, sizeof *ring->order);
    ring->place = calloc(ring->buffers_count, sizeof *ring->place);
    if (ring->buffers == NULL || ring->memory == NULL || ring->order == NULL || ring->place == NULL) {
        return error_set(error, "no memory for %u receive buffers of %u bytes", ring->buffers_count, ring->buffer_size);
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)ring->buffers, .ring_entries = ring->buffers_count, .bgid = BUFFER_GROUP};
    int result = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (result < 0) {
        explain_refusal(error, -result);
        return false;
    }
    io_uring_buf_ring_init(ring->buffers);
    for (uint32_t buffer = 0; buffer < ring->buffers_count; buffer++) {
        ring_buffer_give(ring, (uint16_t)buffer);
    }
    return true;
}

static struct ring *ring_open(const struct ring_options *options, struct error *error) {
    struct ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        error_set(error, "no memory for a ring");
        return NULL;
    }
    int number = uring_open(&ring->uring, options);
    if (number == EINVAL && options->sqpoll && options->sqpoll_cpu >= 0) {
        error_set(error, "io.sqpoll_cpu: there is no CPU %d that this process may use", options->sqpoll_cpu);
        free(ring);
        return NULL;
    }
    if (number != 0) {
        explain_refusal(error, number);
        free(ring);
        return NULL;
    }
    ring->sqpoll = options->sqpoll;
    ring->busy_polls = options->busy_poll_us > 0;
    const struct spin_terms busy_poll_terms = {.duration_ns = options->busy_poll_us * 1000,
                                               .dearer_max_percent = BUSY_POLL_DEARER_MAX_PERCENT};
    spin_init(&ring->spin, ring->busy_polls ? &busy_poll_terms : &expected_terms, kernel_now_ns());
    ring->buffers_count = options->buffers_count;
    ring->buffer_size = options->buffer_size;
    if (!buffers_open(ring, error)) {
        ring_destroy(ring);
        return NULL;
    }
    return ring;
}

struct ring *ring_create(const struct ring_options *options, struct error *error) {
    struct ring_features features;
    if (options->features != NULL) {
        features = *options->features;
    } else if (!ring_probe(&features, error)) {
        return NULL;
    }
    struct ring *ring = ring_open(options, error);
    if (ring != NULL) {
        ring->features = features;
    }
    return ring;
}

void ring_destroy(struct ring *ring) {
    if (ring == NULL) {
        return;
    }
    io_uring_queue_exit(&ring->uring); /* first: the kernel may write into the buffers until then */
    buffers_close(ring);
    free(ring);
}

const struct ring_features *ring_features(const struct ring *ring) {
    return &ring->features;
}

const struct ring_counters *ring_counters(const struct ring *ring) {
    return &ring->counters;
}

/* --- submitting ------------------------------------------------------------------------------------------------- */

static bool submission_needs_call(const struct ring *ring) {
    return !ring->sqpoll || (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_NEED_WAKEUP) != 0;
}

static void ring_submit(struct ring *ring) {
    counter_add(&ring->counters.system_calls, submission_needs_call(ring) ? 1 : 0);
    int result = io_uring_submit(&ring->uring);
    /* -EBUSY and -EAGAIN: the kernel wants completions reaped first; what it did not take stays in the queue. */
    check(result >= 0 || result == -EBUSY || result == -EAGAIN || result == -EINTR);
}

static struct io_uring_sqe *sqe_take(struct ring *ring) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    while (sqe == NULL) {
        ring_submit(ring);
        if (ring->sqpoll) {
            io_uring_sqring_wait(&ring->uring);
        }
        sqe = io_uring_get_sqe(&ring->uring);
    }
    return sqe;
}

enum op_kind {
    OP_PLAIN,
    OP_POLL_WRITE,  /* kept: the descriptor */
    OP_WATCH_WRITE, /* kept: the events seen; 0: none yet */
};

/* Every request passes here: counts it, and binds the completion to the op. */
static void ring_prepare(struct ring *ring, struct io_uring_sqe *sqe, struct op *op, enum op_kind kind) {
    check(!op->in_flight);
    owner_hold(op_owner(op));
    op->in_flight = true;
    op->kind = (uint8_t)kind;
    io_uring_sqe_set_data(sqe, op);
    counter_add(&ring->counters.submissions, 1);
}

void ring_accept(struct ring *ring, struct op *op, int fd, bool multishot) {
    struct io_uring_sqe *sqe = sqe_take(ring);
    io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->ioprio |= multishot ? IORING_ACCEPT_MULTISHOT : 0;
    ring_prepare(ring, sqe, op, OP_PLAIN);
}

void ring_connect(struct ring *ring, struct op *op, int fd, const struct address *address) {
    struct io_uring_sqe *sqe = sqe_take(ring);
    io_uring_prep_connect(sqe, fd, &address->any, address->length);
    ring_prepare(ring, sqe, op, OP_PLAIN);
}

void ring_recv(struct ring *ring, struct op *op, int fd, size_t limit) {
    struct io_uring_sqe *sqe = sqe_take(ring);
    if (ring->features.recv_limit) {
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
        sqe->ioprio |= IORING_RECVSEND_BUNDLE;
        sqe->len = (uint32_t)limit;         /* at most this in one completion, */
        sqe->splice_fd_in = (int32_t)limit; /* optlen: and this in all */
    } else {
        /* A bundle takes whatever lies in the socket, far more than its length says: one buffer is the only bound. */
        io_uring_prep_recv(sqe, fd, NULL, limit < ring->buffer_size ? limit : ring->buffer_size, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    ring_prepare(ring, sqe, op, OP_PLAIN);
}

static void prepare_send_one(struct io_uring_sqe *sqe, int fd, const struct iovec *iovec, bool zero_copy) {
    io_uring_prep_send(sqe, fd, iovec->iov_base, iovec->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (zero_copy) {
        sqe->opcode = IORING_OP_SEND_ZC;
    }
}

static void prepare_send_vectored(struct io_uring_sqe *sqe, int fd, struct ring_message *message, bool zero_copy) {
    io_uring_prep_send(sqe, fd, message->iovecs, message->count, MSG_DONTWAIT | MSG_NOSIGNAL);
    sqe->ioprio |= IORING_SEND_VECTORIZED;
    if (zero_copy) {
        sqe->opcode = IORING_OP_SEND_ZC;
    }
}

static void prepare_send_message(struct io_uring_sqe *sqe, int fd, struct ring_message *message) {
    _Static_assert(sizeof(struct msghdr) <= sizeof message->header, "ring_message.header holds a msghdr");
    struct msghdr *header = (struct msghdr *)(void *)message->header;
    *header = (struct msghdr){.msg_iov = message->iovecs, .msg_iovlen = message->count};
    io_uring_prep_sendmsg(sqe, fd, header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void ring_send(struct ring *ring, struct op *op, int fd, struct ring_message *message, bool zero_copy) {
    check(message->count >= 1 && message->count <= RING_SEND_MAX);
    struct io_uring_sqe *sqe = sqe_take(ring);
    bool vectored = message->count > 1;
    zero_copy = zero_copy && ring->features.send_zero_copy && (!vectored || ring->features.send_vectored);
    if (!vectored) {
        prepare_send_one(sqe, fd, &message->iovecs[0], zero_copy);
    } else if (ring->features.send_vectored) {
        prepare_send_vectored(sqe, fd, message, zero_copy);
    } else {
        prepare_send_message(sqe, fd, message);
    }
    ring_prepare(ring, sqe, op, OP_PLAIN);
}

void ring_poll(struct ring *ring, struct op *op, int fd, enum ring_poll_events events) {
    struct io_uring_sqe *sqe = sqe_take(ring);
    if (events == RING_POLL_READ) {
        io_uring_prep_poll_add(sqe, fd, POLLIN | POLLRDHUP);
        ring_prepare(ring, sqe, op, OP_PLAIN);
    } else {
        io_uring_prep_poll_add(sqe, fd, POLLOUT);
        ring_prepare(ring, sqe, op, OP_POLL_WRITE);
        op->kept = fd;
    }
}

void ring_read_event(struct ring *ring, struct op *op, int fd, uint64_t *value) {
    struct io_uring_sqe *sqe = sqe_take(ring);
    io_uring_prep_read(sqe, fd, value, sizeof *value, 0);
    ring_prepare(ring, sqe, op, OP_PLAIN);
}

void ring_cancel(struct ring *ring, struct op *op) {
    check(op->in_flight);
    struct io_uring_sqe *sqe = sqe_take(ring);
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data(sqe, NULL); /* nobody waits for its completion */
    counter_add(&ring->counters.submissions, 1);
}

/* --- completing ------------------------------------------------------------------------------------------------- */

static void count_buffers(struct ring *ring, uint16_t buffer, uint32_t received) {
    for (;;) {
        uint32_t size = ring_buffer_size(ring, buffer);
        check(ring->buffers_free > 0);
        ring->buffers_free--;
        if (received <= size) {
            return;
        }
        received -= size;
        buffer = ring_buffer_after(ring, buffer);
    }
}

/* The kernel adds POLLRDHUP to every poll (IO_POLL_UNMASK in io_uring/poll.c): once the peer has half-closed, a poll
 * for writing completes at once although nothing can be written, for ever. A multishot poll tells that only once and
 * then what is new; so it takes over, and is cancelled when the socket can be written. */
static void poll_write_watch(struct ring *ring, struct op *op) {
    struct io_uring_sqe *sqe = sqe_take(ring);
    io_uring_prep_poll_multishot(sqe, op->kept, POLLOUT);
    io_uring_sqe_set_data(sqe, op);
    op->kind = OP_WATCH_WRITE;
    op->kept = 0;
    counter_add(&ring->counters.submissions, 1);
}

static bool is_writable(int events) {
    return events < 0 || (events & (POLLOUT | POLLERR | POLLHUP)) != 0;
}

/* Requests that complete in several steps. False: this was not the last one. */
static bool ring_settle(struct ring *ring, struct op *op, struct completion *completion) {
    switch ((enum op_kind)op->kind) {
    case OP_PLAIN:
        return true;
    case OP_POLL_WRITE:
        if (!is_writable(completion->result) && !op_owner(op)->closing) {
            poll_write_watch(ring, op);
            return false;
        }
        return true;
    case OP_WATCH_WRITE:
        if (completion->more) {
            if (op->kept == 0 && is_writable(completion->result)) {
                op->kept = completion->result;
                ring_cancel(ring, op);
            }
            return false;
        }
        completion->result = op->kept != 0 ? op->kept : completion->result;
        return true;
    }
    return true;
}

/* The one place where a request ends. */
static void ring_complete(struct ring *ring, const struct io_uring_cqe *cqe) {
    struct op *op = io_uring_cqe_get_data(cqe);
    if (op == NULL) {
        return; /* of ring_cancel */
    }
    check(op->in_flight);
    struct completion completion = {.result = cqe->res,
                                    .more = (cqe->flags & IORING_CQE_F_MORE) != 0,
                                    .has_buffer = (cqe->flags & IORING_CQE_F_BUFFER) != 0,
                                    .buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT)};
    counter_add(&ring->counters.completions, 1);
    if (!ring_settle(ring, op, &completion)) {
        return;
    }
    if (completion.has_buffer && completion.result > 0) {
        count_buffers(ring, completion.buffer, (uint32_t)completion.result);
    } else if (completion.has_buffer) {
        /* The end of the stream took no byte; whether it took the buffer is the kernel's to say, and it did. */
        ring->buffers_free--;
        ring_buffer_give(ring, completion.buffer);
        completion.has_buffer = false;
    }
    if (completion.result == -ENOBUFS) {
        counter_add(&ring->counters.no_buffers, 1);
    }
    if (completion.more) {
        op->done(op, &completion);
        return;
    }
    struct owner *owner = op_owner(op);
    op->in_flight = false;
    op->done(op, &completion);
    owner_drop(owner);
}

static void ring_dispatch(struct ring *ring) {
    struct io_uring_cqe *cqes[64];
    unsigned count = 0;
    unsigned left = io_uring_cq_ready(&ring->uring); /* what comes meanwhile waits for the next turn */
    while (left > 0 && (count = io_uring_peek_batch_cqe(&ring->uring, cqes, left < 64 ? left : 64)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            struct io_uring_cqe cqe = {.user_data = cqes[i]->user_data, .res = cqes[i]->res, .flags = cqes[i]->flags};
            ring_complete(ring, &cqe);
        }
        io_uring_cq_advance(&ring->uring, count);
        left -= count < left ? count : left;
    }
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static bool ring_has_work(const struct ring *ring) {
    unsigned wanted = IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW;
    return io_uring_cq_ready(&ring->uring) > 0 || (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & wanted) != 0;
}

/* Looks for work without sleeping for a while. */
static bool ring_spin(struct ring *ring) {
    uint64_t end_ns = kernel_now_ns() + ring->spin.terms.duration_ns;
    do {
        for (int i = 0; i < 16; i++) {
            if (ring_has_work(ring)) {
                counter_add(&ring->counters.spins, 1);
                return true;
            }
            __builtin_ia32_pause();
        }
    } while (kernel_now_ns() < end_ns);
    return false;
}

static void ring_wait(struct ring *ring, uint64_t timeout_us) {
    struct io_uring_cqe *cqe = NULL;
    struct __kernel_timespec timeout = {.tv_sec = (int64_t)(timeout_us / 1000000),
                                        .tv_nsec = (int64_t)(timeout_us % 1000000) * 1000};
    counter_add(&ring->counters.system_calls, 1);
    int result =
        io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, timeout_us == UINT64_MAX ? NULL : &timeout, NULL);
    check(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY || result == -EAGAIN);
}

/* Submits and runs the kernel's deferred work, without waiting. io_uring_submit alone never runs that work. */
static void ring_poke(struct ring *ring) {
    if (ring->sqpoll) {
        ring_submit(ring);
        return;
    }
    counter_add(&ring->counters.system_calls, 1);
    int result = io_uring_submit_and_get_events(&ring->uring);
    check(result >= 0 || result == -EBUSY || result == -EAGAIN || result == -EINTR);
}

static void ring_judge_spin(struct ring *ring, uint64_t now_ns) {
    const struct spin_sample sample = {.now_ns = now_ns,
                                       .cpu_ns = kernel_thread_ns(),
                                       .work = counter_read(&ring->counters.completions) +
                                               ring->moved_bytes / BYTES_OF_WORK};
    spin_next_window(&ring->spin, &sample);
}

void ring_expect_more(struct ring *ring, uint64_t bytes) {
    ring->expects_more = true;
    ring->moved_bytes += bytes;
}

void ring_run(struct ring *ring, uint64_t timeout_us, uint64_t *now_us) {
    counter_add(&ring->counters.turns, 1);
    if ((IO_URING_READ_ONCE(*ring->uring.sq.kflags) & IORING_SQ_CQ_OVERFLOW) != 0) {
        counter_add(&ring->counters.overflows, 1);
    }
    bool pending = io_uring_sq_ready(&ring->uring) > 0;
    bool eager = ring->busy_polls || ring->expects_more;
    ring->expects_more = false;
    if (timeout_us == 0) {
        ring_poke(ring);
    } else if (eager && spin_is_on(&ring->spin)) {
        if (pending) {
            ring_poke(ring);
        }
        if (!ring_has_work(ring) && !ring_spin(ring)) {
            ring_wait(ring, timeout_us);
        } else if (io_uring_cq_ready(&ring->uring) == 0) {
            ring_poke(ring);
        }
    } else if (ring->sqpoll) {
        if (pending) {
            ring_submit(ring);
        }
        if (io_uring_cq_ready(&ring->uring) == 0) {
            ring_wait(ring, timeout_us);
        }
    } else {
        ring_wait(ring, timeout_us);
    }
    uint64_t now_ns = kernel_now_ns();
    *now_us = now_ns / 1000;
    ring_dispatch(ring);
    if (eager && spin_is_due(&ring->spin, now_ns)) {
        ring_judge_spin(ring, now_ns);
    }
}

/* --- buffers ---------------------------------------------------------------------------------------------------- */

char *ring_buffer_bytes(struct ring *ring, uint16_t buffer) {
    check(buffer < ring->buffers_count);
    return ring->memory + (size_t)buffer * ring->buffer_size;
}

/* The kernel cuts the entry of a bundle's last buffer to the receive's limit, and leaves it cut when the receive then
 * brings nothing (io_ring_buffers_peek in io_uring/kbuf.c): only the entry knows how much the buffer could take. */
uint32_t ring_buffer_size(const struct ring *ring, uint16_t buffer) {
    return ring->buffers->bufs[ring->place[buffer]].len;
}

uint16_t ring_buffer_after(const struct ring *ring, uint16_t buffer) {
    return ring->order[(ring->place[buffer] + 1U) & (ring->buffers_count - 1)];
}

void ring_buffer_give(struct ring *ring, uint16_t buffer) {
    uint32_t mask = ring->buffers_count - 1;
    uint16_t place = (uint16_t)(ring->tail & mask);
    check(ring->buffers_free < ring->buffers_count);
    io_uring_buf_ring_add(ring->buffers, ring_buffer_bytes(ring, buffer), ring->buffer_size, buffer, (int)mask, 0);
    io_uring_buf_ring_advance(ring->buffers, 1);
    ring->order[place] = buffer;
    ring->place[buffer] = place;
    ring->tail++;
    ring->buffers_free++;
}

uint32_t ring_buffers_free(const struct ring *ring) {
    return ring->buffers_free;
}

/* --- probing ---------------------------------------------------------------------------------------------------- */

static bool is_disabled(const char *feature) {
    const char *disabled = getenv("MOONRING_DISABLE");
    const char *found = disabled == NULL ? NULL : strstr(disabled, feature);
    return found != NULL;
}

/* Submits one prepared request, waits for a completion and returns its result. */
static int probe_result(struct ring *ring) {
    struct io_uring_cqe *cqe = NULL;
    int result = io_uring_submit_and_wait(&ring->uring, 1);
    if (result < 0 || io_uring_wait_cqe(&ring->uring, &cqe) < 0) {
        return -EINVAL;
    }
    result = cqe->res;
    io_uring_cqe_seen(&ring->uring, cqe);
    return result;
}

/* Old kernels refuse with -EINVAL a request with a flag that they do not know. */
static bool probe_send_vectored(struct ring *ring, int fd) {
    char byte = 'm';
    struct iovec iovecs[2] = {{&byte, 1}, {&byte, 1}};
    struct ring_message message = {.iovecs = {iovecs[0], iovecs[1]}, .count = 2};
    prepare_send_vectored(io_uring_get_sqe(&ring->uring), fd, &message, false);
    return probe_result(ring) == 2;
}

/* Two bytes wait; a limit of two must bring both and end the request. A request that the kernel would keep armed
 * (more) means that it did not understand the limit; closing the ring ends it. */
static bool probe_recv_limit(struct ring *ring, int fd) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->ioprio |= IORING_RECVSEND_BUNDLE;
    sqe->len = 2;
    sqe->splice_fd_in = 2;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    struct io_uring_cqe *cqe = NULL;
    if (io_uring_submit_and_wait(&ring->uring, 1) < 0 || io_uring_wait_cqe(&ring->uring, &cqe) < 0) {
        return false;
    }
    bool ended = cqe->res == 2 && (cqe->flags & IORING_CQE_F_MORE) == 0;
    io_uring_cqe_seen(&ring->uring, cqe);
    return ended;
}

static bool probe_opcode(struct ring *ring, int opcode) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    bool supported = probe != NULL && io_uring_opcode_supported(probe, opcode);
    io_uring_free_probe(probe);
    return supported;
}

static void probe_features(struct ring *ring, const int pair[2], struct ring_features *features) {
    features->send_vectored = probe_send_vectored(ring, pair[0]);
    if (!features->send_vectored) {
        check(write(pair[0], "mr", 2) == 2);
    }
    features->recv_bundle = (ring->uring.features & IORING_FEAT_RECVSEND_BUNDLE) != 0 && !is_disabled("recv_bundle");
    features->recv_limit = features->recv_bundle && probe_recv_limit(ring, pair[1]) && !is_disabled("recv_limit");
    features->send_vectored = features->send_vectored && !is_disabled("send_vectored");
    features->send_zero_copy = probe_opcode(ring, IORING_OP_SEND_ZC) && !is_disabled("send_zero_copy");
}

bool ring_probe(struct ring_features *features, struct error *error) {
    const struct ring_options options = {.entries = 8, .completions = 16, .buffers_count = 4, .buffer_size = 4096};
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return error_set(error, "cannot make a pair of sockets to probe io_uring with: %s", strerror(errno));
    }
    struct ring *ring = ring_open(&options, error);
    if (ring != NULL) {
        probe_features(ring, pair, features);
    }
    ring_destroy(ring);
    close(pair[0]);
    close(pair[1]);
    return ring != NULL;
}
