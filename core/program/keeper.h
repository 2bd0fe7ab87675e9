/* Keeps the servers' health, on the control thread: connects to those that are to be checked, judges those that workers
 * could not connect to, obeys operators, and sees to what time does. What it finds stands in the servers' state, where
 * workers see it with their next pick; the log has a line for each change. */
#ifndef MOONRING_PROGRAM_KEEPER_H
#define MOONRING_PROGRAM_KEEPER_H

#include "base/error.h"
#include "base/list.h"
#include "engine/wheel.h"
#include "program/crew.h"
#include "program/generation.h"
#include "program/standing_orders.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keeper {
    struct crew *crew;
    const struct generation *generation; /* at work; NULL: none yet */
    struct list wards;                   /* ours; its servers */
    struct list leaving;                 /* ours; wards of servers that only sessions have any more */
    struct list waiting;                 /* wards that are due to be checked when there is a place */
    struct standing_orders orders;       /* of operators, also about servers that are not there now */
    struct wheel wheel;
    uint64_t now_ms;     /* of this turn; milliseconds of the monotonic clock, as all times here */
    int poll_fd;         /* ours; readable when a check has news; -1: not open */
    uint32_t checks;     /* in flight */
    uint32_t checks_max; /* at one time: each takes a descriptor */
    uint64_t look_at_ms; /* when to look at suspects again; UINT64_MAX: when a worker suspects one */
    uint64_t looked_ms;  /* when that was last done */
    bool minds;          /* workers are to mind the servers of their sessions */
};

void keeper_init(struct keeper *keeper);
bool keeper_open(struct keeper *keeper, struct crew *crew, struct error *error);
void keeper_finish(struct keeper *keeper);

/* A generation's servers come into its care: all that can fail, then the commit, which cannot, or its contrary. What
 * is known of servers that stay, stays. */
bool keeper_prepare(struct keeper *keeper, struct generation *next, struct error *error);
void keeper_commit(struct keeper *keeper, const struct generation *next);
void keeper_abandon(struct keeper *keeper, const struct generation *next);

/* Descriptors that its checks may take, of so many that the process has. */
uint32_t keeper_descriptors(const struct generation *generation, uint64_t descriptors);

/* Does what is due. Returns when something will be, in milliseconds of the monotonic clock; earlier when poll_fd is
 * readable or the crew's event comes. */
uint64_t keeper_turn(struct keeper *keeper, uint64_t now_ms);

/* What an operator wants of a server of the generation at work: HEALTH_DRAINED, HEALTH_DISABLED, or 0, which also takes
 * it back from an ejection; or another weight than the configured one, which 0 stands for. is_one: of this one alone,
 * not of whatever else the configuration means by its name. False: there are too many orders to remember another one,
 * and nothing was done. */
bool keeper_order(struct keeper *keeper, const struct upstream *upstream, const struct server *server, bool is_one,
                  uint32_t wanted);
bool keeper_weigh(struct keeper *keeper, const struct upstream *upstream, const struct server *server, bool is_one,
                  uint32_t weight);

#endif
