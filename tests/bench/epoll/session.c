#include "tests/bench/epoll/session.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static bool side_watch(int epoll_fd, struct side *side) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = side};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, side->fd, &event) == 0;
}

/* -1 when it fails at once. */
static int server_connect(const struct sockaddr_in *server) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, (const struct sockaddr *)server, sizeof *server) < 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

struct session *session_open(int epoll_fd, int client_fd, const struct sockaddr_in *server) {
    struct session *session = calloc(1, sizeof *session);
    int server_fd = session == NULL ? -1 : server_connect(server);
    if (server_fd < 0) {
        goto fail_client;
    }
    session->client = (struct side){client_fd, session};
    session->server = (struct side){server_fd, session};
    flow_init(&session->from_client, client_fd, server_fd);
    flow_init(&session->from_server, server_fd, client_fd);
    link_init(&session->link);
    if (side_watch(epoll_fd, &session->client) && side_watch(epoll_fd, &session->server)) {
        return session;
    }
    close(server_fd);
fail_client:
    close(client_fd);
    free(session);
    return NULL;
}

void session_close(struct session *session, struct flow_pools *pools) {
    flow_finish(&session->from_client, pools);
    flow_finish(&session->from_server, pools);
    close(session->client.fd);
    close(session->server.fd);
}

static enum session_verdict verdict_of(enum flow_verdict one, enum flow_verdict other) {
    if (one == FLOW_FAILED || other == FLOW_FAILED || (one == FLOW_ENDED && other == FLOW_ENDED)) {
        return SESSION_OVER;
    }
    return one == FLOW_MORE || other == FLOW_MORE ? SESSION_MORE : SESSION_WAITS;
}

enum session_verdict session_pump(struct session *session, struct flow_pools *pools) {
    return verdict_of(flow_pump(&session->from_client, pools), flow_pump(&session->from_server, pools));
}

static bool session_is_connected(struct session *session, uint32_t events) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(session->server.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    session->is_connected = error == 0 && (events & EPOLLOUT) != 0;
    return session->is_connected;
}

static void flow_notify(struct flow *in, struct flow *out, uint32_t events) {
    in->is_readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    in->is_hung_up |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    out->is_blocked &= (events & EPOLLOUT) == 0;
}

enum session_verdict session_notify(struct session *session, const struct side *side, uint32_t events,
                                    struct flow_pools *pools) {
    bool from_client = side == &session->client;
    flow_notify(from_client ? &session->from_client : &session->from_server,
                from_client ? &session->from_server : &session->from_client, events);
    if (!session->is_connected && from_client) {
        return SESSION_WAITS;
    }
    if (!session->is_connected && !session_is_connected(session, events)) {
        return SESSION_OVER;
    }
    return session_pump(session, pools);
}
