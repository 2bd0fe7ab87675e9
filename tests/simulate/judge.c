#include "judge.h"

#include "base/check.h"
#include "engine/flow.h"
#include "judge_filtered.h"
#include "passage.h"
#include "script.h"
#include "world.h"

#include <inttypes.h>
#include <string.h>

/* What a session may need beyond a deadline: a tick or two of the wheel, and completions that come late. */
uint64_t judge_slack_ns(const struct judge *judge) {
    const struct world_options *options = &judge->scene->world;
    return ((uint64_t)10 * 1000 + (uint64_t)10 * options->delay_us_max + (uint64_t)2 * options->latency_us_max) * 1000;
}

/* So long nothing happens though something could: then nothing ever will. */
uint64_t judge_stuck_ns(const struct judge *judge) {
    return 20 * judge_slack_ns(judge) + (uint64_t)500 * 1000 * 1000;
}

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static const char *role(const struct actor *actor) {
    return actor->is_server ? "server" : "client";
}

/* --- both ends -----------------------------------------------------------------------------------------------------
 */

/* Bytes that the engine has read from one actor and not written to its partner. Pairs of which a byte was heard only.
 * As long as a server has not heard the end of its header nobody knows what of that was written are the client's. */
static uint64_t held(const struct actor *from) {
    if (from->partner->is_server && header_is_pending(from->partner->header)) {
        return 0;
    }
    return from->engine->read - from->partner->engine->written;
}

static bool is_open(const struct stream *engine) {
    return !engine->closed && !engine->dead;
}

/* There is something to pass on and somebody to take it. */
static bool could_move(const struct actor *from) {
    const struct stream *source = from->engine;
    const struct stream *sink = from->partner->engine;
    bool pending = source->in.arrived > 0 || held(from) > 0 || (source->in.fin_arrived && !sink->shut);
    return pending && is_open(source) && is_open(sink) && !sink->shut && stream_poll_write(sink);
}

static void judge_stuck(const struct judge *judge, const struct actor *from) {
    const struct stream *source = from->engine;
    const struct stream *sink = from->partner->engine;
    uint64_t quiet_ns = judge->world->now_ns - later(source->changed_ns, sink->changed_ns);
    if (could_move(from) && quiet_ns > judge_stuck_ns(judge)) {
        world_violation("the flow from %s %" PRIu64 " to %s %" PRIu64 " stopped %.3f s ago: %u bytes can be read%s, "
                        "%" PRIu64 " are held, and %u could be written",
                        role(from), from->number, role(from->partner), from->partner->number, (double)quiet_ns / 1e9,
                        source->in.arrived, source->in.fin_arrived ? " up to the end" : "", held(from),
                        stream_writable(sink));
    }
}

void judge_moved(struct judge *judge, const struct actor *actor) {
    uint64_t most = later(FLOW_QUEUE_MAX, judge->world->pipe_size_max);
    if (actor->partner == NULL) {
        return;
    }
    if (actor->engine->passage != NULL) {
        return; /* filters make more or less of it */
    }
    const struct actor *ends[] = {actor, actor->partner};
    for (int i = 0; i < 2; i++) {
        if (is_open(ends[i]->engine) && held(ends[i]) > most) {
            world_violation("%" PRIu64 " bytes of %s %" PRIu64 " are held; allowed are %" PRIu64, held(ends[i]),
                            role(ends[i]), ends[i]->number, most);
        }
    }
}

void judge_bored(struct judge *judge, const struct actor *actor) {
    const struct stream *engine = actor->engine;
    if (engine->passage != NULL) {
        judge_filtered_bored(judge, engine->passage);
    } else if (actor->partner != NULL) {
        judge_stuck(judge, actor);
        judge_stuck(judge, actor->partner);
    } else if (actor->is_server && is_open(engine) && engine->in.arrived > 0 && engine->read == 0 &&
               judge->world->now_ns - engine->changed_ns > judge_stuck_ns(judge)) {
        world_violation("server %" PRIu64 " sent bytes that nobody ever read", actor->number);
    }
}

/* --- deadlines -----------------------------------------------------------------------------------------------------
 */

static const struct config_listener *listener_of(const struct judge *judge, const char *name) {
    for (size_t i = 0; i < judge->scene->listeners_count; i++) {
        if (strcmp(judge->scene->listeners[i].name, name) == 0) {
            return &judge->scene->listeners[i];
        }
    }
    world_violation("a session's record names the listener \"%s\"", name);
}

