/* A bound on bytes a second: a bucket that fills with time, and that receiving empties. Exact for any rate: credit is
 * counted in byte-microseconds. */
#ifndef MOONRING_ENGINE_LIMIT_H
#define MOONRING_ENGINE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_RATE_MAX UINT64_C(1000000000000)

struct limit {
    uint64_t rate;   /* bytes a second; 0: none */
    uint64_t credit; /* byte-microseconds */
    uint64_t at_us;  /* when credit was reckoned last */
    uint64_t due_us; /* when it is worth asking again; UINT64_MAX: nobody was refused */
};

/* rate: at most LIMIT_RATE_MAX; 0: no limit. It starts with what a moment brings, not with a burst. */
void limit_set(struct limit *limit, uint64_t rate, uint64_t now_us);
/* How many of `room` bytes may be taken now; 0: not before due_us. */
uint32_t limit_allow(struct limit *limit, uint32_t room, uint64_t now_us);
/* So many were taken. */
void limit_spend(struct limit *limit, uint64_t size);

#endif
