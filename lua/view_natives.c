#include "lua/view_table.h"

#include <stdlib.h>
#include <string.h>

/* The buf of that index, which can be read. */
struct buf {
    struct slot *slot;
    struct view *view;
    struct filter_session *filter_session;
    struct stage *stage;
    enum direction direction;
};

static struct buf buf_at(struct views *views, uint32_t index) {
    struct slot *slot = &views->slots[index / VIEWS_IN_SLOT];
    enum direction direction = index % VIEWS_IN_SLOT == FROM_CLIENT ? FROM_CLIENT : FROM_SERVER;
    return (struct buf){.slot = slot,
                        .view = &views->views[index],
                        .filter_session = slot->filter_session,
                        .stage = slot_stage(slot, direction),
                        .direction = direction};
}

static double read_find(const char *bytes, double size, const char *text, double text_size) {
    if (text_size > size || text_size == 0) {
        return text_size == 0 ? 0 : -1;
    }
    const char *found = memmem(bytes, (size_t)size, text, (size_t)text_size);
    return found != NULL ? (double)(found - bytes) : -1;
}

static double read_find_any(const char *bytes, double size, const char *set, double set_size) {
    bool wanted[256] = {false};
    for (size_t index = 0; index < (size_t)set_size; index++) {
        wanted[(uint8_t)set[index]] = true;
    }
    for (size_t index = 0; index < (size_t)size; index++) {
        if (wanted[(uint8_t)bytes[index]]) {
            return (double)index;
        }
    }
    return -1;
}

static bool read_equal(const char *bytes, const char *text, double size) {
    return size == 0 || memcmp(bytes, text, (size_t)size) == 0;
}

static double read_age(struct views *views, uint32_t index) {
    const struct stage *stage = buf_at(views, index).stage;
    return views->now_us != NULL ? (double)(*views->now_us - stage->held_us) / 1e6 : 0;
}

/* Before any verb that moves the buf: the loop over frames that runs there ends. */
static bool verb_leave(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = buf.slot->framings[buf.direction];
    if (framing != NULL && !framing_leave(framing, false, &views->error)) {
        return false;
    }
    buf_refresh(buf.view, buf.stage);
    filter_need(buf.filter_session, buf.direction, 0);
    return !stage_is_ahead(buf.stage) ||
           error_set(&views->error, "bytes that have not come yet were passed or dropped already: there is nothing to "
                                    "decide before they are there");
}

static void verb_pass(struct views *views, uint32_t index, double size) {
    struct buf buf = buf_at(views, index);
    filter_pass(buf.filter_session, buf.direction, (uint64_t)size);
    buf_refresh(buf.view, buf.stage);
}

static void verb_drop(struct views *views, uint32_t index, double size) {
    struct buf buf = buf_at(views, index);
    filter_drop(buf.filter_session, buf.direction, (uint64_t)size);
    buf_refresh(buf.view, buf.stage);
}

/* Before bytes are put that may be a view: the frame in front of them goes first. */
static bool verb_settle(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = buf.slot->framings[buf.direction];
    bool settled = framing == NULL || framing_settle_decided(framing, &views->error);
    buf_refresh(buf.view, buf.stage);
    return settled;
}

static bool verb_put(struct views *views, uint32_t index, const char *text, double size) {
    struct buf buf = buf_at(views, index);
    return filter_put(buf.filter_session, buf.direction, text, (size_t)size) ||
           error_set(&views->error, "not enough memory, or more than %d bytes put without a wait", FILTER_OUTBOX_MAX);
}

static bool buf_need(struct views *views, const struct buf *buf, double size) {
    uint32_t hold_max = buf->filter_session->filter->hold_max;
    filter_need(buf->filter_session, buf->direction, size < UINT32_MAX ? (uint32_t)size : UINT32_MAX);
    return size <= hold_max ||
           error_set(&views->error, "%.0f bytes are needed at once, and hold_max is %u", size, hold_max);
}

