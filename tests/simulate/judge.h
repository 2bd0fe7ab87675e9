/* Whether what the engine did was right: told from what the actors at both ends saw and from what it says itself. */
#ifndef MOONRING_SIMULATE_JUDGE_H
#define MOONRING_SIMULATE_JUDGE_H

#include "actor.h"
#include "engine/access_log.h"
#include "engine/reason.h"
#include "scene.h"

#include <stdbool.h>
#include <stdint.h>

struct judge {
    const struct scene *scene;
    struct world *world;
    struct cast *cast;
    bool closing; /* the engine was told to close its sessions */
    uint64_t sessions;
    uint64_t reasons[CLOSE_REASONS];
    uint64_t paired; /* sessions of which both ends are known */
};

/* A session ended, with this record. */
void judge_record(struct judge *judge, const struct access_record *record);
/* An actor sent or heard bytes; lost its patience. */
void judge_moved(struct judge *judge, const struct actor *actor);
void judge_bored(struct judge *judge, const struct actor *actor);
/* Everybody is over: did each hear what it should have heard? */
void judge_cast(struct judge *judge);

#endif
