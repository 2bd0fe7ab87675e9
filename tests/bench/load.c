#include "tests/bench/load.h"

#include "base/check.h"
#include "tests/bench/clock.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    OPENING_MAX = 64, /* at a time: nginx listens with a backlog of 511 */
    DISCARD_SIZE = 1 << 20,
    CHECKED_SIZE = 1 << 20,          /* of each bulk stream; the rest is only counted */
    SLOW_SLICE = PATTERN_SLICES - 1, /* a request of this slice makes the server send without end */
    SLOW_SEND_SIZE = 65536,
    SLOW_READ_SIZE = 32768,
    SLOW_READ_NS = 100000000, /* from a read of a slow client to its next */
    TICK_NS = 50000000,       /* how late a signal or the end of a phase may be noticed when nothing happens */
};
static const uint64_t OPEN_TIMEOUT_NS = 20000000000;
static const uint64_t FINISH_TIMEOUT_NS = 5000000000;

/* What a completion ended; the low bits of its tag, the rest is the endpoint. */
enum operation { OPERATION_TICK, OPERATION_ACCEPT, OPERATION_CONNECT, OPERATION_RECEIVE, OPERATION_SEND };
static const uint64_t OPERATION_BITS = 7;

enum load_state { LOAD_OPENING, LOAD_RUNNING, LOAD_FINISHING };

/* One end of a session: a client or a server, with the message that it is receiving. */
struct endpoint {
    int fd;
    bool is_client;
    bool is_slow;    /* client: reads a little at times; server: sends without end */
    bool is_reading; /* slow client */
    uint8_t slice;   /* of the message that is under way */
    size_t received; /* of that message */
    uint64_t started_ns;
    /* LOAD_BULK only: */
    bool is_sending;  /* client */
    size_t under_way; /* client: sent and not yet with the server */
    size_t checked;   /* server: bytes that were compared with what they must be */
};

struct load {
    struct wire wire;
    struct load_plan plan;
    struct pattern pattern;
    struct endpoint *clients; /* ours; plan.sessions of them */
    struct endpoint *servers; /* ours; one for every descriptor there can be */
    size_t servers_count;
    int listener_fd;
    struct sockaddr_in target;
    enum load_state state;
    uint64_t now_ns; /* read once per turn */
    size_t connecting;
    size_t wanted;
    size_t opened;
    size_t busy; /* clients with a request, a message or a connection under way */
    /* A paced load only: clients without a request, the longest idle first, and when the next one is to begin. */
    struct endpoint **idle; /* ours; a ring of plan.sessions */
    size_t idle_first;
    size_t idle_count;
    uint64_t due_ns;
    uint64_t stopped_ns; /* the end of the last load_run */
    /* Slow clients take turns, from load_slow_begin on. */
    uint8_t *slow_bytes; /* ours; what their servers send */
    bool has_slow_turns;
    size_t slow_next;
    uint64_t slow_due_ns;
    uint64_t bytes_sent;
    uint64_t bytes_received;
    struct load_counts counts;
    bool failed;
    struct error error;
};

/* The first failure is kept: the others follow from it. */
static void __attribute__((format(printf, 2, 3))) load_fail(struct load *load, const char *format, ...) {
    if (load->failed) {
        return;
    }
    load->failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(load->error.text, sizeof load->error.text, format, arguments);
    va_end(arguments);
}

/* ---- requests to the kernel */

static uint64_t tag_of(enum operation operation, const struct endpoint *endpoint) {
    return (uint64_t)(uintptr_t)endpoint | (uint64_t)operation;
}

static void load_tick(struct load *load) {
    wire_tick(&load->wire, TICK_NS, tag_of(OPERATION_TICK, NULL));
}

static void load_accept(struct load *load) {
    wire_accept(&load->wire, load->listener_fd, tag_of(OPERATION_ACCEPT, NULL));
}

