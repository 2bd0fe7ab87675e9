#include "engine/balance.h"

#include "base/bytes.h"

#include <math.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* From one turn to the next of a server with a share of 1, in units of `due`. */
static const uint64_t TURN = UINT64_C(1) << 40;
/* Of very many servers, least_conn compares so many, the next time the next ones, and random draws among so many. */
enum { LOOKS_MAX = 128 };

/* --- the heap of who is due ------------------------------------------------------------------------------------- */

static bool is_due_before(const struct balance *balance, uint32_t a, uint32_t b) {
    int64_t later = (int64_t)(balance->due[a] - balance->due[b]); /* (in weeks the numbers come round) */
    return later != 0 ? later < 0 : a < b;
}

static void heap_swap(struct balance *balance, size_t a, size_t b) {
    uint32_t index = balance->heap[a];
    balance->heap[a] = balance->heap[b];
    balance->heap[b] = index;
}

/* The one at `place` is new; those before it are in order. */
static void heap_rise(struct balance *balance, size_t place) {
    while (place > 0 && is_due_before(balance, balance->heap[place], balance->heap[(place - 1) / 2])) {
        heap_swap(balance, place, (place - 1) / 2);
        place = (place - 1) / 2;
    }
}

/* The first of `count` is new; the others are in order. */
static void heap_sink(struct balance *balance, size_t count) {
    size_t place = 0;
    for (size_t child = 1; child < count; child = 2 * place + 1) {
        if (child + 1 < count && is_due_before(balance, balance->heap[child + 1], balance->heap[child])) {
            child++;
        }
        if (!is_due_before(balance, balance->heap[child], balance->heap[place])) {
            return;
        }
        heap_swap(balance, place, child);
        place = child;
    }
}

/* One is first due after the other, evenly over a turn, so that the light ones do not all come at once. */
static void heap_init(struct balance *balance) {
    for (size_t i = 0; i < balance->servers_count; i++) {
        double place = ((double)i + 0.5) / (double)balance->servers_count;
        balance->due[i] = (uint64_t)(place * (double)(TURN / server_full_share(&balance->servers[i])));
        balance->heap[i] = (uint32_t)i;
        heap_rise(balance, i);
    }
}

/* --- policies --------------------------------------------------------------------------------------------------- */

bool balance_init(struct balance *balance, enum config_balance policy, struct server *servers, size_t servers_count,
                  uint64_t seed) {
    *balance = (struct balance){.policy = policy, .servers = servers, .servers_count = servers_count, .random = seed};
    balance->due = calloc(servers_count, sizeof *balance->due);
    balance->heap = calloc(servers_count, sizeof *balance->heap);
    if (balance->due == NULL || balance->heap == NULL) {
        balance_finish(balance);
        return false;
    }
    heap_init(balance);
    return true;
}

void balance_finish(struct balance *balance) {
    free(balance->due);
    free(balance->heap);
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

/* Who has just returned lets most of its turns pass. */
static bool takes_its_turn(struct balance *balance, const struct server *server) {
    uint32_t whole = server_full_share(server);
    uint32_t share = server_share(server);
    return share == whole || balance_random(balance) % whole < share;
}

/* Weighted round robin: a server of weight 3 is due three times while one of weight 1 is due once, at even distances;
 * who is due first is chosen. Servers of weights 5, 1 and 1 come as aaabaac. Who cannot be chosen misses its
 * turn: it is put behind the heap's end, so that each is looked at once. */
static struct server *pick_round_robin(struct balance *balance, const struct choice *choice) {
    size_t left = balance->servers_count;
    struct server *best = NULL;
    struct server *second = NULL;
    while (left > 0 && best == NULL) {
        struct server *server = &balance->servers[balance->heap[0]];
        bool can = is_candidate(server, choice);
        if (can && takes_its_turn(balance, server)) {
            best = server;
        } else {
            second = can && second == NULL ? server : second;
        }
        heap_swap(balance, 0, --left);
        heap_sink(balance, left);
    }
    for (; left < balance->servers_count; left++) {
        uint32_t index = balance->heap[left];
        balance->due[index] += TURN / server_full_share(&balance->servers[index]);
        heap_rise(balance, left);
    }
    return best != NULL ? best : second;
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
    size_t count = balance->servers_count;
    size_t start = count == 0 ? 0 : balance->cursor++ % count;
    size_t looks = 0;
    for (size_t i = 0; i < count && looks < LOOKS_MAX; i++) {
        struct server *server = &balance->servers[(start + i) % count];
        if (is_candidate(server, choice)) {
            looks++;
            best = best == NULL || is_less_loaded(server, best) ? server : best;
        }
    }
    balance->cursor += looks == LOOKS_MAX ? LOOKS_MAX - 1 : 0;
    return best;
}

/* Adds up the shares of candidates from `start` on until there are enough of them, or the sum exceeds the ticket: that
 * one holds it. */
static struct server *find_holder(const struct balance *balance, size_t start, const struct choice *choice,
                                  uint64_t ticket, uint64_t *shares) {
    struct server *last = NULL;
    size_t looks = 0;
    *shares = 0;
    for (size_t i = 0; i < balance->servers_count && looks < LOOKS_MAX && *shares <= ticket; i++) {
        struct server *server = &balance->servers[(start + i) % balance->servers_count];
        if (is_candidate(server, choice)) {
            looks++;
            last = server;
            *shares += server_share(server);
        }
    }
    return last;
}

static struct server *pick_random(struct balance *balance, const struct choice *choice) {
    size_t start = balance->servers_count == 0 ? 0 : balance_random(balance) % balance->servers_count;
    uint64_t shares = 0;
    if (find_holder(balance, start, choice, UINT64_MAX, &shares) == NULL) {
        return NULL;
    }
    uint64_t ticket = balance_random(balance) % shares;
    return find_holder(balance, start, choice, ticket, &shares); /* (another worker may have filled it since) */
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
    if (server == NULL && servers_are_out(balance->servers, balance->servers_count)) {
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
