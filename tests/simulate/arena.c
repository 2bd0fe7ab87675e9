#include "arena.h"

#include "base/check.h"
#include <stdio.h>

enum { ARENA_BACKLOG = 128, ARENA_WINDOW = 256 * 1024, CONNECT_WAIT_US = 1000 };

static void nobody_cares(void *holder) {
    (void)holder;
}

static void no_room(void *argument, struct worker *worker) {
    (void)argument;
    (void)worker;
}

static void socket_done(void *argument, int fd) {
    (void)argument;
    kernel_close(fd);
}

static struct address address_of_port(uint16_t port) {
    struct address address;
    struct error error;
    char text[32];
    snprintf(text, sizeof(text), "127.0.0.1:%u", port);
    check(address_parse(&address, text, false, &error));
    return address;
}

static void arena_open_upstream(struct arena *arena) {
    arena->server = (struct config_server){.name = "server", .address = address_of_port(9000), .weight = 1};
    const struct config_upstream config = {.name = "upstream",
                                           .servers = &arena->server,
                                           .servers_count = 1,
                                           .retry_attempts = 1,
                                           .connect_ms = UINT64_MAX};
    const struct upstream_member member = {
        .name = "server", .address = &arena->server.address, .config = &arena->server};
    check(upstream_init(&arena->upstream, &config, &member, 1, NULL));
    check(place_open(arena->world, &arena->place, &arena->server.address, false) == 0);
    place_listen(&arena->place, ARENA_BACKLOG);
    arena->place.news = nobody_cares;
}

/* Timeouts and all, as a configuration has them. */
static void arena_configure(struct arena *arena, enum arena_side side) {
    arena->binds[side].address = address_of_port((uint16_t)(8000 + side));
    arena->configs[side] = (struct config_listener){.name = "listener",
                                                    .binds = &arena->binds[side],
                                                    .binds_count = 1,
                                                    .timeouts = {.connect_ms = 5000,
                                                                 .preread_ms = 5000,
                                                                 .handshake_ms = 5000,
                                                                 .idle_ms = 60 * 60 * 1000,
                                                                 .half_close_ms = 60 * 1000,
                                                                 .send_stall_ms = 60 * 1000},
                                                    .tcp = {.backlog = ARENA_BACKLOG}};
}

void arena_open(struct arena *arena, const struct world_options *options) {
    static const struct world_options kind = {
        .features = {.recv_bundle = true, .recv_limit = true, .send_vectored = true},
        .window_min = ARENA_WINDOW,
        .window_max = ARENA_WINDOW};
    *arena = (struct arena){.world = world_create(options != NULL ? options : &kind)};
    arena_open_upstream(arena);
}

void arena_begin(struct arena *arena, const struct filter_list *filters, bool splice) {
    struct error error;
    for (enum arena_side side = ARENA_PLAIN; side < ARENA_SIDES; side++) {
        arena_configure(arena, side);
    }
    arena->lists[ARENA_FILTERED] = *filters;
    arena->epoch = epoch_create(arena->configs, ARENA_SIDES, &arena->upstream, 1, arena->lists, 1);
    check(arena->epoch != NULL);
    for (enum arena_side side = ARENA_PLAIN; side < ARENA_SIDES; side++) {
        arena->epoch->settings[side].counted_by = &arena->listeners[side];
    }
    arena->io = (struct config_io){.sqpoll_cpu = -1, .splice = splice};
    const struct worker_options worker = {.io = &arena->io,
                                          .session_ids = &arena->session_ids,
                                          .epoch = arena->epoch,
                                          .room = no_room,
                                          .socket_done = socket_done,
                                          .stopped = no_room};
    check(worker_init(&arena->worker, &worker, &error));
}

void arena_listen(struct arena *arena) {
    const struct kernel_listen_options options = {.backlog = ARENA_BACKLOG};
    for (enum arena_side side = ARENA_PLAIN; side < ARENA_SIDES; side++) {
        int fd = kernel_socket(AF_INET);
        check(kernel_bind(fd, &arena->binds[side].address, &options) == 0);
        check(kernel_listen(fd, &options) == 0);
        arena->listeners[side].backlog = ARENA_BACKLOG;
        arena->listeners[side].process = &arena->process;
        check(worker_accept(&arena->worker, &arena->listeners[side], (size_t)side, fd));
    }
}

void arena_stop(struct arena *arena) {
    worker_stop(&arena->worker);
    worker_run(&arena->worker);
}

void arena_close(struct arena *arena) {
    worker_finish(&arena->worker);
    epoch_destroy(arena->epoch);
    place_close(arena->world, &arena->place);
    upstream_finish(&arena->upstream);
    world_run_out(arena->world);
    world_destroy(arena->world);
}

void arena_turn(struct arena *arena) {
    worker_turn(&arena->worker, 0);
}

void arena_wait(struct arena *arena, uint64_t wait_us) {
    worker_turn(&arena->worker, wait_us);
}

void pair_open(struct arena *arena, struct pair *pair, enum arena_side side) {
    *pair = (struct pair){.server = NULL};
    connect_init(&pair->connect, arena->world, nobody_cares, NULL);
    connect_start(&pair->connect, &arena->binds[side].address);
    while (pair->server == NULL) {
        arena_wait(arena, CONNECT_WAIT_US);
        pair->server = place_accept(&arena->place);
    }
    pair->client = pair->connect.stream;
}

void pair_close(struct pair *pair) {
    stream_close(pair->client);
    stream_close(pair->server);
}
