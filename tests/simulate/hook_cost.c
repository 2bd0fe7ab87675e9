#include "hook_cost.h"

#include "base/check.h"
#include "engine/filter.h"
#include "engine/worker.h"
#include "place.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, WARM_BATCHES = 5, PLAIN = 0, FILTERED = 1, SIDES = 2 };

/* One session, seen from both its ends. */
struct pair {
    struct connect connect;
    struct stream *client;
    struct stream *server;
    uint64_t *spent_ns; /* ours; of each batch */
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
    memset(arena->chunk, 'x', sizeof(arena->chunk));
    arena_open_upstream(arena);
    for (int side = PLAIN; side <= FILTERED; side++) {
        arena->binds[side].address = address_of_port((uint16_t)(8000 + side));
        arena->configs[side] = (struct config_listener){
            .name = "listener", .binds = &arena->binds[side], .binds_count = 1, .tcp = {.backlog = SIDES}};
    }
    arena->lists[FILTERED] = *options->load(options->argument);
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

static void arena_close(struct arena *arena, const struct hook_cost_options *options) {
    for (int side = PLAIN; side <= FILTERED; side++) {
        stream_close(arena->pairs[side].client);
        stream_close(arena->pairs[side].server);
    }
    worker_stop(&arena->worker);
    worker_run(&arena->worker);
    if (options->end != NULL) {
        options->end(options->argument);
    }
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

/* Of this thread, so that whoever else runs on the machine counts less. */
static uint64_t spent_ns(void) {
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000 * 1000 * 1000 + (uint64_t)spent.tv_nsec;
}

/* Returns the time that it took. */
static uint64_t pair_run_batch(struct arena *arena, struct pair *pair, uint32_t size) {
    uint64_t began_ns = spent_ns();
    for (uint64_t i = 0; i < BATCH; i++) {
        pair_relay(arena, pair, size);
    }
    return spent_ns() - began_ns;
}

static void pair_begin(struct arena *arena, int side, uint64_t batches, uint32_t size) {
    struct pair *pair = &arena->pairs[side];
    pair_open(arena, side);
    pair->spent_ns = calloc(batches, sizeof(pair->spent_ns[0]));
    check(pair->spent_ns != NULL);
    for (int round = 0; round < WARM_BATCHES; round++) {
        pair_run_batch(arena, pair, size);
    }
}

static int compare(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The lower quartile: whoever else uses the machine and its caches only adds. */
static double pair_finish(struct pair *pair, uint64_t batches) {
    qsort(pair->spent_ns, batches, sizeof(pair->spent_ns[0]), compare);
    double quartile_ns = (double)pair->spent_ns[batches / 4] / BATCH;
    free(pair->spent_ns);
    return quartile_ns;
}

static uint64_t options_count(const struct hook_cost_options *options) {
    return options->count == NULL ? 0 : options->count(options->argument);
}

struct hook_cost hook_cost_measure(const struct hook_cost_options *options) {
    static struct arena arena;
    uint64_t batches = (options->chunks + BATCH - 1) / BATCH;
    check(options->chunk_size > 0 && options->chunk_size <= HOOK_COST_CHUNK_MAX && batches > 0);
    arena_open(&arena, options);
    pair_begin(&arena, PLAIN, batches, options->chunk_size);
    pair_begin(&arena, FILTERED, batches, options->chunk_size);
    uint64_t hooks = arena.worker.engine.counters.hooks;
    uint64_t counted = options_count(options);
    for (uint64_t batch = 0; batch < batches; batch++) {
        for (int side = PLAIN; side <= FILTERED; side++) {
            arena.pairs[side].spent_ns[batch] = pair_run_batch(&arena, &arena.pairs[side], options->chunk_size);
        }
    }
    const struct hook_cost cost = {.plain_ns = pair_finish(&arena.pairs[PLAIN], batches),
                                   .filtered_ns = pair_finish(&arena.pairs[FILTERED], batches),
                                   .hooks = arena.worker.engine.counters.hooks - hooks,
                                   .counted = options_count(options) - counted};
    arena_close(&arena, options);
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

static const struct filter_list *empty_load(void *list) {
    return list;
}

struct hook_cost hook_cost_measure_empty(uint64_t chunks, uint32_t chunk_size) {
    static const struct filter_calls calls = {
        .open = empty_open, .run = empty_run, .close = empty_close}; /* holds nothing */
    struct filter filter = {.calls = &calls, .name = "empty", .hooks = 1u << HOOK_FROM_CLIENT, .hold_max = 64 * 1024};
    struct filter *filters[] = {&filter};
    struct filter_list list = {.filters = filters, .count = 1};
    const struct hook_cost_options options = {
        .chunks = chunks, .chunk_size = chunk_size, .load = empty_load, .argument = &list};
    return hook_cost_measure(&options);
}
