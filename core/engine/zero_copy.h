/* A send whose bytes the kernel reads until the peer has acknowledged them. It outlives the flow that started it: the
 * flow gets the result at once and goes on, the bytes stay here until the kernel has let go of them. */
#ifndef MOONRING_ENGINE_ZERO_COPY_H
#define MOONRING_ENGINE_ZERO_COPY_H

#include "engine/buffer.h"
#include "engine/op.h"

struct flow;

struct zero_copy {
    struct owner owner;
    struct op op;
    struct link link;   /* in zero_copies.open */
    struct flow *flow;  /* waits for the result; NULL since it came */
    struct queue queue; /* what was sent */
    struct zero_copies *all;
    struct ring_message message;
};

/* Those of one worker. */
struct zero_copies {
    struct list open;
    struct slab slab;
    struct buffers *buffers;
    struct owner **released;
};

void zero_copies_init(struct zero_copies *all, struct buffers *buffers, struct owner **released);
/* Gives back what the kernel still holds: only when nothing will be received into the buffers any more. */
void zero_copies_abandon(struct zero_copies *all);
void zero_copies_finish(struct zero_copies *all);

/* For a send of the flow, whose `done` will be called; NULL when memory is short. */
struct zero_copy *zero_copy_open(struct zero_copies *all, struct flow *flow, op_done_fn *done);
/* The last completion has come: it is released at the end of the turn. */
void zero_copy_close(struct zero_copy *zero_copy);

#endif
