/* All scripts of a simulation, the passages of their sessions, and what must hold between two turns. */
#ifndef MOONRING_SIMULATE_TROUPE_H
#define MOONRING_SIMULATE_TROUPE_H

#include "engine/filter.h"
#include "passage.h"

enum { WRITES_MAX = 200 }; /* in one entry */

struct troupe_counters {
    uint64_t opened;
    uint64_t closed;
    uint64_t begun[HOOKS + 1];
    uint64_t waited;
    uint64_t rolled_back; /* entries that failed after they had put or written something */
    uint64_t bypassed;
    uint64_t segments;
};

struct troupe {
    struct engine *engine;
    struct world *world;
    struct cast *cast;
    const struct address *addresses; /* that an answer may name */
    const char *const *names;        /* of upstreams */
    size_t addresses_count;
    size_t names_count;
    struct list scripts;
    struct list passages;
    struct list ready;
    struct node *written[WRITES_MAX]; /* in this entry: nodes that got an insert */
    uint32_t written_count;
    struct troupe_counters counters;
};

void troupe_init(struct troupe *troupe, struct world *world, struct cast *cast);
/* Every session must be over. */
void troupe_finish(struct troupe *troupe);
/* The end of a turn: whoever waited for it goes on; what must hold between turns is checked. */
void troupe_turn(struct troupe *troupe);
/* To *sum. */
void troupe_add_counters(const struct troupe *troupe, struct troupe_counters *sum);
/* Of the session with that id, or NULL. */
struct passage *troupe_find(struct troupe *troupe, uint64_t id);
/* The session's server is known, if there is one. */
void troupe_meet_server(struct troupe *troupe, struct passage *passage);

#endif
