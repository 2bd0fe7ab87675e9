/* What everything on one worker's thread shares: its ring, clock, timers, pools and counters. Nothing in it is touched
 * by another thread while the worker runs. */
#ifndef MOONRING_ENGINE_ENGINE_H
#define MOONRING_ENGINE_ENGINE_H

#include "base/counter.h"
#include "engine/access_log.h"
#include "engine/buffer.h"
#include "engine/epoch.h"
#include "engine/reason.h"
#include "engine/ring.h"
#include "engine/splice.h"
#include "engine/turns.h"
#include "engine/wheel.h"
#include "engine/zero_copy.h"

struct acceptor;
struct listener;
struct filter_session;

/* What is being collected while a script is entered. */
struct filter_entry {
    struct list touched; /* filter sessions whose outbox has something */
    struct queue view;   /* of a filter that would be bypassed: what it can see, */
    uint64_t offset;     /* from there on, */
    uint64_t pass_ahead; /* and how it stood */
    uint64_t drop_ahead;
    bool remembers; /* the four above */
    bool open;
};

/* Only the worker writes; any thread may read (base/counter.h). */
struct engine_counters {
    _Atomic uint64_t sessions_opened;
    _Atomic uint64_t sessions_closed[CLOSE_REASONS];
    _Atomic uint64_t from_client_bytes;
    _Atomic uint64_t from_server_bytes;
    _Atomic uint64_t receives; /* completions that brought bytes */
    _Atomic uint64_t receives_armed;
    _Atomic uint64_t sends;
    _Atomic uint64_t sends_blocked; /* a socket took nothing or less than offered */
    _Atomic uint64_t starved;       /* flows that found no receive buffer */
    _Atomic uint64_t splice_promotions;
    _Atomic uint64_t splice_demotions;
    _Atomic uint64_t splice_bytes;
    _Atomic uint64_t connects;
    _Atomic uint64_t connects_failed;
    _Atomic uint64_t retries;
    _Atomic uint64_t accepts_armed;
    _Atomic uint64_t accepts_limited;   /* clients that a limit made wait */
    _Atomic uint64_t accepts_exhausted; /* accepts refused for want of descriptors or memory */
    _Atomic uint64_t hooks;             /* entered by sessions */
    _Atomic uint64_t filters_bypassed;
    _Atomic uint64_t access_lost; /* lines of the access log that were dropped */
};

/* What is not counted but stands so at the end of a turn; the same holds. */
struct engine_gauges {
    _Atomic uint64_t sessions;
    _Atomic uint64_t buffers_in_use;
    _Atomic uint64_t heap_bytes;
    _Atomic uint64_t evacuations;
    _Atomic uint64_t pipes_open;
};

/* How many may go through the sessions at a time, each at its own pace, */
enum { ENGINE_WALKS_MAX = 17 };
/* and behind them those of the worker itself. */
enum { WALK_OF_ACCEPTORS = ENGINE_WALKS_MAX, WALK_OF_SESSIONS, WALKS };

/* A way through the acceptors, or the sessions that were open when it began. */
struct walk {
    struct link *next; /* in their list; NULL: it has not begun, or is over */
    uint64_t until_id; /* sessions from here on were opened later */
};

struct engine {
    uint32_t number; /* of the worker, from 0 */
    struct ring *ring;
    struct wheel wheel;
    uint64_t now_us; /* monotonic; read once a turn */
    struct buffers buffers;
    struct splices splices;
    struct zero_copies zero_copies;
    bool splice;
    bool zero_copy_send;
    struct epoch *epoch; /* in which sessions begin now */
    struct filter_entry entry;
    struct list written_chains; /* whose streams another session's script has written to */
    struct list closed_chains;  /* whose last hooks run at the end of the turn */
    struct owner *released;     /* who is to be released at the end of the turn (op.h) */
    struct list sessions;
    uint32_t sessions_count;
    struct walk walks[WALKS];
    uint32_t walks_used; /* of ENGINE_WALKS_MAX, the first so many may have begun */
    struct slab sessions_slab;
    struct slab retries_slab;
    _Atomic uint64_t *session_ids; /* the last one that was given in the process; workers share it */
    uint64_t last_session_id;      /* the last one of this worker */
    struct engine_counters counters;
    struct engine_gauges gauges;
    struct turns turns;
    /* Called when a session of the listener has gone: somebody may wait for its place. */
    void (*session_ended)(struct engine *engine, struct listener *listener);
    /* Called when nobody uses the filters of an epoch that was replaced any more, and then, when nobody uses it. */
    void (*filters_over)(struct engine *engine, struct epoch *epoch);
    void (*epoch_over)(struct engine *engine, struct epoch *epoch);
    /* Called when there was no descriptor or memory (errno) for a session's server: nobody else should be accepted. */
    void (*exhausted)(struct engine *engine, int number);
    /* Called when the control thread should look at servers: connects fail, or succeed where nobody expects it. */
    void (*suspected)(struct engine *engine);
    /* Called before a client is taken whose acceptor has settings of another epoch than this: the worker has not come
     * to it yet (worker_adopt). */
    void (*acceptor_lags)(struct engine *engine, struct acceptor *acceptor);
    /* Called when nobody on this worker accepts on the listening socket any more. */
    void (*acceptor_ended)(struct engine *engine, int fd);
    /* Called at the end of each turn, outside of any entry of a script: garbage may be collected. NULL: nobody. */
    void (*turn_ended)(void *argument);
    void *turn_ended_argument;
};

/* Whoever holds settings counts as a user of their epoch. */
static inline void engine_use(const struct settings *settings) {
    struct epoch *epoch = settings->epoch;
    atomic_store_explicit(&epoch->users, epoch_users(epoch) + 1, memory_order_relaxed);
    epoch->filtered_users += settings_have_filters(settings);
}

/* The epoch may be gone afterwards, and the settings with it. */
static inline void engine_leave(struct engine *engine, const struct settings *settings) {
    struct epoch *epoch = settings->epoch;
    bool filtered = settings_have_filters(settings);
    uint64_t users = epoch_users(epoch) - 1;
    atomic_store_explicit(&epoch->users, users, memory_order_relaxed);
    epoch->filtered_users -= filtered;
    if (epoch->replaced && filtered && epoch->filtered_users == 0) {
        engine->filters_over(engine, epoch);
    }
    if (epoch->replaced && users == 0) {
        engine->epoch_over(engine, epoch);
    }
}

/* It has been replaced. The same holds. */
static inline void engine_retire(struct engine *engine, struct epoch *epoch) {
    uint64_t users = epoch_users(epoch);
    epoch->replaced = true;
    if (epoch->filter_lists != NULL && epoch->filtered_users == 0) {
        engine->filters_over(engine, epoch);
    }
    if (users == 0) {
        engine->epoch_over(engine, epoch);
    }
}

static inline void walk_step_over(struct walk *walk, const struct link *link) {
    walk->next = walk->next == link ? link->next : walk->next;
}

/* The session with this link goes: who would have come to it next, steps on. */
static inline void engine_step_over_session(struct engine *engine, const struct link *link) {
    walk_step_over(&engine->walks[WALK_OF_SESSIONS], link);
    for (uint32_t i = 0; i < engine->walks_used; i++) {
        walk_step_over(&engine->walks[i], link);
    }
}

/* The same of an acceptor's. */
static inline void engine_step_over_acceptor(struct engine *engine, const struct link *link) {
    walk_step_over(&engine->walks[WALK_OF_ACCEPTORS], link);
}

static inline uint64_t engine_now_ms(const struct engine *engine) {
    return engine->now_us / 1000;
}

#endif
