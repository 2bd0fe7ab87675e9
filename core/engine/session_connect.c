#include "engine/session_parts.h"

#include "base/log.h"
#include "engine/tally.h"

#include <errno.h>
#include <stdatomic.h>

/* --- choosing a server ---------------------------------------------------------------------------------------------
 */

const struct upstream *session_upstream(const struct session *session) {
    const struct chain *chain = session->chain;
    return chain != NULL && chain->upstream != NULL ? chain->upstream : session->settings->upstream;
}

/* NULL: nobody counts, or a filter has named an address instead of an upstream. */
struct tally_cells *session_upstream_tally(const struct session *session) {
    const struct chain *chain = session->chain;
    bool routed = chain != NULL && chain->upstream != NULL;
    struct tally_cells **tallies = session->settings->epoch->tallies;
    if (tallies == NULL || (routed && chain->upstream == &chain->direct)) {
        return NULL;
    }
    return tallies[routed ? chain->upstream_index : session->settings->upstream_index];
}

/* Of a route's answer that is an address. */
static struct server *session_pick_direct(struct session *session) {
    struct server *server = &session->chain->direct_server;
    bool tried = session->retry != NULL && session->retry->tried_count > 0;
    return !tried && server_enter(server) ? server : NULL;
}

static struct server *session_pick_from(struct session *session, struct balance *balance) {
    const struct retry *retry = session->retry;
    struct server *const *tried = retry == NULL ? NULL : retry->tried;
    size_t tried_count = retry == NULL ? 0 : retry->tried_count;
    if (session->chain != NULL && session->chain->has_key) {
        return balance_pick_by_key(balance, session->chain->key, tried, tried_count);
    }
    return balance_pick(balance, tried, tried_count);
}

/* A server that has room, counted in; or NULL. A place may go to another worker between the look and the count. */
static struct server *session_pick(struct session *session) {
    const struct chain *chain = session->chain;
    bool routed = chain != NULL && chain->upstream != NULL;
    if (routed && chain->upstream == &chain->direct) {
        return session_pick_direct(session);
    }
    size_t index = routed ? chain->upstream_index : session->settings->upstream_index;
    struct balance *balance = &session->settings->epoch->balances[index];
    for (size_t i = 0; i <= balance->servers_count; i++) {
        struct server *server = session_pick_from(session, balance);
        if (server == NULL || server_enter(server)) {
            return server;
        }
    }
    return NULL;
}

void session_leave_server(struct session *session) {
    if (session->server != NULL) {
        server_leave(session->server);
    }
}

/* --- when none was reached -----------------------------------------------------------------------------------------
 */

/* Every server was tried: wait a little, then begin with all of them again. */
static void session_back_off(struct session *session) {
    session->retry->tried_count = 0;
    session->deadline_us = UINT64_MAX;
    session->look_us = session->engine->now_us + session_upstream(session)->retry_backoff_ms * 1000;
    session->doing = "waits before it tries the servers again";
    session_hurry(session);
}

void session_give_up(struct session *session) {
    const struct upstream *upstream = session_upstream(session);
    if (session->tries == 0 && !servers_are_out(upstream->servers, upstream->servers_count)) {
        session_close(session, CLOSE_UPSTREAM_FULL);
    } else {
        session_close(session, session->timed_out ? CLOSE_TIMEOUT_CONNECT : CLOSE_NO_SERVER);
    }
}

/* A filter may know another way. */
static void session_reached_none(struct session *session) {
    session->deadline_us = UINT64_MAX;
    session->look_us = UINT64_MAX;
    if (session->chain == NULL || !chain_connect_failed(session->chain)) {
        session_give_up(session);
        return;
    }
    if (session->state == SESSION_CONNECTING && session->chain->phase == PHASE_CONNECT_FAILED) {
        session->doing = "asks the filters for another server";
        session->deadline_us = deadline_in_ms(session, session_timeouts(session)->preread_ms);
        session_hurry(session);
    }
}

