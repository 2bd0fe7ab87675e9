#include "engine/chain_parts.h"

enum {
    STAGE_MAX = FLOW_QUEUE_MAX, /* what lies behind a filter must be below it, or below hold_max if that is more, for
                                   the filter to be entered */
};

struct stage *chain_next_stage(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    uint32_t next = chain_position(filter_session, direction) + 1;
    return next == chain->count ? NULL : &chain_at(chain, direction, next)->stages[direction];
}

struct queue *chain_out(struct filter_session *filter_session, enum direction direction) {
    struct stage *next = chain_next_stage(filter_session, direction);
    return next != NULL ? &next->input : &chain_flow(filter_session->chain, direction)->queue;
}

/* Bytes pass filters without a hook unseen: what counts is the next queue in which they stay. */
bool chain_has_room(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    for (uint32_t position = chain_position(filter_session, direction) + 1; position < chain->count; position++) {
        const struct filter_session *next = chain_at(chain, direction, position);
        const struct stage *stage = &next->stages[direction];
        if (stage->has_hook || stage->input.bytes > 0) {
            uint32_t hold_max = next->filter->hold_max;
            return stage->input.bytes < (hold_max > STAGE_MAX ? hold_max : STAGE_MAX);
        }
    }
    return chain_flow(chain, direction)->queue.bytes < STAGE_MAX;
}

void chain_count_served(const struct filter_session *filter_session, enum direction direction, size_t size) {
    const struct chain *chain = filter_session->chain;
    if (direction == FROM_SERVER && chain_is_served_by(chain, filter_session)) {
        chain_flow(chain, direction)->bytes += size;
        counter_add(&chain_engine(chain)->counters.from_server_bytes, size);
    }
}

/* Bytes were moved there. */
void chain_sent(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct stage *next = chain_next_stage(filter_session, direction);
    if (next != NULL) {
        stage_came(next, chain_engine(chain)->now_us);
    }
    chain->again = chain->again || direction != chain->pumped;
}

