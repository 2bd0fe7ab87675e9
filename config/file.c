#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_SIZE = 16 * 1024, SILENCE_MS = 5000 };

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Nobody may write into a pipe, and a reload must not wait for ever; whoever types into standard input may take his
 * time. Returns 0 or an errno. */
static int descriptor_wait(int descriptor) {
    bool is_typed = descriptor == STDIN_FILENO;
    struct pollfd poll_fd = {.fd = descriptor, .events = POLLIN};
    int64_t until_ms = now_ms() + SILENCE_MS;
    int ready;
    do {
        int64_t rest_ms = until_ms - now_ms();
        ready = poll(&poll_fd, 1, is_typed ? -1 : rest_ms > 0 ? (int)rest_ms : 0);
    } while (ready < 0 && errno == EINTR);
    return ready > 0 ? 0 : ready == 0 ? ETIME : errno;
}

static int descriptor_read(int descriptor, size_t size_max, struct bytes *text) {
    char piece[PIECE_SIZE];
    while (text->size <= size_max && !text->failed) {
        int error_number = descriptor_wait(descriptor);
        if (error_number != 0) {
            return error_number;
        }
        ssize_t count = read(descriptor, piece, sizeof(piece));
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
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
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
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
