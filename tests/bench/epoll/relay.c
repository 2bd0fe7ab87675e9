#include "tests/bench/epoll/relay.h"

#include "base/list.h"
#include "tests/bench/clock.h"
#include "tests/bench/epoll/session.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { BACKLOG = 4096, EVENTS_MAX = 512, ACCEPTS_MAX = 64 };

struct relay {
    const struct relay_settings *settings;
    int epoll_fd;
    int listener_fd;
    struct flow_pools pools;
    struct list unfinished; /* sessions whose turn was over before their bytes were */
    struct list closed;     /* sessions that are freed at the end of the turn */
};

/* ---- sessions */

static void relay_judge(struct relay *relay, struct session *session, enum session_verdict verdict) {
    link_remove(&session->link);
    switch (verdict) {
    case SESSION_WAITS:
        return;
    case SESSION_MORE:
        list_append(&relay->unfinished, &session->link);
        return;
    case SESSION_OVER:
        session_close(session, &relay->pools);
        session->client.session = NULL; /* for events of this turn that are still to come */
        session->server.session = NULL;
        list_append(&relay->closed, &session->link);
        return;
    }
}

static void relay_accept(struct relay *relay) {
    for (size_t i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(relay->listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            return;
        }
        session_open(relay->epoll_fd, fd, &relay->settings->server);
    }
}

static void relay_handle(struct relay *relay, const struct epoll_event *event) {
    const struct side *side = event->data.ptr;
    if (side == NULL) {
        relay_accept(relay);
    } else if (side->session != NULL) {
        struct session *session = side->session;
        relay_judge(relay, session, session_notify(session, side, event->events, &relay->pools));
    }
}

static void relay_go_on(struct relay *relay) {
    struct list turn;
    list_init(&turn);
    for (struct link *link = list_pop(&relay->unfinished); link != NULL; link = list_pop(&relay->unfinished)) {
        list_append(&turn, link);
    }
    for (struct link *link = list_pop(&turn); link != NULL; link = list_pop(&turn)) {
        struct session *session = container_of(link, struct session, link);
        relay_judge(relay, session, session_pump(session, &relay->pools));
    }
}

static void relay_free_closed(struct relay *relay) {
    for (struct link *link = list_pop(&relay->closed); link != NULL; link = list_pop(&relay->closed)) {
        free(container_of(link, struct session, link));
    }
}

/* ---- the loop */

/* Sleeps only when there is nothing left to do and the spin has brought nothing. Returns the number of events. */
static int relay_wait(const struct relay *relay, struct epoll_event *events) {
    bool may_sleep = list_is_empty(&relay->unfinished);
    if (may_sleep && relay->settings->spin_ns == 0) {
        return epoll_wait(relay->epoll_fd, events, EVENTS_MAX, -1);
    }
    int count = epoll_wait(relay->epoll_fd, events, EVENTS_MAX, 0);
    uint64_t end_ns = may_sleep && count == 0 ? clock_now_ns() + relay->settings->spin_ns : 0;
    while (count == 0 && clock_now_ns() < end_ns) {
        count = epoll_wait(relay->epoll_fd, events, EVENTS_MAX, 0);
    }
    return count == 0 && may_sleep ? epoll_wait(relay->epoll_fd, events, EVENTS_MAX, -1) : count;
}

static bool relay_loop(struct relay *relay, struct error *error) {
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = relay_wait(relay, events);
        if (count < 0 && errno != EINTR) {
            return error_set(error, "epoll_wait: %s", error_name(errno));
        }
        for (int i = 0; i < count; i++) {
            relay_handle(relay, &events[i]);
        }
        relay_go_on(relay);
        relay_free_closed(relay);
    }
}

static bool relay_listen(struct relay *relay, struct error *error) {
    const struct sockaddr_in *address = &relay->settings->listen;
    relay->listener_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (relay->listener_fd < 0) {
        return error_set(error, "socket: %s", error_name(errno));
    }
    setsockopt(relay->listener_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    setsockopt(relay->listener_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* accepted sockets inherit it */
    if (bind(relay->listener_fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
        listen(relay->listener_fd, BACKLOG) < 0) {
        return error_set(error, "listen: %s", error_name(errno));
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return epoll_ctl(relay->epoll_fd, EPOLL_CTL_ADD, relay->listener_fd, &event) == 0 ||
           error_set(error, "epoll_ctl: %s", error_name(errno));
}

bool relay_run(const struct relay_settings *settings, struct error *error) {
    struct relay relay = {.settings = settings, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .listener_fd = -1};
    list_init(&relay.unfinished);
    list_init(&relay.closed);
    if (relay.epoll_fd < 0) {
        return error_set(error, "epoll_create1: %s", error_name(errno));
    }
    return relay_listen(&relay, error) && relay_loop(&relay, error);
}
