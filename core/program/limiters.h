/* The tables behind `limits.per_source`, which outlive generations: a table belongs to the addresses that a listener
 * accepts on, so that neither a reload nor a new name forgets who is connected. All of it on the control thread. */
#ifndef MOONRING_PROGRAM_LIMITERS_H
#define MOONRING_PROGRAM_LIMITERS_H

#include "config/config.h"
#include "engine/sources.h"

#include <stdbool.h>

/* A table, and the generations that have it. */
struct limiter;

/* One for each listener of a configuration; NULL where per_source is off. */
struct limiters {
    struct limiter **items; /* ours; NULL: there are none */
    size_t count;
};

/* Takes what the listeners of the configuration before have (before may be NULL), by their addresses and, where those
 * are new, by their names; makes the rest. False: memory is short; limiters_drop still has to be called. */
bool limiters_take(struct limiters *limiters, const struct config *config, const struct limiters *before,
                   const struct config *config_before);
/* The last one who has a table destroys it. */
void limiters_drop(struct limiters *limiters);

/* NULL: per_source is off for that listener. */
struct sources *limiters_sources(const struct limiters *limiters, size_t listener);

#endif
