#include "engine/flow.h"

#include "engine/chain.h"
#include "engine/session.h"

#include <errno.h>

enum {
    BULK_WINDOW = 128 * 1024, /* how bytes come is judged once for so many */
    BULK_RECEIVE = 12 * 1024, /* a window is bulk when its receives brought so much on average */
    BULK_WINDOWS = 3,         /* so many in a row, and the flow is spliced (flow.bulk_windows has two bits) */
    SPLICE_MOVES = 16,        /* a splice is judged once for so many moves, */
    SPLICE_MOVE = 8 * 1024,   /* and given up below this average: then copying is cheaper */
    SPLICE_ROUNDS = 4,        /* moves in one turn; then it is the turn of others */
    SPLICE_MORE = 64 * 1024,  /* a move of less has most likely emptied the source: to ask again costs a call */
};

static void flow_recv_done(struct op *op, const struct completion *completion);
static void flow_source_ready(struct op *op, const struct completion *completion);
static void flow_send_done(struct op *op, const struct completion *completion);
static void flow_zero_copy_done(struct op *op, const struct completion *completion);
static void flow_sink_ready(struct op *op, const struct completion *completion);
static void flow_receive(struct flow *flow);
static void flow_send(struct flow *flow);

static struct engine *engine_of(struct flow *flow) {
    return session_of(flow)->engine;
}

static bool flow_is_sending(const struct flow *flow) {
    return flow->send_op.in_flight || flow->outgoing == OUTGOING_ZERO_COPY;
}

static bool flow_is_over(struct flow *flow) {
    return flow->ended || session_of(flow)->owner.closing;
}

/* Nobody has any use for more from the source. A flow that was ended by a filter goes on: others may see what comes. */
static bool flow_is_deaf(struct flow *flow) {
    const struct session *session = session_of(flow);
    bool is_lost = flow->ended && (session->chain == NULL || flow_sink(flow)->reset);
    return session->owner.closing || (is_lost && !session_discards(session));
}

void flow_init(struct flow *flow, bool from_server) {
    *flow = (struct flow){.from_server = from_server};
    struct owner *owner = &session_of(flow)->owner;
    op_init(&flow->recv_op, owner, flow_recv_done);
    op_init(&flow->send_op, owner, flow_send_done);
    queue_init(&flow->queue);
    link_init(&flow->link);
}

void flow_start(struct flow *flow) {
    flow_receive(flow);
}

static enum direction flow_direction(const struct flow *flow) {
    return flow->from_server ? FROM_SERVER : FROM_CLIENT;
}

static struct chain *chain_of(struct flow *flow) {
    return session_of(flow)->chain;
}

/* Received and not queued for the sink: some filter has it. */
static size_t flow_held(const struct flow *flow) {
    const struct chain *chain = session_of_const(flow)->chain;
    return chain == NULL ? 0 : chain_held(chain, flow_direction(flow));
}

size_t flow_undelivered(const struct flow *flow) {
    return flow->queue.bytes + (flow_has_pipe(flow) ? flow->splice->bytes : 0) + flow_held(flow);
}

static void flow_give_pipe(struct flow *flow) {
    if (flow_has_pipe(flow)) {
        splice_give(&engine_of(flow)->splices, flow->splice);
        flow->outgoing = OUTGOING_NONE;
    }
}

void flow_abandon(struct flow *flow) {
    if (!flow_is_sending(flow)) {
        queue_clear(&flow->queue, &engine_of(flow)->buffers);
    }
}

