/* Any bytes under the loops over frames that scripts run, with decisions that depend on nothing but what is shown: how
 * the bytes are cut into pieces changes neither what is shown nor what goes out. The first bytes of the input choose
 * the framer, how much of a frame is shown, the direction, and where the pieces end.
 *
 * The functions of the engine that framing.c needs are here, over memory of exactly the bytes in view, so that
 * AddressSanitizer sees a read beyond them. */
#include "lua/exchange.h"
#include "lua/framers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

enum { HOLD_MAX = 4096 };

struct world {
    struct filter_session filter_session;
    struct slice view; /* the first bytes of held, in memory of its own */
    struct bytes held;
    size_t decided; /* bytes at the beginning of held that are decided */
    struct bytes out;
    struct bytes shown; /* what the loop has shown, frame by frame */
    struct framing *framing;
    struct exchange exchange;
    enum direction direction;
    bool failed;
};

/* --- the engine --------------------------------------------------------------------------------------------------- */

static struct world *world_of(struct filter_session *filter_session) {
    return container_of(filter_session, struct world, filter_session);
}

static struct stage *world_stage(struct world *world) {
    return &world->filter_session.stages[world->direction];
}

static size_t world_left(const struct world *world) {
    return world->held.size - world->decided;
}

/* Lays out the view anew. */
static void world_view(struct world *world, size_t size) {
    struct stage *stage = world_stage(world);
    free(world->view.start);
    world->view.start = malloc(size + (size == 0));
    check(world->view.start != NULL);
    memcpy(world->view.start, world->held.data + world->decided, size);
    world->view.size = (uint32_t)size;
    stage->shown = (uint32_t)size;
    stage->input.first = &world->view;
    stage->input.bytes = (uint32_t)world_left(world);
}

