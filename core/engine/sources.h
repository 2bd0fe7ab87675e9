/* Bounds on each source of clients: how many sessions it has at one time, and how often it may begin one. A source is a
 * block of addresses: a client's, with as many bits of it as the limits say. The table is shared by all workers and
 * bounded: it is cut into shards, each with a lock of its own, which a client takes once when it comes and once when it
 * goes.
 *
 * A source is forgotten when it has no session and might begin a whole burst of them again. When a shard is full the
 * one that has been without a session for longest is; and when all have some, whoever comes is let in without being
 * counted: so many sources are no matter of limits for one, and to refuse strangers would let one attacker keep
 * everybody out. */
#ifndef MOONRING_ENGINE_SOURCES_H
#define MOONRING_ENGINE_SOURCES_H

#include "base/cidr.h"
#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SOURCES_MAX = 64 * 1024 };

struct sources;

/* NULL: memory is short. seed: any number that clients cannot guess. */
struct sources *sources_create(uint64_t seed);
/* No session may be counted in it any more. NULL is fine. */
void sources_destroy(struct sources *sources);

enum { SOURCE_NONE = 0 };
/* Counts a client in, and stores where: sources_leave needs it, unless it is SOURCE_NONE. False: it is beyond the
 * limits. limits may be others with each call; sessions that were counted by a prefix of another length stay counted
 * there. Any thread; now_us: monotonic. */
bool sources_enter(struct sources *sources, const struct config_source_limits *limits, const struct cidr_ip *ip,
                   uint64_t now_us, uint32_t *source);
/* Its session is over. Any thread. */
void sources_leave(struct sources *sources, uint32_t source, uint64_t now_us);

/* All of these from any thread. */
uint32_t sources_count(const struct sources *sources);
/* Clients that were refused, and clients that were let in without being counted. */
uint64_t sources_refused(const struct sources *sources);
uint64_t sources_uncounted(const struct sources *sources);

#endif
