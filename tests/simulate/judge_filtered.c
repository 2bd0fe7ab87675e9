#include "judge_filtered.h"

#include "base/check.h"
#include "engine/chain.h"
#include "engine/session.h"
#include "file.h"
#include "script.h"
#include "world.h"

#include <inttypes.h>

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t us_to_ns(uint64_t us) {
    return us * 1000;
}

static const struct flow *flow_of(const struct passage *passage, enum direction direction) {
    const struct session *session = passage->session;
    return direction == FROM_CLIENT ? &session->from_client : &session->from_server;
}

/* The engine's end of the connection that bytes of that direction come from; NULL: there is none. A server may not have
 * accepted yet. */
static const struct stream *source_of(const struct passage *passage, enum direction direction) {
    if (direction == FROM_CLIENT) {
        return passage->client->engine;
    }
    int fd = passage->session->server_end.fd;
    return fd < 0 ? NULL : file_get(world_here(), fd, __func__)->stream;
}

static bool is_open(const struct stream *engine) {
    return engine != NULL && !engine->closed && !engine->dead;
}

static bool is_fin(enum close_reason reason) {
    return reason == CLOSE_CLIENT_FIN || reason == CLOSE_SERVER_FIN;
}

static bool is_reset(enum close_reason reason) {
    return reason == CLOSE_CLIENT_RESET || reason == CLOSE_SERVER_RESET;
}

/* Who hears an end then has heard all that there ever was. */
static bool ends_whole(enum close_reason reason) {
    return is_fin(reason) || is_reset(reason) || reason == CLOSE_REJECTED;
}

/* --- standing still ------------------------------------------------------------------------------------------------
 */

/* A stage that nothing keeps from letting its bytes go. */
static bool stage_could_move(const struct filter_session *filter_session, enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    if (stage->passed_end || stage->busy || stage->input.bytes == 0) {
        return false;
    }
    bool ripe = stage->input.bytes >= stage->need || stage->ended;
    return !stage->has_hook || (ripe && !stage_is_ahead(stage) && filter_has_room(filter_session, direction));
}

static bool queue_could_move(const struct passage *passage, enum direction direction) {
    const struct flow *flow = flow_of(passage, direction);
    const struct stream *sink = source_of(passage, direction_opposite(direction));
    bool has_sink = direction == FROM_SERVER || passage->session->chain->phase >= PHASE_CONNECTED;
    bool pending = flow->queue.bytes > 0 || flow_has_pipe(flow) || (flow->complete && !flow->ended);
    return pending && has_sink && !flow->ended && is_open(sink) && !sink->shut && stream_poll_write(sink);
}

static bool source_could_move(const struct passage *passage, enum direction direction) {
    const struct chain *chain = passage->session->chain;
    const struct flow *flow = flow_of(passage, direction);
    const struct stream *source = source_of(passage, direction);
    const struct stream *sink = source_of(passage, direction_opposite(direction));
    bool listens = chain->phase == PHASE_RELAY && !chain->ends && !flow->source_ended && is_open(sink);
    bool has_room = flow->queue.bytes + chain_backlog(chain, direction) <= FLOW_QUEUE_MAX / 2;
    bool is_free = !flow->spliced || (!flow_has_pipe(flow) && flow->queue.bytes == 0);
    is_free = is_free && !(flow->starved && flow->blocked); /* it has no use for a buffer now */
    is_free = is_free && (chain->is_filtered[direction] || flow->queue.bytes == 0 || stream_poll_write(sink));
    return listens && has_room && is_free && chain->limits[direction].rate == 0 && is_open(source) &&
           stream_poll_read(source);
}

static bool could_move(const struct passage *passage, enum direction direction) {
    const struct chain *chain = passage->session->chain;
    bool stage_could = false;
    for (uint32_t i = 0; i < chain->count && chain->phase == PHASE_RELAY; i++) {
        stage_could = stage_could || stage_could_move(&chain->sessions[i], direction);
    }
    return stage_could || queue_could_move(passage, direction) || source_could_move(passage, direction);
}

