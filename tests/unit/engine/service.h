/* A whole worker on the test's own thread, turned by the test: clients on one side, servers on the other, all of them
 * sockets of the test. */
#ifndef MOONRING_TESTS_UNIT_ENGINE_SERVICE_H
#define MOONRING_TESTS_UNIT_ENGINE_SERVICE_H

#include "engine/session.h"
#include "engine/worker.h"

#include <stdbool.h>
#include <stddef.h>

enum { SERVICE_SERVERS_MAX = 3 };

struct service {
    /* Set by service_init, to be changed before service_open: */
    struct config_io io;
    struct config_listener listener_config; /* no timeouts, no limit */
    struct config_upstream upstream_config; /* the first server that works, one try */
    struct config_server server_configs[SERVICE_SERVERS_MAX];
    size_t servers_count; /* 1 */
    bool unix_servers;    /* else TCP */
    struct access_log *access_log;
    uint32_t process_max; /* 0 */

    struct address server_addresses[SERVICE_SERVERS_MAX];
    int servers[SERVICE_SERVERS_MAX]; /* listening sockets */
    struct upstream upstream;
    struct epoch *epoch;
    char name[8]; /* of the listener */
    struct quota process;
    struct listener listener;
    struct address address;
    int socket; /* that the worker accepts on */
    struct worker worker;
    _Atomic uint64_t session_ids;
    int rooms; /* how often the worker said so */
    int sockets_done;
    int adoptions;
    int stops;
};

void service_init(struct service *service);
void service_open(struct service *service);
/* Closes every session and ends the worker; everything must have been given back. */
void service_close(struct service *service);
/* The server does not listen any more. */
void service_refuse(struct service *service, size_t server);

void service_turn(struct service *service);
/* Turns until the condition holds; fails the test when it does not in good time. */
#define service_wait(service, condition)                                                                               \
    do {                                                                                                               \
        uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);                                                        \
        while (!(condition)) {                                                                                         \
            cr_assert_gt(deadline_left_ms(deadline_ms), 0, "waited in vain for: %s", #condition);                      \
            service_turn(service);                                                                                     \
        }                                                                                                              \
    } while (0)

/* Connects a client. The worker has not seen it yet. */
int service_client(struct service *service);
/* Begins a session with this connection of a client, as if the worker had accepted it. */
void service_take(struct service *service, int fd);
/* Turns until the server has a connection, and takes it. */
int service_server(struct service *service, size_t server);
/* A client and its connection at the first server. */
struct service_pair {
    int client;
    int server;
};
struct service_pair service_pair(struct service *service);

/* Turns until `size` bytes of the pattern from `offset` on have come. */
void service_expect(struct service *service, int fd, uint64_t offset, size_t size);
/* Turns until the stream ends. Returns 0, or -errno when it broke. */
int service_expect_end(struct service *service, int fd);
/* Turns until so many sessions have ended for the reason. */
void service_expect_closed(struct service *service, enum close_reason reason, uint64_t count);

/* The only session. */
struct session *service_session(struct service *service);
const struct engine_counters *service_counters(const struct service *service);

#endif
