#include "script.h"

#include "base/check.h"
#include "engine/chain.h"
#include "world.h"

enum { OVERSLEPT_MS = 40 * 1000, PEEK_MAX = 4096 };

void act_add(struct act *act, enum step_kind kind, enum direction direction, uint64_t amount) {
    check(act->count < STEPS_MAX);
    act->steps[act->count++] = (struct step){.kind = kind, .direction = direction, .amount = amount};
}

static enum direction direction_draw(struct random *random) {
    return random_chance(random, 500) ? FROM_CLIENT : FROM_SERVER;
}

/* --- trouble -------------------------------------------------------------------------------------------------------
 */

static bool has_chance(struct script *script, uint32_t per_mille) {
    return random_chance(&script->random, per_mille);
}

/* One of the filter's hooks, or a task. */
static enum hook hook_draw(struct script *script) {
    enum hook hook = HOOK_TASK;
    uint64_t count = 0;
    for (int other = 0; other < HOOKS; other++) {
        bool likes = filter_has(&script->part->filter, (enum hook)other) && other != HOOK_CLOSED;
        if (likes && random_below(&script->random, ++count) == 0) {
            hook = (enum hook)other;
        }
    }
    return has_chance(script, 150) ? HOOK_TASK : hook;
}

void script_draw_trouble(struct script *script) {
    struct random *random = &script->random;
    const struct trouble_chances *chances = &script->part->troubles;
    struct step *trouble = &script->trouble;
    trouble->direction = direction_draw(random);
    script->is_in_trouble = true; /* there will be none */
    script->trouble_hook = hook_draw(script);
    script->trouble_at = random_scaled(random, 30) - 1;
    if (has_chance(script, chances->fails)) {
        trouble->kind = STEP_FAIL;
    } else if (has_chance(script, chances->runs_over)) {
        trouble->kind = STEP_RUN_OVER;
    } else if (has_chance(script, chances->ends)) {
        trouble->kind = STEP_END;
        trouble->amount = random_below(random, FILTER_RESET + 1);
    } else if (has_chance(script, chances->detaches)) {
        trouble->kind = STEP_DETACH;
    } else if (has_chance(script, chances->overflows)) {
        trouble->kind = STEP_OVERFLOW;
        script->trouble_hook = HOOK_FROM_CLIENT;
    } else if (has_chance(script, chances->closes_write)) {
        trouble->kind = STEP_CLOSE_WRITE;
    } else if (has_chance(script, chances->oversleeps)) {
        trouble->kind = STEP_SLEEP;
        trouble->amount = random_scaled(random, OVERSLEPT_MS);
    } else {
        return;
    }
    script->is_in_trouble = false;
}

/* Last words; and before a failure something that nobody must ever see. */
static void act_add_trouble(struct act *act) {
    struct script *script = act->script;
    const struct step *trouble = &script->trouble;
    bool says = has_chance(script, 500);
    script->is_in_trouble = true;
    if (says && (trouble->kind == STEP_END || trouble->kind == STEP_FAIL || trouble->kind == STEP_RUN_OVER)) {
        act_add(act, STEP_WRITE, has_chance(script, 800) ? FROM_SERVER : FROM_CLIENT,
                random_scaled(&script->random, 2000));
    }
    act_add(act, trouble->kind, trouble->direction, trouble->amount);
    if (trouble->kind == STEP_OVERFLOW && says) {
        act_add(act, STEP_FAIL, FROM_CLIENT, 0);
    }
}

/* --- hooks that run once -------------------------------------------------------------------------------------------
 */

static void act_add_sleep(struct act *act, uint32_t chance) {
    struct script *script = act->script;
    if (has_chance(script, chance)) {
        act_add(act, STEP_SLEEP, FROM_CLIENT, random_below(&script->random, script->part->sleep_ms_max + 1U));
    }
}

static void act_add_write(struct act *act, enum direction direction) {
    struct script *script = act->script;
    if (has_chance(script, script->part->write_chance)) {
        act_add(act, STEP_WRITE, direction, random_scaled(&script->random, script->part->write_max));
    }
}

static void act_add_bounds(struct act *act) {
    struct script *script = act->script;
    struct random *random = &script->random;
    if (!has_chance(script, script->part->bound_chance)) {
        return;
    }
    switch (random_below(random, 3)) {
    case 0:
        act_add(act, STEP_LIMIT, direction_draw(random),
                random_chance(random, 100) ? 0 : 500 + random_scaled(random, 1 << 20));
        break;
    case 1:
        act_add(act, STEP_TIMEOUT, FROM_CLIENT, random_next(random));
        break;
    default:
        act_add(act, STEP_QUOTA, FROM_CLIENT, random_scaled(random, 100 * 1000));
        break;
    }
}

