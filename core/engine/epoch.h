/* What a worker goes by between two reloads: the settings of the listeners, the balances, the filters. Made by the
 * control thread, then the worker's alone. A session keeps the epoch that it began in; an epoch that was replaced ends
 * with its last session. */
#ifndef MOONRING_ENGINE_EPOCH_H
#define MOONRING_ENGINE_EPOCH_H

#include "config/config.h"
#include "engine/access_log.h"
#include "engine/balance.h"
#include "engine/settings.h"
#include "engine/upstream.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_queue;
struct filter;

/* The filters of a listener on this worker, the client's end first. */
struct filter_list {
    struct filter **filters;
    size_t count;
};

struct generation;
struct tally_cells;

struct epoch {
    struct generation *generation; /* what it is part of; the control thread's business */
    struct upstream *upstreams;    /* the generation's, which outlives it */
    size_t upstreams_count;
    struct balance *balances;     /* ours; one for each upstream */
    struct tally_cells **tallies; /* ours; of each upstream those of this worker; NULL: nobody counts */
    struct settings *settings;    /* ours; one for each listener */
    size_t settings_count;
    const struct filter_list *filter_lists; /* one for each listener; NULL: no listener has a filter */
    struct access_lines access_lines;
    struct access_queue *access_log; /* its maker's; where its sessions are told of; NULL: nowhere */
    _Atomic uint64_t users;          /* sessions, and acceptors whose next session begins in it; only the
                                      * worker changes it */
    _Atomic uint64_t acceptors;      /* of these, the acceptors; the same holds */
    uint64_t filtered_users;         /* of these, those of listeners with filters */
    bool replaced;                   /* it has no new users, except from acceptors that end */
    bool retired;                    /* its sessions with filters are closed */
};

/* listeners, upstreams and filter_lists must outlive it. seed: for balances; any number, different for each worker.
 * NULL: memory is short. */
struct epoch *epoch_create(const struct config_listener *listeners, size_t listeners_count, struct upstream *upstreams,
                           size_t upstreams_count, const struct filter_list *filter_lists, uint64_t seed);
static inline bool settings_have_filters(const struct settings *settings) {
    const struct filter_list *lists = settings->epoch->filter_lists;
    return lists != NULL && lists[settings->index].count > 0;
}

/* What a session's bytes meet on their way: filters, or a bound on their pace. */
static inline bool settings_have_chain(const struct settings *settings) {
    return settings->bandwidth != 0 || settings_have_filters(settings);
}

/* Any thread. */
static inline uint64_t epoch_users(const struct epoch *epoch) {
    return atomic_load_explicit(&epoch->users, memory_order_relaxed);
}

/* Any thread; a little late or early when the worker is about to change it. */
static inline uint64_t epoch_sessions(const struct epoch *epoch) {
    uint64_t acceptors = atomic_load_explicit(&epoch->acceptors, memory_order_relaxed);
    uint64_t users = epoch_users(epoch);
    return users > acceptors ? users - acceptors : 0;
}

/* NULL is fine. */
void epoch_destroy(struct epoch *epoch);

#endif
