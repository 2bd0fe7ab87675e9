/* A named group of servers, in one generation of the configuration; shared by all workers. */
#ifndef MOONRING_ENGINE_UPSTREAM_H
#define MOONRING_ENGINE_UPSTREAM_H

#include "config/config.h"
#include "engine/balance.h"
#include "engine/server.h"
#include "engine/tally.h"

struct upstream {
    char *name;             /* ours */
    struct server *servers; /* ours */
    size_t servers_count;
    enum config_balance balance;
    uint32_t retry_attempts;
    uint64_t retry_backoff_ms;
    uint8_t proxy_version; /* of the header that each connection to a server begins with; 0: none */
    uint64_t connect_ms;   /* UINT64_MAX: the listener's holds */
    struct config_health health;
    struct tally *tally; /* counted */
};

/* A server as it is known once names have been looked up. */
struct upstream_member {
    const char *name;
    const struct address *address;
    const struct config_server *config;
};

/* Copies what it needs. before: the same upstream in an earlier generation, whose tally goes on and whose servers of
 * the same configured name and address keep their state, or NULL. False when memory is short; upstream_finish is due
 * then, too. On the control thread, as upstream_finish. */
bool upstream_init(struct upstream *upstream, const struct config_upstream *config,
                   const struct upstream_member *members, size_t members_count, const struct upstream *before);
void upstream_finish(struct upstream *upstream);

#endif
