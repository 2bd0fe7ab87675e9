/* Many clients at once, each on a thread of its own: they connect, send some bytes to a server that sends them back,
 * check every one of them, end in order, and begin anew. What went wrong is counted, by what it was: a reload must not
 * show in any of these numbers. */
#ifndef MOONRING_TESTS_CROWD_H
#define MOONRING_TESTS_CROWD_H

#include "base/address.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mishap {
    MISHAP_REFUSED, /* connect(2) failed */
    MISHAP_RESET,   /* the connection broke */
    MISHAP_LOST,    /* the end came before all bytes had */
    MISHAP_WRONG,   /* another byte came than the one that was sent */
    MISHAP_STUCK,   /* nothing came within the deadline */
    MISHAPS
};

const char *mishap_name(enum mishap mishap);

struct crowd;

struct crowd_member {
    struct crowd *crowd;
    pthread_t thread;
    uint32_t number;
};

struct crowd {
    struct address address;
    uint32_t size_max;            /* bytes of an exchange, 64 KiB at the most */
    uint32_t pause_ms;            /* between two sessions of a member; 0: none */
    struct crowd_member *members; /* ours */
    size_t count;
    atomic_bool stop;
    _Atomic uint64_t sessions; /* that went well */
    _Atomic uint64_t bytes;    /* that came back in them */
    _Atomic uint64_t mishaps[MISHAPS];
};

void crowd_start(struct crowd *crowd, const char *address, size_t count, uint32_t size_max, uint32_t pause_ms);
/* Waits until each has ended its session. */
void crowd_stop(struct crowd *crowd);
/* Of every kind. */
uint64_t crowd_mishaps(const struct crowd *crowd);

#endif
