#include "engine/chain.h"

#include "engine/chain_parts.h"

#include <stdlib.h>

static uint64_t earlier(uint64_t a_us, uint64_t b_us) {
    return a_us < b_us ? a_us : b_us;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void filter_session_init(struct filter_session *filter_session, struct chain *chain, struct filter *filter) {
    *filter_session = (struct filter_session){.filter = filter, .chain = chain, .quota = UINT64_MAX};
    link_init(&filter_session->touched);
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        stage_init(&filter_session->stages[direction]);
        queue_init(&filter_session->outbox[direction]);
        filter_session->stages[direction].has_hook = filter_has(filter, direction_hook(direction));
    }
}

static void chain_init(struct chain *chain, struct session *session, const struct filter_list *list) {
    *chain = (struct chain){.session = session, .quota = UINT64_MAX, .timeouts = session->settings->timeouts};
    link_init(&chain->link);
    link_init(&chain->written);
    chain->count = (uint32_t)list->count;
    chain->is_filtered[FROM_CLIENT] = chain->count > 0; /* until it is known where it goes, its bytes wait in a stage */
    chain->is_filtered[FROM_SERVER] = chain->count > 0;
    for (size_t i = 0; i < list->count; i++) {
        filter_session_init(&chain->sessions[i], chain, list->filters[i]);
    }
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        limit_set(&chain->limits[direction], session->settings->bandwidth, session->engine->now_us);
    }
}

void chain_retire(struct filter_session *filter_session) {
    filter_session->gone = true;
    filter_session->chain->again = true;
    filter_session->suspended = 0;
    filter_session->quota = UINT64_MAX;
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct stage *stage = &filter_session->stages[direction];
        stage->has_hook = false;
        stage->busy = false;
        stage->need = 0;
    }
}

bool chain_open(struct session *session) {
    static const struct filter_list nobody = {.count = 0};
    const struct settings *settings = session->settings;
    const struct filter_list *list =
        settings_have_filters(settings) ? &settings->epoch->filter_lists[settings->index] : &nobody;
    struct chain *chain = malloc(sizeof *chain + list->count * sizeof chain->sessions[0]);
    if (chain == NULL) {
        return false;
    }
    chain_init(chain, session, list);
    session->chain = chain;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct filter_session *filter_session = &chain->sessions[i];
        if (!filter_session->filter->calls->open(filter_session)) {
            return false;
        }
        filter_session->is_open = true;
        if (filter_session->gone) {
            chain_retire(filter_session);
        }
    }
    return true;
}

void chain_free(struct chain *chain) {
    struct buffers *buffers = &chain_engine(chain)->buffers;
    check(chain->phase == PHASE_OVER);
    link_remove(&chain->link);
    link_remove(&chain->written);
    for (uint32_t i = 0; i < chain->count; i++) {
        struct filter_session *filter_session = &chain->sessions[i];
        check(!link_is_in_list(&filter_session->touched));
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            stage_finish(&filter_session->stages[direction], buffers);
            queue_clear(&filter_session->outbox[direction], buffers);
        }
    }
    free(chain);
}

void chain_run(struct filter_session *filter_session, enum hook hook) {
    struct engine *engine = chain_engine(filter_session->chain);
    counter_add(&engine->counters.hooks, 1);
    filter_enter(engine, filter_session, hook);
    enum hook_outcome outcome = filter_session->filter->calls->run(filter_session, hook);
    filter_leave(engine, filter_session, hook, outcome);
}

/* --- waits ------------------------------------------------------------------------------------------------------ */

static bool wait_is_satisfied(const struct stage_wait *wait, struct filter_session *filter_session,
                              enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    if (wait->for_room) {
        return stage->passed_end || chain_has_room(filter_session, direction);
    }
    return stage->ended || stage->input.bytes >= wait->bytes || filter_is_late(filter_session);
}

