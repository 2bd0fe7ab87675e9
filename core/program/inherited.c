#include "program/inherited.h"

#include "base/log.h"
#include "base/units.h"
#include "engine/ring.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3 }; /* sd_listen_fds(3) */

/* $LISTEN_FDS, if it is meant for this process. */
static size_t count_read(void) {
    const char *count = getenv("LISTEN_FDS");
    const char *process = getenv("LISTEN_PID");
    struct error error;
    uint64_t pid;
    uint64_t number;
    bool is_ours = count != NULL && process != NULL && units_parse_integer(process, 1, INT32_MAX, &pid, &error) &&
                   pid == (uint64_t)getpid();
    if (!is_ours) {
        return 0;
    }
    if (!units_parse_integer(count, 0, INHERITED_MAX, &number, &error)) {
        log_warn("LISTEN_FDS: %s", error.text);
        return 0;
    }
    return (size_t)number;
}

/* Those without a name are called so by systemd, too. */
static const char unknown[] = "unknown";

/* `web:admin` -> "web", "admin". */
static char *names_read(size_t count) {
    const char *text = getenv("LISTEN_FDNAMES");
    text = text == NULL ? "" : text;
    char *names = malloc(strlen(text) + 1 + count * sizeof(unknown));
    char *at = names;
    for (size_t i = 0; names != NULL && i < count; i++) {
        size_t size = strcspn(text, ":");
        const char *name = size > 0 ? text : unknown;
        size_t name_size = size > 0 ? size : sizeof(unknown) - 1;
        memcpy(at, name, name_size);
        at[name_size] = 0;
        at += name_size + 1;
        text += text[size] == ':' ? size + 1 : size;
    }
    return names;
}

void inherited_init(struct inherited *inherited) {
    *inherited = (struct inherited){.count = count_read()};
    inherited->names = names_read(inherited->count);
    if (inherited->names == NULL) {
        inherited->count = 0;
    }
    for (size_t i = 0; i < inherited->count; i++) {
        fcntl(FIRST + (int)i, F_SETFD, FD_CLOEXEC);
    }
}

void inherited_finish(struct inherited *inherited) {
    for (size_t i = 0; i < inherited->count; i++) {
        kernel_close(FIRST + (int)i);
    }
    free(inherited->names);
    *inherited = (struct inherited){.count = 0};
}

static const char *name_at(const struct inherited *inherited, size_t index) {
    const char *name = inherited->names;
    for (size_t i = 0; i < index; i++) {
        name += strlen(name) + 1;
    }
    return name;
}

static bool is_listening_stream(int fd) {
    int type = 0;
    int listens = 0;
    socklen_t size = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0;
}

int inherited_next(const struct inherited *inherited, const char *name, size_t *at) {
    while (*at < inherited->count) {
        size_t index = (*at)++;
        int fd = FIRST + (int)index;
        if (strcmp(name_at(inherited, index), name) == 0 && is_listening_stream(fd)) {
            return fcntl(fd, F_DUPFD_CLOEXEC, 0);
        }
    }
    return -1;
}

bool inherited_explain(const struct inherited *inherited, const char *name, struct error *error) {
    if (inherited->count == 0) {
        return error_set(error, "systemd has passed no socket at all: is it a socket unit that starts moonring?");
    }
    char names[256] = "";
    for (size_t i = 0; i < inherited->count; i++) {
        size_t size = strlen(names);
        snprintf(names + size, sizeof(names) - size, "%s%s", i == 0 ? "" : ", ", name_at(inherited, i));
    }
    return error_set(error,
                     "systemd has passed no listening stream socket named \"%s\"; it has passed: %s "
                     "(FileDescriptorName= in the socket unit)",
                     name, names);
}
