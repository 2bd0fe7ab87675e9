/* A configuration at work: everything that is made from one, for all workers. The control thread makes a generation
 * aside, the workers take their parts of it (their epochs), and it goes when the last of them has no session in it. */
#ifndef MOONRING_PROGRAM_GENERATION_H
#define MOONRING_PROGRAM_GENERATION_H

#include "base/error.h"
#include "base/list.h"
#include "config/config.h"
#include "config/load.h"
#include "engine/epoch.h"
#include "engine/listener.h"
#include "engine/worker.h"
#include "program/held_config.h"
#include "program/limiters.h"
#include "program/logs.h"
#include "program/scripts.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A worker's part. */
struct generation_part {
    struct epoch *epoch;               /* ours */
    struct scripts *scripts;           /* counted; NULL: no listener has a filter, or nobody needs them any more */
    atomic_bool scripts_over;          /* the worker has no session in them any more */
    struct filter_list *filter_lists;  /* ours; by listener; NULL: the same */
    struct access_queue *access_queue; /* ours, unless the generation before has it, too; NULL: no access log */
    atomic_bool left;                  /* the worker is not in it any more */
};

struct generation {
    struct link link; /* in retired generations */
    uint64_t number;  /* from 1 */
    struct held_config *held;
    const struct config *config;   /* the held one */
    struct upstream *upstreams;    /* ours */
    struct listener **listeners;   /* each counted: one listener lives as long as some generation has its name */
    struct limiters limiters;      /* of the listeners */
    struct generation_part *parts; /* ours; one for each worker */
    uint32_t workers;
    struct held_log *access_log; /* counted; NULL: off */
    struct fingerprints files;   /* that its filters were loaded from */
    struct watch *watch;         /* of the thread that loads and destroys it */
    uint64_t replaced_ms;        /* when the next one took its place; 0: it is at work */
    uint64_t began_ms;           /* when it took the place of the one before; milliseconds of the monotonic clock */
    bool was_closed;             /* its sessions with filters were told to end */
};

struct generation_options {
    uint32_t workers;
    struct quota *process;       /* the bound on all sessions */
    struct held_log *access_log; /* outlives it; NULL: off */
    struct watch *watch;         /* the calling thread's, for scripts */
    bool trace;                  /* of filters */
    const atomic_bool *give_up;  /* may become true meanwhile: nobody wants it any more */
};

/* Looks up names, loads filters, and makes everything; nothing of it has an effect yet. before: the one at work, or
 * NULL; its listeners and servers go on where names are the same, its scripts where nothing in them has changed. NULL:
 * the report says why. */
struct generation *generation_create(struct held_config *held, const struct generation *before,
                                     const struct generation_options *options, struct config_report *report);
/* What its listeners bound of sessions and queues holds from now on: at the commit. */
void generation_commit(const struct generation *generation);

/* On the worker's thread. Its filters begin, before the worker adopts the epoch, */
void generation_begin(struct generation *generation, struct worker *worker, struct watch *watch);
/* they take no new sessions any more, when it adopts the epoch of the next (NULL: of none), */
void generation_retire(struct generation *generation, const struct generation *next, uint32_t worker);
/* they end, when the worker has no session with filters in it any more, */
void generation_end_scripts(struct generation *generation, uint32_t worker);
/* and the worker leaves it, when it has no session in it at all. Then the generation may be gone. */
void generation_leave(struct generation *generation, uint32_t worker);
/* Appends a line for each filter. */
void generation_describe_filters(const struct generation *generation, uint32_t worker, struct bytes *out);

/* On the control thread. A worker does not need its scripts any more, or the last one has left: it is to be tended, or
 * destroyed. */
bool generation_has_news(const struct generation *generation);
/* Gives back scripts that no worker needs any more. */
void generation_tend(struct generation *generation);
/* Some of its sessions may have filters that the other one does not share. */
bool generation_has_old_scripts(const struct generation *generation, const struct generation *other);
/* Every worker has left; */
bool generation_is_over(const struct generation *generation);
/* it has not even begun, or is over. NULL is fine. */
void generation_destroy(struct generation *generation);

#endif
