#include "engine/session.h"

#include "base/admission.h"
#include "base/log.h"
#include "engine/chain.h"
#include "engine/sources.h"
#include "engine/tally.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static void session_release(struct owner *owner);
static void session_log_open(const struct session *session);
static void session_log_live(struct session *session);
static uint64_t session_line_due_us(const struct session *session);
static void session_fired(struct timer *timer);
static void session_connect(struct session *session);
static void session_connect_done(struct op *op, const struct completion *completion);

/* A filter may have set its own. */
static const struct config_timeouts *session_timeouts(const struct session *session) {
    return session->chain == NULL ? &session->settings->timeouts : &session->chain->timeouts;
}

/* An idle session is this and nothing else. */
_Static_assert(sizeof(struct session) <= 464, "a million idle sessions should not need more than half a GB");

static void session_enter(struct session *session, enum session_state state, const char *doing) {
    session->state = (uint8_t)state;
    session->doing = doing;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static bool session_has_filters(const struct session *session) {
    return settings_have_filters(session->settings);
}

static bool session_wants_peer(const struct session *session) {
    const struct settings *settings = session->settings;
    bool sends_header = settings->upstream != NULL && settings->upstream->proxy_version != 0;
    bool judges = settings_judge(settings) || settings->proxy_versions != 0;
    return settings->epoch->access_log != NULL || judges || sends_header || session_has_filters(session);
}

/* Asked for at once: a client that is gone has no address any more. */
static void session_note_peer(struct session *session) {
    struct address address;
    if (!session_wants_peer(session) || kernel_peer_address(session->client_end.fd, &address) < 0) {
        return;
    }
    struct peer *peer = &session->peer;
    peer->family = (uint8_t)address_family(&address);
    if (peer->family == AF_INET) {
        peer->v4 = address.v4.sin_addr;
        peer->port = address.v4.sin_port;
    } else if (peer->family == AF_INET6) {
        peer->v6 = address.v6.sin6_addr;
        peer->port = address.v6.sin6_port;
        peer->scope = address.v6.sin6_scope_id;
    }
}

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

static uint64_t deadline_in_ms(const struct session *session, uint64_t wait_ms) {
    return wait_ms == 0 ? UINT64_MAX : session->engine->now_us + wait_ms * 1000;
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

/* Rules and limits are about IP addresses: who may connect to a unix socket is a matter of its file's mode. */
static bool session_passes_rules(const struct session *session, const struct cidr_ip *ip) {
    const struct admission *admission = session->settings->admission;
    return admission == NULL || admission_allows(admission, ip);
}

static bool session_passes_limits(struct session *session, const struct cidr_ip *ip) {
    const struct settings *settings = session->settings;
    return settings->sources == NULL ||
           sources_enter(settings->sources, settings->per_source, ip, session->engine->now_us, &session->source);
}

/* It broke before it could be asked for its address, which the kernel then does not know any more. To let it in
 * uncounted would let whoever resets at once past every limit, up to the servers. */
static void session_end_unknown(struct session *session) {
    session->client_end.reset = true;
    session->error = "it was gone before its address was known";
    session_close(session, CLOSE_CLIENT_RESET);
}

/* A proxy whose client has no IP address answers for it with its own: otherwise it need only name a unix client to get
 * past rules and limits. */
static void session_judged_peer(const struct session *session, struct address *address) {
    session_peer(session, address);
    if (address_is_unix(address)) {
        session_direct_peer(session, address);
    }
}

static bool session_is_let_in(struct session *session) {
    if (!settings_judge(session->settings)) {
        return true;
    }
    struct address address;
    struct cidr_ip ip;
    session_judged_peer(session, &address);
    if (address_is_unix(&address)) {
        return true;
    }
    if (!cidr_ip_of(&ip, &address)) {
        session_end_unknown(session);
        return false;
    }
    bool allowed = session_passes_rules(session, &ip);
    if (!allowed || !session_passes_limits(session, &ip)) {
        session_reset(session, allowed ? CLOSE_LIMIT_SOURCE : CLOSE_DENIED);
        return false;
    }
    return true;
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

/* Who may say that somebody else is the client. Who may connect to a unix socket is a matter of its file's mode. False:
 * the session is closed. */
static bool session_trusts_peer(struct session *session) {
    struct address peer;
    struct cidr_ip ip;
    session_direct_peer(session, &peer);
    if (address_is_unix(&peer)) {
        return true;
    }
    if (!cidr_ip_of(&ip, &peer)) {
        session_end_unknown(session);
        return false;
    }
    if (!admission_allows(session->settings->trusted, &ip)) {
        session->error = "proxy_protocol.trusted does not name it";
        session_reset(session, CLOSE_DENIED);
        return false;
    }
    return true;
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

/* --- connecting ------------------------------------------------------------------------------------------------- */

const struct upstream *session_upstream(const struct session *session) {
    const struct chain *chain = session->chain;
    return chain != NULL && chain->upstream != NULL ? chain->upstream : session->settings->upstream;
}

/* NULL: nobody counts, or a filter has named an address instead of an upstream. */
static struct tally_cells *session_upstream_tally(const struct session *session) {
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

static void session_leave_server(struct session *session) {
    if (session->server != NULL) {
        server_leave(session->server);
    }
}

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
static void session_look_later(struct session *session) {
    bool connects = session->state == SESSION_CONNECTING;
    uint32_t longest_ms = connects ? 500 : 64;
    session->look_ms = session->look_ms == 0 ? 1 : session->look_ms * 2;
    session->look_ms = session->look_ms < longest_ms ? session->look_ms : longest_ms;
    uint64_t *look_us = connects ? &session->look_us : &session->deadline_us;
    *look_us = session->engine->now_us + (uint64_t)session->look_ms * 1000;
    session_hurry(session);
}

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

static void session_connect(struct session *session) {
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

static void session_start_relay(struct session *session) {
    session_enter(session, SESSION_RELAYING, "relays");
    session_progress(session);
    flow_start(&session->from_client);
    flow_start(&session->from_server);
    if (session->from_client.ended && session->from_server.ended) { /* by a filter, before it began */
        session_flow_ended(session, &session->from_server);
    }
    session_hurry(session);
}

static void session_drop_retry(struct session *session) {
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

/* --- relaying --------------------------------------------------------------------------------------------------- */

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

static enum close_reason reset_reason(const struct session *session) {
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
        session_close(session, reset_reason(session)); /* nobody is there to take what came before */
    }
}

/* A reset overtakes data: it is passed on only when the receiver's kernel has acknowledged all that was delivered.
 * (A reset at once destroyed all but 4 KiB of 3 MB.) */
static void session_look_at_unsent(struct session *session) {
    struct flow *flow = session->client_end.reset ? &session->from_client : &session->from_server;
    const struct endpoint *receiver = flow_sink(flow);
    int unsent = receiver->reset || receiver->fd < 0 ? 0 : kernel_unsent(receiver->fd);
    if (unsent <= 0) {
        session_close(session, reset_reason(session));
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
            session_close(session, reset_reason(session)); /* nobody is there to take the rest */
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

/* --- time ------------------------------------------------------------------------------------------------------- */

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
        deadline_add(&earliest, session->progress_us, timeouts->send_stall_ms, reset_reason(session));
        deadline_add(&earliest, session->progress_us, timeouts->idle_ms, reset_reason(session));
    } else if (session->state != SESSION_CONNECTING && session->deadline_us < earliest.us) {
        earliest = (struct deadline){.us = session->deadline_us, .reason = session_late_reason(session)};
    }
    return earliest;
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

static void session_connect_too_slow(struct session *session) {
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

static void session_look(struct session *session) {
    if (session->state == SESSION_RESETTING) {
        session_look_at_unsent(session);
        return;
    }
    session->look_us = UINT64_MAX;
    if (session->server == NULL) {
        session_connect(session); /* the backoff is over */
    } else {
        session_start_connect(session);
    }
}

/* Progress only stores the time; so a timer that fires may find that its deadline has moved, and is set again. */
static void session_fired(struct timer *timer) {
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

/* --- closing ---------------------------------------------------------------------------------------------------- */

static int64_t since_start_us(const struct session *session, uint64_t at_us) {
    return (int64_t)(at_us - session->started_us);
}

void session_direct_peer(const struct session *session, struct address *address) {
    const struct peer *peer = &session->peer;
    *address = (struct address){.length = 0}; /* a client that was gone at once has none */
    if (peer->family == AF_INET) {
        address->length = sizeof address->v4;
        address->v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = peer->port, .sin_addr = peer->v4};
    } else if (peer->family == AF_INET6) {
        address->length = sizeof address->v6;
        address->v6 = (struct sockaddr_in6){
            .sin6_family = AF_INET6, .sin6_port = peer->port, .sin6_addr = peer->v6, .sin6_scope_id = peer->scope};
    } else if (peer->family == AF_UNIX) {
        address->length = sizeof(sa_family_t);
        address->any.sa_family = AF_UNIX;
    }
}

void session_peer(const struct session *session, struct address *peer) {
    if (session->introduction != NULL && session->introduction->header.source.length > 0) {
        *peer = session->introduction->header.source;
    } else {
        session_direct_peer(session, peer);
    }
}

void session_destination(const struct session *session, struct address *address) {
    if (session->introduction != NULL && session->introduction->header.destination.length > 0) {
        *address = session->introduction->header.destination;
    } else if (kernel_local_address(session->client_end.fd, address) < 0) {
        address->length = 0;
    }
}

static void peer_format(const struct session *session, char *text, size_t text_size) {
    struct address address;
    session_peer(session, &address);
    address_format(&address, text, text_size);
}

static void tcp_note(int fd, int64_t *rtt_us, int64_t *retransmits) {
    struct kernel_tcp_state state;
    bool known = fd >= 0 && kernel_tcp_state(fd, &state) == 0;
    *rtt_us = known ? (int64_t)state.rtt_us : -1;
    *retransmits = known ? (int64_t)state.retransmits : -1;
}

static void session_write_line(const struct session *session, const char *event) {
    struct engine *engine = session->engine;
    const struct epoch *epoch = session->settings->epoch;
    const struct upstream *upstream = session_upstream(session);
    bool closes = session->state == SESSION_CLOSING;
    bool connected = session->connected;
    bool answered = connected && session->first_byte_us != 0;
    char client[ADDRESS_TEXT_MAX];
    struct access_tcp tcp;
    peer_format(session, client, sizeof client);
    if (epoch->access_lines.tcp_info) {
        tcp_note(session->client_end.fd, &tcp.client_rtt_us, &tcp.client_retransmits);
        tcp_note(session->server_end.fd, &tcp.server_rtt_us, &tcp.server_retransmits);
    }
    const struct access_record record = {
        .time_ms = kernel_wall_ms(),
        .event = event,
        .id = session->id,
        .worker = engine->number,
        .listener = session->settings->listener,
        .client = client,
        .upstream = upstream == NULL ? NULL : upstream->name,
        .server = session->server == NULL ? NULL : session->server->name,
        .server_address = session->server == NULL ? NULL : session->server->address_text,
        .tries = session->tries,
        .connect_us = connected ? since_start_us(session, session->connected_us) : -1,
        .first_byte_us = answered ? since_start_us(session, session->first_byte_us) : -1,
        .duration_us = since_start_us(session, engine->now_us),
        .from_client_bytes = session->from_client.bytes,
        .from_server_bytes = session->from_server.bytes,
        .reason = closes ? close_reason_name(session->reason) : NULL,
        .ended_by = closes ? close_reason_ended_by(session->reason) : NULL,
        .error = session->error,
        .tcp = epoch->access_lines.tcp_info ? &tcp : NULL,
    };
    if (!access_queue_write(epoch->access_log, &record)) {
        counter_add(&engine->counters.access_lost, 1);
    }
}

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

static bool session_is_empty(const struct session *session) {
    return session->from_client.bytes == 0 && session->from_server.bytes == 0;
}

static bool session_was_ended_by_peers(const struct session *session) {
    return session->reason == CLOSE_CLIENT_FIN || session->reason == CLOSE_SERVER_FIN ||
           session->reason == CLOSE_CLIENT_RESET || session->reason == CLOSE_SERVER_RESET;
}

static void session_log_open(const struct session *session) {
    const struct epoch *epoch = session->settings->epoch;
    if (epoch->access_log != NULL && epoch->access_lines.at_open) {
        session_write_line(session, "open");
    }
}

static void session_log_close(const struct session *session) {
    const struct epoch *epoch = session->settings->epoch;
    bool skips = epoch->access_lines.skip_empty && session_is_empty(session) && session_was_ended_by_peers(session);
    if (epoch->access_log != NULL && !epoch->access_lines.not_at_close && !skips) {
        session_write_line(session, "close");
    }
}

/* When the next line about a session that lives on is due. */
static uint64_t session_line_due_us(const struct session *session) {
    const struct epoch *epoch = session->settings->epoch;
    uint64_t every_us = epoch->access_lines.every_us;
    bool wanted = epoch->access_log != NULL && every_us != 0;
    return wanted ? session->started_us + (session->periods + 1) * every_us : UINT64_MAX;
}

/* One line, however late it is; none before it is known who the client is, and that it may come in. */
static void session_log_live(struct session *session) {
    const struct access_lines *lines = &session->settings->epoch->access_lines;
    if (session_line_due_us(session) > session->engine->now_us) {
        return;
    }
    session->periods = (uint32_t)((session->engine->now_us - session->started_us) / lines->every_us);
    bool skips = lines->skip_empty && session_is_empty(session);
    if (session->state != SESSION_INTRODUCING && !skips) {
        session_write_line(session, "live");
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

/* --- for people ------------------------------------------------------------------------------------------------- */

const char *session_state_name(enum session_state state) {
    switch (state) {
    case SESSION_INTRODUCING:
        return "introducing";
    case SESSION_ROUTING:
        return "routing";
    case SESSION_CONNECTING:
        return "connecting";
    case SESSION_GREETING:
        return "greeting";
    case SESSION_LINGERING:
        return "lingering";
    case SESSION_RELAYING:
        return "relaying";
    case SESSION_RESETTING:
        return "resetting";
    case SESSION_CLOSING:
        return "closing";
    }
    return "unknown";
}

void session_client(const struct session *session, struct address *address) {
    session_peer(session, address);
    bool noted = address->length > 0 && (!address_is_unix(address) || session->introduction != NULL);
    if (!noted && session->client_end.fd >= 0 && kernel_peer_address(session->client_end.fd, address) < 0) {
        address->length = 0;
    }
}

void session_describe(const struct session *session, struct bytes *out) {
    uint64_t now_us = session->engine->now_us;
    char client[ADDRESS_TEXT_MAX];
    char doing[128];
    bool filter_does = session->chain != NULL && chain_describe(session->chain, doing, sizeof doing);
    struct address address;
    session_client(session, &address);
    address_format(&address, client, sizeof client);
    bytes_printf(out, "session %lu worker=%u listener=%s client=", (unsigned long)session->id, session->engine->number,
                 session->settings->listener);
    bytes_append_escaped(out, client, strlen(client)); /* a unix client chooses its name */
    bytes_printf(out,
                 " server=%s state=%s doing=\"%s\" age=%.3f quiet=%.3f "
                 "tries=%u from_client_bytes=%lu from_server_bytes=%lu from_client_queued=%zu from_server_queued=%zu "
                 "in_flight=%u\n",
                 session->server == NULL ? "-" : session->server->name, session_state_name(session->state),
                 filter_does ? doing : session->doing, (double)(now_us - session->started_us) / 1e6,
                 (double)(now_us - session->progress_us) / 1e6, session->tries,
                 (unsigned long)session->from_client.bytes, (unsigned long)session->from_server.bytes,
                 flow_undelivered(&session->from_client), flow_undelivered(&session->from_server), session->owner.held);
}
