#include "engine/session.h"

#include "engine/session_parts.h"
#include "engine/sources.h"
#include "engine/tally.h"

#include <stdatomic.h>
#include <stdlib.h>

/* An idle session is this and nothing else. */
_Static_assert(sizeof(struct session) <= 464, "a million idle sessions should not need more than half a GB");

static void session_release(struct owner *owner);

/* --- opening -------------------------------------------------------------------------------------------------------
 */

static void session_init(struct session *session, struct engine *engine) {
    *session = (struct session){
        .engine = engine, .started_us = engine->now_us, .progress_us = engine->now_us, .look_us = UINT64_MAX};
    owner_init(&session->owner, &engine->released, session_release);
    link_init(&session->link);
    timer_init(&session->timer, session_fired);
    flow_init(&session->from_client, false);
    flow_init(&session->from_server, true);
    session->client_end.fd = -1;
    session->server_end.fd = -1;
}

/* One for the PROXY header and the `route` hooks together. */
static uint64_t session_preread_deadline_us(const struct session *session) {
    uint64_t wait_ms = session_timeouts(session)->preread_ms;
    return wait_ms == 0 ? UINT64_MAX : session->started_us + wait_ms * 1000;
}

static void session_ask_filters(struct session *session) {
    session_enter(session, SESSION_ROUTING, "asks the filters where to go");
    session->deadline_us = session_preread_deadline_us(session);
    if (!chain_open(session)) {
        session->error = "a filter could not be started";
        session_close(session, session->chain == NULL ? CLOSE_RESOURCES : CLOSE_FILTER_ERROR);
        return;
    }
    chain_route(session->chain);
    session_hurry(session);
}

/* It is known who the client is: from here on it is judged, and served, as if it had connected just now. */
static void session_admit(struct session *session) {
    if (!session_is_let_in(session)) {
        return;
    }
    session_log_open(session);
    if (settings_have_chain(session->settings)) {
        session_ask_filters(session);
    } else {
        session_connect(session);
    }
}

static void session_await_introduction(struct session *session) {
    if (!session_trusts_peer(session)) {
        return;
    }
    session_enter(session, SESSION_INTRODUCING, "waits for the PROXY header");
    session->deadline_us = session_preread_deadline_us(session);
    introduction_read(session);
    session_hurry(session);
}

void session_introduced(struct session *session) {
    session->introduction = introduction_trim(session->introduction);
    session->deadline_us = 0;
    session_admit(session);
}

bool session_open(struct engine *engine, const struct settings *settings, int fd) {
    struct session *session = slab_take(&engine->sessions_slab);
    if (session == NULL) {
        kernel_close(fd);
        return false;
    }
    session_init(session, engine);
    session->settings = settings;
    engine_use(settings);
    session->client_end.fd = fd;
    session->id = atomic_fetch_add_explicit(engine->session_ids, 1, memory_order_relaxed) + 1;
    engine->last_session_id = session->id;
    list_append(&engine->sessions, &session->link);
    engine->sessions_count++;
    counter_add(&engine->counters.sessions_opened, 1);
    session_note_peer(session);
    if (settings->proxy_versions != 0) {
        session_await_introduction(session);
    } else {
        session_admit(session);
    }
    return true;
}

/* --- relaying ------------------------------------------------------------------------------------------------------
 */

bool session_set_nonblocking(struct session *session, bool nonblocking) {
    if (session->nonblocking == nonblocking) {
        return true;
    }
    if (kernel_set_nonblocking(session->client_end.fd, nonblocking) < 0 ||
        kernel_set_nonblocking(session->server_end.fd, nonblocking) < 0) {
        return false;
    }
    session->nonblocking = nonblocking;
    return true;
}

void session_start_relay(struct session *session) {
    session_enter(session, SESSION_RELAYING, "relays");
    session_progress(session);
    flow_start(&session->from_client);
    flow_start(&session->from_server);
    if (session->from_client.ended && session->from_server.ended) { /* by a filter, before it began */
        session_flow_ended(session, &session->from_server);
    }
    session_hurry(session);
}

void session_greeted(struct session *session) {
    session_start_relay(session);
}

void session_serve(struct session *session) {
    session->from_server.source_ended = true; /* there is none: its bytes come from the filter */
    session_enter(session, SESSION_RELAYING, "a filter serves");
    session_progress(session);
    flow_start(&session->from_client);
    session_hurry(session);
}

void session_say_last(struct session *session) {
    if (session->state == SESSION_RESETTING || session->state == SESSION_LINGERING) {
        return; /* it ends already */
    }
    if (session->server_end.fd < 0) {
        session->from_server.source_ended = true;
    }
    session_enter(session, SESSION_RELAYING, "sends what a filter said last");
    session_progress(session);
    flow_start(&session->from_client);
    flow_start(&session->from_server);
    session_hurry(session);
}

enum close_reason session_reset_reason(const struct session *session) {
    return session->client_end.reset ? CLOSE_CLIENT_RESET : CLOSE_SERVER_RESET;
}

