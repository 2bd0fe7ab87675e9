#include "program/scripts.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

bool scripts_are_wanted(const struct config *config) {
    for (size_t i = 0; i < config->listeners_count; i++) {
        if (config->listeners[i].filters_count > 0) {
            return true;
        }
    }
    return false;
}

struct noting {
    struct scripts *scripts;
    bool failed;
};

static void note_file(void *argument, const char *path, uint64_t hash) {
    struct noting *noting = argument;
    struct scripts *scripts = noting->scripts;
    noting->failed |= !fingerprints_add(&scripts->files, scripts->held->config->folder, path, hash);
}

/* Now: the filters are the worker's later. */
static bool note_files(struct scripts *scripts) {
    struct noting noting = {.scripts = scripts};
    filters_visit_files(scripts->filters, note_file, &noting);
    return !noting.failed;
}

struct scripts *scripts_load(struct held_config *held, const struct filters_options *options, struct watch *watch,
                             struct config_report *report) {
    struct scripts *scripts = calloc(1, sizeof *scripts);
    if (scripts == NULL) {
        bytes_append_text(&report->text, "no memory for the filters\n");
        return NULL;
    }
    scripts->generations = 1;
    scripts->held = held_config_hold(held);
    scripts->filters = filters_load(held->config, options, watch, report);
    if (scripts->filters != NULL && note_files(scripts)) {
        return scripts;
    }
    if (scripts->filters != NULL) {
        bytes_append_text(&report->text, "no memory for the filters\n");
    }
    scripts_drop(scripts, watch);
    return NULL;
}

struct scripts *scripts_share(struct scripts *scripts) {
    scripts->generations++;
    return scripts;
}

void scripts_drop(struct scripts *scripts, struct watch *watch) {
    if (scripts != NULL && --scripts->generations == 0) {
        check(scripts->epochs == 0);
        filters_destroy(scripts->filters, watch);
        held_config_drop(scripts->held);
        fingerprints_finish(&scripts->files);
        free(scripts);
    }
}

/* --- the same? -------------------------------------------------------------------------------------------------- */

static bool texts_are_same(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Depth is bounded by the configuration's own limit. */
static bool values_are_same(const struct config_value *a, const struct config_value *b) {
    if (a->kind != b->kind || a->quoted != b->quoted || a->items_count != b->items_count ||
        !texts_are_same(a->text, b->text) || !texts_are_same(a->key, b->key)) {
        return false;
    }
    for (size_t i = 0; i < a->items_count; i++) {
        if (!values_are_same(&a->items[i], &b->items[i])) {
            return false;
        }
    }
    return true;
}

static bool filters_are_same(const struct config_filter *a, const struct config_filter *b) {
    return texts_are_same(a->path, b->path) && texts_are_same(a->name, b->name) &&
           values_are_same(&a->params, &b->params) && a->on_error == b->on_error && a->strict == b->strict &&
           a->hold_max == b->hold_max && a->hold_timeout_ms == b->hold_timeout_ms && a->jit == b->jit &&
           a->isolate == b->isolate;
}

static bool limits_are_same(const struct config_lua *a, const struct config_lua *b) {
    if (a->paths_count != b->paths_count || a->memory != b->memory || a->budget_ms != b->budget_ms ||
        a->full_libraries != b->full_libraries) {
        return false;
    }
    for (size_t i = 0; i < a->paths_count; i++) {
        if (!texts_are_same(a->paths[i], b->paths[i])) {
            return false;
        }
    }
    return true;
}

/* With an upstream or without one: what its filters must do depends on that. */
static bool listeners_are_same(const struct config_listener *a, const struct config_listener *b) {
    bool same = strcmp(a->name, b->name) == 0 && a->filters_count == b->filters_count &&
                (a->upstream == CONFIG_NO_UPSTREAM) == (b->upstream == CONFIG_NO_UPSTREAM);
    for (size_t i = 0; same && i < a->filters_count; i++) {
        same = filters_are_same(&a->filters[i], &b->filters[i]);
    }
    return same;
}

/* The next listener with filters, from that index on; NULL: there is none. */
static const struct config_listener *next_filtered(const struct config *config, size_t *index) {
    while (*index < config->listeners_count) {
        const struct config_listener *listener = &config->listeners[(*index)++];
        if (listener->filters_count > 0) {
            return listener;
        }
    }
    return NULL;
}

static bool configs_are_same(const struct config *a, const struct config *b) {
    size_t index_a = 0;
    size_t index_b = 0;
    if (!texts_are_same(a->folder, b->folder) || !limits_are_same(&a->lua, &b->lua)) {
        return false;
    }
    for (;;) {
        const struct config_listener *listener_a = next_filtered(a, &index_a);
        const struct config_listener *listener_b = next_filtered(b, &index_b);
        if (listener_a == NULL || listener_b == NULL) {
            return listener_a == listener_b;
        }
        if (!listeners_are_same(listener_a, listener_b)) {
            return false;
        }
    }
}

bool scripts_are_same(const struct scripts *scripts, const struct config *config) {
    return configs_are_same(scripts->held->config, config) && fingerprints_broken(&scripts->files) == NULL;
}

/* --- at work ---------------------------------------------------------------------------------------------------- */

static size_t find_listener(const struct config *config, const char *name) {
    size_t index = 0;
    while (index < config->listeners_count && strcmp(config->listeners[index].name, name) != 0) {
        index++;
    }
    return index;
}

/* Listeners with filters have kept their names; their numbers may be others. */
struct filter_list *scripts_lists(const struct scripts *scripts, const struct config *config) {
    const struct filter_list *known = filters_lists(scripts->filters);
    struct filter_list *lists = calloc(config->listeners_count + 1, sizeof *lists);
    for (size_t i = 0; lists != NULL && i < config->listeners_count; i++) {
        if (config->listeners[i].filters_count > 0) {
            lists[i] = known[find_listener(scripts->held->config, config->listeners[i].name)];
        }
    }
    return lists;
}

void scripts_begin(struct scripts *scripts, struct engine *engine, struct watch *watch) {
    if (scripts->epochs++ == 0) {
        filters_start(scripts->filters, engine, watch);
    }
}

void scripts_end(struct scripts *scripts) {
    if (--scripts->epochs == 0) {
        filters_stop(scripts->filters);
    }
}
