/* What threads beside the workers owe to the traffic. They share the workers' processors, and the kernel's scheduler
 * looks only at its tick, every few milliseconds, whose turn it is: what such a thread computes at a stretch would hold
 * up a worker that long. With courtesy it lets others go first whenever it has run for a quarter of a millisecond,
 * whatever it does just then: in our code, in a library, in a script. Where nobody else wants to run it goes on. */
#ifndef MOONRING_PROGRAM_COURTESY_H
#define MOONRING_PROGRAM_COURTESY_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* One thread's. It must stay where it is while it is open. Only that thread uses it, and a handler of SIGURG there. */
struct courtesy {
    timer_t timer;
    bool is_open;
    volatile bool is_on;
    volatile uint64_t stretch_began_ns; /* of the thread's CPU time */
    volatile uint64_t yields;           /* how often it has let others go first */
};

/* For the calling thread. Where the kernel has no timer left for it the thread is as discourteous as any other, and no
 * more than that. Its time slices become shorter, too (Linux 6.12 and later; a slice is what a yield gives away). */
void courtesy_open(struct courtesy *courtesy);
/* Also for one that is all zero. */
void courtesy_close(struct courtesy *courtesy);
/* Around what may take long. In between a signal comes now and then, for which system calls are restarted (SA_RESTART),
 * but for those that never are: see signal(7). Either may be called again without effect. */
void courtesy_begin(struct courtesy *courtesy);
void courtesy_end(struct courtesy *courtesy);

#endif
