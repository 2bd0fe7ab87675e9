/* The filters of one worker: from a configuration to what the engine runs.
 *
 *     filters_load      on the control thread: VMs are made, files are loaded and checked
 *     filters_start     on the worker's thread, before a session begins in them: tasks of top levels begin
 *     filters_retire    there, when others have taken their place
 *     filters_stop      there, when they have no session any more; before the engine goes
 *     filters_destroy   on any watched thread
 *
 * All filters of a worker live in one VM, but for those with `isolate: true` or `jit: false`, which have one each. When
 * a VM had to be killed, a fresh one is loaded at the end of the turn, on the worker's thread, whose sessions stand
 * still meanwhile: SCRIPT_LOAD_BUDGET_MS for each file at the most. */
#ifndef MOONRING_LUA_FILTERS_H
#define MOONRING_LUA_FILTERS_H

#include "base/bytes.h"
#include "config/config.h"
#include "config/load.h"
#include "engine/engine.h"
#include "lua/watchdog.h"

#include <stdbool.h>
#include <stdint.h>

struct filters;

struct filters_options {
    uint32_t worker;         /* its number */
    uint32_t load_budget_ms; /* of CPU time for each file; 0: SCRIPT_LOAD_BUDGET_MS */
    bool trace;              /* a line in the log, at the level `trace`, for each entry of a hook */
};

/* Makes the filters of a worker. The configuration must outlive them. watch: of the calling thread. NULL: the report
 * says what is wrong, each time with the script's place and that in the YAML which named it. */
struct filters *filters_load(const struct config *config, const struct filters_options *options, struct watch *watch,
                             struct config_report *report);
/* Loads and forgets them: for a check. */
bool filters_check(const struct config *config, struct watch *watch, struct config_report *report);

/* What the epoch needs to know of them: by listener; NULL: no listener has a filter. */
const struct filter_list *filters_lists(const struct filters *filters);

/* Joins those that the engine has already (of earlier epochs), whose turn_ended is ours from the first on. watch: of
 * the calling thread, which is the engine's. Filters whose VM cannot run there, since too many were killed on it, are
 * off: the log says so. */
void filters_start(struct filters *filters, struct engine *engine, struct watch *watch);
/* No session begins in them any more: what runs beside the sessions ends. */
void filters_retire(struct filters *filters);
/* Every session must be closed. */
void filters_stop(struct filters *filters);
/* watch: of the calling thread. NULL is fine. */
void filters_destroy(struct filters *filters, struct watch *watch);

/* Calls visit for each file that was read while they were loaded: scripts, modules that they require, data. A path is
 * as it was opened: absolute, or relative to the configuration's folder. hash: hash_add of its content. */
typedef void filters_visit_fn(void *argument, const char *path, uint64_t hash);
void filters_visit_files(const struct filters *filters, filters_visit_fn *visit, void *argument);

/* Appends a line for each filter, with what it did so far. */
void filters_describe(const struct filters *filters, struct bytes *out);

#endif
