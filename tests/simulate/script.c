#include "script.h"

#include "base/check.h"
#include "engine/chain.h"
#include "engine/session.h"
#include "file.h"
#include "world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void act_fired(struct timer *timer);
static void act_satisfied(struct stage_wait *wait);

static struct chain *chain_of(const struct script *script) {
    return script->filter_session->chain;
}

static struct stage *stage_of(const struct script *script, enum direction direction) {
    return &script->filter_session->stages[direction];
}

static _Noreturn void refuse(const struct act *act, const char *what) {
    world_violation("session %" PRIu64 ", filter %s, %s: %s", act->script->passage->id, act->script->part->filter.name,
                    hook_name(act->hook), what);
}

/* --- troupe --------------------------------------------------------------------------------------------------------
 */

void troupe_init(struct troupe *troupe, struct world *world, struct cast *cast) {
    *troupe = (struct troupe){.world = world, .cast = cast};
    list_init(&troupe->scripts);
    list_init(&troupe->passages);
    list_init(&troupe->ready);
}

void troupe_finish(struct troupe *troupe) {
    if (!list_is_empty(&troupe->scripts) || troupe->counters.opened != troupe->counters.closed) {
        world_violation("%" PRIu64 " filter sessions were opened and %" PRIu64 " closed", troupe->counters.opened,
                        troupe->counters.closed);
    }
    for (struct link *link = list_pop(&troupe->passages); link != NULL; link = list_pop(&troupe->passages)) {
        passage_destroy(container_of(link, struct passage, link));
    }
}

struct passage *troupe_find(struct troupe *troupe, uint64_t id) {
    list_for_each (link, &troupe->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        if (passage->id == id) {
            return passage;
        }
    }
    return NULL;
}

void troupe_add_counters(const struct troupe *troupe, struct troupe_counters *sum) {
    const struct troupe_counters *counters = &troupe->counters;
    sum->opened += counters->opened;
    sum->closed += counters->closed;
    sum->waited += counters->waited;
    sum->rolled_back += counters->rolled_back;
    sum->bypassed += counters->bypassed;
    sum->segments += counters->segments;
    for (int hook = 0; hook <= HOOKS; hook++) {
        sum->begun[hook] += counters->begun[hook];
    }
}

/* --- places in the stream ------------------------------------------------------------------------------------------
 */

