#include "engine/chain.h"

#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    STAGE_MAX = FLOW_QUEUE_MAX, /* what lies behind a filter must be below it, or below hold_max if that is more, for
                                   the filter to be entered */
    DETOURS_MAX = 16,           /* answers of connect_failed in one session */
    CLOSED_WAIT_MS = 5000,      /* for the last hooks */
    HOLD_TEXT_SIZE = 128,
};

static uint64_t earlier(uint64_t a_us, uint64_t b_us) {
    return a_us < b_us ? a_us : b_us;
}

static struct engine *engine_of(const struct chain *chain) {
    return chain->session->engine;
}

static bool chain_is_closing(const struct chain *chain) {
    return chain->session->owner.closing;
}

static struct flow *chain_flow(const struct chain *chain, enum direction direction) {
    return direction == FROM_CLIENT ? &chain->session->from_client : &chain->session->from_server;
}

/* The filters in the order in which bytes of a direction meet them. */
static struct filter_session *chain_at(struct chain *chain, enum direction direction, uint32_t position) {
    return &chain->sessions[direction == FROM_CLIENT ? position : chain->count - 1 - position];
}

static uint32_t chain_position(const struct filter_session *filter_session, enum direction direction) {
    const struct chain *chain = filter_session->chain;
    uint32_t index = (uint32_t)(filter_session - chain->sessions);
    return direction == FROM_CLIENT ? index : chain->count - 1 - index;
}

struct stage *chain_next_stage(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    uint32_t next = chain_position(filter_session, direction) + 1;
    return next == chain->count ? NULL : &chain_at(chain, direction, next)->stages[direction];
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static void filter_session_init(struct filter_session *filter_session, struct chain *chain, struct filter *filter) {
    *filter_session = (struct filter_session){.filter = filter, .chain = chain, .quota = UINT64_MAX};
    link_init(&filter_session->touched);
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        stage_init(&filter_session->stages[direction]);
        queue_init(&filter_session->outbox[direction]);
        filter_session->stages[direction].has_hook = filter_has(filter, direction_hook(direction));
    }
}

static void chain_init(struct chain *chain, struct session *session, const struct filter_list *list) {
    *chain = (struct chain){.session = session, .quota = UINT64_MAX, .timeouts = session->settings->timeouts};
    link_init(&chain->link);
    link_init(&chain->written);
    chain->is_filtered[FROM_CLIENT] = true; /* until it is known where the session goes, its bytes wait in a stage */
    chain->is_filtered[FROM_SERVER] = true;
    chain->count = (uint32_t)list->count;
    for (size_t i = 0; i < list->count; i++) {
        filter_session_init(&chain->sessions[i], chain, list->filters[i]);
    }
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        limit_set(&chain->limits[direction], 0, 0);
    }
}

/* No hook of the filter sees bytes any more. */
static void filter_session_retire(struct filter_session *filter_session) {
    filter_session->gone = true;
    filter_session->chain->again = true;
    filter_session->suspended = 0;
    filter_session->quota = UINT64_MAX;
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct stage *stage = &filter_session->stages[direction];
        stage->has_hook = false;
        stage->busy = false;
        stage->need = 0;
    }
}

bool chain_open(struct session *session) {
    const struct filter_list *list = &session->settings->epoch->filter_lists[session->settings->index];
    struct chain *chain = malloc(sizeof *chain + list->count * sizeof chain->sessions[0]);
    if (chain == NULL) {
        return false;
    }
    chain_init(chain, session, list);
    session->chain = chain;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct filter_session *filter_session = &chain->sessions[i];
        if (!filter_session->filter->calls->open(filter_session)) {
            return false;
        }
        filter_session->is_open = true;
        if (filter_session->gone) {
            filter_session_retire(filter_session);
        }
    }
    return true;
}

/* --- hooks that run one after the other: route, connect_failed, connected, closed --------------------------------- */

static void chain_run(struct filter_session *filter_session, enum hook hook) {
    struct engine *engine = engine_of(filter_session->chain);
    counter_add(&engine->counters.hooks, 1);
    filter_enter(engine, filter_session, hook);
    enum hook_outcome outcome = filter_session->filter->calls->run(filter_session, hook);
    filter_leave(engine, filter_session, hook, outcome);
}

static void chain_begin(struct chain *chain, enum chain_phase phase) {
    chain->phase = (uint8_t)phase;
    chain->turn = 0;
    chain->answered = false;
    chain_advance(chain);
}

