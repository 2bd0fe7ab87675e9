#include "engine/server.h"

#include "base/check.h"

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
