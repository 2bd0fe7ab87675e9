/* What the load asks of the kernel: requests on one ring, and the buffers that received bytes come in. It is io_uring
 * because that costs the least per message, so that the generator is not what limits a proxy. */
#ifndef MOONRING_BENCH_WIRE_H
#define MOONRING_BENCH_WIRE_H

#include "base/error.h"

#include <liburing.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    struct io_uring ring;
    uint8_t *buffers; /* ours; the kernel fills them in the order in which they were given */
    size_t buffer_size;
    size_t buffers_count;
    struct io_uring_buf_ring *buffer_ring; /* ours */
    struct __kernel_timespec tick;
};

struct wire_completion {
    uint64_t tag;        /* of the request */
    int result;          /* as the system call's; negative: an error number */
    bool more;           /* the request goes on */
    const uint8_t *data; /* what was received, until the callback returns; else NULL */
};

typedef void wire_done_fn(void *context, const struct wire_completion *completion);

/* For that many sessions, each with a message under way. After a failure wire_finish is still to be called. */
bool wire_init(struct wire *wire, size_t sessions, size_t message_size, struct error *error);
void wire_finish(struct wire *wire);

/* Each request ends with a completion that carries `tag`. They are submitted by the next wire_wait. */

void wire_tick(struct wire *wire, uint64_t duration_ns, uint64_t tag);
/* Goes on until it fails. */
void wire_accept(struct wire *wire, int listener_fd, uint64_t tag);
/* The address stays where it is until the completion. */
void wire_connect(struct wire *wire, int fd, const struct sockaddr_in *address, uint64_t tag);
/* Goes on until the end of the stream, or stops with ENOBUFS when all buffers are full. */
void wire_receive(struct wire *wire, int fd, uint64_t tag);
void wire_receive_once(struct wire *wire, int fd, uint64_t tag);
/* Lets TCP drop what has arrived, at most `size` bytes, without a copy. */
void wire_discard(struct wire *wire, int fd, size_t size, uint64_t tag);
/* All of it; the data stays where it is until the completion. */
void wire_send(struct wire *wire, int fd, const uint8_t *data, size_t size, uint64_t tag);

/* Submits, and waits for a completion. Returns 0 or a negative error number. */
int wire_wait(struct wire *wire);
/* Submits, and looks what has completed, without waiting. Returns the same. */
int wire_look(struct wire *wire);
/* Calls `done` for each completion that is there. */
void wire_dispatch(struct wire *wire, wire_done_fn *done, void *context);

#endif