void judge_refuse_late(const struct judge *judge, const char *deadline, uint64_t since_ns, uint64_t wait_ms) {
    uint64_t now_ns = judge->world->now_ns;
    uint64_t waited_ns = now_ns > since_ns ? now_ns - since_ns : 0;
    if (wait_ms > 0 && waited_ns > wait_ms * 1000 * 1000 + judge_slack_ns(judge)) {
        world_violation("a session outlived its deadline: %s of %" PRIu64 " ms, and %.3f ms have passed", deadline,
                        wait_ms, (double)waited_ns / 1e6);
    }
}

void judge_refuse_early(const struct judge *judge, const char *deadline, uint64_t since_ns, uint64_t wait_ms) {
    uint64_t waited_ns = judge->world->now_ns - since_ns;
    /* The engine cannot know of bytes that moved a moment ago: their completion is on its way. */
    bool may_not_know = waited_ns <= judge_slack_ns(judge);
    if (wait_ms == 0 || (!may_not_know && waited_ns + judge_slack_ns(judge) < wait_ms * 1000 * 1000)) {
        world_violation("a session ended too early: %s of %" PRIu64 " ms, and %.3f ms have passed", deadline, wait_ms,
                        (double)waited_ns / 1e6);
    }
}

uint64_t judge_started_ns(const struct judge *judge, const struct access_record *record) {
    return judge->world->now_ns - (uint64_t)record->duration_us * 1000;
}

static uint64_t connected_ns(const struct judge *judge, const struct access_record *record) {
    return judge_started_ns(judge, record) + (uint64_t)record->connect_us * 1000;
}

static uint64_t connect_ms_of(const struct judge *judge, const struct config_listener *listener) {
    uint64_t upstream_ms = judge->scene->upstreams[listener->upstream].connect_ms;
    return upstream_ms == UINT64_MAX ? listener->timeouts.connect_ms : upstream_ms;
}

/* Each try has its own deadline, and between rounds there are pauses. */
static void judge_connecting(const struct judge *judge, const struct config_listener *listener,
                             const struct access_record *record) {
    const struct config_upstream *upstream = &judge->scene->upstreams[listener->upstream];
    uint64_t connect_ms = connect_ms_of(judge, listener);
    uint64_t tries = record->tries;
    if (record->tries > upstream->retry_attempts) {
        world_violation("a session tried %u servers; allowed are %u", record->tries, upstream->retry_attempts);
    }
    uint64_t wait_ms = tries * (connect_ms + upstream->retry_backoff_ms) + 1;
    bool bounded = connect_ms > 0 || tries == 0;
    if (judge->scene->world.resource_chance > 0) { /* before each try it may have waited for a descriptor */
        wait_ms += (tries + 1) * listener->timeouts.connect_ms;
        bounded = bounded && listener->timeouts.connect_ms > 0;
    }
    if (bounded) {
        judge_refuse_late(judge, "connect, with its retries,",
                          judge_started_ns(judge, record) + (tries + 1) * judge_slack_ns(judge), wait_ms);
    }
}

/* When bytes of the client last got further. What it sends to a server that is broken, as one that is not known may be,
 * is only thrown away. */
static uint64_t moved_ns(const struct actor *client) {
    bool relayed = client->partner != NULL && !client->partner->engine->dead;
    return later(client->engine->wrote_ns, relayed ? client->engine->read_ns : 0);
}

static void judge_inactivity(const struct judge *judge, const struct config_timeouts *timeouts,
                             const struct actor *client, const struct access_record *record) {
    const struct stream *ends[] = {client->engine, client->partner->engine};
    uint64_t changed_ns = later(later(ends[0]->changed_ns, ends[1]->changed_ns), connected_ns(judge, record));
    /* Whether a blocked receiver takes bytes is looked at four times within send_stall. */
    uint64_t look_ms = timeouts->send_stall_ms / 4;
    judge_refuse_late(judge, "idle", changed_ns + look_ms * 1000 * 1000, timeouts->idle_ms);
    const struct actor *sources[] = {client, client->partner};
    for (int i = 0; i < 2; i++) {
        const struct stream *sink = sources[i]->partner->engine;
        if (held(sources[i]) > 0 && !sink->dead) {
            judge_refuse_late(judge, "send_stall", changed_ns + look_ms * 1000 * 1000, timeouts->send_stall_ms);
        }
    }
}

