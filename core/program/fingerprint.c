#include "program/fingerprint.h"

#include "base/hash.h"
#include "lua/source.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t fingerprint_read(int fd) {
    char piece[64 * 1024];
    uint64_t hash = HASH_START;
    ssize_t size;
    size_t sum = 0;
    while ((size = read(fd, piece, sizeof piece)) > 0 && sum <= SOURCE_FILE_MAX) {
        hash = hash_add(hash, piece, (size_t)size);
        sum += (size_t)size;
    }
    return size == 0 && hash != FINGERPRINT_MISSING ? hash : FINGERPRINT_MISSING;
}

uint64_t fingerprint_of(const char *path) {
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return FINGERPRINT_MISSING;
    }
    bool regular = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    uint64_t value = regular ? fingerprint_read(fd) : FINGERPRINT_MISSING;
    close(fd);
    return value;
}

const struct fingerprint *fingerprints_find(const struct fingerprints *fingerprints, const char *path) {
    for (size_t i = 0; i < fingerprints->count; i++) {
        if (strcmp(fingerprints->items[i].path, path) == 0) {
            return &fingerprints->items[i];
        }
    }
    return NULL;
}

/* Takes over the path. */
static bool fingerprints_append(struct fingerprints *fingerprints, char *path, uint64_t value) {
    struct fingerprint *items = reallocarray(fingerprints->items, fingerprints->count + 1, sizeof *items);
    if (items == NULL) {
        free(path);
        return false;
    }
    fingerprints->items = items;
    items[fingerprints->count++] = (struct fingerprint){.path = path, .value = value};
    return true;
}

bool fingerprints_add(struct fingerprints *fingerprints, const char *folder, const char *path, uint64_t value) {
    char *whole;
    if (asprintf(&whole, "%s%s%s", path[0] == '/' ? "" : folder, path[0] == '/' ? "" : "/", path) < 0) {
        return false;
    }
    if (fingerprints_find(fingerprints, whole) != NULL) {
        free(whole);
        return true;
    }
    return fingerprints_append(fingerprints, whole, value);
}

const struct fingerprint *fingerprints_broken(const struct fingerprints *fingerprints) {
    for (size_t i = 0; i < fingerprints->count; i++) {
        if (fingerprint_of(fingerprints->items[i].path) != fingerprints->items[i].value) {
            return &fingerprints->items[i];
        }
    }
    return NULL;
}

bool fingerprints_copy(struct fingerprints *to, const struct fingerprints *from) {
    bool copied = true;
    for (size_t i = 0; copied && i < from->count; i++) {
        copied = fingerprints_add(to, "", from->items[i].path, from->items[i].value);
    }
    return copied;
}

void fingerprints_finish(struct fingerprints *fingerprints) {
    for (size_t i = 0; i < fingerprints->count; i++) {
        free(fingerprints->items[i].path);
    }
    free(fingerprints->items);
    *fingerprints = (struct fingerprints){.items = NULL};
}
