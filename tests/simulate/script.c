#include "script.h"

#include "base/check.h"
#include "engine/chain.h"
#include "engine/session.h"
#include "file.h"
#include "world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void act_refuse(const struct act *act, const char *what) {
    world_violation("session %" PRIu64 ", filter %s, %s: %s", act->script->passage->id, act->script->part->filter.name,
                    hook_name(act->hook), what);
}

/* --- places in the stream ------------------------------------------------------------------------------------------
 */

/* What went past the stages when no filter wanted to see it. */
static uint64_t bytes_unseen(const struct script *script, enum direction direction) {
    const struct passage *passage = script->passage;
    struct chain *chain = script_chain(script);
    const struct flow *flow = direction == FROM_CLIENT ? &chain->session->from_client : &chain->session->from_server;
    const struct stage *first = &chain->sessions[direction == FROM_CLIENT ? 0 : chain->count - 1].stages[direction];
    if (passage->refiltered[direction]) {
        return passage->unseen[direction];
    }
    return !chain->is_filtered[direction] || first->passed_end ? flow->bytes - first->offset : 0;
}

static bool is_first(const struct script *script, enum direction direction) {
    return script->index == (direction == FROM_CLIENT ? 0 : script->passage->count - 1);
}

/* What came through the filter's stage so far, as nodes count. */
static uint64_t script_in(const struct script *script, enum direction direction) {
    uint64_t skipped = is_first(script, direction) ? script->passage->courses[direction].skipped : 0;
    return script_stage(script, direction)->offset + bytes_unseen(script, direction) - skipped;
}

/* How much was decided to go out behind it. */
static uint64_t script_out(const struct script *script, enum direction direction) {
    const struct node *node = passage_node(script->passage, direction, script->index);
    uint64_t in = script_in(script, direction);
    if (!node->transforms) {
        return in;
    }
    if (node->until_in == UINT64_MAX) {
        return script->hands[direction].out;
    }
    return node->until_out + (in > node->until_in ? in - node->until_in : 0);
}

uint64_t script_place(const struct script *script, enum direction direction) {
    const struct hand *hand = &script->hands[direction];
    bool in_message = script_stage(script, direction)->in_message && segment_passes(&hand->segment);
    return script_out(script, direction) + (in_message ? hand->segment.size - hand->done : 0);
}

/* Nothing comes out of the filter any more but what was decided. */
static void script_end_stream(struct script *script, enum direction direction) {
    struct passage *passage = script->passage;
    struct node *node = passage_node(passage, direction, script->index);
    if (script_stage(script, direction)->passed_end) {
        return;
    }
    node_end(node, script_in(script, direction), script_out(script, direction));
    passage->unseen[direction] = bytes_unseen(script, direction);
    passage->refiltered[direction] = true;
}

void script_leave(struct script *script, enum direction direction) {
    struct node *node = passage_node(script->passage, direction, script->index);
    if (node->transforms) {
        node_leave(node, script->hands[direction].in, script->hands[direction].out);
    }
}

void script_stop(const struct filter_session *filter_session) {
    struct script *script = filter_session->script;
    for (int direction = FROM_CLIENT; script != NULL && direction <= FROM_SERVER; direction++) {
        if (filter_session->gone) {
            script_leave(script, (enum direction)direction);
        }
        script_end_stream(script, (enum direction)direction);
    }
}

/* --- entries -------------------------------------------------------------------------------------------------------
 */

void script_enter_act(struct act *act) {
    struct script *script = act->script;
    act->state = ACT_RUNS;
    script->troupe->written_count = 0;
    script->passage->active_ns = script->troupe->world->now_ns;
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        script->entered_in[direction] = script->hands[direction].in;
        script->entered_out[direction] = script->hands[direction].out;
        script->wrote[direction] = 0;
        script->closes_write[direction] = false;
    }
}

/* What it did since it was entered is not to be seen by anybody. */
static void entry_roll_back(struct script *script) {
    struct troupe *troupe = script->troupe;
    bool did = troupe->written_count > 0;
    while (troupe->written_count > 0) {
        node_forget_insert(troupe->written[--troupe->written_count]);
    }
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        did = did || script->hands[direction].out > script->entered_out[direction];
        script->hands[direction].in = script->entered_in[direction];
        script->hands[direction].out = script->entered_out[direction];
        script->closes_write[direction] = false;
    }
    troupe->counters.rolled_back += did ? 1 : 0;
}

static bool script_serves(const struct script *script) {
    return script_chain(script)->phase == PHASE_SERVE && script_chain(script)->turn == script->index;
}

