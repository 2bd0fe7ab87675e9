#include "program/reload_watch.h"

#include "base/log.h"
#include "engine/ring.h"

#include <stdlib.h>

/* Files whose texts are somebody else's. */
struct file_list {
    struct config_file *items; /* ours */
    size_t count;
    bool failed; /* memory ran out */
};

static void list_add(struct file_list *list, const struct config_file *file) {
    struct config_file *items = reallocarray(list->items, list->count + 1, sizeof *items);
    if (items == NULL) {
        list->failed = true;
        return;
    }
    list->items = items;
    items[list->count++] = *file;
}

static void list_add_path(struct file_list *list, const char *path) {
    list_add(list, &(struct config_file){.path = path});
}

static void list_add_config(struct file_list *list, const struct config *config) {
    for (size_t i = 0; i < config->files_count; i++) {
        list_add(list, &config->files[i]);
    }
    for (size_t i = 0; i < config->listeners_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        for (size_t j = 0; j < listener->filters_count; j++) {
            list_add_path(list, listener->filters[j].path);
        }
    }
}

/* What was refused could not even be loaded: it names who knows what. */
static bool is_unknown(const struct reload *reload) {
    return reload != NULL && reload->result == RELOAD_REFUSED && reload->held == NULL;
}

static void list_add_all(struct file_list *list, const struct generation *generation, const struct reload *reload) {
    list_add_config(list, generation->config);
    for (size_t i = 0; i < generation->files.count; i++) {
        list_add_path(list, generation->files.items[i].path);
    }
    if (reload != NULL && reload->result != RELOAD_APPLIED && reload->held != NULL) { /* it may include other files */
        list_add_config(list, reload->held->config);
    }
}

void reload_watch_set(struct file_watch *watch, const struct program *program, const struct reload *reload) {
    const struct generation *generation = program->generation;
    struct file_list list = {.items = NULL};
    struct error error;
    if (!generation->config->reload_watch) {
        file_watch_finish(watch);
        return;
    }
    list_add_all(&list, generation, reload);
    file_watch_learn(watch, &generation->files);
    if (reload != NULL) {
        file_watch_learn(watch, &reload->files);
    }
    uint64_t now_ms = kernel_now_ns() / 1000000;
    if (list.failed) {
        log_error("reload.watch: no memory for the names of files");
    } else if (!file_watch_set(watch, list.items, list.count, is_unknown(reload), now_ms, &error)) {
        log_error("%s", error.text);
    }
    free(list.items);
}
