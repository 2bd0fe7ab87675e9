/* A contestant that runs: its process and its folder. */
#ifndef MOONRING_BENCH_CONTESTANT_RUN_H
#define MOONRING_BENCH_CONTESTANT_RUN_H

#include "base/error.h"
#include "tests/bench/contestant.h"
#include "tests/bench/process.h"

#include <stdbool.h>
#include <stdint.h>

enum { PROXY_CPU = 1 };

/* Where it listens, and to which servers it relays, all on 127.0.0.1. */
struct contestant_ports {
    uint16_t listen;
    uint16_t server;
    uint16_t plain;        /* 0: it has one listener only */
    uint16_t plain_server; /* 0 likewise */
};

struct contestant_run {
    struct process process;
    struct contestant_ports ports;
    uint64_t started_ns;
    const char *program_path;          /* the caller's; NULL: there is none */
    bool tells_ring;                   /* over the socket admin.sock in its folder */
    char folder[CONTESTANT_PATH_SIZE]; /* ours until contestant_stop */
};

/* Returns when it accepts connections. On failure the error has the end of what the program printed; nothing is left
 * behind. */
bool contestant_start(struct contestant_run *run, const struct contestant *contestant, const struct workload *workload,
                      const struct contestant_program *program, const struct contestant_ports *ports,
                      struct error *error);
/* Adds to an error about the traffic what the contestant has to say: that it died, the end of its output. */
void contestant_explain(struct contestant_run *run, struct error *error);
/* Ends the program and removes its folder. */
void contestant_stop(struct contestant_run *run);

#endif
