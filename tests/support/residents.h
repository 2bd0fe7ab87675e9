/* Connections that stay: each sends an endless stream of numbered bytes, bit by bit, to a server that sends it back,
 * and checks what comes. All of them on one thread. */
#ifndef MOONRING_TESTS_RESIDENTS_H
#define MOONRING_TESTS_RESIDENTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct resident {
    int fd; /* -1: its connection has ended */
    uint64_t stream;
    uint64_t sent;
    uint64_t received;
    uint64_t send_at_ms;
};

struct residents {
    struct resident *all; /* ours */
    size_t count;
    uint32_t pause_ms; /* from one piece of a connection to its next */
    pthread_t thread;
    atomic_bool stop;
    _Atomic uint64_t lost;  /* connections that ended, or sent a wrong byte */
    _Atomic uint64_t bytes; /* that came back */
};

/* Connects them all, one after the other. */
void residents_start(struct residents *residents, const char *address, size_t count, uint32_t pause_ms);
/* Sends no more, waits until everything has come back, and ends them in order. Fails the test when one does not. */
void residents_stop(struct residents *residents);

#endif
