#include "lua/framing.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* A change to the bytes of a frame; its text follows. */
struct edit {
    uint32_t at; /* in the frame */
    uint32_t cut;
    uint32_t size; /* of the text */
};

/* --- life --------------------------------------------------------------------------------------------------------- */

static void frame_begin(struct framing *framing) {
    framing->at = framing_stage(framing)->offset;
    framing->read = 0;
    framing->head = 0;
    framing->whole = 0;
    framing->is_shown = false;
    framing->is_read = false;
    framing->decision = FRAME_OPEN;
    framing->edited = 0;
    bytes_clear(&framing->edits);
    framing->framer->begin(framing);
}

static struct framing *framing_create(const struct framer *framer, const void *parameter,
                                      struct filter_session *filter_session, enum direction direction) {
    struct framing *framing = calloc(1, sizeof(*framing) + framer->state_size);
    if (framing == NULL) {
        return NULL;
    }
    framing->state = framing + 1;
    framing->framer = framer;
    framing->parameter = parameter;
    framing->filter_session = filter_session;
    framing->direction = direction;
    bytes_init(&framing->edits);
    frame_begin(framing);
    return framing;
}

void framing_free(struct framing *framing) {
    if (framing != NULL) {
        bytes_finish(&framing->edits);
        free(framing);
    }
}

static bool framing_fits(const struct framing *framing, const struct framer *framer, const void *parameter) {
    return framing != NULL && framing->framer == framer && framing->parameter == parameter;
}

static bool framing_replace(struct framing **framing, struct framing *created, struct error *error) {
    if (created == NULL) {
        return error_set(error, "not enough memory for a loop over frames");
    }
    framing_free(*framing);
    *framing = created;
    return true;
}

bool framing_open(struct framing **framing, const struct framer *framer, const void *parameter, uint32_t see,
                  struct filter_session *filter_session, enum direction direction, struct error *error) {
    if (*framing != NULL && !framing_leave(*framing, false, error)) {
        return false;
    }
    if (!framing_fits(*framing, framer, parameter)) {
        if (*framing != NULL && (*framing)->rest != FRAME_OPEN) {
            return error_set(error, "a frame of %s is still on its way here", (*framing)->framer->name);
        }
        if (!framing_replace(framing, framing_create(framer, parameter, filter_session, direction), error)) {
            return false;
        }
    }
    (*framing)->loop = LOOP_OPEN;
    (*framing)->see = see;
    return true;
}

/* --- carrying out ------------------------------------------------------------------------------------------------- */

static void framing_move(const struct framing *framing, bool drops, uint64_t size) {
    if (size > 0) {
        (drops ? filter_drop : filter_pass)(framing->filter_session, framing->direction, size);
    }
}

static bool edits_apply(const struct framing *framing, struct error *error) {
    uint64_t at = 0;
    for (size_t index = 0; index < framing->edits.size;) {
        struct edit edit;
        memcpy(&edit, framing->edits.data + index, sizeof(edit));
        const char *text = framing->edits.data + index + sizeof(edit);
        framing_move(framing, false, edit.at - at);
        if (!filter_put(framing->filter_session, framing->direction, text, edit.size)) {
            return error_set(error, "not enough memory, or more than %d bytes put without a wait", FILTER_OUTBOX_MAX);
        }
        framing_move(framing, true, edit.cut);
        at = edit.at + edit.cut;
        index += sizeof(edit) + edit.size;
    }
    return true;
}

/* The framer may have to see the rest of the frame: then what was read is moved, and the rest follows. */
static bool frame_carry_out(struct framing *framing, struct error *error) {
    framing->is_shown = false;
    if (!edits_apply(framing, error)) {
        return false;
    }
    bool drops = framing->decision == FRAME_DROPPED;
    bool by_size = framing->whole > 0 && (framing->is_read || framing->framer->read_rest == NULL);
    framing_move(framing, drops, (by_size ? framing->whole : framing->read) - framing->edited);
    if (framing->framer->decided != NULL) {
        framing->framer->decided(framing);
    }
    if (by_size) {
        frame_begin(framing);
    } else {
        framing->rest = drops ? FRAME_DROPPED : FRAME_PASSED;
        filter_message(framing->filter_session, framing->direction, !drops);
    }
    return true;
}

bool framing_settle_decided(struct framing *framing, struct error *error) {
    bool decided = framing->is_shown && framing->decision != FRAME_OPEN;
    return !decided || frame_carry_out(framing, error);
}

static bool framing_settle(struct framing *framing, struct error *error) {
    return !framing->is_shown || frame_carry_out(framing, error);
}