static uint64_t changed_ns(const struct passage *passage) {
    const struct stream *client = source_of(passage, FROM_CLIENT);
    const struct stream *server = source_of(passage, FROM_SERVER);
    return later(client->changed_ns, server == NULL ? 0 : server->changed_ns);
}

static void judge_stillness(const struct judge *judge, const struct passage *passage, enum direction direction) {
    uint64_t quiet_ns = judge->world->now_ns - later(changed_ns(passage), passage->active_ns);
    const struct flow *flow = flow_of(passage, direction);
    if (quiet_ns > judge_stuck_ns(judge) && could_move(passage, direction)) {
        world_violation("session %" PRIu64 " stands still for %.3f s %s: %u bytes are queued, %zu with filters; "
                        "stage %d, queue %d, source %d",
                        passage->id, (double)quiet_ns / 1e9,
                        direction == FROM_CLIENT ? "from the client" : "from the server", flow->queue.bytes,
                        chain_held(passage->session->chain, direction), could_move(passage, direction),
                        queue_could_move(passage, direction), source_could_move(passage, direction));
    }
}

void judge_filtered_bored(const struct judge *judge, const struct passage *passage) {
    if (passage->session != NULL) {
        judge_stillness(judge, passage, FROM_CLIENT);
        judge_stillness(judge, passage, FROM_SERVER);
    }
}

/* --- deadlines -----------------------------------------------------------------------------------------------------
 */

/* When a filter may hold no longer; UINT64_MAX: it does not. */
static uint64_t hold_deadline_ns(const struct passage *passage, uint32_t index, enum direction direction) {
    const struct chain *chain = passage->session->chain;
    const struct stage *stage = &chain->sessions[index].stages[direction];
    uint64_t wait_ms = chain->sessions[index].filter->hold_timeout_ms;
    bool sees = stage->has_hook || stage->busy;
    bool holds = sees && !stage->ended && stage->input.bytes > 0 && stage_wanted(stage) > stage->input.bytes;
    if (!holds || wait_ms == 0 || chain->phase != PHASE_RELAY) {
        return UINT64_MAX;
    }
    return us_to_ns(stage->came_us) + wait_ms * 1000 * 1000;
}

static uint64_t earliest_hold_ns(const struct passage *passage) {
    uint64_t earliest_ns = UINT64_MAX;
    for (uint32_t i = 0; i < passage->count; i++) {
        for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            uint64_t deadline_ns = hold_deadline_ns(passage, i, (enum direction)direction);
            earliest_ns = deadline_ns < earliest_ns ? deadline_ns : earliest_ns;
        }
    }
    return earliest_ns;
}

static uint64_t connected_ns(const struct judge *judge, const struct access_record *record) {
    return judge_started_ns(judge, record) + us_to_ns((uint64_t)record->connect_us);
}

/* A deadline that was set when some of its time had passed may be over at once. */
static void refuse_late_since_set(const struct judge *judge, const struct passage *passage, const char *deadline,
                                  uint64_t since_ns, uint64_t wait_ms) {
    uint64_t wait_ns = wait_ms * 1000 * 1000;
    uint64_t set_ns = passage->timeouts_set_ns;
    judge_refuse_late(judge, deadline, set_ns > since_ns + wait_ns ? set_ns - wait_ns : since_ns, wait_ms);
}

/* How long the hooks before the relay took, or have been taking. */
static void judge_greetings(const struct judge *judge, const struct passage *passage,
                            const struct access_record *record) {
    const struct config_timeouts *timeouts = &passage->timeouts;
    const struct chain *chain = passage->session->chain;
    uint64_t now_ns = judge->world->now_ns;
    uint64_t started_ns = judge_started_ns(judge, record);
    uint64_t routed_ns = chain->phase == PHASE_ROUTE ? now_ns : passage->routed_ns;
    uint64_t slack_ns = judge_slack_ns(judge);
    uint64_t preread_ns = timeouts->preread_ms * 1000 * 1000;
    if (preread_ns > 0 && routed_ns > started_ns + preread_ns + slack_ns) {
        world_violation("session %" PRIu64 ": its filters took too long to say where to go", passage->id);
    }
    if (chain->phase == PHASE_CONNECT_FAILED) {
        judge_refuse_late(judge, "preread, after a failure,", passage->asked_ns, timeouts->preread_ms);
    }
    if (record->connect_us < 0) {
        return;
    }
    uint64_t greeted_ns = chain->phase == PHASE_CONNECTED ? now_ns : passage->greeted_ns;
    uint64_t handshake_ns = timeouts->handshake_ms * 1000 * 1000;
    if (handshake_ns > 0 && greeted_ns > connected_ns(judge, record) + handshake_ns + slack_ns) {
        world_violation("session %" PRIu64 ": its filters took too long for their handshakes", passage->id);
    }
}

