/* The bulk path of a flow that nobody watches: bytes go from socket to socket through a pipe without being copied to
 * us. A pipe is held only while bytes lie in it; the pool is small, because the kernel bounds the pages that an
 * unprivileged user's pipes may have (fs.pipe-user-pages-soft). */
#ifndef MOONRING_ENGINE_SPLICE_H
#define MOONRING_ENGINE_SPLICE_H

#include "engine/ring.h"

#include <stddef.h>
#include <stdint.h>

struct splice {
    struct kernel_pipe pipe;
    uint32_t bytes;   /* in the pipe */
    struct link link; /* in the pool */
};

struct splices {
    struct list free;
    uint32_t open_count;
    uint32_t open_max;
};

void splices_init(struct splices *splices, uint32_t open_max);
/* Every pipe must have been given back. */
void splices_finish(struct splices *splices);

/* An empty pipe, or NULL when the pool is exhausted or no descriptor is left. */
struct splice *splice_take(struct splices *splices);
/* A pipe with bytes in it is closed: they belong to a session that ended. */
void splice_give(struct splices *splices, struct splice *splice);

/* Socket to pipe, as much as fits. Bytes moved; 0: end of the stream; -EAGAIN: nothing there, or the pipe is full. */
int64_t splice_fill(struct splice *splice, int from_fd);
/* Pipe to socket. Bytes moved, -EAGAIN: the socket takes nothing now. The pipe must not be empty. */
int64_t splice_drain(struct splice *splice, int to_fd);

#endif
