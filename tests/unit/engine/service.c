#include "service.h"

#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void service_room(void *argument, struct worker *worker) {
    (void)worker;
    ((struct service *)argument)->rooms++;
}

static void service_socket_done(void *argument, int fd) {
    struct service *service = argument;
    cr_assert_eq(fd, service->socket);
    service->sockets_done++;
}

static void service_stopped(void *argument, struct worker *worker) {
    (void)worker;
    ((struct service *)argument)->stops++;
}

void service_init(struct service *service) {
    *service = (struct service){
        .io = {.sqpoll_cpu = -1},
        .listener_config = {.name = "web", .tcp = {.backlog = 128}},
        .upstream_config = {.name = "app", .balance = BALANCE_FIRST, .retry_attempts = 1, .connect_ms = UINT64_MAX},
        .servers_count = 1,
    };
    for (size_t index = 0; index < SERVICE_SERVERS_MAX; index++) {
        service->server_configs[index].weight = 1;
    }
}

static void service_adopted(void *argument, struct worker *worker) {
    struct service *service = argument;
    (void)worker;
    service->adoptions++;
}

static void service_open_upstream(struct service *service) {
    static const char *const names[SERVICE_SERVERS_MAX] = {"one", "two", "three"};
    struct upstream_member members[SERVICE_SERVERS_MAX];
    for (size_t index = 0; index < service->servers_count; index++) {
        struct address *address = &service->server_addresses[index];
        service->servers[index] = service->unix_servers ? listener_open_unix(address) : listener_open(address);
        kernel_set_nonblocking(service->servers[index], true);
        members[index] = (struct upstream_member){.name = names[index],
                                                  .address = &service->server_addresses[index],
                                                  .config = &service->server_configs[index]};
    }
    cr_assert(upstream_init(&service->upstream, &service->upstream_config, members, service->servers_count, NULL));
}

void service_open(struct service *service) {
    struct error error = {.text = ""};
    service_open_upstream(service);
    service->epoch = epoch_create(&service->listener_config, 1, &service->upstream, 1, NULL, 42);
    cr_assert_not_null(service->epoch);
    service->epoch->settings[0].counted_by = &service->listener;
    if (service->access_log != NULL) {
        service->epoch->access_log = access_queue_create(service->access_log, ACCESS_FORMAT_TEXT);
    }
    snprintf(service->name, sizeof service->name, "web");
    service->listener.name = service->name;
    service->listener.backlog = service->listener_config.tcp.backlog;
    service->listener.quota.max = service->listener_config.connections_max;
    service->listener.process = &service->process;
    service->process.max = service->process_max;
    service->socket = listener_open(&service->address);
    const struct worker_options options = {
        .number = 0,
        .session_ids = &service->session_ids,
        .io = &service->io,
        .epoch = service->epoch,
        .room = service_room,
        .socket_done = service_socket_done,
        .adopted = service_adopted,
        .stopped = service_stopped,
        .argument = service,
    };
    cr_assert(worker_init(&service->worker, &options, &error), "%s", error.text);
    cr_assert(worker_accept(&service->worker, &service->listener, 0, service->socket));
    service_turn(service);
}

void service_close(struct service *service) {
    struct worker *worker = &service->worker;
    worker_stop(worker);
    worker_close_sessions(worker);
    service_wait(service, worker->ended && worker->owner.held == 0);
    cr_assert_eq(worker->engine.sessions_count, 0);
    if (list_is_empty(&worker->engine.zero_copies.open)) {
        cr_assert_eq(buffers_in_use(&worker->engine.buffers), 0);
    }
    cr_assert_eq(atomic_load(&service->process.active), 0);
    cr_assert_eq(atomic_load(&service->listener.quota.active), 0);
    for (size_t index = 0; index < service->servers_count; index++) {
        cr_assert_eq(atomic_load(&service->upstream.servers[index].state->active), 0);
        kernel_close(service->servers[index]);
    }
    worker_finish(worker);
    epoch_destroy(service->epoch);
    upstream_finish(&service->upstream);
    kernel_close(service->socket);
}

void service_refuse(struct service *service, size_t server) {
    /* The port stays bound, or another test might listen there a moment later. */
    cr_assert_eq(shutdown(service->servers[server], SHUT_RD), 0);
}

void service_turn(struct service *service) {
    worker_turn(&service->worker, 5000);
}

int service_client(struct service *service) {
    return client_open(&service->address);
}

void service_take(struct service *service, int fd) {
    atomic_fetch_add(&service->listener.quota.active, 1);
    atomic_fetch_add(&service->process.active, 1);
    cr_assert(session_open(&service->worker.engine, &service->epoch->settings[0], fd));
}

int service_server(struct service *service, size_t server) {
    int fd = -EAGAIN;
    service_wait(service, (fd = kernel_accept(service->servers[server])) != -EAGAIN);
    cr_assert_geq(fd, 0);
    return fd;
}

struct service_pair service_pair(struct service *service) {
    struct service_pair pair = {.client = service_client(service)};
    pair.server = service_server(service, 0);
    return pair;
}

/* Takes what is there. What recv() returns; -errno when it failed. */
static ssize_t receive_some(int fd, char *bytes, size_t size) {
    ssize_t received = recv(fd, bytes, size, MSG_DONTWAIT);
    return received < 0 ? -errno : received;
}

void service_expect(struct service *service, int fd, uint64_t offset, size_t size) {
    static char piece[64 * 1024];
    for (size_t done = 0; done < size;) {
        ssize_t part = -EAGAIN;
        size_t left = size - done;
        service_wait(service, (part = receive_some(fd, piece, left < sizeof(piece) ? left : sizeof(piece))) != -EAGAIN);
        cr_assert_gt(part, 0, "%zu of %zu bytes came: %zd", done, size, part);
        expect_pattern(piece, (size_t)part, offset + done);
        done += (size_t)part;
    }
}

int service_expect_end(struct service *service, int fd) {
    char byte;
    ssize_t part = -EAGAIN;
    service_wait(service, (part = receive_some(fd, &byte, 1)) != -EAGAIN);
    cr_assert_leq(part, 0, "a byte instead of the end");
    return (int)part;
}

static uint64_t count_closed(const struct engine_counters *counters) {
    uint64_t count = 0;
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        count += counters->sessions_closed[reason];
    }
    return count;
}

void service_expect_closed(struct service *service, enum close_reason reason, uint64_t count) {
    const struct engine_counters *counters = service_counters(service);
    service_wait(service, counters->sessions_closed[reason] >= count);
    cr_assert_eq(counters->sessions_closed[reason], count);
    service_wait(service, service->worker.engine.sessions_count == counters->sessions_opened - count_closed(counters));
}

struct session *service_session(struct service *service) {
    struct link *link = list_first(&service->worker.engine.sessions);
    cr_assert_not_null(link);
    return container_of(link, struct session, link);
}

const struct engine_counters *service_counters(const struct service *service) {
    return &service->worker.engine.counters;
}
