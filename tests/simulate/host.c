#include "host.h"

#include "base/check.h"
#include "world.h"

enum { MILLISECOND_US = 1000, SECOND_US = 1000 * 1000 };

enum { PIECE_OF_BULK = 64 * 1024 };
enum { ENOUGH_TO_BEGIN = 64 }; /* bytes that one who waits wants to hear */

/* --- parts ---------------------------------------------------------------------------------------------------------
 */

static uint32_t chance_draw(struct random *random, uint32_t max) {
    return (uint32_t)random_below(random, max + 1);
}

void manners_draw(struct manners *manners, struct random *random) {
    *manners = (struct manners){
        .bytes_max = random_scaled(random, 128 * 1024),
        .bulk_max = 2 * 1024 * 1024,
        .bulk_chance = random_chance(random, 50) ? chance_draw(random, 100) : 0,
        .silent_chance = chance_draw(random, 200),
        .slow_chance = chance_draw(random, 300),
        .deaf_chance = chance_draw(random, 100),
        .rude_chance = chance_draw(random, 600),
        .waits_chance = chance_draw(random, 300),
        .pause_us_max = (uint32_t)random_scaled(random, 200 * MILLISECOND_US),
        .patience_us_max = random_scaled(random, 300) * SECOND_US,
    };
}

static uint64_t bytes_draw(const struct manners *manners, struct random *random) {
    if (random_chance(random, manners->silent_chance)) {
        return 0;
    }
    return ACTOR_NUMBER_SIZE + random_scaled(random, manners->bytes_max);
}

static enum actor_ending ending_draw(const struct manners *manners, struct world *world) {
    static const enum actor_ending rude[] = {ENDS_AT_ONCE, ENDS_WITH_RESET, ENDS_BY_FAILURE, ENDS_NEVER};
    if (world_chance(world, manners->rude_chance)) {
        return rude[random_below(&world->random, sizeof(rude) / sizeof(rude[0]))];
    }
    return world_chance(world, 500) ? ENDS_WITH_FIN : ENDS_AFTER_OTHER;
}

static uint32_t pause_draw(const struct manners *manners, struct world *world) {
    return world_chance(world, manners->slow_chance) ? (uint32_t)random_scaled(&world->random, manners->pause_us_max)
                                                     : 0;
}

/* Much, and as fast as it can: what makes a flow worth splicing. */
static void plan_make_bulk(struct actor_plan *plan, const struct manners *manners) {
    plan->bytes = manners->bulk_max;
    plan->write_piece = PIECE_OF_BULK;
    plan->write_pause_us = 0;
}

struct actor_plan plan_draw(const struct manners *manners, struct world *world) {
    struct random *random = &world->random;
    struct actor_plan plan = {
        .bytes = bytes_draw(manners, random),
        .begin_after = random_chance(random, manners->waits_chance) ? random_scaled(random, ENOUGH_TO_BEGIN) : 0,
        .hear_max =
            random_chance(random, manners->deaf_chance) ? random_scaled(random, manners->bytes_max) : UINT64_MAX,
        .write_piece = (uint32_t)random_scaled(random, 64 * 1024),
        .read_piece = (uint32_t)random_scaled(random, 64 * 1024),
        .write_pause_us = pause_draw(manners, world),
        .read_pause_us = pause_draw(manners, world),
        .ending = ending_draw(manners, world),
        .patience_us = MILLISECOND_US + random_below(random, manners->patience_us_max),
        .leaves_with_reset = random_chance(random, 300),
    };
    if (random_chance(random, manners->bulk_chance)) {
        plan_make_bulk(&plan, manners);
    }
    return plan;
}

/* --- hosts ---------------------------------------------------------------------------------------------------------
 */

static enum place_answer host_answer(void *holder) {
    struct host *host = holder;
    struct world *world = host->cast->world;
    if (world_chance(world, host->options.refuse_chance)) {
        return PLACE_REFUSES;
    }
    if (world_chance(world, host->options.ignore_chance)) {
        return PLACE_IGNORES;
    }
    return world_chance(world, host->options.unreachable_chance) ? PLACE_UNREACHABLE : PLACE_ACCEPTS;
}

static void host_accept(struct event *event) {
    struct host *host = container_of(event, struct host, accept);
    struct world *world = host->cast->world;
    for (struct stream *stream = place_accept(&host->place); stream != NULL; stream = place_accept(&host->place)) {
        struct actor_plan plan = plan_draw(host->manners, world);
        actor_enter_server(host->cast, &plan, stream, host->options.proxy_version);
    }
}

static void host_news(void *holder) {
    struct host *host = holder;
    struct world *world = host->cast->world;
    if (!event_is_set(&host->accept)) {
        world_after(world, &host->accept,
                    random_below(&world->random, (uint64_t)host->options.accept_delay_us_max * 1000 + 1));
    }
}

void host_open(struct host *host, struct cast *cast, const struct manners *manners,
               const struct host_options *options) {
    *host = (struct host){.cast = cast, .manners = manners, .options = *options};
    event_init(&host->accept, host_accept);
    check(place_open(cast->world, &host->place, &options->address, false) == 0);
    place_listen(&host->place, options->backlog);
    host->place.answer = host_answer;
    host->place.news = host_news;
    host->place.holder = host;
}

void host_close(struct host *host) {
    world_forget(host->cast->world, &host->accept);
    place_close(host->cast->world, &host->place);
}
