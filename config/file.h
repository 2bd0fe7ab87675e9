/* The texts of files. */
#ifndef MOONRING_CONFIG_FILE_H
#define MOONRING_CONFIG_FILE_H

#include "base/bytes.h"
#include "config/arena.h"

#include <stddef.h>

/* Appends a file (`-`: standard input) up to its end, or until the text is larger than size_max. Returns 0 or an
 * errno; ETIME: it is a pipe or the like, and nothing came for five seconds. */
int file_read(const char *path, size_t size_max, struct bytes *text);

/* The path from the root; one that is relative begins in the working folder. */
const char *file_absolute(const char *path, struct arena *arena);

/* Where the last part of a path begins: behind its last slash. */
const char *file_last_part(const char *path);

#endif