static void entry_failed(struct act *act, enum hook_outcome outcome) {
    struct script *script = act->script;
    struct passage *passage = script->passage;
    const struct filter *filter = &script->part->filter;
    entry_roll_back(script);
    if (act->hook == HOOK_CLOSED || (act->hook == HOOK_TASK && outcome == HOOK_FAILED)) {
        return;
    }
    bool overflowed = script->filter_session->overflowed;
    bool must_close = outcome == HOOK_OVER || (overflowed && filter->strict) || script_serves(script);
    if (filter->on_error == ON_ERROR_BYPASS && !must_close) {
        script_leave(script, FROM_CLIENT);
        script_leave(script, FROM_SERVER);
        return;
    }
    passage->has_run_over = passage->has_run_over || outcome == HOOK_OVER;
    passage->has_overflowed = passage->has_overflowed || (outcome == HOOK_FAILED && overflowed);
    passage->has_failed = passage->has_failed || (outcome == HOOK_FAILED && !overflowed);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct node *node = passage_node(passage, (enum direction)direction, script->index);
        if (node->transforms && node->until_in == UINT64_MAX) {
            node_end(node, script->hands[direction].in, script->hands[direction].out);
        }
    }
}

static void entry_end_streams(struct act *act, enum hook_outcome outcome) {
    struct script *script = act->script;
    struct passage *passage = script->passage;
    bool returned = act->hook == HOOK_SERVE && outcome == HOOK_RETURNED;
    bool ends = (outcome == HOOK_ENDS || returned) && act->hook != HOOK_CLOSED;
    bool closes = returned || script->filter_session->close_how == FILTER_CLOSE;
    bool served = ends && closes && script_serves(script);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        if (ends || script->closes_write[direction]) {
            script_end_stream(script, (enum direction)direction);
            passage->has_closed_write = passage->has_closed_write || !ends;
        }
        uint64_t put = script->hands[direction].out - script->entered_out[direction];
        uint64_t wrote = script->wrote[direction] + put;
        passage->wrote_most[direction] =
            wrote > passage->wrote_most[direction] ? wrote : passage->wrote_most[direction];
    }
    passage->has_served = passage->has_served || served;
    passage->has_ended = passage->has_ended || (ends && !served);
    passage->ended_ns = ends && passage->ended_ns == 0 ? script->troupe->world->now_ns : passage->ended_ns;
    passage->has_reset = passage->has_reset || (ends && !served && script->filter_session->close_how == FILTER_RESET);
}

/* It detached itself, or needs more than it may. */
static void byte_hook_returns(struct act *act) {
    struct script *script = act->script;
    const struct filter *filter = &script->part->filter;
    const struct stage *stage = script_stage(script, hook_direction(act->hook));
    if (!stage->has_hook) {
        enum direction direction = hook_direction(act->hook);
        script_leave(script, direction);
        if (stage->shown > 0) { /* what it leaves alone passes before what it wrote behind a message */
            node_put_off(passage_node(script->passage, direction, script->index),
                         script->hands[direction].out + stage->shown, stage->later.bytes);
        }
    } else if (stage->need > filter->hold_max && !stage->told) {
        script_leave(script, FROM_CLIENT);
        script_leave(script, FROM_SERVER);
        script->passage->has_overflowed = filter->on_error == ON_ERROR_CLOSE || filter->strict;
    }
}

void script_settle(struct act *act, enum hook_outcome outcome) {
    struct script *script = act->script;
    if (outcome == HOOK_FAILED || outcome == HOOK_OVER) {
        entry_failed(act, outcome);
    } else {
        entry_end_streams(act, outcome);
    }
    act->state = outcome == HOOK_WAITS ? ACT_WAITS : ACT_IDLE;
    script->troupe->counters.waited += outcome == HOOK_WAITS ? 1 : 0;
    bool is_in_time =
        outcome != HOOK_WAITS && script_chain(script)->phase != PHASE_RELAY; /* else another has ended it */
    if (act->hook == HOOK_CONNECTED && is_in_time) {
        script->passage->greeted_ns = script->troupe->world->now_ns;
    } else if (act->hook == HOOK_ROUTE && is_in_time) {
        script->passage->routed_ns = script->troupe->world->now_ns;
    }
    if (is_byte_hook(act->hook) && outcome == HOOK_RETURNED) {
        byte_hook_returns(act);
    }
    world_trace(script->troupe->world, "script session %" PRIu64 " %s %s: %d", script->passage->id,
                script->part->filter.name, hook_name(act->hook), (int)outcome);
}

/* --- what the engine calls -----------------------------------------------------------------------------------------
 */

