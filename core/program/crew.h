/* The workers' threads, and what the control thread says to them. A reload may make them more or fewer: a worker too
 * many accepts no more and ends with its last session, unless another reload wants it again before. */
#ifndef MOONRING_PROGRAM_CREW_H
#define MOONRING_PROGRAM_CREW_H

#include "base/error.h"
#include "engine/worker.h"
#include "program/generation.h"
#include "program/look.h"
#include "program/sockets.h"
#include "program/worker_metrics.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

struct crew;
struct crew_member;

/* What a member is asked to do, on its thread, between two turns. False: it goes on, and will answer by itself. */
typedef bool crew_task_fn(struct crew_member *member, const void *argument);

struct crew_member {
    struct crew *crew;
    struct worker worker;
    uint32_t number;
    pthread_t thread;
    struct watch watch; /* of its scripts */
    struct error error; /* why it was not made */
    bool made;          /* worker_init succeeded; set before crew->ready is posted */
    bool working;       /* it was told to begin; the control thread's */
    bool dismissed;     /* it was told to end */
    sem_t go;           /* posted once: begin, or, when it is dismissed already, end */
    atomic_bool ended;
    atomic_bool busy; /* a task is under way */
    crew_task_fn *task;
    const void *argument;
    struct look look;       /* what the task looks for; the control thread's while it is not busy */
    struct portion portion; /* what it found; the same */
    struct bytes filters;   /* lines about its filters; the same */
    struct message task_message;
    struct message stop_message;
    struct message close_message;
    struct message pulse_message;
    atomic_bool pulse_awaited;     /* it was asked for a sign of life, and has not given it yet */
    struct generation *generation; /* it is in; NULL: none */
    struct generation *next;       /* it is to adopt; NULL: none */
    atomic_uint epochs;            /* generations that it is in, or has sessions in */
    struct worker_socket *sockets; /* ours; what it has to do with them in the next one, sorted */
    size_t sockets_count;
};

/* A worker's number, which outlives the worker. */
struct crew_place {
    struct crew_member *member;   /* ours; NULL: there is none now */
    struct worker_numbers before; /* what the members that have ended had counted */
};

struct crew_options {
    bool drop_rights; /* workers give up what the control thread keeps */
    struct config_io io;
    struct ring_features features;
    struct watchdog *watchdog; /* of scripts */
    struct sockets *sockets;
    pthread_mutex_t *view_lock; /* the program's; held, too, while places change */
};

struct crew {
    struct crew_options options;
    pthread_mutex_t lock;      /* guards the places, which workers look at to tell others of room */
    struct crew_place *places; /* ours */
    uint32_t places_count;
    _Atomic uint64_t session_ids; /* the last one given */
    uint32_t workers;             /* that accept: the first so many */
    uint32_t workers_next;        /* the same in what is being prepared */
    bool is_open;
    sem_t ready;           /* posted by each worker when it has tried to make itself */
    sem_t answers;         /* posted by each worker that has done what it was asked to */
    int event_fd;          /* signalled when a worker has ended, left a generation, or suspects a server */
    atomic_bool suspected; /* a worker does */
};

/* Without workers yet. */
bool crew_init(struct crew *crew, const struct crew_options *options, struct error *error);
/* Waits until every worker has ended, and frees them. They must have been told to. Harmless after crew_init has failed.
 */
void crew_finish(struct crew *crew);

/* --- a change: all on the control thread ------------------------------------------------------------------------- */

/* Everything that can fail: more workers, if there are to be more, and what each has to do with the sockets (as they
 * are prepared) in that generation. */
bool crew_prepare(struct crew *crew, struct generation *generation, uint32_t workers, struct error *error);
/* Every worker turns, and answers within the time. If not, the error names one that does not. */
bool crew_answers(struct crew *crew, uint32_t wait_ms, struct error *error);
/* They go over to the generation. Cannot fail; returns when all have done it. */
void crew_commit(struct crew *crew);
/* Instead of a commit, also when prepare has failed. */
void crew_abandon(struct crew *crew);

/* --- while it runs ----------------------------------------------------------------------------------------------- */

/* Sees to workers that are too many: those without a session are told to end, those that have ended are freed. */
void crew_tend(struct crew *crew);
/* Workers end the sessions of servers that are down, as far as those are to end. */
void crew_mind_servers(struct crew *crew);
/* Appends a line for each filter of each worker that turns within the time. */
void crew_describe_filters(struct crew *crew, uint32_t wait_ms, struct bytes *out);
/* The worker of that place looks at its sessions, also while it drains. What it found becomes *portion; nothing, and
 * the last, when there is no worker. False: it does not answer within the time. */
bool crew_look(struct crew *crew, uint32_t place, const struct look *look, uint32_t wait_ms, struct portion *portion,
               struct error *error);
/* Every worker has given a sign of life since this was asked last; they are asked for the next one. If not, *number is
 * one that has not. Does not wait. */
bool crew_has_pulse(struct crew *crew, uint32_t *number);
/* What the workers of a place have counted since the start, and how the present one stands. Any thread that holds the
 * view lock; no worker is asked. */
struct worker_numbers crew_numbers(const struct crew *crew, uint32_t place);
/* Sessions with filters that began in that generation are closed, since it was retired too long ago. False: a worker
 * does not answer within the time, and nothing was done. */
bool crew_close_filtered(struct crew *crew, const struct generation *generation, uint32_t wait_ms);

/* No new clients. Once. */
void crew_stop(struct crew *crew);
/* No sessions. Once. */
void crew_close_sessions(struct crew *crew);
bool crew_has_ended(const struct crew *crew);

#endif
