#include "program/resolve.h"

#include "base/check.h"
#include "base/log.h"
#include "config/place.h"
#include "program/lookup.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_MAX_PER_NAME = 64 };

/* What becomes of one upstream while its names are looked up. */
struct members {
    struct upstream_member *items; /* ours; their names and addresses too */
    size_t count;
    size_t capacity;
};

static void members_finish(struct members *members) {
    for (size_t i = 0; i < members->count; i++) {
        free((void *)(uintptr_t)members->items[i].name);
        free((void *)(uintptr_t)members->items[i].address);
    }
    free(members->items);
}

/* Takes over `name`, which may be NULL when memory ran out. */
static bool members_append(struct members *members, char *name, const struct address *address,
                           const struct config_server *config) {
    if (members->count == members->capacity) {
        size_t capacity = members->capacity * 2 + 8;
        struct upstream_member *items = realloc(members->items, capacity * sizeof *items);
        if (items == NULL) {
            free(name);
            return false;
        }
        members->items = items;
        members->capacity = capacity;
    }
    struct address *copy = malloc(sizeof *copy);
    if (copy == NULL || name == NULL) {
        free(copy);
        free(name);
        return false;
    }
    *copy = *address;
    members->items[members->count++] = (struct upstream_member){.name = name, .address = copy, .config = config};
    return true;
}

static char *member_name(const char *name, const struct address *address) {
    char text[ADDRESS_TEXT_MAX];
    char *joined = NULL;
    address_format(address, text, sizeof text);
    return asprintf(&joined, "%s/%s", name, text) < 0 ? NULL : joined;
}

static bool append_found(struct members *members, const struct config_server *server, const struct addrinfo *found) {
    bool several = found->ai_next != NULL;
    size_t count = 0;
    for (const struct addrinfo *entry = found; entry != NULL && count < MEMBERS_MAX_PER_NAME; entry = entry->ai_next) {
        struct address address = {.length = entry->ai_addrlen};
        memcpy(&address.any, entry->ai_addr, entry->ai_addrlen);
        address_set_port(&address, server->port);
        char *name = several ? member_name(server->name, &address) : strdup(server->name);
        if (!members_append(members, name, &address, server)) {
            return false;
        }
        count++;
    }
    return true;
}

static bool append_host(struct members *members, const struct config_server *server, const atomic_bool *give_up,
                        struct error *error) {
    struct addrinfo *found;
    int result = lookup_run(server->host, give_up, &found);
    if (result == EAI_CANCELED) {
        return error_set(error, "moonring is stopping");
    }
    if (result != 0) {
        char place[CONFIG_PLACE_MAX];
        config_place_format(&server->place, place, sizeof place);
        return error_set(error, "%s: the name \"%s\" of a server cannot be looked up: %s", place, server->host,
                         gai_strerror(result));
    }
    bool appended = append_found(members, server, found);
    freeaddrinfo(found);
    return appended || error_set(error, "no memory for the addresses of \"%s\"", server->host);
}

static bool members_of(const struct config_upstream *config, struct members *members, const atomic_bool *give_up,
                       struct error *error) {
    for (size_t i = 0; i < config->servers_count; i++) {
        const struct config_server *server = &config->servers[i];
        if (server->host != NULL) {
            if (!append_host(members, server, give_up, error)) {
                return false;
            }
        } else if (!members_append(members, strdup(server->name), &server->address, server)) {
            return error_set(error, "no memory for the servers of \"%s\"", config->name);
        }
    }
    return true;
}

/* By name: that is what an upstream is known by. */
static const struct upstream *find_before(const struct config *config, const struct upstream *upstreams,
                                          const char *name) {
    for (size_t i = 0; config != NULL && i < config->upstreams_count; i++) {
        if (strcmp(upstreams[i].name, name) == 0) {
            return &upstreams[i];
        }
    }
    return NULL;
}

static bool upstream_create(struct upstream *upstream, const struct config_upstream *config,
                            const struct upstream *before, const atomic_bool *give_up, struct error *error) {
    struct members members = {.items = NULL};
    bool made = members_of(config, &members, give_up, error);
    if (made && !upstream_init(upstream, config, members.items, members.count, before)) {
        made = error_set(error, "no memory for the upstream \"%s\"", config->name);
    }
    members_finish(&members);
    return made;
}

struct upstream *upstreams_create(const struct config *config, const struct config *config_before,
                                  const struct upstream *upstreams_before, const atomic_bool *give_up,
                                  struct error *error) {
    size_t count = config->upstreams_count;
    struct upstream *upstreams = calloc(count > 0 ? count : 1, sizeof *upstreams);
    if (upstreams == NULL) {
        error_set(error, "no memory for the upstreams");
        return NULL;
    }
    for (size_t i = 0; i < config->upstreams_count; i++) {
        const struct upstream *before = find_before(config_before, upstreams_before, config->upstreams[i].name);
        if (!upstream_create(&upstreams[i], &config->upstreams[i], before, give_up, error)) {
            upstreams_destroy(upstreams, config->upstreams_count);
            return NULL;
        }
    }
    return upstreams;
}

void upstreams_destroy(struct upstream *upstreams, size_t count) {
    for (size_t i = 0; upstreams != NULL && i < count; i++) {
        upstream_finish(&upstreams[i]);
    }
    free(upstreams);
}