static void endpoint_receive(struct load *load, const struct endpoint *endpoint) {
    uint64_t tag = tag_of(OPERATION_RECEIVE, endpoint);
    if (endpoint->is_client && endpoint->is_slow) {
        wire_receive_once(&load->wire, endpoint->fd, tag);
    } else if (load->plan.kind != LOAD_BULK) {
        wire_receive(&load->wire, endpoint->fd, tag);
    } else if (endpoint->checked < CHECKED_SIZE) {
        wire_receive_once(&load->wire, endpoint->fd, tag);
    } else {
        wire_discard(&load->wire, endpoint->fd, DISCARD_SIZE, tag);
    }
}

static void endpoint_send(struct load *load, const struct endpoint *endpoint) {
    wire_send(&load->wire, endpoint->fd, pattern_message(&load->pattern, endpoint->slice), load->plan.message_size,
              tag_of(OPERATION_SEND, endpoint));
}

/* ---- clients */

static void client_connect(struct load *load, struct endpoint *client) {
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        load_fail(load, "client: socket: %s", error_name(errno));
        return;
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    client->started_ns = load->now_ns;
    wire_connect(&load->wire, client->fd, &load->target, tag_of(OPERATION_CONNECT, client));
}

/* Only a few connections wait at a time, so that no backlog overflows. */
static void load_open_more(struct load *load) {
    while (!load->failed && load->connecting < OPENING_MAX && load->opened + load->connecting < load->wanted) {
        struct endpoint *client = &load->clients[load->opened + load->connecting];
        load->connecting++;
        client_connect(load, client);
    }
}

static void client_opened(struct load *load) {
    load->opened++;
    load->connecting--;
    load_open_more(load);
}

static void client_send(struct load *load, struct endpoint *client) {
    client->received = 0;
    client->slice = (uint8_t)((client->slice + 1) % SLOW_SLICE);
    endpoint_send(load, client);
}

/* A bulk stream repeats one message, whose slice tells the server which client it is. */
static void client_write(struct load *load, struct endpoint *client) {
    client->slice = (uint8_t)(client - load->clients);
    client->is_sending = true;
    client->under_way += load->plan.message_size;
    endpoint_send(load, client);
}

static void client_connected(struct load *load, struct endpoint *client, int result) {
    if (result < 0) {
        load_fail(load, "client: connect: %s", error_name(-result));
        return;
    }
    if (load->plan.kind == LOAD_BULK) {
        client_opened(load);
        return;
    }
    endpoint_receive(load, client);
    client_send(load, client);
}

static void client_begin(struct load *load, struct endpoint *client, uint64_t begin_ns) {
    load->busy++;
    client->started_ns = begin_ns;
    switch (load->plan.kind) {
    case LOAD_CHURN:
        client_connect(load, client);
        return;
    case LOAD_BULK:
        client_write(load, client);
        return;
    case LOAD_EXCHANGE:
        client_send(load, client);
        return;
    }
}

static bool load_is_paced(const struct load *load) {
    return load->plan.requests_per_s > 0;
}

/* Begins with the next unit of work, or waits for its turn. */
static void client_next(struct load *load, struct endpoint *client) {
    if (load_is_paced(load)) {
        load->idle[(load->idle_first + load->idle_count) % load->plan.sessions] = client;
        load->idle_count++;
    } else {
        client_begin(load, client, load->now_ns);
    }
}

/* One after the other at even distances: all at once would be a burst that the others feel. */
static void load_read_slowly(struct load *load) {
    for (; load->slow_due_ns <= load->now_ns; load->slow_due_ns += SLOW_READ_NS / load->plan.slow_sessions) {
        struct endpoint *client = &load->clients[load->slow_next];
        load->slow_next = (load->slow_next + 1) % load->plan.slow_sessions;
        if (!client->is_reading) {
            client->is_reading = true;
            wire_discard(&load->wire, client->fd, SLOW_READ_SIZE, tag_of(OPERATION_RECEIVE, client));
        }
    }
}

static void slow_client_read(struct load *load, struct endpoint *client, size_t size) {
    client->is_reading = false;
    load->counts.slow_bytes += size;
}

