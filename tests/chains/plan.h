/* What the filters of a chain do in one session, and what client and server say: drawn from a seed. A plan is what one
 * filter does to the bytes of one direction. */
#ifndef MOONRING_CHAINS_PLAN_H
#define MOONRING_CHAINS_PLAN_H

#include "base/bytes.h"
#include "engine/filter.h"
#include "tests/simulate/random.h"

#include <stdbool.h>
#include <stdint.h>

enum { CHAIN_FILTERS_MAX = 3, PLAN_DEEDS_MAX = 7, PLAN_TEXT_SIZE = 24 };

enum verb {
    VERB_PASS,    /* size: bytes, also beyond those that are there */
    VERB_DROP,    /* the same */
    VERB_PUT,     /* text */
    VERB_WRITE,   /* text: the same, by the side that it goes to */
    VERB_REPLACE, /* bytes size to `to`, which may be beyond those that are there, by text */
    VERB_NEED,    /* size: held and turned round; to 1: insists on it at the end */
    VERB_WAIT,    /* size: waited for and turned round */
    VERB_LINE,    /* of at most size bytes: held and turned round */
    VERB_FRAMES,  /* lengths modulo size, times `to`; see; count */
    VERB_LINES,   /* count */
    VERB_SLEEP,   /* size: us */
    VERB_DETACH,
    VERB_CLOSE,
    VERB_REJECT, /* text */
    VERB_FAIL,
    VERBS,
};

struct deed {
    enum verb verb;
    uint32_t size;
    uint32_t to;
    uint32_t see;   /* of a frame; 0: hold_max */
    uint32_t count; /* of frames, after which the filter detaches; 0: never */
    char text[PLAN_TEXT_SIZE];
};

struct plan {
    struct deed deeds[PLAN_DEEDS_MAX];
    uint32_t count;
    char tail[PLAN_TEXT_SIZE]; /* what the hook of the end writes */
};

/* A filter as it is configured. */
struct role {
    uint32_t hooks; /* 1 << HOOK_... */
    uint32_t hold_max;
    bool strict;
    bool bypasses; /* on_error */
};

struct setup {
    struct role roles[CHAIN_FILTERS_MAX];
    uint32_t count;
    bool jit;
};

/* One session. */
struct round {
    struct plan plans[CHAIN_FILTERS_MAX][2]; /* by direction */
    struct bytes said[2];                    /* by direction; ours */
    bool waits[2];                           /* by direction: whoever speaks ends after having heard the end */
    uint64_t pace;                           /* seed of how it comes in and is taken */
};

void setup_draw(struct setup *setup, struct random *random);
void round_draw(struct round *round, const struct setup *setup, struct random *random);
void round_finish(struct round *round);

/* As actor.lua reads it, without a line end. */
void plan_write(const struct plan *plan, struct bytes *out);

#endif
