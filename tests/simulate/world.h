/* The world behind the fake ring: virtual time, chance, and what exists in it. One world per thread, because the
 * kernel_* functions, as the kernel itself, are not told which one they belong to. */
#ifndef MOONRING_SIMULATE_WORLD_H
#define MOONRING_SIMULATE_WORLD_H

#include "base/list.h"
#include "engine/ring.h"
#include "event.h"
#include "random.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How unkind the world is. Chances are per mille. All 0 but the windows: everything happens at once and wholly. */
struct world_options {
    uint64_t seed;
    struct ring_features features;
    uint32_t window_min; /* bytes that a send or a receive queue holds, drawn for each */
    uint32_t window_max;
    uint32_t latency_us_max; /* from one end to the other; 0: bytes arrive with the call that sends them */
    uint32_t delay_us_max;   /* of completions that come late */
    uint32_t delay_chance;
    uint32_t short_chance;      /* a receive, send or splice does less than it could */
    uint32_t refuse_chance;     /* a send or splice says -EAGAIN though it could do something */
    uint32_t no_buffers_chance; /* a receive says -ENOBUFS though there are buffers */
    uint32_t end_chance;        /* a multishot request ends with a completion that did not have to be its last */
    uint32_t late_chance;       /* a cancelled request completes as if it had not been cancelled */
    uint32_t accept_error_chance;
    uint32_t resource_chance; /* no descriptor for a socket or a pipe */
    uint32_t buffers_max;     /* a ring gets no more receive buffers, whatever it asks for; 0: as many as it asks for */
    uint32_t receive_max;     /* the largest limit that a receive may ask for; 0: any */
    FILE *trace;              /* a line for each thing that happens; NULL: none */
    const char *again;        /* how to run this again, told with every violation; NULL: not known */
};

/* What the engine holds. All of it must be back at the end. */
struct world_counts {
    uint32_t sockets;
    uint32_t listeners;
    uint32_t pipe_ends;
    uint32_t events;
    uint32_t rings;
    uint32_t requests;    /* in flight */
    uint32_t buffers_out; /* receive buffers that the engine has not given back */
};

struct file;

struct world {
    struct world_options options;
    struct random random;
    uint64_t now_ns;
    struct schedule schedule;
    struct file **files; /* by descriptor; NULL where it was closed. Ours */
    int files_count;     /* the next descriptor: none is used twice */
    int files_capacity;
    struct list places; /* addresses that somebody is bound to */
    uint16_t next_port; /* of names that nobody chose */
    struct world_counts counts;
    uint32_t connections;          /* with an end that somebody holds */
    uint64_t moved_ns;             /* when something in the world last moved on */
    uint64_t idle_since_ns;        /* since when nothing in the world has moved on, or the last second of that */
    uint64_t idle_turns;           /* turns of the ring since then */
    uint64_t idle_completions;     /* completions since then */
    uint64_t requests_started;     /* in all */
    uint64_t calls;                /* of the kernel at once, in all; without those for the time */
    uint64_t copied_bytes;         /* sent from elsewhere than the receive buffers, in all */
    uint32_t pipe_size_max;        /* of all pipes that there were */
    void (*explain)(void *holder); /* prints what else is known to stderr, after a violation; NULL: nothing */
    void *holder;
};

/* The new world is the calling thread's until it is destroyed. */
struct world *world_create(const struct world_options *options);
/* Frees what the engine left open, too: ask world_counts first. */
void world_destroy(struct world *world);
/* The calling thread's. */
struct world *world_here(void);
/* How to run it again, or NULL. There need not be a world. */
const char *world_again(void);

/* Sets an event. */
void world_after(struct world *world, struct event *event, uint64_t delay_ns);
void world_forget(struct world *world, struct event *event);
/* Lets everything happen that will happen by itself. */
void world_run_out(struct world *world);
/* The time from one end of a connection to the other, drawn anew. */
uint64_t world_latency_ns(struct world *world);
/* How much later than it could a completion comes: usually 0. */
uint64_t world_delay_ns(struct world *world);
bool world_chance(struct world *world, uint32_t per_mille);
/* All of it, or as chance has it a part: 1 to size. */
uint32_t world_part(struct world *world, uint32_t size);
/* Bytes, connections or their ends moved: whoever turns is not spinning. */
void world_moved(struct world *world);

/* Someone broke a rule of ring.h, or promised what it did not keep: says what and when, and aborts. */
_Noreturn void world_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));

void world_trace_line(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The arguments are only looked at when there is a trace. */
#define world_trace(world, ...)                                                                                        \
    do {                                                                                                               \
        if (__builtin_expect((world)->options.trace != NULL, 0)) {                                                     \
            world_trace_line(world, __VA_ARGS__);                                                                      \
        }                                                                                                              \
    } while (0)

#endif
