#include "script.h"

#include "base/check.h"
#include "engine/chain.h"
#include "engine/session.h"
#include "world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- steps ---------------------------------------------------------------------------------------------------------
 */

bool act_sleep(struct act *act, uint64_t wait_ms) {
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
    if (script_chain(script)->phase == PHASE_SERVE) {
        known = take ? passage_come(passage, direction, script->index, expected, size) : 0;
    } else {
        const struct actor *source = direction == FROM_CLIENT ? passage->client : passage->server;
        actor_says(source, passage->courses[direction].skipped, expected, size);
    }
    if ((take && known < size) || memcmp(expected, stage_bytes(stage), known) != 0) {
        passage_explain(passage, direction);
        act_refuse(act, "the bytes before it are not those that came");
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
    bool relays = script_chain(script)->phase == PHASE_RELAY;
    if (relays || (stage->input.bytes < wanted && stage->ended)) {
        act->at++;
        return true;
    }
    if (stage->input.bytes < wanted && filter_is_late(filter_session)) {
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
        bool serves = script_chain(script)->phase == PHASE_SERVE;
        script->passage->courses[step->direction].skipped += serves ? 0 : wanted;
    }
    act->at++;
    return true;
}

static void script_write(struct script *by, struct script *to, enum direction direction, uint32_t size) {
    struct troupe *troupe = by->troupe;
    struct node *node = passage_node(to->passage, direction, to->index);
    uint64_t from = random_below(&by->random, 1 << 16);
    bool is_void = script_stage(to, direction)->passed_end || script_chain(to)->session->owner.closing;
    check(filter_write(to->filter_session, direction, cast_text(troupe->cast, from), size));
    if (!is_void) {
        node_insert(node, script_place(to, direction), from, size);
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
    struct stage *stage = script_stage(script, step->direction);
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
    const struct chain *chain = script_chain(script);
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
        act_refuse(act, "its answer is nonsense, and was taken");
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

enum hook_outcome act_go_on(struct act *act) {
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
            act_wait(act, script_stage(act->script, hook_direction(act->hook)),
                     act->script->hands[hook_direction(act->hook)].segment.size);
            return HOOK_WAITS;
        case MOVE_RETURN:
            return HOOK_RETURNED;
        }
    }
}

/* --- going on ------------------------------------------------------------------------------------------------------
 */

void act_stop(struct act *act) {
    wheel_stop(&act->timer);
    stage_wait_stop(&act->wait);
    link_remove(&act->ready);
}

/* What waited has come. Whose session is closed, or whose filter was bypassed, will not go on. */
void act_resume(struct act *act) {
    struct script *script = act->script;
    struct engine *engine = script->troupe->engine;
    struct filter_session *filter_session = script->filter_session;
    check(act->state == ACT_WAITS);
    act_stop(act);
    if (filter_session->gone || (script_chain(script)->session->owner.closing && act->hook != HOOK_CLOSED)) {
        return;
    }
    filter_enter(engine, filter_session, act->hook);
    script_enter_act(act);
    enum hook_outcome outcome = act_go_on(act);
    script_settle(act, outcome);
    filter_leave(engine, filter_session, act->hook, outcome);
}

static void act_fired(struct timer *timer) {
    act_resume(container_of(timer, struct act, timer));
}

static void act_satisfied(struct stage_wait *wait) {
    act_resume(container_of(wait, struct act, wait));
}

void act_init(struct act *act, struct script *script, enum hook hook) {
    *act = (struct act){.script = script, .hook = hook};
    timer_init(&act->timer, act_fired);
    stage_wait_init(&act->wait, act_satisfied);
    link_init(&act->ready);
}
