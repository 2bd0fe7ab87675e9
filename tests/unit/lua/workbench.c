#include "tests/unit/lua/workbench.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const default_paths[] = {"lib/?.lua", "?.lua"};

static void workbench_init(struct workbench *workbench, struct watchdog *watchdog) {
    *workbench = (struct workbench){.watchdog = watchdog, .reference = LUA_NOREF};
    strcpy(workbench->folder, "/tmp/moonring-lua-XXXXXX");
    cr_assert_not_null(mkdtemp(workbench->folder));
    workbench->options = (struct script_options){.folder = workbench->folder,
                                                 .paths = default_paths,
                                                 .paths_count = 2,
                                                 .memory_limit = (size_t)64 << 20,
                                                 .budget_ms = 100};
    struct error error = {.text = ""};
    cr_assert(watch_join(&workbench->watch, watchdog, &error), "%s", error.text);
}

void workbench_open(struct workbench *workbench) {
    struct error error = {.text = ""};
    struct watchdog *watchdog = watchdog_create(10, NULL, &error);
    cr_assert_not_null(watchdog, "%s", error.text);
    workbench_init(workbench, watchdog);
    workbench->owns_watchdog = true;
}

void workbench_open_beside(struct workbench *workbench, const struct workbench *first) {
    workbench_init(workbench, first->watchdog);
}

static void workbench_give_thread(struct workbench *workbench) {
    if (workbench->thread != NULL) {
        script_thread_give(workbench->script, workbench->thread);
        workbench->thread = NULL;
    }
}

void workbench_stop(struct workbench *workbench) {
    workbench_give_thread(workbench);
    script_destroy(workbench->script);
    workbench->script = NULL;
}

void workbench_start(struct workbench *workbench) {
    workbench_stop(workbench);
    struct error error = {.text = ""};
    workbench->script = script_create(&workbench->options, &workbench->watch, &error);
    cr_assert_not_null(workbench->script, "%s", error.text);
}

void workbench_open_plain(struct workbench *workbench) {
    workbench_open(workbench);
    workbench_start(workbench);
}

static void folder_remove(const char *folder) {
    DIR *directory = opendir(folder);
    cr_assert_not_null(directory);
    struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            char path[512];
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            remove(path);
        }
    }
    closedir(directory);
    rmdir(folder);
}

void workbench_close(struct workbench *workbench) {
    workbench_stop(workbench);
    watch_leave(&workbench->watch);
    if (workbench->owns_watchdog) {
        watchdog_destroy(workbench->watchdog);
    }
    folder_remove(workbench->folder);
}

void workbench_write_bytes(const struct workbench *workbench, const char *name, const void *bytes, size_t size) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", workbench->folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

void workbench_write(const struct workbench *workbench, const char *name, const char *text) {
    workbench_write_bytes(workbench, name, text, strlen(text));
}

enum script_outcome workbench_load(struct workbench *workbench, const char *name) {
    return script_load(workbench->script, name, &workbench->reference, &workbench->result);
}

enum script_outcome workbench_load_text(struct workbench *workbench, const char *text) {
    workbench_give_thread(workbench);
    workbench_write(workbench, "test.lua", text);
    return workbench_load(workbench, "test.lua");
}

enum script_outcome workbench_call(struct workbench *workbench) {
    workbench_give_thread(workbench);
    workbench->thread = script_thread_take(workbench->script);
    if (workbench->thread == NULL) {
        workbench->result.text = "no thread";
        return SCRIPT_KILLED;
    }
    lua_rawgeti(workbench->thread->state, LUA_REGISTRYINDEX, workbench->reference);
    return script_enter(workbench->script, workbench->thread, 0, &workbench->result);
}

enum script_outcome workbench_run(struct workbench *workbench, const char *text) {
    enum script_outcome outcome = workbench_load_text(workbench, text);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s:\n%s", text, workbench->result.text);
    return workbench_call(workbench);
}

const char *workbench_answer(struct workbench *workbench) {
    bool is_string = lua_type(workbench->thread->state, 1) == LUA_TSTRING;
    return is_string ? lua_tostring(workbench->thread->state, 1) : "";
}

void expect_raises(struct workbench *workbench, const char *text, const char *message) {
    enum script_outcome outcome = workbench_run(workbench, text);
    cr_assert_eq(outcome, SCRIPT_RAISED, "%s: ended with %d instead of an error", text, outcome);
    cr_assert_not_null(strstr(workbench->result.text, message), "%s: says\n%s\ninstead of\n%s", text,
                       workbench->result.text, message);
}

void expect_answers(struct workbench *workbench, const char *text, const char *answer) {
    enum script_outcome outcome = workbench_run(workbench, text);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s: %s", text, workbench->result.text);
    cr_assert_str_eq(workbench_answer(workbench), answer, "%s: answered '%s' instead of '%s'", text,
                     workbench_answer(workbench), answer);
}
