/* What a client costs before it is served, in this process: no sockets, no kernel. */
#ifndef MOONRING_BENCH_COSTS_H
#define MOONRING_BENCH_COSTS_H

/* Prints nanoseconds: of a look-up among 100,000 rules, and of a source that comes and goes. Takes a few seconds. */
void costs_print(void);

#endif
