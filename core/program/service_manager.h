/* What systemd hears of us, where it has started us as a service of Type=notify: that we are ready, reload, stop, and,
 * with WatchdogSec=, that we live. Each word is one datagram to the socket that $NOTIFY_SOCKET names: no library is
 * needed for that. Without the variable nobody hears anything. */
#ifndef MOONRING_PROGRAM_SERVICE_MANAGER_H
#define MOONRING_PROGRAM_SERVICE_MANAGER_H

#include "base/address.h"

#include <stdbool.h>
#include <stdint.h>

struct service_manager {
    int fd; /* ours; -1: there is none */
    struct address address;
    uint64_t watch_every_ms; /* 0: nobody watches */
    uint64_t watch_at_ms;    /* of the monotonic clock: when the next sign of life is due; UINT64_MAX: never */
};

/* Reads the environment. While there is no other thread; a socket that cannot be used is told in the log. */
void service_manager_init(struct service_manager *manager);
void service_manager_finish(struct service_manager *manager);

/* `status` is for people: `systemctl status` shows it. */
void service_manager_ready(struct service_manager *manager, const char *status, ...)
    __attribute__((format(printf, 2, 3)));
/* Until the next `ready`. */
void service_manager_reloading(struct service_manager *manager);
void service_manager_stopping(struct service_manager *manager);

/* The time for a sign of life has come; the next one is due a while later. */
bool service_manager_is_watch_due(struct service_manager *manager, uint64_t now_ms);
/* We live. */
void service_manager_live(struct service_manager *manager);

#endif
