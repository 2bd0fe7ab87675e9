/* One member of an upstream, as a generation of the configuration has it, and what outlives generations: its state. All
 * workers share both, so what changes is atomic. */
#ifndef MOONRING_ENGINE_SERVER_H
#define MOONRING_ENGINE_SERVER_H

#include "base/address.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct server_state {
    uint32_t references;              /* generations that have this server; the control thread's */
    _Atomic uint32_t active;          /* sessions that connect or are connected */
    _Atomic uint64_t connected_total; /* tries that succeeded */
    _Atomic uint64_t failed_total;    /* tries that did not */
    atomic_bool failing;              /* the last try failed, and that was logged */
};

struct server {
    char *name;         /* ours */
    char *address_text; /* ours; for logs */
    struct address address;
    uint32_t weight;
    uint32_t connections_max; /* 0: off */
    bool backup;
    struct server_state *state; /* counted */
};

/* Counts one more session, unless the server has connections_max already: then false. */
bool server_enter(struct server *server);
void server_leave(struct server *server);
bool server_has_room(const struct server *server);

#endif