/* What is due begins. When a proxy is late and no client is idle, what is due waits, and that counts as its latency. */
static void load_pace(struct load *load) {
    uint64_t distance_ns = 1000000000 / load->plan.requests_per_s;
    for (; load->idle_count > 0 && load->due_ns <= load->now_ns; load->due_ns += distance_ns) {
        struct endpoint *client = load->idle[load->idle_first];
        load->idle_first = (load->idle_first + 1) % load->plan.sessions;
        load->idle_count--;
        client_begin(load, client, load->due_ns);
    }
}

/* The client's unit of work is done: counts it and begins the next one. */
static void client_done(struct load *load, struct endpoint *client) {
    histogram_add(&load->counts.latency, load->now_ns - client->started_ns);
    load->counts.units++;
    load->busy--;
    if (load->state == LOAD_RUNNING) {
        client_next(load, client);
    }
}

static void client_answered(struct load *load, struct endpoint *client) {
    if (load->plan.kind == LOAD_CHURN) {
        return; /* done at the end of the stream */
    }
    if (load->state == LOAD_OPENING) {
        client_opened(load);
        return;
    }
    client_done(load, client);
}

static void client_ended(struct load *load, struct endpoint *client) {
    if (load->plan.kind != LOAD_CHURN || client->received != load->plan.message_size) {
        load_fail(load, "client: the proxy closed a session after %zu of %zu bytes of an answer", client->received,
                  load->plan.message_size);
        return;
    }
    close(client->fd);
    client->fd = -1;
    client_done(load, client);
}

static void client_go_on(struct load *load, struct endpoint *client) {
    bool has_room = load->plan.under_way_max == 0 || client->under_way < load->plan.under_way_max;
    if (load->state == LOAD_RUNNING && !client->is_sending && has_room) {
        client_begin(load, client, load->now_ns);
    }
}

/* LOAD_BULK only: a message is in the socket's buffer. */
static void client_wrote(struct load *load, struct endpoint *client) {
    load->busy--;
    client->is_sending = false;
    client_go_on(load, client);
}

/* ---- servers */

/* Waking for every small piece that a proxy sends would make the generator the bottleneck. */
static void server_read_from(const struct endpoint *server, size_t size) {
    setsockopt(server->fd, SOL_SOCKET, SO_RCVLOWAT, &(int){(int)size}, sizeof(int));
}

static void servers_read_from(struct load *load, size_t size) {
    for (size_t i = 0; load->plan.kind == LOAD_BULK && i < load->servers_count; i++) {
        if (load->servers[i].fd >= 0) {
            server_read_from(&load->servers[i], size);
        }
    }
}

static void server_accepted(struct load *load, int fd, bool more) {
    if (!more) {
        load_accept(load);
    }
    if (fd < 0 || (size_t)fd >= load->servers_count) {
        load_fail(load, "server: accept: %s", fd < 0 ? error_name(-fd) : "descriptor beyond the limit");
        return;
    }
    struct endpoint *server = &load->servers[fd];
    *server = (struct endpoint){.fd = fd};
    if (load->plan.kind == LOAD_BULK) {
        server_read_from(server, load->plan.message_size);
    }
    endpoint_receive(load, server);
}

static void server_send_endlessly(struct load *load, struct endpoint *server) {
    server->is_slow = true;
    wire_send(&load->wire, server->fd, load->slow_bytes, SLOW_SEND_SIZE, tag_of(OPERATION_SEND, server));
}

static void server_answer(struct load *load, struct endpoint *server) {
    if (load->plan.slow_sessions > 0 && server->slice == SLOW_SLICE) {
        server_send_endlessly(load, server);
    } else {
        endpoint_send(load, server);
    }
}

static void server_wrote(struct load *load, struct endpoint *server) {
    if (server->is_slow) {
        server_send_endlessly(load, server);
    }
    /* The side that closes first keeps a socket in TIME_WAIT. Were it the client, the proxy's end towards the server
     * would be such a one too, and the proxy would soon search long for a free port. */
    if (load->plan.kind == LOAD_CHURN) {
        shutdown(server->fd, SHUT_WR);
    }
}