static struct passage *passage_of(struct troupe *troupe, struct filter_session *filter_session) {
    struct session *session = filter_session->chain->session;
    struct passage *passage = troupe_find(troupe, session->id);
    if (passage == NULL) {
        passage = passage_create(troupe->cast, session, filter_session->chain->count);
        list_prepend(&troupe->passages, &passage->link);
        passage_meet(passage, file_get(troupe->world, session->client_end.fd, __func__)->stream);
    }
    return passage;
}

static void script_init(struct script *script, struct part *part, struct filter_session *filter_session) {
    struct troupe *troupe = part->troupe;
    *script = (struct script){.troupe = troupe, .part = part, .filter_session = filter_session};
    script->index = (uint32_t)(filter_session - filter_session->chain->sessions);
    script->passage = passage_of(troupe, filter_session);
    link_init(&script->link);
    random_init(&script->random, troupe->world->options.seed * 1000003 + script->passage->id * 7 + script->index);
    for (int hook = 0; hook < HOOKS; hook++) {
        act_init(&script->acts[hook], script, (enum hook)hook);
    }
    for (int i = 0; i < SCRIPT_TASKS_MAX; i++) {
        act_init(&script->tasks[i], script, HOOK_TASK);
    }
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        act_init(&script->closers[direction], script, HOOK_TASK);
        if (filter_has(&part->filter, direction_hook((enum direction)direction))) {
            uint64_t seed = random_next(&script->random);
            segments_init(&script->hands[direction].segments, &part->segments[direction], seed);
            node_transforms(passage_node(script->passage, (enum direction)direction, script->index),
                            &part->segments[direction], seed, part->filter.strict);
        }
    }
}

static void script_start_tasks(struct script *script) {
    for (int i = 0; i < SCRIPT_TASKS_MAX; i++) {
        struct act *task = &script->tasks[i];
        if (random_chance(&script->random, script->part->task_chance)) {
            act_prepare(task);
            task->state = ACT_WAITS;
            act_sleep(task, random_scaled(&script->random, script->part->sleep_ms_max));
        }
    }
}

static bool script_open(struct filter_session *filter_session) {
    struct part *part = container_of(filter_session->filter, struct part, filter);
    struct script *script = malloc(sizeof(*script));
    check(script != NULL);
    script_init(script, part, filter_session);
    if (random_chance(&script->random, part->troubles.cannot_open)) {
        script->passage->has_failed = true;
        free(script);
        return false;
    }
    part->troupe->counters.opened++;
    if (random_chance(&script->random, part->troubles.is_off)) {
        filter_session->gone = true;
        script_leave(script, FROM_CLIENT);
        script_leave(script, FROM_SERVER);
        free(script);
        return true;
    }
    filter_session->script = script;
    list_append(&part->troupe->scripts, &script->link);
    script_draw_trouble(script);
    script_start_tasks(script);
    return true;
}

/* Each hook in its time. */
static void refuse_out_of_turn(const struct act *act) {
    const struct script *script = act->script;
    const struct chain *chain = script_chain(script);
    bool relays = chain->phase == PHASE_RELAY;
    switch (act->hook) {
    case HOOK_ROUTE:
    case HOOK_CONNECT_FAILED:
    case HOOK_CONNECTED:
    case HOOK_SERVE:
        if (relays) {
            act_refuse(act, "it comes too late");
        }
        break;
    case HOOK_FROM_CLIENT:
    case HOOK_FROM_SERVER:
    case HOOK_CLIENT_EOF:
    case HOOK_SERVER_EOF:
        if (!relays && chain->phase != PHASE_SERVE) {
            act_refuse(act, "it comes too early");
        }
        break;
    case HOOK_CLOSED:
    case HOOK_TASK:
        break;
    }
    if (script->closed_ns != 0 || chain->session->owner.closing != (act->hook == HOOK_CLOSED)) {
        act_refuse(act, "`closed` is not the last");
    }
}

static void refuse_wrong_view(struct act *act, enum direction direction) {
    struct script *script = act->script;
    const struct stage *stage = script_stage(script, direction);
    if (script->is_told[direction] || stage->passed_end) {
        act_refuse(act, "it comes after the end");
    }
    if (stage->shown == 0 || stage->shown > stage->input.first->size || stage->shown > stage->input.bytes) {
        act_refuse(act, "its view is wrong");
    }
    if (stage->told && (!stage->ended || stage->shown < stage->input.bytes)) {
        act_refuse(act, "its last view is not all of the rest");
    }
    uint64_t at = script_in(script, direction);
    if (at != script->hands[direction].in) {
        world_violation(
            "session %" PRIu64 ", filter %s, %s: the view begins at %" PRIu64 ", but it had come to %" PRIu64,
            script->passage->id, script->part->filter.name, hook_name(act->hook), at, script->hands[direction].in);
    }
}

