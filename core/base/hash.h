/* FNV-1a of 64 bits: tells contents apart that were not made to collide. */
#ifndef MOONRING_BASE_HASH_H
#define MOONRING_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

/* The hash of what was hashed before (HASH_START: of nothing) with these bytes behind it. */
static inline uint64_t hash_add(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    for (size_t index = 0; index < size; index++) {
        hash = (hash ^ at[index]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

#endif