static void act_add_answer(struct act *act) {
    struct script *script = act->script;
    if (has_chance(script, script->part->answer_chance)) {
        act_add(act, STEP_ANSWER, FROM_CLIENT, random_below(&script->random, 12));
    }
}

/* A filter may read from a side in `connected` when no nearer one has a byte hook for what comes from there. */
static bool may_read(const struct script *script, enum direction direction) {
    const struct chain *chain = script->filter_session->chain;
    for (uint32_t i = 0; i < chain->count; i++) {
        bool nearer = direction == FROM_CLIENT ? i < script->index : i > script->index;
        if (nearer && filter_has(chain->sessions[i].filter, direction_hook(direction))) {
            return false;
        }
    }
    return true;
}

static void act_add_read(struct act *act, enum step_kind kind, enum direction direction) {
    struct script *script = act->script;
    uint32_t hold_max = script->part->filter.hold_max;
    if (has_chance(script, script->part->read_chance)) {
        act_add(act, kind, direction, random_scaled(&script->random, hold_max < PEEK_MAX ? hold_max : PEEK_MAX));
    }
}

static void prepare_connected(struct act *act) {
    struct script *script = act->script;
    enum direction direction = direction_draw(&script->random);
    act_add_sleep(act, script->part->sleep_chance);
    act_add_write(act, direction);
    if (may_read(script, direction_opposite(direction))) {
        act_add_read(act, has_chance(script, 700) ? STEP_TAKE : STEP_PEEK, direction_opposite(direction));
    }
    act_add_write(act, direction_opposite(direction));
    if (may_read(script, direction)) {
        act_add_read(act, has_chance(script, 700) ? STEP_TAKE : STEP_PEEK, direction);
    }
}

static void prepare_serve(struct act *act) {
    struct script *script = act->script;
    for (int round = 0; round < 3; round++) {
        act_add_sleep(act, script->part->sleep_chance);
        act_add_read(act, STEP_TAKE, FROM_CLIENT);
        act_add(act, STEP_WRITE, FROM_SERVER, random_scaled(&script->random, script->part->write_max));
    }
}

static void prepare_eof(struct act *act, enum direction direction) {
    struct script *script = act->script;
    act_add_sleep(act, script->part->sleep_chance);
    act_add_write(act, direction);
    act_add_write(act, direction_opposite(direction));
    if (has_chance(script, script->part->keep_chance)) {
        act_add(act, STEP_SPAWN, direction, 0);
        act_add(act, STEP_KEEP_OPEN, direction, 0);
    }
}

static void prepare_task(struct act *act) {
    struct script *script = act->script;
    for (uint64_t left = random_scaled(&script->random, 3); left > 0; left--) {
        act_add_sleep(act, 700);
        act_add(act, STEP_WRITE, direction_draw(&script->random),
                random_scaled(&script->random, script->part->write_max));
    }
    act_add_bounds(act);
}

static void prepare_closed(struct act *act) {
    struct script *script = act->script;
    act_add_sleep(act, script->part->sleep_chance);
    if (has_chance(script, script->part->troubles.oversleeps)) {
        act_add(act, STEP_SLEEP, FROM_CLIENT, random_scaled(&script->random, OVERSLEPT_MS));
    }
    if (has_chance(script, script->part->troubles.fails)) {
        act_add(act, STEP_FAIL, FROM_CLIENT, 0);
    } else if (has_chance(script, script->part->troubles.ends)) {
        act_add(act, STEP_END, FROM_CLIENT, FILTER_CLOSE);
    }
}

