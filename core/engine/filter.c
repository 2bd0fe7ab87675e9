#include "engine/filter.h"

#include "base/bytes.h"
#include "engine/chain.h"
#include "engine/session.h"

#include <string.h>

static struct engine *engine_of(const struct filter_session *filter_session) {
    return filter_session->chain->session->engine;
}

const char *hook_name(enum hook hook) {
    switch (hook) {
    case HOOK_ROUTE:
        return "route";
    case HOOK_CONNECT_FAILED:
        return "connect_failed";
    case HOOK_CONNECTED:
        return "connected";
    case HOOK_FROM_CLIENT:
        return "from_client";
    case HOOK_FROM_SERVER:
        return "from_server";
    case HOOK_CLIENT_EOF:
        return "client_eof";
    case HOOK_SERVER_EOF:
        return "server_eof";
    case HOOK_SERVE:
        return "serve";
    case HOOK_CLOSED:
        return "closed";
    case HOOK_TASK:
        return "task";
    }
    return "unknown";
}

/* --- entries ---------------------------------------------------------------------------------------------------- */

static bool is_byte_hook(enum hook hook) {
    return hook == HOOK_FROM_CLIENT || hook == HOOK_FROM_SERVER;
}

static struct stage *hook_stage(struct filter_session *filter_session, enum hook hook) {
    return &filter_session->stages[hook == HOOK_FROM_CLIENT ? FROM_CLIENT : FROM_SERVER];
}

/* A filter that fails is bypassed with its bytes as they were before: they are shared until the entry is over. */
static void entry_remember(struct engine *engine, const struct stage *stage) {
    struct filter_entry *entry = &engine->entry;
    queue_share(&entry->view, &engine->buffers, &stage->input, stage->input.bytes);
    entry->offset = stage->offset;
    entry->pass_ahead = stage->pass_ahead;
    entry->drop_ahead = stage->drop_ahead;
    entry->remembers = true;
}

void filter_enter(struct engine *engine, struct filter_session *filter_session, enum hook hook) {
    check(!engine->entry.open);
    engine->entry.open = true;
    if (filter_session == NULL) {
        return;
    }
    filter_session->keeps_open = false;
    filter_session->overflowed = false;
    if (is_byte_hook(hook) && filter_session->filter->on_error == ON_ERROR_BYPASS) {
        entry_remember(engine, hook_stage(filter_session, hook));
    }
}

static void entry_restore(struct engine *engine, struct stage *stage) {
    struct filter_entry *entry = &engine->entry;
    struct queue rest;
    queue_init(&rest);
    queue_move_all(&stage->input, &rest);
    queue_move(&entry->view, &engine->buffers, stage->offset - entry->offset, &stage->input);
    queue_move_all(&rest, &stage->input);
    stage->offset = entry->offset;
    stage->pass_ahead = entry->pass_ahead;
    stage->drop_ahead = entry->drop_ahead;
    stage->shown = 0;
}

