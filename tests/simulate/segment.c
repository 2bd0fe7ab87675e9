#include "segment.h"

enum { PLAIN_CHANCE = 300 }; /* per mille of segments that are only passed, whatever else there may be */

/* What is put in small segments' places must not become many times the stream. */
enum { PUT_MIN = 16, PUT_FACTOR = 2 };

void segment_manners_draw(struct segment_manners *manners, uint32_t whole_max, struct random *random) {
    *manners = (struct segment_manners){
        .size_max = (uint32_t)random_scaled(random, 32 * 1024),
        .put_max = (uint32_t)random_scaled(random, 1024),
        .whole_max = whole_max,
        .whole_chance = random_chance(random, 500) ? (uint32_t)random_below(random, 1001) : 0,
    };
    uint32_t most = PUT_MIN + PUT_FACTOR * manners->size_max;
    manners->put_max = manners->put_max < most ? manners->put_max : most;
}

void segments_init(struct segments *segments, const struct segment_manners *manners, uint64_t seed) {
    random_init(&segments->random, seed);
    segments->manners = *manners;
}

struct segment segments_next(struct segments *segments) {
    struct random *random = &segments->random;
    const struct segment_manners *manners = &segments->manners;
    struct segment segment = {
        .size = (uint32_t)random_scaled(random, manners->size_max),
        .put_size = (uint32_t)random_scaled(random, manners->put_max),
        .put_from = random_below(random, 1 << 16),
        .action = random_chance(random, PLAIN_CHANCE) ? SEGMENT_PASSES
                                                      : (enum segment_action)random_below(random, SEGMENT_ACTIONS),
        .whole = random_chance(random, manners->whole_chance),
        .waits = random_chance(random, 500),
        .ahead = random_chance(random, 500),
    };
    segment.ahead = segment.ahead || segment_puts_behind(&segment); /* its end may never come */
    segment.whole = segment.whole && segment.size <= manners->whole_max;
    return segment;
}
