/* Waiting in tests always has an end, and what was not there by then fails the test. */
#ifndef MOONRING_TESTS_DEADLINE_H
#define MOONRING_TESTS_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* How long a test waits for what should come at once: a loaded machine may take a while. */
enum { DEADLINE_MS = 20000 };

static inline uint64_t deadline_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline uint64_t deadline_after(int milliseconds) {
    return deadline_now_ms() + (uint64_t)milliseconds;
}

/* What poll() takes as its timeout: 0 once the deadline has passed. */
static inline int deadline_left_ms(uint64_t deadline_ms) {
    uint64_t now_ms = deadline_now_ms();
    return now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
}

/* For scenarios in which time itself plays a part, and between two looks at something that cannot be polled. */
static inline void deadline_pause(int milliseconds) {
    struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

#endif
