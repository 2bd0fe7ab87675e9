/* What runs: the generation at work, what is left of those before it, and all that outlives generations. Only the
 * control thread touches it. */
#ifndef MOONRING_PROGRAM_PROGRAM_H
#define MOONRING_PROGRAM_PROGRAM_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "config/load.h"
#include "program/admin.h"
#include "program/crew.h"
#include "program/errand.h"
#include "program/generation.h"
#include "program/keeper.h"
#include "program/logs.h"
#include "program/sockets.h"

#include <stdbool.h>
#include <stdint.h>

/* For the metrics: the control thread writes (base/counter.h). Reloads since the start: */
struct program_counters {
    _Atomic uint64_t applied;
    _Atomic uint64_t unchanged;
    _Atomic uint64_t refused;
    _Atomic uint64_t took_ms;     /* the last one */
    _Atomic uint64_t succeeded_s; /* when the last one that was not refused ended, or the start; since 1970 */
    /* As of the end of the control thread's last turn: */
    _Atomic uint64_t generations;
    _Atomic uint64_t filters_retired;
};

struct exporter;

struct program {
    bool trace; /* filters log each entry */
    /* Held by whoever writes metrics, on whatever thread, and by the control thread while it changes what is read for
     * them: which generation is at work, the crew's places, the logs. Workers never take it. */
    pthread_mutex_t view_lock;
    struct generation *generation;      /* ours; at work. NULL: not yet */
    struct list retired;                /* ours; generations that still have sessions, the oldest first */
    struct held_config *previous;       /* counted; what a rollback returns to. NULL: there was none */
    struct fingerprints previous_files; /* its filters' */
    struct quota process;
    struct sockets sockets;
    struct logs logs;
    struct crew crew;
    struct keeper keeper; /* of servers */
    struct admin admin;
    struct exporter *exporter;      /* ours; NULL: metrics.bind is not set */
    struct exporter *exporter_next; /* ours; what a change has prepared to take its place, or NULL */
    bool exporter_goes;             /* it does */
    struct watchdog *watchdog;
    struct courtesy courtesy; /* the control thread's */
    struct errand errand;     /* what takes long runs there: all that has to do with scripts, for one */
    struct watch watch;       /* the errand's thread */
    bool is_watched;          /* it is */
    struct program_counters counters;
    atomic_bool stopping; /* no new clients: for who asks whether we are healthy */
    uint64_t started_ms;  /* milliseconds of the monotonic clock */
};

/* service: of the admin socket. */
void program_init(struct program *program, bool trace, const struct admin_service *service);
/* Every worker must have ended. */
void program_finish(struct program *program);

/* Becomes who the configuration says, opens the logs and begins to serve. To be called while there is no other thread.
 * Takes over the configuration. False: the report says why, and counts errors when the configuration or a filter is
 * wrong. */
bool program_start(struct program *program, struct config *config, struct config_report *report);

/* Frees what has ended since: generations, workers, logs; ends what is due. Returns when to do so again, in
 * milliseconds of the monotonic clock; UINT64_MAX: when the crew's event comes, or the keeper's descriptor is
 * readable. Also keeps servers' health. */
uint64_t program_tend(struct program *program);

/* Frees a generation that is over, or was never at work. NULL is fine. */
void program_forget(struct program *program, struct generation *generation);

/* The generation at work, and those before it that have sessions. */
size_t program_generations(const struct program *program);
/* Sessions of those before it. */
uint64_t program_sessions_before(struct program *program);
/* Sessions that are open in a generation. */
uint64_t program_sessions(const struct generation *generation);
/* Lines of access logs that found no room in a queue, or that the target refused. Any thread that holds the view lock.
 */
uint64_t program_lost_lines(const struct program *program);
/* Appends a line for each session, all counters in Prometheus' text format, which end with `# end`, or both. */
enum report_part { REPORT_SESSIONS = 1, REPORT_METRICS = 2, REPORT_ALL = 3 };
void program_report(struct program *program, enum report_part parts, struct bytes *out);

#endif
