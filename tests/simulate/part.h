/* The filters of a scene: which hooks they have and how they behave, drawn from its seed. Each session with such a
 * filter plays the part in its own way (script.h). */
#ifndef MOONRING_SIMULATE_PART_H
#define MOONRING_SIMULATE_PART_H

#include "engine/filter.h"
#include "passage.h"
#include "random.h"
#include "segment.h"

struct troupe;

/* What a session may get into. Per mille of the sessions. */
struct trouble_chances {
    uint32_t fails;     /* a hook raises an error */
    uint32_t runs_over; /* or is stopped */
    uint32_t ends;      /* close, reject, reset */
    uint32_t detaches;
    uint32_t overflows; /* needs more than hold_max */
    uint32_t closes_write;
    uint32_t oversleeps; /* waits longer than any timeout */
    uint32_t cannot_open;
    uint32_t is_off; /* it was switched off, and is not there */
};

struct part {
    struct filter filter;
    struct troupe *troupe; /* who plays it */
    struct segment_manners segments[2];
    struct trouble_chances troubles;
    uint32_t answer_chance; /* of route and connect_failed; this and the next are per mille */
    uint32_t sleep_chance;  /* between two steps */
    uint32_t write_chance;
    uint32_t read_chance; /* of route, connected and serve */
    uint32_t task_chance;
    uint32_t bound_chance; /* sets limits, timeouts, a quota */
    uint32_t keep_chance;  /* keeps a half open */
    uint32_t sleep_ms_max;
    uint32_t write_max;
};

struct parts {
    struct part part[PASSAGE_FILTERS_MAX];
    struct filter *filters[PASSAGE_FILTERS_MAX]; /* the same, for the engine */
    size_t count;
};

/* The filters of a listener: 1 to PASSAGE_FILTERS_MAX. */
void parts_draw(struct parts *parts, const struct filter_calls *calls, struct random *random);
/* The largest stream that its filters cut into a bearable number of segments. */
uint64_t parts_bytes_max(const struct parts *parts);

#endif