static void server_ended(struct endpoint *server) {
    close(server->fd);
    server->fd = -1;
}

static bool server_check(const struct load *load, const struct endpoint *server, const uint8_t *data, size_t size) {
    size_t offset = server->received;
    while (size > 0) {
        size_t rest = load->plan.message_size - offset;
        size_t piece = size < rest ? size : rest;
        if (!pattern_matches(&load->pattern, server->slice, offset, data, piece)) {
            return false;
        }
        data += piece;
        size -= piece;
        offset = 0; /* the same message again */
    }
    return true;
}

/* LOAD_BULK only; `data` is NULL for bytes that were dropped unseen. */
static void server_consume(struct load *load, struct endpoint *server, const uint8_t *data, size_t size) {
    size_t offset = server->checked;
    if (data != NULL) {
        pattern_find_slice(&load->pattern, offset, data, size, &server->slice);
        if (server->slice >= load->plan.sessions || !server_check(load, server, data, size)) {
            load_fail(load, "server: %zu bytes at %zu of a stream are not what was sent", size, offset);
            return;
        }
        server->checked += size;
    }
    server->received = (server->received + size) % load->plan.message_size;
    load->bytes_received += size;
    load->counts.units += size;
    if (server->checked <= load->pattern.name_offset) {
        return; /* whose bytes these are comes with the next ones */
    }
    struct endpoint *client = &load->clients[server->slice];
    client->under_way -= offset > load->pattern.name_offset ? size : server->checked;
    client_go_on(load, client);
}

/* ---- completions */

static void endpoint_received(struct load *load, struct endpoint *endpoint, const uint8_t *data, size_t size) {
    if (!endpoint->is_client) {
        pattern_find_slice(&load->pattern, endpoint->received, data, size, &endpoint->slice);
    }
    if (!pattern_matches(&load->pattern, endpoint->slice, endpoint->received, data, size)) {
        load_fail(load, "%s: %zu bytes at %zu of a message are not what was sent",
                  endpoint->is_client ? "client" : "server", size, endpoint->received);
        return;
    }
    endpoint->received += size;
    if (endpoint->received < load->plan.message_size) {
        return;
    }
    if (endpoint->is_client) {
        client_answered(load, endpoint);
    } else {
        endpoint->received = 0; /* now: the next request may arrive before the completion of this answer */
        server_answer(load, endpoint);
    }
}

static void endpoint_receive_done(struct load *load, struct endpoint *endpoint,
                                  const struct wire_completion *completion) {
    int result = completion->result;
    if (result == 0 && endpoint->is_client) {
        client_ended(load, endpoint);
        return;
    }
    if (result == 0) {
        server_ended(endpoint);
        return;
    }
    if (result < 0 && result != -ENOBUFS) {
        load_fail(load, "%s: receive: %s", endpoint->is_client ? "client" : "server", error_name(-result));
        return;
    }
    if (endpoint->is_reading) {
        slow_client_read(load, endpoint, (size_t)result);
    } else if (result > 0 && load->plan.kind == LOAD_BULK) {
        server_consume(load, endpoint, completion->data, (size_t)result);
    } else if (result > 0) {
        endpoint_received(load, endpoint, completion->data, (size_t)result);
    }
    if (!completion->more && !(endpoint->is_client && endpoint->is_slow)) {
        endpoint_receive(load, endpoint);
    }
}

static void endpoint_send_done(struct load *load, struct endpoint *endpoint, int result) {
    bool is_endless = endpoint->is_slow && !endpoint->is_client;
    if (result < 0 || (size_t)result != (is_endless ? SLOW_SEND_SIZE : load->plan.message_size)) {
        load_fail(load, "%s: send: %s", endpoint->is_client ? "client" : "server",
                  result < 0 ? error_name(-result) : "cut short");
        return;
    }
    load->bytes_sent += (size_t)result;
    if (!endpoint->is_client) {
        server_wrote(load, endpoint);
    } else if (load->plan.kind == LOAD_BULK) {
        client_wrote(load, endpoint);
    }
}