/* --- reasons -------------------------------------------------------------------------------------------------------
 */

static bool is_reset(enum close_reason reason) {
    return reason == CLOSE_CLIENT_RESET || reason == CLOSE_SERVER_RESET;
}

static bool is_fin(enum close_reason reason) {
    return reason == CLOSE_CLIENT_FIN || reason == CLOSE_SERVER_FIN;
}

static enum close_reason reason_of(const char *name) {
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        if (strcmp(close_reason_name((enum close_reason)reason), name) == 0) {
            return (enum close_reason)reason;
        }
    }
    world_violation("a session's record names the reason \"%s\"", name);
}

_Noreturn void judge_refuse_reason(const struct actor *actor, enum close_reason reason, const char *but) {
    world_violation("the session of client %" PRIu64 " ended with %s, but %s", actor->number, close_reason_name(reason),
                    but);
}

static void judge_fin(const struct actor *client, enum close_reason reason) {
    const struct actor *ends[] = {client, client->partner};
    for (int i = 0; i < 2 && ends[i] != NULL; i++) {
        if (!ends[i]->engine->in.fin_arrived) {
            judge_refuse_reason(client, reason, "one side has not ended its stream");
        }
        if (ends[i]->engine->in.arrived > 0) {
            judge_refuse_reason(client, reason, "bytes before the end were not read");
        }
        if (ends[i]->partner != NULL && held(ends[i]) > 0) {
            judge_refuse_reason(client, reason, "bytes before the end were not passed on");
        }
    }
}