static void world_take(struct world *world, size_t size) {
    struct stage *stage = world_stage(world);
    size_t shown = stage->shown > size ? stage->shown - size : 0;
    world->decided += size;
    stage->offset += size;
    world_view(world, shown);
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

void filter_pass(struct filter_session *filter_session, enum direction direction, uint64_t size) {
    struct world *world = world_of(filter_session);
    struct stage *stage = &filter_session->stages[direction];
    check(!stage_is_ahead(stage));
    size_t here = least(size, stage->shown);
    bytes_append(&world->out, world->held.data + world->decided, here);
    world_take(world, here);
    stage->pass_ahead = size - here;
}

void filter_drop(struct filter_session *filter_session, enum direction direction, uint64_t size) {
    struct stage *stage = &filter_session->stages[direction];
    check(!stage_is_ahead(stage));
    size_t here = least(size, stage->shown);
    world_take(world_of(filter_session), here);
    stage->drop_ahead = size - here;
}

bool filter_put(struct filter_session *filter_session, enum direction direction, const void *bytes, size_t size) {
    check(filter_session->stages[direction].pass_ahead == 0);
    bytes_append(&world_of(filter_session)->out, bytes, size);
    return true;
}

void filter_need(struct filter_session *filter_session, enum direction direction, uint32_t size) {
    filter_session->stages[direction].need = size;
}

void filter_message(struct filter_session *filter_session, enum direction direction, bool in_message) {
    filter_session->stages[direction].in_message = in_message; /* nobody writes here */
}

void filter_show(struct filter_session *filter_session, enum direction direction, uint32_t size) {
    struct world *world = world_of(filter_session);
    check(direction == world->direction);
    world_view(world, least(size, world_left(world)));
}

void filter_detach(struct filter_session *filter_session, enum direction direction) {
    filter_session->stages[direction].has_hook = false;
}

/* --- the script --------------------------------------------------------------------------------------------------- */

/* FNV-1a, so that a decision depends on the bytes and on nothing else. */
static uint32_t shown_hash(const struct framing *framing) {
    const char *bytes = stage_bytes(framing_stage(framing));
    uint32_t hash = 2166136261;
    for (uint32_t index = 0; index < framing->shown; index++) {
        hash = (hash ^ (uint8_t)bytes[index]) * 16777619;
    }
    return hash >> 8;
}

static void decide(struct framing *framing) {
    struct error error;
    uint32_t hash = shown_hash(framing);
    uint32_t at = hash / 8 % (framing->shown + 1);
    switch (hash % 6) {
    case 0:
        framing_decide(framing, FRAME_PASSED);
        return;
    case 1:
        framing_decide(framing, FRAME_DROPPED);
        return;
    case 2:
        check(framing_edit(framing, 0, 0, "replaced", 8, &error));
        framing_decide(framing, FRAME_DROPPED);
        return;
    case 3:
        check(framing_edit(framing, at, framing->shown, "edited", 6, &error));
        check(at == framing->shown || !framing_edit(framing, at, at, "", 0, &error));
        return;
    case 4:
        check(framing_edit(framing, 0, at / 2, "", 0, &error));
        check(framing_edit(framing, at, at, "<>", 2, &error));
        return;
    }
}

static void note(struct world *world, const struct framing *framing) {
    const struct stage *stage = world_stage(world);
    check(framing->shown > 0);
    check(framing->shown <= stage->shown);
    check(framing->shown <= framing->see);
    check(framing->whole == 0 || framing->whole >= framing->shown);
    check(framing->at == stage->offset);
    bytes_append(&world->shown, &framing->shown, sizeof(framing->shown));
    bytes_append(&world->shown, stage_bytes(stage), framing->shown);
}

struct plan {
    const struct framer *framer;
    const void *parameter;
    uint32_t see;
    enum direction direction;
    bool breaks;  /* leaves the loop now and then: what is shown depends on how the bytes come then */
    uint8_t cuts; /* bytes of a piece; 0: all in one */
};

static enum framing_step loop(struct world *world, const struct plan *plan) {
    struct error error;
    check(framing_open(&world->framing, plan->framer, plan->parameter, plan->see, &world->filter_session,
                       world->direction, &error));
    world->framing->exchange = &world->exchange;
    enum framing_step step = framing_next(world->framing, &error);
    while (step == STEP_FRAME) {
        bool leaves = plan->breaks && shown_hash(world->framing) % 5 == 0;
        note(world, world->framing);
        decide(world->framing);
        step = (leaves ? framing_finish : framing_next)(world->framing, &error);
    }
    return step;
}

/* --- a run -------------------------------------------------------------------------------------------------------- */

static void run_ahead(struct world *world) {
    struct stage *stage = world_stage(world);
    uint64_t passed = least(stage->pass_ahead, world_left(world));
    bytes_append(&world->out, world->held.data + world->decided, passed);
    world_take(world, passed);
    stage->pass_ahead -= passed;
    uint64_t dropped = least(stage->drop_ahead, world_left(world));
    world_take(world, dropped);
    stage->drop_ahead -= dropped;
}

static void pass_left(struct world *world) {
    bytes_append(&world->out, world->held.data + world->decided, world_left(world));
    world_take(world, world_left(world));
}

static bool is_due(struct world *world) {
    const struct stage *stage = world_stage(world);
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    bool has_more = world_left(world) >= wanted || (stage->ended && world_left(world) > 0 && !stage->told);
    return has_more && stage->has_hook && !world->failed && !stage_is_ahead(stage);
}

/* An entry of the hook. */
static void enter(struct world *world, const struct plan *plan) {
    struct stage *stage = world_stage(world);
    struct error error;
    uint64_t wanted = stage->need > 0 && !stage->ended ? stage->need : 1;
    enum framing_step step = STEP_FRAME;
    stage->told = stage->ended;
    stage->need = 0;
    world_view(world, wanted);
    if (world->framing != NULL) {
        step = framing_run_rest(world->framing, &error);
    }
    if (step == STEP_FRAME) {
        step = loop(world, plan);
    }
    world->failed = step == STEP_FAILED;
    bool explained = stage_is_ahead(stage) || stage->need > 0 || !stage->has_hook;
    check(world->failed || explained || world_left(world) == 0);
}

/* As the chain does it. */
static void work(struct world *world, const struct plan *plan) {
    run_ahead(world);
    while (is_due(world)) {
        enter(world, plan);
        run_ahead(world);
    }
    if (!world_stage(world)->has_hook) {
        pass_left(world);
    }
}

static void world_run(struct world *world, const struct plan *plan, const uint8_t *bytes, size_t size) {
    static struct filter filter = {.name = "fuzzed", .hold_max = HOLD_MAX};
    *world = (struct world){.direction = plan->direction, .exchange = {.has_requests = true}};
    world->filter_session.filter = &filter;
    world->filter_session.stages[FROM_CLIENT].has_hook = true;
    world->filter_session.stages[FROM_SERVER].has_hook = true;
    bytes_init(&world->held);
    bytes_init(&world->out);
    bytes_init(&world->shown);
    size_t step = plan->cuts > 0 ? plan->cuts : size;
    for (size_t at = 0; at < size && !world->failed; at += step) {
        bytes_append(&world->held, bytes + at, least(step, size - at));
        work(world, plan);
    }
    world_stage(world)->ended = true;
    if (!world->failed) {
        work(world, plan);
        pass_left(world);
    }
}

static void world_finish(struct world *world) {
    framing_free(world->framing);
    free(world->view.start);
    bytes_finish(&world->held);
    bytes_finish(&world->out);
    bytes_finish(&world->shown);
}

static void check_same(const struct bytes *a, const struct bytes *b) {
    check(a->size == b->size);
    check(memcmp(a->data, b->data, a->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    static const struct length_prefix prefix = {.at = 1, .bytes = 2, .add = 1, .size_max = LENGTH_SIZE_MAX};
    static const struct framer *const framers[] = {&framer_commands, &framer_replies,  &framer_length,
                                                   &framer_postgres, &framer_requests, &framer_responses,
                                                   &framer_lines};
    if (size < 4) {
        return 0;
    }
    struct plan plan = {.framer = framers[input[0] % (sizeof(framers) / sizeof(framers[0]))],
                        .see = input[1] % 2 == 0 ? HOLD_MAX : 1 + input[1] / 2u,
                        .direction = input[2] % 2 == 0 ? FROM_CLIENT : FROM_SERVER,
                        .breaks = input[2] / 2 % 2 != 0};
    plan.parameter = plan.framer == &framer_length ? &prefix : NULL;
    struct world whole;
    struct world pieces;
    world_run(&whole, &plan, input + 4, size - 4);
    plan.cuts = input[3];
    world_run(&pieces, &plan, input + 4, size - 4);
    if (!plan.breaks) {
        check(whole.failed == pieces.failed);
        check_same(&whole.shown, &pieces.shown);
    }
    if (!plan.breaks && !whole.failed) {
        check_same(&whole.out, &pieces.out);
    }
    world_finish(&whole);
    world_finish(&pieces);
    return 0;
}
