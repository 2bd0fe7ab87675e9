#include "program/retirement.h"

#include "base/log.h"

enum {
    ANSWER_MS = 1000,
    AGAIN_MS = 1000, /* when a worker did not answer */
};

static struct generation *generation_at(const struct link *link) {
    return container_of((uintptr_t)link, struct generation, link);
}

/* The last of those that share a set of old scripts: it was replaced when that one was. */
static bool ends_scripts(const struct program *program, const struct link *link) {
    const struct generation *generation = generation_at(link);
    const struct link *next = link->next;
    if (!generation_has_old_scripts(generation, program->generation)) {
        return false;
    }
    return next == &program->retired.head || generation_has_old_scripts(generation, generation_at(next));
}

size_t retirement_count(const struct program *program) {
    size_t count = 0;
    for (const struct link *link = program->retired.head.next; link != &program->retired.head; link = link->next) {
        count += ends_scripts(program, link);
    }
    return count;
}

/* All that have the same scripts, up to this one. */
static bool close_up_to(struct program *program, const struct generation *last, const char *why) {
    list_for_each (link, &program->retired) {
        struct generation *generation = generation_at(link);
        if (!generation->was_closed && generation_has_old_scripts(generation, program->generation)) {
            log_warn("generation %lu: its sessions with filters are closed: %s", (unsigned long)generation->number,
                     why);
            if (!crew_close_filtered(&program->crew, generation, ANSWER_MS)) {
                return false;
            }
            generation->was_closed = true;
        }
        if (generation == last) {
            break;
        }
    }
    return true;
}

uint64_t retirement_enforce(struct program *program, uint64_t now_ms) {
    const struct config_lua *config = &program->generation->config->lua;
    size_t count = retirement_count(program);
    list_for_each (link, &program->retired) {
        const struct generation *generation = generation_at(link);
        if (!ends_scripts(program, link)) {
            continue;
        }
        bool too_many = count-- > config->retired_max;
        bool too_old = config->retire_timeout_ms != 0 && now_ms - generation->replaced_ms >= config->retire_timeout_ms;
        if (!too_many && !too_old) {
            return config->retire_timeout_ms == 0 ? UINT64_MAX : generation->replaced_ms + config->retire_timeout_ms;
        }
        const char *why = too_many ? "more filters were replaced than lua.retired_max"
                                   : "their filters were replaced longer ago than lua.retire_timeout";
        if (!generation->was_closed && !close_up_to(program, generation, why)) {
            return now_ms + AGAIN_MS;
        }
    }
    return UINT64_MAX;
}