static enum hook phase_hook(enum chain_phase phase) {
    switch (phase) {
    case PHASE_ROUTE:
        return HOOK_ROUTE;
    case PHASE_CONNECT_FAILED:
        return HOOK_CONNECT_FAILED;
    case PHASE_CONNECTED:
        return HOOK_CONNECTED;
    case PHASE_CLOSED:
        return HOOK_CLOSED;
    case PHASE_SERVE:
        return HOOK_SERVE;
    case PHASE_CONNECT:
    case PHASE_RELAY:
    case PHASE_OVER:
        break;
    }
    return HOOK_TASK;
}

/* True when every filter was asked, or one has answered; false: one waits, or the session took another course. */
static bool chain_ask(struct chain *chain) {
    enum chain_phase phase = chain->phase;
    enum hook hook = phase_hook(phase);
    while (chain->turn < chain->count && !chain->answered) {
        struct filter_session *filter_session = &chain->sessions[chain->turn];
        bool asks = filter_has(filter_session->filter, hook) && filter_session->is_open && !filter_session->gone;
        if (!asks) {
            chain->turn++;
            continue;
        }
        if ((filter_session->suspended & 1u << hook) != 0) {
            return false;
        }
        chain_run(filter_session, hook);
        if (chain->phase != phase || (chain_is_closing(chain) && phase != PHASE_CLOSED)) {
            return false;
        }
    }
    return true;
}

/* The filter that serves instead of an upstream; NULL: none. */
static struct filter_session *chain_server(struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        if (filter_has(chain->sessions[i].filter, HOOK_SERVE) && !chain->sessions[i].gone) {
            return &chain->sessions[i];
        }
    }
    return NULL;
}

static void chain_routed(struct chain *chain) {
    struct filter_session *server = chain->answered ? NULL : chain_server(chain);
    if (server == NULL) {
        chain->phase = PHASE_CONNECT;
        session_routed(chain->session);
        return;
    }
    chain->phase = PHASE_SERVE;
    chain->turn = (uint32_t)(server - chain->sessions);
    chain->is_listening[FROM_CLIENT] = true;
    session_serve(chain->session);
    chain_run(server, HOOK_SERVE);
}

static void chain_was_told_of_failure(struct chain *chain) {
    bool detour = chain->answered && chain->detours++ < DETOURS_MAX;
    chain->phase = PHASE_CONNECT;
    if (detour) {
        session_routed(chain->session);
    } else {
        session_give_up(chain->session);
    }
}

static void chain_relay(struct chain *chain) {
    chain->phase = PHASE_RELAY;
    chain->is_listening[FROM_CLIENT] = true;
    chain->is_listening[FROM_SERVER] = true;
    chain->again = true;
    session_greeted(chain->session);
}

void chain_route(struct chain *chain) {
    chain_begin(chain, PHASE_ROUTE);
}

static bool chain_has(const struct chain *chain, enum hook hook) {
    for (uint32_t i = 0; i < chain->count; i++) {
        if (filter_has(chain->sessions[i].filter, hook) && !chain->sessions[i].gone) {
            return true;
        }
    }
    return false;
}

bool chain_connect_failed(struct chain *chain) {
    if (!chain_has(chain, HOOK_CONNECT_FAILED)) {
        return false;
    }
    chain_begin(chain, PHASE_CONNECT_FAILED);
    return true;
}

void chain_connected(struct chain *chain) {
    chain_begin(chain, PHASE_CONNECTED);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void chain_close_later(struct chain *chain) {
    if (!link_is_in_list(&chain->link)) {
        list_append(&engine_of(chain)->closed_chains, &chain->link);
    }
}

static void chain_close_filter(struct filter_session *filter_session) {
    if (filter_session->is_open) {
        filter_session->is_open = false;
        filter_session->filter->calls->close(filter_session);
    }
}

static void chain_finish(struct chain *chain) {
    chain->phase = PHASE_OVER;
    wheel_stop(&chain->session->timer);
    for (uint32_t i = 0; i < chain->count; i++) {
        chain_close_filter(&chain->sessions[i]);
    }
    session_hooks_are_over(chain->session);
}

void chain_closing(struct chain *chain) {
    chain_close_later(chain);
}

static void chain_set_patience(struct chain *chain) {
    struct engine *engine = engine_of(chain);
    wheel_set(&engine->wheel, &chain->session->timer, engine_now_ms(engine) + CLOSED_WAIT_MS + 1);
}

void chain_abandon(struct chain *chain) {
    chain_close_filter(&chain->sessions[chain->turn]);
    chain->turn++;
    chain_set_patience(chain);
    chain_advance(chain);
}

/* Filters that were bypassed leave. */
static void chain_close_gone(struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        if (chain->sessions[i].gone) {
            chain_close_filter(&chain->sessions[i]);
        }
    }
}

