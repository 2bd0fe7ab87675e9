#include "engine/chain_parts.h"

enum {
    DETOURS_MAX = 16,      /* answers of connect_failed in one session */
    CLOSED_WAIT_MS = 5000, /* for the last hooks */
};

/* --- hooks that run one after the other: route, connect_failed, connected, closed --------------------------------- */

static void chain_begin(struct chain *chain, enum chain_phase phase) {
    chain->phase = (uint8_t)phase;
    chain->turn = 0;
    chain->answered = false;
    chain_advance(chain);
}

enum hook phase_hook(enum chain_phase phase) {
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

void chain_close_later(struct chain *chain) {
    if (!link_is_in_list(&chain->link)) {
        list_append(&chain_engine(chain)->closed_chains, &chain->link);
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
    struct engine *engine = chain_engine(chain);
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
    struct buffers *buffers = &chain_engine(chain)->buffers;
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

void chain_go_round(struct chain *chain) {
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
}
