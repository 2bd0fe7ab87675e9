/* Where one filter meets one direction of one session: bytes that came and are not decided yet.
 *
 *     source -> [stage of a: input, hook] -> [stage of b: input, hook] -> flow.queue -> sink
 *
 * A hook sees a view of the beginning of `input`: the first `shown` bytes, contiguous at stage_bytes. Its verbs move
 * bytes from there to the outbox of its filter session; filter.h says when an outbox is sent. Bytes are slices all the
 * way: passing copies nothing, and what a hook leaves waiting moves out of the ring's buffers. */
#ifndef MOONRING_ENGINE_STAGE_H
#define MOONRING_ENGINE_STAGE_H

#include "engine/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stage_wait;
/* It may enter a script. */
typedef void stage_wait_fn(struct stage_wait *wait);

/* A suspended hook's or task's wish. The memory is its own; stage_wait_stop takes it back. */
struct stage_wait {
    struct link link;         /* in stage.waits */
    stage_wait_fn *satisfied; /* called once, after it left the list */
    uint32_t bytes;           /* satisfied when the input has so many, or its end is there; */
    bool for_room;            /* or instead when what lies behind this stage is below its bound */
};

struct stage {
    struct queue input;  /* not decided yet */
    struct queue later;  /* written while bytes of a message were on their way ahead: goes behind them */
    struct list waits;   /* struct stage_wait */
    uint64_t offset;     /* of the first byte of input, in the stream that enters here */
    uint64_t pass_ahead; /* so many bytes that have not come yet are passed, unseen; */
    uint64_t drop_ahead; /* or dropped; one of both is 0 */
    uint64_t held_us;    /* since when the first byte lies here, for age */
    uint64_t fresh_us;   /* since when the first byte behind the view lies here; 0: there is none */
    uint64_t came_us;    /* when the last came, or the hook began to wait for more; for hold_timeout */
    uint32_t shown;      /* bytes of the view; at most the first slice */
    uint32_t need;       /* the hook is not entered before input has so many; 0: any */
    bool has_hook;       /* else bytes go by */
    bool busy;           /* its hook runs or is suspended: nobody else enters it */
    bool ended;          /* nothing more comes in */
    bool told;           /* its hook ran with the end in sight */
    bool asked;          /* the hook of the end ran, */
    bool kept_open;      /* and does not let the end pass */
    bool in_message;     /* the hook has passed the beginning of a message whose size it does not know yet */
    bool passed_end;     /* the end was passed on: nothing more goes out */
};

void stage_init(struct stage *stage);
void stage_finish(struct stage *stage, struct buffers *buffers);

static inline const char *stage_bytes(const struct stage *stage) {
    return stage->input.first == NULL ? NULL : stage->input.first->start;
}

/* As many bytes as the hook needs or somebody waits for here; 0: nobody does. */
uint32_t stage_wanted(const struct stage *stage);

/* Bytes were appended to the input. */
void stage_came(struct stage *stage, uint64_t now_us);

/* Makes the view at least `size` bytes (as many as there are, if fewer), of whole slices. Its address may change. */
void stage_show(struct stage *stage, struct buffers *buffers, uint32_t size);

/* Drops the input: nobody will have it. */
void stage_clear(struct stage *stage, struct buffers *buffers);

/* Moves what was decided ahead out of the input, or drops it. */
void stage_run_ahead(struct stage *stage, struct buffers *buffers, struct queue *out);

/* The verbs. Sizes beyond the view are counted down as bytes arrive. Not while something is decided ahead already
 * (stage_is_ahead). */
void stage_pass(struct stage *stage, struct buffers *buffers, uint64_t size, struct queue *out);
void stage_drop(struct stage *stage, struct buffers *buffers, uint64_t size);

static inline bool stage_is_ahead(const struct stage *stage) {
    return stage->pass_ahead > 0 || stage->drop_ahead > 0;
}

void stage_wait_init(struct stage_wait *wait, stage_wait_fn *satisfied);
void stage_wait_stop(struct stage_wait *wait);

#endif
