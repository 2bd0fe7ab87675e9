/* A loop over the frames of one direction, as `for f in mr.resp.commands(buf)` runs it: where the frame begins, how
 * much of it the script sees, and what it decided about it.
 *
 * What a frame shows never depends on how the bytes came in. A decision is carried out when the loop goes on, or when
 * the hook waits or returns, so that the frame stays readable until then; it holds for the whole frame, also for what
 * is still on its way. Where the end of a decided frame is not known yet (`rest`), its bytes pass the framer, and the
 * script is not entered for them. */
#ifndef MOONRING_LUA_FRAMING_H
#define MOONRING_LUA_FRAMING_H

#include "base/bytes.h"
#include "base/error.h"
#include "engine/filter.h"
#include "protocol/parse.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The size of what never ends. */
#define FRAMING_FOR_EVER (UINT64_C(1) << 62)

struct framing;

/* A protocol. Its state lies in framing->state. */
struct framer {
    const char *name; /* for messages: "not RESP: ..." */
    size_t state_size;
    /* A frame begins. The first one of a stream finds a state of zeros. */
    void (*begin)(struct framing *framing);
    /* Gets the frame's bytes from its first on, as many as are there; framing->read tells how many of them it had seen
     * before. Sets read, head and whole, as far as they are known. PARSE_DONE: they are; with a head of 0 bytes nothing
     * that comes is a frame, and `whole` bytes go by. */
    enum parse_result (*read)(struct framing *framing, const uint8_t *bytes, uint32_t size, struct error *error);
    /* Gets the bytes that follow those read, of a frame whose `whole` was not known when it was decided. Moves read,
     * also beyond the bytes given where it need not see what follows. NULL: there are no such frames. */
    enum parse_result (*read_rest)(struct framing *framing, const uint8_t *bytes, uint32_t size, struct error *error);
    /* The frame was decided. NULL: nobody cares. */
    void (*decided)(struct framing *framing);
};

enum framing_loop {
    LOOP_NONE,
    LOOP_OPEN,   /* `for` runs, or was left by break or return */
    LOOP_BROKEN, /* a verb of buf has moved the bytes under the loop */
};

enum framing_decision { FRAME_OPEN, FRAME_PASSED, FRAME_DROPPED };

struct framing {
    const struct framer *framer;
    const void *parameter; /* the framer's; not ours */
    struct filter_session *filter_session;
    struct exchange *exchange; /* of HTTP: what both directions of the session share; not ours */
    enum direction direction;
    enum framing_loop loop;
    uint32_t see;                   /* no more of a frame is shown */
    uint64_t at;                    /* where the frame begins, in the stream */
    uint64_t read;                  /* bytes of it that the framer has seen */
    uint64_t head;                  /* bytes of it that are to be shown; 0: not known yet */
    uint64_t whole;                 /* its size; 0: not known yet */
    uint32_t shown;                 /* while it is: */
    bool is_shown;                  /* the script has it */
    bool is_read;                   /* the framer needs to see no more of it */
    bool ended;                     /* while the framer reads: nothing comes behind the bytes given */
    enum framing_decision decision; /* the script's */
    enum framing_decision rest;     /* what becomes of a frame whose end is still looked for */
    bool detaches;                  /* the hook leaves that direction behind the frame that is just being dropped */
    uint32_t edited;                /* where the last edit ends, in the frame */
    struct bytes edits;             /* struct edit with its text, one after the other */
    void *state;                    /* the framer's; behind this struct */
};

enum framing_step {
    STEP_FRAME,
    STEP_END,    /* no more for now; what is held was asked for by filter_need */
    STEP_FAILED, /* the error says why */
};

static inline struct stage *framing_stage(const struct framing *framing) {
    return &framing->filter_session->stages[framing->direction];
}

/* Begins a loop, where the last one of the same framer and parameter stopped, if there was one. *framing: NULL at
 * first; may be replaced. see: bytes, at most hold_max. */
bool framing_open(struct framing **framing, const struct framer *framer, const void *parameter, uint32_t see,
                  struct filter_session *filter_session, enum direction direction, struct error *error);
void framing_free(struct framing *framing);

/* Goes on to the next frame: the last one is carried out first. */
enum framing_step framing_next(struct framing *framing, struct error *error);

/* The same in parts, for lengths that are found elsewhere: the last frame is carried out, and STEP_FRAME tells to look
 * for the next one. */
enum framing_step framing_go_on(struct framing *framing, struct error *error);
/* Grows the view to so many bytes. False: they are not there. */
bool framing_reach(const struct framing *framing, uint64_t size);
/* Shows a frame of these sizes at the beginning of the view, which must have `shown` bytes. */
void framing_show(struct framing *framing, uint64_t whole, uint32_t shown);
/* The loop ends, and what has come of the frame stays, until the view can have so many bytes. */
enum framing_step framing_hold(struct framing *framing, uint64_t size, struct error *error);
/* All of the frame that is shown is there. */
bool framing_is_whole(const struct framing *framing);

/* Whether the frame that begins there is shown and not decided; the error says what it is otherwise. */
bool framing_check_frame(const struct framing *framing, uint64_t at, struct error *error);
/* The rest of the frame, behind the edits. */
void framing_decide(struct framing *framing, enum framing_decision decision);
/* Bytes [from, to) of the frame, behind the last edit, are replaced. False: memory is short, or it is too much. */
bool framing_edit(struct framing *framing, uint32_t from, uint32_t to, const void *text, size_t size,
                  struct error *error);

/* Carries out what was decided; undecided frames stay. */
bool framing_settle_decided(struct framing *framing, struct error *error);
/* The filter detaches from that direction: what was decided is carried out, and where the end of a dropped frame is
 * still on its way, the hook stays until then, without being entered. */
bool framing_detach(struct framing *framing, struct error *error);
/* A verb of buf comes: the loop ends. An undecided frame is passed, or `keeps` where it is. */
bool framing_leave(struct framing *framing, bool keeps, struct error *error);
/* The hook has returned from within the loop: later whole frames pass, and the unfinished one is held. */
enum framing_step framing_finish(struct framing *framing, struct error *error);
/* Asks to be entered again when the view has so many bytes. */
bool framing_need(struct framing *framing, uint64_t size, struct error *error);

/* Bytes came: gives those to the framer that belong to a frame that was decided before. STEP_FRAME: there are others
 * behind it, or there was no such frame. */
enum framing_step framing_run_rest(struct framing *framing, struct error *error);

#endif
