#include "tests/chains/plan.h"

#include "base/check.h"

#include <string.h>

static const char *const verb_names[VERBS] = {"pass",   "drop",  "put",   "write",  "replace", "need",   "wait", "line",
                                              "frames", "lines", "sleep", "detach", "close",   "reject", "fail"};

/* --- filters ------------------------------------------------------------------------------------------------------ */

static void role_draw(struct role *role, struct random *random) {
    static const uint32_t hold_max[] = {64, 300, 4096, 64 * 1024};
    static const uint32_t hooks[] = {1u << HOOK_FROM_CLIENT, 1u << HOOK_FROM_SERVER,
                                     1u << HOOK_FROM_CLIENT | 1u << HOOK_FROM_SERVER};
    *role = (struct role){.hooks = hooks[random_below(random, 3)],
                          .hold_max = hold_max[random_below(random, 4)],
                          .strict = random_chance(random, 300),
                          .bypasses = random_chance(random, 500)};
    if (random_chance(random, 500)) {
        role->hooks |= 1u << HOOK_CLIENT_EOF | 1u << HOOK_SERVER_EOF;
    }
}

void setup_draw(struct setup *setup, struct random *random) {
    *setup = (struct setup){.count = 1 + (uint32_t)random_below(random, CHAIN_FILTERS_MAX),
                            .jit = random_chance(random, 750)};
    for (uint32_t index = 0; index < setup->count; index++) {
        role_draw(&setup->roles[index], random);
    }
}

/* --- plans -------------------------------------------------------------------------------------------------------- */

static void text_draw(char text[static PLAN_TEXT_SIZE], struct random *random) {
    uint64_t size = random_below(random, PLAN_TEXT_SIZE);
    for (uint64_t index = 0; index < size; index++) {
        text[index] = (char)('a' + random_below(random, 26));
    }
    text[size] = 0;
}

static uint32_t held_draw(const struct role *role, struct random *random) {
    return (uint32_t)random_scaled(random, role->hold_max < 2048 ? role->hold_max : 2048);
}

static uint32_t count_draw(struct random *random) {
    return random_chance(random, 300) ? (uint32_t)random_scaled(random, 16) : 0;
}

static void frames_draw(struct deed *deed, const struct role *role, struct random *random) {
    static const uint32_t scales[] = {1, 1, 1, 20};
    deed->size = (uint32_t)random_scaled(random, 256);
    deed->to = scales[random_below(random, 4)];
    deed->see = random_chance(random, 500) ? held_draw(role, random) : 0;
    deed->count = count_draw(random);
}

static void deed_draw(struct deed *deed, const struct role *role, struct random *random) {
    *deed = (struct deed){.verb = (enum verb)random_below(random, VERB_CLOSE)};
    switch (deed->verb) {
    case VERB_PASS:
    case VERB_DROP:
        deed->size = (uint32_t)random_scaled(random, 1024);
        break;
    case VERB_REPLACE:
        deed->size = held_draw(role, random);
        deed->to = deed->size - 1 + (uint32_t)random_below(random, 64);
        text_draw(deed->text, random);
        break;
    case VERB_NEED:
        deed->to = (uint32_t)random_below(random, 2);
        deed->size = held_draw(role, random);
        break;
    case VERB_WAIT:
    case VERB_LINE:
        deed->size = held_draw(role, random);
        break;
    case VERB_FRAMES:
        frames_draw(deed, role, random);
        break;
    case VERB_LINES:
        deed->count = count_draw(random);
        break;
    case VERB_SLEEP:
        deed->size = (uint32_t)random_scaled(random, 1000);
        break;
    case VERB_PUT:
    case VERB_WRITE:
        text_draw(deed->text, random);
        break;
    case VERB_DETACH:
    case VERB_CLOSE:
    case VERB_REJECT:
    case VERB_FAIL:
    case VERBS:
        break;
    }
}

