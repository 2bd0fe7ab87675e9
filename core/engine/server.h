/* One member of an upstream, as a generation of the configuration has it, and what outlives generations: its state. All
 * workers share both, so what changes is atomic. */
#ifndef MOONRING_ENGINE_SERVER_H
#define MOONRING_ENGINE_SERVER_H

#include "base/address.h"
#include "engine/health.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_state {
    _Atomic uint32_t references;      /* generations that have this server, and its ward */
    _Atomic uint32_t active;          /* sessions that connect or are connected */
    _Atomic uint64_t connected_total; /* tries that succeeded */
    _Atomic uint64_t failed_total;    /* tries that did not */
    atomic_bool failing;              /* the last try failed, and that was logged */
    _Atomic uint32_t failures;        /* tries since the last one that succeeded, over all workers */
    _Atomic int32_t failure;          /* the errno of the last one that did not */
    struct ward *ward;                /* what the control thread keeps about it; NULL: nothing */
    struct health health;
};

struct server {
    char *name;         /* ours */
    char *address_text; /* ours; for logs */
    struct address address;
    uint32_t weight;
    uint32_t connections_max; /* 0: off */
    bool backup;
    uint32_t failures_max;      /* in a row, then it is looked at: outlier_detection; 0: off */
    struct server_state *state; /* counted */
};

/* How much of its name the configuration has: all of it, unless its host name has several addresses: then the address
 * stands behind it, as in `db.internal:5432/10.0.0.1:5432`. */
size_t server_configured_size(const struct server *server);

/* One reference less; the last one frees it. NULL is fine. Not on a worker's thread. */
void server_state_drop(struct server_state *state);

/* Counts one more session, unless the server has connections_max already: then false. */
bool server_enter(struct server *server);
void server_leave(struct server *server);
bool server_has_room(const struct server *server);

/* Nothing speaks against it. */
bool server_is_in_service(const struct server *server);
/* Something speaks against each of them. */
bool servers_are_out(const struct server *servers, size_t count);
/* Its share of the sessions: the weight that the configuration or an operator gives it, times a hundred. */
uint32_t server_full_share(const struct server *server);
/* The same, and less while it has just returned. */
uint32_t server_share(const struct server *server);

/* An errno of connecting that tells of want on our side (ports, descriptors, memory): it says nothing about the server.
 * EAGAIN is among them, also that of a unix socket whose queue is full. */
bool failure_is_ours(int error);
/* A try to connect to it has failed, or succeeded. True: the control thread should look at it (outlier.h). */
bool server_note_failure(struct server *server, int error);
bool server_note_success(struct server *server);

/* What it has to tell, in plain numbers. */
struct server_numbers {
    uint32_t out; /* enum health_out; 0: in service */
    uint32_t weight;
    uint32_t share; /* percent of the weight that it has at the moment */
    uint32_t active;
    uint64_t connected_total;
    uint64_t failed_total;
    uint64_t checks_passed_total;
    uint64_t checks_failed_total;
    uint64_t ejections_total;
    uint64_t changed_ms; /* when it went out of service or came back; milliseconds of the monotonic clock; 0: never */
};
/* Any thread, as long as the generation stays that the server is of. */
struct server_numbers server_numbers(const struct server *server);

#endif
