/* One run: the real engine in a world of actors, from a seed. Whatever is wrong is told and aborts. */
#ifndef MOONRING_SIMULATE_SIMULATION_H
#define MOONRING_SIMULATE_SIMULATION_H

#include "engine/engine.h"
#include "scene.h"
#include "script.h"

#include <stdint.h>
#include <stdio.h>

struct simulation_options {
    uint64_t seed;
    uint64_t sessions;
    enum scene_filters filters;
    FILE *trace;       /* NULL: none */
    const char *again; /* how to run it again */
};

/* What happened, over all runs that were added up. */
struct simulation_totals {
    uint64_t clients;
    uint64_t sessions;
    uint64_t paired; /* sessions that were judged from both ends */
    uint64_t reasons[CLOSE_REASONS];
    uint64_t bytes;
    uint64_t requests;
    uint64_t starved;
    uint64_t evacuations;
    uint64_t promotions;
    uint64_t demotions;
    uint64_t retries;
    uint64_t ejections;
    uint64_t reloads;
    uint64_t filtered;   /* sessions with filters */
    uint64_t introduced; /* clients that a header has named */
    uint64_t told;       /* servers that have heard a header */
    struct troupe_counters troupe;
};

void simulation_run(const struct simulation_options *options, struct simulation_totals *totals);

/* After a crash or a failed check() says how to run the seed again. */
void simulation_explain_crashes(void);

#endif
