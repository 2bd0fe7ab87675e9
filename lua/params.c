#include "lua/params.h"

#include "base/units.h"
#include "config/config.h"
#include "lua/libs.h"
#include "lua/script.h"

#include <lauxlib.h>
#include <string.h>

void params_set(struct values *values, const struct config_filter *filter) {
    values->loading = filter;
    values->params_taken = false;
    values_set_filter(values, filter != NULL ? filter->name : NULL);
}

/* The name of the file that a path ends in. */
static const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

bool params_were_taken(const struct values *values, struct error *error) {
    const struct config_filter *filter = values->loading;
    if (filter == NULL || filter->params.items_count == 0 || values->params_taken) {
        return true;
    }
    const struct config_value *first = &filter->params.items[0];
    error_set(error, "params.%s: %s takes no parameters: it does not call mr.params", first->key,
              path_name(filter->path));
    if (first->key_place.line > 0) {
        error_prefix(error, "%s:%u:%u: ", first->key_place.file, first->key_place.line, first->key_place.column);
    }
    return false;
}

/* --- what params.lua needs ---------------------------------------------------------------------------------------- */

/* What stands in front of a message about it. */
static void push_place(lua_State *L, const struct config_place *place) {
    if (place->line > 0) {
        lua_pushfstring(L, "%s:%d:%d: ", place->file, (int)place->line, (int)place->column);
    } else if (place->file != NULL) {
        lua_pushfstring(L, "%s: ", place->file);
    } else {
        lua_pushliteral(L, "");
    }
}

/* {place, key, key_place, text} or {..., items}; `kind` says which, in words. */
static void push_value(lua_State *L, const struct config_value *value) {
    static const char *const kinds[] = {
        [CONFIG_VALUE_TEXT] = "a text", [CONFIG_VALUE_LIST] = "a list", [CONFIG_VALUE_MAP] = "a map"};
    luaL_checkstack(L, 8, NULL);
    lua_newtable(L);
    push_place(L, &value->place);
    lua_setfield(L, -2, "place");
    lua_pushstring(L, kinds[value->kind]);
    lua_setfield(L, -2, "kind");
    if (value->key != NULL) {
        push_place(L, &value->key_place);
        lua_setfield(L, -2, "key_place");
        lua_pushstring(L, value->key);
        lua_setfield(L, -2, "key");
    }
    if (value->kind == CONFIG_VALUE_TEXT) {
        lua_pushstring(L, value->text);
        lua_setfield(L, -2, "text");
        return;
    }
    lua_createtable(L, (int)value->items_count, 0);
    for (size_t index = 0; index < value->items_count; index++) {
        push_value(L, &value->items[index]);
        lua_rawseti(L, -2, (int)index + 1);
    }
    lua_setfield(L, -2, "items");
}

/* What the YAML has: a map like push_value's. Or nil and what is wrong with the call. */
static int native_take_params(lua_State *L) {
    struct script *script = script_of(L);
    struct values *values = values_of(script);
    if (script->loading == 0) {
        lua_pushnil(L);
        lua_pushliteral(L, "only at the top level: what it returns does not change");
        return 2;
    }
    if (values->params_taken) {
        lua_pushnil(L);
        lua_pushliteral(L, "called twice: all parameters are declared in one call");
        return 2;
    }
    static const struct config_value nothing = {.kind = CONFIG_VALUE_MAP};
    values->params_taken = values->loading != NULL;
    push_value(L, values->loading != NULL ? &values->loading->params : &nothing);
    return 1;
}

/* The number, or nil and what is wrong with the text. */
static int push_parsed(lua_State *L, bool parsed, double number, const struct error *error) {
    if (parsed) {
        lua_pushnumber(L, number);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, error->text);
    return 2;
}

static int native_duration(lua_State *L) {
    uint64_t microseconds = 0;
    struct error error;
    bool parsed = units_parse_duration(luaL_checkstring(L, 1), &microseconds, &error);
    return push_parsed(L, parsed, (double)microseconds / 1e6, &error);
}

static int native_size(lua_State *L) {
    uint64_t bytes = 0;
    struct error error;
    bool parsed = units_parse_size(luaL_checkstring(L, 1), &bytes, &error);
    return push_parsed(L, parsed, (double)bytes, &error);
}

void params_open(lua_State *L) {
    static const luaL_Reg natives[] = {{"take_params", native_take_params},
                                       {"duration", native_duration},
                                       {"size", native_size},
                                       {"nearest", libs_nearest},
                                       {NULL, NULL}};
    luaL_register(L, NULL, natives);
}
