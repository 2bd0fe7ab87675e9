/* Rounds of one chain: real filters (actor.lua) at a real worker, in a simulated world. What client and server hear is
 * compared with the model. */
#ifndef MOONRING_CHAINS_BATCH_H
#define MOONRING_CHAINS_BATCH_H

#include "lua/watchdog.h"
#include "tests/chains/plan.h"
#include "tests/simulate/world.h"

struct batch {
    struct setup setup;
    struct world_options world;
    struct round *rounds; /* ours */
    uint32_t count;
};

/* What happened, over all batches. */
struct totals {
    uint64_t rounds;
    uint64_t bytes; /* heard */
    uint64_t hooks;
    uint64_t rejected;
    uint64_t failed;
    uint64_t voided; /* not judged */
};

/* again: how to run it again, told with a crash. */
void batch_draw(struct batch *batch, uint64_t seed, uint32_t rounds, const char *again);
void batch_finish(struct batch *batch);

/* Returns the first round that went wrong, or batch->count. watch: of the calling thread; what is wrong goes to
 * `report`. */
uint32_t batch_run(const struct batch *batch, const char *actor, struct watch *watch, struct totals *totals,
                   struct bytes *report);

#endif