/* What went past the stages when no filter wanted to see it. */
static uint64_t bytes_unseen(const struct script *script, enum direction direction) {
    const struct passage *passage = script->passage;
    struct chain *chain = chain_of(script);
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

uint64_t script_in(const struct script *script, enum direction direction) {
    uint64_t skipped = is_first(script, direction) ? script->passage->courses[direction].skipped : 0;
    return stage_of(script, direction)->offset + bytes_unseen(script, direction) - skipped;
}

uint64_t script_out(const struct script *script, enum direction direction) {
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

/* Nothing comes out of the filter any more but what was decided. */
static void script_end_stream(struct script *script, enum direction direction) {
    struct passage *passage = script->passage;
    struct node *node = passage_node(passage, direction, script->index);
    if (stage_of(script, direction)->passed_end) {
        return;
    }
    node_end(node, script_in(script, direction), script_out(script, direction));
    passage->unseen[direction] = bytes_unseen(script, direction);
    passage->refiltered[direction] = true;
}

/* The filter sees no bytes any more. */
static void script_leave(struct script *script, enum direction direction) {
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

static void entry_begin(struct act *act) {
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
    return chain_of(script)->phase == PHASE_SERVE && chain_of(script)->turn == script->index;
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

static bool is_byte_hook(enum hook hook) {
    return hook == HOOK_FROM_CLIENT || hook == HOOK_FROM_SERVER;
}

static enum direction hook_direction(enum hook hook) {
    return hook == HOOK_FROM_CLIENT ? FROM_CLIENT : FROM_SERVER;
}

/* It detached itself, or needs more than it may. */
static void byte_hook_returns(struct act *act) {
    struct script *script = act->script;
    const struct filter *filter = &script->part->filter;
    const struct stage *stage = stage_of(script, hook_direction(act->hook));
    if (!stage->has_hook) {
        script_leave(script, hook_direction(act->hook));
    } else if (stage->need > filter->hold_max && !stage->told) {
        script_leave(script, FROM_CLIENT);
        script_leave(script, FROM_SERVER);
        script->passage->has_overflowed = filter->on_error == ON_ERROR_CLOSE || filter->strict;
    }
}

/* Before the engine learns of the outcome: it then sends what was written, or gives it up. */
static void entry_end(struct act *act, enum hook_outcome outcome) {
    struct script *script = act->script;
    if (outcome == HOOK_FAILED || outcome == HOOK_OVER) {
        entry_failed(act, outcome);
    } else {
        entry_end_streams(act, outcome);
    }
    act->state = outcome == HOOK_WAITS ? ACT_WAITS : ACT_IDLE;
    script->troupe->counters.waited += outcome == HOOK_WAITS ? 1 : 0;
    bool is_in_time = outcome != HOOK_WAITS && chain_of(script)->phase != PHASE_RELAY; /* else another has ended it */
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

/* --- steps ---------------------------------------------------------------------------------------------------------
 */

static bool act_sleep(struct act *act, uint64_t wait_ms) {
    struct troupe *troupe = act->script->troupe;
    if (wait_ms == 0) {
        list_append(&troupe->ready, &act->ready);
    } else {
        wheel_set(&troupe->engine->wheel, &act->timer, engine_now_ms(troupe->engine) + wait_ms + 1);
    }
    return false;
}

static bool act_wait(struct act *act, struct stage *stage, uint32_t bytes) {
    act->wait.for_room = bytes == 0;
    act->wait.bytes = bytes;
    list_append(&stage->waits, &act->wait.link);
    return false;
}

/* What lies in a source is what its actor said; or, where a filter serves, what the filters before let through. */
static void compare_source(struct act *act, enum direction direction, struct stage *stage, uint32_t size, bool take) {
    struct script *script = act->script;
    struct passage *passage = script->passage;
    char *expected = malloc(size);
    check(expected != NULL);
    size_t known = size;
    if (chain_of(script)->phase == PHASE_SERVE) {
        known = take ? passage_come(passage, direction, script->index, expected, size) : 0;
    } else {
        const struct actor *source = direction == FROM_CLIENT ? passage->client : passage->server;
        actor_says(source, passage->courses[direction].skipped, expected, size);
    }
    if ((take && known < size) || memcmp(expected, stage_bytes(stage), known) != 0) {
        passage_explain(passage, direction);
        refuse(act, "the bytes before it are not those that came");
    }
    free(expected);
}

static bool step_read(struct act *act, const struct step *step) {
    struct script *script = act->script;
    struct filter_session *filter_session = script->filter_session;
    struct buffers *buffers = &script->troupe->engine->buffers;
    struct stage *stage = filter_source(filter_session, step->direction);
    uint32_t wanted = (uint32_t)step->amount;
    bool takes = step->kind == STEP_TAKE;
    bool relays = chain_of(script)->phase == PHASE_RELAY;
    if (relays || (stage->input.bytes < wanted && stage->ended)) {
        act->at++;
        return true;
    }
    if (stage->input.bytes < wanted) {
        filter_listen(filter_session, step->direction);
        return act_wait(act, stage, wanted);
    }
    stage_show(stage, buffers, wanted);
    check(stage->shown >= wanted);
    compare_source(act, step->direction, stage, wanted, takes);
    if (takes) {
        stage_drop(stage, buffers, wanted);
        bool serves = chain_of(script)->phase == PHASE_SERVE;
        script->passage->courses[step->direction].skipped += serves ? 0 : wanted;
    }
    act->at++;
    return true;
}

static void script_write(struct script *by, struct script *to, enum direction direction, uint32_t size) {
    struct troupe *troupe = by->troupe;
    struct node *node = passage_node(to->passage, direction, to->index);
    uint64_t from = random_below(&by->random, 1 << 16);
    bool is_void = stage_of(to, direction)->passed_end || chain_of(to)->session->owner.closing;
    check(filter_write(to->filter_session, direction, cast_text(troupe->cast, from), size));
    if (!is_void) {
        node_insert(node, script_out(to, direction), from, size);
        troupe->written[troupe->written_count++] = node;
        to->wrote[direction] += to == by ? size : 0;
        to->passage->wrote_most[direction] += to == by ? 0 : size;
    }
}

/* What lies behind the filter may be full until the relay begins, since no byte hook is entered before: without a
 * handshake timeout `connected` would wait for ever. */
static bool may_wait_for_room(const struct act *act) {
    return act->hook != HOOK_CONNECTED || act->script->passage->timeouts.handshake_ms > 0;
}

static bool step_write(struct act *act, const struct step *step) {
    struct script *script = act->script;
    struct stage *stage = stage_of(script, step->direction);
    bool has_room = filter_has_room(script->filter_session, step->direction) || stage->passed_end;
    if (!has_room && may_wait_for_room(act)) {
        return act_wait(act, stage, 0);
    }
    if (has_room && script->troupe->written_count < WRITES_MAX) {
        script_write(script, script, step->direction, (uint32_t)step->amount);
    }
    act->at++;
    return true;
}

/* Whose stream a script may write to: it is relayed, and the filter is there. */
static bool script_is_open(const struct script *script) {
    const struct chain *chain = chain_of(script);
    return script->filter_session->is_open && !script->filter_session->gone && !chain->session->owner.closing &&
           chain->phase == PHASE_RELAY;
}

static void step_write_elsewhere(struct act *act, const struct step *step) {
    struct troupe *troupe = act->script->troupe;
    struct script *other = NULL;
    uint64_t count = 0;
    list_for_each (link, &troupe->scripts) {
        struct script *script = container_of(link, struct script, link);
        if (script_is_open(script) && random_below(&act->script->random, ++count) == 0) {
            other = script;
        }
    }
    if (other != NULL && troupe->written_count < WRITES_MAX &&
        filter_has_room(other->filter_session, step->direction)) {
        script_write(act->script, other, step->direction, (uint32_t)step->amount);
    }
}

/* False: it is neither a name nor an address, as the script wanted it. */
static bool step_answer(struct act *act, uint64_t choice) {
    struct script *script = act->script;
    struct troupe *troupe = script->troupe;
    struct random *random = &script->random;
    struct error error;
    char text[ADDRESS_TEXT_MAX];
    const char *where = text;
    if (choice < 6) {
        where = troupe->names[random_below(random, troupe->names_count)];
    } else if (choice < 10) {
        address_format(&troupe->addresses[random_below(random, troupe->addresses_count)], text, sizeof(text));
    } else if (choice < 11) {
        where = "127.0.0.1:7";
    } else {
        where = "nowhere to be found";
    }
    bool has_key = random_chance(random, 500);
    uint64_t key = random_below(random, 10);
    bool answered = filter_answer(script->filter_session, where, strlen(where), has_key ? (const char *)&key : NULL,
                                  has_key ? sizeof(key) : 0, &error);
    if (answered && choice >= 11) {
        refuse(act, "its answer is nonsense, and was taken");
    }
    script->passage->was_asked_again = script->passage->was_asked_again || act->hook == HOOK_CONNECT_FAILED;
    return answered;
}

static void quota_passed(struct filter_session *filter_session) {
    struct script *script = filter_session->script;
    const struct session *session = filter_session->chain->session;
    if (script->quota == 0 || session->from_client.bytes + session->from_server.bytes < script->quota) {
        world_violation("session %" PRIu64 ": told of a quota of %" PRIu64 " that was not passed, or told before",
                        script->passage->id, script->quota);
    }
    script->quota = 0;
}

/* Later than any other deadline does it end the session. */
static void step_timeout(struct script *script, uint64_t choice) {
    struct random *random = &script->random;
    struct config_timeouts *timeouts = &script->passage->timeouts;
    enum filter_timeout timeout = (enum filter_timeout)(choice % (TIMEOUT_MAX_LIFETIME + 1));
    uint64_t wait_ms = random_chance(random, 100) ? 0 : 50 + random_scaled(random, 100 * 1000);
    check(filter_set_timeout(script->filter_session, timeout, wait_ms));
    script->passage->timeouts_set_ns = script->troupe->world->now_ns;
    uint64_t *const all[] = {[TIMEOUT_CONNECT] = &timeouts->connect_ms,
                             [TIMEOUT_IDLE] = &timeouts->idle_ms,
                             [TIMEOUT_HALF_CLOSE] = &timeouts->half_close_ms,
                             [TIMEOUT_SEND_STALL] = &timeouts->send_stall_ms,
                             [TIMEOUT_MAX_LIFETIME] = &timeouts->max_lifetime_ms};
    *all[timeout] = wait_ms;
}

/* What needs no waiting. */
static void step_set(struct act *act, const struct step *step) {
    struct script *script = act->script;
    struct filter_session *filter_session = script->filter_session;
    switch (step->kind) {
    case STEP_WRITE_ELSEWHERE:
        step_write_elsewhere(act, step);
        break;
    case STEP_LIMIT:
        check(filter_set_limit(filter_session, step->direction, step->amount));
        passage_note_limit(script->passage, step->direction, step->amount);
        break;
    case STEP_TIMEOUT:
        step_timeout(script, step->amount);
        break;
    case STEP_QUOTA:
        script->quota = step->amount;
        check(filter_set_quota(filter_session, step->amount, quota_passed));
        break;
    case STEP_KEEP_OPEN:
        filter_keep_open(filter_session);
        script->passage->has_kept_open = true;
        break;
    case STEP_CLOSE_WRITE:
        filter_close_write(filter_session, step->direction);
        script->closes_write[step->direction] = true;
        break;
    case STEP_DETACH:
        filter_detach(filter_session, step->direction);
        if (script->acts[direction_hook(step->direction)].state == ACT_IDLE) {
            script_leave(script, step->direction);
        }
        break;
    case STEP_OVERFLOW:
        filter_need(filter_session, step->direction, script->part->filter.hold_max + 1);
        break;
    case STEP_SLEEP:
    case STEP_PEEK:
    case STEP_TAKE:
    case STEP_WRITE:
    case STEP_SPAWN:
    case STEP_ANSWER:
    case STEP_END:
    case STEP_FAIL:
    case STEP_RUN_OVER:
        break;
    }
}

static void script_spawn_closer(struct script *script, enum direction direction) {
    struct act *closer = &script->closers[direction];
    check(closer->state == ACT_IDLE);
    act_add(closer, STEP_SLEEP, direction, 1 + random_below(&script->random, 30 * 1000));
    act_add(closer, STEP_WRITE, direction, random_scaled(&script->random, 100));
    act_add(closer, STEP_CLOSE_WRITE, direction, 0);
    closer->state = ACT_WAITS;
    act_sleep(closer, 0);
}

/* True: on to the next. False: *outcome says how it goes on. */
static bool act_step(struct act *act, enum hook_outcome *outcome) {
    struct script *script = act->script;
    const struct step step = act->steps[act->at];
    world_trace(script->troupe->world, "script step %d of direction %d: %" PRIu64, (int)step.kind, (int)step.direction,
                step.amount);
    *outcome = HOOK_WAITS;
    switch (step.kind) {
    case STEP_SLEEP:
        act->at++;
        return act_sleep(act, step.amount);
    case STEP_PEEK:
    case STEP_TAKE:
        return step_read(act, &step);
    case STEP_WRITE:
        return step_write(act, &step);
    case STEP_ANSWER:
        act->at++;
        *outcome = HOOK_FAILED;
        return step_answer(act, step.amount);
    case STEP_END:
        filter_close(script->filter_session, (enum filter_close)step.amount);
        *outcome = HOOK_ENDS;
        return false;
    case STEP_FAIL:
        *outcome = HOOK_FAILED;
        return false;
    case STEP_RUN_OVER:
        *outcome = HOOK_OVER;
        return false;
    case STEP_SPAWN:
        script_spawn_closer(script, step.direction);
        break;
    case STEP_WRITE_ELSEWHERE:
    case STEP_LIMIT:
    case STEP_TIMEOUT:
    case STEP_QUOTA:
    case STEP_KEEP_OPEN:
    case STEP_CLOSE_WRITE:
    case STEP_DETACH:
    case STEP_OVERFLOW:
        step_set(act, &step);
        break;
    }
    act->at++;
    return true;
}

static enum hook_outcome act_go_on(struct act *act) {
    enum hook_outcome outcome;
    for (;;) {
        while (act->at < act->count) {
            if (!act_step(act, &outcome)) {
                return outcome;
            }
        }
        if (!is_byte_hook(act->hook)) {
            return HOOK_RETURNED;
        }
        act->at = 0;
        act->count = 0;
        switch (hand_move(act)) {
        case MOVE_DONE:
        case MOVE_STEPS:
            break;
        case MOVE_WAIT:
            act_wait(act, stage_of(act->script, hook_direction(act->hook)),
                     act->script->hands[hook_direction(act->hook)].segment.size);
            return HOOK_WAITS;
        case MOVE_RETURN:
            return HOOK_RETURNED;
        }
    }
}

/* --- going on ------------------------------------------------------------------------------------------------------
 */

static void act_stop(struct act *act) {
    wheel_stop(&act->timer);
    stage_wait_stop(&act->wait);
    link_remove(&act->ready);
}

/* What waited has come. Whose session is closed, or whose filter was bypassed, will not go on. */
static void act_resume(struct act *act) {
    struct script *script = act->script;
    struct engine *engine = script->troupe->engine;
    struct filter_session *filter_session = script->filter_session;
    check(act->state == ACT_WAITS);
    act_stop(act);
    if (filter_session->gone || (chain_of(script)->session->owner.closing && act->hook != HOOK_CLOSED)) {
        return;
    }
    filter_enter(engine, filter_session, act->hook);
    entry_begin(act);
    enum hook_outcome outcome = act_go_on(act);
    entry_end(act, outcome);
    filter_leave(engine, filter_session, act->hook, outcome);
}

static void act_fired(struct timer *timer) {
    act_resume(container_of(timer, struct act, timer));
}

static void act_satisfied(struct stage_wait *wait) {
    act_resume(container_of(wait, struct act, wait));
}

static void act_init(struct act *act, struct script *script, enum hook hook) {
    *act = (struct act){.script = script, .hook = hook};
    timer_init(&act->timer, act_fired);
    stage_wait_init(&act->wait, act_satisfied);
    link_init(&act->ready);
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
    filter_session->script = script;
    list_append(&part->troupe->scripts, &script->link);
    part->troupe->counters.opened++;
    script_draw_trouble(script);
    script_start_tasks(script);
    return true;
}

/* Each hook in its time. */
static void refuse_out_of_turn(const struct act *act) {
    const struct script *script = act->script;
    const struct chain *chain = chain_of(script);
    bool relays = chain->phase == PHASE_RELAY;
    switch (act->hook) {
    case HOOK_ROUTE:
    case HOOK_CONNECT_FAILED:
    case HOOK_CONNECTED:
    case HOOK_SERVE:
        if (relays) {
            refuse(act, "it comes too late");
        }
        break;
    case HOOK_FROM_CLIENT:
    case HOOK_FROM_SERVER:
    case HOOK_CLIENT_EOF:
    case HOOK_SERVER_EOF:
        if (!relays && chain->phase != PHASE_SERVE) {
            refuse(act, "it comes too early");
        }
        break;
    case HOOK_CLOSED:
    case HOOK_TASK:
        break;
    }
    if (script->closed_ns != 0 || chain->session->owner.closing != (act->hook == HOOK_CLOSED)) {
        refuse(act, "`closed` is not the last");
    }
}

static void refuse_wrong_view(struct act *act, enum direction direction) {
    struct script *script = act->script;
    const struct stage *stage = stage_of(script, direction);
    if (script->is_told[direction] || stage->passed_end) {
        refuse(act, "it comes after the end");
    }
    if (stage->shown == 0 || stage->shown > stage->input.first->size || stage->shown > stage->input.bytes) {
        refuse(act, "its view is wrong");
    }
    if (stage->told && (!stage->ended || stage->shown < stage->input.bytes)) {
        refuse(act, "its last view is not all of the rest");
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
    const struct stage *stage = stage_of(script, direction);
    if (script->is_told[direction] || !stage->ended || stage->input.bytes > 0 || stage->later.bytes > 0) {
        refuse(act, "the end is not there, or was told before");
    }
    script->is_told[direction] = true;
}

static void refuse_wrong_hook(struct act *act) {
    if (!filter_has(&act->script->part->filter, act->hook) || act->state != ACT_IDLE) {
        refuse(act, "it runs already, or there is no such hook");
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

static void passage_meet_server(struct troupe *troupe, struct passage *passage) {
    const struct session *session = passage->session;
    if (session != NULL && session->server_end.fd >= 0 && session->connected_us != 0) {
        passage_meet(passage, file_get(troupe->world, session->server_end.fd, __func__)->stream);
    }
}

static enum hook_outcome script_run(struct filter_session *filter_session, enum hook hook) {
    struct script *script = filter_session->script;
    struct act *act = &script->acts[hook];
    passage_meet_server(script->troupe, script->passage);
    refuse_wrong_hook(act);
    script->troupe->counters.begun[hook]++;
    if (hook == HOOK_CLOSED) {
        script->closed_ns = script->troupe->world->now_ns;
    } else if (hook == HOOK_CONNECT_FAILED) {
        passage_note_question(script->passage);
    }
    act_prepare(act);
    entry_begin(act);
    enum hook_outcome outcome = act_go_on(act);
    entry_end(act, outcome);
    return outcome;
}

static void refuse_missing_closed(const struct script *script) {
    const struct act *act = &script->acts[HOOK_CLOSED];
    const struct filter_session *filter_session = script->filter_session;
    if (filter_session->gone) {
        return;
    }
    if (filter_has(&script->part->filter, HOOK_CLOSED) && script->closed_ns == 0) {
        refuse(act, "it never ran");
    }
    uint64_t waited_ns = script->troupe->world->now_ns - script->closed_ns;
    const struct world_options *options = &script->troupe->world->options;
    uint64_t slack_ns = ((uint64_t)20 * 1000 + (uint64_t)10 * options->delay_us_max) * 1000;
    uint64_t patience_ns = (uint64_t)5 * 1000 * 1000 * 1000;
    if (act->state == ACT_WAITS && waited_ns + slack_ns < patience_ns && script->index == 0) {
        refuse(act, "it was not waited for");
    }
    if (script->closed_ns != 0 && waited_ns > slack_ns && !script->passage->client->engine->closed) {
        refuse(act, "the client had to wait for it");
    }
    if (script->closed_ns != 0 && waited_ns > PASSAGE_FILTERS_MAX * (patience_ns + slack_ns)) {
        refuse(act, "it was waited for too long");
    }
}

static void script_close(struct filter_session *filter_session) {
    struct script *script = filter_session->script;
    struct troupe *troupe = script->troupe;
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
    troupe->counters.closed++;
    free(script);
}

const struct filter_calls script_calls = {.open = script_open, .run = script_run, .close = script_close};

/* --- the end of a turn ---------------------------------------------------------------------------------------------
 */

/* Whoever waits holds no buffer of the ring, and not more than it may. */
static void refuse_hoard(const struct passage *passage, const struct filter_session *filter_session,
                         enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    for (const struct slice *slice = stage->input.first; slice != NULL; slice = slice->next) {
        if (!slice->buffer->is_heap) {
            world_violation("session %" PRIu64 ": what waits for filter %s holds buffers of the ring", passage->id,
                            filter_session->filter->name);
        }
    }
    uint64_t most = 2 * FLOW_QUEUE_MAX + filter_session->filter->hold_max + passage->wrote_most[direction];
    if (stage->input.bytes > most || stage->input.count > 64 + stage->input.bytes / 128) {
        world_violation("session %" PRIu64 ": %u bytes in %u slices wait for filter %s; allowed are %" PRIu64,
                        passage->id, stage->input.bytes, stage->input.count, filter_session->filter->name, most);
    }
}

static void passage_check(const struct passage *passage) {
    const struct session *session = passage->session;
    for (uint32_t i = 0; i < passage->count; i++) {
        refuse_hoard(passage, &session->chain->sessions[i], FROM_CLIENT);
        refuse_hoard(passage, &session->chain->sessions[i], FROM_SERVER);
    }
}

void troupe_turn(struct troupe *troupe) {
    list_for_each (link, &troupe->passages) {
        struct passage *passage = container_of(link, struct passage, link);
        if (passage->session != NULL) {
            passage_meet_server(troupe, passage);
            passage_check(passage);
        }
    }
    struct link last; /* of this turn */
    link_init(&last);
    list_append(&troupe->ready, &last);
    for (struct link *link = list_pop(&troupe->ready); link != &last; link = list_pop(&troupe->ready)) {
        act_resume(container_of(link, struct act, ready));
    }
}