static void load_complete(void *context, const struct wire_completion *completion) {
    struct load *load = context;
    struct endpoint *endpoint = (struct endpoint *)(uintptr_t)(completion->tag & ~OPERATION_BITS);
    switch ((enum operation)(completion->tag & OPERATION_BITS)) {
    case OPERATION_TICK:
        load_tick(load);
        if (interrupt_pending()) {
            load_fail(load, "interrupted");
        }
        return;
    case OPERATION_ACCEPT:
        server_accepted(load, completion->result, completion->more);
        return;
    case OPERATION_CONNECT:
        client_connected(load, endpoint, completion->result);
        return;
    case OPERATION_RECEIVE:
        endpoint_receive_done(load, endpoint, completion);
        return;
    case OPERATION_SEND:
        endpoint_send_done(load, endpoint, completion->result);
        return;
    }
}

/* A paced load looks all the time: a timer would be late. */
static void load_turn(struct load *load) {
    bool is_paced = load_is_paced(load) && load->state == LOAD_RUNNING;
    int result = is_paced ? wire_look(&load->wire) : wire_wait(&load->wire);
    if (result < 0) {
        load_fail(load, "io_uring: %s", error_name(-result));
        return;
    }
    load->now_ns = clock_now_ns();
    wire_dispatch(&load->wire, load_complete, load);
    if (is_paced) {
        load_pace(load);
    }
    if (load->has_slow_turns) {
        load_read_slowly(load);
    }
}

/* ---- phases */

bool load_open(struct load *load, uint16_t port, size_t sessions, struct error *error) {
    check(sessions <= load->plan.sessions);
    load->state = LOAD_OPENING;
    load->target =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (load->plan.kind == LOAD_CHURN) {
        return true;
    }
    load->now_ns = clock_now_ns();
    uint64_t deadline_ns = load->now_ns + OPEN_TIMEOUT_NS;
    load->wanted = sessions;
    load_open_more(load);
    while (!load->failed && load->opened < load->wanted) {
        load_turn(load);
        if (load->now_ns > deadline_ns) {
            load_fail(load, "%zu of %zu sessions were open after %d s", load->opened, load->wanted,
                      (int)(OPEN_TIMEOUT_NS / 1000000000));
        }
    }
    *error = load->error;
    return !load->failed;
}

static void load_start(struct load *load) {
    load->state = LOAD_RUNNING;
    load->due_ns = load->now_ns;
    load->idle_count = 0;
    servers_read_from(load, load->plan.message_size);
    size_t clients = load->plan.kind == LOAD_CHURN ? load->plan.sessions : load->opened;
    for (size_t i = load->plan.slow_sessions; i < clients; i++) {
        client_next(load, &load->clients[i]);
    }
}

void load_slow_begin(struct load *load) {
    load->has_slow_turns = true;
    load->slow_due_ns = clock_now_ns();
    for (size_t i = 0; i < load->plan.slow_sessions; i++) {
        load->clients[i].slice = SLOW_SLICE;
        endpoint_send(load, &load->clients[i]);
    }
}

bool load_run(struct load *load, uint64_t duration_ns, struct error *error) {
    load->now_ns = clock_now_ns();
    uint64_t deadline_ns = load->now_ns + duration_ns;
    if (load->state != LOAD_RUNNING) {
        load_start(load);
    } else {
        load->due_ns += load->now_ns - load->stopped_ns; /* nobody was late but the caller */
    }
    while (!load->failed && load->now_ns < deadline_ns) {
        load_turn(load);
    }
    load->stopped_ns = load->now_ns;
    *error = load->error;
    return !load->failed;
}

/* In bulk the last bytes are under way after the last send has ended. */
static bool load_is_quiet(const struct load *load) {
    return load->busy == 0 && (load->plan.kind != LOAD_BULK || load->bytes_received == load->bytes_sent);
}

