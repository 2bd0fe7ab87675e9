/* Everything that the engine asks of the kernel. Behind it stands ring.c (io_uring and plain system calls) or, in
 * tests, a fake with in-memory sockets and a seeded random: which one is chosen when the program is linked.
 *
 * A call with a `struct op` starts a request and cannot fail: the outcome comes as a completion to op->done, from
 * ring_run, never from inside the call. The op must not be in flight and its owner not closing. Functions named
 * kernel_* do their work at once. */
#ifndef MOONRING_ENGINE_RING_H
#define MOONRING_ENGINE_RING_H

#include "base/address.h"
#include "base/counter.h"
#include "base/error.h"
#include "engine/op.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct ring;

/* What this kernel can do beyond what we require (6.1). Each has a fallback. */
struct ring_features {
    bool recv_bundle;    /* one receive fills several buffers (6.10) */
    bool recv_limit;     /* a multishot receive ends by itself after a number of bytes (6.17) */
    bool send_vectored;  /* IORING_SEND_VECTORIZED instead of SENDMSG (6.17) */
    bool send_zero_copy; /* IORING_OP_SEND_ZC (6.0) */
};

struct ring_options {
    uint32_t entries;       /* submission queue, a power of two */
    uint32_t completions;   /* completion queue; more than the requests that may complete in one turn */
    uint32_t buffers_count; /* receive buffers, a power of two up to 32768 */
    uint32_t buffer_size;   /* bytes */
    bool sqpoll;
    uint32_t sqpoll_idle_ms;
    int32_t sqpoll_cpu;                   /* -1: any */
    const struct ring_features *features; /* as ring_probe found them; NULL: find out */
    uint64_t busy_poll_us;                /* spin so long before sleeping; 0: only where more is expected */
};

/* Only the ring's thread writes; any thread may read (base/counter.h). */
struct ring_counters {
    _Atomic uint64_t turns;        /* times ring_run was called */
    _Atomic uint64_t system_calls; /* io_uring_enter calls */
    _Atomic uint64_t submissions;
    _Atomic uint64_t completions;
    _Atomic uint64_t no_buffers; /* completions with -ENOBUFS */
    _Atomic uint64_t overflows;  /* times the completion queue was full */
    _Atomic uint64_t spins;      /* busy polls that found work before they would have slept */
};

/* The calling thread must be the one that uses the ring from then on. NULL: the error says why and what to do. */
struct ring *ring_create(const struct ring_options *options, struct error *error);
/* Nothing may be in flight. Closes its descriptor after the kernel let go of it. NULL is fine. */
void ring_destroy(struct ring *ring);
const struct ring_features *ring_features(const struct ring *ring);
const struct ring_counters *ring_counters(const struct ring *ring);

/* Finds out what the running kernel offers, with a small ring of its own. */
bool ring_probe(struct ring_features *features, struct error *error);

/* One turn: hands over what was started, waits until something completed or timeout_us passed (0: do not wait,
 * UINT64_MAX: as long as it takes), stores the time (monotonic microseconds) in *now_us, and calls done for each
 * completion. */
void ring_run(struct ring *ring, uint64_t timeout_us, uint64_t *now_us);

/* So many bytes were moved without a request, and more are likely to come within microseconds: the next ring_run looks
 * for them for a little before it sleeps, as long as that does not cost more CPU time (spin.h). */
void ring_expect_more(struct ring *ring, uint64_t bytes);

/* --- requests --------------------------------------------------------------------------------------------------- */

/* Completes with a descriptor (close-on-exec) for a client; multishot: for each one, until it fails or is cancelled. */
void ring_accept(struct ring *ring, struct op *op, int fd, bool multishot);
/* `address` must live until the completion. */
void ring_connect(struct ring *ring, struct op *op, int fd, const struct address *address);

/* Receives at most `limit` bytes into the ring's buffers, in one or several completions (`more`); the last one comes
 * when the limit is reached, at the end of the stream (result 0), on an error, on -ENOBUFS, on a cancel, or whenever
 * the kernel ends it: then start it again. Never brings more than `limit` bytes in all, except that a kernel without
 * recv_limit brings at most one buffer, and there -EAGAIN comes where the descriptor is non-blocking: poll first. */
void ring_recv(struct ring *ring, struct op *op, int fd, size_t limit);

/* Sends without waiting: -EAGAIN when the socket takes nothing now (poll for writing), a short count when it takes
 * less. Iovecs and the bytes they point at must stay until the completion. 1 to RING_SEND_MAX iovecs. With
 * zero_copy the first completion has the result; when it has `more`, a second one follows when the kernel has let go of
 * the bytes. Unix sockets refuse zero_copy with -EOPNOTSUPP. */
enum { RING_SEND_MAX = 64 };
struct ring_message { /* what a send points at; the caller's memory, until the completion */
    struct iovec iovecs[RING_SEND_MAX];
    uint32_t count;
    _Alignas(8) unsigned char header[56]; /* ring.c: a struct msghdr for kernels without send_vectored */
};
void ring_send(struct ring *ring, struct op *op, int fd, struct ring_message *message, bool zero_copy);