/* What was written behind a message that is complete, or never will be. */
static void chain_send_later(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    if (stage->later.bytes > 0) {
        queue_move_all(&stage->later, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

void chain_pass_end(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct stage *stage = &filter_session->stages[direction];
    struct stage *next = chain_next_stage(filter_session, direction);
    if (stage->passed_end) {
        return;
    }
    chain->again = true;
    stage->passed_end = true;
    stage->ended = true;                  /* for who waits here for more */
    chain->is_filtered[direction] = true; /* what still comes is discarded at this stage, or before it */
    chain_send_later(filter_session, direction);
    stage_clear(stage, &chain_engine(chain)->buffers);
    if (next != NULL) {
        next->ended = true;
    } else {
        chain_flow(chain, direction)->complete = true;
    }
}

/* The byte hook has returned: what it left alone is passed on, unless it wants more. */
void chain_settle(struct filter_session *filter_session, enum direction direction) {
    struct buffers *buffers = &chain_engine(filter_session->chain)->buffers;
    struct stage *stage = &filter_session->stages[direction];
    bool wants_more = stage->need > 0 && !stage->told && stage->has_hook;
    if (wants_more && stage->need <= stage->shown) {
        stage->need = stage->shown + 1; /* less would show it the same once more */
    }
    stage->came_us = chain_engine(filter_session->chain)->now_us;
    if (wants_more && stage->need > filter_session->filter->hold_max) {
        chain_hold_is_full(filter_session, direction);
        return;
    }
    if (wants_more || stage_is_ahead(stage)) {
        return;
    }
    bool drops = stage->need > 0 && stage->told && filter_session->filter->strict;
    stage->need = 0;
    if (drops) {
        stage_drop(stage, buffers, stage->shown);
    } else {
        stage_pass(stage, buffers, stage->shown, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

static void chain_enter_byte_hook(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    stage->need = 0;
    stage_show(stage, &chain_engine(filter_session->chain)->buffers, wanted);
    stage->busy = true;
    chain_run(filter_session, direction_hook(direction));
}

/* Whether the hook has something to see now. */
static bool stage_is_ripe(struct stage *stage) {
    uint32_t wanted = stage->need > 0 ? stage->need : 1;
    if (stage->input.bytes >= wanted) {
        return true;
    }
    if (stage->ended && stage->input.bytes > 0 && !stage->told) {
        stage->told = true;
        stage->need = stage->input.bytes; /* all of it */
        return true;
    }
    return false;
}

static void chain_go_by(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    if (stage->input.bytes > 0) {
        stage->offset += stage->input.bytes;
        stage->shown = 0;
        queue_move_all(&stage->input, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

static void chain_run_ahead(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    if (stage_is_ahead(stage) && stage->input.bytes > 0) {
        stage_run_ahead(stage, &chain_engine(filter_session->chain)->buffers, chain_out(filter_session, direction));
        chain_sent(filter_session, direction);
    }
}

/* What comes to a filter that has ended the stream. */
void chain_discard(struct chain *chain, struct stage *stage) {
    chain->discarded += chain->ends ? stage->input.bytes : 0;
    stage_clear(stage, &chain_engine(chain)->buffers);
}

/* Moves what can be moved at one stage. */
static void chain_work(struct filter_session *filter_session, enum direction direction) {
    struct chain *chain = filter_session->chain;
    struct stage *stage = &filter_session->stages[direction];
    while (!chain_is_closing(chain) && !stage->passed_end) {
        if (stage->has_hook && stage->input.bytes == 0) {
            return;
        }
        chain_run_ahead(filter_session, direction);
        if (!stage->has_hook && !stage->busy) {
            if (!stage_is_ahead(stage)) {
                chain_send_later(filter_session, direction);
            }
            chain_go_by(filter_session, direction);
            return;
        }
        if (stage->busy || stage_is_ahead(stage) || !chain_relays(chain)) {
            return;
        }
        if (!chain_has_room(filter_session, direction)) {
            chain->is_blocked[direction] = true;
            return;
        }
        if (!stage_is_ripe(stage)) {
            return;
        }
        chain_enter_byte_hook(filter_session, direction);
    }
}

static enum hook direction_end_hook(enum direction direction) {
    return direction == FROM_CLIENT ? HOOK_CLIENT_EOF : HOOK_SERVER_EOF;
}

/* Everything that came was decided, and nothing more comes. */
static void chain_end_stage(struct filter_session *filter_session, enum direction direction) {
    struct stage *stage = &filter_session->stages[direction];
    enum hook hook = direction_end_hook(direction);
    if (!stage->ended || stage->passed_end || stage->busy || stage->input.bytes > 0) {
        return;
    }
    struct chain *chain = filter_session->chain;
    bool broken = flow_source(chain_flow(chain, direction))->reset;
    bool is_alone = chain_flow(chain, direction_opposite(direction))->ended;
    bool asks = filter_has(filter_session->filter, hook) && !filter_session->gone && !broken && !stage->asked;
    if (asks && !chain_relays(chain)) {
        return;
    }
    stage->pass_ahead = 0;
    stage->drop_ahead = 0;
    chain_send_later(filter_session, direction);
    if (asks) {
        stage->asked = true;
        stage->busy = true;
        chain_run(filter_session, hook);
    } else if (!stage->kept_open || is_alone) {
        chain_pass_end(filter_session, direction);
    }
}

/* How far the bytes of a direction go: to the sink, or to the filter that serves. */
static uint32_t chain_reach(const struct chain *chain, enum direction direction) {
    return chain->phase == PHASE_SERVE && direction == FROM_CLIENT ? chain->turn : chain->count;
}

/* There is somebody to send to: not before there is a server, or a filter that serves. */
static bool chain_has_sink(const struct chain *chain, enum direction direction) {
    return direction == FROM_SERVER || chain->phase >= PHASE_CONNECTED;
}

static void chain_pump_stages(struct chain *chain, enum direction direction) {
    uint32_t reach = chain_has_sink(chain, direction) ? chain_reach(chain, direction) : 0;
    chain->is_blocked[direction] = false;
    chain->pumps = true;
    chain->pumped = direction;
    for (uint32_t position = chain_relays(chain) ? 0 : 1; position < reach && !chain_is_closing(chain); position++) {
        struct filter_session *filter_session = chain_at(chain, direction, position);
        chain_work(filter_session, direction);
        if (!chain_is_closing(chain)) {
            chain_end_stage(filter_session, direction);
        }
    }
    chain->pumps = false;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct stage *stage = &chain->sessions[i].stages[direction];
        if (stage->passed_end) {
            chain_discard(chain, stage);
        } else if (stage->input.first != NULL) { /* what waits does not hold the ring's buffers */
            queue_evacuate(&stage->input, &chain_engine(chain)->buffers);
        }
    }
}

void chain_pump(struct chain *chain, enum direction direction) {
    struct flow *flow = chain_flow(chain, direction);
    chain_pump_stages(chain, direction);
    if (chain_is_closing(chain)) {
        return;
    }
    if (flow->ended) {
        queue_clear(&flow->queue, &chain_engine(chain)->buffers); /* nobody takes it any more */
    }
    if (chain_has_sink(chain, direction)) {
        flow_pump(flow);
    } else {
        flow_start(flow); /* receives what filters wait for */
    }
}

/* Nothing is left for the filters to see in that direction: from here on the flow does it alone. */
void chain_release_direction(struct chain *chain, enum direction direction) {
    if (!chain->is_filtered[direction] || chain->phase != PHASE_RELAY || chain->ends) {
        return;
    }
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stage = &chain->sessions[i].stages[direction];
        if (stage->has_hook || stage->busy || stage->input.bytes > 0 || stage->later.bytes > 0 ||
            stage_is_ahead(stage) || stage->passed_end) {
            return;
        }
    }
    chain->is_filtered[direction] = false;
}
