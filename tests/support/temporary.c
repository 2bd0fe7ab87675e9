#include "tests/support/temporary.h"

#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int entry_remove(const char *path, const struct stat *status, int kind, struct FTW *position) {
    (void)status;
    (void)kind;
    (void)position;
    return remove(path);
}

static void folder_remove(const void *subject) {
    const struct temporary *temporary = subject;
    enum { DESCRIPTORS_MAX = 16 };
    nftw(temporary->path, entry_remove, DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS);
}

void temporary_create(struct temporary *temporary) {
    snprintf(temporary->path, sizeof(temporary->path), "/tmp/moonring-test-XXXXXX");
    cr_assert(mkdtemp(temporary->path) != NULL, "cannot make %s: %m", temporary->path);
    cr_assert(chmod(temporary->path, 0755) == 0);
    temporary->guard = guard_start(folder_remove, temporary);
}

void temporary_remove(struct temporary *temporary) {
    guard_release(temporary->guard);
}

char *temporary_path(const struct temporary *temporary, const char *name, char *path) {
    int length = snprintf(path, TEMPORARY_PATH_MAX, "%s/%s", temporary->path, name);
    cr_assert(length < TEMPORARY_PATH_MAX, "%s/%s is too long for a unix socket", temporary->path, name);
    return path;
}

void temporary_write(const struct temporary *temporary, const char *name, const char *format, ...) {
    char path[TEMPORARY_PATH_MAX];
    FILE *file = fopen(temporary_path(temporary, name, path), "w");
    cr_assert(file != NULL, "cannot write %s: %m", path);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    cr_assert(fclose(file) == 0, "cannot write %s: %m", path);
}
