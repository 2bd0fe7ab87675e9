/* Where a filter failed: how often, for each place of its scripts, for whoever watches the program. A place is the
 * `file:line` that the log names.
 *
 * Rows are bounded, whatever a script does: the first FAILURE_PLACES places have one each, all further ones are counted
 * in one row together. A place at which nothing has failed for an hour, in a version of the script that is gone, say,
 * leaves its row to a new one, and what it has counted goes to the row of the others: no sum ever shrinks. */
#ifndef MOONRING_LUA_FAILURE_H
#define MOONRING_LUA_FAILURE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

enum failure {
    FAILURE_ERROR,  /* raised and not caught */
    FAILURE_BUDGET, /* stopped over the CPU budget */
    FAILURE_MEMORY, /* stopped over the memory limit */
    FAILURE_KILL,   /* the VM was killed */
    FAILURE_HOLD,   /* it held more than hold_max, or for longer than hold_timeout */
    FAILURES,
};

enum { FAILURE_PLACES = 32, FAILURE_PLACE_SIZE = 128 };

struct failure_row {
    char place[FAILURE_PLACE_SIZE]; /* "": unused */
    uint64_t at_us;                 /* the last one */
    uint64_t counts[FAILURES];
};

/* All workers count in the same rows: who fails has time for a lock. */
struct failures {
    pthread_mutex_t lock;
    struct failure_row rows[FAILURE_PLACES + 1]; /* the last one: of all others */
};

/* "error", "budget" and so on. */
const char *failure_name(enum failure failure);

void failures_init(struct failures *failures);
void failures_finish(struct failures *failures);

/* The text of the place is copied, and cut to FAILURE_PLACE_SIZE. Any thread may call it. */
void failures_count(struct failures *failures, enum failure failure, const char *place, uint64_t now_us);

typedef void failure_visit_fn(void *argument, const char *place, enum failure failure, uint64_t count);
/* Visits every count that is not 0. Any thread may call it; who counts does not wait for `visit`. */
void failures_visit(struct failures *failures, failure_visit_fn *visit, void *argument);

#endif
