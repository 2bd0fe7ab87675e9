/* A worker in a world, as a rule one where everything happens at once and wholly, to find out what relaying costs: two
 * listeners, the second one with filters, and one server. Client and server of a session are the two streams of a pair,
 * written and read by the test itself. */
#ifndef MOONRING_SIMULATE_ARENA_H
#define MOONRING_SIMULATE_ARENA_H

#include "engine/worker.h"
#include "place.h"
#include "world.h"

enum arena_side { ARENA_PLAIN, ARENA_FILTERED, ARENA_SIDES };

/* One session, seen from both its ends. */
struct pair {
    struct connect connect;
    struct stream *client;
    struct stream *server;
};

struct arena {
    struct world *world;
    struct place place; /* the server's */
    struct config_server server;
    struct upstream upstream;
    struct config_bind binds[ARENA_SIDES];
    struct config_listener configs[ARENA_SIDES];
    struct filter_list lists[ARENA_SIDES];
    struct listener listeners[ARENA_SIDES];
    struct quota process;
    struct epoch *epoch;
    struct config_io io;
    struct worker worker;
    _Atomic uint64_t session_ids;
};

/* In this order: the world (NULL: a kind one); the worker, who accepts nobody yet; and now it does. */
void arena_open(struct arena *arena, const struct world_options *options);
void arena_begin(struct arena *arena, const struct filter_list *filters, bool splice);
void arena_listen(struct arena *arena);
/* The sessions, whose streams must be closed, end, and with them the worker; then the world. */
void arena_stop(struct arena *arena);
void arena_close(struct arena *arena);
void arena_turn(struct arena *arena);
/* A turn that waits for something to happen, so long at most. */
void arena_wait(struct arena *arena, uint64_t wait_us);

/* A client connects, and the worker to the server. */
void pair_open(struct arena *arena, struct pair *pair, enum arena_side side);
/* Both ends are closed: the session ends with the next turns. */
void pair_close(struct pair *pair);

#endif