void session_source_over(struct session *session, struct flow *flow, int result) {
    if (!session->fin_seen) {
        session->fin_seen = true;
        session->client_first = !flow->from_server;
    }
    if (result < 0) {
        flow_source(flow)->reset = true;
        session->error = error_name(-result);
    }
    session_progress(session);
    bool relays = session->state == SESSION_RELAYING || session->state == SESSION_RESETTING;
    bool serves = session->chain != NULL && session->chain->phase == PHASE_SERVE;
    if (result < 0 && (!relays || serves)) {
        session_close(session, session_reset_reason(session)); /* nobody is there to take what came before */
    }
}

/* A reset overtakes data: it is passed on only when the receiver's kernel has acknowledged all that was delivered.
 * (A reset at once destroyed all but 4 KiB of 3 MB.) */
void session_look_at_unsent(struct session *session) {
    struct flow *flow = session->client_end.reset ? &session->from_client : &session->from_server;
    const struct endpoint *receiver = flow_sink(flow);
    int unsent = receiver->reset || receiver->fd < 0 ? 0 : kernel_unsent(receiver->fd);
    if (unsent <= 0) {
        session_close(session, session_reset_reason(session));
        return;
    }
    if ((uint32_t)unsent != flow->unsent) {
        flow->unsent = (uint32_t)unsent;
        session_progress(session);
    }
    session_look_later(session);
}

static void session_pass_reset(struct session *session) {
    session_enter(session, SESSION_RESETTING, "waits for the receiver to take what came before a reset");
    session_progress(session);
    session_look_at_unsent(session);
}

static bool source_is_over(const struct flow *flow, const struct endpoint *source) {
    return flow->source_ended || source->fd < 0;
}

static bool sources_are_over(const struct session *session) {
    return source_is_over(&session->from_client, &session->client_end) &&
           source_is_over(&session->from_server, &session->server_end);
}

bool session_lingers(const struct session *session) {
    return session->chain != NULL && session->chain->ends;
}

bool session_will_linger(const struct session *session) {
    return session->chain != NULL && (session->chain->ends || !sources_are_over(session));
}

bool session_discards(const struct session *session) {
    return session->state == SESSION_LINGERING;
}

void session_discarded(struct session *session, size_t size) {
    session->chain->discarded += size;
    if (sources_are_over(session) || session->chain->discarded >= CHAIN_DISCARD_MAX) {
        session_close(session, session->chain->reason);
    }
}

/* Both sides have ended in order; or only for us, as a filter wanted it. */
static enum close_reason session_fin_reason(const struct session *session) {
    if (!session->fin_seen) {
        return CLOSE_REJECTED;
    }
    return session->client_first ? CLOSE_CLIENT_FIN : CLOSE_SERVER_FIN;
}

/* Everything was sent, and the end: the peers may still be sending. To close now would answer that with a reset, which
 * may overtake and destroy what was said last. */
static void session_linger(struct session *session) {
    session_enter(session, SESSION_LINGERING, "waits for the peers to end");
    if (!session->chain->ends) {
        session->chain->ends = true;
        session->chain->reason = (uint8_t)session_fin_reason(session);
    }
    session->deadline_us = deadline_in_ms(session, CHAIN_LINGER_MS);
    flow_discard(&session->from_client);
    flow_discard(&session->from_server);
    session_discarded(session, 0);
    session_hurry(session);
}

void session_flow_ended(struct session *session, struct flow *flow) {
    struct flow *other = flow->from_server ? &session->from_client : &session->from_server;
    if (session->state != SESSION_RELAYING) {
        bool is_relayed = session->state == SESSION_RESETTING || session->state == SESSION_LINGERING;
        bool is_lost = is_relayed ? session->client_end.reset && session->server_end.reset : flow_sink(flow)->reset;
        if (is_lost) {
            session_close(session, session_reset_reason(session)); /* nobody is there to take the rest */
        }
        return;
    }
    if (flow_source(flow)->reset || (other->ended && flow_sink(flow)->reset)) {
        session_pass_reset(session);
    } else if (other->ended && session_will_linger(session)) {
        session_linger(session);
    } else if (other->ended) {
        session_close(session, session_fin_reason(session));
    } else {
        session->doing =
            flow->from_server ? "relays what the client still sends" : "relays what the server still sends";
        session_progress(session);
        session_hurry(session);
        if (session->chain != NULL) {
            chain_advance(session->chain); /* a filter may have kept the other flow open for this one */
        }
    }
}

/* --- closing -------------------------------------------------------------------------------------------------------
 */

static void session_tally(const struct session *session) {
    struct tally_cells *listener = session->settings->tally;
    uint64_t from_client = session->from_client.bytes;
    uint64_t from_server = session->from_server.bytes;
    tally_closed(listener, session->reason);
    tally_time(listener, &tally_durations, session->engine->now_us - session->started_us);
    tally_bytes(listener, from_client, from_server);
    if (session->connected) {
        tally_bytes(session_upstream_tally(session), from_client, from_server);
    }
}

/* Closing cuts a stream that flows: its source has not ended, and a byte moved just now. A session that was quiet for a
 * while is most likely between two messages. */
