/* A folder for the files of one test. It is gone when the test is over. */
#ifndef MOONRING_TESTS_TEMPORARY_H
#define MOONRING_TESTS_TEMPORARY_H

#include <stddef.h>

struct temporary {
    char path[64]; /* absolute; everybody may enter it, since programs under test change their user */
    int guard;
};

void temporary_create(struct temporary *temporary);
/* Not needed at the end of a test. */
void temporary_remove(struct temporary *temporary);

enum { TEMPORARY_PATH_MAX = 108 }; /* short enough for a unix socket */
/* Writes the path of a file in the folder into `path` (TEMPORARY_PATH_MAX bytes) and returns it. */
char *temporary_path(const struct temporary *temporary, const char *name, char *path);
/* Makes or replaces a file; its content comes from the format. */
void temporary_write(const struct temporary *temporary, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
