/* SIGINT and SIGTERM, so that the bench can end what it started. They are kept waiting and asked for: no handler, no
 * global. */
#ifndef MOONRING_BENCH_INTERRUPT_H
#define MOONRING_BENCH_INTERRUPT_H

#include <stdbool.h>

/* Keeps the signals from ending the program. */
void interrupt_block(void);
/* For a child between fork and exec. */
void interrupt_unblock(void);
/* Did one come? */
bool interrupt_pending(void);

#endif