bool framing_reach(const struct framing *framing, uint64_t size) {
    const struct stage *stage = framing_stage(framing);
    if (stage->shown < size && stage->input.bytes >= size) {
        filter_show(framing->filter_session, framing->direction, (uint32_t)size);
    }
    return stage->shown >= size;
}

static const uint8_t *framing_bytes(const struct framing *framing) {
    return (const uint8_t *)stage_bytes(framing_stage(framing));
}

static bool framing_refuse(const struct framing *framing, struct error *error) {
    return error_prefix(error, "not %s: ", framing->framer->name);
}

/* Gives the framer what is there, and moves what it took. */
static enum parse_result rest_read(struct framing *framing, struct error *error) {
    uint64_t before = framing->read;
    uint32_t size = framing_stage(framing)->shown;
    enum parse_result result = framing->framer->read_rest(framing, framing_bytes(framing), size, error);
    if (result == PARSE_NO) {
        framing_refuse(framing, error);
    } else {
        framing_move(framing, framing->rest == FRAME_DROPPED, framing->read - before);
    }
    return result;
}

enum framing_step framing_run_rest(struct framing *framing, struct error *error) {
    const struct stage *stage = framing_stage(framing);
    while (framing->rest != FRAME_OPEN && !framing->filter_session->gone) {
        uint64_t before = framing->read;
        framing_reach(framing, 1);
        enum parse_result result = stage_is_ahead(stage) ? PARSE_MORE : rest_read(framing, error);
        if (result == PARSE_NO) {
            return STEP_FAILED;
        }
        if (result == PARSE_DONE) {
            framing->rest = FRAME_OPEN;
            filter_message(framing->filter_session, framing->direction, false);
            frame_begin(framing);
        } else if (framing->read == before) {
            return STEP_END;
        }
    }
    return STEP_FRAME;
}

/* --- the next frame ----------------------------------------------------------------------------------------------- */

bool framing_need(struct framing *framing, uint64_t size, struct error *error) {
    struct filter_session *filter_session = framing->filter_session;
    uint32_t hold_max = filter_session->filter->hold_max;
    if (framing_stage(framing)->ended && size > hold_max) {
        size = hold_max; /* nothing is waited for, but what is held is told from what is left alone */
    }
    filter_need(filter_session, framing->direction, size < UINT32_MAX ? (uint32_t)size : UINT32_MAX);
    return size <= hold_max ||
           error_set(error, "%.0f bytes are needed at once, and hold_max is %u", (double)size, hold_max);
}

void framing_show(struct framing *framing, uint64_t whole, uint32_t shown) {
    framing->at = framing_stage(framing)->offset;
    framing->whole = whole;
    framing->shown = shown;
    framing->is_shown = true;
}

/* How much of the frame is to be shown; 0: not known yet. */
static uint64_t framing_wanted(const struct framing *framing) {
    return framing->head < framing->see ? framing->head : framing->see;
}

/* Looks at all that is there. */
static enum parse_result framing_read(struct framing *framing, struct error *error) {
    const struct stage *stage = framing_stage(framing);
    if (stage->shown == 0) {
        return PARSE_MORE;
    }
    framing->ended = stage->ended && stage->shown == stage->input.bytes;
    return framing->framer->read(framing, framing_bytes(framing), stage->shown, error);
}

static enum framing_step framing_end(struct framing *framing) {
    framing->loop = LOOP_NONE;
    return STEP_END;
}

enum framing_step framing_hold(struct framing *framing, uint64_t size, struct error *error) {
    bool has_begun = framing_stage(framing)->shown > 0;
    framing->is_shown = false;
    return !has_begun || framing_need(framing, size, error) ? framing_end(framing) : STEP_FAILED;
}

static enum framing_step framing_find(struct framing *framing, struct error *error) {
    const struct stage *stage = framing_stage(framing);
    if (framing->at != stage->offset) {
        frame_begin(framing); /* bytes went by the loop */
    }
    if (!framing_reach(framing, framing->read)) {
        return framing_hold(framing, framing->read, error);
    }
    for (;;) {
        enum parse_result result = framing_read(framing, error);
        uint64_t wanted = framing_wanted(framing);
        bool is_behind = framing->read > wanted; /* what was refused: then the frame is shown first, as always */
        if (result == PARSE_NO && !(wanted > 0 && is_behind)) {
            framing_refuse(framing, error);
            return STEP_FAILED;
        }
        if (wanted > 0 && stage->shown >= wanted) {
            framing->is_read = result == PARSE_DONE;
            framing_show(framing, framing->whole, (uint32_t)wanted);
            return STEP_FRAME;
        }
        if (result == PARSE_DONE && wanted == 0) {
            framing_move(framing, false, framing->whole); /* nothing that comes is a frame */
            return framing_end(framing);
        }
        uint64_t next = wanted > stage->shown ? wanted : (uint64_t)stage->shown + 1;
        if (!framing_reach(framing, next)) {
            return framing_hold(framing, next, error);
        }
    }
}

