/* Whether a server gets sessions, and why not: a state machine that hears of checks, of connects that failed, and of
 * operators. It outlives reloads, as part of the server's state.
 *
 * Only the control thread changes it; every thread may read what is atomic. Workers look at `out` when they pick a
 * server, and at `sessions` when they are told to. */
#ifndef MOONRING_ENGINE_HEALTH_H
#define MOONRING_ENGINE_HEALTH_H

#include "config/config.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Why a server gets no sessions: bits, since one does not end another. */
enum health_out {
    HEALTH_DOWN = 1,     /* its checks fail */
    HEALTH_EJECTED = 2,  /* sessions could not connect to it */
    HEALTH_DRAINED = 4,  /* an operator wants no new sessions on it; */
    HEALTH_DISABLED = 8, /* and neither checks nor, if on_server_down says so, the sessions that it has */
    HEALTH_BY_OPERATOR = HEALTH_DRAINED | HEALTH_DISABLED,
    HEALTH_IS_DOWN = HEALTH_DOWN | HEALTH_EJECTED | HEALTH_DISABLED, /* what on_server_down is about */
};

/* What is to become of its sessions. */
enum health_sessions { HEALTH_SESSIONS_STAY, HEALTH_SESSIONS_CLOSE, HEALTH_SESSIONS_RESET };

struct health {
    _Atomic uint32_t out;       /* enum health_out; 0: it is in service */
    _Atomic uint32_t held_back; /* percent of its weight that it does not have yet, since it has just returned */
    _Atomic uint32_t weight;    /* as an operator wants it; 0: as configured */
    _Atomic uint32_t sessions;  /* enum health_sessions */
    _Atomic uint64_t
        down_ms; /* when the last of HEALTH_IS_DOWN came: it is about sessions from before; 0: none holds */
    _Atomic uint64_t changed_ms; /* when `out` changed last; milliseconds of the monotonic clock; 0: never */
    _Atomic uint64_t checks_passed_total;
    _Atomic uint64_t checks_failed_total;
    _Atomic uint64_t ejections_total;
    _Atomic int32_t check_error; /* of the last check; 0: it has passed */
    /* The control thread's: */
    uint32_t contrary;         /* checks in a row that say the opposite of what we believe */
    bool is_known;             /* some check has ended */
    bool is_spared;            /* it should be ejected, but others are; and that was told */
    uint64_t returned_ms;      /* since when it grows to its full share; 0: it has it */
    uint64_t ejected_until_ms; /* while it is ejected; afterwards when that ended */
    uint64_t ejection_ms;      /* how long the last one was; 0: there was none */
};

/* The state in one word, the weightiest first: disabled, drained, down, ejected, up. */
const char *health_name(uint32_t out);

/* A check has passed (error 0), or failed: -errno's opposite, ETIMEDOUT when it took too long. */
void health_note_check(struct health *health, const struct config_health *config, int error, uint64_t now_ms);
/* It is checked no more: what checks have said is void. */
void health_forget_checks(struct health *health, const struct config_health *config, uint64_t now_ms);

/* It gets no sessions for a while. */
void health_eject(struct health *health, const struct config_health *config, uint64_t now_ms);
/* The while is over, or it is known to answer. */
void health_take_back(struct health *health, const struct config_health *config, uint64_t now_ms);

/* What an operator wants: HEALTH_DRAINED, HEALTH_DISABLED, or 0, which ends an ejection, too. */
void health_order(struct health *health, const struct config_health *config, uint32_t wanted, uint64_t now_ms);

/* What time does: ends ejections, lets shares grow, and ends the sessions of servers that are down: those that drain
 * have drain_ms (0: for ever). Returns when it is due again; UINT64_MAX: not for now. */
uint64_t health_tend(struct health *health, const struct config_health *config, uint64_t drain_ms, uint64_t now_ms);

#endif
