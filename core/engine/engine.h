/* What everything on one worker's thread shares: its ring, clock, timers, pools and counters. Nothing in it is touched
 * by another thread while the worker runs. */
#ifndef MOONRING_ENGINE_ENGINE_H
#define MOONRING_ENGINE_ENGINE_H

#include "engine/access_log.h"
#include "engine/balance.h"
#include "engine/buffer.h"
#include "engine/reason.h"
#include "engine/ring.h"
#include "engine/splice.h"
#include "engine/wheel.h"
#include "engine/zero_copy.h"

struct listener;

struct engine_counters {
    uint64_t sessions_opened;
    uint64_t sessions_closed[CLOSE_REASONS];
    uint64_t from_client_bytes;
    uint64_t from_server_bytes;
    uint64_t receives; /* completions that brought bytes */
    uint64_t receives_armed;
    uint64_t sends;
    uint64_t sends_blocked; /* a socket took nothing or less than offered */
    uint64_t starved;       /* flows that found no receive buffer */
    uint64_t splice_promotions;
    uint64_t splice_demotions;
    uint64_t splice_bytes;
    uint64_t connects;
    uint64_t connects_failed;
    uint64_t retries;
    uint64_t accepts_limited;   /* clients that a limit made wait */
    uint64_t accepts_exhausted; /* accepts refused for want of descriptors or memory */
    uint64_t turn_longest_us;   /* from the end of a wait to the beginning of the next */
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
    struct balance *balances;        /* one for each upstream */
    struct access_queue *access_log; /* NULL: off */
    struct list released;            /* owners to release at the end of the turn */
    struct list sessions;
    uint32_t sessions_count;
    struct slab sessions_slab;
    struct slab retries_slab;
    uint64_t next_session_id;
    struct engine_counters counters;
    /* Called when a session of the listener has gone: somebody may wait for its place. */
    void (*session_ended)(struct engine *engine, struct listener *listener);
    /* Called when there was no descriptor or memory (errno) for a session's server: nobody else should be accepted. */
    void (*exhausted)(struct engine *engine, int number);
    /* Called when nobody on this worker accepts on the listening socket any more. */
    void (*acceptor_ended)(struct engine *engine, int fd);
};

static inline uint64_t engine_now_ms(const struct engine *engine) {
    return engine->now_us / 1000;
}

#endif
