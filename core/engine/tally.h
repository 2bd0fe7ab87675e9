/* What the sessions of a listener, or those to an upstream, add up to. Each worker has cells of its own, written by it
 * alone (base/counter.h); whoever wants to know adds them up. A tally outlives reloads, as its listener or upstream
 * does. */
#ifndef MOONRING_ENGINE_TALLY_H
#define MOONRING_ENGINE_TALLY_H

#include "base/counter.h"
#include "engine/reason.h"

#include <stddef.h>

enum { TALLY_BOUNDS = 12 };

/* Upper bounds of times, ascending; what is above them all has a place of its own. */
struct tally_bounds {
    uint64_t us[TALLY_BOUNDS];
    const char *texts[TALLY_BOUNDS + 1]; /* in seconds; the last: `+Inf` */
};
extern const struct tally_bounds tally_connects;  /* of an upstream: from accept until the server is connected */
extern const struct tally_bounds tally_durations; /* of a listener: from accept to the end */

struct tally_cells {
    struct tally_cells *next; /* of another worker */
    uint32_t worker;
    _Atomic uint64_t times[TALLY_BOUNDS + 1];
    _Atomic uint64_t times_sum_us;
    _Atomic uint64_t from_client_bytes; /* of sessions that have ended */
    _Atomic uint64_t from_server_bytes;
    _Atomic uint64_t closed[CLOSE_REASONS];
};

struct tally {
    uint32_t references;                /* generations that have it; whoever makes and frees those */
    struct tally_cells *_Atomic newest; /* ours; any thread may follow the list */
};

/* Counted once. NULL: memory is short. */
struct tally *tally_create(void);
struct tally *tally_hold(struct tally *tally);
/* NULL is fine. */
void tally_drop(struct tally *tally);
/* The worker's; makes them where there are none. One thread at a time. NULL: memory is short. */
struct tally_cells *tally_cells(struct tally *tally, uint32_t worker);

/* On the worker's thread. cells may be NULL: nobody counts. */
void tally_time(struct tally_cells *cells, const struct tally_bounds *bounds, uint64_t took_us);
void tally_bytes(struct tally_cells *cells, uint64_t from_client, uint64_t from_server);
void tally_closed(struct tally_cells *cells, enum close_reason reason);

/* Adds up what all workers have, into cells of the caller. Any thread, while a generation has the tally. */
void tally_sum(const struct tally *tally, struct tally_cells *sum);

#endif
