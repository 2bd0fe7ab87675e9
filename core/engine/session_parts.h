/* What the files of the session share: session.c opens, relays and closes it; session_client.c knows the client, and
 * whether it may come in; session_connect.c finds a server and connects to it; session_time.c is about deadlines;
 * session_lines.c tells of it in the access log and to people. */
#ifndef MOONRING_ENGINE_SESSION_PARTS_H
#define MOONRING_ENGINE_SESSION_PARTS_H

#include "engine/chain.h"
#include "engine/session.h"

/* A filter may have set its own. */
static inline const struct config_timeouts *session_timeouts(const struct session *session) {
    return session->chain == NULL ? &session->settings->timeouts : &session->chain->timeouts;
}

static inline void session_enter(struct session *session, enum session_state state, const char *doing) {
    session->state = (uint8_t)state;
    session->doing = doing;
}

static inline uint64_t deadline_in_ms(const struct session *session, uint64_t wait_ms) {
    return wait_ms == 0 ? UINT64_MAX : session->engine->now_us + wait_ms * 1000;
}

/* --- session.c -----------------------------------------------------------------------------------------------------
 */

/* There is a server, or a filter serves: bytes flow. */
void session_start_relay(struct session *session);
/* The close reason of a session one of whose sides broke. */
enum close_reason session_reset_reason(const struct session *session);
/* RESETTING: passes the reset on once the receiver has all that was delivered; looks again later until then. */
void session_look_at_unsent(struct session *session);

/* --- session_client.c ----------------------------------------------------------------------------------------------
 */

/* Notes who connected, if anybody wants to know. To be called at once: a client that is gone has no address. */
void session_note_peer(struct session *session);
/* Rules and limits let the client in, who is counted then. False: the session was closed. */
bool session_is_let_in(struct session *session);
/* Who connected may say that somebody else is the client. False: the session was closed. */
bool session_trusts_peer(struct session *session);

/* --- session_connect.c ---------------------------------------------------------------------------------------------
 */

/* Chooses a server and connects to it, or to another one when that fails; at last relays, or closes. */
void session_connect(struct session *session);
/* The time has come to try again, after a backoff or on a server that had no room. */
void session_connect_again(struct session *session);
/* This try has taken too long. */
void session_connect_too_slow(struct session *session);
/* NULL: nobody counts, or a filter has named an address instead of an upstream. */
struct tally_cells *session_upstream_tally(const struct session *session);
/* Its server, if it has one, has room for another session. */
void session_leave_server(struct session *session);
/* Nobody needs to know any more which servers were tried. */
void session_drop_retry(struct session *session);

/* --- session_time.c ------------------------------------------------------------------------------------------------
 */

/* Of the session's timer. */
void session_fired(struct timer *timer);
/* CONNECTING, RESETTING: looks again, ever more rarely. */
void session_look_later(struct session *session);

/* --- session_lines.c -----------------------------------------------------------------------------------------------
 */

/* Lines of the access log, where they are wanted: it was let in, */
void session_log_open(const struct session *session);
/* it is closed, */
void session_log_close(const struct session *session);
/* it lives on, and the next such line is due: */
void session_log_live(struct session *session);
/* at this time, or never (UINT64_MAX). */
uint64_t session_line_due_us(const struct session *session);

#endif
