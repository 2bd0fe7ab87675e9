/* What is in a file, as one number: tells contents apart that were not made to collide. */
#ifndef MOONRING_PROGRAM_FINGERPRINT_H
#define MOONRING_PROGRAM_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FINGERPRINT_MISSING = 0 }; /* it cannot be read, or is no regular file */

/* Of at most 16 MiB, hash_add of it. */
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
/* The file; NULL: it is not among them. */
const struct fingerprint *fingerprints_find(const struct fingerprints *fingerprints, const char *path);
/* The first file that is not as it was; NULL: all are. */
const struct fingerprint *fingerprints_broken(const struct fingerprints *fingerprints);
/* False: memory is short. */
bool fingerprints_copy(struct fingerprints *to, const struct fingerprints *from);
void fingerprints_finish(struct fingerprints *fingerprints);

#endif
