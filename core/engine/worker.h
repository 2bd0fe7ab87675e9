/* One thread that relays: its engine, its acceptors, its loop and its mailbox. */
#ifndef MOONRING_ENGINE_WORKER_H
#define MOONRING_ENGINE_WORKER_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/config.h"
#include "engine/engine.h"
#include "engine/listener.h"
#include "engine/upstream.h"

#include <pthread.h>

struct worker;
struct message;
struct session;
typedef void message_run_fn(struct worker *worker, struct message *message);

/* Work for a worker's thread, sent by another. Belongs to the sender until it has run. */
struct message {
    struct link link;
    message_run_fn *run;
};

struct worker_options {
    uint32_t number;
    const struct config_io *io;
    _Atomic uint64_t *session_ids;        /* outlives the worker: sessions are numbered from 1 over all workers */
    const struct ring_features *features; /* as ring_probe found them; NULL: find out */
    /* The first; NULL: it comes with worker_adopt. All are the caller's, again once epoch_over was called or the worker
     * ended. */
    struct epoch *epoch;
    /* All of these are called on the worker's thread. A session ended, and acceptors of other workers may wait for it:
     */
    void (*room)(void *argument, struct worker *worker);
    /* This worker accepts on the socket no more. The kernel tells only one acceptor of a client who comes: if others
     * accept on the socket they must be told to look (worker_post_look): */
    void (*socket_done)(void *argument, int fd);
    /* The filters of an epoch that was replaced are used no more; and nothing of the epoch is: */
    void (*filters_over)(void *argument, struct worker *worker, struct epoch *epoch);
    void (*epoch_over)(void *argument, struct worker *worker, struct epoch *epoch);
    /* All that worker_adopt was told to do is done: */
    void (*adopted)(void *argument, struct worker *worker);
    /* Somebody should look at servers (outlier.h): */
    void (*suspected)(void *argument);
    /* Nothing is left; worker_run returns next: */
    void (*stopped)(void *argument, struct worker *worker);
    void *argument;
    uint32_t acts_a_turn; /* for tests: of minding acceptors and sessions in one turn; 0: as is good for the traffic */
};

/* A listening socket, and what this worker has to do with it in a new epoch. */
struct worker_socket {
    int fd;
    struct listener *listener; /* whose clients come; NULL: another worker accepts on it from now on */
    size_t index;              /* of the listener's settings */
    struct acceptor *acceptor; /* from acceptor_make, the worker's then; NULL: it accepts on the socket already */
};

/* An epoch is taken over, some acceptors in each turn. */
struct adoption {
    const struct worker_socket *sockets; /* the caller's */
    size_t sockets_count;
    size_t begun; /* so many of them were looked at for being new */
    bool visited; /* the acceptors that there were have gone over */
    bool goes_on;
};

struct worker {
    struct engine engine;
    struct worker_options options;
    struct list acceptors;
    pthread_mutex_t mailbox_lock;
    struct list mailbox; /* guarded by mailbox_lock */
    int event_fd;        /* ours; signalled when the mailbox is not empty */
    uint64_t event_value;
    struct owner owner; /* of event_op */
    struct op event_op;
    struct message resume_message;
    atomic_bool resume_posted;
    struct message look_message;
    atomic_bool look_posted;
    struct message servers_message;
    atomic_bool servers_posted;
    struct adoption adoption;
    bool acceptors_again; /* they are minded once more, since something has changed meanwhile; */
    bool sessions_again;  /* and so are the sessions */
    bool stopping;        /* accepts no more */
    bool closing;         /* closes every session, also those that still come out of the accept queues */
    bool ended;           /* nothing is left: the loop ends */
};

/* Makes the ring and everything else, on the thread that will run the worker. */
bool worker_init(struct worker *worker, const struct worker_options *options, struct error *error);
/* Nothing may be in flight: worker_run has returned. */
void worker_finish(struct worker *worker);

/* Accepts on a listening socket, which stays the process'. `index`: of the listener's settings in the epoch. On the
 * worker's thread. False when memory is short. */
bool worker_accept(struct worker *worker, struct listener *listener, size_t index, int fd);

/* From now on sessions begin in that epoch, or, if it is NULL, none does. Sockets that are not among these (sorted by
 * fd) are left when nobody waits on them any more, new ones are accepted on, all others go on without a gap: some of
 * them in each of the next turns, until options.adopted is called. So long `sockets` has to stay. Cannot fail. On the
 * worker's thread. */
void worker_adopt(struct worker *worker, struct epoch *epoch, const struct worker_socket *sockets, size_t count);

/* Turns until the worker has ended. */
void worker_run(struct worker *worker);
/* One turn: wait (at most max_wait_us), completions, timers, whoever waits for buffers, releases. */
void worker_turn(struct worker *worker, uint64_t max_wait_us);

/* Any thread: runs message->run(worker, message) on the worker's thread, soon. */
void worker_post(struct worker *worker, struct message *message);

/* Any thread: there may be room for waiting clients. */
void worker_post_resume(struct worker *worker);
/* Any thread: somebody may wait in the queue of a socket that this worker shares, and only another one heard of it. */
void worker_post_look(struct worker *worker);
/* Any thread: servers went down, and sessions may have to end for that. */
void worker_post_servers(struct worker *worker);

/* On the worker's thread (from messages): */
/* Stops accepting, on some sockets in each turn; ends when the last session has. */
void worker_stop(struct worker *worker);
/* Closes every session, some in each turn. */
void worker_close_sessions(struct worker *worker);
/* Closes those that began in the epoch and have filters, in the same way (CLOSE_RETIRED). */
void worker_retire(struct worker *worker, struct epoch *epoch);
/* A walk through the sessions that are open now, the oldest first, in as many turns as one likes: sessions may come and
 * go meanwhile. `number`: below ENGINE_WALKS_MAX; one that has begun already begins again. */
void worker_walk_begin(struct worker *worker, uint32_t number);
/* The next one; NULL: it was the last. */
struct session *worker_walk_next(struct worker *worker, uint32_t number);

#endif