/* Nobody will get it, and the last hooks may take a while. */
static void chain_drop_bytes(struct chain *chain) {
    struct buffers *buffers = &engine_of(chain)->buffers;
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        for (uint32_t i = 0; i < chain->count; i++) {
            stage_clear(&chain->sessions[i].stages[direction], buffers);
        }
        flow_abandon(chain_flow(chain, direction));
    }
}

static void chain_close(struct chain *chain) {
    chain_drop_bytes(chain);
    chain_set_patience(chain);
    chain_begin(chain, PHASE_CLOSED);
}

void chains_close(struct engine *engine) {
    for (struct link *link = list_pop(&engine->closed_chains); link != NULL; link = list_pop(&engine->closed_chains)) {
        struct chain *chain = container_of(link, struct chain, link);
        chain_close_gone(chain);
        if (chain_is_closing(chain)) {
            chain_close(chain);
        }
    }
}

void chain_free(struct chain *chain) {
    struct buffers *buffers = &engine_of(chain)->buffers;
    check(chain->phase == PHASE_OVER);
    link_remove(&chain->link);
    link_remove(&chain->written);
    for (uint32_t i = 0; i < chain->count; i++) {
        struct filter_session *filter_session = &chain->sessions[i];
        check(!link_is_in_list(&filter_session->touched));
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            stage_finish(&filter_session->stages[direction], buffers);
            queue_clear(&filter_session->outbox[direction], buffers);
        }
    }
    free(chain);
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

struct queue *chain_out(struct filter_session *filter_session, enum direction direction) {
    struct stage *next = chain_next_stage(filter_session, direction);
    return next != NULL ? &next->input : &chain_flow(filter_session->chain, direction)->queue;
}

/* Bytes pass filters without a hook unseen: what counts is the next queue in which they stay. */
bool chain_has_room(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    for (uint32_t position = chain_position(filter_session, direction) + 1; position < chain->count; position++) {
        const struct filter_session *next = chain_at(chain, direction, position);
        const struct stage *stage = &next->stages[direction];
        if (stage->has_hook || stage->input.bytes > 0) {
            uint32_t hold_max = next->filter->hold_max;
            return stage->input.bytes < (hold_max > STAGE_MAX ? hold_max : STAGE_MAX);
        }
    }
    return chain_flow(chain, direction)->queue.bytes < STAGE_MAX;
}

/* Bytes were moved there. */
void chain_sent(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct stage *next = chain_next_stage(filter_session, direction);
    if (next != NULL) {
        stage_came(next, engine_of(chain)->now_us);
    }
    chain->again = chain->again || direction != chain->pumped;
}

