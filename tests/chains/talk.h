/* One session from both its ends: a client and a server say what they have to say, in random pieces and at a random
 * pace, and listen until both have heard the end. */
#ifndef MOONRING_CHAINS_TALK_H
#define MOONRING_CHAINS_TALK_H

#include "tests/chains/plan.h"
#include "tests/simulate/arena.h"

struct speaker {
    struct stream *stream;
    const struct bytes *says;
    bool waits;
    size_t said;
    bool is_silent;      /* it has said that it says no more, or cannot */
    struct bytes pieces; /* ours; their sizes, as text */
    struct bytes heard;  /* ours */
    bool has_heard_end;
    int error; /* that the end was; 0: an orderly one */
};

struct talk {
    struct arena *arena;
    struct random random;
    uint32_t piece_max;
    uint64_t turns;
    struct speaker speakers[2]; /* by the direction in which they speak: the client, the server */
};

/* False: it did not come to an end; what was heard until then is there all the same. */
bool talk_run(struct talk *talk, struct arena *arena, const struct round *round);
void talk_finish(struct talk *talk);

#endif
