/* Where and with what a bench ran: the head of its report. */
#ifndef MOONRING_BENCH_MACHINE_H
#define MOONRING_BENCH_MACHINE_H

#include <stdint.h>

enum { MACHINE_TEXT_SIZE = 128 };

/* A text is `unknown` where the system does not tell. */
struct machine {
    char date[MACHINE_TEXT_SIZE]; /* UTC */
    char kernel[MACHINE_TEXT_SIZE];
    char cpu[MACHINE_TEXT_SIZE];
    int cpus;
    char congestion_control[MACHINE_TEXT_SIZE];
    char skb_defer_max[MACHINE_TEXT_SIZE]; /* net.core.skb_defer_max (decisions/0020); `-` where there is none */
    char commit[MACHINE_TEXT_SIZE];        /* of the tree in the working folder */
};

void machine_describe(struct machine *machine);
/* What the kernel holds in its slabs, in bytes: sockets, files, requests of rings. */
uint64_t machine_slab_memory(void);

#endif
