/* Accepting. A listener is shared by all workers; each worker accepts on its own socket of each address (an acceptor).
 *
 * A limit that is reached, or a process without descriptors, pauses the acceptors: clients wait in the kernel's queue.
 * A multishot accept may bring a whole queue at once, so it is used only while there is room for one; nearer to the
 * limit clients are accepted one by one. Whoever was accepted when the last place went is parked: not opened until
 * there is room, which for the client is the same queue.
 *
 * An acceptor ends in one of two ways. When the worker stops, whoever waits and finds no place is closed. When a reload
 * takes the socket away, nobody is: who waits for room keeps waiting, and the acceptor with him. */
#ifndef MOONRING_ENGINE_LISTENER_H
#define MOONRING_ENGINE_LISTENER_H

#include "engine/engine.h"
#include "engine/settings.h"
#include "engine/tally.h"

#include <stdatomic.h>

/* A bound on a number of sessions, over all workers. */
struct quota {
    _Atomic uint32_t active;
    _Atomic uint32_t max;     /* 0: off */
    _Atomic uint32_t waiting; /* acceptors that want to know when there is room; counted in the process' quota */
};

/* What outlives a reload; its settings belong to epochs. */
struct listener {
    char *name;               /* ours */
    struct tally *tally;      /* ours */
    uint32_t references;      /* generations that have it; the control thread's */
    _Atomic uint32_t backlog; /* of each of its sockets */
    struct quota quota;
    struct quota *process; /* of all listeners together */
    _Atomic uint64_t accepted_total;
    _Atomic uint64_t paused_us; /* when an acceptor was last paused; 0: never */
};

enum acceptor_state { ACCEPTOR_ARMED, ACCEPTOR_PAUSED, ACCEPTOR_DRAINING, ACCEPTOR_CLOSED };

struct acceptor {
    struct owner owner;
    struct link link; /* in its worker's acceptors */
    struct engine *engine;
    struct listener *listener;
    const struct settings *settings; /* the epoch's, for sessions that begin now */
    struct op accept_op;
    struct timer timer;    /* looks again while it is paused */
    int fd;                /* the process' */
    bool waiting;          /* counted in the process' quota */
    uint8_t state;         /* enum acceptor_state */
    bool multishot;        /* accept_op is */
    bool patient;          /* DRAINING: who finds no place waits for one */
    bool inherited;        /* DRAINING: another worker accepts on fd from now on */
    bool leaving;          /* it accepts for a while yet, and is DRAINING then */
    uint64_t exhausted_us; /* when descriptors or memory ran out last; 0: never */
    int *parked;           /* ours; accepted descriptors that wait for room, the first at parked_first */
    uint32_t parked_first;
    uint32_t parked_count;
    uint32_t parked_capacity;
};

/* A session that the listener had counted has gone. True when some acceptor waits for room. */
bool listener_leave(struct listener *listener);

/* Memory for one, which acceptor_begin needs. Any thread. NULL when memory is short. */
struct acceptor *acceptor_make(void);
/* Forgets one that has not begun. NULL is fine. */
void acceptor_unmake(struct acceptor *acceptor);
/* Begins to accept on fd. The acceptor is on the list until it has stopped, and frees itself then. */
void acceptor_begin(struct acceptor *acceptor, struct engine *engine, struct listener *listener,
                    const struct settings *settings, int fd, struct list *acceptors);
/* Its clients belong to that listener from now on, with those settings. */
void acceptor_adopt(struct acceptor *acceptor, struct listener *listener, const struct settings *settings);
/* Pauses because descriptors or memory (errno) ran out. */
void acceptor_exhausted(struct acceptor *acceptor, int number);
/* Opens what is parked and accepts again, as far as there is room. */
void acceptor_resume(struct acceptor *acceptor);
/* Looks into the queue, also if the kernel has not told of anybody there. */
void acceptor_look(struct acceptor *acceptor);
bool acceptor_is_waiting(const struct acceptor *acceptor);
/* It was told to stop, or to leave. */
bool acceptor_is_ending(const struct acceptor *acceptor);
/* Takes whoever waits in the kernel's queue, then stops: engine->acceptor_ended is called, and the socket may be
 * closed. */
void acceptor_stop(struct acceptor *acceptor);
/* The same for a reload, patiently. inherited: another worker accepts on the socket, whose queue is that one's. Else,
 * on a TCP socket, it first accepts for LEAVE_MS more: nobody new can begin a handshake there (program/sockets.c sees
 * to that), but whoever has begun one would be reset when the socket is closed. */
void acceptor_leave(struct acceptor *acceptor, bool inherited);

#endif
