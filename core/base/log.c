#include "base/log.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_LINE_SIZE = 4096,  /* PIPE_BUF */
    LOG_RAW_WAIT_MS = 200, /* for each piece of a report */
};

static atomic_int log_level_now = LOG_INFO;

struct log_target {
    int fd;
    char *path; /* ours; NULL: stderr or stdout */
};

/* Where lines go. The lock keeps a line from being written to a descriptor that was closed just now. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_target log_target = {.fd = STDERR_FILENO};
static struct log_target log_target_next = {.fd = -1}; /* from log_prepare on; of the thread that called it */

static const char *const log_level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug", [LOG_TRACE] = "trace",
};
enum { LOG_LEVELS_COUNT = sizeof(log_level_names) / sizeof(log_level_names[0]) };

const char *log_level_name(enum log_level level) {
    return log_level_names[level];
}

bool log_level_parse(const char *name, enum log_level *level) {
    for (int index = 0; index < LOG_LEVELS_COUNT; index++) {
        if (strcmp(name, log_level_names[index]) == 0) {
            *level = (enum log_level)index;
            return true;
        }
    }
    return false;
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_level_now, (int)level, memory_order_relaxed);
}

enum log_level log_level(void) {
    return (enum log_level)atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

static uint64_t log_wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Appends as much of the text as fits before the newline that ends the line; returns the line's size. */
static size_t log_append_escaped(char *line, size_t size, const char *text) {
    for (; *text != 0; text++) {
        char escaped[4];
        size_t escaped_size = bytes_escape(*text, escaped);
        if (size + escaped_size + 1 > LOG_LINE_SIZE) {
            break;
        }
        memcpy(line + size, escaped, escaped_size);
        size += escaped_size;
    }
    line[size] = '\n';
    return size + 1;
}

/* One piece, not above PIPE_BUF: a pipe that polls writable takes it whole without blocking. Whoever logs must not
 * stand still because nobody reads the log. False: it was not taken in time. */
static bool log_put(const char *text, size_t size, int wait_ms) {
    pthread_mutex_lock(&log_lock);
    struct pollfd target = {.fd = log_target.fd, .events = POLLOUT};
    bool put = poll(&target, 1, wait_ms) == 1 && write(log_target.fd, text, size) == (ssize_t)size;
    pthread_mutex_unlock(&log_lock);
    return put;
}

void log_raw(const char *text, size_t size) {
    while (size > 0) {
        size_t piece = size < LOG_LINE_SIZE ? size : LOG_LINE_SIZE;
        if (!log_put(text, piece, LOG_RAW_WAIT_MS)) {
            return; /* there is nobody left to tell */
        }
        text += piece;
        size -= piece;
    }
}

void log_write(enum log_level level, const char *format, ...) {
    if (level > log_level()) {
        return;
    }
    int kept_errno = errno;
    char text[LOG_LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);

    char line[LOG_LINE_SIZE];
    clock_format(log_wall_ms(), line);
    size_t size = CLOCK_TEXT_SIZE - 1;
    size += (size_t)snprintf(line + size, sizeof(line) - size, " %s ", log_level_name(level));
    size = log_append_escaped(line, size, text);

    log_put(line, size, 0);
    errno = kept_errno;
}

static void log_target_close(struct log_target *target) {
    if (target->path != NULL) {
        close(target->fd);
    }
    free(target->path);
    *target = (struct log_target){.fd = -1};
}

static int log_open_file(const char *path, struct error *error) {
    /* Non-blocking, or it would wait for the reader of a named pipe, perhaps for ever: ENXIO when there is none. */
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd >= 0) {
        fcntl(fd, F_SETFL, O_APPEND);
    } else {
        error_set(error, "cannot open the log %s: %s", path, error_name(errno));
    }
    return fd;
}

bool log_prepare(const char *target, struct error *error) {
    struct log_target next = {.fd = STDERR_FILENO};
    if (strcmp(target, "stdout") == 0) {
        next.fd = STDOUT_FILENO;
    } else if (strcmp(target, "stderr") != 0) {
        next.path = strdup(target);
        if (next.path == NULL) {
            return error_set(error, "cannot open the log %s: %s", target, error_name(ENOMEM));
        }
        next.fd = log_open_file(target, error);
        if (next.fd < 0) {
            free(next.path);
            return false;
        }
    }
    log_target_next = next;
    return true;
}

void log_commit(void) {
    if (log_target_next.fd < 0) {
        return;
    }
    pthread_mutex_lock(&log_lock);
    struct log_target before = log_target;
    log_target = log_target_next;
    pthread_mutex_unlock(&log_lock);
    log_target_close(&before);
    log_target_next = (struct log_target){.fd = -1};
}

void log_abandon(void) {
    log_target_close(&log_target_next);
}

bool log_open(const char *target, struct error *error) {
    bool opened = log_prepare(target, error);
    if (opened) {
        log_commit();
    }
    return opened;
}

bool log_reopen(struct error *error) {
    bool opened = true;
    pthread_mutex_lock(&log_lock);
    if (log_target.path != NULL) {
        int fd = log_open_file(log_target.path, error);
        opened = fd >= 0;
        if (opened) {
            close(log_target.fd);
            log_target.fd = fd;
        }
    }
    pthread_mutex_unlock(&log_lock);
    return opened;
}
