/* Numbers that look random and come again with the same seed: a test that drew them can be run again. */
#ifndef MOONRING_TESTS_RANDOM_H
#define MOONRING_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state; /* any seed */
};

/* splitmix64 */
static inline uint64_t random_next(struct random *random) {
    random->state += 0x9e3779b97f4a7c15U;
    uint64_t word = random->state;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31);
}

/* From `least` to `most`, both included. */
static inline uint32_t random_between(struct random *random, uint32_t least, uint32_t most) {
    return least + (uint32_t)(random_next(random) % ((uint64_t)most - least + 1));
}

/* True so many times in a hundred. */
static inline bool random_chance(struct random *random, uint32_t percent) {
    return random_between(random, 1, 100) <= percent;
}

/* From 1 to 2^bits, every order of magnitude as often as the next. */
static inline uint32_t random_size(struct random *random, uint32_t bits) {
    return random_between(random, 1, (uint32_t)1 << random_between(random, 0, bits));
}

#endif
