/* What a session keeps of its listener's configuration. Immutable, each worker has its own; it outlives every session
 * that points to it. */
#ifndef MOONRING_ENGINE_SETTINGS_H
#define MOONRING_ENGINE_SETTINGS_H

#include "config/config.h"
#include "engine/ring.h"
#include "engine/upstream.h"

struct epoch;
struct listener;
struct sources;
struct tally_cells;

struct settings {
    struct epoch *epoch;
    const char *listener;        /* its name */
    struct listener *counted_by; /* where its sessions have a place; outlives it */
    size_t index;                /* of its filters on each worker */
    struct config_timeouts timeouts;
    struct kernel_tcp_options tcp;
    struct upstream *upstream;         /* NULL: a filter decides */
    size_t upstream_index;             /* of the worker's balance for it */
    uint64_t bandwidth;                /* bytes a second each way; 0: off */
    const struct admission *admission; /* who may come in; NULL: everybody */
    const struct admission *trusted;   /* who may say, in a PROXY header, that somebody else is the client */
    const struct config_source_limits *per_source;
    struct sources *sources;   /* outlives it; where per_source is counted; NULL: it is off */
    uint8_t proxy_versions;    /* of that header, which has to come first then; 0: there is none */
    struct tally_cells *tally; /* the listener's, of this worker; NULL: nobody counts */
};

/* Something depends on who the client is. */
static inline bool settings_judge(const struct settings *settings) {
    return settings->admission != NULL || settings->sources != NULL;
}

struct kernel_tcp_options settings_tcp(const struct config_tcp *config);

/* Points into config and upstreams, which must outlive it. */
void settings_init(struct settings *settings, const struct config_listener *listener, size_t index,
                   struct upstream *upstreams);

#endif
