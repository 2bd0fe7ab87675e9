/* The files that a script consists of: read, remembered, and hashed. */
#ifndef MOONRING_LUA_SOURCE_H
#define MOONRING_LUA_SOURCE_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOURCE_FILE_MAX = 16 * 1024 * 1024 };

struct source_file {
    char *path;    /* ours; as it was opened */
    uint64_t hash; /* of its content */
};

struct source {
    struct source_file *files; /* ours, in the order of reading */
    size_t files_count;
    uint64_t identity; /* of the content of all files, in that order */
    struct bytes text; /* of the file read last */
    struct bytes path; /* scratch */
};

void source_init(struct source *source);
void source_finish(struct source *source);

/* Reads a regular file of at most SOURCE_FILE_MAX bytes into source->text and remembers it. A relative path is relative
 * to folder (NULL: to the working directory). The error names the path. */
bool source_read(struct source *source, const char *folder, const char *path, struct error *error);
/* Whether such a regular file exists. */
bool source_exists(struct source *source, const char *folder, const char *path);

#endif