static void outbox_send(struct filter_session *filter_session, enum direction direction) {
    struct queue *outbox = &filter_session->outbox[direction];
    if (outbox->bytes > 0) {
        chain_count_served(filter_session, direction, outbox->bytes);
        queue_join(outbox, &engine_of(filter_session)->buffers, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
    queue_join(&filter_session->behind[direction], &engine_of(filter_session)->buffers,
               &filter_session->stages[direction].later);
    if (filter_session->ends_write[direction]) {
        chain_pass_end(filter_session, direction);
    }
}

static void outbox_drop(struct filter_session *filter_session, enum direction direction) {
    struct buffers *buffers = &engine_of(filter_session)->buffers;
    struct queue *outbox = &filter_session->outbox[direction];
    struct released *released = &filter_session->released[direction];
    if (released->size > 0) { /* that stays written */
        queue_consume(outbox, buffers, released->at);
        queue_move(outbox, buffers, released->size, &filter_session->stages[direction].later);
    }
    queue_clear(outbox, buffers);
    queue_clear(&filter_session->behind[direction], buffers);
}

static void outboxes_settle(struct filter_session *filter_session, bool send) {
    bool is_void = filter_session->gone || filter_session->chain->session->owner.closing;
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        if (send && !is_void && !filter_session->stages[direction].passed_end) {
            outbox_send(filter_session, direction);
        } else {
            outbox_drop(filter_session, direction);
        }
        filter_session->ends_write[direction] = false;
        filter_session->released[direction].size = 0;
    }
}

/* Whoever was written to goes on; but the one whose entry it is does so last. */
static void entry_settle(struct engine *engine, const struct filter_session *own, bool send) {
    struct list *touched = &engine->entry.touched;
    for (struct link *link = list_pop(touched); link != NULL; link = list_pop(touched)) {
        struct filter_session *filter_session = container_of(link, struct filter_session, touched);
        outboxes_settle(filter_session, send);
        struct link *written = &filter_session->chain->written;
        if (filter_session != own && !link_is_in_list(written)) {
            list_append(&engine->written_chains, written);
        }
    }
}

static void engine_advance_written(struct engine *engine) {
    struct list *written = &engine->written_chains;
    for (struct link *link = list_pop(written); link != NULL; link = list_pop(written)) {
        chain_advance(container_of(link, struct chain, written));
    }
}

void filter_leave(struct engine *engine, struct filter_session *filter_session, enum hook hook,
                  enum hook_outcome outcome) {
    struct filter_entry *entry = &engine->entry;
    bool failed = outcome == HOOK_FAILED || outcome == HOOK_OVER;
    check(entry->open);
    entry_settle(engine, filter_session, !failed);
    if (failed && entry->remembers) {
        entry_restore(engine, hook_stage(filter_session, hook));
    }
    queue_clear(&entry->view, &engine->buffers);
    entry->remembers = false;
    entry->open = false;
    if (filter_session != NULL) {
        chain_hook_left(filter_session, hook, outcome);
    }
    engine_advance_written(engine);
}

/* --- verbs ------------------------------------------------------------------------------------------------------ */

static void filter_touch(struct filter_session *filter_session) {
    struct engine *engine = engine_of(filter_session);
    check(engine->entry.open);
    if (!link_is_in_list(&filter_session->touched)) {
        list_append(&engine->entry.touched, &filter_session->touched);
    }
}

void filter_pass(struct filter_session *filter_session, enum direction direction, uint64_t size) {
    if (filter_session->gone) {
        return;
    }
    filter_touch(filter_session);
    stage_pass(&filter_session->stages[direction], &engine_of(filter_session)->buffers, size,
               &filter_session->outbox[direction]);
}

void filter_drop(struct filter_session *filter_session, enum direction direction, uint64_t size) {
    if (!filter_session->gone) {
        stage_drop(&filter_session->stages[direction], &engine_of(filter_session)->buffers, size);
    }
}

static bool filter_append(struct filter_session *filter_session, struct queue *queue, const void *bytes, size_t size) {
    if (size > FILTER_OUTBOX_MAX || queue->bytes + size > FILTER_OUTBOX_MAX) {
        return false;
    }
    filter_touch(filter_session);
    return size == 0 || queue_append_copy(queue, &engine_of(filter_session)->buffers, bytes, size);
}

bool filter_put(struct filter_session *filter_session, enum direction direction, const void *bytes, size_t size) {
    bool is_passing = filter_session->stages[direction].pass_ahead > 0;
    struct queue *queue = is_passing ? &filter_session->behind[direction] : &filter_session->outbox[direction];
    return filter_append(filter_session, queue, bytes, size);
}

void filter_message(struct filter_session *filter_session, enum direction direction, bool in_message) {
    struct stage *stage = &filter_session->stages[direction];
    stage->in_message = in_message;
    if (!in_message && stage->pass_ahead == 0 &&
        (stage->later.bytes > 0 || filter_session->behind[direction].bytes > 0)) {
        filter_touch(filter_session);
        if (stage->later.bytes > 0) {
            filter_session->released[direction] =
                (struct released){.at = filter_session->outbox[direction].bytes, .size = stage->later.bytes};
        }
        queue_move_all(&stage->later, &filter_session->outbox[direction]);
        queue_move_all(&filter_session->behind[direction], &filter_session->outbox[direction]);
    }
}

void filter_need(struct filter_session *filter_session, enum direction direction, uint32_t size) {
    filter_session->stages[direction].need = size;
    filter_session->overflowed = size > filter_session->filter->hold_max;
}

void filter_show(struct filter_session *filter_session, enum direction direction, uint32_t size) {
    stage_show(&filter_session->stages[direction], &engine_of(filter_session)->buffers, size);
}

/* --- from anywhere ------------------------------------------------------------------------------------------------ */

bool filter_write(struct filter_session *filter_session, enum direction direction, const void *bytes, size_t size) {
    const struct stage *stage = &filter_session->stages[direction];
    /* A detach in the midst of a message leaves words behind it while that hook waits: no others may overtake them. */
    bool waits = stage->pass_ahead > 0 || stage->in_message || stage->later.bytes > 0;
    struct queue *queue = waits ? &filter_session->behind[direction] : &filter_session->outbox[direction];
    return filter_append(filter_session, queue, bytes, size);
}

bool filter_has_room(const struct filter_session *filter_session, enum direction direction) {
    struct filter_session *of = &filter_session->chain->sessions[filter_session - filter_session->chain->sessions];
    uint32_t written = of->outbox[direction].bytes + of->behind[direction].bytes + of->stages[direction].later.bytes;
    return written < FLOW_QUEUE_MAX && chain_has_room(of, direction);
}

const char *filter_in_the_way(const struct filter_session *filter_session, enum direction direction) {
    const struct chain *chain = filter_session->chain;
    if (chain->phase == PHASE_RELAY || chain->phase == PHASE_SERVE) {
        return NULL;
    }
    struct filter_session *of = &filter_session->chain->sessions[filter_session - filter_session->chain->sessions];
    struct stage *next = chain_next_stage(of, direction);
    while (next != NULL && !next->has_hook) {
        of += direction == FROM_CLIENT ? 1 : -1;
        next = chain_next_stage(of, direction);
    }
    return next == NULL ? NULL : (of + (direction == FROM_CLIENT ? 1 : -1))->filter->name;
}

void filter_close_write(struct filter_session *filter_session, enum direction direction) {
    filter_touch(filter_session);
    filter_session->ends_write[direction] = true;
}

void filter_close(struct filter_session *filter_session, enum filter_close how) {
    filter_session->close_how = (uint8_t)how;
}

void filter_detach(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    filter_session->chain->again = true; /* what it held goes on */
    stage->has_hook = false;
    stage->need = 0;
    stage->asked = true;
    stage->in_message = false;
}

/* --- endpoints ---------------------------------------------------------------------------------------------------- */

struct stage *filter_source(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    if (chain->phase == PHASE_SERVE) {
        return &filter_session->stages[direction];
    }
    return &chain->sessions[direction == FROM_CLIENT ? 0 : chain->count - 1].stages[direction];
}

void filter_listen(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct flow *flow = direction == FROM_CLIENT ? &chain->session->from_client : &chain->session->from_server;
    bool is_there = direction == FROM_CLIENT || chain->phase >= PHASE_CONNECTED;
    if (!chain->is_listening[direction] && is_there && !chain->session->owner.closing) {
        chain->is_listening[direction] = true;
        flow_start(flow);
    }
}

static struct upstream *find_upstream(const struct epoch *epoch, const char *name, size_t *index) {
    for (size_t i = 0; i < epoch->upstreams_count; i++) {
        if (strcmp(epoch->upstreams[i].name, name) == 0) {
            *index = i;
            return &epoch->upstreams[i];
        }
    }
    return NULL;
}

/* An answer that is an address is an upstream of its own, with one server. */
static bool answer_address(struct chain *chain, const char *text, struct error *error) {
    struct address address;
    struct error why;
    if (!address_parse(&address, text, false, &why)) {
        return error_set(error, "`%s` is neither the name of an upstream nor an address (%s)", text, why.text);
    }
    if (atomic_load(&chain->direct_state.active) > 0) {
        return error_set(error, "a session cannot go to a second address while it uses the first");
    }
    address_format(&address, chain->direct_name, sizeof chain->direct_name);
    chain->direct_server = (struct server){.name = chain->direct_name,
                                           .address_text = chain->direct_name,
                                           .address = address,
                                           .weight = 1,
                                           .state = &chain->direct_state};
    chain->direct_state = (struct server_state){.references = 1};
    chain->direct = (struct upstream){.name = chain->direct_name,
                                      .servers = &chain->direct_server,
                                      .servers_count = 1,
                                      .retry_attempts = 1,
                                      .connect_ms = UINT64_MAX};
    chain->upstream = &chain->direct;
    return true;
}

bool filter_answer(struct filter_session *filter_session, const char *where, size_t where_size, const char *key,
                   size_t key_size, struct error *error) {
    struct chain *chain = filter_session->chain;
    char text[ADDRESS_TEXT_MAX * 2];
    if (where_size >= sizeof text || memchr(where, 0, where_size) != NULL) {
        return error_set(error, "the answer is too long for the name of an upstream or an address");
    }
    memcpy(text, where, where_size);
    text[where_size] = 0;
    struct upstream *upstream = find_upstream(chain->session->settings->epoch, text, &chain->upstream_index);
    if (upstream != NULL) {
        chain->upstream = upstream;
    } else if (!answer_address(chain, text, error)) {
        return false;
    }
    chain->has_key = key != NULL;
    chain->key = key == NULL ? 0 : bytes_hash(key, key_size);
    chain->answered = true;
    return true;
}

void filter_keep_open(struct filter_session *filter_session) {
    filter_session->keeps_open = true;
}

/* --- facts ------------------------------------------------------------------------------------------------------ */

void filter_facts(const struct filter_session *filter_session, struct filter_facts *facts) {
    const struct chain *chain = filter_session->chain;
    const struct session *session = chain->session;
    const struct upstream *upstream = session_upstream(session);
    *facts = (struct filter_facts){
        .id = session->id,
        .listener = session->settings->listener,
        .upstream = upstream == NULL ? NULL : upstream->name,
        .server = session->server == NULL ? NULL : session->server->name,
        .started_us = session->started_us,
        .bytes = {session->from_client.bytes, session->from_server.bytes},
        .error = session->error,
        .reason = session->owner.closing ? close_reason_name(session->reason) : NULL,
        .tries = session->tries,
        .ended = {session->from_client.source_ended, session->from_server.source_ended},
    };
}

void filter_client_address(const struct filter_session *filter_session, struct address *address) {
    session_peer(filter_session->chain->session, address);
}

void filter_peer_address(const struct filter_session *filter_session, struct address *address) {
    session_direct_peer(filter_session->chain->session, address);
}

const struct introduction *filter_introduction(const struct filter_session *filter_session) {
    return filter_session->chain->session->introduction;
}

void filter_server_address(const struct filter_session *filter_session, struct address *address) {
    const struct server *server = filter_session->chain->session->server;
    *address = server == NULL ? (struct address){.length = 0} : server->address;
}

/* --- bounds ----------------------------------------------------------------------------------------------------- */

bool filter_set_timeout(struct filter_session *filter_session, enum filter_timeout timeout, uint64_t wait_ms) {
    struct chain *chain = filter_session->chain;
    struct config_timeouts *timeouts = &chain->timeouts;
    switch (timeout) {
    case TIMEOUT_CONNECT:
        timeouts->connect_ms = wait_ms;
        break;
    case TIMEOUT_IDLE:
        timeouts->idle_ms = wait_ms;
        break;
    case TIMEOUT_HALF_CLOSE:
        timeouts->half_close_ms = wait_ms;
        break;
    case TIMEOUT_SEND_STALL:
        timeouts->send_stall_ms = wait_ms;
        break;
    case TIMEOUT_MAX_LIFETIME:
        timeouts->max_lifetime_ms = wait_ms;
        break;
    }
    session_hurry(chain->session);
    return true;
}

bool filter_set_limit(struct filter_session *filter_session, enum direction direction, uint64_t bytes_per_second) {
    struct chain *chain = filter_session->chain;
    chain->again = true; /* more may be received now */
    limit_set(&chain->limits[direction], bytes_per_second, chain->session->engine->now_us);
    return true;
}

bool filter_set_quota(struct filter_session *filter_session, uint64_t bytes, filter_quota_fn *passed) {
    struct chain *chain = filter_session->chain;
    filter_session->quota = bytes;
    filter_session->quota_passed = passed;
    chain->quota = bytes < chain->quota ? bytes : chain->quota;
    return true;
}
