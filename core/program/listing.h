/* What `moonring ctl sessions` and `ctl kill` are while they run: portion after portion from each worker, put together
 * in the order of age. Never more than a portion of each worker is kept. On the control thread. */
#ifndef MOONRING_PROGRAM_LISTING_H
#define MOONRING_PROGRAM_LISTING_H

#include "base/bytes.h"
#include "base/error.h"
#include "program/crew.h"
#include "program/look.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one worker. */
struct listing_part {
    struct portion portion;
    size_t next; /* of its rows: not yet told */
    bool begun;
};

struct listing {
    struct crew *crew; /* NULL: nothing is under way */
    struct look look;
    struct listing_part *parts; /* ours; one for each worker */
    uint32_t parts_count;
    uint64_t rows_left; /* up to the limit */
    uint64_t rows;      /* told */
    uint64_t killed;
};

/* Begins; whatever was under way in it must have been ended. walk: as in worker_walk_begin. rows_max: 0: any number.
 * False when memory is short. */
bool listing_begin(struct listing *listing, struct crew *crew, const struct selection *selection,
                   enum look_action action, uint32_t walk, uint64_t rows_max);
/* Frees what it holds. Harmless when nothing is under way. */
void listing_end(struct listing *listing);

enum listing_result { LISTING_GOES_ON, LISTING_DONE, LISTING_FAILED };
/* Asks workers for some more and appends rows; JSON's are separated by commas. Failed: a worker does not answer. */
enum listing_result listing_go_on(struct listing *listing, struct bytes *out, struct error *error);

#endif
