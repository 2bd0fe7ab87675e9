#include "lua/filters.h"

#include "base/error.h"
#include "base/log.h"
#include "config/place.h"
#include "lua/hooks.h"
#include "lua/runtime.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

struct filters {
    struct filters *next; /* those of an earlier epoch on the same engine */
    const struct config *config;
    struct filters_options options;
    struct watch *watch;
    struct engine *engine;     /* NULL: not started */
    struct list runtimes;      /* those that filters live in, and dead ones that still have sessions */
    struct lua_filter *all;    /* ours; in the order of the configuration */
    struct filter **pointers;  /* ours; to each of them */
    struct filter_list *lists; /* ours; one for each listener */
    size_t count;
    bool retired;
};

/* --- what filters are there --------------------------------------------------------------------------------------- */

static size_t count_filters(const struct config *config) {
    size_t count = 0;
    for (size_t index = 0; index < config->listeners_count; index++) {
        count += config->listeners[index].filters_count;
    }
    return count;
}

/* Its path below the folder of the configuration, where it is there: shorter in messages. */
static const char *file_of(const struct config *config, const struct config_filter *filter) {
    size_t size = strlen(config->folder);
    bool is_below = strncmp(filter->path, config->folder, size) == 0 && filter->path[size] == '/';
    return is_below ? filter->path + size + 1 : filter->path;
}

/* False: not enough memory. */
static bool lua_filter_init(struct lua_filter *filter, const struct config *config, uint32_t worker,
                            const struct config_listener *listener, const struct config_filter *config_filter) {
    *filter = (struct lua_filter){.filter = {.calls = &hooks_calls,
                                             .name = config_filter->name,
                                             .on_error = config_filter->on_error,
                                             .strict = config_filter->strict,
                                             .hold_max = config_filter->hold_max,
                                             .hold_timeout_ms = config_filter->hold_timeout_ms},
                                  .config = config_filter,
                                  .listener = listener->name,
                                  .file = file_of(config, config_filter)};
    for (int hook = 0; hook < HOOKS; hook++) {
        filter->hooks[hook] = LUA_NOREF;
    }
    filter->usage = usage_take(filter->listener, config_filter->name, filter->file, worker);
    return filter->usage != NULL;
}

/* False: not enough memory. */
static bool filters_fill(struct filters *filters) {
    const struct config *config = filters->config;
    size_t at = 0;
    bool filled = true;
    for (size_t index = 0; filled && index < config->listeners_count; index++) {
        const struct config_listener *listener = &config->listeners[index];
        filters->lists[index] =
            (struct filter_list){.filters = &filters->pointers[at], .count = listener->filters_count};
        for (size_t position = 0; filled && position < listener->filters_count; position++, at++) {
            filled = lua_filter_init(&filters->all[at], config, filters->options.worker, listener,
                                     &listener->filters[position]);
            filters->pointers[at] = &filters->all[at].filter;
        }
    }
    return filled;
}

static struct filters *filters_create(const struct config *config, const struct filters_options *options,
                                      struct watch *watch) {
    struct filters *filters = calloc(1, sizeof(*filters));
    if (filters == NULL) {
        return NULL;
    }
    *filters = (struct filters){.config = config, .options = *options, .watch = watch};
    list_init(&filters->runtimes);
    filters->count = count_filters(config);
    filters->all = calloc(filters->count + 1, sizeof(filters->all[0]));
    filters->pointers = calloc(filters->count + 1, sizeof(filters->pointers[0]));
    filters->lists = calloc(config->listeners_count + 1, sizeof(filters->lists[0]));
    bool has_memory = filters->all != NULL && filters->pointers != NULL && filters->lists != NULL;
    if (!has_memory || !filters_fill(filters)) {
        filters_destroy(filters, watch);
        return NULL;
    }
    return filters;
}

static struct lua_filter *lua_filter_of(struct filter *filter) {
    return container_of(filter, struct lua_filter, filter);
}

/* Who sees the bytes of a direction before which filter: what `connected` must not read past. */
static void list_find_nearer(const struct filter_list *list) {
    const char *nearer = NULL;
    for (size_t index = 0; index < list->count; index++) {
        lua_filter_of(list->filters[index])->nearer[FROM_CLIENT] = nearer;
        nearer = filter_has(list->filters[index], HOOK_FROM_CLIENT) ? list->filters[index]->name : nearer;
    }
    nearer = NULL;
    for (size_t index = list->count; index > 0; index--) {
        lua_filter_of(list->filters[index - 1])->nearer[FROM_SERVER] = nearer;
        nearer = filter_has(list->filters[index - 1], HOOK_FROM_SERVER) ? list->filters[index - 1]->name : nearer;
    }
}

