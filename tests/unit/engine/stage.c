#include "stage.h"

#include "tests/support/deadline.h"
#include "tests/support/pattern.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE_SIZE = 16 * 1024 };

/* --- the ring ------------------------------------------------------------------------------------------------------
 */

void stage_open(struct stage *stage, const struct ring_options *options) {
    struct error error = {.text = ""};
    *stage = (struct stage){.ring = ring_create(options, &error)};
    cr_assert_not_null(stage->ring, "%s", error.text);
    list_init(&stage->requests);
    stage->released = NULL;
    owner_init(&stage->owner, &stage->released, NULL);
}

void stage_open_plain(struct stage *stage) {
    const struct ring_options options = {
        .entries = 32, .completions = 256, .buffers_count = BUFFERS, .buffer_size = BUFFER_SIZE, .sqpoll_cpu = -1};
    stage_open(stage, &options);
}

void stage_open_without(struct stage *stage, const char *features) {
    cr_assert_eq(setenv("MOONRING_DISABLE", features, 1), 0);
    stage_open_plain(stage);
}

void stage_close(struct stage *stage) {
    cr_assert_eq(stage->owner.held, 0);
    list_for_each (link, &stage->requests) {
        request_finish(container_of(link, struct request, link));
    }
    ring_destroy(stage->ring);
}

void stage_turn(struct stage *stage) {
    ring_run(stage->ring, 20 * 1000, &stage->now_us);
}

void stage_look(struct stage *stage) {
    ring_run(stage->ring, 0, &stage->now_us);
}

/* --- requests ------------------------------------------------------------------------------------------------------
 */

static void request_take_buffer(struct request *request, uint16_t buffer, size_t size) {
    struct ring *ring = request->stage->ring;
    bytes_append(&request->received, ring_buffer_bytes(ring, buffer), size);
    if (request->keeps_buffers) {
        cr_assert_lt(request->kept_count, sizeof(request->kept) / sizeof(request->kept[0]));
        request->kept[request->kept_count++] = buffer;
    } else {
        ring_buffer_give(ring, buffer);
    }
}

static void request_take_buffers(struct request *request, uint16_t buffer, size_t size) {
    struct ring *ring = request->stage->ring;
    while (size > ring_buffer_size(ring, buffer)) {
        uint16_t after = ring_buffer_after(ring, buffer);
        size -= ring_buffer_size(ring, buffer);
        request_take_buffer(request, buffer, ring_buffer_size(ring, buffer));
        buffer = after;
    }
    request_take_buffer(request, buffer, size);
}

static void request_done(struct op *op, const struct completion *completion) {
    struct request *request = container_of(op, struct request, op);
    request->first_result = request->completions == 0 ? completion->result : request->first_result;
    request->completions++;
    request->result = completion->result;
    request->more = completion->more;
    if (completion->has_buffer) {
        cr_assert_gt(completion->result, 0, "a buffer without bytes");
        request_take_buffers(request, completion->buffer, (size_t)completion->result);
    }
}

void request_init(struct request *request, struct stage *stage) {
    *request = (struct request){.stage = stage};
    op_init(&request->op, &stage->owner, request_done);
    link_init(&request->link);
    list_append(&stage->requests, &request->link);
    bytes_init(&request->received);
}

void request_finish(struct request *request) {
    cr_assert_not(request->op.in_flight);
    link_remove(&request->link);
    bytes_finish(&request->received);
}

int request_wait(struct request *request) {
    stage_wait(request->stage, !request->op.in_flight);
    return request->result;
}

void request_receive_all(struct request *request, int fd, size_t size, size_t limit) {
    while (request->received.size < size) {
        size_t left = size - request->received.size;
        ring_recv(request->stage->ring, &request->op, fd, left < limit ? left : limit);
        cr_assert_gt(request_wait(request), 0);
    }
}

int request_send(struct stage *stage, int fd, struct ring_message *message, bool zero_copy) {
    struct request sending;
    request_init(&sending, stage);
    ring_send(stage->ring, &sending.op, fd, message, zero_copy);
    request_wait(&sending);
    cr_assert_leq(sending.completions, zero_copy ? 2 : 1);
    request_finish(&sending);
    return sending.first_result;
}

int request_cancel(struct request *request) {
    ring_cancel(request->stage->ring, &request->op);
    return request_wait(request);
}

