#include "engine/session_parts.h"

#include <string.h>

static int64_t since_start_us(const struct session *session, uint64_t at_us) {
    return (int64_t)(at_us - session->started_us);
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

static bool session_is_empty(const struct session *session) {
    return session->from_client.bytes == 0 && session->from_server.bytes == 0;
}

static bool session_was_ended_by_peers(const struct session *session) {
    return session->reason == CLOSE_CLIENT_FIN || session->reason == CLOSE_SERVER_FIN ||
           session->reason == CLOSE_CLIENT_RESET || session->reason == CLOSE_SERVER_RESET;
}

void session_log_open(const struct session *session) {
    const struct epoch *epoch = session->settings->epoch;
    if (epoch->access_log != NULL && epoch->access_lines.at_open) {
        session_write_line(session, "open");
    }
}

void session_log_close(const struct session *session) {
    const struct epoch *epoch = session->settings->epoch;
    bool skips = epoch->access_lines.skip_empty && session_is_empty(session) && session_was_ended_by_peers(session);
    if (epoch->access_log != NULL && !epoch->access_lines.not_at_close && !skips) {
        session_write_line(session, "close");
    }
}

/* When the next line about a session that lives on is due. */
uint64_t session_line_due_us(const struct session *session) {
    const struct epoch *epoch = session->settings->epoch;
    uint64_t every_us = epoch->access_lines.every_us;
    bool wanted = epoch->access_log != NULL && every_us != 0;
    return wanted ? session->started_us + (session->periods + 1) * every_us : UINT64_MAX;
}

/* One line, however late it is; none before it is known who the client is, and that it may come in. */
void session_log_live(struct session *session) {
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

/* --- for people ----------------------------------------------------------------------------------------------------
 */

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