/* Before `need`: the loop ends, and keeps the frame that was not decided. */
static bool verb_keep(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = buf.slot->framings[buf.direction];
    bool left = framing == NULL || framing_leave(framing, true, &views->error);
    buf_refresh(buf.view, buf.stage);
    return left;
}

static bool verb_need(struct views *views, uint32_t index, double size) {
    struct buf buf = buf_at(views, index);
    return buf_need(views, &buf, size);
}

/* Grows the view to so many bytes if they are there, or to all if no more come. */
enum reach { REACH_THERE, REACH_LATER, REACH_NEVER, REACH_FAILED };

static int verb_reach(struct views *views, uint32_t index, double size) {
    struct buf buf = buf_at(views, index);
    const struct stage *stage = buf.stage;
    if (!stage_is_ahead(stage)) {
        double there = stage->input.bytes < size ? stage->input.bytes : size;
        if (stage->shown < there && (there == size || stage->ended)) {
            filter_show(buf.filter_session, buf.direction, (uint32_t)there);
            buf_refresh(buf.view, stage);
        }
        if (stage->shown >= size) {
            return REACH_THERE;
        }
    }
    if (stage->ended) {
        return REACH_NEVER;
    }
    return size <= buf.filter_session->filter->hold_max || buf_need(views, &buf, size) ? REACH_LATER : REACH_FAILED;
}

static double read_hold_max(struct views *views, uint32_t index) {
    return buf_at(views, index).filter_session->filter->hold_max;
}

/* --- loops over frames, the same way ------------------------------------------------------------------------------ */

enum loop_framer {
    LOOP_SCRIPT,
    LOOP_LINES,
    LOOP_COMMANDS,
    LOOP_REPLIES,
    LOOP_LENGTH,
    LOOP_POSTGRES,
    LOOP_REQUESTS,
    LOOP_RESPONSES
};

static const struct framer *const loop_framers[] = {
    [LOOP_SCRIPT] = &framer_script,     [LOOP_LINES] = &framer_lines,        [LOOP_COMMANDS] = &framer_commands,
    [LOOP_REPLIES] = &framer_replies,   [LOOP_LENGTH] = &framer_length,      [LOOP_POSTGRES] = &framer_postgres,
    [LOOP_REQUESTS] = &framer_requests, [LOOP_RESPONSES] = &framer_responses};

/* What requests and responses share must be there before the loop begins. */
static bool exchange_prepare(struct views *views, struct slot *slot, enum loop_framer framer) {
    if (slot->exchange == NULL) {
        slot->exchange = calloc(1, sizeof(*slot->exchange));
        if (slot->exchange == NULL) {
            return error_set(&views->error, "not enough memory for a loop over frames");
        }
    }
    slot->exchange->has_requests |= framer == LOOP_REQUESTS;
    return slot->exchange->has_requests ||
           error_set(&views->error, "mr.http1.responses(buf) needs a loop over mr.http1.requests(buf) in from_client, "
                                    "since a response to HEAD has no body");
}

/* prefix: of LOOP_LENGTH. see 0: as much as can be held. */
static bool loop_open(struct views *views, uint32_t index, int number, uint32_t prefix, double see) {
    struct buf buf = buf_at(views, index);
    enum loop_framer framer = (enum loop_framer)number;
    uint32_t hold_max = buf.filter_session->filter->hold_max;
    if (see > hold_max) {
        return error_set(&views->error, "a loop that shows %.0f bytes of a frame, and hold_max is %u", see, hold_max);
    }
    bool is_http = framer == LOOP_REQUESTS || framer == LOOP_RESPONSES;
    if (is_http && !exchange_prepare(views, buf.slot, framer)) {
        return false;
    }
    const void *parameter = framer == LOOP_LENGTH ? &views->prefixes[prefix] : NULL;
    uint32_t bytes = see > 0 ? (uint32_t)see : hold_max;
    struct framing **framing = &buf.slot->framings[buf.direction];
    bool opened =
        framing_open(framing, loop_framers[framer], parameter, bytes, buf.filter_session, buf.direction, &views->error);
    if (opened) {
        (*framing)->exchange = buf.slot->exchange;
    }
    buf_refresh(buf.view, buf.stage);
    return opened;
}

