/* The kernel_* half of engine/ring.h: what the engine asks of the kernel without waiting. */
#include "engine/ring.h"

#include "file.h"
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* 2026-01-01T00:00:00Z: wall time begins anywhere. */
static const uint64_t wall_begin_ms = 1767225600000U;

uint64_t kernel_now_ns(void) {
    return world_here()->now_ns;
}

/* Nobody works: time passes between turns only. */
uint64_t kernel_thread_ns(void) {
    return 0;
}

uint64_t kernel_wall_ms(void) {
    return wall_begin_ms + world_here()->now_ns / 1000000;
}

uint64_t kernel_random(void) {
    return random_next(&world_here()->random);
}

/* --- sockets -------------------------------------------------------------------------------------------------------
 */

/* Somebody calls the kernel. */
static struct world *call(void) {
    struct world *world = world_here();
    world->calls++;
    return world;
}

static bool resources_are_short(struct world *world) {
    return world_chance(world, world->options.resource_chance);
}

int kernel_socket(int family) {
    struct world *world = call();
    if (resources_are_short(world)) {
        world_trace(world, "kernel socket: -EMFILE");
        return -EMFILE;
    }
    struct file *file = file_make(world, FILE_SOCKET);
    file->family = family;
    world_trace(world, "kernel socket: fd %d", file->fd);
    return file->fd;
}

int kernel_bind(int fd, const struct address *address, const struct kernel_listen_options *options) {
    struct world *world = call();
    struct file *file = file_get_kind(world, fd, FILE_SOCKET, __func__);
    int result = place_open(world, &file->place, address, options->reuse_port);
    file->bound = result == 0;
    world_trace(world, "kernel bind fd %d: %d", fd, result);
    return result;
}

int kernel_listen(int fd, const struct kernel_listen_options *options) {
    struct world *world = call();
    struct file *file = file_get(world, fd, __func__);
    if (!file->bound) {
        world_violation("%s(%d): the socket has no address", __func__, fd);
    }
    if (file->kind == FILE_SOCKET) {
        file->kind = FILE_LISTENER;
        world->counts.sockets--;
        world->counts.listeners++;
    }
    place_listen(&file->place, options->backlog);
    file->place.news = file_news;
    file->place.holder = file;
    return 0;
}

int kernel_accept(int fd) {
    struct world *world = call();
    struct file *file = file_get_kind(world, fd, FILE_LISTENER, __func__);
    file->nonblocking = true;
    struct stream *stream = place_accept(&file->place);
    int result = stream == NULL ? -EAGAIN : file_open_stream(world, stream)->fd;
    world_trace(world, "kernel accept fd %d: %d", fd, result);
    return result;
}

void kernel_set_tcp(int fd, int family, const struct kernel_tcp_options *options) {
    file_get_kind(call(), fd, FILE_SOCKET, __func__);
    (void)family;
    (void)options;
}

int kernel_set_nonblocking(int fd, bool nonblocking) {
    file_get(call(), fd, __func__)->nonblocking = nonblocking;
    return 0;
}

int kernel_peer_address(int fd, struct address *address) {
    struct file *file = file_get_kind(call(), fd, FILE_SOCKET, __func__);
    if (file->stream == NULL || (file->stream->dead && !file->stream->local)) {
        return -ENOTCONN;
    }
    *address = file->stream->other->address;
    return 0;
}

int kernel_local_address(int fd, struct address *address) {
    struct file *file = file_get(call(), fd, __func__);
    if (file->stream != NULL) {
        *address = file->stream->address;
    } else if (file->bound) {
        *address = file->place.address;
    } else {
        *address = (struct address){.length = sizeof(struct sockaddr_in), .v4 = {.sin_family = AF_INET}};
    }
    return 0;
}

int kernel_receive(int fd, void *bytes, size_t size, bool peek) {
    struct world *world = world_here();
    struct file *file = file_get_kind(world, fd, FILE_SOCKET, __func__);
    if (file_is_receiving(file)) {
        world_violation("%s: a receive is in flight on socket %d: the order of the bytes is lost", __func__, fd);
    }
    size_t part = peek ? world_part(world, (uint32_t)size) : size;
    int64_t count = peek ? stream_peek(file->stream, bytes, part) : stream_read(file->stream, bytes, part);
    world_trace(world, "kernel %s fd %d, %zu bytes: %lld", peek ? "peek" : "receive", fd, size, (long long)count);
    return (int)count;
}

int kernel_shutdown_write(int fd) {
    struct world *world = call();
    struct file *file = file_get_kind(world, fd, FILE_SOCKET, __func__);
    if (file_is_sending(file)) {
        world_violation("%s(%d): a send is still in flight on it", __func__, fd);
    }
    int result = file->stream == NULL ? -ENOTCONN : stream_shutdown(file->stream);
    world_trace(world, "kernel shutdown fd %d: %d", fd, result);
    return result;
}

int kernel_unsent(int fd) {
    struct file *file = file_get_kind(call(), fd, FILE_SOCKET, __func__);
    return file->stream == NULL || file->stream->dead ? 0 : (int)stream_unsent(file->stream);
}

/* Segments are never lost here. */
int kernel_tcp_state(int fd, struct kernel_tcp_state *state) {
    struct world *world = world_here();
    struct file *file = file_get_kind(world, fd, FILE_SOCKET, __func__);
    if (file->stream != NULL && file->stream->local) {
        return -EOPNOTSUPP;
    }
    *state = (struct kernel_tcp_state){.rtt_us = 2 * world->options.latency_us_max + 1};
    return 0;
}

