#include "engine/server.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t server_configured_size(const struct server *server) {
    size_t size = strlen(server->name);
    size_t address_size = strlen(server->address_text);
    if (size < address_size + 2) {
        return size;
    }
    const char *tail = server->name + size - address_size - 1;
    return *tail == '/' && strcmp(tail + 1, server->address_text) == 0 ? (size_t)(tail - server->name) : size;
}

void server_state_drop(struct server_state *state) {
    if (state != NULL && atomic_fetch_sub(&state->references, 1) == 1) {
        free(state);
    }
}

bool server_has_room(const struct server *server) {
    return server->connections_max == 0 ||
           atomic_load_explicit(&server->state->active, memory_order_relaxed) < server->connections_max;
}

bool server_enter(struct server *server) {
    uint32_t active = atomic_fetch_add_explicit(&server->state->active, 1, memory_order_relaxed) + 1;
    if (server->connections_max != 0 && active > server->connections_max) {
        atomic_fetch_sub_explicit(&server->state->active, 1, memory_order_relaxed);
        return false;
    }
    return true;
}

void server_leave(struct server *server) {
    uint32_t before = atomic_fetch_sub_explicit(&server->state->active, 1, memory_order_relaxed);
    check(before > 0);
}

bool server_is_in_service(const struct server *server) {
    return atomic_load_explicit(&server->state->health.out, memory_order_relaxed) == 0;
}

bool servers_are_out(const struct server *servers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (server_is_in_service(&servers[i])) {
            return false;
        }
    }
    return true;
}

static uint32_t server_weight(const struct server *server) {
    uint32_t wanted = atomic_load_explicit(&server->state->health.weight, memory_order_relaxed);
    return wanted != 0 ? wanted : server->weight;
}

uint32_t server_full_share(const struct server *server) {
    return server_weight(server) * 100;
}

uint32_t server_share(const struct server *server) {
    return server_weight(server) * (100 - atomic_load_explicit(&server->state->health.held_back, memory_order_relaxed));
}

bool failure_is_ours(int error) {
    return error == EADDRNOTAVAIL || error == EAGAIN || error == ENOMEM || error == ENOBUFS || error == EMFILE ||
           error == ENFILE;
}

bool server_note_failure(struct server *server, int error) {
    struct server_state *state = server->state;
    atomic_fetch_add_explicit(&state->failed_total, 1, memory_order_relaxed);
    if (failure_is_ours(error)) {
        return false;
    }
    atomic_store_explicit(&state->failure, error, memory_order_relaxed);
    uint32_t failures = atomic_fetch_add_explicit(&state->failures, 1, memory_order_relaxed) + 1;
    return server->failures_max != 0 && failures % server->failures_max == 0;
}

bool server_note_success(struct server *server) {
    struct server_state *state = server->state;
    atomic_fetch_add_explicit(&state->connected_total, 1, memory_order_relaxed);
    if (atomic_load_explicit(&state->failures, memory_order_relaxed) != 0) {
        atomic_store_explicit(&state->failures, 0, memory_order_relaxed);
    }
    return (atomic_load_explicit(&state->health.out, memory_order_relaxed) & HEALTH_EJECTED) != 0;
}

struct server_numbers server_numbers(const struct server *server) {
    const struct server_state *state = server->state;
    const struct health *health = &state->health;
    return (struct server_numbers){
        .out = atomic_load_explicit(&health->out, memory_order_relaxed),
        .weight = server_weight(server),
        .share = 100 - atomic_load_explicit(&health->held_back, memory_order_relaxed),
        .active = atomic_load_explicit(&state->active, memory_order_relaxed),
        .connected_total = atomic_load_explicit(&state->connected_total, memory_order_relaxed),
        .failed_total = atomic_load_explicit(&state->failed_total, memory_order_relaxed),
        .checks_passed_total = atomic_load_explicit(&health->checks_passed_total, memory_order_relaxed),
        .checks_failed_total = atomic_load_explicit(&health->checks_failed_total, memory_order_relaxed),
        .ejections_total = atomic_load_explicit(&health->ejections_total, memory_order_relaxed),
        .changed_ms = atomic_load_explicit(&health->changed_ms, memory_order_relaxed),
    };
}
