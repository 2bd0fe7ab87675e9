/* The filters of one worker as generations share them: while the files, the parameters and the limits of filters stay
 * the same, their VM, with all that it remembers, serves one generation after the other. */
#ifndef MOONRING_PROGRAM_SCRIPTS_H
#define MOONRING_PROGRAM_SCRIPTS_H

#include "engine/engine.h"
#include "lua/filters.h"
#include "program/fingerprint.h"
#include "program/held_config.h"

#include <stdbool.h>
#include <stdint.h>

struct scripts {
    struct filters *filters;   /* ours */
    struct held_config *held;  /* what the filters point into */
    struct fingerprints files; /* that they were loaded from */
    uint32_t generations;      /* that have them; the control thread's */
    uint32_t epochs;           /* in use that have them; the worker's */
};

/* Some listener has a filter. */
bool scripts_are_wanted(const struct config *config);
/* Loads the filters for one worker. NULL: the report says why. watch: of the calling thread. */
struct scripts *scripts_load(struct held_config *held, const struct filters_options *options, struct watch *watch,
                             struct config_report *report);
/* They would be the same if they were loaded now for that configuration: nothing that it says of filters differs, and
 * no file that they have read. */
bool scripts_are_same(const struct scripts *scripts, const struct config *config);
struct scripts *scripts_share(struct scripts *scripts);
/* The last generation destroys them. NULL is fine. */
void scripts_drop(struct scripts *scripts, struct watch *watch);

/* One for each listener of the configuration, in its order; the caller's to free. NULL: memory is short. */
struct filter_list *scripts_lists(const struct scripts *scripts, const struct config *config);

/* On the worker's thread: an epoch with them begins, or is over. */
void scripts_begin(struct scripts *scripts, struct engine *engine, struct watch *watch);
void scripts_end(struct scripts *scripts);

#endif
