#include "tests/bench/wire.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RING_ENTRIES = 4096,
    COMPLETIONS_MAX = 32768,
    BUFFER_GROUP = 0,
    BUFFER_SIZE_MIN = 256,
    BUFFER_SIZE_MAX = 16384,
    BUFFERS_COUNT_MIN = 64,
    BUFFERS_MEMORY_MAX = 2 << 20, /* more would push everything else out of the cache */
};

/* ---- requests */

static struct io_uring_sqe *wire_sqe(struct wire *wire) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&wire->ring);
    if (sqe == NULL) {
        io_uring_submit(&wire->ring);
        sqe = io_uring_get_sqe(&wire->ring);
    }
    check(sqe != NULL);
    return sqe;
}

void wire_tick(struct wire *wire, uint64_t duration_ns, uint64_t tag) {
    wire->tick = (struct __kernel_timespec){.tv_nsec = (long long)duration_ns};
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_timeout(sqe, &wire->tick, 0, 0);
    sqe->user_data = tag;
}

void wire_accept(struct wire *wire, int listener_fd, uint64_t tag) {
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_multishot_accept(sqe, listener_fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = tag;
}

void wire_connect(struct wire *wire, int fd, const struct sockaddr_in *address, uint64_t tag) {
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_connect(sqe, fd, (const struct sockaddr *)address, sizeof *address);
    sqe->user_data = tag;
}

static void sqe_choose_buffer(struct io_uring_sqe *sqe, uint64_t tag) {
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUFFER_GROUP;
    sqe->user_data = tag;
}

void wire_receive(struct wire *wire, int fd, uint64_t tag) {
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe_choose_buffer(sqe, tag);
}

void wire_receive_once(struct wire *wire, int fd, uint64_t tag) {
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe_choose_buffer(sqe, tag);
}

/* With MSG_TRUNC, TCP never touches the buffer: it may be smaller than the size says. */
void wire_discard(struct wire *wire, int fd, size_t size, uint64_t tag) {
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_recv(sqe, fd, wire->buffers, size, MSG_TRUNC);
    sqe->user_data = tag;
}

/* MSG_WAITALL: the kernel goes on by itself when the socket took a part only. */
void wire_send(struct wire *wire, int fd, const uint8_t *data, size_t size, uint64_t tag) {
    struct io_uring_sqe *sqe = wire_sqe(wire);
    io_uring_prep_send(sqe, fd, data, size, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->user_data = tag;
}

/* ---- completions */

static void wire_give_buffer(struct wire *wire, unsigned id, int offset) {
    uint8_t *buffer = wire->buffers + id * wire->buffer_size;
    io_uring_buf_ring_add(wire->buffer_ring, buffer, (unsigned)wire->buffer_size, (unsigned short)id,
                          io_uring_buf_ring_mask((unsigned)wire->buffers_count), offset);
}

int wire_wait(struct wire *wire) {
    int result = io_uring_submit_and_wait(&wire->ring, 1);
    return result < 0 && result != -EINTR ? result : 0;
}

int wire_look(struct wire *wire) {
    int result = io_uring_submit_and_get_events(&wire->ring);
    return result < 0 && result != -EINTR ? result : 0;
}

void wire_dispatch(struct wire *wire, wire_done_fn *done, void *context) {
    unsigned head;
    unsigned count = 0;
    struct io_uring_cqe *cqe;
    io_uring_for_each_cqe(&wire->ring, head, cqe) {
        struct wire_completion completion = {
            .tag = cqe->user_data, .result = cqe->res, .more = (cqe->flags & IORING_CQE_F_MORE) != 0};
        if ((cqe->flags & IORING_CQE_F_BUFFER) == 0) {
            done(context, &completion);
        } else {
            unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
            completion.data = wire->buffers + id * wire->buffer_size;
            done(context, &completion);
            wire_give_buffer(wire, id, 0);
            io_uring_buf_ring_advance(wire->buffer_ring, 1);
        }
        count++;
    }
    io_uring_cq_advance(&wire->ring, count);
}

/* ---- making and ending */

static bool wire_make_ring(struct wire *wire, struct error *error) {
    struct io_uring_params parameters = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                                  IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                         .cq_entries = COMPLETIONS_MAX};
    int result = io_uring_queue_init_params(RING_ENTRIES, &wire->ring, &parameters);
    if (result < 0) {
        wire->ring.ring_fd = -1;
        return error_set(error, "the load generator needs io_uring of Linux 6.1 or newer: %s", error_name(-result));
    }
    return true;
}

/* A buffer holds a message or 16 KiB of it; there are two for every session as far as the cache allows. */
static void wire_size_buffers(struct wire *wire, size_t sessions, size_t message_size) {
    wire->buffer_size = BUFFER_SIZE_MIN;
    while (wire->buffer_size < message_size && wire->buffer_size < BUFFER_SIZE_MAX) {
        wire->buffer_size *= 2;
    }
    wire->buffers_count = BUFFERS_COUNT_MIN;
    while (wire->buffers_count < 2 * sessions && wire->buffers_count * wire->buffer_size < BUFFERS_MEMORY_MAX) {
        wire->buffers_count *= 2;
    }
}

static bool wire_make_buffers(struct wire *wire, struct error *error) {
    void *buffer_ring = NULL;
    size_t ring_size = wire->buffers_count * sizeof(struct io_uring_buf);
    int failure = posix_memalign(&buffer_ring, (size_t)sysconf(_SC_PAGESIZE), ring_size);
    wire->buffer_ring = failure == 0 ? buffer_ring : NULL;
    wire->buffers = calloc(wire->buffers_count, wire->buffer_size);
    if (wire->buffers == NULL || wire->buffer_ring == NULL) {
        return error_set(error, "no memory for %zu buffers", wire->buffers_count);
    }
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)wire->buffer_ring,
                                            .ring_entries = (uint32_t)wire->buffers_count,
                                            .bgid = BUFFER_GROUP};
    int result = io_uring_register_buf_ring(&wire->ring, &registration, 0);
    if (result < 0) {
        return error_set(error, "io_uring: buffer ring: %s", error_name(-result));
    }
    io_uring_buf_ring_init(wire->buffer_ring);
    for (unsigned id = 0; id < wire->buffers_count; id++) {
        wire_give_buffer(wire, id, (int)id);
    }
    io_uring_buf_ring_advance(wire->buffer_ring, (int)wire->buffers_count);
    return true;
}

bool wire_init(struct wire *wire, size_t sessions, size_t message_size, struct error *error) {
    *wire = (struct wire){.ring.ring_fd = -1};
    wire_size_buffers(wire, sessions, message_size);
    return wire_make_ring(wire, error) && wire_make_buffers(wire, error);
}

void wire_finish(struct wire *wire) {
    if (wire->ring.ring_fd >= 0) {
        io_uring_queue_exit(&wire->ring);
    }
    free(wire->buffer_ring);
    free(wire->buffers);
}