static enum framing_step loop_stepped(const struct buf *buf, enum framing_step step) {
    buf_refresh(buf->view, buf->stage);
    if (step == STEP_FRAME) {
        const struct framing *framing = buf->slot->framings[buf->direction];
        buf->view->frame_at = (double)framing->at;
        buf->view->frame_size = framing->whole < UINT64_C(1) << 53 ? (double)framing->whole : 0;
        buf->view->frame_shown = framing->shown;
    }
    return step;
}

/* The loop that runs there is of this kind: else another one has begun inside of it. */
static struct framing *loop_check(struct views *views, const struct buf *buf, bool is_script) {
    struct framing *framing = buf->slot->framings[buf->direction];
    if (framing != NULL && (framing->framer == &framer_script) == is_script) {
        return framing;
    }
    error_set(&views->error, "another loop over frames has begun");
    return NULL;
}

static int loop_next(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = loop_check(views, &buf, false);
    return framing != NULL ? (int)loop_stepped(&buf, framing_next(framing, &views->error)) : (int)STEP_FAILED;
}

static int loop_go_on(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = loop_check(views, &buf, true);
    enum framing_step step = framing != NULL ? framing_go_on(framing, &views->error) : STEP_FAILED;
    buf_refresh(buf.view, buf.stage);
    return (int)step;
}

static void loop_show(struct views *views, uint32_t index, double whole, double shown) {
    struct buf buf = buf_at(views, index);
    framing_show(buf.slot->framings[buf.direction], (uint64_t)whole, (uint32_t)shown);
    loop_stepped(&buf, STEP_FRAME);
}

static int loop_hold(struct views *views, uint32_t index, double size) {
    struct buf buf = buf_at(views, index);
    return (int)framing_hold(buf.slot->framings[buf.direction], (uint64_t)size, &views->error);
}

static bool loop_is_whole(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    return framing_is_whole(buf.slot->framings[buf.direction]);
}

/* --- frames, the same way ----------------------------------------------------------------------------------------- */

static bool frame_check(struct views *views, uint32_t index, double at) {
    struct buf buf = buf_at(views, index);
    return framing_check_frame(buf.slot->framings[buf.direction], (uint64_t)at, &views->error);
}

static void frame_pass(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    framing_decide(buf.slot->framings[buf.direction], FRAME_PASSED);
}

static bool frame_is_edited(const struct framing *framing) {
    return framing->edits.size > 0;
}

static bool frame_drop(struct views *views, uint32_t index) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = buf.slot->framings[buf.direction];
    if (frame_is_edited(framing)) {
        return error_set(&views->error, "a part of the frame was replaced already");
    }
    framing_decide(framing, FRAME_DROPPED);
    return true;
}

static bool frame_edit(struct views *views, uint32_t index, double from, double to, const char *text, double size) {
    struct buf buf = buf_at(views, index);
    return framing_edit(buf.slot->framings[buf.direction], (uint32_t)from, (uint32_t)to, text, (size_t)size,
                        &views->error);
}

static bool frame_replace(struct views *views, uint32_t index, const char *text, double size) {
    struct buf buf = buf_at(views, index);
    struct framing *framing = buf.slot->framings[buf.direction];
    if (frame_is_edited(framing)) {
        return frame_drop(views, index);
    }
    bool edited = framing_edit(framing, 0, 0, text, (size_t)size, &views->error);
    framing_decide(framing, edited ? FRAME_DROPPED : FRAME_OPEN);
    return edited;
}

/* --- protocols, the same way -------------------------------------------------------------------------------------- */