/* 0 is off. */
static uint64_t shorter_ms(uint64_t a_ms, uint64_t b_ms) {
    return a_ms == 0 || (b_ms != 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* What came before a reset is passed on, unless its receiver is broken too or has taken nothing for too long. */
static void judge_reset(const struct judge *judge, const struct config_timeouts *timeouts, const struct actor *client,
                        enum close_reason reason) {
    const struct actor *broken = reason == CLOSE_CLIENT_RESET ? client : client->partner;
    if (broken == NULL) {
        return;
    }
    if (!broken->engine->dead) {
        judge_refuse_reason(client, reason, "that side's connection is not broken");
    }
    const struct actor *receiver = broken->partner;
    if (receiver == NULL || !is_open(receiver->engine)) {
        return;
    }
    bool pending = broken->engine->in.arrived > 0 || held(broken) > 0 || stream_unsent(receiver->engine) > 0;
    if (pending && !receiver->engine->local) {
        uint64_t patience_ms = shorter_ms(timeouts->send_stall_ms, timeouts->idle_ms);
        judge_refuse_early(judge, "patience with the receiver of bytes from before a reset",
                           later(receiver->engine->wrote_ns, broken->engine->read_ns), patience_ms);
    }
}

static bool has_full_server(const struct judge *judge, const struct config_listener *listener) {
    const struct config_upstream *upstream = &judge->scene->upstreams[listener->upstream];
    for (size_t i = 0; i < upstream->servers_count; i++) {
        if (upstream->servers[i].connections_max > 0) {
            return true;
        }
    }
    return false;
}

/* What may have become of a session because its server went down. */
static bool has_health(const struct judge *judge, const struct config_listener *listener,
                       enum config_server_down on_server_down) {
    const struct config_health *health = &judge->scene->upstreams[listener->upstream].health;
    return health->outlier.on && health->on_server_down == on_server_down;
}

static bool has_failing_server(const struct judge *judge, const struct config_listener *listener) {
    const struct config_upstream *upstream = &judge->scene->upstreams[listener->upstream];
    for (size_t i = 0; i < upstream->servers_count; i++) {
        const struct host_options *host = &judge->scene->hosts[listener->upstream][i];
        /* A full backlog lets one wait, and refuses at unix sockets. */
        if (host->refuse_chance + host->ignore_chance + host->unreachable_chance > 0 || host->backlog < 128 ||
            address_is_unix(&host->address)) {
            return true;
        }
    }
    return false;
}

/* The reasons that do not depend on who is at the other end. */
static void judge_reason(const struct judge *judge, const struct config_listener *listener, const struct actor *client,
                         const struct access_record *record, enum close_reason reason) {
    const struct config_timeouts *timeouts = &listener->timeouts;
    switch (reason) {
    case CLOSE_CLIENT_FIN:
    case CLOSE_SERVER_FIN:
        judge_fin(client, reason);
        break;
    case CLOSE_CLIENT_RESET:
    case CLOSE_SERVER_RESET:
        judge_reset(judge, timeouts, client, reason);
        break;
    case CLOSE_TIMEOUT_IDLE:
        judge_refuse_early(judge, "idle", moved_ns(client), timeouts->idle_ms);
        break;
    case CLOSE_TIMEOUT_HALF_CLOSE:
        judge_refuse_early(judge, "half_close", moved_ns(client), timeouts->half_close_ms);
        break;
    case CLOSE_TIMEOUT_SEND_STALL:
        judge_refuse_early(judge, "send_stall", judge_started_ns(judge, record), timeouts->send_stall_ms);
        break;
    case CLOSE_TIMEOUT_LIFETIME:
        judge_refuse_early(judge, "max_lifetime", judge_started_ns(judge, record), timeouts->max_lifetime_ms);
        break;
    case CLOSE_TIMEOUT_CONNECT:
    case CLOSE_NO_SERVER:
        if (record->connect_us >= 0 ||
            (record->tries == 0 && !judge->scene->upstreams[listener->upstream].health.outlier.on)) {
            judge_refuse_reason(client, reason, "it was connected, or never tried");
        }
        if (!has_failing_server(judge, listener) && connect_ms_of(judge, listener) > 1000) {
            judge_refuse_reason(client, reason, "every server accepts");
        }
        break;
    case CLOSE_UPSTREAM_FULL:
        if (!has_full_server(judge, listener)) {
            judge_refuse_reason(client, reason, "no server has a limit");
        }
        break;
    case CLOSE_LIMIT_SOURCE:
        if (!listener->limits_sources) {
            judge_refuse_reason(client, reason, "its listener has no such limit");
        }
        break;
    case CLOSE_TIMEOUT_PREREAD:
        if (scene_proxy_versions(listener) == 0 || actor_is_introduced(client)) {
            judge_refuse_reason(client, reason, "it had nothing to say before it was served");
        }
        judge_refuse_early(judge, "preread", judge_started_ns(judge, record), timeouts->preread_ms);
        break;
    case CLOSE_DENIED:
        break; /* judge_admission has looked into it */
    case CLOSE_PROXY_HEADER:
        break; /* judge_introduction has looked into it */
    case CLOSE_SERVER_DOWN:
        if (!has_health(judge, listener, SERVER_DOWN_RESET)) {
            judge_refuse_reason(client, reason, "nothing says that it should be reset");
        }
        break;
    case CLOSE_DRAINED:
        if (!has_health(judge, listener, SERVER_DOWN_DRAIN) || judge->scene->drain_timeout_ms == 0) {
            judge_refuse_reason(client, reason, "nothing says that it should be drained");
        }
        break;
    case CLOSE_RETIRED:
        judge_refuse_reason(client, reason, "nothing is reloaded");
        break;
    case CLOSE_KILLED:
        if (judge->scene->kill_us == 0) {
            judge_refuse_reason(client, reason, "nobody is there to kill it");
        }
        break;
    case CLOSE_SHUTDOWN:
        if (!judge->closing) {
            judge_refuse_reason(client, reason, "nobody told moonring to stop");
        }
        break;
    case CLOSE_RESOURCES:
        if (judge->scene->world.resource_chance == 0) {
            judge_refuse_reason(client, reason, "nothing was short");
        }
        break;
    case CLOSE_REJECTED:
    case CLOSE_FILTER_ERROR:
    case CLOSE_FILTER_BUDGET:
    case CLOSE_FILTER_HOLD:
    case CLOSE_TIMEOUT_HANDSHAKE:
        judge_refuse_reason(client, reason, "its listener has no filter");
        break;
    }
}

void judge_verdict(struct actor *actor, enum close_reason reason) {
    if (actor->verdict.told) {
        world_violation("%s %" PRIu64 " had two sessions", role(actor), actor->number);
    }
    actor->verdict = (struct verdict){
        .told = true, .reason = (uint8_t)reason, .taken = actor->engine->read, .given = actor->engine->written};
}

static void judge_pair(struct judge *judge, const struct config_listener *listener, const struct actor *client,
                       const struct access_record *record, enum close_reason reason) {
    judge->paired++;
    if (record->connect_us < 0) {
        judge_refuse_reason(client, reason, "its record does not know when it was connected");
    }
    if (is_reset(reason)) {
        return;
    }
    judge_inactivity(judge, &listener->timeouts, client, record);
    judge_stuck(judge, client);
    judge_stuck(judge, client->partner);
}

/* A session had the time for its bytes. What may come at once: an eighth of a second's, and what is worth a receive. */
static void judge_bandwidth(const struct config_listener *listener, const struct access_record *record) {
    const uint64_t bytes[] = {record->from_client_bytes, record->from_server_bytes};
    uint64_t rate = listener->bandwidth;
    uint64_t most = rate * ((uint64_t)record->duration_us / 1000 + 1) / 1000 + rate / 8 + rate / 40 + 1;
    for (int i = 0; i < 2 && rate > 0; i++) {
        if (bytes[i] > most) {
            world_violation("a session received %" PRIu64 " bytes from one side within %.3f s at %" PRIu64 " a second",
                            bytes[i], (double)record->duration_us / 1e6, rate);
        }
    }
}

/* Nobody heard a byte of the client: were its bytes taken at all? */
static void judge_unpaired(const struct judge *judge, const struct actor *client, const struct access_record *record,
                           enum close_reason reason) {
    const struct stream *engine = client->engine;
    uint64_t since_ns = later(engine->changed_ns, connected_ns(judge, record));
    if (is_open(engine) && engine->in.arrived > 0 && engine->read == 0 &&
        judge->world->now_ns - since_ns > judge_stuck_ns(judge)) {
        judge_refuse_reason(client, reason, "its bytes were never read");
    }
}

/* Nobody of whom nothing is known gets anywhere. */
static void judge_introduction(const struct judge *judge, const struct config_listener *listener,
                               const struct actor *client, const struct access_record *record,
                               enum close_reason reason) {
    const struct header *header = client->header;
    bool is_whole = header != NULL && header->is_good && !header_is_pending(header) && !client->engine->dead;
    if (reason == CLOSE_PROXY_HEADER && (is_whole || scene_proxy_versions(listener) == 0)) {
        judge_refuse_reason(client, reason, "nothing is wrong with its header");
    }
    if (scene_proxy_versions(listener) == 0 || actor_is_introduced(client)) {
        return;
    }
    if (record->tries > 0 || client->partner != NULL) {
        judge_refuse_reason(client, reason, "a server was asked before it was known who it is");
    }
    judge_refuse_late(judge, "preread, of the header,", judge_started_ns(judge, record), listener->timeouts.preread_ms);
}

/* Of whom the rules must let in; a proxy answers for clients that have no IP address. */
static bool is_denied_by_rules(const struct config_listener *listener, const struct actor *client) {
    struct cidr_ip ip;
    struct address address = actor_public_address(client);
    bool is_proxied = scene_proxy_versions(listener) != 0;
    if (is_proxied && cidr_ip_of(&ip, &client->address) &&
        !admission_allows(listener->proxy_protocol.trusted_admission, &ip)) {
        return true;
    }
    if (listener->admission == NULL || (is_proxied && !actor_is_introduced(client))) {
        return false;
    }
    bool is_ip = cidr_ip_of(&ip, &address) || cidr_ip_of(&ip, &client->address);
    return is_ip && !admission_allows(listener->admission, &ip);
}

static void judge_admission(const struct config_listener *listener, const struct actor *client,
                            enum close_reason reason) {
    bool is_denied = is_denied_by_rules(listener, client);
    if (is_denied != (reason == CLOSE_DENIED)) {
        judge_refuse_reason(client, reason, is_denied ? "it is denied" : "it may come in");
    }
}

void judge_record(struct judge *judge, const struct access_record *record) {
    struct address address;
    struct error error;
    enum close_reason reason = reason_of(record->reason);
    const struct config_listener *listener = listener_of(judge, record->listener);
    world_trace(judge->world, "record %s %s, %u tries, %" PRIu64 " and %" PRIu64 " bytes", record->client,
                record->reason, record->tries, record->from_client_bytes, record->from_server_bytes);
    judge->sessions++;
    judge->reasons[reason]++;
    struct passage *passage = troupe_find(judge->troupe, record->id);
    if (passage != NULL) {
        judge_introduction(judge, listener, passage->client, record, reason);
        judge_filtered_record(judge, passage, record, reason);
        return;
    }
    judge_refuse_late(judge, "max_lifetime", judge_started_ns(judge, record), listener->timeouts.max_lifetime_ms);
    bool is_let_in = reason != CLOSE_DENIED && reason != CLOSE_LIMIT_SOURCE;
    bool has_upstream = listener->upstream != CONFIG_NO_UPSTREAM; /* else it was gone before filters could route it */
    bool is_proxied = scene_proxy_versions(listener) != 0;        /* and nobody knows when it was introduced */
    if (record->connect_us < 0 && is_let_in && has_upstream && !is_proxied) {
        judge_connecting(judge, listener, record);
    }
    if (!address_parse(&address, record->client, false, &error) || address_is_unix(&address)) {
        return; /* unix clients have no names */
    }
    struct actor *client = cast_find_client(judge->cast, &address);
    if (client == NULL) {
        world_violation("a session's record names the client %s", record->client);
    }
    judge_verdict(client, reason);
    judge_introduction(judge, listener, client, record, reason);
    judge_admission(listener, client, reason);
    judge_bandwidth(listener, record);
    judge_reason(judge, listener, client, record, reason);
    if (client->partner != NULL) {
        judge_verdict(client->partner, reason);
        judge_pair(judge, listener, client, record, reason);
    } else if (record->connect_us >= 0) {
        judge_unpaired(judge, client, record, reason);
    }
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

/* An end of the stream says: that was all. */
static void judge_heard_fin(const struct actor *actor) {
    const struct actor *partner = actor->partner;
    enum close_reason reason = (enum close_reason)actor->verdict.reason;
    bool complete = partner->engine->in.fin_arrived && actor->heard == partner->sent;
    uint64_t taken = partner->verdict.told ? partner->verdict.taken : partner->engine->read;
    bool all_taken = actor->heard == taken;
    bool may_be_cut = !is_fin(reason) && (all_taken ? !is_reset(reason) : false);
    if (complete || may_be_cut || (actor->engine->local && !is_fin(reason))) {
        return; /* a unix socket knows no reset */
    }
    world_violation("%s %" PRIu64 " heard the end of the stream after %" PRIu64 " bytes, but %s %" PRIu64
                    " sent %" PRIu64 "%s, of which %" PRIu64 " were taken; the session ended with %s",
                    role(actor), actor->number, actor->heard, role(partner), partner->number, partner->sent,
                    partner->engine->in.fin_arrived ? " and an end" : " and no end", taken, close_reason_name(reason));
}

static void judge_actor(const struct actor *actor) {
    if (!actor->verdict.told) {
        return;
    }
    if (actor->engine->passage != NULL) {
        judge_filtered_actor(actor);
        return;
    }
    if (actor->heard_fin && actor->partner != NULL) {
        judge_heard_fin(actor);
    }
    bool failed = actor->plan.ending == ENDS_BY_FAILURE;
    if (actor->heard_error != 0 && !failed && is_fin((enum close_reason)actor->verdict.reason)) {
        world_violation("%s %" PRIu64 " heard error %d, but its session ended in order", role(actor), actor->number,
                        actor->heard_error);
    }
}

/* Somebody who was accepted has a record, which names him unless his connection broke before he could be asked. */
static void judge_unheard(const struct judge *judge, const struct actor *actor) {
    bool limited = judge->scene->connections_max > 0 || judge->scene->end != SCENE_ENDS_WITH_CLIENTS;
    for (size_t i = 0; i < judge->scene->listeners_count; i++) {
        limited = limited || judge->scene->listeners[i].connections_max > 0;
    }
    bool is_tcp = !actor->is_server && actor->engine != NULL && !actor->engine->local;
    bool is_named =
        is_tcp && !actor->engine->dead && !(actor->header != NULL && address_is_unix(&actor->header->named));
    if (is_named && !actor->verdict.told && !limited) {
        world_violation("client %" PRIu64 " was connected, but there is no record of its session", actor->number);
    }
}

void judge_cast(struct judge *judge) {
    for (uint64_t i = 0; i < judge->cast->count; i++) {
        const struct actor *actor = judge->cast->actors[i];
        bool has_passed = actor->engine != NULL && actor->header != NULL && !header_is_pending(actor->header);
        judge->introduced += has_passed && !actor->is_server && actor_is_introduced(actor);
        judge->told += has_passed && actor->is_server;
        judge_actor(judge->cast->actors[i]);
        judge_unheard(judge, judge->cast->actors[i]);
    }
}
