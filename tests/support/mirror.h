/* A server that sends back what it receives, on a thread of its own: bytes, then the end. */
#ifndef MOONRING_TESTS_MIRROR_H
#define MOONRING_TESTS_MIRROR_H

#include "base/address.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

struct mirror {
    char address[ADDRESS_TEXT_MAX]; /* with the port that it got */
    int fd;
    int epoll_fd;
    int stop_fd;
    pthread_t thread;
    _Atomic uint64_t accepted;
};

void mirror_start(struct mirror *mirror, const char *address);
/* Connections that are open then are closed at the end of the test. */
void mirror_stop(struct mirror *mirror);

#endif