/* What was written behind a message that is complete, or never will be. */
static void chain_send_later(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    if (stage->later.bytes > 0) {
        queue_move_all(&stage->later, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

void chain_pass_end(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct stage *stage = &filter_session->stages[direction];
    struct stage *next = chain_next_stage(filter_session, direction);
    if (stage->passed_end) {
        return;
    }
    chain->again = true;
    stage->passed_end = true;
    stage->ended = true;                  /* for who waits here for more */
    chain->is_filtered[direction] = true; /* what still comes is discarded at this stage, or before it */
    chain_send_later(filter_session, direction);
    stage_clear(stage, &engine_of(chain)->buffers);
    if (next != NULL) {
        next->ended = true;
    } else {
        chain_flow(chain, direction)->complete = true;
    }
}

static void chain_hold_failed(struct filter_session *filter_session, enum direction direction, const char *why) {
    filter_session->filter->calls->tell_hold(filter_session, direction, why);
    chain_fail(filter_session, CLOSE_FILTER_HOLD);
}

/* noinline: a buffer for text has no place in the frames of the path of bytes. */
__attribute__((noinline)) static void chain_hold_is_full(struct filter_session *filter_session,
                                                         enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    char why[HOLD_TEXT_SIZE];
    snprintf(why, sizeof why, "it holds %u bytes and needs %u: hold_max is %u", stage->input.bytes, stage->need,
             filter_session->filter->hold_max);
    chain_hold_failed(filter_session, direction, why);
}

/* The byte hook has returned: what it left alone is passed on, unless it wants more. */
static void chain_settle(struct filter_session *filter_session, enum direction direction) {
    struct buffers *buffers = &engine_of(filter_session->chain)->buffers;
    struct stage *stage = &filter_session->stages[direction];
    bool wants_more = stage->need > 0 && !stage->told && stage->has_hook;
    if (wants_more && stage->need <= stage->shown) {
        stage->need = stage->shown + 1; /* less would show it the same once more */
    }
    stage->came_us = engine_of(filter_session->chain)->now_us;
    if (wants_more && stage->need > filter_session->filter->hold_max) {
        chain_hold_is_full(filter_session, direction);
        return;
    }
    if (wants_more || stage_is_ahead(stage)) {
        return;
    }
    bool drops = stage->need > 0 && stage->told && filter_session->filter->strict;
    stage->need = 0;
    if (drops) {
        stage_drop(stage, buffers, stage->shown);
    } else {
        stage_pass(stage, buffers, stage->shown, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

static void chain_enter_byte_hook(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    stage->need = 0;
    stage_show(stage, &engine_of(filter_session->chain)->buffers, wanted);
    stage->busy = true;
    chain_run(filter_session, direction_hook(direction));
}

/* Whether the hook has something to see now. */
static bool stage_is_ripe(struct stage *stage) {
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    if (stage->input.bytes >= wanted) {
        return true;
    }
    if (stage->ended && stage->input.bytes > 0 && !stage->told) {
        stage->told = true;
        stage->need = stage->input.bytes; /* all of it */
        return true;
    }
    return false;
}

static void chain_go_by(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    if (stage->input.bytes > 0) {
        stage->offset += stage->input.bytes;
        stage->shown = 0;
        queue_move_all(&stage->input, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

static void chain_run_ahead(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    if (stage_is_ahead(stage) && stage->input.bytes > 0) {
        stage_run_ahead(stage, &engine_of(filter_session->chain)->buffers, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

/* Until it does, the bytes of the peers wait in the first stages, and no byte hook is entered: what filters write
 * passes those that have none. */
static bool chain_relays(const struct chain *chain) {
    return chain->phase == PHASE_RELAY || chain->phase == PHASE_SERVE;
}

/* What comes to a filter that has ended the stream. */
static void chain_discard(struct chain *chain, struct stage *stage) {
    chain->discarded += chain->ends ? stage->input.bytes : 0;
    stage_clear(stage, &engine_of(chain)->buffers);
}

/* Moves what can be moved at one stage. */
static void chain_work(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct stage *stage = &filter_session->stages[direction];
    while (!chain_is_closing(chain) && !stage->passed_end) {
        chain_run_ahead(filter_session, direction);
        if (!stage->has_hook && !stage->busy) {
            if (!stage_is_ahead(stage)) {
                chain_send_later(filter_session, direction);
            }
            chain_go_by(filter_session, direction);
            return;
        }
        if (stage->busy || stage_is_ahead(stage) || !chain_relays(chain)) {
            return;
        }
        if (!chain_has_room(filter_session, direction)) {
            chain->is_blocked[direction] = true;
            return;
        }
        if (!stage_is_ripe(stage)) {
            return;
        }
        chain_enter_byte_hook(filter_session, direction);
    }
}

static enum hook direction_end_hook(enum direction direction) {
    return direction == FROM_CLIENT ? HOOK_CLIENT_EOF : HOOK_SERVER_EOF;
}

/* Everything that came was decided, and nothing more comes. */
static void chain_end_stage(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    enum hook hook = direction_end_hook(direction);
    if (!stage->ended || stage->passed_end || stage->busy || stage->input.bytes > 0) {
        return;
    }
    struct chain *chain = filter_session->chain;
    bool broken = flow_source(chain_flow(chain, direction))->reset;
    bool is_alone = chain_flow(chain, direction_opposite(direction))->ended;
    bool asks = filter_has(filter_session->filter, hook) && !filter_session->gone && !broken && !stage->asked;
    if (asks && !chain_relays(chain)) {
        return;
    }
    stage->pass_ahead = 0;
    stage->drop_ahead = 0;
    chain_send_later(filter_session, direction);
    if (asks) {
        stage->asked = true;
        stage->busy = true;
        chain_run(filter_session, hook);
    } else if (!stage->kept_open || is_alone) {
        chain_pass_end(filter_session, direction);
    }
}

/* How far the bytes of a direction go: to the sink, or to the filter that serves. */
static uint32_t chain_reach(const struct chain *chain, enum direction direction) {
    return chain->phase == PHASE_SERVE && direction == FROM_CLIENT ? chain->turn : chain->count;
}

/* There is somebody to send to: not before there is a server, or a filter that serves. */
static bool chain_has_sink(const struct chain *chain, enum direction direction) {
    return direction == FROM_SERVER || chain->phase >= PHASE_CONNECTED;
}

static void chain_pump_stages(struct chain *chain, enum direction direction) {
    uint32_t reach = chain_has_sink(chain, direction) ? chain_reach(chain, direction) : 0;
    chain->is_blocked[direction] = false;
    chain->pumps = true;
    chain->pumped = direction;
    for (uint32_t position = chain_relays(chain) ? 0 : 1; position < reach && !chain_is_closing(chain); position++) {
        struct filter_session *filter_session = chain_at(chain, direction, position);
        chain_work(filter_session, direction);
        if (!chain_is_closing(chain)) {
            chain_end_stage(filter_session, direction);
        }
    }
    chain->pumps = false;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct stage *stage = &chain->sessions[i].stages[direction];
        if (stage->passed_end) {
            chain_discard(chain, stage);
        } else if (stage->input.first != NULL) { /* what waits does not hold the ring's buffers */
            queue_evacuate(&stage->input, &engine_of(chain)->buffers);
        }
    }
}

static void chain_pump(struct chain *chain, enum direction direction) {
    struct flow *flow = chain_flow(chain, direction);
    chain_pump_stages(chain, direction);
    if (chain_is_closing(chain)) {
        return;
    }
    if (flow->ended) {
        queue_clear(&flow->queue, &engine_of(chain)->buffers); /* nobody takes it any more */
    }
    if (chain_has_sink(chain, direction)) {
        flow_pump(flow);
    } else {
        flow_start(flow); /* receives what filters wait for */
    }
}

/* Nothing is left for the filters to see in that direction: from here on the flow does it alone. */
static void chain_release_direction(struct chain *chain, enum direction direction) {
    if (!chain->is_filtered[direction] || chain->phase != PHASE_RELAY || chain->ends) {
        return;
    }
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stage = &chain->sessions[i].stages[direction];
        if (stage->has_hook || stage->busy || stage->input.bytes > 0 || stage->later.bytes > 0 ||
            stage_is_ahead(stage) || stage->passed_end) {
            return;
        }
    }
    chain->is_filtered[direction] = false;
}

/* --- what becomes of a hook --------------------------------------------------------------------------------------- */

/* The filter leaves the session: what it held is passed on, and what it had decided ahead stays decided. */
static void chain_bypass(struct filter_session *filter_session) {
    filter_session_retire(filter_session);
    counter_add(&engine_of(filter_session->chain)->counters.filters_bypassed, 1);
    chain_close_later(filter_session->chain);
}

static bool chain_is_served_by(const struct chain *chain, const struct filter_session *filter_session) {
    return chain->phase == PHASE_SERVE && filter_session == &chain->sessions[chain->turn];
}

void chain_fail(struct filter_session *filter_session, enum close_reason reason) {
    struct chain *chain = filter_session->chain;
    const struct filter *filter = filter_session->filter;
    bool must_close = reason == CLOSE_FILTER_BUDGET || (reason == CLOSE_FILTER_HOLD && filter->strict) ||
                      chain_is_served_by(chain, filter_session);
    if (filter->on_error == ON_ERROR_BYPASS && !must_close) {
        chain_bypass(filter_session);
    } else {
        session_close(chain->session, reason);
    }
}

/* Nothing of that direction comes any further than this filter. */
static void chain_cut(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    uint32_t here = chain_position(filter_session, direction);
    for (uint32_t position = 0; position < here; position++) {
        struct stage *stage = &chain_at(chain, direction, position)->stages[direction];
        stage->ended = true;
        stage->passed_end = true;
        queue_clear(&stage->later, &engine_of(chain)->buffers);
        stage_clear(stage, &engine_of(chain)->buffers);
    }
    chain_pass_end(filter_session, direction);
    chain->is_listening[direction] = true;
}

void chain_end(struct filter_session *filter_session, enum filter_close how) {
    struct chain *chain = filter_session->chain;
    struct session *session = chain->session;
    bool served = how == FILTER_CLOSE && chain_is_served_by(chain, filter_session);
    if (how == FILTER_RESET) {
        session_reset(session, CLOSE_REJECTED);
        return;
    }
    if (chain->phase == PHASE_CONNECT) {
        session_close(session, CLOSE_REJECTED);
        return;
    }
    bool has_ended = chain->ends; /* another filter sees what that one said last, and ends, too */
    bool has_server = session->server_end.fd >= 0;
    chain->ends = true;
    chain->phase = PHASE_RELAY;
    chain_cut(has_server ? filter_session : chain_at(chain, FROM_CLIENT, chain->count - 1), FROM_CLIENT);
    chain_cut(filter_session, FROM_SERVER);
    if (!has_ended) {
        chain->reason = !served ? CLOSE_REJECTED : session->client_first ? CLOSE_CLIENT_FIN : CLOSE_SERVER_FIN;
        session_say_last(session);
    }
}

static void chain_hook_returned(struct filter_session *filter_session, enum hook hook) {
    struct chain *chain = filter_session->chain;
    enum direction direction = hook == HOOK_FROM_CLIENT || hook == HOOK_CLIENT_EOF ? FROM_CLIENT : FROM_SERVER;
    struct stage *stage = &filter_session->stages[direction];
    switch (hook) {
    case HOOK_ROUTE:
    case HOOK_CONNECT_FAILED:
    case HOOK_CONNECTED:
        if (hook == phase_hook(chain->phase)) {
            chain->turn++;
        }
        break;
    case HOOK_FROM_CLIENT:
    case HOOK_FROM_SERVER:
        stage->busy = false;
        if (!stage->passed_end) {
            chain_settle(filter_session, direction);
        }
        break;
    case HOOK_CLIENT_EOF:
    case HOOK_SERVER_EOF:
        stage->busy = false;
        stage->kept_open = filter_session->keeps_open;
        break;
    case HOOK_SERVE:
        chain_end(filter_session, FILTER_CLOSE);
        break;
    case HOOK_CLOSED:
    case HOOK_TASK:
        break;
    }
}

static void chain_hook_failed(struct filter_session *filter_session, enum hook hook, enum close_reason reason) {
    struct chain *chain = filter_session->chain;
    if (hook == HOOK_TASK && reason != CLOSE_FILTER_BUDGET) {
        return;
    }
    bool was_on = hook == phase_hook(chain->phase);
    chain_fail(filter_session, reason);
    chain->turn += was_on && !chain_is_closing(chain) ? 1 : 0;
}

static void chain_hook_is_over(struct filter_session *filter_session, enum hook hook, enum hook_outcome outcome) {
    switch (outcome) {
    case HOOK_WAITS:
        break;
    case HOOK_RETURNED:
        chain_hook_returned(filter_session, hook);
        break;
    case HOOK_ENDS:
        chain_end(filter_session, filter_session->close_how);
        break;
    case HOOK_FAILED:
        chain_hook_failed(filter_session, hook, filter_session->overflowed ? CLOSE_FILTER_HOLD : CLOSE_FILTER_ERROR);
        break;
    case HOOK_OVER:
        chain_hook_failed(filter_session, hook, CLOSE_FILTER_BUDGET);
        break;
    }
}

/* A byte hook that waits for more: the time that it may hold begins. */
static void chain_hook_waits(struct filter_session *filter_session, enum hook hook) {
    uint64_t now_us = engine_of(filter_session->chain)->now_us;
    filter_session->suspended = (uint16_t)(filter_session->suspended | (hook == HOOK_TASK ? 0 : 1u << hook));
    if (hook == HOOK_FROM_CLIENT || hook == HOOK_FROM_SERVER) {
        filter_session->stages[hook == HOOK_FROM_CLIENT ? FROM_CLIENT : FROM_SERVER].came_us = now_us;
    }
}

void chain_hook_left(struct filter_session *filter_session, enum hook hook, enum hook_outcome outcome) {
    struct chain *chain = filter_session->chain;
    if (filter_session->gone) {
        return;
    }
    filter_session->suspended = (uint16_t)(filter_session->suspended & ~(1u << hook));
    if (outcome == HOOK_WAITS) {
        chain_hook_waits(filter_session, hook);
    } else if (chain_is_closing(chain)) {
        chain->turn += hook == HOOK_CLOSED ? 1 : 0; /* however it ended */
    } else {
        chain_hook_is_over(filter_session, hook, outcome);
    }
    if (outcome != HOOK_RETURNED || !chain->pumps || hook != direction_hook(chain->pumped)) {
        chain_advance(chain); /* (else the pump that has run it goes on) */
    }
}
/* --- waits ------------------------------------------------------------------------------------------------------ */

static bool wait_is_satisfied(const struct stage_wait *wait, struct filter_session *filter_session,
                              enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    if (wait->for_room) {
        return stage->passed_end || chain_has_room(filter_session, direction);
    }
    return stage->ended || stage->input.bytes >= wait->bytes;
}

/* One at a time: whom it wakes may end other waits. */
static struct stage_wait *chain_take_satisfied(struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            list_for_each (link, &chain->sessions[i].stages[direction].waits) {
                struct stage_wait *wait = container_of(link, struct stage_wait, link);
                if (wait_is_satisfied(wait, &chain->sessions[i], direction)) {
                    link_remove(link);
                    return wait;
                }
            }
        }
    }
    return NULL;
}

static bool chain_has_waits(const struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stages = chain->sessions[i].stages;
        if (!list_is_empty(&stages[FROM_CLIENT].waits) || !list_is_empty(&stages[FROM_SERVER].waits)) {
            return true;
        }
    }
    return false;
}

static void chain_satisfy(struct chain *chain) {
    struct stage_wait *wait;
    while (chain_has_waits(chain) && !chain_is_closing(chain) && (wait = chain_take_satisfied(chain)) != NULL) {
        wait->satisfied(wait);
    }
}

/* --- advancing -------------------------------------------------------------------------------------------------- */

static void chain_call_quotas(struct chain *chain) {
    uint64_t bytes = chain->session->from_client.bytes + chain->session->from_server.bytes;
    if (bytes < chain->quota) {
        return;
    }
    chain->quota = UINT64_MAX;
    for (uint32_t i = 0; i < chain->count && !chain_is_closing(chain); i++) {
        struct filter_session *filter_session = &chain->sessions[i];
        if (bytes >= filter_session->quota) {
            filter_session->quota = UINT64_MAX;
            filter_session->quota_passed(filter_session);
        } else if (filter_session->quota < chain->quota) {
            chain->quota = filter_session->quota;
        }
    }
}

/* All hooks but the last are over once the session is closed. */
static bool chain_has_work(const struct chain *chain) {
    return !chain_is_closing(chain) || chain->phase == PHASE_CLOSED;
}

/* Moves bytes, in one direction or in both. */
static void chain_move(struct chain *chain, enum direction first, enum direction last) {
    for (enum direction direction = first; direction <= last; direction++) {
        chain_pump(chain, direction);
    }
    chain_satisfy(chain);
    for (enum direction direction = first; direction <= last; direction++) {
        chain_release_direction(chain, direction);
    }
    chain_call_quotas(chain);
}

static void chain_step(struct chain *chain) {
    chain_satisfy(chain);
    if (!chain_has_work(chain)) {
        return;
    }
    switch ((enum chain_phase)chain->phase) {
    case PHASE_ROUTE:
        if (chain_ask(chain)) {
            chain_routed(chain);
        }
        break;
    case PHASE_CONNECT_FAILED:
        if (chain_ask(chain)) {
            chain_was_told_of_failure(chain);
        }
        break;
    case PHASE_CONNECTED:
        if (chain_ask(chain)) {
            chain_relay(chain);
        }
        break;
    case PHASE_CLOSED:
        if (chain_ask(chain)) {
            chain_finish(chain);
        }
        break;
    case PHASE_CONNECT:
    case PHASE_RELAY:
    case PHASE_SERVE:
    case PHASE_OVER:
        break;
    }
    if (!chain_is_closing(chain)) {
        chain_move(chain, FROM_CLIENT, FROM_SERVER);
    }
}

static void chain_go_on(struct chain *chain) {
    while (chain->again && chain_has_work(chain)) {
        chain->again = false;
        chain_step(chain);
    }
    chain->advancing = false;
    if (!chain_is_closing(chain) && chain_due_us(chain) != UINT64_MAX) {
        session_hurry(chain->session);
    }
}

void chain_advance(struct chain *chain) {
    chain->again = true;
    if (!chain->advancing) {
        chain->advancing = true;
        chain_go_on(chain);
    }
}

void chain_advance_flow(struct chain *chain, enum direction direction) {
    if (chain->phase != PHASE_RELAY || chain->ends || chain->advancing) {
        chain_advance(chain);
        return;
    }
    chain->advancing = true;
    chain->again = false;
    chain_satisfy(chain);
    if (!chain_is_closing(chain)) {
        chain_move(chain, direction, direction);
    }
    if (chain_flow(chain, direction)->complete) {
        chain->again = true; /* the other direction may depend on the end of this one */
    }
    chain_go_on(chain);
}

bool chain_is_quiet(const struct chain *chain) {
    bool is_filtered = chain->is_filtered[FROM_CLIENT] || chain->is_filtered[FROM_SERVER];
    bool is_limited = chain->limits[FROM_CLIENT].rate != 0 || chain->limits[FROM_SERVER].rate != 0;
    return chain->phase == PHASE_RELAY && !is_filtered && !is_limited && !chain->ends && chain->quota == UINT64_MAX &&
           !chain_has_waits(chain);
}

bool chain_wants_room(const struct chain *chain, enum direction direction) {
    return chain->is_blocked[direction] || chain->phase != PHASE_RELAY || chain->ends || chain_has_waits(chain);
}

/* --- what flow and session ask --------------------------------------------------------------------------------------
 */

struct queue *chain_incoming(struct chain *chain, enum direction direction) {
    return chain->is_filtered[direction] ? &chain_at(chain, direction, 0)->stages[direction].input
                                         : &chain_flow(chain, direction)->queue;
}

void chain_count(struct chain *chain, enum direction direction, size_t size) {
    limit_spend(&chain->limits[direction], size);
    struct stage *first = &chain_at(chain, direction, 0)->stages[direction];
    if (chain->is_filtered[direction] && first->passed_end) {
        chain_discard(chain, first);
    } else if (chain->is_filtered[direction]) {
        stage_came(first, engine_of(chain)->now_us);
    }
}

void chain_source_over(struct chain *chain, enum direction direction) {
    chain_at(chain, direction, 0)->stages[direction].ended = true;
}

size_t chain_backlog(const struct chain *chain, enum direction direction) {
    size_t backlog = 0;
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stage = &chain->sessions[i].stages[direction];
        bool wants_more = stage_wanted(stage) > stage->input.bytes;
        backlog += stage->later.bytes + (wants_more ? 0 : stage->input.bytes);
    }
    return backlog;
}

size_t chain_held(const struct chain *chain, enum direction direction) {
    size_t held = 0;
    for (uint32_t behind = 0; behind < chain->count; behind++) {
        uint32_t index = direction == FROM_SERVER ? behind : chain->count - 1 - behind;
        const struct stage *stage = &chain->sessions[index].stages[direction];
        if (stage->passed_end) {
            break;
        }
        held += stage->input.bytes + stage->later.bytes;
    }
    return held;
}

uint32_t chain_allowance(struct chain *chain, enum direction direction, uint32_t room) {
    if (!chain->is_listening[direction] || (chain->ends && chain->discarded >= CHAIN_DISCARD_MAX)) {
        return 0;
    }
    uint32_t allowed = limit_allow(&chain->limits[direction], room, engine_of(chain)->now_us);
    if (allowed == 0) {
        session_hurry(chain->session); /* to ask again in time */
    }
    return allowed;
}

/* A byte hook waits for more, whether it has returned or is suspended. */
static uint64_t stage_hold_deadline_us(const struct stage *stage, const struct filter *filter) {
    bool holds = stage->input.bytes > 0 && (stage->has_hook || stage->busy) && !stage->ended &&
                 stage_wanted(stage) > stage->input.bytes;
    return holds && filter->hold_timeout_ms != 0 ? stage->came_us + filter->hold_timeout_ms * 1000 : UINT64_MAX;
}

static uint64_t chain_hold_deadline_us(const struct filter_session *filter_session, enum direction direction) {
    bool relays = filter_session->chain->phase == PHASE_RELAY; /* before, others wait at the first stage */
    return relays ? stage_hold_deadline_us(&filter_session->stages[direction], filter_session->filter) : UINT64_MAX;
}

uint64_t chain_due_us(const struct chain *chain) {
    uint64_t due_us = UINT64_MAX;
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        due_us = earlier(due_us, chain->limits[direction].due_us);
        for (uint32_t i = 0; i < chain->count; i++) {
            due_us = earlier(due_us, chain_hold_deadline_us(&chain->sessions[i], direction));
        }
    }
    return due_us;
}

static void chain_check_hold(struct filter_session *filter_session, enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    if (chain_hold_deadline_us(filter_session, direction) <= engine_of(filter_session->chain)->now_us) {
        char why[HOLD_TEXT_SIZE];
        snprintf(why, sizeof why, "no byte came for hold_timeout while it held %u and needed %u", stage->input.bytes,
                 stage_wanted(stage));
        chain_hold_failed(filter_session, direction, why);
    }
}

void chain_fired(struct chain *chain) {
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        chain->limits[direction].due_us = UINT64_MAX; /* who is refused again notes a later time */
        for (uint32_t i = 0; i < chain->count && !chain_is_closing(chain); i++) {
            chain_check_hold(&chain->sessions[i], direction);
        }
    }
    if (!chain_is_closing(chain)) {
        chain_advance(chain);
    }
}

bool chain_is_watched(const struct chain *chain, enum direction direction) {
    return chain->is_filtered[direction] || chain->limits[direction].rate != 0;
}

bool chain_describe(const struct chain *chain, char *text, size_t text_size) {
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct filter_session *filter_session = &chain->sessions[i];
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            const struct stage *stage = &filter_session->stages[direction];
            if (stage->need > 0 && stage->input.bytes > 0) {
                snprintf(text, text_size, "held by %s %.1f s, %u of %u bytes", filter_session->filter->name,
                         (double)(engine_of(chain)->now_us - stage->held_us) / 1e6, stage->input.bytes, stage->need);
                return true;
            }
        }
        for (enum hook hook = HOOK_ROUTE; hook < HOOK_TASK; hook++) {
            if ((filter_session->suspended & 1u << hook) != 0) {
                snprintf(text, text_size, "waits in %s of %s", hook_name(hook), filter_session->filter->name);
                return true;
            }
        }
    }
    return false;
}
