#include "lua/print.h"

#include "base/log.h"
#include "engine/ring.h"
#include "lua/libs.h"
#include "lua/values.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

enum { TEXT_SIZE = 4096 }; /* as a line of the log has */

static bool limit_takes(struct print_limit *limit, const char *filter) {
    uint64_t second = kernel_now_ns() / 1000000000;
    if (second != limit->second) {
        if (limit->left_out > 0) {
            log_warn("%s: %" PRIu64 " lines were left out", filter, limit->left_out);
        }
        *limit = (struct print_limit){.second = second};
    }
    if (limit->written < PRINT_LINES_MAX) {
        limit->written++;
        return true;
    }
    if (limit->left_out++ == 0) {
        log_warn("%s: more than %d lines in a second: the rest of this second is left out", filter, PRINT_LINES_MAX);
    }
    return false;
}

/* Appends as much as fits; size counts the text without its 0. */
static size_t text_append(char text[static TEXT_SIZE], size_t size, const char *added, size_t added_size) {
    size_t room = TEXT_SIZE - 1 - size;
    size_t taken = added_size < room ? added_size : room;
    for (size_t index = 0; index < taken; index++) {
        text[size + index] = added[index] != 0 ? added[index] : '.'; /* it would end the line */
    }
    text[size + taken] = 0;
    return size + taken;
}

static int print_values(lua_State *L) {
    enum log_level level = (enum log_level)lua_tointeger(L, lua_upvalueindex(1));
    struct values *values = values_of(script_of(L));
    const char *filter = values->filter != NULL ? values->filter : "script";
    if (level > log_level() || !limit_takes(&values->lines, filter)) {
        return 0;
    }
    script_check_stack(L);
    char text[TEXT_SIZE] = "";
    size_t size = 0;
    int count = lua_gettop(L);
    for (int index = 1; index <= count; index++) {
        size = text_append(text, size, " ", index > 1 ? 1 : 0);
        const char *value = libs_push_text(L, index);
        size = text_append(text, size, value != NULL ? value : "?", value != NULL ? lua_objlen(L, -1) : 1);
        lua_pop(L, 1);
    }
    log_write(level, "%s: %s", filter, text);
    return 0;
}

static void push_print(lua_State *L, enum log_level level) {
    lua_pushinteger(L, level);
    lua_pushcclosure(L, print_values, 1);
}

void print_open(lua_State *L, int mr) {
    static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    lua_newtable(L);
    for (size_t index = 0; index < sizeof(levels) / sizeof(levels[0]); index++) {
        push_print(L, levels[index]);
        lua_setfield(L, -2, log_level_name(levels[index]));
    }
    lua_setfield(L, mr, "log");
    libs_push_globals(L);
    push_print(L, LOG_INFO);
    lua_setfield(L, -2, "print");
    lua_pop(L, 1);
}
