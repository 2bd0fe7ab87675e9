#include "part.h"

/* What is enough to see everything. */
enum { SEGMENTS_MAX = 2000 };

static const char *const names[PASSAGE_FILTERS_MAX] = {"near the client", "in between", "near the server"};

static uint32_t hooks_draw(struct random *random) {
    static const struct {
        enum hook hook;
        uint32_t chance;
    } likely[] = {{HOOK_ROUTE, 400},       {HOOK_CONNECT_FAILED, 300}, {HOOK_CONNECTED, 400},
                  {HOOK_FROM_CLIENT, 500}, {HOOK_FROM_SERVER, 500},    {HOOK_CLIENT_EOF, 300},
                  {HOOK_SERVER_EOF, 300},  {HOOK_SERVE, 80},           {HOOK_CLOSED, 400}};
    uint32_t hooks = 0;
    for (size_t i = 0; i < sizeof(likely) / sizeof(likely[0]); i++) {
        hooks |= random_chance(random, likely[i].chance) ? 1u << likely[i].hook : 0;
    }
    if ((hooks & 1u << HOOK_SERVE) != 0) { /* it reads and writes instead */
        hooks &= ~(1u << HOOK_FROM_CLIENT | 1u << HOOK_FROM_SERVER);
    }
    return hooks;
}

/* 0, often; or up to max. */
static uint32_t sometimes(struct random *random, uint32_t chance, uint32_t max) {
    return random_chance(random, chance) ? (uint32_t)random_below(random, max + 1U) : 0;
}

/* Most filters have none, so that their sessions run to the end. */
static struct trouble_chances troubles_draw(struct random *random) {
    return (struct trouble_chances){.fails = sometimes(random, 200, 400),
                                    .runs_over = sometimes(random, 50, 200),
                                    .ends = sometimes(random, 250, 500),
                                    .detaches = sometimes(random, 250, 500),
                                    .overflows = sometimes(random, 100, 300),
                                    .closes_write = sometimes(random, 100, 300),
                                    .oversleeps = sometimes(random, 100, 200),
                                    .cannot_open = sometimes(random, 30, 100),
                                    .is_off = sometimes(random, 50, 500)};
}

static void part_draw(struct part *part, const char *name, const struct filter_calls *calls, struct random *random) {
    *part = (struct part){
        .filter = {.calls = calls,
                   .name = name,
                   .hooks = hooks_draw(random),
                   .on_error = random_chance(random, 500) ? ON_ERROR_BYPASS : ON_ERROR_CLOSE,
                   .strict = random_chance(random, 300),
                   .hold_max = 64 + (uint32_t)random_scaled(random, 256 * 1024),
                   .hold_timeout_ms = random_chance(random, 500) ? 0 : 50 + random_scaled(random, 20 * 1000)},
        .troubles = troubles_draw(random),
        .answer_chance = sometimes(random, 700, 1000),
        .sleep_chance = sometimes(random, 400, 200),
        .write_chance = sometimes(random, 500, 200),
        .read_chance = sometimes(random, 500, 1000),
        .task_chance = sometimes(random, 400, 600),
        .bound_chance = sometimes(random, 300, 400),
        .keep_chance = sometimes(random, 300, 500),
        .sleep_ms_max = (uint32_t)random_scaled(random, 2000),
        .write_max = (uint32_t)random_scaled(random, random_chance(random, 100) ? 60 * 1024 : 2048),
    };
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        segment_manners_draw(&part->segments[direction], part->filter.hold_max, random);
    }
}

void parts_draw(struct parts *parts, const struct filter_calls *calls, struct random *random) {
    parts->count = 1 + random_below(random, PASSAGE_FILTERS_MAX);
    for (size_t i = 0; i < parts->count; i++) {
        part_draw(&parts->part[i], names[i], calls, random);
        parts->filters[i] = &parts->part[i].filter;
    }
}

uint64_t parts_bytes_max(const struct parts *parts) {
    uint64_t bytes_max = UINT64_MAX;
    for (size_t i = 0; i < parts->count; i++) {
        for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            uint64_t most = (uint64_t)SEGMENTS_MAX * (parts->part[i].segments[direction].size_max / 8 + 1);
            bool cuts = filter_has(&parts->part[i].filter, direction_hook((enum direction)direction));
            bytes_max = cuts && most < bytes_max ? most : bytes_max;
        }
    }
    return bytes_max;
}
