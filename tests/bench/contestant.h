/* The table of programs that relay, each with one setting, and what of them is installed. */
#ifndef MOONRING_BENCH_CONTESTANT_H
#define MOONRING_BENCH_CONTESTANT_H

#include "base/error.h"
#include "tests/bench/workload.h"

#include <stdbool.h>
#include <stddef.h>

enum { CONTESTANT_ARGUMENTS_MAX = 8, CONTESTANT_PATH_SIZE = 512 };

/* In arguments and config, @FOLDER@ stands for a folder of its own, @CONFIG@ for its configuration file,
 * @LISTEN@ and @SERVER@ for addresses, @LISTENERS@, @UPSTREAM@ and @UPSTREAMS@ for as many as the workload wants,
 * @SOURCE@ for the project's root, @MODULES@ for nginx's lines that load modules; a contestant with a filter has a
 * second listener @PLAIN@, towards @PLAIN_SERVER@, without it.
 */
struct contestant {
    const char *name;    /* program, or program-setting */
    const char *program; /* NULL: no proxy, clients reach the server directly */
    const char *about;
    const char *config;
    const char *version_argument;                    /* NULL: it tells none */
    const char *arguments[CONTESTANT_ARGUMENTS_MAX]; /* after the program's path; ends with NULL */
    unsigned contests;                               /* a bit for each it takes part in; 0: CONTEST_PROXIES */
    bool tells_ring;                                 /* it says over its admin socket how it uses its ring */
    bool two_cpus;                                   /* runs on the generator's CPU, too */
    const char *filter;      /* what it does: filters of the same name are compared; NULL: there is none */
    bool one_way;            /* the filter sees the client's bytes only */
    size_t message_size_min; /* it takes part where messages are at least that large */
    bool spins;              /* looks for work for a while before it sleeps; takes part where has_pauses */
    bool only_named;         /* left out unless --contestants names it */
};

size_t contestant_count(void);
const struct contestant *contestant_at(size_t index);

bool contestant_is_in(const struct contestant *contestant, enum contest contest);
bool contestant_takes_part(const struct contestant *contestant, const struct workload *workload);

/* What is needed to start a contestant's program, found once. */
struct contestant_program {
    char path[CONTESTANT_PATH_SIZE];
    char source[CONTESTANT_PATH_SIZE];           /* the project's root, an absolute path */
    char modules[2 * CONTESTANT_PATH_SIZE + 64]; /* lines of nginx's configuration, or empty */
    char version[128];
};

/* False, with what is missing, when it is not installed. `given_path` (NULL: search) goes before the search. */
bool contestant_find(const struct contestant *contestant, const char *given_path, const char *source,
                     struct contestant_program *program, struct error *error);

#endif
