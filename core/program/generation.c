#include "program/generation.h"

#include "base/check.h"
#include "engine/ring.h"
#include "program/resolve.h"

#include <stdlib.h>
#include <string.h>

/* Returns false, for `return report_say(...)`. */
static bool report_say(struct config_report *report, const char *text) {
    bytes_printf(&report->text, "%s\n", text);
    return false;
}

/* --- listeners -------------------------------------------------------------------------------------------------- */

static struct listener *find_listener(const struct generation *generation, const char *name) {
    for (size_t i = 0; generation != NULL && i < generation->config->listeners_count; i++) {
        if (strcmp(generation->listeners[i]->name, name) == 0) {
            return generation->listeners[i];
        }
    }
    return NULL;
}

static void listener_free(struct listener *listener) {
    if (listener != NULL) {
        tally_drop(listener->tally);
        free(listener->name);
        free(listener);
    }
}

static struct listener *listener_make(const char *name, struct quota *process) {
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL || (listener->name = strdup(name)) == NULL || (listener->tally = tally_create()) == NULL) {
        listener_free(listener);
        return NULL;
    }
    listener->process = process;
    return listener;
}

static void listener_drop(struct listener *listener) {
    if (listener != NULL && --listener->references == 0) {
        check(atomic_load(&listener->quota.active) == 0);
        listener_free(listener);
    }
}

static bool generation_make_listeners(struct generation *generation, const struct generation *before,
                                      struct quota *process) {
    const struct config *config = generation->config;
    generation->listeners = calloc(config->listeners_count, sizeof *generation->listeners);
    for (size_t i = 0; generation->listeners != NULL && i < config->listeners_count; i++) {
        const char *name = config->listeners[i].name;
        struct listener *listener = find_listener(before, name);
        listener = listener != NULL ? listener : listener_make(name, process);
        if (listener == NULL) {
            return false;
        }
        listener->references++;
        generation->listeners[i] = listener;
    }
    return generation->listeners != NULL;
}

/* --- parts ------------------------------------------------------------------------------------------------------ */

/* What the generation before has for that worker; NULL: nothing. */
static const struct generation_part *part_before(const struct generation *before, uint32_t worker) {
    return before != NULL && worker < before->workers ? &before->parts[worker] : NULL;
}

static bool part_take_scripts(struct generation_part *part, struct generation *generation,
                              const struct generation_part *before, const struct generation_options *options,
                              struct config_report *report) {
    const struct filters_options of_worker = {.worker = (uint32_t)(part - generation->parts), .trace = options->trace};
    bool same = before != NULL && before->scripts != NULL && scripts_are_same(before->scripts, generation->config);
    part->scripts =
        same ? scripts_share(before->scripts) : scripts_load(generation->held, &of_worker, options->watch, report);
    if (part->scripts == NULL) {
        return false;
    }
    part->filter_lists = scripts_lists(part->scripts, generation->config);
    return part->filter_lists != NULL || report_say(report, "no memory for the filters");
}

static bool generation_take_scripts(struct generation *generation, const struct generation *before,
                                    const struct generation_options *options, struct config_report *report) {
    generation->watch = options->watch;
    bool taken = true;
    if (scripts_are_wanted(generation->config)) {
        for (uint32_t worker = 0; taken && worker < generation->workers; worker++) {
            taken =
                part_take_scripts(&generation->parts[worker], generation, part_before(before, worker), options, report);
        }
    }
    const struct scripts *scripts = generation->parts[0].scripts;
    if (taken && scripts != NULL && !fingerprints_copy(&generation->files, &scripts->files)) {
        return report_say(report, "no memory for the names of files");
    }
    return taken;
}

/* The queue of the generation before goes on, if it is to the same log in the same form. */
static bool part_take_queue(struct generation_part *part, struct generation *generation,
                            const struct generation *before) {
    const struct generation_part *old = part_before(before, (uint32_t)(part - generation->parts));
    enum config_access_format format = generation->config->log.access_format;
    if (generation->access_log == NULL) {
        return true;
    }
    bool same =
        old != NULL && before->access_log == generation->access_log && access_queue_format(old->access_queue) == format;
    part->access_queue =
        same ? access_queue_hold(old->access_queue) : access_queue_create(generation->access_log->log, format);
    return part->access_queue != NULL;
}

/* Where the worker's sessions are counted. */
static bool part_take_tallies(struct generation_part *part, struct generation *generation) {
    uint32_t worker = (uint32_t)(part - generation->parts);
    struct epoch *epoch = part->epoch;
    bool taken = true;
    for (size_t i = 0; i < epoch->settings_count; i++) {
        epoch->settings[i].counted_by = generation->listeners[i];
        epoch->settings[i].tally = tally_cells(generation->listeners[i]->tally, worker);
        taken = taken && epoch->settings[i].tally != NULL;
    }
    epoch->tallies = calloc(epoch->upstreams_count + 1, sizeof *epoch->tallies);
    for (size_t i = 0; epoch->tallies != NULL && i < epoch->upstreams_count; i++) {
        epoch->tallies[i] = tally_cells(generation->upstreams[i].tally, worker);
        taken = taken && epoch->tallies[i] != NULL;
    }
    return taken && epoch->tallies != NULL;
}

static bool part_make_epoch(struct generation_part *part, struct generation *generation) {
    const struct config *config = generation->config;
    part->epoch = epoch_create(config->listeners, config->listeners_count, generation->upstreams,
                               config->upstreams_count, part->filter_lists, kernel_random());
    if (part->epoch == NULL) {
        return false;
    }
    for (size_t i = 0; i < config->listeners_count; i++) {
        part->epoch->settings[i].sources = limiters_sources(&generation->limiters, i);
    }
    part->epoch->generation = generation;
    part->epoch->access_log = part->access_queue;
    part->epoch->access_lines = logs_lines(&config->log);
    return part_take_tallies(part, generation);
}