static bool loop_is_open(const struct framing *framing, struct error *error) {
    switch (framing->loop) {
    case LOOP_OPEN:
        return true;
    case LOOP_BROKEN:
        return error_set(error,
                         "a verb of buf, or another loop, has moved the bytes under the loop over frames (decide "
                         "by f:pass, f:drop or f:replace)");
    case LOOP_NONE:
        break;
    }
    return error_set(error, "the loop over frames has ended");
}

enum framing_step framing_go_on(struct framing *framing, struct error *error) {
    if (!loop_is_open(framing, error) || !framing_settle(framing, error)) {
        return STEP_FAILED;
    }
    const struct stage *stage = framing_stage(framing);
    enum framing_step step = framing_run_rest(framing, error);
    bool may_find = step == STEP_FRAME && stage->has_hook && !framing->detaches && !framing->filter_session->gone &&
                    !stage_is_ahead(stage);
    return may_find || step == STEP_FAILED ? step : framing_end(framing);
}

enum framing_step framing_next(struct framing *framing, struct error *error) {
    enum framing_step step = framing_go_on(framing, error);
    return step == STEP_FRAME ? framing_find(framing, error) : step;
}

/* --- decisions ---------------------------------------------------------------------------------------------------- */

bool framing_check_frame(const struct framing *framing, uint64_t at, struct error *error) {
    if (framing == NULL || !framing->is_shown || framing->at != at) {
        return error_set(error, "frame used after the loop's next step (keep tostring(frame))");
    }
    return framing->decision == FRAME_OPEN || error_set(error, "the frame was decided already");
}

void framing_decide(struct framing *framing, enum framing_decision decision) {
    framing->decision = decision;
}

bool framing_edit(struct framing *framing, uint32_t from, uint32_t to, const void *text, size_t size,
                  struct error *error) {
    struct edit edit = {.at = from, .cut = to - from, .size = (uint32_t)size};
    struct bytes *edits = &framing->edits;
    size_t before = edits->size;
    if (from < framing->edited) {
        return error_set(error, "replace(i, j, s) goes from the front of a frame to its end");
    }
    if (size > FILTER_OUTBOX_MAX - sizeof(edit) || before > FILTER_OUTBOX_MAX - sizeof(edit) - size) {
        return error_set(error, "more than %d bytes put into a frame", FILTER_OUTBOX_MAX);
    }
    bytes_append(edits, &edit, sizeof(edit));
    bytes_append(edits, text, size);
    if (edits->failed) {
        edits->size = before;
        return error_set(error, "not enough memory");
    }
    framing->edited = to;
    return true;
}

bool framing_detach(struct framing *framing, struct error *error) {
    if (!framing_settle_decided(framing, error)) {
        return false;
    }
    if (framing->rest == FRAME_DROPPED && framing_run_rest(framing, error) == STEP_FAILED) {
        return false;
    }
    framing->detaches = framing->rest == FRAME_DROPPED;
    if (!framing->detaches) {
        filter_detach(framing->filter_session, framing->direction);
    }
    return true;
}

/* --- leaving the loop --------------------------------------------------------------------------------------------- */

bool framing_leave(struct framing *framing, bool keeps, struct error *error) {
    if (framing->loop != LOOP_OPEN) {
        return true;
    }
    framing->loop = LOOP_BROKEN;
    if (keeps && framing->decision == FRAME_OPEN) {
        frame_begin(framing);
        return true;
    }
    return framing_settle(framing, error);
}

bool framing_is_whole(const struct framing *framing) {
    return framing->whole > 0 && framing->whole <= framing_stage(framing)->input.bytes;
}

enum framing_step framing_finish(struct framing *framing, struct error *error) {
    enum framing_step step = framing_next(framing, error);
    while (step == STEP_FRAME && framing_is_whole(framing)) {
        step = framing_next(framing, error);
    }
    if (step != STEP_FRAME) {
        return step;
    }
    return framing_hold(framing, (uint64_t)framing_stage(framing)->shown + 1, error);
}
