/* Whether what the engine did was right: told from what the actors at both ends saw and from what it says itself. */
#ifndef MOONRING_SIMULATE_JUDGE_H
#define MOONRING_SIMULATE_JUDGE_H

#include "actor.h"
#include "engine/access_log.h"
#include "engine/reason.h"
#include "scene.h"

#include <stdbool.h>
#include <stdint.h>

struct troupe;

struct judge {
    const struct scene *scene;
    struct world *world;
    struct cast *cast;
    struct troupe *troupe; /* the filters, and what must be heard through them */
    bool closing;          /* the engine was told to close its sessions */
    uint64_t sessions;
    uint64_t reasons[CLOSE_REASONS];
    uint64_t paired;     /* sessions of which both ends are known */
    uint64_t filtered;   /* sessions with filters */
    uint64_t introduced; /* clients that a header has named */
    uint64_t told;       /* servers that have heard a header */
};

/* A session ended, with this record. */
void judge_record(struct judge *judge, const struct access_record *record);
/* An actor sent or heard bytes; lost its patience. */
void judge_moved(struct judge *judge, const struct actor *actor);
void judge_bored(struct judge *judge, const struct actor *actor);
/* Everybody is over: did each hear what it should have heard? */
void judge_cast(struct judge *judge);

/* --- for judge_filtered.c -------------------------------------------------------------------------------------------
 */

/* What a session may need beyond a deadline. */
uint64_t judge_slack_ns(const struct judge *judge);
/* So long nothing happens though something could: then nothing ever will. */
uint64_t judge_stuck_ns(const struct judge *judge);
uint64_t judge_started_ns(const struct judge *judge, const struct access_record *record);
void judge_refuse_late(const struct judge *judge, const char *deadline, uint64_t since_ns, uint64_t wait_ms);
void judge_refuse_early(const struct judge *judge, const char *deadline, uint64_t since_ns, uint64_t wait_ms);
_Noreturn void judge_refuse_reason(const struct actor *actor, enum close_reason reason, const char *but);
/* Tells the actor why its session ended. */
void judge_verdict(struct actor *actor, enum close_reason reason);

#endif
