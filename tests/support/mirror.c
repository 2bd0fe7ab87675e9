#include "tests/support/mirror.h"

#include "tests/support/peer.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, PENDING_MAX = 32 * 1024 };

struct reflection {
    int fd;
    size_t pending; /* bytes in `bytes` that are still to be sent, from `sent` on */
    size_t sent;
    bool ended; /* the client has */
    char bytes[PENDING_MAX];
};

static void watch(const struct mirror *mirror, int fd, void *subject, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = subject};
    epoll_ctl(mirror->epoll_fd, operation, fd, &event);
}

static void reflection_close(struct reflection *reflection) {
    close(reflection->fd);
    free(reflection);
}

/* Everything that the server's queue has. */
static void mirror_accept(struct mirror *mirror) {
    for (;;) {
        int fd = accept4(mirror->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct reflection *reflection = malloc(sizeof(*reflection));
        reflection->fd = fd;
        reflection->pending = 0;
        reflection->ended = false;
        atomic_fetch_add(&mirror->accepted, 1);
        watch(mirror, fd, reflection, EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* False: the connection is over. */
static bool reflection_receive(struct reflection *reflection) {
    ssize_t size = recv(reflection->fd, reflection->bytes, sizeof(reflection->bytes), 0);
    if (size < 0) {
        return errno == EAGAIN;
    }
    reflection->pending = (size_t)size;
    reflection->sent = 0;
    reflection->ended = size == 0;
    return true;
}

static bool reflection_send(struct reflection *reflection) {
    while (reflection->sent < reflection->pending) {
        ssize_t size = send(reflection->fd, reflection->bytes + reflection->sent,
                            reflection->pending - reflection->sent, MSG_NOSIGNAL);
        if (size < 0) {
            return errno == EAGAIN;
        }
        reflection->sent += (size_t)size;
    }
    reflection->pending = 0;
    reflection->sent = 0;
    return true;
}

static void reflection_turn(struct mirror *mirror, struct reflection *reflection) {
    bool open = reflection->pending > 0 || reflection_receive(reflection);
    open = open && reflection_send(reflection);
    if (!open || (reflection->ended && reflection->pending == 0)) {
        reflection_close(reflection);
        return;
    }
    watch(mirror, reflection->fd, reflection, reflection->pending > 0 ? EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void *mirror_run(void *argument) {
    struct mirror *mirror = argument;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(mirror->epoll_fd, events, EVENTS_MAX, -1);
        for (int index = 0; index < count; index++) {
            if (events[index].data.ptr == &mirror->stop_fd) {
                return NULL;
            }
            if (events[index].data.ptr == mirror) {
                mirror_accept(mirror);
            } else {
                reflection_turn(mirror, events[index].data.ptr);
            }
        }
    }
}

void mirror_start(struct mirror *mirror, const char *address) {
    struct peer_listener listener;
    peer_listen(&listener, address);
    *mirror = (struct mirror){.fd = listener.fd, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .stop_fd = eventfd(0, 0)};
    cr_assert(mirror->epoll_fd >= 0 && mirror->stop_fd >= 0);
    memcpy(mirror->address, listener.address, sizeof(mirror->address));
    cr_assert(listen(mirror->fd, 4096) == 0);
    watch(mirror, mirror->fd, mirror, EPOLLIN, EPOLL_CTL_ADD);
    watch(mirror, mirror->stop_fd, &mirror->stop_fd, EPOLLIN, EPOLL_CTL_ADD);
    cr_assert(pthread_create(&mirror->thread, NULL, mirror_run, mirror) == 0);
}

void mirror_stop(struct mirror *mirror) {
    uint64_t one = 1;
    cr_assert(write(mirror->stop_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
    pthread_join(mirror->thread, NULL);
    close(mirror->fd);
    close(mirror->epoll_fd);
    close(mirror->stop_fd);
}