/* One at a time: whom it wakes may end other waits. */
static struct stage_wait *chain_take_satisfied(struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            list_for_each (link, &chain->sessions[i].stages[direction].waits) {
                struct stage_wait *wait = container_of(link, struct stage_wait, link);
                if (wait_is_satisfied(wait, &chain->sessions[i], direction)) {
                    link_remove(link);
                    return wait;
                }
            }
        }
    }
    return NULL;
}

static bool chain_has_waits(const struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stages = chain->sessions[i].stages;
        if (!list_is_empty(&stages[FROM_CLIENT].waits) || !list_is_empty(&stages[FROM_SERVER].waits)) {
            return true;
        }
    }
    return false;
}

static void chain_satisfy(struct chain *chain) {
    struct stage_wait *wait;
    while (chain_has_waits(chain) && !chain_is_closing(chain) && (wait = chain_take_satisfied(chain)) != NULL) {
        wait->satisfied(wait);
    }
}

/* --- advancing -------------------------------------------------------------------------------------------------- */

static void chain_call_quotas(struct chain *chain) {
    uint64_t bytes = chain->session->from_client.bytes + chain->session->from_server.bytes;
    if (bytes < chain->quota) {
        return;
    }
    chain->quota = UINT64_MAX;
    for (uint32_t i = 0; i < chain->count && !chain_is_closing(chain); i++) {
        struct filter_session *filter_session = &chain->sessions[i];
        if (bytes >= filter_session->quota) {
            filter_session->quota = UINT64_MAX;
            filter_session->quota_passed(filter_session);
        } else if (filter_session->quota < chain->quota) {
            chain->quota = filter_session->quota;
        }
    }
}

/* All hooks but the last are over once the session is closed. */
static bool chain_has_work(const struct chain *chain) {
    return !chain_is_closing(chain) || chain->phase == PHASE_CLOSED;
}

/* Moves bytes, in one direction or in both. */
static void chain_move(struct chain *chain, enum direction first, enum direction last) {
    for (enum direction direction = first; direction <= last; direction++) {
        chain_pump(chain, direction);
    }
    chain_satisfy(chain);
    for (enum direction direction = first; direction <= last; direction++) {
        chain_release_direction(chain, direction);
    }
    chain_call_quotas(chain);
}

static void chain_step(struct chain *chain) {
    chain_satisfy(chain);
    if (!chain_has_work(chain)) {
        return;
    }
    chain_go_round(chain);
    if (!chain_is_closing(chain)) {
        chain_move(chain, FROM_CLIENT, FROM_SERVER);
    }
}

static void chain_go_on(struct chain *chain) {
    while (chain->again && chain_has_work(chain)) {
        chain->again = false;
        chain_step(chain);
    }
    chain->advancing = false;
    if (!chain_is_closing(chain) && chain_due_us(chain) != UINT64_MAX) {
        session_hurry(chain->session);
    }
}

void chain_advance(struct chain *chain) {
    chain->again = true;
    if (!chain->advancing) {
        chain->advancing = true;
        chain_go_on(chain);
    }
}

void chain_route_late(struct chain *chain) {
    chain->is_late = true;
    chain_advance(chain);
}

bool filter_is_late(const struct filter_session *filter_session) {
    const struct chain *chain = filter_session->chain;
    return chain->is_late && chain->phase == PHASE_ROUTE;
}

void chain_advance_flow(struct chain *chain, enum direction direction) {
    if (chain->phase != PHASE_RELAY || chain->ends || chain->advancing) {
        chain_advance(chain);
        return;
    }
    chain->advancing = true;
    chain->again = false;
    chain_satisfy(chain);
    if (!chain_is_closing(chain)) {
        chain_move(chain, direction, direction);
    }
    if (chain_flow(chain, direction)->complete) {
        chain->again = true; /* the other direction may depend on the end of this one */
    }
    chain_go_on(chain);
}

