#include "engine/upstream.h"

#include "protocol/proxy_header.h"

#include <stdlib.h>
#include <string.h>

/* The addresses first: they differ soon. */
static bool is_same(const struct server *one, const struct server *other) {
    if (!address_equal(&one->address, &other->address)) {
        return false;
    }
    size_t size = server_configured_size(one);
    return size == server_configured_size(other) && memcmp(one->name, other->name, size) == 0;
}

/* What outlives a reload: counts, and whether it answers. A host name that gets a second address keeps it for the first
 * one. */
static struct server_state *find_state(const struct upstream *before, const struct server *server) {
    for (size_t i = 0; before != NULL && i < before->servers_count; i++) {
        const struct server *old = &before->servers[i];
        if (is_same(old, server)) {
            return old->state;
        }
    }
    return NULL;
}

static bool server_init_state(struct server *server, const struct upstream *before) {
    server->state = find_state(before, server);
    if (server->state == NULL) {
        server->state = calloc(1, sizeof *server->state);
    }
    if (server->state == NULL) {
        return false;
    }
    atomic_fetch_add(&server->state->references, 1);
    return true;
}

static void server_finish(struct server *server) {
    server_state_drop(server->state);
    free(server->name);
    free(server->address_text);
}

static bool server_init(struct server *server, const struct upstream_member *member, const struct upstream *before) {
    char text[ADDRESS_TEXT_MAX];
    address_format(member->address, text, sizeof text);
    server->name = strdup(member->name);
    server->address_text = strdup(text);
    server->address = *member->address;
    server->weight = member->config->weight;
    server->connections_max = member->config->connections_max;
    server->backup = member->config->backup;
    return server->name != NULL && server->address_text != NULL && server_init_state(server, before);
}

static uint8_t upstream_proxy_version(enum config_proxy_send send) {
    switch (send) {
    case PROXY_SEND_V1:
        return PROXY_V1;
    case PROXY_SEND_V2:
        return PROXY_V2;
    case PROXY_SEND_OFF:
        break;
    }
    return 0;
}

bool upstream_init(struct upstream *upstream, const struct config_upstream *config,
                   const struct upstream_member *members, size_t members_count, const struct upstream *before) {
    *upstream = (struct upstream){.name = strdup(config->name),
                                  .servers = calloc(members_count, sizeof *upstream->servers),
                                  .servers_count = members_count,
                                  .balance = config->balance,
                                  .proxy_version = upstream_proxy_version(config->proxy_protocol),
                                  .retry_attempts = config->retry_attempts,
                                  .retry_backoff_ms = config->retry_backoff_ms,
                                  .connect_ms = config->connect_ms,
                                  .health = config->health,
                                  .tally = before == NULL ? tally_create() : tally_hold(before->tally)};
    if (upstream->name == NULL || upstream->servers == NULL || upstream->tally == NULL) {
        upstream->servers_count = 0;
        return false;
    }
    for (size_t i = 0; i < members_count; i++) {
        struct server *server = &upstream->servers[i];
        if (!server_init(server, &members[i], before)) {
            return false;
        }
        server->failures_max = config->health.outlier.on ? config->health.outlier.consecutive_failures : 0;
    }
    return true;
}

void upstream_finish(struct upstream *upstream) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        server_finish(&upstream->servers[i]);
    }
    tally_drop(upstream->tally);
    free(upstream->servers);
    free(upstream->name);
}
