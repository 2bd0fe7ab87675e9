#include "engine/upstream.h"

#include <stdlib.h>
#include <string.h>

static bool server_init(struct server *server, const struct upstream_member *member) {
    char text[ADDRESS_TEXT_MAX];
    address_format(member->address, text, sizeof text);
    server->name = strdup(member->name);
    server->address_text = strdup(text);
    server->address = *member->address;
    server->weight = member->config->weight;
    server->connections_max = member->config->connections_max;
    server->backup = member->config->backup;
    return server->name != NULL && server->address_text != NULL;
}

bool upstream_init(struct upstream *upstream, const struct config_upstream *config,
                   const struct upstream_member *members, size_t members_count) {
    *upstream = (struct upstream){.name = strdup(config->name),
                                  .servers = calloc(members_count, sizeof *upstream->servers),
                                  .servers_count = members_count,
                                  .balance = config->balance,
                                  .retry_attempts = config->retry_attempts,
                                  .retry_backoff_ms = config->retry_backoff_ms,
                                  .connect_ms = config->connect_ms};
    if (upstream->name == NULL || upstream->servers == NULL) {
        upstream->servers_count = 0;
        return false;
    }
    for (size_t i = 0; i < members_count; i++) {
        if (!server_init(&upstream->servers[i], &members[i])) {
            return false;
        }
    }
    return true;
}

void upstream_finish(struct upstream *upstream) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        free(upstream->servers[i].name);
        free(upstream->servers[i].address_text);
    }
    free(upstream->servers);
    free(upstream->name);
}
