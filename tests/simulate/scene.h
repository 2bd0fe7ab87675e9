/* What one seed decides: how unkind the world is, what moonring's configuration says, who the servers are. */
#ifndef MOONRING_SIMULATE_SCENE_H
#define MOONRING_SIMULATE_SCENE_H

#include "config/config.h"
#include "host.h"
#include "part.h"
#include "place.h"
#include "random.h"
#include "world.h"

enum { SCENE_LISTENERS_MAX = 2, SCENE_BINDS_MAX = 2, SCENE_UPSTREAMS_MAX = 2, SCENE_SERVERS_MAX = 4 };

enum scene_end {
    SCENE_ENDS_WITH_CLIENTS, /* moonring is stopped once every client is over */
    SCENE_DRAINS,            /* it is told to stop while clients come and go */
    SCENE_CLOSES             /* and has to close its sessions at once */
};

/* Some of the neighbours from whom clients connect are denied. */
struct rules {
    struct admission admission;
    struct admission_rule items[PLACE_NEIGHBOURS];
    struct cidr_ip turns[2 * PLACE_NEIGHBOURS];
};

/* Which scenes have filters. */
enum scene_filters { FILTERS_SOMETIMES, FILTERS_NEVER, FILTERS_ALWAYS };

struct scene {
    struct world_options world;
    struct manners manners;
    struct config_listener listeners[SCENE_LISTENERS_MAX];
    struct config_bind binds[SCENE_LISTENERS_MAX][SCENE_BINDS_MAX];
    struct parts parts[SCENE_LISTENERS_MAX];   /* the filters of each listener */
    struct rules rules[SCENE_LISTENERS_MAX];   /* who is denied */
    struct rules trusted[SCENE_LISTENERS_MAX]; /* whose headers are believed */
    bool has_filters;
    size_t listeners_count;
    struct config_upstream upstreams[SCENE_UPSTREAMS_MAX];
    struct config_server servers[SCENE_UPSTREAMS_MAX][SCENE_SERVERS_MAX];
    struct host_options hosts[SCENE_UPSTREAMS_MAX][SCENE_SERVERS_MAX];
    size_t upstreams_count;
    uint64_t drain_timeout_ms;
    struct config_io io;
    uint32_t connections_max; /* of the process; 0: off */
    uint64_t arrival_us;      /* clients arrive within this time */
    enum scene_end end;
    uint64_t end_us;      /* when it is told to stop, if it is not the clients' end */
    uint64_t reload_us;   /* from one reload to the next */
    uint32_t acts_a_turn; /* struct worker_options */
    uint64_t kill_us;     /* an operator kills some session about so often; 0: none does */
};

/* Of the headers that the listener wants; 0: it wants none. */
unsigned scene_proxy_versions(const struct config_listener *listener);

/* Filters are drawn apart from the rest: a scene is the same without them. */
void scene_draw(struct scene *scene, uint64_t seed, enum scene_filters filters, const struct filter_calls *calls);

#endif
