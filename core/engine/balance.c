#include "engine/balance.h"

#include "base/bytes.h"

#include <math.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

bool balance_init(struct balance *balance, enum config_balance policy, struct server *servers, size_t servers_count,
                  uint64_t seed) {
    *balance = (struct balance){.policy = policy, .servers = servers, .servers_count = servers_count, .random = seed};
    balance->credits = calloc(servers_count, sizeof *balance->credits);
    return balance->credits != NULL;
}

void balance_finish(struct balance *balance) {
    free(balance->credits);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t balance_random(struct balance *balance) {
    uint64_t value = balance->random += 0x9e3779b97f4a7c15U;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
    return value ^ (value >> 31);
}

struct choice {
    struct server *const *tried;
    size_t tried_count;
    bool backup;
    bool desperate; /* also those that are down */
};

/* An operator's word holds in any case. */
static bool is_in_question(const struct server *server, bool desperate) {
    uint32_t out = atomic_load_explicit(&server->state->health.out, memory_order_relaxed);
    return out == 0 || (desperate && (out & HEALTH_BY_OPERATOR) == 0);
}

static bool is_candidate(const struct server *server, const struct choice *choice) {
    if (server->backup != choice->backup || !is_in_question(server, choice->desperate) || !server_has_room(server)) {
        return false;
    }
    for (size_t i = 0; i < choice->tried_count; i++) {
        if (choice->tried[i] == server) {
            return false;
        }
    }
    return true;
}

/* Smooth weighted round robin: each round every candidate earns its weight, the richest is chosen and pays what all
 * earned. Servers of weights 5 and 1 come as aaabaa, not as aaaaab. */
static struct server *pick_round_robin(struct balance *balance, const struct choice *choice) {
    struct server *best = NULL;
    int64_t earned = 0;
    for (size_t i = 0; i < balance->servers_count; i++) {
        struct server *server = &balance->servers[i];
        if (!is_candidate(server, choice)) {
            continue;
        }
        uint32_t share = server_share(server);
        balance->credits[i] += share;
        earned += share;
        if (best == NULL || balance->credits[i] > balance->credits[best - balance->servers]) {
            best = server;
        }
    }
    if (best != NULL) {
        balance->credits[best - balance->servers] -= earned;
    }
    return best;
}

/* Fewest sessions for its weight; among equals the one that round robin would take, so that an idle upstream's first
 * server does not get everything. */
static bool is_less_loaded(const struct server *a, const struct server *b) {
    uint64_t active_a = atomic_load_explicit(&a->state->active, memory_order_relaxed);
    uint64_t active_b = atomic_load_explicit(&b->state->active, memory_order_relaxed);
    return active_a * server_share(b) < active_b * server_share(a);
}

static struct server *pick_least_conn(struct balance *balance, const struct choice *choice) {
    struct server *best = NULL;
    size_t start = balance->servers_count == 0 ? 0 : (size_t)balance->credits[0]++ % balance->servers_count;
    for (size_t i = 0; i < balance->servers_count; i++) {
        struct server *server = &balance->servers[(start + i) % balance->servers_count];
        if (is_candidate(server, choice) && (best == NULL || is_less_loaded(server, best))) {
            best = server;
        }
    }
    return best;
}

static struct server *pick_random(struct balance *balance, const struct choice *choice) {
    uint64_t weights = 0;
    for (size_t i = 0; i < balance->servers_count; i++) {
        weights += is_candidate(&balance->servers[i], choice) ? server_share(&balance->servers[i]) : 0;
    }
    if (weights == 0) {
        return NULL;
    }
    uint64_t ticket = balance_random(balance) % weights;
    struct server *last = NULL;
    for (size_t i = 0; i < balance->servers_count; i++) {
        struct server *server = &balance->servers[i];
        if (!is_candidate(server, choice)) {
            continue; /* another worker may have filled it since: then `last` is taken */
        }
        last = server;
        uint32_t share = server_share(server);
        if (ticket < share) {
            break;
        }
        ticket -= share;
    }
    return last;
}

static struct server *pick_first(struct balance *balance, const struct choice *choice) {
    for (size_t i = 0; i < balance->servers_count; i++) {
        if (is_candidate(&balance->servers[i], choice)) {
            return &balance->servers[i];
        }
    }
    return NULL;
}

static struct server *pick(struct balance *balance, const struct choice *choice) {
    switch (balance->policy) {
    case BALANCE_ROUND_ROBIN:
        return pick_round_robin(balance, choice);
    case BALANCE_LEAST_CONN:
        return pick_least_conn(balance, choice);
    case BALANCE_RANDOM:
        return pick_random(balance, choice);
    case BALANCE_FIRST:
        return pick_first(balance, choice);
    }
    return NULL;
}

/* A server's draw for a key: the lowest wins; a heavier server draws lower. */
static double draw(const struct server *server, uint64_t key) {
    uint64_t mixed = (bytes_hash(server->name, strlen(server->name)) ^ key) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xd6e8feb86659fd93);
    double uniform = ((double)(mixed >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
    return -log(uniform) / server_share(server);
}

static struct server *pick_by_key(const struct balance *balance, uint64_t key, const struct choice *choice) {
    struct server *best = NULL;
    double lowest = 0;
    for (size_t i = 0; i < balance->servers_count; i++) {
        struct server *server = &balance->servers[i];
        double drawn = is_candidate(server, choice) ? draw(server, key) : 0;
        if (drawn > 0 && (best == NULL || drawn < lowest)) {
            best = server;
            lowest = drawn;
        }
    }
    return best;
}

/* --- who is asked first ------------------------------------------------------------------------------------------ */

static bool nobody_is_in_service(const struct balance *balance) {
    for (size_t i = 0; i < balance->servers_count; i++) {
        if (server_is_in_service(&balance->servers[i])) {
            return false;
        }
    }
    return true;
}

/* For a key, or NULL. */
static struct server *pick_any(struct balance *balance, const uint64_t *key, const struct choice *choice) {
    return key == NULL ? pick(balance, choice) : pick_by_key(balance, *key, choice);
}

/* Backups come after all others. When nobody is in service, those that are down are tried anyway: it can become no
 * worse, and checks may be wrong about all of them at once (decisions/0011). */
static struct server *pick_in_order(struct balance *balance, const uint64_t *key, struct server *const *tried,
                                    size_t tried_count) {
    struct choice choice = {.tried = tried, .tried_count = tried_count};
    struct server *server = pick_any(balance, key, &choice);
    if (server == NULL) {
        choice.backup = true;
        server = pick_any(balance, key, &choice);
    }
    if (server == NULL && nobody_is_in_service(balance)) {
        choice = (struct choice){.tried = tried, .tried_count = tried_count, .desperate = true};
        server = pick_any(balance, key, &choice);
        choice.backup = true;
        server = server != NULL ? server : pick_any(balance, key, &choice);
    }
    return server;
}

struct server *balance_pick_by_key(struct balance *balance, uint64_t key, struct server *const *tried,
                                   size_t tried_count) {
    return pick_in_order(balance, &key, tried, tried_count);
}

struct server *balance_pick(struct balance *balance, struct server *const *tried, size_t tried_count) {
    return pick_in_order(balance, NULL, tried, tried_count);
}