/* --- reports ------------------------------------------------------------------------------------------------------ */

static void report_filter(struct config_report *report, const struct lua_filter *filter, const char *problem) {
    struct error note;
    error_set(&note, "it is the filter '%s' of listener '%s'", filter->filter.name, filter->listener);
    config_report_error(report, problem, &filter->config->place, note.text);
}

static void report_listener(struct config_report *report, const struct config_listener *listener) {
    char place[CONFIG_PLACE_MAX];
    struct bytes problem;
    bytes_init(&problem);
    config_place_format(&listener->place, place, sizeof(place));
    bytes_printf(&problem, "%s: listener '%s' has no `upstream`, and none of its filters has a hook `route` or `serve`",
                 place, listener->name);
    config_report_error(report, problem.data, NULL, NULL);
    bytes_finish(&problem);
}

static void report_count(struct config_report *report) {
    bytes_printf(&report->text, "%zu error%s: nothing was applied\n", report->errors_count,
                 report->errors_count == 1 ? "" : "s");
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

static struct runtime *filters_make_runtime(struct filters *filters, bool interpreted, struct error *error) {
    const struct config_lua *lua = &filters->config->lua;
    struct runtime_options options = {.script = {.folder = filters->config->folder,
                                                 .paths = lua->paths,
                                                 .paths_count = lua->paths_count,
                                                 .memory_limit = lua->memory,
                                                 .budget_ms = (uint32_t)lua->budget_ms,
                                                 .load_budget_ms = filters->options.load_budget_ms,
                                                 .full_libraries = lua->full_libraries,
                                                 .interpreted = interpreted},
                                      .worker = filters->options.worker,
                                      .trace = filters->options.trace};
    struct runtime *runtime = runtime_create(&options, filters->watch, error);
    if (runtime != NULL) {
        list_append(&filters->runtimes, &runtime->link);
    }
    return runtime;
}

static bool has_own_runtime(const struct lua_filter *filter) {
    return filter->config->isolate || !filter->config->jit;
}

/* The runtime that the filter is to live in; *common: that of those which share one. */
static struct runtime *filters_choose_runtime(struct filters *filters, const struct lua_filter *filter,
                                              struct runtime **common, struct error *error) {
    if (has_own_runtime(filter)) {
        return filters_make_runtime(filters, !filter->config->jit, error);
    }
    if (*common == NULL) {
        *common = filters_make_runtime(filters, false, error);
    }
    return *common;
}

static void filters_load_all(struct filters *filters, struct config_report *report) {
    struct runtime *common = NULL;
    struct bytes problem;
    bytes_init(&problem);
    for (size_t index = 0; index < filters->count; index++) {
        struct lua_filter *filter = &filters->all[index];
        struct error error;
        struct runtime *runtime = filters_choose_runtime(filters, filter, &common, &error);
        bytes_clear(&problem);
        if (runtime == NULL) {
            report_filter(report, filter, error.text);
        } else if (!runtime_is_dead(runtime) && !runtime_load(runtime, filter, &problem)) {
            report_filter(report, filter, problem.data);
        }
    }
    bytes_finish(&problem);
}

/* Here and now, on the control thread: the garbage of top levels is not for the worker, which has traffic. */
static void filters_collect(struct filters *filters, struct config_report *report) {
    list_for_each (link, &filters->runtimes) {
        struct runtime *runtime = container_of(link, struct runtime, link);
        if (!runtime_is_dead(runtime) && !script_collect_all(runtime->script)) {
            config_report_error(report, runtime->script->text, NULL, NULL);
        }
    }
}

static void filters_check_listeners(struct filters *filters, struct config_report *report) {
    for (size_t index = 0; index < filters->config->listeners_count; index++) {
        const struct config_listener *listener = &filters->config->listeners[index];
        const struct filter_list *list = &filters->lists[index];
        bool leads_somewhere = listener->upstream != CONFIG_NO_UPSTREAM;
        for (size_t position = 0; position < list->count; position++) {
            const struct filter *filter = list->filters[position];
            leads_somewhere |= filter_has(filter, HOOK_ROUTE) || filter_has(filter, HOOK_SERVE);
        }
        if (!leads_somewhere && report->errors_count == 0) {
            report_listener(report, listener);
        }
        list_find_nearer(list);
    }
}

struct filters *filters_load(const struct config *config, const struct filters_options *options, struct watch *watch,
                             struct config_report *report) {
    struct filters *filters = filters_create(config, options, watch);
    if (filters == NULL) {
        bytes_append_text(&report->text, "error: not enough memory for filters\n");
        report->errors_count++;
        return NULL;
    }
    filters_load_all(filters, report);
    filters_collect(filters, report);
    filters_check_listeners(filters, report);
    if (report->errors_count > 0) {
        report_count(report);
        filters_destroy(filters, watch);
        return NULL;
    }
    return filters;
}

bool filters_check(const struct config *config, struct watch *watch, struct config_report *report) {
    const struct filters_options options = {.worker = 0};
    struct filters *filters = filters_load(config, &options, watch, report);
    filters_destroy(filters, watch);
    return filters != NULL;
}

/* --- killed VMs --------------------------------------------------------------------------------------------------- */

/* Its sessions are refused or go by, as on_error has it, until the configuration is loaded anew. */
static void lua_filter_switch_off(struct lua_filter *filter, const char *why) {
    filter->runtime = NULL;
    atomic_store_explicit(&filter->usage->off, true, memory_order_relaxed);
    atomic_store_explicit(&filter->usage->memory, 0, memory_order_relaxed);
    log_error("listener %s: filter %s: it is off from now on: %s", filter->listener, filter->filter.name, why);
}

static bool source_has(const struct source *source, const struct source_file *file) {
    for (size_t index = 0; index < source->files_count; index++) {
        if (strcmp(source->files[index].path, file->path) == 0) {
            return source->files[index].hash == file->hash;
        }
    }
    return true;
}

/* The fresh VM read the same as the one before it: a file that was edited meanwhile waits for a reload. */
static bool sources_agree(const struct source *before, const struct source *fresh) {
    for (size_t index = 0; index < fresh->files_count; index++) {
        if (!source_has(before, &fresh->files[index])) {
            return false;
        }
    }
    return true;
}

/* Loads the filter into the fresh runtime, or switches it off. */
static void filters_move(const struct runtime *before, struct runtime *fresh, struct lua_filter *filter) {
    struct bytes problem;
    bytes_init(&problem);
    if (fresh == NULL || runtime_is_dead(fresh)) {
        lua_filter_switch_off(filter, "its VM was killed, and no other could be made");
    } else if (!runtime_load(fresh, filter, &problem)) {
        lua_filter_switch_off(filter, problem.data);
    } else if (!sources_agree(&before->script->source, &fresh->script->source)) {
        lua_filter_switch_off(filter, "its VM was killed, and its file has changed since it was loaded");
    }
    bytes_finish(&problem);
}

static void filters_replace(struct filters *filters, struct runtime *dead) {
    struct error error;
    struct runtime *fresh = NULL;
    if (!filters->retired && filters->watch->kills < SCRIPT_KILLS_MAX) {
        fresh = filters_make_runtime(filters, dead->script->options.interpreted, &error);
    }
    for (size_t index = 0; index < filters->count; index++) {
        struct lua_filter *filter = &filters->all[index];
        if (filter->runtime != dead) {
            continue;
        }
        if (filters->retired) {
            filter->runtime = NULL;
        } else if (lua_filter_is_wild(filter)) {
            lua_filter_switch_off(filter, "its VM was killed three times within a minute");
        } else {
            filters_move(dead, fresh, filter);
        }
    }
    if (fresh != NULL && !runtime_is_dead(fresh)) {
        runtime_start(fresh, filters->engine);
    }
}

static void filters_turn(struct filters *filters) {
    list_for_each (link, &filters->runtimes) {
        struct runtime *runtime = container_of(link, struct runtime, link);
        if (!runtime_is_dead(runtime)) {
            runtime_turn(runtime);
        }
        if (runtime_is_dead(runtime) && !runtime->buried) {
            runtime_bury(runtime);
            filters_replace(filters, runtime);
        }
        if (runtime_is_dead(runtime) && list_is_empty(&runtime->conns)) {
            runtime_destroy(runtime);
        }
    }
}

static void filters_turn_ended(void *argument) {
    struct filters *next;
    for (struct filters *filters = argument; filters != NULL; filters = next) {
        next = filters->next;
        filters_turn(filters);
    }
}

/* --- life --------------------------------------------------------------------------------------------------------- */

const struct filter_list *filters_lists(const struct filters *filters) {
    return filters->count > 0 ? filters->lists : NULL;
}

static void filters_switch_off(struct filters *filters, const struct runtime *runtime, const char *why) {
    for (size_t index = 0; index < filters->count; index++) {
        if (filters->all[index].runtime == runtime) {
            lua_filter_switch_off(&filters->all[index], why);
        }
    }
}

void filters_start(struct filters *filters, struct engine *engine, struct watch *watch) {
    filters->engine = engine;
    filters->watch = watch;
    for (size_t index = 0; index < filters->count; index++) {
        atomic_store_explicit(&filters->all[index].usage->off, false, memory_order_relaxed);
    }
    list_for_each (link, &filters->runtimes) {
        struct runtime *runtime = container_of(link, struct runtime, link);
        if (script_attach(runtime->script, watch)) {
            runtime_start(runtime, engine);
        } else {
            filters_switch_off(filters, runtime, "too many VMs were killed on this worker; a restart helps");
        }
    }
    filters->next = engine->turn_ended_argument;
    engine->turn_ended = filters_turn_ended;
    engine->turn_ended_argument = filters;
}

void filters_retire(struct filters *filters) {
    filters->retired = true;
    list_for_each (link, &filters->runtimes) {
        runtime_retire(container_of(link, struct runtime, link));
    }
}

static void filters_leave(struct filters *filters) {
    struct filters *before = filters->engine->turn_ended_argument;
    if (before == filters) {
        filters->engine->turn_ended_argument = filters->next;
        return;
    }
    while (before->next != filters) {
        before = before->next;
    }
    before->next = filters->next;
}

void filters_stop(struct filters *filters) {
    list_for_each (link, &filters->runtimes) {
        runtime_stop(container_of(link, struct runtime, link));
    }
    filters_leave(filters);
    filters->engine = NULL;
}

void filters_destroy(struct filters *filters, struct watch *watch) {
    if (filters == NULL) {
        return;
    }
    list_for_each (link, &filters->runtimes) {
        struct runtime *runtime = container_of(link, struct runtime, link);
        script_attach(runtime->script, watch);
        runtime_destroy(runtime);
    }
    for (size_t index = 0; filters->all != NULL && index < filters->count; index++) {
        usage_give(filters->all[index].usage);
    }
    free(filters->all);
    free(filters->pointers);
    free(filters->lists);
    free(filters);
}

void filters_visit_files(const struct filters *filters, filters_visit_fn *visit, void *argument) {
    for (struct link *link = filters->runtimes.head.next; link != &filters->runtimes.head; link = link->next) {
        const struct runtime *runtime = container_of(link, struct runtime, link);
        const struct source *source = &runtime->script->source;
        for (size_t index = 0; index < source->files_count; index++) {
            visit(argument, source->files[index].path, source->files[index].hash);
        }
    }
}

/* --- for people --------------------------------------------------------------------------------------------------- */

static void lua_filter_describe(const struct lua_filter *filter, uint32_t worker, struct bytes *out) {
    const struct usage_cells *usage = filter->usage;
    bytes_printf(out, "filter %s worker=%u listener=%s file=", filter->filter.name, worker, filter->listener);
    bytes_append_escaped(out, filter->file, strlen(filter->file));
    bytes_printf(out, " state=%s", filter->runtime != NULL ? "on" : "off");
    for (int hook = 0; hook <= HOOKS; hook++) {
        if (usage_read(&usage->entered[hook]) > 0) {
            bytes_printf(out, " %s=%" PRIu64, hook_name((enum hook)hook), usage_read(&usage->entered[hook]));
        }
    }
    bytes_printf(out,
                 " waiting=%u errors=%" PRIu64 " over=%" PRIu64 " kills=%" PRIu64 " holds=%" PRIu64 " busy_us=%" PRIu64,
                 filter->waiting, usage_read(&usage->errors), usage_read(&usage->over), usage_read(&usage->kills),
                 usage_read(&usage->holds), usage_read(&usage->busy_ns) / 1000);
    if (filter->runtime != NULL) {
        bytes_printf(out, " vm_bytes=%zu", filter->runtime->script->heap.used);
    }
    bytes_append_char(out, '\n');
}

void filters_describe(const struct filters *filters, struct bytes *out) {
    for (size_t index = 0; index < filters->count; index++) {
        lua_filter_describe(&filters->all[index], filters->options.worker, out);
    }
}