bool load_finish(struct load *load, struct error *error) {
    load->state = LOAD_FINISHING;
    servers_read_from(load, 1); /* what comes now may be less than a message */
    uint64_t deadline_ns = clock_now_ns() + FINISH_TIMEOUT_NS;
    while (!load->failed && !load_is_quiet(load)) {
        load_turn(load);
        if (load->now_ns > deadline_ns) {
            load_fail(load, "%zu sessions still waited for bytes after %d s (%llu bytes sent, %llu received)",
                      load->busy, (int)(FINISH_TIMEOUT_NS / 1000000000), (unsigned long long)load->bytes_sent,
                      (unsigned long long)load->bytes_received);
        }
    }
    *error = load->error;
    return !load->failed;
}

const struct load_counts *load_counts(const struct load *load) {
    return &load->counts;
}

void load_counts_clear(struct load *load) {
    load->counts.units = 0;
    load->counts.slow_bytes = 0;
    histogram_clear(&load->counts.latency);
}

/* ---- making and ending */

static bool load_listen(struct load *load, uint16_t port, struct error *error) {
    load->listener_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (load->listener_fd < 0) {
        return error_set(error, "server: socket: %s", error_name(errno));
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(load->listener_fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    setsockopt(load->listener_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* accepted sockets inherit it */
    if (bind(load->listener_fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(load->listener_fd, BACKLOG) < 0) {
        return error_set(error, "server: listen on 127.0.0.1:%u: %s", port, error_name(errno));
    }
    return true;
}

static bool load_make_endpoints(struct load *load, struct error *error) {
    struct rlimit limit;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    load->servers_count = (size_t)limit.rlim_cur;
    load->servers = calloc(load->servers_count, sizeof *load->servers);
    load->clients = calloc(load->plan.sessions, sizeof *load->clients);
    load->idle = calloc(load->plan.sessions, sizeof(struct endpoint *));
    load->slow_bytes = calloc(1, SLOW_SEND_SIZE);
    if (load->servers == NULL || load->clients == NULL || load->idle == NULL || load->slow_bytes == NULL ||
        !pattern_init(&load->pattern, load->plan.messages, load->plan.message_size)) {
        return error_set(error, "no memory for %zu sessions", load->plan.sessions);
    }
    for (size_t i = 0; i < load->plan.sessions; i++) {
        load->clients[i] = (struct endpoint){.fd = -1, .is_client = true, .is_slow = i < load->plan.slow_sessions};
    }
    for (size_t i = 0; i < load->servers_count; i++) {
        load->servers[i].fd = -1;
    }
    return true;
}

struct load *load_create(const struct load_plan *plan, uint16_t server_port, struct error *error) {
    struct load *load = calloc(1, sizeof *load);
    if (load == NULL) {
        error_set(error, "no memory for the load generator");
        return NULL;
    }
    check(plan->kind != LOAD_BULK || plan->sessions <= PATTERN_SLICES);
    load->plan = *plan;
    load->listener_fd = -1;
    if (!wire_init(&load->wire, plan->sessions, plan->message_size, error) || !load_make_endpoints(load, error) ||
        !load_listen(load, server_port, error)) {
        load_destroy(load);
        return NULL;
    }
    load_tick(load);
    load_accept(load);
    return load;
}

static void endpoints_close(struct endpoint *endpoints, size_t count) {
    for (size_t i = 0; endpoints != NULL && i < count; i++) {
        if (endpoints[i].fd >= 0) {
            close(endpoints[i].fd);
        }
    }
}

void load_destroy(struct load *load) {
    if (load == NULL) {
        return;
    }
    wire_finish(&load->wire);
    if (load->listener_fd >= 0) {
        close(load->listener_fd);
    }
    endpoints_close(load->clients, load->plan.sessions);
    endpoints_close(load->servers, load->servers_count);
    pattern_finish(&load->pattern);
    free(load->clients);
    free(load->servers);
    free(load->idle);
    free(load->slow_bytes);
    free(load);
}
