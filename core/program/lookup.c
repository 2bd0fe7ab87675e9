#include "program/lookup.h"

#include "base/check.h"
#include "engine/ring.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 50 }; /* whether it was given up */

/* Its thread and who waits for it both hold it. */
struct lookup {
    atomic_int holders;
    sem_t done;
    atomic_bool over; /* before that */
    char *host;       /* ours */
    int result;
    struct addrinfo *found; /* ours; NULL: nothing, or it was taken */
};

static struct lookup *lookup_create(const char *host) {
    struct lookup *lookup = calloc(1, sizeof *lookup);
    if (lookup == NULL || (lookup->host = strdup(host)) == NULL) {
        free(lookup);
        return NULL;
    }
    atomic_store(&lookup->holders, 2);
    check(sem_init(&lookup->done, 0, 0) == 0);
    return lookup;
}

static void lookup_drop(struct lookup *lookup) {
    if (atomic_fetch_sub(&lookup->holders, 1) > 1) {
        return;
    }
    if (lookup->found != NULL) {
        freeaddrinfo(lookup->found);
    }
    sem_destroy(&lookup->done);
    free(lookup->host);
    free(lookup);
}

static void *lookup_thread(void *argument) {
    struct lookup *lookup = argument;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    pthread_setname_np(pthread_self(), "lookup");
    lookup->result = getaddrinfo(lookup->host, NULL, &hints, &lookup->found);
    atomic_store(&lookup->over, true);
    sem_post(&lookup->done);
    lookup_drop(lookup);
    return NULL;
}

/* Nobody waits for its end. */
static bool lookup_start(struct lookup *lookup) {
    pthread_attr_t detached;
    pthread_t thread;
    if (pthread_attr_init(&detached) != 0) {
        return false;
    }
    bool started = pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED) == 0 &&
                   pthread_create(&thread, &detached, lookup_thread, lookup) == 0;
    pthread_attr_destroy(&detached);
    if (!started) {
        lookup_drop(lookup); /* the thread's part */
    }
    return started;
}

/* False: not yet. */
static bool lookup_is_done(struct lookup *lookup) {
    uint64_t at_ns = kernel_now_ns() + (uint64_t)LOOK_MS * 1000000;
    const struct timespec until = {.tv_sec = (time_t)(at_ns / 1000000000), .tv_nsec = (long)(at_ns % 1000000000)};
    int result;
    do {
        result = sem_clockwait(&lookup->done, CLOCK_MONOTONIC, &until);
    } while (result < 0 && errno == EINTR);
    return result == 0;
}

static int lookup_wait(struct lookup *lookup, const atomic_bool *give_up, struct addrinfo **found) {
    while (!lookup_is_done(lookup)) {
        if (atomic_load(give_up)) {
            return EAI_CANCELED;
        }
    }
    check(atomic_load(&lookup->over)); /* (ThreadSanitizer knows nothing of sem_clockwait) */
    *found = lookup->found;
    lookup->found = NULL;
    return lookup->result;
}

int lookup_run(const char *host, const atomic_bool *give_up, struct addrinfo **found) {
    struct lookup *lookup = lookup_create(host);
    *found = NULL;
    if (lookup == NULL) {
        return EAI_MEMORY;
    }
    int result = lookup_start(lookup) ? lookup_wait(lookup, give_up, found) : EAI_AGAIN;
    lookup_drop(lookup);
    return result;
}
