/* How a session's server is chosen. The state belongs to one worker: workers balance on their own, except that the
 * numbers of sessions (least_conn, connections_max) count those of all. */
#ifndef MOONRING_ENGINE_BALANCE_H
#define MOONRING_ENGINE_BALANCE_H

#include "config/config.h"
#include "engine/server.h"

#include <stddef.h>
#include <stdint.h>

struct balance {
    enum config_balance policy;
    struct server *servers; /* the upstream's */
    size_t servers_count;
    /* round_robin: who is due when, and the servers as a heap with the earliest on top. */
    uint64_t *due;   /* ours; of each server */
    uint32_t *heap;  /* ours; indices of servers */
    size_t cursor;   /* least_conn: where the last look began */
    uint64_t random; /* state of a generator that is good enough to spread load */
};

/* False when memory is short. seed: any number, different for each worker. */
bool balance_init(struct balance *balance, enum config_balance policy, struct server *servers, size_t servers_count,
                  uint64_t seed);
void balance_finish(struct balance *balance);

/* The next server that is in service, has room and is not among the first `tried_count` of `tried`; backups only when
 * no other is left; when no server at all is in service, also one that is down or ejected. NULL when there is none.
 * Changes the balance's state, not the server's. */
struct server *balance_pick(struct balance *balance, struct server *const *tried, size_t tried_count);
/* The same for a key's hash: the same server for the same key as long as it can be had, and when servers come or go
 * only their own keys move (rendezvous hashing). Looks at every server. */
struct server *balance_pick_by_key(struct balance *balance, uint64_t key, struct server *const *tried,
                                   size_t tried_count);

#endif
