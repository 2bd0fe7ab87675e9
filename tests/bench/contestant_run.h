/* A contestant that runs: its process and its folder. */
#ifndef MOONRING_BENCH_CONTESTANT_RUN_H
#define MOONRING_BENCH_CONTESTANT_RUN_H

#include "base/error.h"
#include "tests/bench/contestant.h"
#include "tests/bench/process.h"

#include <stdbool.h>
#include <stdint.h>

enum { PROXY_CPU = 1 };

struct contestant_run {
    struct process process;
    uint16_t port;
    bool tells_ring;                   /* over the socket admin.sock in its folder */
    char folder[CONTESTANT_PATH_SIZE]; /* ours until contestant_stop */
};

/* Returns when it accepts connections on 127.0.0.1:port, which it relays to 127.0.0.1:server_port. On failure the error
 * has the end of what the program printed; nothing is left behind. */
bool contestant_start(struct contestant_run *run, const struct contestant *contestant, const struct workload *workload,
                      const struct contestant_program *program, uint16_t port, uint16_t server_port,
                      struct error *error);
/* Adds to an error about the traffic what the contestant has to say: that it died, the end of its output. */
void contestant_explain(struct contestant_run *run, struct error *error);
/* Ends the program and removes its folder. */
void contestant_stop(struct contestant_run *run);

#endif
