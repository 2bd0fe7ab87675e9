#include "program/limiters.h"

#include "engine/ring.h"

#include <stdlib.h>
#include <string.h>

struct limiter {
    struct sources *sources; /* ours */
    uint32_t references;
    bool is_taken; /* by the configuration that is being prepared: no two listeners inherit one table */
};

static bool has_address(const struct config_listener *listener, const struct address *address) {
    for (size_t i = 0; i < listener->binds_count; i++) {
        if (address_equal(&listener->binds[i].address, address)) {
            return true;
        }
    }
    return false;
}

/* Port 0 is another one each time. */
static bool shares_address(const struct config_listener *listener, const struct config_listener *before) {
    for (size_t i = 0; i < listener->binds_count; i++) {
        const struct address *address = &listener->binds[i].address;
        bool is_fixed = address_is_unix(address) || address_port(address) != 0;
        if (is_fixed && has_address(before, address)) {
            return true;
        }
    }
    return false;
}

static bool has_name(const struct config_listener *listener, const struct config_listener *before) {
    return strcmp(listener->name, before->name) == 0;
}

static struct limiter *find_like(const struct limiters *before, const struct config *config_before,
                                 const struct config_listener *listener,
                                 bool (*is_like)(const struct config_listener *, const struct config_listener *)) {
    for (size_t i = 0; i < before->count; i++) {
        struct limiter *limiter = before->items[i];
        if (limiter != NULL && !limiter->is_taken && is_like(listener, &config_before->listeners[i])) {
            return limiter;
        }
    }
    return NULL;
}

static struct limiter *limiter_create(void) {
    struct limiter *limiter = calloc(1, sizeof *limiter);
    if (limiter != NULL && (limiter->sources = sources_create(kernel_random())) == NULL) {
        free(limiter);
        return NULL;
    }
    return limiter;
}

static void take(struct limiters *limiters, size_t index, struct limiter *limiter) {
    if (limiter != NULL) {
        limiter->is_taken = true;
        limiter->references++;
        limiters->items[index] = limiter;
    }
}

/* First who keeps an address, then who keeps a name only. */
static void inherit(struct limiters *limiters, const struct config *config, const struct limiters *before,
                    const struct config *config_before) {
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < config->listeners_count; i++) {
            const struct config_listener *listener = &config->listeners[i];
            if (listener->limits_sources && limiters->items[i] == NULL) {
                take(limiters, i, find_like(before, config_before, listener, round == 0 ? shares_address : has_name));
            }
        }
    }
}

bool limiters_take(struct limiters *limiters, const struct config *config, const struct limiters *before,
                   const struct config *config_before) {
    bool taken = true;
    *limiters = (struct limiters){.items = calloc(config->listeners_count, sizeof(struct limiter *)),
                                  .count = config->listeners_count};
    if (limiters->items == NULL) {
        limiters->count = 0;
        return false;
    }
    if (before != NULL) {
        inherit(limiters, config, before, config_before);
    }
    for (size_t i = 0; taken && i < config->listeners_count; i++) {
        if (config->listeners[i].limits_sources && limiters->items[i] == NULL) {
            take(limiters, i, limiter_create());
            taken = limiters->items[i] != NULL;
        }
    }
    for (size_t i = 0; i < limiters->count; i++) {
        if (limiters->items[i] != NULL) {
            limiters->items[i]->is_taken = false;
        }
    }
    return taken;
}

void limiters_drop(struct limiters *limiters) {
    for (size_t i = 0; i < limiters->count; i++) {
        struct limiter *limiter = limiters->items[i];
        if (limiter != NULL && --limiter->references == 0) {
            sources_destroy(limiter->sources);
            free(limiter);
        }
    }
    free(limiters->items);
    *limiters = (struct limiters){.items = NULL};
}

struct sources *limiters_sources(const struct limiters *limiters, size_t listener) {
    return limiters->items[listener] == NULL ? NULL : limiters->items[listener]->sources;
}
