#include "engine/outlier.h"

static uint32_t out_of(const struct server *server) {
    return atomic_load_explicit(&server->state->health.out, memory_order_relaxed);
}

static size_t count_ejected(const struct upstream *upstream) {
    size_t count = 0;
    for (size_t i = 0; i < upstream->servers_count; i++) {
        count += (out_of(&upstream->servers[i]) & HEALTH_EJECTED) != 0;
    }
    return count;
}

static bool may_eject(const struct upstream *upstream) {
    return (count_ejected(upstream) + 1) * 100 <= upstream->servers_count * upstream->health.outlier.ejection_max;
}

void outlier_give_chance(const struct server *server) {
    uint32_t failures = atomic_load_explicit(&server->state->failures, memory_order_relaxed);
    if (server->failures_max != 0 && failures >= server->failures_max) {
        atomic_store_explicit(&server->state->failures, server->failures_max - 1, memory_order_relaxed);
    }
}

/* Enough of its tries have failed. */
static void outlier_judge(const struct upstream *upstream, const struct server *server, uint64_t now_ms,
                          outlier_told_fn *told, void *argument) {
    struct health *health = &server->state->health;
    if (may_eject(upstream)) {
        health->is_spared = false;
        health_eject(health, &upstream->health, now_ms);
        told(argument, upstream, server, OUTLIER_EJECTED);
    } else if (!health->is_spared) {
        health->is_spared = true;
        told(argument, upstream, server, OUTLIER_SPARED);
    }
}

void outlier_look(const struct upstream *upstream, uint64_t now_ms, outlier_told_fn *told, void *argument) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        const struct server *server = &upstream->servers[i];
        struct health *health = &server->state->health;
        uint32_t failures = atomic_load_explicit(&server->state->failures, memory_order_relaxed);
        uint32_t out = out_of(server);
        if ((out & HEALTH_EJECTED) != 0 && failures == 0) {
            health_take_back(health, &upstream->health, now_ms);
            told(argument, upstream, server, OUTLIER_ANSWERED);
        } else if (out == 0 && server->failures_max != 0 && failures >= server->failures_max) {
            outlier_judge(upstream, server, now_ms, told, argument);
        } else if (failures == 0) {
            health->is_spared = false;
        }
    }
}
