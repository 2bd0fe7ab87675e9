#include "world.h"

#include "base/check.h"
#include "file.h"

#include <stdarg.h>
#include <stdlib.h>

static _Thread_local struct world *world_of_thread;

enum { FIRST_PORT = 20000 };

struct world *world_create(const struct world_options *options) {
    check(world_of_thread == NULL);
    check(options->window_min > 0 && options->window_min <= options->window_max);
    struct world *world = calloc(1, sizeof(*world));
    check(world != NULL);
    world->options = *options;
    random_init(&world->random, options->seed);
    world->now_ns = (uint64_t)1000 * 1000 * 1000;
    schedule_init(&world->schedule);
    list_init(&world->places);
    world->next_port = FIRST_PORT;
    world_of_thread = world;
    return world;
}

void world_destroy(struct world *world) {
    check(world == world_of_thread);
    files_finish(world);
    schedule_finish(&world->schedule);
    free(world);
    world_of_thread = NULL;
}

struct world *world_here(void) {
    check(world_of_thread != NULL);
    return world_of_thread;
}

const char *world_again(void) {
    return world_of_thread == NULL ? NULL : world_of_thread->options.again;
}

void world_after(struct world *world, struct event *event, uint64_t delay_ns) {
    schedule_set(&world->schedule, event, world->now_ns + delay_ns, random_next(&world->random));
}

void world_forget(struct world *world, struct event *event) {
    schedule_clear(&world->schedule, event);
}

void world_run_out(struct world *world) {
    for (struct event *event = schedule_first(&world->schedule); event != NULL;
         event = schedule_first(&world->schedule)) {
        world->now_ns = event->time_ns > world->now_ns ? event->time_ns : world->now_ns;
        world_forget(world, event);
        event->fire(event);
    }
}

uint64_t world_latency_ns(struct world *world) {
    return random_below(&world->random, (uint64_t)world->options.latency_us_max * 1000 + 1);
}

uint64_t world_delay_ns(struct world *world) {
    if (!world_chance(world, world->options.delay_chance)) {
        return 0;
    }
    return random_scaled(&world->random, (uint64_t)world->options.delay_us_max * 1000);
}

bool world_chance(struct world *world, uint32_t per_mille) {
    return random_chance(&world->random, per_mille);
}

uint32_t world_part(struct world *world, uint32_t size) {
    if (size > 1 && world_chance(world, world->options.short_chance)) {
        return (uint32_t)random_scaled(&world->random, size);
    }
    return size;
}

void world_moved(struct world *world) {
    world->moved_ns = world->now_ns;
    world->idle_since_ns = world->now_ns;
    world->idle_turns = 0;
    world->idle_completions = 0;
}

_Noreturn void world_violation(const char *format, ...) {
    struct world *world = world_of_thread;
    va_list arguments;
    va_start(arguments, format);
    if (world != NULL && world->options.trace != NULL) {
        fflush(world->options.trace);
    }
    fprintf(stderr, "simulate: violation");
    if (world != NULL) {
        fprintf(stderr, " with seed %llu at %.6f s", (unsigned long long)world->options.seed,
                (double)world->now_ns / 1e9);
    }
    fprintf(stderr, ": ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    if (world != NULL && world->explain != NULL) {
        world->explain(world->holder);
    }
    abort();
}

void world_trace_line(struct world *world, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(world->options.trace, "%14.6f  ", (double)world->now_ns / 1e9);
    vfprintf(world->options.trace, format, arguments);
    fputc('\n', world->options.trace);
    va_end(arguments);
}
