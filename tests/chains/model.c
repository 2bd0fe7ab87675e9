#include "tests/chains/model.h"

#include <string.h>

/* A filter at the whole of a stream. */
struct work {
    const struct role *role;
    const char *bytes;
    size_t size;
    size_t at;
    struct bytes *out;
    bool is_over;     /* no further deed: what is left passes */
    bool is_cut;      /* what is left does not */
    bool is_detached; /* its hooks of this direction run no more */
    bool is_failed;   /* by an error */
    bool is_void;
    const char *farewell; /* to the client, of a rejection; NULL: none */
};

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t left(const struct work *work) {
    return work->size - work->at;
}

static void pass(struct work *work, size_t size) {
    size = least(size, left(work));
    bytes_append(work->out, work->bytes + work->at, size);
    work->at += size;
}

static void drop(struct work *work, size_t size) {
    work->at += least(size, left(work));
}

static void put_reversed(struct work *work, size_t size) {
    for (size_t index = size; index > 0; index--) {
        bytes_append_char(work->out, work->bytes[work->at + index - 1]);
    }
}

static void reverse(struct work *work, size_t size) {
    put_reversed(work, size);
    work->at += size;
}

/* The end came before what it wants. */
static void end_short(struct work *work, bool wants_more) {
    work->is_over = true;
    if (wants_more && work->role->strict) {
        work->at = work->size;
    }
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static void decide(struct work *work, size_t size, size_t shown) {
    switch ((unsigned char)work->bytes[work->at] % 6) {
    case 2:
        drop(work, size);
        break;
    case 3:
        bytes_append_char(work->out, '[');
        put_reversed(work, shown);
        bytes_append_char(work->out, ']');
        drop(work, size);
        break;
    case 4:
        bytes_append_text(work->out, "ab");
        drop(work, least(2, shown));
        pass(work, size - least(2, shown));
        break;
    case 5:
        pass(work, shown);
        bytes_append_text(work->out, "zz");
        pass(work, size - shown);
        break;
    default:
        pass(work, size);
        break;
    }
}

static void run_frames(struct work *work, const struct deed *deed) {
    size_t see = deed->see > 0 ? deed->see : work->role->hold_max;
    for (uint32_t count = 0; left(work) > 0 && (deed->count == 0 || count < deed->count); count++) {
        size_t size = left(work) < 2 ? 2 : 2 + (unsigned char)work->bytes[work->at + 1] % deed->size * deed->to;
        if (left(work) < 2 || left(work) < least(size, see)) {
            end_short(work, true);
            return;
        }
        decide(work, size, least(size, see));
        work->is_detached = count + 1 == deed->count;
    }
    work->is_over = true;
}

static void run_lines(struct work *work, const struct deed *deed) {
    for (uint32_t count = 0; left(work) > 0 && (deed->count == 0 || count < deed->count); count++) {
        const char *start = work->bytes + work->at;
        const char *end = memchr(start, '\n', left(work));
        size_t size = end != NULL ? (size_t)(end + 1 - start) : left(work);
        work->is_void |= size > work->role->hold_max || (end == NULL && size == work->role->hold_max);
        decide(work, size, size);
        work->is_detached = count + 1 == deed->count;
    }
    work->is_over = true;
}

/* --- deeds -------------------------------------------------------------------------------------------------------- */

static void run_line(struct work *work, size_t most) {
    const char *start = work->bytes + work->at;
    const char *end = memchr(start, '\n', least(most, left(work)));
    reverse(work, end != NULL ? (size_t)(end + 1 - start) : least(most, left(work)));
}

static void run_replace(struct work *work, const struct deed *deed) {
    if (left(work) < deed->size) {
        end_short(work, false);
        return;
    }
    pass(work, deed->size - 1);
    bytes_append_text(work->out, deed->text);
    drop(work, deed->to - deed->size + 1);
}

static void run_held(struct work *work, const struct deed *deed) {
    if (left(work) >= deed->size) {
        reverse(work, deed->size);
    } else if (deed->verb == VERB_WAIT) {
        bytes_append_char(work->out, '!');
        end_short(work, false);
    } else {
        end_short(work, deed->to == 1);
    }
}

static void run_fail(struct work *work) {
    work->is_over = true;
    work->is_detached = true;
    work->is_failed = true;
    work->is_cut = !work->role->bypasses;
}

static bool needs_a_byte(enum verb verb) {
    return verb != VERB_PUT && verb != VERB_WRITE && verb != VERB_SLEEP && verb != VERB_DETACH;
}

static void run_deed(struct work *work, const struct deed *deed) {
    switch (deed->verb) {
    case VERB_PASS:
        pass(work, deed->size);
        break;
    case VERB_DROP:
        drop(work, deed->size);
        break;
    case VERB_PUT:
    case VERB_WRITE:
        bytes_append_text(work->out, deed->text);
        break;
    case VERB_REPLACE:
        run_replace(work, deed);
        break;
    case VERB_NEED:
    case VERB_WAIT:
        run_held(work, deed);
        break;
    case VERB_LINE:
        run_line(work, deed->size);
        break;
    case VERB_FRAMES:
        run_frames(work, deed);
        break;
    case VERB_LINES:
        run_lines(work, deed);
        break;
    case VERB_DETACH:
        work->is_over = true;
        work->is_detached = true;
        break;
    case VERB_CLOSE:
    case VERB_REJECT:
        work->farewell = deed->text;
        work->is_cut = true;
        break;
    case VERB_FAIL:
        run_fail(work);
        break;
    case VERB_SLEEP:
    case VERBS:
        break;
    }
}

/* The hook is not called before there is a byte. */
static void run_plan(struct work *work, const struct plan *plan) {
    for (uint32_t index = 0; index < plan->count && work->size > 0 && !work->is_over && !work->is_cut; index++) {
        const struct deed *deed = &plan->deeds[index];
        if (needs_a_byte(deed->verb) && left(work) == 0) {
            break;
        }
        run_deed(work, deed);
    }
    if (!work->is_cut) {
        pass(work, left(work));
    }
}

/* --- chains ------------------------------------------------------------------------------------------------------- */

/* The filter's part: `bytes` becomes what comes out of it. */
static struct work run_filter(const struct role *role, const struct plan *plan, enum direction direction,
                              struct bytes *bytes) {
    struct bytes out;
    bytes_init(&out);
    struct work work = {.role = role, .bytes = bytes->data, .size = bytes->size, .out = &out};
    if ((role->hooks & 1u << direction_hook(direction)) != 0) {
        run_plan(&work, plan);
    } else {
        pass(&work, left(&work));
    }
    if (!work.is_cut && !work.is_detached) {
        bytes_append_text(&out, plan->tail);
    }
    bytes_finish(bytes);
    *bytes = out;
    return work;
}

/* From the filter at that position on, as the bytes meet them. */
static void run_chain(struct expectation *expected, const struct setup *setup, const struct round *round,
                      enum direction direction, uint32_t from) {
    struct bytes *bytes = &expected->heard[direction];
    for (uint32_t position = from; position < setup->count; position++) {
        uint32_t index = direction == FROM_CLIENT ? position : setup->count - 1 - position;
        struct work work = run_filter(&setup->roles[index], &round->plans[index][direction], direction, bytes);
        expected->is_failed |= work.is_failed && work.is_cut;
        expected->is_void |= work.is_void;
        if (work.farewell == NULL) {
            continue;
        }
        expected->is_rejected = true;
        bytes_append_text(&expected->heard[FROM_SERVER], work.farewell);
        if (direction == FROM_CLIENT) { /* the filters nearer to the client hear it */
            run_chain(expected, setup, round, FROM_SERVER, setup->count - index);
        }
    }
}

void expectation_make(struct expectation *expected, const struct setup *setup, const struct round *round) {
    *expected = (struct expectation){.is_failed = false};
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        bytes_init(&expected->heard[direction]);
        bytes_append(&expected->heard[direction], round->said[direction].data, round->said[direction].size);
    }
    run_chain(expected, setup, round, FROM_CLIENT, 0);
    if (!expected->is_rejected) {
        run_chain(expected, setup, round, FROM_SERVER, 0);
    }
}

void expectation_finish(struct expectation *expected) {
    bytes_finish(&expected->heard[FROM_CLIENT]);
    bytes_finish(&expected->heard[FROM_SERVER]);
}
