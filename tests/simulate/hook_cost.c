#include "hook_cost.h"

#include "base/check.h"
#include "engine/filter.h"
#include "engine/worker.h"
#include "place.h"
#include "world.h"

#include <string.h>
#include <time.h>

enum { BATCH = 1000, PLAIN = 0, FILTERED = 1, SIDES = 2 };

/* One session, seen from both its ends. */
struct pair {
    struct connect connect;
    struct stream *client;
    struct stream *server;
    uint64_t spent_ns;
};

struct arena {
    struct world *world;
    struct place place; /* the server's */
    struct config_server server;
    struct upstream upstream;
    struct config_bind binds[SIDES];
    struct config_listener configs[SIDES];
    struct filter_list lists[SIDES];
    struct listener listeners[SIDES];
    struct quota process;
    struct epoch *epoch;
    struct config_io io;
    struct worker worker;
    struct pair pairs[SIDES];
    char chunk[HOOK_COST_CHUNK_MAX];
};

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

/* --- setting it up -------------------------------------------------------------------------------------------------
 */

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
    place_listen(&arena->place, SIDES);
    arena->place.news = nobody_cares;
}

static void arena_listen(struct arena *arena, int side) {
    const struct kernel_listen_options options = {.backlog = SIDES};
    int fd = kernel_socket(AF_INET);
    check(kernel_bind(fd, &arena->binds[side].address, &options) == 0);
    check(kernel_listen(fd, &options) == 0);
    arena->listeners[side].backlog = SIDES;
    arena->listeners[side].process = &arena->process;
    check(worker_accept(&arena->worker, &arena->listeners[side], (size_t)side, fd));
}

static void arena_open(struct arena *arena, const struct hook_cost_options *options) {
    static const struct world_options kind = {
        .features = {.recv_bundle = true, .recv_limit = true, .send_vectored = true},
        .window_min = 256 * 1024,
        .window_max = 256 * 1024};
    struct error error;
    *arena = (struct arena){.world = world_create(&kind), .io = {.sqpoll_cpu = -1}};
    arena_open_upstream(arena);
    for (int side = PLAIN; side <= FILTERED; side++) {
        arena->binds[side].address = address_of_port((uint16_t)(8000 + side));
        arena->configs[side] = (struct config_listener){
            .name = "listener", .binds = &arena->binds[side], .binds_count = 1, .tcp = {.backlog = SIDES}};
    }
    arena->lists[FILTERED] = *options->filters;
    arena->epoch = epoch_create(arena->configs, SIDES, &arena->upstream, 1, arena->lists, 1);
    check(arena->epoch != NULL);
    const struct worker_options worker = {
        .io = &arena->io, .epoch = arena->epoch, .room = no_room, .socket_done = socket_done, .stopped = no_room};
    check(worker_init(&arena->worker, &worker, &error));
    if (options->begin != NULL) {
        options->begin(&arena->worker.engine, options->argument);
    }
    arena_listen(arena, PLAIN);
    arena_listen(arena, FILTERED);
}

static void arena_turn(struct arena *arena) {
    worker_turn(&arena->worker, 0);
}

static void pair_open(struct arena *arena, int side) {
    struct pair *pair = &arena->pairs[side];
    connect_init(&pair->connect, arena->world, nobody_cares, NULL);
    connect_start(&pair->connect, &arena->binds[side].address);
    while (pair->server == NULL) {
        arena_turn(arena);
        pair->server = place_accept(&arena->place);
    }
    pair->client = pair->connect.stream;
}

static void arena_close(struct arena *arena) {
    for (int side = PLAIN; side <= FILTERED; side++) {
        stream_close(arena->pairs[side].client);
        stream_close(arena->pairs[side].server);
    }
    worker_stop(&arena->worker);
    worker_run(&arena->worker);
    worker_finish(&arena->worker);
    epoch_destroy(arena->epoch);
    place_close(arena->world, &arena->place);
    upstream_finish(&arena->upstream);
    world_run_out(arena->world);
    world_destroy(arena->world);
}

/* --- measuring -----------------------------------------------------------------------------------------------------
 */

static void pair_relay(struct arena *arena, struct pair *pair, uint32_t size) {
    check(stream_write(pair->client, arena->chunk, size) == size);
    for (uint32_t heard = 0; heard<size; heard += stream_readable(pair->server)> 0
                                 ? (uint32_t)stream_read(pair->server, arena->chunk, size)
                                 : 0) {
        arena_turn(arena);
    }
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 * 1000 * 1000 + (uint64_t)now.tv_nsec;
}

static void pair_run(struct arena *arena, struct pair *pair, uint64_t chunks, uint32_t size) {
    uint64_t began_ns = now_ns();
    for (uint64_t i = 0; i < chunks; i++) {
        pair_relay(arena, pair, size);
    }
    pair->spent_ns += now_ns() - began_ns;
}

struct hook_cost hook_cost_measure(const struct hook_cost_options *options) {
    static struct arena arena;
    check(options->chunk_size > 0 && options->chunk_size <= HOOK_COST_CHUNK_MAX);
    arena_open(&arena, options);
    for (int side = PLAIN; side <= FILTERED; side++) {
        pair_open(&arena, side);
        pair_run(&arena, &arena.pairs[side], BATCH, options->chunk_size); /* warm */
        arena.pairs[side].spent_ns = 0;
    }
    uint64_t hooks = arena.worker.engine.counters.hooks;
    for (uint64_t done = 0; done < options->chunks; done += BATCH) {
        pair_run(&arena, &arena.pairs[PLAIN], BATCH, options->chunk_size);
        pair_run(&arena, &arena.pairs[FILTERED], BATCH, options->chunk_size);
    }
    uint64_t chunks = (options->chunks + BATCH - 1) / BATCH * BATCH;
    const struct hook_cost cost = {.plain_ns = (double)arena.pairs[PLAIN].spent_ns / (double)chunks,
                                   .filtered_ns = (double)arena.pairs[FILTERED].spent_ns / (double)chunks,
                                   .hooks = arena.worker.engine.counters.hooks - hooks};
    arena_close(&arena);
    return cost;
}

/* --- an empty hook -------------------------------------------------------------------------------------------------
 */

static bool empty_open(struct filter_session *filter_session) {
    (void)filter_session;
    return true;
}

static enum hook_outcome empty_run(struct filter_session *filter_session, enum hook hook) {
    (void)filter_session;
    (void)hook;
    return HOOK_RETURNED;
}

static void empty_close(struct filter_session *filter_session) {
    (void)filter_session;
}

struct hook_cost hook_cost_measure_empty(uint64_t chunks, uint32_t chunk_size) {
    static const struct filter_calls calls = {
        .open = empty_open, .run = empty_run, .close = empty_close}; /* holds nothing */
    struct filter filter = {.calls = &calls, .name = "empty", .hooks = 1u << HOOK_FROM_CLIENT, .hold_max = 64 * 1024};
    struct filter *filters[] = {&filter};
    const struct filter_list list = {.filters = filters, .count = 1};
    const struct hook_cost_options options = {.chunks = chunks, .chunk_size = chunk_size, .filters = &list};
    return hook_cost_measure(&options);
}