/* Nothing follows it. */
static bool verb_is_last(enum verb verb) {
    return verb == VERB_FRAMES || verb == VERB_LINES || verb >= VERB_DETACH;
}

static void plan_draw(struct plan *plan, const struct role *role, struct random *random) {
    uint32_t count = (uint32_t)random_below(random, PLAN_DEEDS_MAX + 1);
    bool is_over = false;
    while (plan->count < count && !is_over) {
        struct deed *deed = &plan->deeds[plan->count++];
        deed_draw(deed, role, random);
        is_over = verb_is_last(deed->verb);
    }
}

static bool role_sees(const struct role *role, enum direction direction) {
    return (role->hooks & 1u << direction_hook(direction)) != 0;
}

/* --- rounds ------------------------------------------------------------------------------------------------------- */

/* Small ones find most; some are more than one buffer of the ring. */
static void said_draw(struct bytes *said, struct random *random) {
    uint64_t most = random_chance(random, 3) ? 100000 : random_chance(random, 300) ? 2048 : 128;
    uint64_t size = random_below(random, most);
    for (uint64_t index = 0; index < size; index++) {
        uint64_t byte = random_next(random);
        bytes_append_char(said, (byte >> 8) % 16 == 0 ? '\n' : (char)(byte & 0xff));
    }
}

/* One filter ends the session, or fails. What the other side had under way then is chance: so that one says nothing,
 * and does not end before, since nobody would hear a filter's last words behind its end. */
static void round_add_end(struct round *round, const struct setup *setup, struct random *random) {
    enum direction direction = (enum direction)random_below(random, 2);
    uint32_t index = (uint32_t)random_below(random, setup->count);
    const struct role *role = &setup->roles[index];
    if (!role_sees(role, direction)) {
        return;
    }
    struct plan *plan = &round->plans[index][direction];
    while (plan->count > 0 && (plan->count == PLAN_DEEDS_MAX || verb_is_last(plan->deeds[plan->count - 1].verb))) {
        plan->count--;
    }
    struct deed *deed = &plan->deeds[plan->count++];
    *deed = (struct deed){.verb = VERB_CLOSE + (enum verb)random_below(random, 3)};
    if (deed->verb == VERB_REJECT) {
        text_draw(deed->text, random);
    }
    bytes_clear(&round->said[direction_opposite(direction)]);
    round->waits[direction_opposite(direction)] = true;
}

static void round_add_tails(struct round *round, const struct setup *setup, struct random *random) {
    for (uint32_t index = 0; index < setup->count; index++) {
        if ((setup->roles[index].hooks & 1u << HOOK_CLIENT_EOF) != 0) {
            text_draw(round->plans[index][FROM_CLIENT].tail, random);
            text_draw(round->plans[index][FROM_SERVER].tail, random);
        }
    }
}

void round_draw(struct round *round, const struct setup *setup, struct random *random) {
    *round = (struct round){.pace = random_next(random)};
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        bytes_init(&round->said[direction]);
        said_draw(&round->said[direction], random);
        for (uint32_t index = 0; index < setup->count; index++) {
            if (role_sees(&setup->roles[index], direction)) {
                plan_draw(&round->plans[index][direction], &setup->roles[index], random);
            }
        }
    }
    if (random_chance(random, 150)) {
        round_add_end(round, setup, random);
    } else {
        round_add_tails(round, setup, random);
    }
}

void round_finish(struct round *round) {
    bytes_finish(&round->said[FROM_CLIENT]);
    bytes_finish(&round->said[FROM_SERVER]);
}

/* --- as text ------------------------------------------------------------------------------------------------------ */

void plan_write(const struct plan *plan, struct bytes *out) {
    for (uint32_t index = 0; index < plan->count; index++) {
        const struct deed *deed = &plan->deeds[index];
        bytes_printf(out, "%s %u %u %u %u %s;", verb_names[deed->verb], deed->size, deed->to, deed->see, deed->count,
                     deed->text);
    }
    bytes_printf(out, "tail 0 0 0 0 %s;", plan->tail);
}
