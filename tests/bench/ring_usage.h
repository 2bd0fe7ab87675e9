/* How a running moonring uses its ring, asked over its admin socket. */
#ifndef MOONRING_BENCH_RING_USAGE_H
#define MOONRING_BENCH_RING_USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Since its start, all workers. */
struct ring_usage {
    uint64_t system_calls;
    uint64_t turns;
    uint64_t submissions;
    uint64_t completions;
    uint64_t receives;       /* completions that brought bytes */
    uint64_t receives_armed; /* requests to receive */
    uint64_t accepts;        /* sessions opened */
    uint64_t accepts_armed;  /* requests to accept */
};

/* All 0 when it does not answer. */
struct ring_usage ring_usage_ask(const char *socket_path);

#endif