static void session_no_server(struct session *session) {
    bool tried_all = session->retry != NULL && session->retry->tried_count > 0;
    if (tried_all && session->tries < session_upstream(session)->retry_attempts) {
        session_back_off(session);
        return;
    }
    if (session->tries == 0) {
        const struct upstream *upstream = session_upstream(session);
        session->error = servers_are_out(upstream->servers, upstream->servers_count)
                             ? "no server of the upstream is in service"
                             : "every server of the upstream has its max_connections";
    }
    session_reached_none(session);
}

/* --- connecting to it ----------------------------------------------------------------------------------------------
 */

static void session_connect_done(struct op *op, const struct completion *completion);

/* Nothing is sent to a server before it is connected. */
static struct op *connect_op(struct session *session) {
    return &session->from_client.send_op;
}

static void session_start_connect(struct session *session) {
    struct op *op = connect_op(session);
    session->look_us = UINT64_MAX;
    op->done = session_connect_done;
    ring_connect(session->engine->ring, op, session->server_end.fd, &session->server->address);
}

/* Closing would give the client's descriptor to the next client, who would find none for a server either, and so on:
 * while this one waits, accept fails and pauses. */
static void session_wait_for_descriptor(struct session *session, int number) {
    session_leave_server(session);
    session->server = NULL;
    session->error = error_name(number);
    if (session->deadline_us == 0 || session->deadline_us == UINT64_MAX) { /* a first try, or after a backoff */
        session->deadline_us = deadline_in_ms(session, session_timeouts(session)->connect_ms);
    }
    session->engine->exhausted(session->engine, number);
    session_enter(session, SESSION_CONNECTING, "waits for a free descriptor");
    session_look_later(session);
}

void session_connect(struct session *session) {
    const struct settings *settings = session->settings;
    struct engine *engine = session->engine;
    session->server = session_pick(session);
    if (session->server == NULL) {
        session_no_server(session);
        return;
    }
    const struct address *address = &session->server->address;
    int fd = kernel_socket(address_family(address));
    if (fd < 0) {
        session_wait_for_descriptor(session, -fd);
        return;
    }
    kernel_set_tcp(fd, address_family(address), &settings->tcp);
    /* A blocking connect to a unix server with a full queue would hold a helper thread of the kernel. */
    if (address_is_unix(address)) {
        kernel_set_nonblocking(fd, true);
    }
    session->server_end.fd = fd;
    session->tries++;
    session->timed_out = false;
    session->look_ms = 0;
    uint64_t upstream_ms = session_upstream(session)->connect_ms;
    session->deadline_us =
        deadline_in_ms(session, upstream_ms != UINT64_MAX ? upstream_ms : session_timeouts(session)->connect_ms);
    session_enter(session, SESSION_CONNECTING, "connects to the server");
    counter_add(&engine->counters.connects, 1);
    session_start_connect(session);
    session_hurry(session);
}

void session_connect_again(struct session *session) {
    session->look_us = UINT64_MAX;
    if (session->server == NULL) {
        session_connect(session); /* the backoff is over */
    } else {
        session_start_connect(session);
    }
}

void session_routed(struct session *session) {
    session_enter(session, SESSION_CONNECTING, "chooses a server");
    session->deadline_us = 0;
    session->tries = 0;
    if (session->retry != NULL) {
        session->retry->tried_count = 0;
    }
    if (session_upstream(session) == NULL) {
        session->error = "no filter named a server, and the listener has no upstream";
        session_close(session, CLOSE_NO_SERVER);
    } else {
        session_connect(session);
    }
}

/* --- how it ended --------------------------------------------------------------------------------------------------
 */

/* A server that begins to fail is worth one line, and so is one that comes back. */
static void session_report_failure(const struct session *session) {
    if (!atomic_exchange(&session->server->state->failing, true)) {
        log_warn("upstream %s: server %s does not answer: %s", session_upstream(session)->name, session->server->name,
                 session->error);
    }
    log_debug("upstream %s: server %s: %s", session_upstream(session)->name, session->server->name, session->error);
}

