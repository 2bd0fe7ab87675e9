/* Pipes that bulk is spliced through: a few, lent to one flow at a time. */
#ifndef MOONRING_BENCH_EPOLL_PIPE_H
#define MOONRING_BENCH_EPOLL_PIPE_H

#include <stdbool.h>
#include <stddef.h>

enum { PIPE_SIZE = 1 << 20, PIPES_MAX = 64 };

struct pipe {
    int read_fd; /* -1: no pipe */
    int write_fd;
};

struct pipe_pool {
    struct pipe idle[PIPES_MAX];
    size_t idle_count;
    size_t made_count;
};

/* False when all are lent, or the kernel makes no more. */
bool pipe_take(struct pipe_pool *pool, struct pipe *pipe);
/* Sets `pipe` to no pipe. One that holds bytes is closed instead of kept. Giving no pipe is harmless. */
void pipe_give(struct pipe_pool *pool, struct pipe *pipe, bool is_empty);

#endif
