/* What operators want of servers: remembered by name, for as long as the process lives. Servers come and go with
 * reloads, and host names change their addresses; who was drained is drained when he is there again. On the control
 * thread. */
#ifndef MOONRING_PROGRAM_STANDING_ORDERS_H
#define MOONRING_PROGRAM_STANDING_ORDERS_H

#include "engine/upstream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STANDING_ORDERS_MAX = 16 * 1024 };

enum standing_kind {
    STANDING_OUT,    /* HEALTH_DRAINED, HEALTH_DISABLED, or 0 */
    STANDING_WEIGHT, /* 0: the configured one */
    STANDING_KINDS,
};

struct standing_order {
    char *upstream;                  /* ours, as the others */
    char *server;                    /* as the configuration names it */
    char *address;                   /* of that server the one with this address; "": whatever it has */
    uint32_t wanted[STANDING_KINDS]; /* all 0: an exception from what is wanted of the others */
    uint64_t generation;             /* the last one that has such a server */
};

struct standing_orders {
    struct standing_order *items; /* ours; sorted */
    size_t count;
    size_t capacity;
};

void standing_orders_init(struct standing_orders *orders);
void standing_orders_finish(struct standing_orders *orders);

/* Whose order it is: one server of a generation, or all that the configuration means by that server's name. */
struct standing_place {
    const struct upstream *upstream;
    const struct server *server;
    uint64_t generation;
    bool is_one;
};
/* Another wish instead of what was wanted before; an order for all holds for each of them. False: there is no room, and
 * nothing was done. */
bool standing_orders_note(struct standing_orders *orders, const struct standing_place *place, enum standing_kind kind,
                          uint32_t value);
/* What is wanted of the server, which the generation has. NULL: nothing. */
const struct standing_order *standing_orders_find(struct standing_orders *orders, const struct standing_place *place);

/* Ends what was wanted of a server that the generation does not have: UPSTREAM/SERVER or UPSTREAM/SERVER/ADDRESS.
 * False: nothing was. */
bool standing_orders_forget(struct standing_orders *orders, const char *name, enum standing_kind kind,
                            uint64_t generation);

#endif
