/* What a byte hook costs a chunk: one session without filters and one with them relay chunks in turns, in a world where
 * everything happens at once. The world's own cost is the same for both. */
#ifndef MOONRING_SIMULATE_HOOK_COST_H
#define MOONRING_SIMULATE_HOOK_COST_H

#include "engine/engine.h"
#include "engine/epoch.h"

#include <stdint.h>

enum { HOOK_COST_CHUNK_MAX = 64 * 1024 };

struct hook_cost_options {
    uint64_t chunks; /* for each of both sessions */
    uint32_t chunk_size;
    /* The filters of the second one; the world is there, and no worker yet. */
    const struct filter_list *(*load)(void *argument);
    /* These may be NULL. The worker that will run them is there, but no session yet; and all sessions have ended. */
    void (*begin)(struct engine *engine, void *argument);
    void (*end)(void *argument);
    /* Something that is counted, to know how much of it the measured chunks make. */
    uint64_t (*count)(void *argument);
    void *argument;
};

struct hook_cost {
    double plain_ns; /* a chunk: CPU time, the lower quartile of batches */
    double filtered_ns;
    uint64_t hooks;   /* that were entered */
    uint64_t counted; /* by `count`, from the first measured chunk to the last */
};

struct hook_cost hook_cost_measure(const struct hook_cost_options *options);

/* The same with one filter in C whose from_client returns at once. */
struct hook_cost hook_cost_measure_empty(uint64_t chunks, uint32_t chunk_size);

#endif