static bool is_shut(const struct stream *engine) {
    return engine == NULL || engine->shut;
}

static bool source_is_over(const struct stream *engine) {
    return engine == NULL || ((engine->in.fin_arrived || engine->dead) && engine->in.arrived == 0);
}

/* Everything was sent, and the ends: the peers have some time to end, too. */
static void judge_linger(const struct judge *judge, struct passage *passage, enum close_reason reason) {
    const struct stream *client = source_of(passage, FROM_CLIENT);
    const struct stream *server = source_of(passage, FROM_SERVER);
    bool ended = reason == CLOSE_REJECTED || is_fin(reason);
    passage->may_be_reset = true;
    bool lingers = ended && passage->session->chain->ends && !passage->has_reset;
    if (!lingers || !is_shut(client) || !is_shut(server)) {
        return;
    }
    uint64_t shut_ns = later(client->shut_ns, server == NULL ? passage->ended_ns : server->shut_ns);
    uint64_t waited_ns = judge->world->now_ns - shut_ns;
    uint64_t linger_ns = (uint64_t)CHAIN_LINGER_MS * 1000 * 1000;
    judge_refuse_late(judge, "lingering", shut_ns, CHAIN_LINGER_MS);
    bool over = source_is_over(client) && source_is_over(server);
    bool discarded = passage->session->chain->discarded >= CHAIN_DISCARD_MAX;
    passage->may_be_reset = !over;
    if (!over && !discarded && waited_ns + judge_slack_ns(judge) < linger_ns) {
        world_violation("session %" PRIu64 " did not linger: a peer has not ended, %" PRIu64
                        " bytes were discarded, and only %.3f ms have passed",
                        passage->id, passage->session->chain->discarded, (double)waited_ns / 1e6);
    }
}

enum {
    LIMIT_LATE_NS = 1000 * 1000 * 1000 / 40
}; /* until a limit that is used up lets ask again (limit.c: QUANTUM_PART) */

static void judge_inactivity(const struct judge *judge, const struct passage *passage,
                             const struct access_record *record) {
    const struct config_timeouts *timeouts = &passage->timeouts;
    const struct chain *chain = passage->session->chain;
    const struct stream *server = source_of(passage, FROM_SERVER);
    const struct stream *client = source_of(passage, FROM_CLIENT);
    bool lingers = (is_shut(client) || client->dead) && (is_shut(server) || server->dead);
    bool broke = (flow_of(passage, FROM_CLIENT)->ended && !is_shut(server)) ||
                 (flow_of(passage, FROM_SERVER)->ended && !is_shut(client)); /* nobody knows when */
    if ((chain->phase != PHASE_RELAY && chain->phase != PHASE_SERVE) || lingers || broke) {
        return;
    }
    uint64_t relayed_ns = later(judge_started_ns(judge, record), later(passage->routed_ns, passage->greeted_ns));
    relayed_ns = later(relayed_ns, record->connect_us < 0 ? 0 : connected_ns(judge, record));
    uint64_t since_ns = later(later(changed_ns(passage), relayed_ns), passage->ended_ns);
    since_ns = later(since_ns, later(client->shut_ns, server == NULL ? 0 : server->shut_ns));
    uint64_t look_ns = timeouts->send_stall_ms / 4 * 1000 * 1000;
    if (chain->limits[FROM_CLIENT].rate > 0 || chain->limits[FROM_SERVER].rate > 0) {
        since_ns += LIMIT_LATE_NS; /* an end is heard when the limit lets it ask again, and is activity, too */
    }
    refuse_late_since_set(judge, passage, "idle", since_ns + look_ns, timeouts->idle_ms);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        const struct flow *flow = flow_of(passage, (enum direction)direction);
        const struct stream *sink = source_of(passage, direction_opposite((enum direction)direction));
        if (flow->queue.bytes > 0 && is_open(sink) && !flow->ended) {
            uint64_t queued_ns = later(later(since_ns, passage->active_ns), us_to_ns(flow->stalled_us));
            refuse_late_since_set(judge, passage, "send_stall", queued_ns + look_ns, timeouts->send_stall_ms);
        }
    }
}

