#include "engine/chain_parts.h"

/* The filter leaves the session: what it held is passed on, and what it had decided ahead stays decided. */
static void chain_bypass(struct filter_session *filter_session) {
    chain_retire(filter_session);
    counter_add(&chain_engine(filter_session->chain)->counters.filters_bypassed, 1);
    chain_close_later(filter_session->chain);
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
        queue_clear(&stage->later, &chain_engine(chain)->buffers);
        stage_clear(stage, &chain_engine(chain)->buffers);
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
    uint64_t now_us = chain_engine(filter_session->chain)->now_us;
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
