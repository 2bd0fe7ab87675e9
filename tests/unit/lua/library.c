#include "tests/unit/lua/library.h"

#include "base/clock.h"
#include "base/log.h"
#include "lua/libs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int open_values(lua_State *L, void *argument) {
    (void)argument;
    libs_push_library(L);
    values_open(L);
    return 0;
}

enum script_outcome library_add(struct workbench *workbench) {
    return script_call(workbench->script, open_values, NULL, &workbench->result);
}

void library_start(struct workbench *workbench) {
    workbench_start(workbench);
    cr_assert_eq(library_add(workbench), SCRIPT_RETURNED, "%s", workbench->result.text);
}

void library_open(struct workbench *workbench) {
    workbench_open(workbench);
    library_start(workbench);
}

struct values *library_values(const struct workbench *workbench) {
    return values_of(workbench->script);
}

void expect_load_raises(struct workbench *workbench, const char *text, const char *message) {
    enum script_outcome outcome = workbench_load_text(workbench, text);
    cr_assert_eq(outcome, SCRIPT_RAISED, "%s: ended with %d: %s", text, outcome, workbench->result.text);
    const char *traceback = strstr(workbench->result.text, "\nstack traceback:");
    size_t size = traceback != NULL ? (size_t)(traceback - workbench->result.text) : strlen(workbench->result.text);
    bool same = strlen(message) == size && memcmp(workbench->result.text, message, size) == 0;
    cr_assert(same, "%s: says\n%s\ninstead of\n%s", text, workbench->result.text, message);
}

/* --- the log ------------------------------------------------------------------------------------------------------ */

static void log_path(const struct workbench *workbench, char path[static 128]) {
    snprintf(path, 128, "%s/error.log", workbench->folder);
}

void library_log_open(const struct workbench *workbench) {
    struct error error = {.text = ""};
    char path[128];
    log_path(workbench, path);
    cr_assert(log_open(path, &error), "%s", error.text);
}

char *library_log_read(const struct workbench *workbench) {
    char path[128];
    log_path(workbench, path);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    char line[8192];
    struct bytes all;
    bytes_init(&all);
    while (fgets(line, sizeof(line), file) != NULL) {
        cr_assert_gt(strlen(line), CLOCK_TEXT_SIZE);
        bytes_append_text(&all, line + CLOCK_TEXT_SIZE);
    }
    fclose(file);
    char *text = strdup(all.data);
    bytes_finish(&all);
    cr_assert_not_null(text);
    return text;
}
