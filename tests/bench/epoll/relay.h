/* The epoll twin: a relay on edge-triggered epoll, in one thread, that does what a good proxy does and nothing else.
 * What moonring is compared with to see what io_uring is worth. */
#ifndef MOONRING_BENCH_EPOLL_RELAY_H
#define MOONRING_BENCH_EPOLL_RELAY_H

#include "base/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct relay_settings {
    struct sockaddr_in listen;
    struct sockaddr_in server;
    uint64_t spin_ns; /* how long it asks again and again before it sleeps; 0: not at all */
};

/* Runs until a signal ends the program. Returns only on failure: false, with an error. */
bool relay_run(const struct relay_settings *settings, struct error *error);

#endif