static void session_report_success(const struct session *session) {
    if (atomic_load_explicit(&session->server->state->failing, memory_order_relaxed) &&
        atomic_exchange(&session->server->state->failing, false)) {
        log_info("upstream %s: server %s answers again", session_upstream(session)->name, session->server->name);
    }
}

void session_drop_retry(struct session *session) {
    if (!session->connected && session->retry != NULL) {
        slab_give(&session->engine->retries_slab, session->retry);
    }
}

/* The tries are over: their memory tells of the connection now. */
static void session_note_connect(struct session *session) {
    session_drop_retry(session);
    session->connected = true;
    session->connected_us = session->engine->now_us;
    session->first_byte_us = 0;
}

static void session_relay(struct session *session) {
    session_report_success(session);
    if (server_note_success(session->server)) {
        session->engine->suspected(session->engine);
    }
    session_note_connect(session);
    tally_time(session_upstream_tally(session), &tally_connects, session->connected_us - session->started_us);
    session->error = NULL; /* of earlier tries */
    session->look_ms = 0;
    if (address_is_unix(&session->server->address)) {
        kernel_set_nonblocking(session->server_end.fd, false);
    }
    session_progress(session);
    bool introduces = session_upstream(session)->proxy_version != 0;
    if (introduces && !introduction_send(session)) {
        session_close(session, CLOSE_RESOURCES);
        return;
    }
    if (session->chain == NULL) {
        session_start_relay(session);
        if (introduces) {
            flow_pump(&session->from_client); /* the server may wait for it before it says a word */
        }
        return;
    }
    session_enter(session, SESSION_GREETING, "the filters greet");
    session->deadline_us = deadline_in_ms(session, session_timeouts(session)->handshake_ms);
    chain_connected(session->chain);
    session_hurry(session);
}

/* False: no memory to remember it by, so there is no next try either. */
static bool session_remember_try(struct session *session) {
    if (session->retry == NULL) {
        session->retry = slab_take(&session->engine->retries_slab);
        if (session->retry == NULL) {
            return false;
        }
        session->retry->tried_count = 0;
    }
    struct retry *retry = session->retry;
    check(retry->tried_count < SESSION_TRIES_MAX);
    retry->tried[retry->tried_count++] = session->server;
    return true;
}

static void session_try_failed(struct session *session, int number) {
    struct engine *engine = session->engine;
    counter_add(&engine->counters.connects_failed, 1);
    if (server_note_failure(session->server, session->timed_out ? ETIMEDOUT : -number)) {
        engine->suspected(engine);
    }
    session->error = session->timed_out ? "connect timed out" : error_name(-number);
    session_report_failure(session);
    kernel_close(session->server_end.fd);
    session->server_end.fd = -1;
    session->deadline_us = 0;
    bool again = session->tries < session_upstream(session)->retry_attempts && session_remember_try(session);
    session_leave_server(session);
    session->server = NULL;
    if (again) {
        counter_add(&engine->counters.retries, 1);
        session_connect(session);
    } else {
        session_reached_none(session);
    }
}

void session_connect_too_slow(struct session *session) {
    if (session->server_end.fd < 0) {
        bool asks = session->chain != NULL && session->chain->phase == PHASE_CONNECT_FAILED;
        session_close(session, asks ? CLOSE_TIMEOUT_PREREAD : CLOSE_RESOURCES);
        return;
    }
    session->deadline_us = UINT64_MAX;
    session->look_us = UINT64_MAX;
    session->timed_out = true;
    if (connect_op(session)->in_flight) {
        ring_cancel(session->engine->ring, connect_op(session));
    } else {
        session_try_failed(session, -ETIMEDOUT); /* it waited for room in the server's queue */
    }
}

static void session_connect_done(struct op *op, const struct completion *completion) {
    struct session *session = container_of(op, struct session, from_client.send_op);
    if (session->owner.closing) {
        return;
    }
    if (completion->result == 0) {
        session_relay(session);
    } else if (completion->result == -EAGAIN && !session->timed_out) {
        session->doing = "waits for room in the server's queue";
        session_look_later(session);
    } else {
        session_try_failed(session, completion->result);
    }
}
