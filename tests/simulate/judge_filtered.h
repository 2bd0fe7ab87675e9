/* What judge.c does, for sessions with filters: what must be heard is what the passage says, and filters have reasons
 * and deadlines of their own. */
#ifndef MOONRING_SIMULATE_JUDGE_FILTERED_H
#define MOONRING_SIMULATE_JUDGE_FILTERED_H

#include "judge.h"
#include "passage.h"

void judge_filtered_record(struct judge *judge, struct passage *passage, const struct access_record *record,
                           enum close_reason reason);
/* One of its actors lost its patience. */
void judge_filtered_bored(const struct judge *judge, const struct passage *passage);
/* It is over. */
void judge_filtered_actor(const struct actor *actor);

#endif
