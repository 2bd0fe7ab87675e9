/* What a reload costs those who are served meanwhile: moonring with 500 listeners, 2,000 upstreams of 10 servers each
 * and a filter that takes long to load, under load, without reloads and with them. The worker itself tells how long its
 * turns take; the load generator, how long an answer takes. */
#ifndef MOONRING_BENCH_RELOAD_H
#define MOONRING_BENCH_RELOAD_H

#include "base/error.h"
#include "tests/bench/options.h"
#include "tests/bench/ports.h"

#include <stdbool.h>

/* Prints a table. */
bool reload_bench(const struct options *options, struct ports *ports, struct error *error);

#endif
