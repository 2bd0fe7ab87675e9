/* How long a worker's turns take, from the end of a wait to the beginning of the next: for so long whatever comes has
 * to wait. Only the worker writes; any thread may read (base/counter.h). */
#ifndef MOONRING_ENGINE_TURNS_H
#define MOONRING_ENGINE_TURNS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { TURNS_BOUNDS = 14 };

struct turns {
    _Atomic uint64_t counts[TURNS_BOUNDS + 1]; /* each up to its bound, and above the one before; the last: above all */
    _Atomic uint64_t sum_us;
    _Atomic uint64_t longest_us;
};

/* Ascending, in microseconds. */
uint64_t turns_bound_us(size_t index);
/* In seconds, for people; of the last count: `+Inf`. */
const char *turns_bound_text(size_t index);

void turns_add(struct turns *turns, uint64_t took_us);
/* Adds all that another one has; `into` is the caller's. */
void turns_merge(struct turns *into, const struct turns *from);

#endif
