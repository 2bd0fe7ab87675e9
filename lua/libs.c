#include "lua/libs.h"

#include "config/nearest.h"
#include "lua/embed.h"
#include "lua/script.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>

/* What libs.lua returned, in the registry, in its order. */
static const char *const returned_keys[] = {"moonring.globals", "moonring.modules",  "moonring.environment",
                                            "moonring.close",   "moonring.tostring", "moonring.library"};
enum returned { GLOBALS, MODULES, ENVIRONMENT, CLOSE, TOSTRING, LIBRARY, RETURNED_COUNT };

static void push_returned(lua_State *L, enum returned which) {
    lua_getfield(L, LUA_REGISTRYINDEX, returned_keys[which]);
}

/* --- what libs.lua needs of C ------------------------------------------------------------------------------------- */

static int native_check_stack(lua_State *L) {
    script_check_stack(L);
    return 0;
}

static int native_check_room(lua_State *L) {
    script_check_room(L, luaL_checknumber(L, 1));
    return 0;
}

static int native_check_yield(lua_State *L) {
    if (L == script_of(L)->running) {
        luaL_error(L, "coroutine.yield outside of a coroutine of yours (to wait, call mr.sleep or another function "
                      "that waits)");
    }
    return 0;
}

static int native_running(lua_State *L) {
    if (L == script_of(L)->running) {
        return 0;
    }
    lua_pushthread(L);
    return 1;
}

/* Tells values of one VM apart without telling where they lie. */
static int native_disguise(lua_State *L) {
    char text[32];
    uint64_t address = (uintptr_t)lua_topointer(L, 1);
    snprintf(text, sizeof(text), "%016lx", (address ^ script_of(L)->secret) * UINT64_C(0x9e3779b97f4a7c15));
    lua_pushstring(L, text);
    return 1;
}

int libs_nearest(lua_State *L) {
    struct nearest nearest;
    nearest_init(&nearest, luaL_checkstring(L, 2));
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        lua_pop(L, 1);
        if (lua_type(L, -1) == LUA_TSTRING) {
            nearest_offer(&nearest, lua_tostring(L, -1));
        }
    }
    lua_pushstring(L, nearest.best);
    return 1;
}

static int native_is_loading(lua_State *L) {
    lua_pushboolean(L, script_of(L)->loading);
    return 1;
}

static int native_file_exists(lua_State *L) {
    struct script *script = script_of(L);
    lua_pushboolean(L, source_exists(&script->source, script->options.folder, luaL_checkstring(L, 1)));
    return 1;
}

static int native_read_file(lua_State *L) {
    struct script *script = script_of(L);
    struct error error;
    if (!source_read(&script->source, script->options.folder, luaL_checkstring(L, 1), &error)) {
        return luaL_error(L, "%s", error.text);
    }
    lua_pushlstring(L, script->source.text.data, script->source.text.size);
    return 1;
}

static const luaL_Reg natives[] = {{"check_stack", native_check_stack}, {"check_room", native_check_room},
                                   {"check_yield", native_check_yield}, {"running", native_running},
                                   {"disguise", native_disguise},       {"nearest", libs_nearest},
                                   {"is_loading", native_is_loading},   {"file_exists", native_file_exists},
                                   {"read_file", native_read_file},     {NULL, NULL}};

static void push_natives(lua_State *L) {
    const struct script_options *options = &script_of(L)->options;
    lua_newtable(L);
    luaL_register(L, NULL, natives);
    lua_createtable(L, (int)options->paths_count, 0);
    for (size_t index = 0; index < options->paths_count; index++) {
        lua_pushstring(L, options->paths[index]);
        lua_rawseti(L, -2, (int)index + 1);
    }
    lua_setfield(L, -2, "paths");
}

/* --- public ------------------------------------------------------------------------------------------------------- */

void libs_push_chunk(lua_State *L, const char *text, const char *end) {
    if (luaL_loadbufferx(L, text, (size_t)(end - text), "=moonring", "t") != 0) {
        lua_error(L);
    }
}

void libs_open(lua_State *L) {
    luaL_openlibs(L);
    if (script_of(L)->options.interpreted) {
        luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    }
    /* Else a literal like 1ULL opens it in the middle of reading a file. */
    lua_pushcfunction(L, luaopen_ffi);
    lua_call(L, 0, 0);
    libs_push_chunk(L, embed_libs, embed_libs_end);
    push_natives(L);
    lua_pushboolean(L, script_of(L)->options.full_libraries);
    lua_call(L, 2, RETURNED_COUNT);
    for (int which = RETURNED_COUNT - 1; which >= 0; which--) {
        lua_setfield(L, LUA_REGISTRYINDEX, returned_keys[which]);
    }
}

void libs_push_globals(lua_State *L) {
    push_returned(L, GLOBALS);
}

void libs_push_modules(lua_State *L) {
    push_returned(L, MODULES);
}

void libs_push_library(lua_State *L) {
    push_returned(L, LIBRARY);
}

void libs_run(lua_State *L, const char *text, size_t size, const char *name) {
    if (luaL_loadbufferx(L, text, size, name, "t") != 0) {
        lua_error(L);
    }
    push_returned(L, ENVIRONMENT);
    lua_call(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_insert(L, -3); /* environment, function, environment */
    lua_setfenv(L, -2);
    lua_call(L, 0, 1);
    lua_insert(L, -2);
    push_returned(L, CLOSE);
    lua_insert(L, -2);
    lua_call(L, 1, 0);
}

const char *libs_push_text(lua_State *L, int index) {
    lua_pushvalue(L, index);
    push_returned(L, TOSTRING);
    lua_insert(L, -2);
    lua_call(L, 1, 1);
    return lua_tostring(L, -1);
}
