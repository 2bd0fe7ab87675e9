#include "tests/bench/epoll/pipe.h"

#include <fcntl.h>
#include <unistd.h>

bool pipe_take(struct pipe_pool *pool, struct pipe *pipe) {
    if (pool->idle_count > 0) {
        *pipe = pool->idle[--pool->idle_count];
        return true;
    }
    int fds[2];
    if (pool->made_count == PIPES_MAX || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return false;
    }
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE); /* a smaller pipe works as well */
    pool->made_count++;
    *pipe = (struct pipe){.read_fd = fds[0], .write_fd = fds[1]};
    return true;
}

void pipe_give(struct pipe_pool *pool, struct pipe *pipe, bool is_empty) {
    if (pipe->read_fd < 0) {
        return;
    }
    if (is_empty) {
        pool->idle[pool->idle_count++] = *pipe;
    } else {
        close(pipe->read_fd);
        close(pipe->write_fd);
        pool->made_count--;
    }
    *pipe = (struct pipe){.read_fd = -1, .write_fd = -1};
}
