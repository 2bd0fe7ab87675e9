/* A client's connection and the server's, with a flow each way. */
#ifndef MOONRING_BENCH_EPOLL_SESSION_H
#define MOONRING_BENCH_EPOLL_SESSION_H

#include "base/list.h"
#include "tests/bench/epoll/flow.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct session;

/* What epoll knows a socket by. */
struct side {
    int fd;
    struct session *session;
};

struct session {
    struct side client;
    struct side server;
    struct flow from_client;
    struct flow from_server;
    bool is_connected;
    struct link link; /* among those that could go on, or those that are closed */
};

enum session_verdict {
    SESSION_WAITS,
    SESSION_MORE, /* its turn is over, it could go on */
    SESSION_OVER, /* to be closed */
};

/* Begins to connect to the server, and to be told of both sockets. Takes over client_fd, also on failure, which is
 * NULL.
 */
struct session *session_open(int epoll_fd, int client_fd, const struct sockaddr_in *server);
/* Closes both sockets. Events of this turn may still name the session: free() it after them. */
void session_close(struct session *session, struct flow_pools *pools);
/* What epoll tells about one of its sockets. */
enum session_verdict session_notify(struct session *session, const struct side *side, uint32_t events,
                                    struct flow_pools *pools);
enum session_verdict session_pump(struct session *session, struct flow_pools *pools);

#endif
