#include "program/status.h"

#include "engine/ring.h"
#include "program/version.h"

#include <unistd.h>

/* `3d 4h`, `12m 5s`: the two largest units. */
static void append_age(struct bytes *out, uint64_t seconds) {
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    size_t first = 0;
    while (first < 3 && seconds < units[first].seconds) {
        first++;
    }
    bytes_printf(out, "%lu%s", (unsigned long)(seconds / units[first].seconds), units[first].name);
    if (first < 3) {
        uint64_t rest = seconds % units[first].seconds / units[first + 1].seconds;
        bytes_printf(out, " %lu%s", (unsigned long)rest, units[first + 1].name);
    }
}

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

static uint64_t count_sessions(struct program *program) {
    return program_sessions(program, program->generation) + program_sessions_before(program);
}

void status_describe(struct program *program, struct bytes *out) {
    const struct program_counters *counters = &program->counters;
    bytes_printf(out, "moonring %s, process %d, up ", moonring_version(), (int)getpid());
    append_age(out, (now_ms() - program->started_ms) / 1000);
    bytes_printf(out, "\ngeneration %lu, ", (unsigned long)program->generation->number);
    append_age(out, (now_ms() - program->generation->began_ms) / 1000);
    bytes_printf(out, " old; %zu in all have sessions\n", program_generations(program));
    bytes_printf(out, "workers: %u\n", program->crew.workers);
    bytes_printf(out, "sessions: %lu of at most %u\n", (unsigned long)count_sessions(program),
                 atomic_load(&program->process.max));
    bytes_printf(out, "reloads: %lu applied, %lu without a change, %lu refused\n", (unsigned long)counters->applied,
                 (unsigned long)counters->unchanged, (unsigned long)counters->refused);
}

static void list_generation(struct program *program, const struct generation *generation, struct bytes *out) {
    bool filters = generation->parts[0].scripts != NULL;
    bool at_work = generation == program->generation;
    bytes_printf(out, "generation %lu: %lu sessions, ", (unsigned long)generation->number,
                 (unsigned long)program_sessions(program, generation));
    append_age(out, (now_ms() - generation->began_ms) / 1000);
    bytes_append_text(out, " old, ");
    if (at_work) {
        bytes_append_text(out, "at work");
    } else {
        bytes_append_text(out, "replaced ");
        append_age(out, (now_ms() - generation->replaced_ms) / 1000);
        bytes_append_text(out, " ago");
    }
    if (filters) {
        bool old = !at_work && generation_has_old_scripts(generation, program->generation);
        bytes_append_text(out, old ? ", old filters" : ", today's filters");
    }
    bytes_append_char(out, '\n');
}

void status_list_generations(struct program *program, struct bytes *out) {
    list_generation(program, program->generation, out);
    for (struct link *link = program->retired.head.previous; link != &program->retired.head; link = link->previous) {
        list_generation(program, container_of(link, struct generation, link), out);
    }
}
