/* What is in a file, as one number: tells contents apart that were not made to collide. */
#ifndef MOONRING_PROGRAM_FINGERPRINT_H
#define MOONRING_PROGRAM_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FINGERPRINT_MISSING = 0 }; /* it cannot be read, or is no regular file */

/* Of at most 16 MiB, the source_hash. */
uint64_t fingerprint_of(const char *path);

struct fingerprint {
    char *path; /* ours */
    uint64_t value;
};

/* Files, and what was in them. */
struct fingerprints {
    struct fingerprint *items; /* ours */
    size_t count;
};

/* Adds a file; one that is there already keeps its value. A relative path is relative to folder. False: memory is
 * short. */
bool fingerprints_add(struct fingerprints *fingerprints, const char *folder, const char *path, uint64_t value);
/* Every file is as it was. */
bool fingerprints_hold(const struct fingerprints *fingerprints);
void fingerprints_finish(struct fingerprints *fingerprints);

#endif
