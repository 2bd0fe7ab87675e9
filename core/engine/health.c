#include "engine/health.h"

/* Only one thread writes, so nothing has to be one step. */
static uint32_t load(const _Atomic uint32_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void store(_Atomic uint32_t *value, uint32_t to) {
    atomic_store_explicit(value, to, memory_order_relaxed);
}

static void count(_Atomic uint64_t *counter) {
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static uint64_t health_down_ms(const struct health *health) {
    return atomic_load_explicit(&health->down_ms, memory_order_relaxed);
}

const char *health_name(uint32_t out) {
    if ((out & HEALTH_DISABLED) != 0) {
        return "disabled";
    }
    if ((out & HEALTH_DRAINED) != 0) {
        return "drained";
    }
    if ((out & HEALTH_DOWN) != 0) {
        return "down";
    }
    return (out & HEALTH_EJECTED) != 0 ? "ejected" : "up";
}

/* --- going and coming ------------------------------------------------------------------------------------------- */

/* Least connections would send a server that returns with none of them everything at once. */
static void health_begin_slowly(struct health *health, bool slowly, uint64_t now_ms) {
    health->returned_ms = slowly ? now_ms : 0;
    store(&health->held_back, slowly ? 99 : 0);
}

/* Each further reason is about the sessions, too, that have connected since the one before: servers that are down are
 * tried when no other is left. */
static void health_note_down(struct health *health, const struct config_health *config, uint32_t before, uint32_t out,
                             uint64_t now_ms) {
    if ((out & HEALTH_IS_DOWN) == 0) {
        atomic_store_explicit(&health->down_ms, 0, memory_order_relaxed);
        store(&health->sessions, HEALTH_SESSIONS_STAY);
    } else if ((out & ~before & HEALTH_IS_DOWN) != 0) {
        store(&health->sessions,
              config->on_server_down == SERVER_DOWN_RESET ? HEALTH_SESSIONS_RESET : HEALTH_SESSIONS_STAY);
        atomic_store_explicit(&health->down_ms, now_ms, memory_order_relaxed);
    }
}

/* The only place that changes `out`. */
static void health_set(struct health *health, const struct config_health *config, uint32_t out, uint64_t now_ms) {
    uint32_t before = load(&health->out);
    if (out == before) {
        return;
    }
    health_begin_slowly(health, out == 0 && config->slow_start_ms != 0, now_ms);
    health_note_down(health, config, before, out, now_ms);
    atomic_store_explicit(&health->changed_ms, now_ms, memory_order_relaxed);
    store(&health->out, out);
}

/* --- checks ----------------------------------------------------------------------------------------------------- */

void health_note_check(struct health *health, const struct config_health *config, int error, uint64_t now_ms) {
    bool passed = error == 0;
    uint32_t out = load(&health->out);
    bool is_down = (out & HEALTH_DOWN) != 0;
    count(passed ? &health->checks_passed_total : &health->checks_failed_total);
    atomic_store_explicit(&health->check_error, error, memory_order_relaxed);
    if (passed != is_down) {
        health->contrary = 0;
    } else {
        uint32_t needed = !health->is_known ? 1 : is_down ? config->check.rise : config->check.fall;
        if (++health->contrary >= needed) {
            health->contrary = 0;
            health_set(health, config, out ^ HEALTH_DOWN, now_ms);
        }
    }
    health->is_known = true;
}

void health_forget_checks(struct health *health, const struct config_health *config, uint64_t now_ms) {
    health->is_known = false;
    health->contrary = 0;
    atomic_store_explicit(&health->check_error, 0, memory_order_relaxed);
    health_set(health, config, load(&health->out) & ~(uint32_t)HEALTH_DOWN, now_ms);
}

/* --- ejections -------------------------------------------------------------------------------------------------- */

/* Twice as long as the last one, if that was over only a little while ago. */
static uint64_t next_ejection_ms(const struct health *health, const struct config_health *config, uint64_t now_ms) {
    enum { TIMES_MAX = 8 };
    uint64_t first_ms = config->outlier.ejection_time_ms;
    uint64_t last_ms = health->ejection_ms;
    if (last_ms == 0 || now_ms > health->ejected_until_ms + last_ms) {
        return first_ms;
    }
    return last_ms * 2 < first_ms * TIMES_MAX ? last_ms * 2 : first_ms * TIMES_MAX;
}

void health_eject(struct health *health, const struct config_health *config, uint64_t now_ms) {
    health->ejection_ms = next_ejection_ms(health, config, now_ms);
    health->ejected_until_ms = now_ms + health->ejection_ms;
    count(&health->ejections_total);
    health_set(health, config, load(&health->out) | HEALTH_EJECTED, now_ms);
}

void health_take_back(struct health *health, const struct config_health *config, uint64_t now_ms) {
    uint32_t out = load(&health->out);
    if ((out & HEALTH_EJECTED) != 0) {
        health->ejected_until_ms = now_ms;
        health_set(health, config, out & ~(uint32_t)HEALTH_EJECTED, now_ms);
    }
}

/* --- operators and time ------------------------------------------------------------------------------------------ */

void health_order(struct health *health, const struct config_health *config, uint32_t wanted, uint64_t now_ms) {
    if (wanted == 0) {
        health_take_back(health, config, now_ms);
    }
    health_set(health, config, (load(&health->out) & ~(uint32_t)HEALTH_BY_OPERATOR) | wanted, now_ms);
}

/* A step for each percent, but not more than fifty in a second. */
static uint64_t health_grow(struct health *health, uint64_t slow_start_ms, uint64_t now_ms) {
    enum { STEP_MIN_MS = 20 };
    uint64_t age_ms = now_ms - health->returned_ms;
    if (slow_start_ms <= age_ms) {
        health->returned_ms = 0;
        store(&health->held_back, 0);
        return UINT64_MAX;
    }
    store(&health->held_back, (uint32_t)(99 - age_ms * 99 / slow_start_ms));
    uint64_t step_ms = slow_start_ms / 100;
    return now_ms + (step_ms > STEP_MIN_MS ? step_ms : STEP_MIN_MS);
}

static uint64_t health_end_sessions(struct health *health, uint64_t drain_ms, uint64_t now_ms) {
    uint64_t at_ms = health_down_ms(health) + drain_ms;
    if (drain_ms == 0 || load(&health->sessions) != HEALTH_SESSIONS_STAY) {
        return UINT64_MAX;
    }
    if (now_ms < at_ms) {
        return at_ms;
    }
    store(&health->sessions, HEALTH_SESSIONS_CLOSE);
    return UINT64_MAX;
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms) {
    return a_ms < b_ms ? a_ms : b_ms;
}

uint64_t health_tend(struct health *health, const struct config_health *config, uint64_t drain_ms, uint64_t now_ms) {
    uint64_t due_ms = UINT64_MAX;
    if ((load(&health->out) & HEALTH_EJECTED) != 0) {
        if (!config->outlier.on || health->ejected_until_ms <= now_ms) {
            health_take_back(health, config, now_ms);
        } else {
            due_ms = health->ejected_until_ms;
        }
    }
    if (health->returned_ms != 0) {
        due_ms = earlier(due_ms, health_grow(health, config->slow_start_ms, now_ms));
    }
    if (health_down_ms(health) != 0 && config->on_server_down == SERVER_DOWN_DRAIN) {
        due_ms = earlier(due_ms, health_end_sessions(health, drain_ms, now_ms));
    }
    return due_ms;
}