/* Limits are kept to the byte, but for what a moment may bring at once. */
static void judge_pace(const struct judge *judge, const struct passage *passage, enum direction direction) {
    if (source_of(passage, direction) == NULL) {
        return; /* what a filter serves is not received */
    }
    const struct pace *pace = &passage->paces[direction];
    uint64_t passed_us = (judge->world->now_ns - pace->since_ns) / 1000;
    uint64_t allowed = pace->bytes + pace->rate / 8 + pace->rate / 40 + 2;
    allowed += (uint64_t)((double)pace->rate * (double)passed_us / 1e6);
    uint64_t received = flow_of(passage, direction)->bytes;
    bool is_received = source_of(passage, direction) != NULL; /* not by a filter that serves */
    if (is_received && pace->rate > 0 && received > allowed) {
        world_violation("session %" PRIu64 " has received %" PRIu64 " bytes; its limit of %" PRIu64
                        " a second allows %" PRIu64,
                        passage->id, received, pace->rate, allowed);
    }
}

enum { HOLD_LATE_NS = 2 * 1000 * 1000 };

static void judge_deadlines(const struct judge *judge, struct passage *passage, const struct access_record *record,
                            enum close_reason reason) {
    uint64_t hold_ns = earliest_hold_ns(passage);
    refuse_late_since_set(judge, passage, "max_lifetime", judge_started_ns(judge, record),
                          passage->timeouts.max_lifetime_ms);
    judge_greetings(judge, passage, record);
    /* What a hook that ended it needed is void. Nobody holds while another hook of the filter waits; if the time was
     * over by then, a timer tells of it with the next millisecond but one at the latest. */
    bool runs = passage->active_ns + HOLD_LATE_NS >= judge->world->now_ns;
    if (hold_ns != UINT64_MAX && !runs && judge->world->now_ns > hold_ns + judge_slack_ns(judge)) {
        world_violation("session %" PRIu64 ": a filter held bytes for too long", passage->id);
    }
    judge_linger(judge, passage, reason);
    judge_pace(judge, passage, FROM_CLIENT);
    judge_pace(judge, passage, FROM_SERVER);
    if (!is_reset(reason)) {
        judge_inactivity(judge, passage, record);
        judge_stillness(judge, passage, FROM_CLIENT);
        judge_stillness(judge, passage, FROM_SERVER);
    }
}

/* --- reasons -------------------------------------------------------------------------------------------------------
 */

static void judge_fin(const struct passage *passage, enum close_reason reason) {
    if (passage->has_served || passage->has_closed_write) {
        return;
    }
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        const struct stream *source = source_of(passage, (enum direction)direction);
        if (source != NULL && !source_is_over(source)) {
            judge_refuse_reason(passage->client, reason, "one side has not ended its stream, or it was not all read");
        }
        if (chain_held(passage->session->chain, (enum direction)direction) > 0) {
            judge_refuse_reason(passage->client, reason, "filters hold bytes");
        }
    }
}

/* What is read for a receiver that is broken is only thrown away. */
static uint64_t moved_ns(const struct passage *passage) {
    uint64_t moved = 0;
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        const struct stream *source = source_of(passage, (enum direction)direction);
        const struct stream *sink = source_of(passage, direction_opposite((enum direction)direction));
        bool lost = flow_of(passage, (enum direction)direction)->ended && !is_open(sink);
        moved = later(moved, source == NULL || lost ? 0 : source->read_ns);
        moved = later(moved, sink == NULL ? 0 : sink->wrote_ns);
    }
    return moved;
}

