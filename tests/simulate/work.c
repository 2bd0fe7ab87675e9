#include "work.h"

#include "arena.h"
#include "base/check.h"
#include "engine/filter.h"
#include "world.h"

#include <errno.h>

enum {
    MESSAGE_SIZE = 64,
    CHUNK_SIZE = 16 * 1024,
    SPLICED_SIZE = 256 * 1024,
    PAIRS = 64,
    WARM_UP = 16, /* enough for a flow to be spliced */
    TURN_US = 1000 * 1000,
};

struct workshop {
    struct arena arena;
    struct pair pairs[PAIRS];
    int pairs_count;
    char bytes[SPLICED_SIZE];
};

const char *work_name(enum work work) {
    switch (work) {
    case WORK_REQUEST:
        return "request";
    case WORK_BATCH:
        return "batch";
    case WORK_CHUNK:
        return "chunk";
    case WORK_SPLICE:
        return "splice";
    case WORK_FILTERED:
        return "filtered";
    case WORK_SESSION:
        return "session";
    case WORKS:
        break;
    }
    return "?";
}

/* --- a filter ------------------------------------------------------------------------------------------------------
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

static const struct filter_list *empty_filter(void) {
    static const struct filter_calls calls = {.open = empty_open, .run = empty_run, .close = empty_close};
    static struct filter filter = {
        .calls = &calls, .name = "empty", .hooks = 1u << HOOK_FROM_CLIENT, .hold_max = 64 * 1024};
    static struct filter *filters[] = {&filter};
    static const struct filter_list list = {.filters = filters, .count = 1};
    return &list;
}

/* --- the work ------------------------------------------------------------------------------------------------------
 */

static void workshop_turn(struct workshop *workshop) {
    worker_turn(&workshop->arena.worker, TURN_US);
}

static void workshop_write(struct workshop *workshop, struct stream *stream, size_t size) {
    check(stream_write(stream, workshop->bytes, size) == (int64_t)size);
}

static void workshop_read(struct workshop *workshop, struct stream *stream, size_t size) {
    for (size_t heard = 0; heard < size;) {
        int64_t part = stream_read(stream, workshop->bytes, size - heard);
        if (part == -EAGAIN) {
            workshop_turn(workshop);
            continue;
        }
        check(part > 0);
        heard += (size_t)part;
    }
}

static void workshop_transfer(struct workshop *workshop, size_t size) {
    workshop_write(workshop, workshop->pairs[0].client, size);
    workshop_read(workshop, workshop->pairs[0].server, size);
}

/* A request on each connection; all of them are sent before the first is answered. */
static void workshop_exchange(struct workshop *workshop) {
    for (int i = 0; i < workshop->pairs_count; i++) {
        workshop_write(workshop, workshop->pairs[i].client, MESSAGE_SIZE);
    }
    for (int i = 0; i < workshop->pairs_count; i++) {
        workshop_read(workshop, workshop->pairs[i].server, MESSAGE_SIZE);
    }
    for (int i = 0; i < workshop->pairs_count; i++) {
        workshop_write(workshop, workshop->pairs[i].server, MESSAGE_SIZE);
    }
    for (int i = 0; i < workshop->pairs_count; i++) {
        workshop_read(workshop, workshop->pairs[i].client, MESSAGE_SIZE);
    }
}

static void workshop_connect(struct workshop *workshop, int count, enum arena_side side) {
    while (workshop->pairs_count < count) {
        pair_open(&workshop->arena, &workshop->pairs[workshop->pairs_count++], side);
    }
}

static void workshop_hang_up(struct workshop *workshop) {
    while (workshop->pairs_count > 0) {
        pair_close(&workshop->pairs[--workshop->pairs_count]);
    }
    while (workshop->arena.worker.engine.sessions_count > 0) {
        workshop_turn(workshop);
    }
}

static void workshop_do_once(struct workshop *workshop, enum work work) {
    switch (work) {
    case WORK_REQUEST:
    case WORK_BATCH:
        workshop_exchange(workshop);
        break;
    case WORK_CHUNK:
        workshop_transfer(workshop, CHUNK_SIZE);
        break;
    case WORK_SPLICE:
        workshop_transfer(workshop, SPLICED_SIZE);
        break;
    case WORK_FILTERED:
        workshop_transfer(workshop, MESSAGE_SIZE);
        break;
    case WORK_SESSION:
        workshop_connect(workshop, 1, ARENA_PLAIN);
        workshop_exchange(workshop);
        workshop_hang_up(workshop);
        break;
    case WORKS:
        break;
    }
}

void work_do(struct workshop *workshop, enum work work, uint64_t times) {
    for (uint64_t i = 0; i < times; i++) {
        workshop_do_once(workshop, work);
    }
}

/* --- counting ------------------------------------------------------------------------------------------------------
 */

static struct work_cost workshop_cost(const struct workshop *workshop) {
    const struct world *world = workshop->arena.world;
    const struct ring_counters *counters = ring_counters(workshop->arena.worker.engine.ring);
    return (struct work_cost){.submissions = (double)counters->submissions,
                              .turns = (double)counters->system_calls,
                              .calls = (double)world->calls,
                              .copied_bytes = (double)world->copied_bytes};
}

static void workshop_open(struct workshop *workshop, enum work work) {
    workshop->pairs_count = 0;
    arena_open(&workshop->arena, NULL);
    arena_begin(&workshop->arena, empty_filter(), work == WORK_SPLICE);
    arena_listen(&workshop->arena);
    if (work != WORK_SESSION) {
        workshop_connect(workshop, work == WORK_BATCH ? PAIRS : 1,
                         work == WORK_FILTERED ? ARENA_FILTERED : ARENA_PLAIN);
    }
    for (int i = 0; i < WARM_UP; i++) {
        workshop_do_once(workshop, work);
    }
    check(workshop->arena.worker.engine.counters.splice_promotions == (work == WORK_SPLICE ? 1 : 0));
}

struct work_cost work_count(enum work work, uint64_t times) {
    static struct workshop workshop;
    workshop_open(&workshop, work);
    struct work_cost before = workshop_cost(&workshop);
    work_do(&workshop, work, times);
    struct work_cost after = workshop_cost(&workshop);
    workshop_hang_up(&workshop);
    arena_stop(&workshop.arena);
    arena_close(&workshop.arena);
    return (struct work_cost){.submissions = (after.submissions - before.submissions) / (double)times,
                              .turns = (after.turns - before.turns) / (double)times,
                              .calls = (after.calls - before.calls) / (double)times,
                              .copied_bytes = (after.copied_bytes - before.copied_bytes) / (double)times};
}
