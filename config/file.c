#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_SIZE = 16 * 1024 };

static int descriptor_read(int descriptor, size_t size_max, struct bytes *text) {
    char piece[PIECE_SIZE];
    while (text->size <= size_max && !text->failed) {
        ssize_t count = read(descriptor, piece, sizeof(piece));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count < 0 ? errno : 0;
        }
        bytes_append(text, piece, (size_t)count);
    }
    return text->failed ? ENOMEM : 0;
}

int file_read(const char *path, size_t size_max, struct bytes *text) {
    if (strcmp(path, "-") == 0) {
        return descriptor_read(STDIN_FILENO, size_max, text);
    }
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0) {
        return errno;
    }
    int error_number = descriptor_read(descriptor, size_max, text);
    close(descriptor);
    return error_number;
}

const char *file_absolute(const char *path, struct arena *arena) {
    if (path[0] == '/') {
        return path;
    }
    char working[PATH_MAX];
    bool known = getcwd(working, sizeof(working)) != NULL;
    return arena_printf(arena, "%s/%s", known && working[1] != 0 ? working : "", path);
}

const char *file_last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}
