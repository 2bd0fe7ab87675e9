#include "hook_cost.h"

#include "arena.h"
#include "base/check.h"
#include "engine/filter.h"
#include "stream.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, WARM_BATCHES = 5 };

struct measure {
    struct arena arena;
    struct pair pairs[ARENA_SIDES];
    uint64_t *spent_ns[ARENA_SIDES]; /* ours; of each batch */
    uint64_t batches;
    uint32_t chunk_size;
    char chunk[HOOK_COST_CHUNK_MAX];
};

static void measure_relay(struct measure *measure, const struct pair *pair) {
    uint32_t size = measure->chunk_size;
    check(stream_write(pair->client, measure->chunk, size) == size);
    for (uint32_t heard = 0; heard < size;) {
        arena_turn(&measure->arena);
        if (stream_readable(pair->server) > 0) {
            heard += (uint32_t)stream_read(pair->server, measure->chunk, size);
        }
    }
}

/* Of this thread, so that whoever else runs on the machine counts less. */
static uint64_t spent_ns(void) {
    struct timespec spent;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (uint64_t)spent.tv_sec * 1000 * 1000 * 1000 + (uint64_t)spent.tv_nsec;
}

/* Returns the time that it took. */
static uint64_t measure_batch(struct measure *measure, enum arena_side side) {
    uint64_t began_ns = spent_ns();
    for (int i = 0; i < BATCH; i++) {
        measure_relay(measure, &measure->pairs[side]);
    }
    return spent_ns() - began_ns;
}

static void measure_begin_side(struct measure *measure, enum arena_side side) {
    pair_open(&measure->arena, &measure->pairs[side], side);
    measure->spent_ns[side] = calloc(measure->batches, sizeof(measure->spent_ns[side][0]));
    check(measure->spent_ns[side] != NULL);
    for (int round = 0; round < WARM_BATCHES; round++) {
        measure_batch(measure, side);
    }
}

static void measure_begin(struct measure *measure, const struct hook_cost_options *options) {
    *measure = (struct measure){.batches = (options->chunks + BATCH - 1) / BATCH, .chunk_size = options->chunk_size};
    check(options->chunk_size > 0 && options->chunk_size <= HOOK_COST_CHUNK_MAX && measure->batches > 0);
    memset(measure->chunk, 'x', sizeof(measure->chunk));
    arena_open(&measure->arena, NULL);
    arena_begin(&measure->arena, options->load(options->argument), false);
    if (options->begin != NULL) {
        options->begin(&measure->arena.worker.engine, options->argument);
    }
    arena_listen(&measure->arena);
    measure_begin_side(measure, ARENA_PLAIN);
    measure_begin_side(measure, ARENA_FILTERED);
}

static void measure_end(struct measure *measure, const struct hook_cost_options *options) {
    pair_close(&measure->pairs[ARENA_PLAIN]);
    pair_close(&measure->pairs[ARENA_FILTERED]);
    arena_stop(&measure->arena);
    if (options->end != NULL) {
        options->end(options->argument);
    }
    arena_close(&measure->arena);
}

static int compare(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The lower quartile: whoever else uses the machine and its caches only adds. */
static double measure_quartile_ns(struct measure *measure, enum arena_side side) {
    uint64_t *all_ns = measure->spent_ns[side];
    qsort(all_ns, measure->batches, sizeof(all_ns[0]), compare);
    double quartile_ns = (double)all_ns[measure->batches / 4] / BATCH;
    free(all_ns);
    return quartile_ns;
}

static uint64_t options_count(const struct hook_cost_options *options) {
    return options->count == NULL ? 0 : options->count(options->argument);
}

struct hook_cost hook_cost_measure(const struct hook_cost_options *options) {
    static struct measure measure;
    measure_begin(&measure, options);
    const struct engine_counters *counters = &measure.arena.worker.engine.counters;
    uint64_t hooks = counters->hooks;
    uint64_t counted = options_count(options);
    for (uint64_t batch = 0; batch < measure.batches; batch++) {
        for (enum arena_side side = ARENA_PLAIN; side < ARENA_SIDES; side++) {
            measure.spent_ns[side][batch] = measure_batch(&measure, side);
        }
    }
    const struct hook_cost cost = {.plain_ns = measure_quartile_ns(&measure, ARENA_PLAIN),
                                   .filtered_ns = measure_quartile_ns(&measure, ARENA_FILTERED),
                                   .hooks = counters->hooks - hooks,
                                   .counted = options_count(options) - counted};
    measure_end(&measure, options);
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