/* --- sockets -------------------------------------------------------------------------------------------------------
 */

void sockets_open_unix(int sockets[2]) {
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
}

int listener_open(struct address *address) {
    const struct kernel_listen_options options = {.backlog = 128};
    address_any_v4(address, 0);
    address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = kernel_socket(AF_INET);
    cr_assert_geq(fd, 0);
    cr_assert_eq(kernel_bind(fd, address, &options), 0);
    cr_assert_eq(kernel_listen(fd, &options), 0);
    cr_assert_eq(kernel_local_address(fd, address), 0);
    return fd;
}

int listener_open_unix(struct address *address) {
    const struct kernel_listen_options options = {.backlog = 128};
    /* The kernel chooses a name for an address without one: unix(7), autobind. */
    *address = (struct address){.length = sizeof(sa_family_t), .local = {.sun_family = AF_UNIX}};
    int fd = kernel_socket(AF_UNIX);
    cr_assert_geq(fd, 0);
    cr_assert_eq(kernel_bind(fd, address, &options), 0);
    cr_assert_eq(kernel_listen(fd, &options), 0);
    cr_assert_eq(kernel_local_address(fd, address), 0);
    return fd;
}

int client_open(const struct address *address) {
    int fd = kernel_socket(address_family(address));
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, &address->any, address->length), 0, "%m");
    return fd;
}

void sockets_open_tcp(int sockets[2]) {
    struct address address;
    int listener = listener_open(&address);
    sockets[0] = client_open(&address);
    sockets[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(sockets[1], 0);
    close(listener);
}

void sockets_close(const int sockets[2]) {
    close(sockets[0]);
    close(sockets[1]);
}

void socket_write(int fd, uint64_t offset, size_t size) {
    for (size_t done = 0; done < size;) {
        char piece[PIECE_SIZE];
        size_t part = size - done < sizeof(piece) ? size - done : sizeof(piece);
        pattern_fill(PATTERN, offset + done, piece, part);
        ssize_t written = send(fd, piece, part, MSG_NOSIGNAL);
        cr_assert_gt(written, 0, "%m");
        done += (size_t)written;
    }
}

size_t socket_fill(int fd, uint64_t offset) {
    size_t done = 0;
    for (;;) {
        char piece[PIECE_SIZE];
        pattern_fill(PATTERN, offset + done, piece, sizeof(piece));
        ssize_t written = send(fd, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written < 0) {
            cr_assert_eq(errno, EAGAIN, "%m");
            return done;
        }
        done += (size_t)written;
    }
}

size_t socket_drain(int fd) {
    size_t done = 0;
    char piece[PIECE_SIZE];
    for (;;) {
        ssize_t size = recv(fd, piece, sizeof(piece), MSG_DONTWAIT);
        if (size <= 0) {
            return done;
        }
        done += (size_t)size;
    }
}

int socket_read(int fd) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&readable, 1, DEADLINE_MS / 2), 1, "nothing came");
    char piece[PIECE_SIZE];
    ssize_t size = read(fd, piece, sizeof(piece));
    return size < 0 ? -errno : (int)size;
}

void socket_expect(int fd, uint64_t offset, size_t size) {
    for (size_t done = 0; done < size;) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&readable, 1, DEADLINE_MS / 2), 1, "%zu of %zu bytes came", done, size);
        char piece[PIECE_SIZE];
        ssize_t part = read(fd, piece, size - done < sizeof(piece) ? size - done : sizeof(piece));
        cr_assert_gt(part, 0, "%zu of %zu bytes came: %m", done, size);
        expect_pattern(piece, (size_t)part, offset + done);
        done += (size_t)part;
    }
}

void expect_pattern(const char *bytes, size_t size, uint64_t offset) {
    size_t right = pattern_compare(PATTERN, offset, bytes, size);
    cr_assert_eq(right, size, "byte %zu from offset %lu on is wrong", right, offset);
}

/* --- descriptors ---------------------------------------------------------------------------------------------------
 */

size_t descriptors_count(void) {
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

void descriptors_limit(size_t more) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 0;
    for (size_t found = 0; found < more; limit.rlim_cur++) {
        found += fcntl((int)limit.rlim_cur, F_GETFD) < 0 ? 1 : 0;
    }
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

void descriptors_unlimit(void) {
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