bool chain_is_quiet(const struct chain *chain) {
    bool is_filtered = chain->is_filtered[FROM_CLIENT] || chain->is_filtered[FROM_SERVER];
    bool is_limited = chain->limits[FROM_CLIENT].rate != 0 || chain->limits[FROM_SERVER].rate != 0;
    return chain->phase == PHASE_RELAY && !is_filtered && !is_limited && !chain->ends && chain->quota == UINT64_MAX &&
           !chain_has_waits(chain);
}

bool chain_wants_room(const struct chain *chain, enum direction direction) {
    return chain->is_blocked[direction] || chain->phase != PHASE_RELAY || chain->ends || chain_has_waits(chain);
}

/* --- what flow and session ask --------------------------------------------------------------------------------------
 */

struct queue *chain_incoming(struct chain *chain, enum direction direction) {
    return chain->is_filtered[direction] ? &chain_at(chain, direction, 0)->stages[direction].input
                                         : &chain_flow(chain, direction)->queue;
}

void chain_count(struct chain *chain, enum direction direction, size_t size) {
    limit_spend(&chain->limits[direction], size);
    if (!chain->is_filtered[direction]) {
        return;
    }
    struct stage *first = &chain_at(chain, direction, 0)->stages[direction];
    if (first->passed_end) {
        chain_discard(chain, first);
    } else {
        stage_came(first, chain_engine(chain)->now_us);
    }
}

void chain_source_over(struct chain *chain, enum direction direction) {
    if (chain->count == 0) {
        chain_flow(chain, direction)->complete = true;
        return;
    }
    chain_at(chain, direction, 0)->stages[direction].ended = true;
}

size_t chain_backlog(const struct chain *chain, enum direction direction) {
    size_t backlog = 0;
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stage = &chain->sessions[i].stages[direction];
        bool wants_more = stage_wanted(stage) > stage->input.bytes;
        backlog += stage->later.bytes + (wants_more ? 0 : stage->input.bytes);
    }
    return backlog;
}

size_t chain_held(const struct chain *chain, enum direction direction) {
    size_t held = 0;
    for (uint32_t behind = 0; behind < chain->count; behind++) {
        uint32_t index = direction == FROM_SERVER ? behind : chain->count - 1 - behind;
        const struct stage *stage = &chain->sessions[index].stages[direction];
        if (stage->passed_end) {
            break;
        }
        held += stage->input.bytes + stage->later.bytes;
    }
    return held;
}

uint32_t chain_allowance(struct chain *chain, enum direction direction, uint32_t room) {
    if (!chain->is_listening[direction] || (chain->ends && chain->discarded >= CHAIN_DISCARD_MAX)) {
        return 0;
    }
    uint32_t allowed = limit_allow(&chain->limits[direction], room, chain_engine(chain)->now_us);
    if (allowed == 0) {
        session_hurry(chain->session); /* to ask again in time */
    }
    return allowed;
}

/* Bytes wait somewhere in it: most of the time none do. */
static bool chain_holds(const struct chain *chain) {
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct stage *stages = chain->sessions[i].stages;
        if (stages[FROM_CLIENT].input.bytes > 0 || stages[FROM_SERVER].input.bytes > 0) {
            return true;
        }
    }
    return false;
}

uint64_t chain_due_us(const struct chain *chain) {
    uint64_t due_us = earlier(chain->limits[FROM_CLIENT].due_us, chain->limits[FROM_SERVER].due_us);
    for (enum direction direction = FROM_CLIENT; chain_holds(chain) && direction <= FROM_SERVER; direction++) {
        due_us = earlier(due_us, chain_hold_due_us(chain, direction));
    }
    return due_us;
}

void chain_fired(struct chain *chain) {
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        chain->limits[direction].due_us = UINT64_MAX; /* who is refused again notes a later time */
        chain_check_holds(chain, direction);
    }
    if (!chain_is_closing(chain)) {
        chain_advance(chain);
    }
}

bool chain_is_watched(const struct chain *chain, enum direction direction) {
    return chain->is_filtered[direction] || chain->limits[direction].rate != 0;
}
