#include "engine/session_parts.h"

/* A deadline and what becomes of the session when it passes. */
struct deadline {
    uint64_t us;
    enum close_reason reason;
};

static void deadline_add(struct deadline *earliest, uint64_t from_us, uint64_t wait_ms, enum close_reason reason) {
    if (wait_ms != 0 && from_us + wait_ms * 1000 < earliest->us) {
        *earliest = (struct deadline){.us = from_us + wait_ms * 1000, .reason = reason};
    }
}

static void deadline_add_stall(struct deadline *earliest, const struct session *session, const struct flow *flow) {
    if (flow->stalled_us != 0) {
        deadline_add(earliest, flow->stalled_us, session_timeouts(session)->send_stall_ms, CLOSE_TIMEOUT_SEND_STALL);
    }
}

/* Of the states that have one deadline only. */
static enum close_reason session_late_reason(const struct session *session) {
    switch ((enum session_state)session->state) {
    case SESSION_INTRODUCING:
    case SESSION_ROUTING:
        return CLOSE_TIMEOUT_PREREAD;
    case SESSION_GREETING:
        return CLOSE_TIMEOUT_HANDSHAKE;
    case SESSION_LINGERING:
        return session->chain->reason;
    case SESSION_CONNECTING:
    case SESSION_RELAYING:
    case SESSION_RESETTING:
    case SESSION_CLOSING:
        break;
    }
    return CLOSE_TIMEOUT_CONNECT;
}

/* The earliest of the deadlines that end the session. */
static struct deadline session_deadline(const struct session *session) {
    const struct config_timeouts *timeouts = session_timeouts(session);
    struct deadline earliest = {.us = UINT64_MAX, .reason = CLOSE_TIMEOUT_LIFETIME};
    deadline_add(&earliest, session->started_us, timeouts->max_lifetime_ms, CLOSE_TIMEOUT_LIFETIME);
    if (session->state == SESSION_RELAYING) {
        deadline_add(&earliest, session->progress_us, timeouts->idle_ms, CLOSE_TIMEOUT_IDLE);
        if (session->from_client.ended || session->from_server.ended) {
            deadline_add(&earliest, session->progress_us, timeouts->half_close_ms, CLOSE_TIMEOUT_HALF_CLOSE);
        }
        deadline_add_stall(&earliest, session, &session->from_client);
        deadline_add_stall(&earliest, session, &session->from_server);
    } else if (session->state == SESSION_RESETTING) {
        deadline_add(&earliest, session->progress_us, timeouts->send_stall_ms, session_reset_reason(session));
        deadline_add(&earliest, session->progress_us, timeouts->idle_ms, session_reset_reason(session));
    } else if (session->state != SESSION_CONNECTING && session->deadline_us < earliest.us) {
        earliest = (struct deadline){.us = session->deadline_us, .reason = session_late_reason(session)};
    }
    return earliest;
}

/* --- looks ---------------------------------------------------------------------------------------------------------
 */

/* When to try, or to look, again. */
static uint64_t session_look_us(const struct session *session) {
    switch ((enum session_state)session->state) {
    case SESSION_CONNECTING:
        return session->look_us;
    case SESSION_RESETTING:
        return session->deadline_us;
    case SESSION_INTRODUCING:
    case SESSION_ROUTING:
    case SESSION_GREETING:
    case SESSION_RELAYING:
    case SESSION_LINGERING:
    case SESSION_CLOSING:
        break;
    }
    return UINT64_MAX;
}

/* Looks come ever more rarely: from each millisecond to twice a second while it connects, to some 16 a second while a
 * reset waits. */
void session_look_later(struct session *session) {
    bool connects = session->state == SESSION_CONNECTING;
    uint32_t longest_ms = connects ? 500 : 64;
    session->look_ms = session->look_ms == 0 ? 1 : session->look_ms * 2;
    session->look_ms = session->look_ms < longest_ms ? session->look_ms : longest_ms;
    uint64_t *look_us = connects ? &session->look_us : &session->deadline_us;
    *look_us = session->engine->now_us + (uint64_t)session->look_ms * 1000;
    session_hurry(session);
}

static uint64_t flow_next_look_us(const struct session *session, const struct flow *flow) {
    uint64_t stall_us = session_timeouts(session)->send_stall_ms * 1000;
    bool looks = flow->stalled_us != 0 && stall_us != 0;
    return looks ? flow->stalled_us + (flow->looks + 1U) * (stall_us / FLOW_LOOKS) : UINT64_MAX;
}

static void session_look_at_flow(const struct session *session, struct flow *flow) {
    if (session->state == SESSION_RELAYING && flow_next_look_us(session, flow) <= session->engine->now_us) {
        flow_look(flow);
    }
}

static void session_look(struct session *session) {
    if (session->state == SESSION_RESETTING) {
        session_look_at_unsent(session);
    } else {
        session_connect_again(session);
    }
}

/* --- the timer -----------------------------------------------------------------------------------------------------
 */

static uint64_t earlier(uint64_t a_us, uint64_t b_us) {
    return a_us < b_us ? a_us : b_us;
}

/* When the timer must fire at the latest: at the deadline, or for the state's own business. */
static uint64_t session_due_us(const struct session *session) {
    uint64_t due_us = earlier(session_deadline(session).us, session_line_due_us(session));
    due_us = earlier(due_us, session_look_us(session));
    if (session->chain != NULL) {
        due_us = earlier(due_us, chain_due_us(session->chain));
    }
    if (session->state == SESSION_CONNECTING) {
        due_us = earlier(due_us, session->deadline_us);
    } else if (session->state == SESSION_RELAYING) {
        due_us = earlier(due_us, flow_next_look_us(session, &session->from_client));
        due_us = earlier(due_us, flow_next_look_us(session, &session->from_server));
    }
    return due_us;
}

void session_hurry(struct session *session) {
    uint64_t due_us = session_due_us(session);
    if (session->owner.closing || due_us == UINT64_MAX) {
        return;
    }
    uint64_t due_ms = due_us / 1000 + 1; /* up: a timer must not fire before its time and find nothing to do */
    if (!timer_is_set(&session->timer) || due_ms < session->timer.due_ms) {
        wheel_set(&session->engine->wheel, &session->timer, due_ms);
    }
}

/* Progress only stores the time; so a timer that fires may find that its deadline has moved, and is set again. */
void session_fired(struct timer *timer) {
    struct session *session = container_of(timer, struct session, timer);
    uint64_t now_us = session->engine->now_us;
    if (session->state == SESSION_CLOSING) {
        chain_abandon(session->chain); /* the time of its last hooks is over */
        return;
    }
    session_log_live(session);
    if (session->chain != NULL && chain_due_us(session->chain) <= now_us) {
        chain_fired(session->chain);
        if (session->owner.closing) {
            return;
        }
    }
    session_look_at_flow(session, &session->from_client);
    session_look_at_flow(session, &session->from_server);
    if (session->state == SESSION_ROUTING && session->deadline_us <= now_us) {
        chain_route_late(session->chain);
        if (session->owner.closing) {
            return;
        }
    }
    struct deadline deadline = session_deadline(session);
    if (deadline.us <= now_us) {
        session_close(session, deadline.reason);
        return;
    }
    if (session->state == SESSION_CONNECTING && session->deadline_us <= now_us) {
        session_connect_too_slow(session);
    } else if (session_look_us(session) <= now_us) {
        session_look(session);
    }
    session_hurry(session);
}