static bool closing_cuts(const struct session *session, const struct flow *flow) {
    enum { QUIET_US = 1000 * 1000 };
    if (session->reason == CLOSE_FILTER_ERROR || session->reason == CLOSE_FILTER_BUDGET ||
        session->reason == CLOSE_FILTER_HOLD) {
        return !flow->ended && (flow->bytes > 0 || session->chain->phase == PHASE_RELAY);
    }
    bool by_force = session->reason == CLOSE_TIMEOUT_LIFETIME || session->reason == CLOSE_TIMEOUT_SEND_STALL ||
                    session->reason == CLOSE_SHUTDOWN || session->reason == CLOSE_DRAINED ||
                    session->reason == CLOSE_KILLED;
    return by_force && !flow->ended && flow->bytes > 0 && session->engine->now_us - session->progress_us < QUIET_US;
}

/* Who lost bytes that we had taken, or whose other side broke, is told so by a RST: a FIN would say that the stream
 * was complete. */
static void endpoint_decide_end(struct session *session, struct flow *flow) {
    bool broken = session->client_end.reset || session->server_end.reset;
    flow_sink(flow)->cut = broken || flow_undelivered(flow) > 0 || closing_cuts(session, flow);
}

static void session_cancel(struct session *session, struct op *op) {
    if (op->in_flight) {
        ring_cancel(session->engine->ring, op);
    }
}

void session_close(struct session *session, enum close_reason reason) {
    if (session->state == SESSION_CLOSING) {
        return;
    }
    session_enter(session, SESSION_CLOSING, "closes");
    session->reason = (uint8_t)reason;
    counter_add(&session->engine->counters.sessions_closed[reason], 1);
    wheel_stop(&session->timer);
    link_remove(&session->from_client.link);
    link_remove(&session->from_server.link);
    endpoint_decide_end(session, &session->from_client);
    endpoint_decide_end(session, &session->from_server);
    session_log_close(session);
    session_tally(session);
    session_cancel(session, &session->from_client.recv_op);
    session_cancel(session, &session->from_client.send_op);
    session_cancel(session, &session->from_server.recv_op);
    session_cancel(session, &session->from_server.send_op);
    if (session->chain != NULL) {
        chain_closing(session->chain);
    }
    owner_close(&session->owner);
}

void session_reset(struct session *session, enum close_reason reason) {
    session_close(session, reason);
    session->client_end.cut = true;
    session->server_end.cut = true;
}

static void endpoint_close(struct endpoint *endpoint) {
    if (endpoint->fd < 0) {
        return;
    }
    if (endpoint->cut && !endpoint->reset) {
        kernel_reset(endpoint->fd);
    } else {
        kernel_close(endpoint->fd);
    }
    endpoint->fd = -1;
}

static void session_leave_source(struct session *session) {
    if (session->source != SOURCE_NONE) {
        sources_leave(session->settings->sources, session->source, session->engine->now_us);
    }
}

/* The last hooks of its filters may still wait: neither peers nor servers wait for these. */
static void session_disconnect(struct session *session) {
    flow_finish(&session->from_client);
    flow_finish(&session->from_server);
    endpoint_close(&session->client_end);
    endpoint_close(&session->server_end);
    session_leave_server(session);
    session_leave_source(session);
    session->disconnected = true;
}

void session_hooks_are_over(struct session *session) {
    owner_settle(&session->owner);
}

static void session_release(struct owner *owner) {
    struct session *session = container_of(owner, struct session, owner);
    struct engine *engine = session->engine;
    const struct settings *settings = session->settings;
    if (!session->disconnected) {
        session_disconnect(session);
    }
    if (session->chain != NULL && session->chain->phase != PHASE_OVER) {
        return; /* until session_hooks_are_over */
    }
    session_drop_retry(session);
    free(session->introduction);
    if (session->chain != NULL) {
        chain_free(session->chain);
    }
    engine_step_over_session(engine, &session->link);
    link_remove(&session->link);
    engine->sessions_count--;
    slab_give(&engine->sessions_slab, session);
    engine->session_ended(engine, settings->counted_by);
    engine_leave(engine, settings); /* last: the listener may go with it */
}

/* One that has connected to a server since that went down was right to try. */
void session_mind_server(struct session *session) {
    bool is_connected =
        session->state == SESSION_GREETING || session->state == SESSION_RELAYING || session->state == SESSION_RESETTING;
    if (!is_connected || session->server == NULL) {
        return;
    }
    const struct health *health = &session->server->state->health;
    if (session->connected_us / 1000 > atomic_load_explicit(&health->down_ms, memory_order_relaxed)) {
        return;
    }
    switch ((enum health_sessions)atomic_load_explicit(&health->sessions, memory_order_relaxed)) {
    case HEALTH_SESSIONS_STAY:
        return;
    case HEALTH_SESSIONS_CLOSE:
        session_close(session, CLOSE_DRAINED);
        return;
    case HEALTH_SESSIONS_RESET:
        session_reset(session, CLOSE_SERVER_DOWN);
        return;
    }
}