static void judge_hold(const struct judge *judge, const struct passage *passage, enum close_reason reason) {
    if (!passage->has_overflowed && earliest_hold_ns(passage) > judge->world->now_ns) {
        judge_refuse_reason(passage->client, reason, "no filter held too much or for too long");
    }
}

static bool has_full_server(const struct judge *judge) {
    for (size_t i = 0; i < judge->scene->upstreams_count; i++) {
        for (size_t j = 0; j < judge->scene->upstreams[i].servers_count; j++) {
            if (judge->scene->upstreams[i].servers[j].connections_max > 0) {
                return true;
            }
        }
    }
    return false;
}

static bool has_health(const struct judge *judge, enum config_server_down on_server_down) {
    for (size_t i = 0; i < judge->scene->upstreams_count; i++) {
        const struct config_health *health = &judge->scene->upstreams[i].health;
        if (health->outlier.on && health->on_server_down == on_server_down) {
            return true;
        }
    }
    return false;
}

static void refuse_unless(bool fits, const struct passage *passage, enum close_reason reason, const char *but) {
    if (!fits) {
        judge_refuse_reason(passage->client, reason, but);
    }
}

static void judge_reason(const struct judge *judge, const struct passage *passage, const struct access_record *record,
                         enum close_reason reason) {
    const struct config_timeouts *timeouts = &passage->timeouts;
    const struct chain *chain = passage->session->chain;
    uint64_t started_ns = judge_started_ns(judge, record);
    const struct stream *broken = source_of(passage, reason == CLOSE_CLIENT_RESET ? FROM_CLIENT : FROM_SERVER);
    switch (reason) {
    case CLOSE_CLIENT_FIN:
    case CLOSE_SERVER_FIN:
        judge_fin(passage, reason);
        break;
    case CLOSE_CLIENT_RESET:
    case CLOSE_SERVER_RESET:
        refuse_unless(broken == NULL || broken->dead, passage, reason, "that side's connection is not broken");
        break;
    case CLOSE_REJECTED:
        refuse_unless(passage->has_ended || passage->has_closed_write, passage, reason, "no filter has ended it");
        break;
    case CLOSE_FILTER_ERROR:
        refuse_unless(passage->has_failed, passage, reason, "no filter has failed");
        break;
    case CLOSE_FILTER_BUDGET:
        refuse_unless(passage->has_run_over, passage, reason, "no filter has run for too long");
        break;
    case CLOSE_FILTER_HOLD:
        judge_hold(judge, passage, reason);
        break;
    case CLOSE_TIMEOUT_PREREAD:
        judge_refuse_early(judge, "preread", chain->phase == PHASE_ROUTE ? started_ns : passage->asked_ns,
                           timeouts->preread_ms);
        break;
    case CLOSE_TIMEOUT_HANDSHAKE:
        refuse_unless(record->connect_us >= 0, passage, reason, "it was never connected");
        judge_refuse_early(judge, "handshake", connected_ns(judge, record), timeouts->handshake_ms);
        break;
    case CLOSE_TIMEOUT_IDLE:
        judge_refuse_early(judge, "idle", moved_ns(passage), timeouts->idle_ms);
        break;
    case CLOSE_TIMEOUT_HALF_CLOSE:
        judge_refuse_early(judge, "half_close", moved_ns(passage), timeouts->half_close_ms);
        break;
    case CLOSE_TIMEOUT_SEND_STALL:
        judge_refuse_early(judge, "send_stall", started_ns, timeouts->send_stall_ms);
        break;
    case CLOSE_TIMEOUT_LIFETIME:
        judge_refuse_early(judge, "max_lifetime", started_ns, timeouts->max_lifetime_ms);
        break;
    case CLOSE_TIMEOUT_CONNECT:
    case CLOSE_NO_SERVER:
        refuse_unless(record->connect_us < 0, passage, reason, "it was connected");
        break;
    case CLOSE_DENIED:
    case CLOSE_LIMIT_SOURCE:
        refuse_unless(false, passage, reason, "it has met a filter");
        break;
    case CLOSE_PROXY_HEADER:
        refuse_unless(false, passage, reason, "its header was good, or it had met no filter");
        break;
    case CLOSE_UPSTREAM_FULL:
        refuse_unless(has_full_server(judge), passage, reason, "no server has a limit");
        break;
    case CLOSE_SERVER_DOWN:
        refuse_unless(has_health(judge, SERVER_DOWN_RESET), passage, reason, "nothing says that it should be reset");
        break;
    case CLOSE_DRAINED:
        refuse_unless(has_health(judge, SERVER_DOWN_DRAIN), passage, reason, "nothing says that it should be drained");
        break;
    case CLOSE_RETIRED:
        refuse_unless(false, passage, reason, "nothing is reloaded");
        break;
    case CLOSE_KILLED:
        refuse_unless(judge->scene->kill_us > 0, passage, reason, "nobody is there to kill it");
        break;
    case CLOSE_SHUTDOWN:
        refuse_unless(judge->closing, passage, reason, "nobody told moonring to stop");
        break;
    case CLOSE_RESOURCES:
        refuse_unless(judge->scene->world.resource_chance > 0, passage, reason, "nothing was short");
        break;
    }
}

