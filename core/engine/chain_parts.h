/* What the files of the chain share: chain.c opens it and advances it, and tells flow and session about it;
 * chain_rounds.c asks the filters one after the other; chain_pump.c moves bytes; chain_outcome.c is what becomes of a
 * hook; chain_hold.c is about filters that wait for more. */
#ifndef MOONRING_ENGINE_CHAIN_PARTS_H
#define MOONRING_ENGINE_CHAIN_PARTS_H

#include "engine/chain.h"
#include "engine/session.h"

static inline struct engine *chain_engine(const struct chain *chain) {
    return chain->session->engine;
}

static inline bool chain_is_closing(const struct chain *chain) {
    return chain->session->owner.closing;
}

static inline struct flow *chain_flow(const struct chain *chain, enum direction direction) {
    return direction == FROM_CLIENT ? &chain->session->from_client : &chain->session->from_server;
}

/* The filters in the order in which bytes of a direction meet them. */
static inline struct filter_session *chain_at(struct chain *chain, enum direction direction, uint32_t position) {
    return &chain->sessions[direction == FROM_CLIENT ? position : chain->count - 1 - position];
}

static inline uint32_t chain_position(const struct filter_session *filter_session, enum direction direction) {
    const struct chain *chain = filter_session->chain;
    uint32_t index = (uint32_t)(filter_session - chain->sessions);
    return direction == FROM_CLIENT ? index : chain->count - 1 - index;
}

/* Until it does, the bytes of the peers wait in the first stages, and no byte hook is entered: what filters write
 * passes those that have none. */
static inline bool chain_relays(const struct chain *chain) {
    return chain->phase == PHASE_RELAY || chain->phase == PHASE_SERVE;
}

static inline bool chain_is_served_by(const struct chain *chain, const struct filter_session *filter_session) {
    return chain->phase == PHASE_SERVE && filter_session == &chain->sessions[chain->turn];
}

/* --- chain.c ------------------------------------------------------------------------------------------------------ */

/* Enters a hook. */
void chain_run(struct filter_session *filter_session, enum hook hook);
/* No hook of the filter sees bytes any more. */
void chain_retire(struct filter_session *filter_session);

/* --- chain_rounds.c ----------------------------------------------------------------------------------------------- */

/* The hook of a phase in which the filters are asked one after the other, or one serves; HOOK_TASK: there is none. */
enum hook phase_hook(enum chain_phase phase);
/* Goes on with the round that is on, if one is, and with what comes after it. */
void chain_go_round(struct chain *chain);
/* At the end of the turn filters that were bypassed leave, and a closed session runs its last hooks. */
void chain_close_later(struct chain *chain);

/* --- chain_pump.c ------------------------------------------------------------------------------------------------- */

/* Moves what can be moved in a direction, through the filters and to the sink. */
void chain_pump(struct chain *chain, enum direction direction);
/* Leaves a direction to its flow when nothing is left for the filters to see there. */
void chain_release_direction(struct chain *chain, enum direction direction);
/* A byte hook has returned. */
void chain_settle(struct filter_session *filter_session, enum direction direction);
/* Drops what came to a filter that has ended the stream. */
void chain_discard(struct chain *chain, struct stage *stage);

/* --- chain_hold.c ------------------------------------------------------------------------------------------------- */

/* The filter needs more than hold_max. */
void chain_hold_is_full(struct filter_session *filter_session, enum direction direction);
/* When hold_timeout is over for a filter of the chain; UINT64_MAX: none holds anything. */
uint64_t chain_hold_due_us(const struct chain *chain, enum direction direction);
/* Fails those for which it is over. */
void chain_check_holds(struct chain *chain, enum direction direction);

#endif
