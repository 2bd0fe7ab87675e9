/* The table of programs that relay, each with one setting, and how one is started and stopped. */
#ifndef MOONRING_BENCH_CONTESTANT_H
#define MOONRING_BENCH_CONTESTANT_H

#include "base/error.h"
#include "tests/bench/process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROXY_CPU = 1, CONTESTANT_ARGUMENTS_MAX = 8, CONTESTANT_PATH_SIZE = 512 };

/* In arguments and config, @FOLDER@ stands for a folder of its own, @CONFIG@ for its configuration file,
 * @LISTEN@ and @SERVER@ for addresses, @STREAM_MODULE@ for nginx's line that loads its stream module. */
struct contestant {
    const char *name;    /* program, or program-setting */
    const char *program; /* NULL: no proxy, clients reach the server directly */
    const char *about;
    const char *config;
    const char *version_argument;
    const char *arguments[CONTESTANT_ARGUMENTS_MAX]; /* after the program's path; ends with NULL */
    size_t message_size_min;                         /* it takes part where messages are at least that large */
    bool only_named;                                 /* left out unless --contestants names it */
};

size_t contestant_count(void);
const struct contestant *contestant_at(size_t index);

/* What is needed to start a contestant's program, found once. */
struct contestant_program {
    char path[CONTESTANT_PATH_SIZE];
    char stream_module[CONTESTANT_PATH_SIZE + 32]; /* a line of nginx's configuration, or empty */
    char version[128];
};

/* False, with what is missing, when it is not installed. `given_path` (NULL: search) goes before the search. */
bool contestant_find(const struct contestant *contestant, const char *given_path, struct contestant_program *program,
                     struct error *error);

struct contestant_run {
    struct process process;
    uint16_t port;
    char folder[CONTESTANT_PATH_SIZE]; /* ours until contestant_stop */
};

/* Returns when it accepts connections on 127.0.0.1:port, which it relays to 127.0.0.1:server_port. On failure the error
 * has the end of what the program printed; nothing is left behind. */
bool contestant_start(struct contestant_run *run, const struct contestant *contestant,
                      const struct contestant_program *program, uint16_t port, uint16_t server_port,
                      struct error *error);
/* Adds to an error about the traffic what the contestant has to say: that it died, the end of its output. */
void contestant_explain(struct contestant_run *run, struct error *error);
/* Ends the program and removes its folder. */
void contestant_stop(struct contestant_run *run);

#endif