/* What shows a frame of this framer; NULL: nothing does. */
static const struct framing *framing_at(struct views *views, uint32_t index, const struct framer *framer) {
    struct buf buf = buf_at(views, index);
    const struct framing *framing = buf.slot->framings[buf.direction];
    bool fits = framing != NULL && framing->framer == framer && framing->is_shown;
    return fits ? framing : NULL;
}

static char upper(char byte) {
    return byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
}

/* Of the command that is shown. The size of its name, which lies in exchange.name then; -1: it is no command. */
static double command_name(struct views *views, uint32_t index) {
    const struct framing *framing = framing_at(views, index, &framer_commands);
    if (framing == NULL) {
        return -1;
    }
    struct span name = framer_command_name(framing);
    const char *bytes = stage_bytes(framing_stage(framing)) + name.at;
    uint32_t size = name.size < RESP_NAME_MAX ? name.size : RESP_NAME_MAX;
    for (uint32_t at = 0; at < size; at++) {
        views->exchange.name[at] = upper(bytes[at]);
    }
    return size;
}

/* The size of its key; exchange.found_at tells where it lies. -1: it is no command, or has none. */
static double command_key(struct views *views, uint32_t index) {
    const struct framing *framing = framing_at(views, index, &framer_commands);
    struct span key = framing != NULL ? framer_command_key(framing) : (struct span){0};
    views->exchange.found_at = key.at;
    return key.at > 0 ? (double)key.size : -1;
}

/* 0: it is no message of PostgreSQL. */
static int postgres_kind(struct views *views, uint32_t index) {
    const struct framing *framing = framing_at(views, index, &framer_postgres);
    return framing != NULL ? framer_postgres_kind(framing) : 0;
}

static bool prefix_is_same(const struct length_prefix *a, const struct length_prefix *b) {
    return a->at == b->at && a->bytes == b->bytes && a->add == b->add && a->order == b->order &&
           a->size_max == b->size_max;
}

/* The number of a length prefix; -1: it is not possible. */
static int prefix_add(struct views *views, double at, double bytes, double add, bool is_little, double size_max) {
    struct length_prefix prefix = {.at = (uint32_t)at - 1,
                                   .bytes = (uint32_t)bytes,
                                   .add = (int64_t)add,
                                   .order = is_little ? LENGTH_LITTLE_ENDIAN : LENGTH_BIG_ENDIAN,
                                   .size_max = (uint64_t)size_max};
    uint32_t number = 0;
    while (number < views->prefixes_count && !prefix_is_same(&prefix, &views->prefixes[number])) {
        number++;
    }
    if (number == PREFIXES_MAX) {
        error_set(&views->error, "more than %d different length prefixes", PREFIXES_MAX);
        return -1;
    }
    if (number == views->prefixes_count) {
        if (!length_prefix_check(&prefix, &views->error)) {
            return -1;
        }
        views->prefixes[views->prefixes_count++] = prefix;
    }
    return (int)number;
}

const struct view_natives view_natives = {
    .find = read_find,
    .find_any = read_find_any,
    .equal = read_equal,
    .age = read_age,
    .hold_max = read_hold_max,
    .leave = verb_leave,
    .pass = verb_pass,
    .drop = verb_drop,
    .settle = verb_settle,
    .put = verb_put,
    .keep = verb_keep,
    .need = verb_need,
    .reach = verb_reach,
    .open = loop_open,
    .next = loop_next,
    .go_on = loop_go_on,
    .show = loop_show,
    .hold = loop_hold,
    .is_whole = loop_is_whole,
    .frame_check = frame_check,
    .frame_pass = frame_pass,
    .frame_drop = frame_drop,
    .frame_edit = frame_edit,
    .frame_replace = frame_replace,
    .command_name = command_name,
    .command_key = command_key,
    .postgres_kind = postgres_kind,
    .prefix_add = prefix_add,
};
