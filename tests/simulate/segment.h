/* How a filter cuts a stream into segments, and what it does with each. It depends on a seed and on nothing else, so
 * that what comes out does not depend on how the bytes came in: script.c plays it, passage.c says what must be heard.
 */
#ifndef MOONRING_SIMULATE_SEGMENT_H
#define MOONRING_SIMULATE_SEGMENT_H

#include "random.h"

#include <stdbool.h>
#include <stdint.h>

enum segment_action {
    SEGMENT_PASSES,
    SEGMENT_IS_DROPPED,
    SEGMENT_IS_REPLACED,
    SEGMENT_IS_PRECEDED, /* something is put in front of it, */
    SEGMENT_IS_FOLLOWED, /* or behind it */
};
enum { SEGMENT_ACTIONS = SEGMENT_IS_FOLLOWED + 1 };

struct segment_manners {
    uint32_t size_max;
    uint32_t put_max;
    uint32_t whole_max;    /* the largest that can be seen as a whole */
    uint32_t whole_chance; /* per mille */
};

struct segment {
    uint32_t size;
    uint32_t put_size;
    uint64_t put_from; /* what is put: the cast's text from there on */
    enum segment_action action;
    bool whole; /* decided only once all of it is there; at an end before that it is left alone */
    bool waits; /* by waiting within the hook, not by returning */
    bool ahead; /* decided with one verb, however little of it is there; else piece by piece */
};

struct segments {
    struct random random;
    struct segment_manners manners;
};

void segment_manners_draw(struct segment_manners *manners, uint32_t whole_max, struct random *random);
void segments_init(struct segments *segments, const struct segment_manners *manners, uint64_t seed);
struct segment segments_next(struct segments *segments);

/* It puts something before the first of its bytes is passed or dropped; or behind the last. */
static inline bool segment_puts_before(const struct segment *segment) {
    return segment->action == SEGMENT_IS_REPLACED || segment->action == SEGMENT_IS_PRECEDED;
}
static inline bool segment_puts_behind(const struct segment *segment) {
    return segment->action == SEGMENT_IS_FOLLOWED;
}
static inline bool segment_passes(const struct segment *segment) {
    return segment->action != SEGMENT_IS_DROPPED && segment->action != SEGMENT_IS_REPLACED;
}

#endif