void act_prepare(struct act *act) {
    struct script *script = act->script;
    act->count = 0;
    act->at = 0;
    switch (act->hook) {
    case HOOK_ROUTE:
        act_add_sleep(act, script->part->sleep_chance);
        act_add_read(act, STEP_PEEK, FROM_CLIENT);
        act_add_bounds(act);
        break;
    case HOOK_CONNECT_FAILED:
        act_add_sleep(act, script->part->sleep_chance);
        break;
    case HOOK_CONNECTED:
        prepare_connected(act);
        break;
    case HOOK_SERVE:
        prepare_serve(act);
        break;
    case HOOK_CLIENT_EOF:
        prepare_eof(act, FROM_CLIENT);
        break;
    case HOOK_SERVER_EOF:
        prepare_eof(act, FROM_SERVER);
        break;
    case HOOK_TASK:
        prepare_task(act);
        break;
    case HOOK_CLOSED:
        prepare_closed(act);
        return;
    case HOOK_FROM_CLIENT:
    case HOOK_FROM_SERVER:
        return;
    }
    if (act->hook == script->trouble_hook && !script->is_in_trouble) {
        act_add_trouble(act);
    }
    if (act->hook == HOOK_ROUTE || act->hook == HOOK_CONNECT_FAILED) {
        act_add_answer(act);
    }
}

/* --- byte hooks ----------------------------------------------------------------------------------------------------
 */

/* One hand, and what it works on. */
struct work {
    struct act *act;
    struct script *script;
    struct hand *hand;
    struct stage *stage;
    enum direction direction;
};

static struct work work_of(struct act *act) {
    enum direction direction = act->hook == HOOK_FROM_CLIENT ? FROM_CLIENT : FROM_SERVER;
    return (struct work){.act = act,
                         .script = act->script,
                         .hand = &act->script->hands[direction],
                         .stage = &act->script->filter_session->stages[direction],
                         .direction = direction};
}

static void work_show(const struct work *work, uint32_t size) {
    filter_show(work->script->filter_session, work->direction, size);
}

/* A step between two moves. */
static enum move work_pause(const struct work *work) {
    act_add_sleep(work->act, work->script->part->sleep_chance / 4);
    return work->act->count > 0 ? MOVE_STEPS : MOVE_DONE;
}

/* What is left alone passes when the hook returns, unless it has just ended the stream. */
static enum move work_leave_alone(const struct work *work, bool passes) {
    struct hand *hand = work->hand;
    if (!work->script->closes_write[work->direction]) {
        hand->done += work->stage->shown;
        hand->in += work->stage->shown;
        hand->out += passes ? work->stage->shown : 0;
    }
    return MOVE_RETURN;
}

static enum move hand_begin(const struct work *work) {
    struct hand *hand = work->hand;
    struct stage *stage = work->stage;
    bool may_go_on = stage->has_hook && !stage_is_ahead(stage);
    if (may_go_on && stage->shown == 0 && stage->input.bytes > 0 && has_chance(work->script, 500)) {
        work_show(work, 1);
    }
    if (!may_go_on || stage->shown == 0) {
        return MOVE_RETURN;
    }
    hand->segment = segments_next(&hand->segments);
    hand->done = 0;
    hand->phase = HAND_AWAITS;
    work->script->troupe->counters.segments++;
    return MOVE_DONE;
}

/* Not all of the segment came before the end: it is left alone, or needed for ever. */
static enum move hand_rest(const struct work *work, bool needs) {
    struct hand *hand = work->hand;
    bool dropped = needs && work->script->part->filter.strict;
    if (needs) {
        filter_need(work->script->filter_session, work->direction, hand->segment.size);
    }
    hand->phase = HAND_RESTS;
    return work_leave_alone(work, !dropped);
}

static enum move hand_await(const struct work *work) {
    struct hand *hand = work->hand;
    struct stage *stage = work->stage;
    const struct segment *segment = &hand->segment;
    if (segment->whole && stage->shown < segment->size) {
        work_show(work, segment->size);
    }
    if (!segment->whole || stage->shown >= segment->size) {
        hand->phase = HAND_HESITATES;
        return MOVE_DONE;
    }
    if (segment->waits) {
        return stage->ended ? hand_rest(work, false) : MOVE_WAIT;
    }
    if (stage->told) {
        return hand_rest(work, work->script->part->filter.strict || has_chance(work->script, 500));
    }
    filter_need(work->script->filter_session, work->direction, segment->size);
    return MOVE_RETURN;
}

