#include "program/look.h"

#include "engine/chain.h"
#include "program/generation.h"
#include "program/human.h"

#include <string.h>

enum {
    VISITS_MAX = 1024, /* of sessions that may not be what is looked for */
    KILLS_MAX = 16,    /* closing one costs more than writing it down */
};

void portion_init(struct portion *portion) {
    *portion = (struct portion){.rows_count = 0};
    bytes_init(&portion->text);
}

void portion_finish(struct portion *portion) {
    bytes_finish(&portion->text);
}

void portion_clear(struct portion *portion) {
    bytes_clear(&portion->text);
    portion->rows_count = 0;
    portion->killed = 0;
    portion->is_last = false;
}

/* --- writing one down -------------------------------------------------------------------------------------------- */

struct facts {
    char client[ADDRESS_TEXT_MAX];
    char filter_does[128];
    const char *doing;
    const char *upstream; /* NULL: not known */
    uint64_t age_us;
    uint64_t quiet_us;
    unsigned long generation;
};

static void facts_collect(struct facts *facts, const struct session *session) {
    struct address address;
    const struct chain *chain = session->chain;
    const struct upstream *upstream = session_upstream(session);
    bool filter_does = chain != NULL && chain_describe(chain, facts->filter_does, sizeof facts->filter_does);
    session_client(session, &address);
    address_format(&address, facts->client, sizeof facts->client);
    facts->doing = filter_does ? facts->filter_does : session->doing;
    facts->upstream = upstream == NULL ? NULL : upstream->name;
    facts->age_us = session->engine->now_us - session->started_us;
    facts->quiet_us = session->engine->now_us - session->progress_us;
    facts->generation = (unsigned long)session->settings->epoch->generation->number;
}

static void append_cell(struct bytes *out, const char *text) {
    bytes_append_escaped(out, text, strlen(text));
    bytes_append_char(out, '\t');
}

const char *look_head(void) {
    return "ID\tLISTENER\tCLIENT\tSERVER\tSTATE\tAGE\tQUIET\tFROM_CLIENT\tFROM_SERVER\tGENERATION\tDOING\n";
}

static void append_cells(const struct session *session, struct bytes *out) {
    struct facts facts;
    facts_collect(&facts, session);
    bytes_printf(out, "%lu\t", (unsigned long)session->id);
    append_cell(out, session->settings->listener);
    append_cell(out, facts.client);
    append_cell(out, session->server == NULL ? "-" : session->server->name);
    append_cell(out, session_state_name(session->state));
    human_append_age(out, facts.age_us / 1000);
    bytes_append_char(out, '\t');
    human_append_age(out, facts.quiet_us / 1000);
    bytes_append_char(out, '\t');
    human_append_size(out, session->from_client.bytes);
    bytes_append_char(out, '\t');
    human_append_size(out, session->from_server.bytes);
    bytes_printf(out, "\t%lu\t", facts.generation);
    bytes_append_escaped(out, facts.doing, strlen(facts.doing));
    bytes_append_char(out, '\n');
}

static void append_member(struct bytes *out, const char *name, const char *value) {
    bytes_printf(out, ",\"%s\":", name);
    if (value == NULL) {
        bytes_append_text(out, "null");
    } else {
        bytes_append_json(out, value);
    }
}

/* The names are those of the access log, where it has them. */
static void append_json(const struct session *session, struct bytes *out) {
    const struct server *server = session->server;
    struct facts facts;
    facts_collect(&facts, session);
    bytes_printf(out, "{\"id\":%lu,\"worker\":%u,\"generation\":%lu", (unsigned long)session->id,
                 session->engine->number, facts.generation);
    append_member(out, "listener", session->settings->listener);
    append_member(out, "client", facts.client);
    append_member(out, "upstream", facts.upstream);
    append_member(out, "server", server == NULL ? NULL : server->name);
    append_member(out, "server_address", server == NULL ? NULL : server->address_text);
    append_member(out, "state", session_state_name(session->state));
    append_member(out, "doing", facts.doing);
    bytes_printf(out,
                 ",\"age_ms\":%.3f,\"quiet_ms\":%.3f,\"tries\":%u,\"from_client_bytes\":%lu,\"from_server_bytes\":%lu,"
                 "\"from_client_queued_bytes\":%zu,\"from_server_queued_bytes\":%zu}",
                 (double)facts.age_us / 1e3, (double)facts.quiet_us / 1e3, session->tries,
                 (unsigned long)session->from_client.bytes, (unsigned long)session->from_server.bytes,
                 flow_undelivered(&session->from_client), flow_undelivered(&session->from_server));
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

static void portion_end_row(struct portion *portion, const struct session *session) {
    portion->rows[portion->rows_count++] =
        (struct look_row){.started_us = session->started_us, .end = portion->text.size};
}

static void look_act(const struct look *look, struct session *session, struct portion *portion) {
    switch (look->action) {
    case LOOK_CELLS:
        append_cells(session, &portion->text);
        portion_end_row(portion, session);
        return;
    case LOOK_JSON:
        append_json(session, &portion->text);
        portion_end_row(portion, session);
        return;
    case LOOK_LINES:
        session_describe(session, &portion->text);
        portion_end_row(portion, session);
        return;
    case LOOK_KILL:
        if (session->state != SESSION_CLOSING) {
            session_close(session, CLOSE_KILLED);
            portion->killed++;
        }
        return;
    }
}

static bool portion_is_full(const struct portion *portion) {
    return portion->rows_count == LOOK_ROWS_MAX || portion->killed == KILLS_MAX;
}

void look_run(const struct look *look, struct worker *worker, struct portion *portion) {
    portion_clear(portion);
    if (look->begins) {
        worker_walk_begin(worker, look->walk);
    }
    for (size_t visits = 0; visits < VISITS_MAX && !portion_is_full(portion); visits++) {
        struct session *session = worker_walk_next(worker, look->walk);
        if (session == NULL) {
            portion->is_last = true;
            return;
        }
        if (selection_has(&look->selection, session)) {
            look_act(look, session, portion);
        }
    }
}