void flow_finish(struct flow *flow) {
    check(!flow->recv_op.in_flight);
    check(!flow->send_op.in_flight);
    check(flow->outgoing == OUTGOING_NONE || flow_has_pipe(flow));
    link_remove(&flow->link);
    queue_clear(&flow->queue, &engine_of(flow)->buffers);
    flow_give_pipe(flow);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* Everything that came was handed to the sink: pass the end on. A broken source has no FIN to pass on; the session
 * resets the sink instead. When the other flow has ended already, the session closes both sockets now, which sends the
 * FIN. */
static void flow_pass_end(struct flow *flow) {
    struct session *session = session_of(flow);
    struct endpoint *sink = flow_sink(flow);
    bool other_ended = flow->from_server ? session->from_client.ended : session->from_server.ended;
    bool closes_now = other_ended && !session_will_linger(session);
    if (!closes_now && sink->fd >= 0 && !flow_source(flow)->reset && !sink->reset &&
        kernel_shutdown_write(sink->fd) < 0) {
        sink->reset = true; /* ENOTCONN: it has been reset, and nobody was told yet */
    }
    flow->ended = true;
    session_flow_ended(session, flow);
}

/* What is queued has nowhere to go. What the sink itself sent before it broke is still delivered by the other flow. */
static void flow_sink_failed(struct flow *flow, int number) {
    struct session *session = session_of(flow);
    queue_clear(&flow->queue, &session->engine->buffers);
    flow_give_pipe(flow);
    flow_sink(flow)->reset = true;
    flow->stalled_us = 0;
    if (session->error == NULL) {
        session->error = error_name(-number);
    }
    flow->ended = true;
    session_flow_ended(session, flow);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static void flow_sent(struct flow *flow) {
    flow->stalled_us = 0;
    session_progress(session_of(flow));
}

void flow_look(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    uint32_t unsent = (uint32_t)kernel_unsent(flow_sink(flow)->fd);
    if (unsent != flow->unsent) {
        flow->unsent = unsent;
        flow->stalled_us = engine->now_us;
        flow->looks = 0;
        session_progress(session_of(flow));
    } else if (flow->looks < FLOW_LOOKS - 1) {
        flow->looks++;
    }
}

/* The sink takes nothing now: wait until it does. */
static void flow_block(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    counter_add(&engine->counters.sends_blocked, 1);
    flow->blocked = true;
    link_remove(&flow->link); /* a starved flow that is blocked too has no use for a buffer now */
    if (flow->queue.first != NULL) {
        list_append(&engine->buffers.blocked, &flow->link);
    }
    if (flow->stalled_us == 0) {
        flow->stalled_us = engine->now_us;
        flow->looks = 0;
        flow->unsent = (uint32_t)kernel_unsent(flow_sink(flow)->fd);
        session_hurry(session_of(flow));
    }
    flow->send_op.done = flow_sink_ready;
    ring_poll(engine->ring, &flow->send_op, flow_sink(flow)->fd, RING_POLL_WRITE);
}

static void flow_sink_ready(struct op *op, const struct completion *completion) {
    struct flow *flow = container_of(op, struct flow, send_op);
    (void)completion; /* an error shows in the next send */
    flow->blocked = false;
    link_remove(&flow->link);
    if (flow_is_over(flow)) {
        return;
    }
    if (flow->starved) {
        list_append(&engine_of(flow)->buffers.starved, &flow->link);
    }
    flow_send(flow);
    flow_receive(flow);
}

/* Pipe to sink. True when the pipe is empty; else the flow is blocked or over. */
static bool flow_drain(struct flow *flow) {
    while (flow->splice->bytes > 0) {
        int64_t moved = splice_drain(flow->splice, flow_sink(flow)->fd);
        if (moved > 0) {
            flow_sent(flow);
        } else if (moved == -EAGAIN) {
            flow_block(flow);
            return false;
        } else if (moved != -EINTR) {
            flow_sink_failed(flow, (int)moved);
            return false;
        }
    }
    flow_give_pipe(flow);
    return true;
}

static void flow_send_copy(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    check(flow->outgoing == OUTGOING_NONE);
    flow->message = slab_take(&engine->buffers.messages);
    check(flow->message != NULL);
    flow->outgoing = OUTGOING_MESSAGE;
    flow->sending = (uint32_t)queue_message(&flow->queue, flow->message);
    flow->send_op.done = flow_send_done;
    ring_send(engine->ring, &flow->send_op, flow_sink(flow)->fd, flow->message, false);
}

/* False: this one is better copied. */
static bool flow_send_zero_copy(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    if (!engine->zero_copy_send || flow->copies || buffers_are_scarce(&engine->buffers)) {
        return false;
    }
    struct zero_copy *zero_copy = zero_copy_open(&engine->zero_copies, flow, flow_zero_copy_done);
    if (zero_copy == NULL) {
        return false;
    }
    check(flow->outgoing == OUTGOING_NONE);
    flow->zero_copy = zero_copy;
    flow->outgoing = OUTGOING_ZERO_COPY;
    flow->sending = (uint32_t)queue_message(&flow->queue, &zero_copy->message);
    owner_hold(&session_of(flow)->owner); /* until the result comes */
    ring_send(engine->ring, &zero_copy->op, flow_sink(flow)->fd, &zero_copy->message, true);
    return true;
}

/* Hands over what there is; passes the end on when there is nothing more. */
static void flow_send(struct flow *flow) {
    if (flow_is_sending(flow) || flow_is_over(flow)) {
        return;
    }
    if (flow_has_pipe(flow) && !flow_drain(flow)) {
        return;
    }
    if (flow_sink(flow)->fd < 0) {
        queue_clear(&flow->queue, &engine_of(flow)->buffers); /* a filter ended it before there was a server */
    }
    if (flow->queue.first != NULL) {
        if (!flow_send_zero_copy(flow)) {
            flow_send_copy(flow);
        }
    } else if (flow->complete) {
        flow_pass_end(flow);
    }
}

/* What was sent has left the queue. */
static void flow_send_result(struct flow *flow, int result) {
    if (result == -EOPNOTSUPP && !flow->copies) {
        flow->copies = true;
        flow_send(flow);
        return;
    }
    if (result < 0 && result != -EAGAIN && result != -EINTR) {
        flow_sink_failed(flow, result);
        return;
    }
    counter_add(&engine_of(flow)->counters.sends, 1);
    if (result > 0) {
        flow_sent(flow);
    }
    if (result != -EINTR && (result < 0 || (uint32_t)result < flow->sending)) {
        flow_block(flow); /* a short count says that the socket is full: asking again would only say it twice */
    } else {
        flow_send(flow);
    }
    struct chain *chain = chain_of(flow);
    if (chain != NULL && chain_wants_room(chain, flow_direction(flow)) && !flow_is_over(flow)) {
        chain_advance_flow(chain, flow_direction(flow));
    }
    flow_receive(flow);
}

static void flow_send_done(struct op *op, const struct completion *completion) {
    struct flow *flow = container_of(op, struct flow, send_op);
    struct engine *engine = engine_of(flow);
    slab_give(&engine->buffers.messages, flow->message);
    flow->outgoing = OUTGOING_NONE;
    if (completion->result > 0) {
        queue_consume(&flow->queue, &engine->buffers, (size_t)completion->result);
    }
    if (flow_is_over(flow)) {
        flow_abandon(flow);
    } else {
        flow_send_result(flow, completion->result);
    }
}

static void flow_zero_copy_result(struct zero_copy *zero_copy, int result) {
    struct flow *flow = zero_copy->flow;
    struct owner *session = &session_of(flow)->owner;
    zero_copy->flow = NULL;
    flow->outgoing = OUTGOING_NONE;
    if (result > 0) {
        queue_move(&flow->queue, &engine_of(flow)->buffers, (size_t)result, &zero_copy->queue);
    }
    if (flow_is_over(flow)) {
        flow_abandon(flow);
    } else {
        flow_send_result(flow, result);
    }
    owner_drop(session);
}

static void flow_zero_copy_done(struct op *op, const struct completion *completion) {
    struct zero_copy *zero_copy = container_of(op, struct zero_copy, op);
    if (zero_copy->flow != NULL) {
        flow_zero_copy_result(zero_copy, completion->result);
    }
    if (!completion->more) {
        zero_copy_close(zero_copy);
    }
}

/* --- receiving -------------------------------------------------------------------------------------------------- */

static void flow_count(struct flow *flow, size_t size) {
    struct engine_counters *counters = &engine_of(flow)->counters;
    struct chain *chain = chain_of(flow);
    bool is_first = flow->bytes == 0;
    flow->bytes += size;
    if (chain != NULL) {
        chain_count(chain, flow_direction(flow), size);
    }
    if (flow->from_server) {
        if (is_first) {
            session_note_first_byte(session_of(flow));
        }
        counter_add(&counters->from_server_bytes, size);
    } else {
        counter_add(&counters->from_client_bytes, size);
    }
    flow->window_bytes += (uint32_t)size;
    flow->window_receives++;
}

static void window_begin(struct flow *flow) {
    flow->window_bytes = 0;
    flow->window_receives = 0;
}

/* Do bytes come so thick that splicing pays? */
static void flow_judge_receives(struct flow *flow) {
    if (flow->window_bytes >= BULK_WINDOW) {
        bool bulk = flow->window_bytes / flow->window_receives >= BULK_RECEIVE;
        if (!bulk) {
            flow->bulk_windows = 0;
        } else if (flow->bulk_windows < BULK_WINDOWS) {
            flow->bulk_windows++;
        }
        window_begin(flow);
    } else if (flow->window_receives >= 1000) {
        flow->bulk_windows = 0;
        window_begin(flow);
    }
}

static bool flow_is_watched(struct flow *flow) {
    const struct chain *chain = chain_of(flow);
    return chain != NULL && chain_is_watched(chain, flow_direction(flow));
}

static bool flow_wants_splice(struct flow *flow, const struct engine *engine) {
    return engine->splice && !flow->spliced && !flow->ended && flow->bulk_windows >= BULK_WINDOWS &&
           !flow_is_watched(flow);
}

/* The queue is empty and no receive is armed: from here on bytes go through a pipe. */
static void flow_promote(struct flow *flow) {
    flow->bulk_windows = 0;
    window_begin(flow);
    if (session_set_nonblocking(session_of(flow), true)) {
        flow->spliced = true;
        counter_add(&engine_of(flow)->counters.splice_promotions, 1);
    }
}

static void flow_demote(struct flow *flow) {
    struct session *session = session_of(flow);
    flow->spliced = false;
    flow->bulk_windows = 0;
    window_begin(flow);
    counter_add(&session->engine->counters.splice_demotions, 1);
    if (!session->from_client.spliced && !session->from_server.spliced) {
        session_set_nonblocking(session, false);
    }
}

/* How much may be received now; 0: nothing worth a request. */
static uint32_t flow_room(struct flow *flow) {
    struct chain *chain = chain_of(flow);
    size_t queued = flow->queue.bytes + (chain == NULL ? 0 : chain_backlog(chain, flow_direction(flow)));
    if (queued > FLOW_QUEUE_MAX / 2) {
        return 0;
    }
    uint32_t room = (uint32_t)(FLOW_QUEUE_MAX - queued);
    return chain == NULL ? room : chain_allowance(chain, flow_direction(flow), room);
}

static uint32_t recv_room(struct flow *flow) {
    if (flow->recv_op.in_flight || flow->source_ended || flow->starved || flow_has_pipe(flow)) {
        return 0;
    }
    if (session_discards(session_of(flow))) {
        return CHAIN_DISCARD_MAX;
    }
    return flow_is_deaf(flow) ? 0 : flow_room(flow);
}

/* Asks for more, if there is room for it. The request lives until it has brought as much as there was room for. */
static void flow_receive(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    uint32_t room = recv_room(flow);
    if (room == 0 || (flow->spliced && flow->queue.first != NULL)) {
        return; /* (a filter's words go first) */
    }
    if (flow_wants_splice(flow, engine)) {
        if (flow->queue.first != NULL) {
            return; /* once the queue is empty */
        }
        flow_promote(flow);
    }
    int fd = flow_source(flow)->fd;
    if (flow->spliced || flow->source_dry) {
        flow->source_dry = false;
        flow->recv_op.done = flow_source_ready;
        ring_poll(engine->ring, &flow->recv_op, fd, RING_POLL_READ);
    } else {
        counter_add(&engine->counters.receives_armed, 1);
        flow->recv_op.done = flow_recv_done;
        ring_recv(engine->ring, &flow->recv_op, fd, room);
    }
}

/* No buffer was free. Asking again at once would only burn the CPU: wait in line. */
static void flow_starve(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    counter_add(&engine->counters.starved, 1);
    flow->starved = true;
    if (!flow->blocked) {
        list_append(&engine->buffers.starved, &flow->link);
    }
}

void flow_resume(struct flow *flow) {
    link_remove(&flow->link);
    flow->starved = false;
    flow_receive(flow);
}

void flow_evacuate(struct flow *flow) {
    link_remove(&flow->link);
    queue_evacuate(&flow->queue, &engine_of(flow)->buffers);
}

/* New bytes, or the end: through the filters, if there are some, to the sink. */
static void flow_advance(struct flow *flow) {
    struct chain *chain = chain_of(flow);
    if (chain != NULL && flow->source_ended) {
        chain_advance(chain);
    } else if (chain != NULL && !chain_is_quiet(chain)) {
        chain_advance_flow(chain, flow_direction(flow));
    } else {
        flow_send(flow);
    }
}

static void flow_received(struct flow *flow, size_t size) {
    struct engine *engine = engine_of(flow);
    counter_add(&engine->counters.receives, 1);
    flow_count(flow, size);
    flow_judge_receives(flow);
    session_progress(session_of(flow));
    if (flow->blocked && !link_is_in_list(&flow->link)) {
        list_append(&engine->buffers.blocked, &flow->link);
    }
    flow_advance(flow);
}

static void flow_source_over(struct flow *flow, int result) {
    struct chain *chain = chain_of(flow);
    flow->source_ended = true;
    if (session_discards(session_of(flow))) {
        session_discarded(session_of(flow), 0);
        return;
    }
    if (chain == NULL) {
        flow->complete = true;
    } else {
        chain_source_over(chain, flow_direction(flow));
    }
    session_source_over(session_of(flow), flow, result);
    if (!flow_is_deaf(flow)) {
        flow_advance(flow);
    }
}

void flow_pump(struct flow *flow) {
    flow_send(flow);
    flow_receive(flow);
}

static struct queue *flow_incoming(struct flow *flow) {
    struct chain *chain = chain_of(flow);
    return chain == NULL ? &flow->queue : chain_incoming(chain, flow_direction(flow));
}

void flow_discard(struct flow *flow) {
    if (flow->spliced) {
        flow_demote(flow);
    }
    flow_receive(flow);
}

/* Nobody will get these. */
static void flow_received_late(struct flow *flow, const struct completion *completion) {
    struct session *session = session_of(flow);
    struct queue dropped;
    queue_init(&dropped);
    queue_receive(&dropped, &engine_of(flow)->buffers, completion);
    queue_clear(&dropped, &engine_of(flow)->buffers);
    if (session_discards(session)) {
        session_discarded(session, (size_t)completion->result);
    } else if (!session_lingers(session)) {
        flow_sink(flow)->cut = true;
    }
}

static void flow_recv_done(struct op *op, const struct completion *completion) {
    struct flow *flow = container_of(op, struct flow, recv_op);
    int result = completion->result;
    if (result > 0 && (flow_is_deaf(flow) || session_discards(session_of(flow)))) {
        flow_received_late(flow, completion);
    } else if (flow_is_deaf(flow)) {
        return;
    } else if (result > 0) {
        queue_receive(flow_incoming(flow), &engine_of(flow)->buffers, completion);
        flow_received(flow, (size_t)result);
    } else if (result == -EAGAIN) {
        flow->source_dry = true;
    } else if (result == -ENOBUFS) {
        flow_starve(flow);
    } else if (result != -EINTR && result != -ECANCELED) {
        flow_source_over(flow, result);
    }
    flow_receive(flow);
}

/* --- splicing --------------------------------------------------------------------------------------------------- */

/* Source to pipe. Bytes moved, or what splice(2) said; -ENOBUFS: every pipe holds the bytes of some slow receiver. */
static int64_t flow_fill(struct flow *flow) {
    struct engine *engine = engine_of(flow);
    struct splice *splice = splice_take(&engine->splices);
    if (splice == NULL) {
        return -ENOBUFS;
    }
    check(flow->outgoing == OUTGOING_NONE);
    flow->splice = splice;
    flow->outgoing = OUTGOING_PIPE;
    int64_t moved = splice_fill(splice, flow_source(flow)->fd);
    if (moved > 0) {
        counter_add(&engine->counters.splice_bytes, (uint64_t)moved);
        ring_expect_more(engine->ring, (uint64_t)moved);
        flow_count(flow, (size_t)moved);
        session_progress(session_of(flow));
    } else {
        flow_give_pipe(flow);
    }
    return moved;
}

static bool flow_splice_pays(struct flow *flow) {
    if (flow->window_receives < SPLICE_MOVES) {
        return true;
    }
    bool pays = flow->window_bytes / flow->window_receives >= SPLICE_MOVE;
    window_begin(flow);
    return pays;
}

/* Nothing was spliced although the source is readable; `again`: after something was. In front of a byte of urgent data
 * splice(2) says -EAGAIN for ever, or even "end" although more follows: a receive is asked instead. An error is true,
 * and is told only once. */
static void flow_splice_stops(struct flow *flow, int result, bool again) {
    switch (-result) {
    case EAGAIN:
        if (!again) {
            flow_demote(flow);
        }
        break;
    case EINTR:
        break;
    case 0:
    case ENOBUFS:
        flow_demote(flow);
        break;
    default:
        flow_source_over(flow, result);
    }
}

/* A quota of a filter may have been passed. */
static void flow_count_quota(struct flow *flow) {
    if (chain_of(flow) != NULL && !flow_is_over(flow)) {
        chain_advance(chain_of(flow));
    }
}

static void flow_splice(struct flow *flow) {
    for (int round = 0; round < SPLICE_ROUNDS; round++) {
        int64_t moved = flow_fill(flow);
        if (moved <= 0) {
            flow_splice_stops(flow, (int)moved, round > 0);
            break;
        }
        flow_send(flow);
        if (flow_has_pipe(flow) || flow_is_over(flow)) {
            return;
        }
        if (moved < SPLICE_MORE) {
            break;
        }
    }
    if (flow->spliced && !flow_splice_pays(flow)) {
        flow_demote(flow);
    }
}

static void flow_source_ready(struct op *op, const struct completion *completion) {
    struct flow *flow = container_of(op, struct flow, recv_op);
    (void)completion; /* an error shows when the source is read */
    if (flow_is_deaf(flow)) {
        return;
    }
    if (flow->spliced && flow_is_watched(flow)) {
        flow_demote(flow);
    }
    if (flow->spliced && flow->queue.first == NULL) {
        flow_splice(flow);
        flow_count_quota(flow);
    }
    flow_receive(flow);
}
