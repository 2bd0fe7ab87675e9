/* How busy a CPU was with anything at all: what the bench did not do itself was somebody else's. */
#ifndef MOONRING_BENCH_CPU_H
#define MOONRING_BENCH_CPU_H

#include <stdint.h>

/* Since boot, with the kernel's own work and what the hypervisor took. Counted in ticks: exact to a few percent of a
 * second. 0 when the system does not tell. */
uint64_t cpu_busy_ns(int cpu);

#endif
