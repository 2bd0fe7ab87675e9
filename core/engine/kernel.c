#include "engine/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int result_of(int result) {
    return result < 0 ? -errno : result;
}

static int option_set(int fd, int level, int option, int value) {
    return result_of(setsockopt(fd, level, option, &value, sizeof value));
}

uint64_t kernel_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t kernel_thread_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000U + (uint64_t)used.tv_nsec;
}

uint64_t kernel_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

uint64_t kernel_random(void) {
    uint64_t value = 0;
    check(getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value); /* never short below 256 bytes: getrandom(2) */
    return value;
}

int kernel_socket(int family) {
    return result_of(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int kernel_bind(int fd, const struct address *address, const struct kernel_listen_options *options) {
    int family = address_family(address);
    if (family != AF_UNIX) {
        option_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (options->reuse_port) {
            option_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
        }
        kernel_set_tcp(fd, family, &options->tcp);
    }
    if (family == AF_INET6) {
        option_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !options->dual_stack);
    }
    return result_of(bind(fd, &address->any, address->length));
}

int kernel_listen(int fd, const struct kernel_listen_options *options) {
    return result_of(listen(fd, (int)options->backlog));
}

int kernel_accept(int fd) {
    /* accept4 would wait on a blocking socket. It stays non-blocking: callers are about to close it. */
    int set = kernel_set_nonblocking(fd, true);
    return set < 0 ? set : result_of(accept4(fd, NULL, NULL, SOCK_CLOEXEC));
}

void kernel_set_tcp(int fd, int family, const struct kernel_tcp_options *options) {
    if (family == AF_UNIX) {
        return;
    }
    if (options->nodelay) {
        option_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    if (options->keepalive) {
        option_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        option_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)options->keepalive_idle_s);
        option_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)options->keepalive_interval_s);
        option_set(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)options->keepalive_count);
    }
}

int kernel_set_nonblocking(int fd, bool nonblocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) {
        return -errno;
    }
    int wanted = nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags ? 0 : result_of(fcntl(fd, F_SETFL, wanted));
}

int kernel_receive(int fd, void *bytes, size_t size, bool peek) {
    return result_of((int)recv(fd, bytes, size, MSG_DONTWAIT | (peek ? MSG_PEEK : 0)));
}

int kernel_peer_address(int fd, struct address *address) {
    address->length = sizeof *address - offsetof(struct address, any);
    return result_of(getpeername(fd, &address->any, &address->length));
}

int kernel_local_address(int fd, struct address *address) {
    address->length = sizeof *address - offsetof(struct address, any);
    return result_of(getsockname(fd, &address->any, &address->length));
}

int kernel_shutdown_write(int fd) {
    return result_of(shutdown(fd, SHUT_WR));
}

int kernel_unsent(int fd) {
    int bytes = 0;
    struct address peer;
    if (kernel_peer_address(fd, &peer) == -ENOTCONN) {
        return 0; /* SIOCOUTQ keeps its last value for ever after a reset */
    }
    return ioctl(fd, SIOCOUTQ, &bytes) < 0 ? -errno : bytes;
}

int kernel_tcp_state(int fd, struct kernel_tcp_state *state) {
    struct tcp_info info = {.tcpi_rtt = 0};
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) {
        return -errno;
    }
    *state = (struct kernel_tcp_state){.rtt_us = info.tcpi_rtt, .retransmits = info.tcpi_total_retrans};
    return 0;
}

void kernel_close(int fd) {
    close(fd);
}

void kernel_reset(int fd) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

int kernel_pipe_open(struct kernel_pipe *pipe, uint32_t size) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -errno;
    }
    /* Refused or cut beyond fs.pipe-user-pages-soft: what the kernel granted is what counts. */
    fcntl(ends[1], F_SETPIPE_SZ, (int)size);
    int granted = fcntl(ends[1], F_GETPIPE_SZ);
    *pipe =
        (struct kernel_pipe){.read_fd = ends[0], .write_fd = ends[1], .size = granted > 0 ? (uint32_t)granted : 4096};
    return 0;
}

void kernel_pipe_close(struct kernel_pipe *pipe) {
    close(pipe->read_fd);
    close(pipe->write_fd);
}

int64_t kernel_splice(int from_fd, int to_fd, size_t size) {
    /* Not by splice(): its preparations for a thread that is cancelled cost 2 % of a spliced chunk. */
    ssize_t moved = syscall(SYS_splice, from_fd, NULL, to_fd, NULL, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    return moved < 0 ? -errno : moved;
}

int kernel_event_open(void) {
    return result_of(eventfd(0, EFD_CLOEXEC));
}

void kernel_event_signal(int fd) {
    uint64_t one = 1;
    /* It can only fail when 2^64 - 2 signals are waiting: then the ring wakes anyway. */
    ssize_t written = write(fd, &one, sizeof one);
    (void)written;
}
