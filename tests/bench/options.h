/* The command line of the bench. */
#ifndef MOONRING_BENCH_OPTIONS_H
#define MOONRING_BENCH_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* The texts belong to argv. */
struct options {
    const char *moonring;    /* path */
    const char *epoll_relay; /* path */
    const char *source;      /* path of the project's root */
    const char *only;        /* names of workloads or contests with commas; NULL: those of the default set */
    const char *contestants; /* names of contestants or programs with commas; NULL: those of the default set */
    const char *json;        /* file to write; NULL: none */
    size_t rounds;
    double seconds; /* of each measurement */
    bool full;
    bool list;
    bool help;
};

bool options_parse(struct options *options, int argument_count, char **arguments, struct error *error);
const char *options_help(void);
typedef bool options_known_fn(const char *name);
/* Fails on the first name in the list (NULL: none) that is not known. */
bool options_check_names(const char *option, const char *list, options_known_fn *is_known, struct error *error);
/* Is `name` one of the names in `list`, which are parted by commas? */
bool options_names(const char *list, const char *name);

#endif
