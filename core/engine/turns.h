/* How long a worker's turns take, from the end of a wait to the beginning of the next: for so long whatever comes has
 * to wait. On a machine that others use, too, a turn may be long because the worker was interrupted in it; so the time
 * that it has worked itself is kept beside. Only the worker writes; any thread may read (base/counter.h). */
#ifndef MOONRING_ENGINE_TURNS_H
#define MOONRING_ENGINE_TURNS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { TURNS_BOUNDS = 14 };

struct turn_times {
    _Atomic uint64_t counts[TURNS_BOUNDS + 1]; /* each up to its bound, and above the one before; the last: above all */
    _Atomic uint64_t sum_us;
    _Atomic uint64_t longest_us;
};

struct turns {
    struct turn_times took;
    struct turn_times worked; /* the same of a turn up to 1 ms; of a longer one never less than it was, and at most
                               * 0.5 ms more */
    /* The worker's: */
    uint64_t looked_us; /* when it looked last at how much time its thread had used, */
    uint64_t used_us;   /* and how much that was */
};

/* Ascending, in microseconds. */
uint64_t turns_bound_us(size_t index);
/* In seconds, for people; of the last count: `+Inf`. */
const char *turns_bound_text(size_t index);

/* A turn ends now that began then (by the monotonic clock). On the worker's thread. */
void turns_end(struct turns *turns, uint64_t began_us);
/* What turns_end does once it knows. */
void turns_add(struct turns *turns, uint64_t took_us, uint64_t worked_us);
/* Adds all that another one has; `into` is the caller's. */
void turns_merge(struct turns *into, const struct turns *from);

#endif