void kernel_close(int fd) {
    struct world *world = call();
    world_trace(world, "kernel close fd %d", fd);
    file_close(file_get(world, fd, __func__), false, __func__);
}

void kernel_reset(int fd) {
    struct world *world = call();
    world_trace(world, "kernel reset fd %d", fd);
    file_close(file_get_kind(world, fd, FILE_SOCKET, __func__), true, __func__);
}

/* --- pipes ---------------------------------------------------------------------------------------------------------
 */

enum { PIPE_PAGE = 4096 };

int kernel_pipe_open(struct kernel_pipe *pipe, uint32_t size) {
    struct world *world = call();
    if (resources_are_short(world)) {
        return -EMFILE;
    }
    /* The kernel grants less to who has many pipes. */
    uint32_t pages = world_part(world, (size + PIPE_PAGE - 1) / PIPE_PAGE);
    struct pipe *content = calloc(1, sizeof(*content));
    check(content != NULL);
    *content = (struct pipe){.capacity = pages * PIPE_PAGE, .ends = 2, .bytes = malloc((size_t)pages * PIPE_PAGE)};
    check(content->bytes != NULL);
    world->pipe_size_max = content->capacity > world->pipe_size_max ? content->capacity : world->pipe_size_max;
    struct file *read_end = file_make(world, FILE_PIPE_READ);
    struct file *write_end = file_make(world, FILE_PIPE_WRITE);
    read_end->pipe = content;
    write_end->pipe = content;
    *pipe = (struct kernel_pipe){.read_fd = read_end->fd, .write_fd = write_end->fd, .size = content->capacity};
    world_trace(world, "kernel pipe: fds %d and %d, %u bytes", pipe->read_fd, pipe->write_fd, pipe->size);
    return 0;
}

void kernel_pipe_close(struct kernel_pipe *pipe) {
    struct world *world = call();
    world_trace(world, "kernel close pipe %d", pipe->read_fd);
    file_close(file_get_kind(world, pipe->read_fd, FILE_PIPE_READ, __func__), false, __func__);
    file_close(file_get_kind(world, pipe->write_fd, FILE_PIPE_WRITE, __func__), false, __func__);
}

static uint32_t smaller(uint32_t a, size_t b) {
    return b < a ? (uint32_t)b : a;
}

/* A pipe has a slot for each fragment: one with bytes in it may be full long before its size. */
static int64_t splice_in(struct world *world, struct stream *stream, struct pipe *pipe, size_t size) {
    uint32_t room = smaller(pipe->capacity - pipe->size, size);
    if (room == 0 || (pipe->size > 0 && world_chance(world, world->options.refuse_chance))) {
        return -EAGAIN;
    }
    uint32_t tail = (pipe->head + pipe->size) % pipe->capacity;
    uint32_t straight = smaller(world_part(world, room), pipe->capacity - tail);
    int64_t moved = stream_read(stream, pipe->bytes + tail, straight);
    pipe->size += moved > 0 ? (uint32_t)moved : 0;
    return moved;
}

static int64_t splice_out(struct world *world, struct pipe *pipe, struct stream *stream, size_t size) {
    uint32_t count = smaller(pipe->size, size);
    if (count == 0 || world_chance(world, world->options.refuse_chance)) {
        return -EAGAIN;
    }
    uint32_t straight = smaller(world_part(world, count), pipe->capacity - pipe->head);
    int64_t moved = stream_write(stream, pipe->bytes + pipe->head, straight);
    if (moved > 0) {
        pipe->head = (pipe->head + (uint32_t)moved) % pipe->capacity;
        pipe->size -= (uint32_t)moved;
    }
    return moved;
}

static struct file *splice_socket(struct world *world, int fd) {
    struct file *file = file_get_kind(world, fd, FILE_SOCKET, "kernel_splice");
    if (!file->nonblocking) {
        world_violation("kernel_splice: socket %d is not non-blocking: the call could wait", fd);
    }
    if (file->stream == NULL) {
        world_violation("kernel_splice: socket %d is not connected", fd);
    }
    return file;
}

int64_t kernel_splice(int from_fd, int to_fd, size_t size) {
    struct world *world = call();
    struct file *from = file_get(world, from_fd, __func__);
    struct file *to = file_get(world, to_fd, __func__);
    int64_t moved = -EINVAL;
    if (to->kind == FILE_PIPE_WRITE) {
        if (file_is_receiving(from)) {
            world_violation("%s: a receive is in flight on socket %d: the order of the bytes is lost", __func__,
                            from_fd);
        }
        moved = splice_in(world, splice_socket(world, from_fd)->stream, to->pipe, size);
    } else if (from->kind == FILE_PIPE_READ) {
        if (file_is_sending(to)) {
            world_violation("%s: a send is in flight on socket %d: the order of the bytes is lost", __func__, to_fd);
        }
        moved = splice_out(world, from->pipe, splice_socket(world, to_fd)->stream, size);
    } else {
        world_violation("%s(%d, %d): neither side is the right end of a pipe", __func__, from_fd, to_fd);
    }
    world_trace(world, "kernel splice fd %d to %d, %zu bytes: %lld", from_fd, to_fd, size, (long long)moved);
    return moved;
}

/* --- events --------------------------------------------------------------------------------------------------------
 */

int kernel_event_open(void) {
    return file_make(call(), FILE_EVENT)->fd;
}

void kernel_event_signal(int fd) {
    struct file *file = file_get_kind(call(), fd, FILE_EVENT, __func__);
    file->signals++;
    file_news(file);
}