static enum move hand_hesitate(const struct work *work) {
    struct script *script = work->script;
    struct act *act = work->act;
    struct hand *hand = work->hand;
    hand->phase = HAND_PUTS;
    act_add_sleep(act, script->part->sleep_chance / 4);
    if (has_chance(script, script->part->write_chance / 4)) {
        act_add_write(act, direction_draw(&script->random));
    }
    if (has_chance(script, script->part->write_chance / 16)) {
        act_add(act, STEP_WRITE_ELSEWHERE, direction_draw(&script->random), random_scaled(&script->random, 200));
    }
    bool is_near = act->hook == script->trouble_hook && hand->number >= script->trouble_at;
    bool can_overflow = !work->stage->told && work->stage->has_hook;
    if (is_near && !script->is_in_trouble && (script->trouble.kind != STEP_OVERFLOW || can_overflow)) {
        script->trouble.direction = script->trouble.kind == STEP_OVERFLOW ? work->direction : script->trouble.direction;
        act_add_trouble(act);
    }
    return act->count > 0 ? MOVE_STEPS : MOVE_DONE;
}

static void work_put(const struct work *work) {
    const struct segment *segment = &work->hand->segment;
    const char *text = cast_text(work->script->troupe->cast, segment->put_from);
    world_trace(work->script->troupe->world, "script puts %u", segment->put_size);
    check(filter_put(work->script->filter_session, work->direction, text, segment->put_size));
    work->hand->out += segment->put_size;
}

static void work_move(const struct work *work, uint32_t size) {
    struct hand *hand = work->hand;
    bool passes = segment_passes(&hand->segment);
    world_trace(work->script->troupe->world, "script %s %u of %u", passes ? "passes" : "drops", size,
                work->stage->shown);
    if (passes) {
        filter_pass(work->script->filter_session, work->direction, size);
    } else {
        filter_drop(work->script->filter_session, work->direction, size);
    }
    hand->done += size;
    hand->in += size;
    hand->out += passes ? size : 0;
}

static enum move hand_put(const struct work *work) {
    struct hand *hand = work->hand;
    const struct segment *segment = &hand->segment;
    if (work->stage->need > work->script->part->filter.hold_max) {
        return MOVE_RETURN; /* in trouble */
    }
    hand->phase = HAND_MOVES;
    if (!segment_puts_before(segment)) {
        return MOVE_DONE;
    }
    bool in_one_go = segment->action == SEGMENT_IS_REPLACED && segment->ahead && has_chance(work->script, 300);
    if (in_one_go) {
        work_move(work, segment->size); /* what is dropped has no place: put where it was */
    }
    work_put(work);
    return work_pause(work);
}

static enum move hand_move_pieces(const struct work *work) {
    struct hand *hand = work->hand;
    struct stage *stage = work->stage;
    uint32_t left = hand->segment.size - hand->done;
    if (stage->shown == 0 && has_chance(work->script, 300)) {
        work_show(work, 1);
    }
    if (stage->shown == 0) {
        return MOVE_RETURN;
    }
    if (hand->done == 0 && stage->has_hook && has_chance(work->script, 500)) {
        filter_message(work->script->filter_session, work->direction, true);
    }
    if (segment_passes(&hand->segment) && left >= stage->shown && has_chance(work->script, 300)) {
        return work_leave_alone(work, true);
    }
    uint32_t piece = has_chance(work->script, 500) ? left : (uint32_t)random_scaled(&work->script->random, left);
    work_move(work, piece < stage->shown ? piece : stage->shown);
    return work_pause(work);
}

static enum move hand_move_on(const struct work *work) {
    struct hand *hand = work->hand;
    if (hand->done == hand->segment.size) {
        hand->phase = HAND_PUTS_BEHIND;
        return MOVE_DONE;
    }
    if (!hand->segment.ahead) {
        return hand_move_pieces(work);
    }
    work_move(work, hand->segment.size);
    return work_pause(work);
}

static enum move hand_end(const struct work *work) {
    struct hand *hand = work->hand;
    if (segment_puts_behind(&hand->segment)) {
        work_put(work);
    }
    if (work->stage->in_message) {
        filter_message(work->script->filter_session, work->direction, false);
    }
    hand->phase = HAND_BETWEEN;
    hand->number++;
    return work_pause(work);
}

enum move hand_move(struct act *act) {
    const struct work work = work_of(act);
    switch (work.hand->phase) {
    case HAND_BETWEEN:
        return hand_begin(&work);
    case HAND_AWAITS:
        return hand_await(&work);
    case HAND_HESITATES:
        return hand_hesitate(&work);
    case HAND_PUTS:
        return hand_put(&work);
    case HAND_MOVES:
        return hand_move_on(&work);
    case HAND_PUTS_BEHIND:
        return hand_end(&work);
    case HAND_RESTS:
        return MOVE_RETURN;
    }
    return MOVE_RETURN;
}