enum ring_poll_events { RING_POLL_READ = 1, RING_POLL_WRITE = 2 };
/* Completes once, when the descriptor is readable (or at its end, or broken) or writable (or broken). */
void ring_poll(struct ring *ring, struct op *op, int fd, enum ring_poll_events events);

/* Reads the 8 bytes of a kernel_event descriptor into *value, waiting for them. */
void ring_read_event(struct ring *ring, struct op *op, int fd, uint64_t *value);

/* Asks for the end of what an op in flight waits for. It completes with -ECANCELED, or as if nobody had asked when that
 * comes first. Nobody needs to wait for the cancel itself: the kernel takes requests in the order in which they were
 * made, so the op, or whatever comes to lie in its place, may be used again at once. Also while the owner closes. The
 * kernel finds the op by its address; by descriptor it would look through all polls that are armed (80 us among
 * 2,500: io_poll_file_find in io_uring/poll.c). */
void ring_cancel(struct ring *ring, struct op *op);

/* --- receive buffers -------------------------------------------------------------------------------------------- */

/* A receive's completion hands its buffers over; each goes back with ring_buffer_give, once. */
char *ring_buffer_bytes(struct ring *ring, uint16_t buffer);
/* What this buffer held at the most in the receive that brought it; less than buffer_size where the kernel cut it to
 * the receive's limit, or to an earlier one's. All but the last buffer of a completion are full to it. */
uint32_t ring_buffer_size(const struct ring *ring, uint16_t buffer);
/* The buffer that the kernel filled after this one within one completion. To be asked within `done`. */
uint16_t ring_buffer_after(const struct ring *ring, uint16_t buffer);
void ring_buffer_give(struct ring *ring, uint16_t buffer);
/* Buffers that the kernel may fill. */
uint32_t ring_buffers_free(const struct ring *ring);

/* --- at once ---------------------------------------------------------------------------------------------------- */

/* Nanoseconds of the monotonic clock. */
uint64_t kernel_now_ns(void);
/* Processor time that the calling thread has used. A system call, unlike the one above. */
uint64_t kernel_thread_ns(void);
/* Milliseconds since 1970. */
uint64_t kernel_wall_ms(void);
uint64_t kernel_random(void);

/* All return -errno when they fail, and set close-on-exec. */
int kernel_socket(int family); /* a stream socket */
struct kernel_tcp_options {
    bool nodelay;
    bool keepalive;
    uint32_t keepalive_idle_s;
    uint32_t keepalive_interval_s;
    uint32_t keepalive_count;
};
struct kernel_listen_options {
    bool reuse_port; /* one of several sockets of the same address */
    bool dual_stack;
    uint32_t backlog;
    struct kernel_tcp_options tcp; /* inherited by accepted sockets */
};
int kernel_bind(int fd, const struct address *address, const struct kernel_listen_options *options);
int kernel_listen(int fd, const struct kernel_listen_options *options);
/* Takes a client if one waits, else -EAGAIN. */
int kernel_accept(int fd);
/* Does nothing for unix sockets. Accepted sockets inherit what their listening socket has. */
void kernel_set_tcp(int fd, int family, const struct kernel_tcp_options *options);
int kernel_set_nonblocking(int fd, bool nonblocking);
/* Takes what was received, or with `peek` only copies it. Never waits: -EAGAIN; 0: the end of the stream. No receive
 * may be in flight. */
int kernel_receive(int fd, void *bytes, size_t size, bool peek);
/* The peer's address; needed once a session at the most, since a multishot accept has no room for it. */
int kernel_peer_address(int fd, struct address *address);
int kernel_local_address(int fd, struct address *address);
/* Sends a FIN behind what was written. No request for writing may be in flight (liburing issue 782). */
int kernel_shutdown_write(int fd);
/* Bytes written that the peer's kernel has not acknowledged yet; 0 when the connection is gone. */
int kernel_unsent(int fd);
/* What TCP knows of the path to the peer. Fails for unix sockets. */
struct kernel_tcp_state {
    uint32_t rtt_us;
    uint32_t retransmits; /* segments, since the connection began */
};
int kernel_tcp_state(int fd, struct kernel_tcp_state *state);
/* No request may be in flight: one would keep the socket open (liburing issue 932). */
void kernel_close(int fd);
/* Closes with a RST (unix sockets: like kernel_close). */
void kernel_reset(int fd);

/* A pipe for splicing; size in bytes as granted by the kernel. */
struct kernel_pipe {
    int read_fd;
    int write_fd;
    uint32_t size;
};
int kernel_pipe_open(struct kernel_pipe *pipe, uint32_t size);
void kernel_pipe_close(struct kernel_pipe *pipe);
/* Moves up to size bytes without copying; one side is a pipe, the other a non-blocking socket. Never waits: -EAGAIN.
 * 0: the end of the stream. */
int64_t kernel_splice(int from_fd, int to_fd, size_t size);

/* A descriptor to wake a ring by: any thread signals it, ring_read_event waits for it. */
int kernel_event_open(void);
void kernel_event_signal(int fd);

#endif
