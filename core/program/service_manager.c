#include "program/service_manager.h"

#include "base/log.h"
#include "base/units.h"
#include "engine/ring.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 512 };

/* The variable is `/path` or `@abstract`. */
static bool find_socket(struct address *address) {
    char text[ADDRESS_TEXT_MAX * 2];
    struct error error;
    const char *name = getenv("NOTIFY_SOCKET");
    if (name == NULL) {
        return false;
    }
    snprintf(text, sizeof(text), "unix:%s", name);
    bool good = (name[0] == '/' || name[0] == '@') && address_parse(address, text, false, &error);
    if (!good) {
        log_warn("NOTIFY_SOCKET: \"%s\" is not the name of a socket: systemd will not hear of us", name);
    }
    return good;
}

/* Both variables are numbers; the watch may be meant for another process, which has started us. */
static uint64_t find_watch_ms(void) {
    const char *period = getenv("WATCHDOG_USEC");
    const char *process = getenv("WATCHDOG_PID");
    struct error error;
    uint64_t us;
    if (period == NULL || !units_parse_integer(period, 1, UINT64_MAX, &us, &error)) {
        return 0;
    }
    uint64_t pid;
    bool is_ours =
        process == NULL || (units_parse_integer(process, 1, INT32_MAX, &pid, &error) && pid == (uint64_t)getpid());
    return is_ours ? us / 1000 : 0;
}

void service_manager_init(struct service_manager *manager) {
    *manager = (struct service_manager){.fd = -1, .watch_at_ms = UINT64_MAX};
    if (!find_socket(&manager->address)) {
        return;
    }
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* A third: one sign may get lost, or be late, and nothing happens. */
    manager->watch_every_ms = find_watch_ms() / 3;
    if (manager->watch_every_ms > 0) {
        manager->watch_at_ms = 0;
    }
}

void service_manager_finish(struct service_manager *manager) {
    if (manager->fd >= 0) {
        close(manager->fd);
        manager->fd = -1;
    }
}

/* It never waits: systemd's queue may be full, and clients are more important. */
static void tell(const struct service_manager *manager, const char *words) {
    if (manager->fd < 0) {
        return;
    }
    ssize_t sent = sendto(manager->fd, words, strlen(words), MSG_NOSIGNAL | MSG_DONTWAIT, &manager->address.any,
                          manager->address.length);
    if (sent < 0) {
        log_debug("systemd does not hear \"%s\": %s", words, strerror(errno));
    }
}

void service_manager_ready(struct service_manager *manager, const char *status, ...) {
    char words[WORDS_MAX] = "READY=1\nSTATUS=";
    size_t size = strlen(words);
    va_list arguments;
    va_start(arguments, status);
    vsnprintf(words + size, sizeof(words) - size, status, arguments);
    va_end(arguments);
    tell(manager, words);
}

void service_manager_reloading(struct service_manager *manager) {
    char words[WORDS_MAX];
    snprintf(words, sizeof(words), "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reloading",
             (unsigned long long)(kernel_now_ns() / 1000));
    tell(manager, words);
}

void service_manager_stopping(struct service_manager *manager) {
    tell(manager, "STOPPING=1\nSTATUS=Stopping: sessions may end by themselves");
}

bool service_manager_is_watch_due(struct service_manager *manager, uint64_t now_ms) {
    if (manager->watch_at_ms > now_ms) {
        return false;
    }
    manager->watch_at_ms = now_ms + manager->watch_every_ms;
    return true;
}

void service_manager_live(struct service_manager *manager) {
    tell(manager, "WATCHDOG=1");
}
