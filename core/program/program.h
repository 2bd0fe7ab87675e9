/* What runs: the generation at work, what is left of those before it, and all that outlives generations. Only the
 * control thread touches it. */
#ifndef MOONRING_PROGRAM_PROGRAM_H
#define MOONRING_PROGRAM_PROGRAM_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/list.h"
#include "config/load.h"
#include "program/crew.h"
#include "program/generation.h"
#include "program/logs.h"
#include "program/sockets.h"

#include <stdbool.h>
#include <stdint.h>

/* Reloads since the start, for the metrics. */
struct program_counters {
    uint64_t applied;
    uint64_t unchanged;
    uint64_t refused;
    uint64_t took_ms; /* the last one */
};

struct program {
    bool trace;                    /* filters log each entry */
    struct generation *generation; /* ours; at work. NULL: not yet */
    struct list retired;           /* ours; generations that still have sessions, the oldest first */
    struct held_config *previous;  /* counted; what a rollback returns to. NULL: there was none */
    struct quota process;
    struct sockets sockets;
    struct logs logs;
    struct crew crew;
    struct watchdog *watchdog;
    struct watch watch; /* the control thread's */
    bool is_watched;    /* it is */
    struct program_counters counters;
};

void program_init(struct program *program, bool trace);
/* Every worker must have ended. */
void program_finish(struct program *program);

/* Becomes who the configuration says, opens the logs and begins to serve. To be called while there is no other thread.
 * Takes over the configuration. False: the report says why, and counts errors when the configuration or a filter is
 * wrong. */
bool program_start(struct program *program, struct config *config, struct config_report *report);

/* Frees what has ended since: generations, workers, logs. True: something is still on its way to its end and gives no
 * sign, so look again soon. */
bool program_tend(struct program *program);

/* The generation at work, and those before it that have sessions. */
size_t program_generations(const struct program *program);
/* Sessions that are open in a generation. */
uint64_t program_sessions(struct program *program, const struct generation *generation);
/* Appends, if wanted, a line for each session, and all counters in Prometheus' text format; ends with `# end`. */
void program_report(struct program *program, bool with_sessions, struct bytes *out);

#endif