static void part_finish(struct generation_part *part, struct watch *watch) {
    epoch_destroy(part->epoch);
    scripts_drop(part->scripts, watch);
    free(part->filter_lists);
    if (part->access_queue != NULL) {
        access_queue_release(part->access_queue);
    }
}

/* --- on the control thread -------------------------------------------------------------------------------------- */

static bool generation_make_parts(struct generation *generation, const struct generation *before) {
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        struct generation_part *part = &generation->parts[worker];
        if (!part_take_queue(part, generation, before) || !part_make_epoch(part, generation)) {
            return false;
        }
    }
    return true;
}

static bool generation_make(struct generation *generation, const struct generation *before,
                            const struct generation_options *options, struct config_report *report) {
    struct error error;
    generation->upstreams = upstreams_create(generation->config, before == NULL ? NULL : before->config,
                                             before == NULL ? NULL : before->upstreams, options->give_up, &error);
    if (generation->upstreams == NULL) {
        return report_say(report, error.text);
    }
    generation->parts = calloc(options->workers, sizeof *generation->parts);
    if (generation->parts == NULL) {
        return report_say(report, "no memory for the workers' parts of the configuration");
    }
    generation->workers = options->workers;
    if (!generation_take_scripts(generation, before, options, report)) {
        return false;
    }
    return (generation_make_listeners(generation, before, options->process) &&
            limiters_take(&generation->limiters, generation->config, before == NULL ? NULL : &before->limiters,
                          before == NULL ? NULL : before->config) &&
            generation_make_parts(generation, before)) ||
           report_say(report, "no memory for the listeners");
}

struct generation *generation_create(struct held_config *held, const struct generation *before,
                                     const struct generation_options *options, struct config_report *report) {
    struct generation *generation = malloc(sizeof *generation);
    if (generation == NULL) {
        report_say(report, "no memory for another generation of the configuration");
        return NULL;
    }
    *generation = (struct generation){.number = before == NULL ? 1 : before->number + 1,
                                      .held = held_config_hold(held),
                                      .config = held->config,
                                      .access_log = options->access_log};
    link_init(&generation->link);
    if (generation->access_log != NULL) {
        generation->access_log->generations++;
    }
    if (!generation_make(generation, before, options, report)) {
        generation_destroy(generation);
        return NULL;
    }
    return generation;
}

void generation_commit(const struct generation *generation) {
    for (size_t i = 0; i < generation->config->listeners_count; i++) {
        const struct config_listener *config = &generation->config->listeners[i];
        struct listener *listener = generation->listeners[i];
        atomic_store(&listener->backlog, config->tcp.backlog);
        atomic_store(&listener->quota.max, config->connections_max);
    }
}

bool generation_is_over(const struct generation *generation) {
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        if (!atomic_load(&generation->parts[worker].left)) {
            return false;
        }
    }
    return true;
}

bool generation_has_news(const struct generation *generation) {
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        const struct generation_part *part = &generation->parts[worker];
        if (part->scripts != NULL && atomic_load(&part->scripts_over)) {
            return true;
        }
    }
    return generation_is_over(generation);
}

void generation_tend(struct generation *generation) {
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        struct generation_part *part = &generation->parts[worker];
        if (atomic_load(&part->scripts_over)) {
            scripts_drop(part->scripts, generation->watch);
            part->scripts = NULL;
        }
    }
}

bool generation_has_old_scripts(const struct generation *generation, const struct generation *other) {
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        const struct scripts *scripts = generation->parts[worker].scripts;
        const struct generation_part *part = part_before(other, worker);
        if (scripts != NULL && (part == NULL || part->scripts != scripts)) {
            return true;
        }
    }
    return false;
}

void generation_destroy(struct generation *generation) {
    if (generation == NULL) {
        return;
    }
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        part_finish(&generation->parts[worker], generation->watch);
    }
    for (size_t i = 0; generation->listeners != NULL && i < generation->config->listeners_count; i++) {
        listener_drop(generation->listeners[i]);
    }
    limiters_drop(&generation->limiters);
    upstreams_destroy(generation->upstreams, generation->config->upstreams_count);
    link_remove(&generation->link);
    if (generation->access_log != NULL) {
        generation->access_log->generations--;
    }
    fingerprints_finish(&generation->files);
    free(generation->parts);
    free(generation->listeners);
    held_config_drop(generation->held);
    free(generation);
}

/* --- on a worker's thread --------------------------------------------------------------------------------------- */

void generation_begin(struct generation *generation, struct worker *worker, struct watch *watch) {
    struct scripts *scripts = generation->parts[worker->options.number].scripts;
    if (scripts != NULL) {
        scripts_begin(scripts, &worker->engine, watch);
    }
}

void generation_retire(struct generation *generation, const struct generation *next, uint32_t worker) {
    struct scripts *scripts = generation->parts[worker].scripts;
    bool goes_on = next != NULL && next->parts[worker].scripts == scripts;
    if (scripts != NULL && !goes_on) {
        filters_retire(scripts->filters);
    }
}

void generation_end_scripts(struct generation *generation, uint32_t worker) {
    struct generation_part *part = &generation->parts[worker];
    scripts_end(part->scripts);
    atomic_store(&part->scripts_over, true);
}

void generation_leave(struct generation *generation, uint32_t worker) {
    atomic_store(&generation->parts[worker].left, true);
}

void generation_describe_filters(const struct generation *generation, uint32_t worker, struct bytes *out) {
    const struct scripts *scripts = generation->parts[worker].scripts;
    if (scripts != NULL) {
        filters_describe(scripts->filters, out);
    }
}
