#include "program/reload.h"

#include "base/counter.h"
#include "config/diff.h"
#include "config/json.h"
#include "engine/ring.h"
#include "program/change.h"
#include "program/difference.h"
#include "program/server_orders.h"

void reload_init(struct reload *reload) {
    *reload = (struct reload){.result = RELOAD_REFUSED, .began_ns = kernel_now_ns()};
    bytes_init(&reload->difference);
    bytes_init(&reload->wishes);
    config_report_init(&reload->report);
}

void reload_finish(struct reload *reload) {
    bytes_finish(&reload->difference);
    bytes_finish(&reload->wishes);
    config_report_finish(&reload->report);
    fingerprints_finish(&reload->files);
    held_config_drop(reload->held);
}

/* --- what is asked for ------------------------------------------------------------------------------------------- */

static bool is_possible(const struct program *program, const struct config *next, struct config_report *report) {
    struct bytes changes;
    bytes_init(&changes);
    bool fixed = config_diff_fixed(program->generation->config, next, &changes);
    if (fixed) {
        bytes_printf(&report->text, "this cannot change while moonring runs, only a restart can do it: %s\n",
                     changes.data);
    }
    bytes_finish(&changes);
    return !fixed;
}

/* --- running ---------------------------------------------------------------------------------------------------- */

struct comparison {
    const struct generation *before;
    const struct generation *next;
    struct bytes *difference;
    bool differs;
};

static void errand_compare(void *argument) {
    struct comparison *comparison = argument;
    comparison->differs = generation_differs(comparison->before, comparison->next, comparison->difference);
}

static bool reload_compare(struct reload *reload, struct program *program, const struct generation *next) {
    struct comparison comparison = {.before = program->generation, .next = next, .difference = &reload->difference};
    errand_run_apart(&program->errand, errand_compare, &comparison);
    return comparison.differs;
}

static enum reload_result reload_apply(struct reload *reload, struct program *program, struct held_config *held) {
    struct generation *next = change_prepare(program, held, &reload->report);
    if (next == NULL) {
        return RELOAD_REFUSED;
    }
    bool differs = reload_compare(reload, program, next);
    if (!differs || reload->is_plan) {
        change_abandon(program, next);
        return differs ? RELOAD_APPLIED : RELOAD_UNCHANGED;
    }
    if (!change_listen(program, next, &reload->report)) {
        return RELOAD_REFUSED;
    }
    change_commit(program, next);
    return RELOAD_APPLIED;
}

static void reload_count(const struct reload *reload, struct program *program) {
    struct program_counters *counters = &program->counters;
    if (reload->is_plan) {
        return;
    }
    counter_set(&counters->took_ms, reload->took_ms);
    if (reload->result != RELOAD_REFUSED) {
        counter_set(&counters->succeeded_s, kernel_wall_ms() / 1000);
    }
    switch (reload->result) {
    case RELOAD_APPLIED:
        counter_add(&counters->applied, 1);
        return;
    case RELOAD_UNCHANGED:
        counter_add(&counters->unchanged, 1);
        return;
    case RELOAD_REFUSED:
        counter_add(&counters->refused, 1);
        return;
    }
}

/* For the watch, which wants to know whether they have changed since. */
static void reload_note_files(struct reload *reload, const struct config *config) {
    for (size_t i = 0; i < config->files_count; i++) {
        if (config->files[i].pattern == NULL) {
            fingerprints_add(&reload->files, "", config->files[i].path, fingerprint_of(config->files[i].path));
        }
    }
    for (size_t i = 0; i < config->listeners_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        for (size_t j = 0; j < listener->filters_count; j++) {
            const char *path = listener->filters[j].path;
            fingerprints_add(&reload->files, "", path, fingerprint_of(path));
        }
    }
}

static void reload_run_held(struct reload *reload, struct program *program, struct held_config *held) {
    if (held != NULL) {
        reload->held = held_config_hold(held);
        reload_note_files(reload, held->config);
    }
    if (held != NULL && is_possible(program, held->config, &reload->report)) {
        reload->result = reload_apply(reload, program, held);
    }
    reload->sessions_before = program_sessions_before(program);
    servers_list_wishes(program, "", &reload->wishes);
    reload->took_ms = (kernel_now_ns() - reload->began_ns) / 1000000;
    reload->generation = program->generation->number;
    reload_count(reload, program);
}

void reload_run(struct reload *reload, struct program *program, struct config *config) {
    struct held_config *held = config == NULL ? NULL : held_config_create(config);
    reload_run_held(reload, program, held);
    held_config_drop(held);
}

void reload_back(struct reload *reload, struct program *program) {
    const struct fingerprint *broken = fingerprints_broken(&program->previous_files);
    struct held_config *held = NULL;
    if (program->previous == NULL) {
        bytes_append_text(&reload->report.text, "there was no generation before this one\n");
    } else if (broken != NULL) {
        bytes_printf(&reload->report.text, "%s is not what the generation before has loaded: put that back first\n",
                     broken->path);
    } else {
        held = held_config_hold(program->previous);
    }
    reload_run_held(reload, program, held);
    held_config_drop(held);
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

void reload_describe(const struct reload *reload, struct bytes *out) {
    unsigned long number = (unsigned long)reload->generation;
    unsigned long took_ms = (unsigned long)reload->took_ms;
    const char *what = reload->is_plan ? "plan" : "reload";
    switch (reload->result) {
    case RELOAD_APPLIED:
        bytes_printf(out, reload->is_plan ? "plan: fine; generation %lu is still serving" : "reloaded: generation %lu",
                     number);
        break;
    case RELOAD_UNCHANGED:
        bytes_printf(out, "%s: nothing has changed; generation %lu goes on", what, number);
        break;
    case RELOAD_REFUSED:
        bytes_printf(out, "%s refused; generation %lu is still serving", what, number);
        break;
    }
    bytes_printf(out, ", %lu ms", took_ms);
    if (reload->difference.size > 0) {
        bytes_printf(out, ": %s", reload->difference.data);
    }
    if (reload->result == RELOAD_APPLIED && !reload->is_plan && reload->sessions_before > 0) {
        bytes_printf(out, "; %lu sessions keep what they had", (unsigned long)reload->sessions_before);
    }
    if (reload->wishes.size > 0) {
        bytes_printf(out, "; by operators: %s", reload->wishes.data);
    }
}

static const char *result_name(enum reload_result result) {
    switch (result) {
    case RELOAD_APPLIED:
        return "applied";
    case RELOAD_UNCHANGED:
        return "unchanged";
    case RELOAD_REFUSED:
        return "refused";
    }
    return "unknown";
}

void reload_to_json(const struct reload *reload, struct bytes *out) {
    struct json json = {.out = out};
    json_begin(&json, NULL, '{');
    json_text(&json, "result", result_name(reload->result));
    json_bool(&json, "plan", reload->is_plan);
    json_number(&json, "generation", reload->generation);
    json_number(&json, "took_ms", reload->took_ms);
    json_text(&json, "difference", reload->difference.data);
    json_text(&json, "report", reload->report.text.data);
    json_number(&json, "sessions_before", reload->sessions_before);
    json_text(&json, "servers_by_operators", reload->wishes.data);
    json_end(&json, '}');
    bytes_append_char(out, '\n');
}