static void refuse_wrong_end(struct act *act, enum direction direction) {
    struct script *script = act->script;
    const struct stage *stage = script_stage(script, direction);
    if (script->is_told[direction] || !stage->ended || stage->input.bytes > 0 || stage->later.bytes > 0) {
        act_refuse(act, "the end is not there, or was told before");
    }
    script->is_told[direction] = true;
}

static void refuse_wrong_hook(struct act *act) {
    if (!filter_has(&act->script->part->filter, act->hook) || act->state != ACT_IDLE) {
        act_refuse(act, "it runs already, or there is no such hook");
    }
    refuse_out_of_turn(act);
    switch (act->hook) {
    case HOOK_FROM_CLIENT:
        refuse_wrong_view(act, FROM_CLIENT);
        break;
    case HOOK_FROM_SERVER:
        refuse_wrong_view(act, FROM_SERVER);
        break;
    case HOOK_CLIENT_EOF:
        refuse_wrong_end(act, FROM_CLIENT);
        break;
    case HOOK_SERVER_EOF:
        refuse_wrong_end(act, FROM_SERVER);
        break;
    case HOOK_ROUTE:
    case HOOK_CONNECT_FAILED:
    case HOOK_CONNECTED:
    case HOOK_SERVE:
    case HOOK_CLOSED:
    case HOOK_TASK:
        break;
    }
}

static enum hook_outcome script_run(struct filter_session *filter_session, enum hook hook) {
    struct script *script = filter_session->script;
    struct act *act = &script->acts[hook];
    troupe_meet_server(script->troupe, script->passage);
    refuse_wrong_hook(act);
    script->troupe->counters.begun[hook]++;
    if (hook == HOOK_CLOSED) {
        script->closed_ns = script->troupe->world->now_ns;
    } else if (hook == HOOK_CONNECT_FAILED) {
        passage_note_question(script->passage);
    }
    act_prepare(act);
    script_enter_act(act);
    enum hook_outcome outcome = act_go_on(act);
    script_settle(act, outcome);
    return outcome;
}

static void refuse_missing_closed(const struct script *script) {
    const struct act *act = &script->acts[HOOK_CLOSED];
    const struct filter_session *filter_session = script->filter_session;
    if (filter_session->gone) {
        return;
    }
    if (filter_has(&script->part->filter, HOOK_CLOSED) && script->closed_ns == 0) {
        act_refuse(act, "it never ran");
    }
    uint64_t waited_ns = script->troupe->world->now_ns - script->closed_ns;
    const struct world_options *options = &script->troupe->world->options;
    uint64_t slack_ns = ((uint64_t)20 * 1000 + (uint64_t)10 * options->delay_us_max) * 1000;
    uint64_t patience_ns = (uint64_t)5 * 1000 * 1000 * 1000;
    if (act->state == ACT_WAITS && waited_ns + slack_ns < patience_ns && script->index == 0) {
        act_refuse(act, "it was not waited for");
    }
    if (script->closed_ns != 0 && waited_ns > slack_ns && !script->passage->client->engine->closed) {
        act_refuse(act, "the client had to wait for it");
    }
    if (script->closed_ns != 0 && waited_ns > PASSAGE_FILTERS_MAX * (patience_ns + slack_ns)) {
        act_refuse(act, "it was waited for too long");
    }
}

static void script_close(struct filter_session *filter_session) {
    struct script *script = filter_session->script;
    struct troupe *troupe = container_of(filter_session->filter, struct part, filter)->troupe;
    troupe->counters.closed++;
    if (script == NULL) {
        return; /* it was switched off when the session began */
    }
    refuse_missing_closed(script);
    if (filter_session->gone) {
        troupe->counters.bypassed++;
        script_leave(script, FROM_CLIENT);
        script_leave(script, FROM_SERVER);
    }
    for (int hook = 0; hook < HOOKS; hook++) {
        act_stop(&script->acts[hook]);
    }
    for (int i = 0; i < SCRIPT_TASKS_MAX; i++) {
        act_stop(&script->tasks[i]);
    }
    act_stop(&script->closers[FROM_CLIENT]);
    act_stop(&script->closers[FROM_SERVER]);
    link_remove(&script->link);
    filter_session->script = NULL;
    free(script);
}

/* What it held was its wish; that the session ends is for the judge. */
static void script_tell_hold(struct filter_session *filter_session, enum direction direction, const char *why) {
    check(filter_session->is_open);
    check(!filter_session->chain->session->engine->entry.open);
    check(filter_has(filter_session->filter, direction_hook(direction)) && why[0] != 0);
}

const struct filter_calls script_calls = {
    .open = script_open, .run = script_run, .close = script_close, .tell_hold = script_tell_hold};
