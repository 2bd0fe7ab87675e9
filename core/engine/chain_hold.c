#include "engine/chain_parts.h"

#include <stdio.h>

enum { HOLD_TEXT_SIZE = 128 };

static void chain_hold_failed(struct filter_session *filter_session, enum direction direction, const char *why) {
    filter_session->filter->calls->tell_hold(filter_session, direction, why);
    chain_fail(filter_session, CLOSE_FILTER_HOLD);
}

void chain_hold_is_full(struct filter_session *filter_session, enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    char why[HOLD_TEXT_SIZE];
    snprintf(why, sizeof why, "it holds %u bytes and needs %u: hold_max is %u", stage->input.bytes, stage->need,
             filter_session->filter->hold_max);
    chain_hold_failed(filter_session, direction, why);
}

/* A byte hook waits for more, whether it has returned or is suspended. */
static uint64_t stage_hold_deadline_us(const struct stage *stage, const struct filter *filter) {
    bool holds = stage->input.bytes > 0 && (stage->has_hook || stage->busy) && !stage->ended &&
                 stage_wanted(stage) > stage->input.bytes;
    return holds && filter->hold_timeout_ms != 0 ? stage->came_us + filter->hold_timeout_ms * 1000 : UINT64_MAX;
}

static uint64_t hold_deadline_us(const struct filter_session *filter_session, enum direction direction) {
    bool relays = filter_session->chain->phase == PHASE_RELAY; /* before, others wait at the first stage */
    return relays ? stage_hold_deadline_us(&filter_session->stages[direction], filter_session->filter) : UINT64_MAX;
}

uint64_t chain_hold_due_us(const struct chain *chain, enum direction direction) {
    uint64_t due_us = UINT64_MAX;
    for (uint32_t i = 0; i < chain->count; i++) {
        uint64_t hold_us = hold_deadline_us(&chain->sessions[i], direction);
        due_us = hold_us < due_us ? hold_us : due_us;
    }
    return due_us;
}

static void chain_check_hold(struct filter_session *filter_session, enum direction direction) {
    const struct stage *stage = &filter_session->stages[direction];
    if (hold_deadline_us(filter_session, direction) <= chain_engine(filter_session->chain)->now_us) {
        char why[HOLD_TEXT_SIZE];
        snprintf(why, sizeof why, "no byte came for hold_timeout while it held %u and needed %u", stage->input.bytes,
                 stage_wanted(stage));
        chain_hold_failed(filter_session, direction, why);
        chain_advance(filter_session->chain); /* what a bypassed filter held comes to the next, who may then hold on */
    }
}

void chain_check_holds(struct chain *chain, enum direction direction) {
    for (uint32_t position = 0; position < chain->count && !chain_is_closing(chain); position++) {
        chain_check_hold(chain_at(chain, direction, position), direction);
    }
}

bool chain_describe(const struct chain *chain, char *text, size_t text_size) {
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct filter_session *filter_session = &chain->sessions[i];
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            const struct stage *stage = &filter_session->stages[direction];
            if (stage->need > 0 && stage->input.bytes > 0) {
                snprintf(text, text_size, "held by %s %.1f s, %u of %u bytes", filter_session->filter->name,
                         (double)(chain_engine(chain)->now_us - stage->held_us) / 1e6, stage->input.bytes, stage->need);
                return true;
            }
        }
        for (enum hook hook = HOOK_ROUTE; hook < HOOK_TASK; hook++) {
            if ((filter_session->suspended & 1u << hook) != 0) {
                snprintf(text, text_size, "waits in %s of %s", hook_name(hook), filter_session->filter->name);
                return true;
            }
        }
    }
    return false;
}
