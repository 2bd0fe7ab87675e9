/* Random numbers that a seed decides: the same run on every machine (xoshiro256**, seeded by splitmix64). */
#ifndef MOONRING_SIMULATE_RANDOM_H
#define MOONRING_SIMULATE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state[4];
};

/* splitmix64: turns a counter into a well mixed number and moves it on. */
static inline uint64_t random_mix(uint64_t *counter) {
    uint64_t mixed = *counter += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31);
}

static inline void random_init(struct random *random, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        random->state[i] = random_mix(&seed);
    }
}

static inline uint64_t random_rotated(uint64_t value, int bits) {
    return (value << bits) | (value >> (64 - bits));
}

static inline uint64_t random_next(struct random *random) {
    uint64_t *state = random->state;
    uint64_t result = random_rotated(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = random_rotated(state[3], 45);
    return result;
}

/* 0 to limit - 1; 0 when limit is 0. The bias of the remainder does not matter here. */
static inline uint64_t random_below(struct random *random, uint64_t limit) {
    return limit == 0 ? 0 : random_next(random) % limit;
}

/* min to max, both included. */
static inline uint64_t random_between(struct random *random, uint64_t min, uint64_t max) {
    return min + random_below(random, max - min + 1);
}

/* 1 to max, every order of magnitude as likely as any other: small numbers find other bugs than large ones. */
static inline uint64_t random_scaled(struct random *random, uint64_t max) {
    uint32_t bits = max < 2 ? 0 : 63 - (uint32_t)__builtin_clzll(max);
    uint64_t top = (uint64_t)1 << random_below(random, bits + 1U);
    uint64_t value = top + random_below(random, top);
    return value > max ? max : value;
}

static inline bool random_chance(struct random *random, uint32_t per_mille) {
    return per_mille > 0 && random_below(random, 1000) < per_mille;
}

#endif
