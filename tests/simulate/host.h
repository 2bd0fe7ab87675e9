/* A server's address: whether it answers who connects, and which part the server plays that is then accepted. Also: how
 * parts are drawn. */
#ifndef MOONRING_SIMULATE_HOST_H
#define MOONRING_SIMULATE_HOST_H

#include "actor.h"
#include "event.h"
#include "place.h"
#include "random.h"

#include <stdint.h>

/* What kinds of parts there are in a world; drawn once from its seed. Chances are per mille. */
struct manners {
    uint64_t bytes_max; /* that most send */
    uint64_t bulk_max;  /* that some send, as fast as they can */
    uint32_t bulk_chance;
    uint32_t silent_chance; /* sends nothing */
    uint32_t slow_chance;   /* pauses while it writes or reads */
    uint32_t deaf_chance;   /* stops reading at some byte */
    uint32_t rude_chance;   /* does not end in order */
    uint32_t waits_chance;  /* wants to hear something first */
    uint32_t pause_us_max;
    uint64_t patience_us_max;
};

void manners_draw(struct manners *manners, struct random *random);
struct actor_plan plan_draw(const struct manners *manners, struct world *world);

struct host_options {
    struct address address;
    uint32_t refuse_chance;
    uint32_t ignore_chance;
    uint32_t unreachable_chance;
    uint32_t accept_delay_us_max;
    uint32_t backlog;
    unsigned proxy_version; /* of the header that comes first; 0: none does */
};

struct host {
    struct cast *cast;
    const struct manners *manners;
    struct host_options options;
    struct place place;
    struct event accept;
};

/* Its place in memory must not change. */
void host_open(struct host *host, struct cast *cast, const struct manners *manners, const struct host_options *options);
void host_close(struct host *host);

#endif