void judge_filtered_record(struct judge *judge, struct passage *passage, const struct access_record *record,
                           enum close_reason reason) {
    judge_verdict(passage->client, reason);
    judge->filtered++;
    if (passage->server != NULL) {
        judge_verdict(passage->server, reason);
        judge->paired++;
    }
    if (!ends_whole(reason)) {
        for (uint32_t i = 0; i < passage->count; i++) {
            script_stop(&passage->session->chain->sessions[i]);
        }
    }
    judge_reason(judge, passage, record, reason);
    judge_deadlines(judge, passage, record, reason);
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        const struct stream *engine = source_of(passage, (enum direction)direction);
        passage->was_shut[direction] = engine != NULL && engine->shut;
    }
    passage_close(passage);
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

static _Noreturn void refuse_end(const struct actor *actor, const char *but) {
    passage_explain(actor->engine->passage, actor->is_server ? FROM_CLIENT : FROM_SERVER);
    world_violation("session %" PRIu64 ": %s %" PRIu64 " heard the end after %" PRIu64
                    " bytes, but %s; the session ended with %s",
                    actor->engine->passage->id, actor->is_server ? "server" : "client", actor->number, actor->heard,
                    but, close_reason_name((enum close_reason)actor->verdict.reason));
}

/* An end of the stream says: that was all. A unix socket knows no reset. */
static void judge_heard_fin(const struct actor *actor) {
    struct passage *passage = actor->engine->passage;
    enum close_reason reason = (enum close_reason)actor->verdict.reason;
    enum direction direction = actor->is_server ? FROM_CLIENT : FROM_SERVER;
    char byte;
    bool was_shut = passage->was_shut[direction_opposite(direction)];
    if (actor->engine->local && !is_fin(reason)) {
        return;
    }
    if (passage->has_reset && reason == CLOSE_REJECTED && !was_shut) {
        refuse_end(actor, "a filter has reset the session");
    }
    if (ends_whole(reason) && !passage_is_complete(passage, direction)) {
        refuse_end(actor, "that was not all");
    }
    if (!ends_whole(reason) && passage_hear(passage, direction, &byte, 1) > 0) {
        refuse_end(actor, "more had come for it");
    }
}

void judge_filtered_actor(const struct actor *actor) {
    struct passage *passage = actor->engine->passage;
    enum close_reason reason = (enum close_reason)actor->verdict.reason;
    if (actor->heard_fin) {
        judge_heard_fin(actor);
    }
    bool failed = actor->plan.ending == ENDS_BY_FAILURE;
    bool in_order = is_fin(reason) || (reason == CLOSE_REJECTED && !passage->has_reset);
    if (actor->heard_error != 0 && !failed && in_order && !passage->may_be_reset) {
        world_violation("session %" PRIu64 ": %s %" PRIu64 " heard error %d, but it ended in order", passage->id,
                        actor->is_server ? "server" : "client", actor->number, actor->heard_error);
    }
}
