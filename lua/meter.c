#include "lua/meter.h"

#include "lua/metric.h"
#include "lua/script.h"

#include <lauxlib.h>

/* Nothing here is called by scripts: meter.lua has checked the types. */

static int refuse(lua_State *L, const char *text) {
    lua_pushnil(L);
    lua_pushstring(L, text);
    return 2;
}

static const char *read_labels(lua_State *L, int index, struct metric_definition *definition) {
    definition->labels_count = lua_objlen(L, index);
    if (definition->labels_count > METRIC_LABELS_MAX) {
        return "too many labels (at most 8)";
    }
    for (size_t label = 0; label < definition->labels_count; label++) {
        lua_rawgeti(L, index, (int)label + 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            return "labels are a list of strings";
        }
        definition->labels[label] = lua_tostring(L, -1); /* the list keeps it */
        lua_pop(L, 1);
    }
    return NULL;
}

static const char *read_buckets(lua_State *L, int index, struct metric_definition *definition) {
    definition->buckets_count = lua_objlen(L, index);
    if (definition->buckets_count > METRIC_BUCKETS_MAX) {
        return "too many buckets (at most 50)";
    }
    for (size_t bucket = 0; bucket < definition->buckets_count; bucket++) {
        lua_rawgeti(L, index, (int)bucket + 1);
        if (lua_type(L, -1) != LUA_TNUMBER) {
            return "buckets are a list of numbers";
        }
        definition->buckets[bucket] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    return NULL;
}

/* (type, name, help, labels, buckets): the metric's number, or nil and why there is none. */
static int native_define(lua_State *L) {
    struct metric_definition definition = {
        .type = (enum metric_type)luaL_checkoption(L, 1, NULL, metric_type_names),
        .name = luaL_checkstring(L, 2),
        .help = luaL_checkstring(L, 3),
    };
    const char *problem = read_labels(L, 4, &definition);
    if (problem == NULL) {
        problem = read_buckets(L, 5, &definition);
    }
    if (problem != NULL) {
        return refuse(L, problem);
    }
    uint32_t metric;
    struct error error;
    if (!metric_define(&definition, &metric, &error)) {
        return refuse(L, error.text);
    }
    lua_pushinteger(L, (lua_Integer)metric);
    return 1;
}

/* (metric, values...): the first cell. There is a string for each label. */
static int native_series(lua_State *L) {
    struct metric_value values[METRIC_LABELS_MAX];
    int count = lua_gettop(L) - 1;
    luaL_argcheck(L, count <= METRIC_LABELS_MAX, METRIC_LABELS_MAX + 1, "too many values");
    for (int index = 0; index < count; index++) {
        values[index].text = luaL_checklstring(L, index + 2, &values[index].size);
    }
    lua_pushinteger(L, (lua_Integer)metric_series((uint32_t)luaL_checkinteger(L, 1), values));
    return 1;
}

static int native_is_loading(lua_State *L) {
    lua_pushboolean(L, script_of(L)->loading);
    return 1;
}

void meter_open(lua_State *L) {
    static const luaL_Reg natives[] = {
        {"define", native_define}, {"series", native_series}, {"is_loading", native_is_loading}, {NULL, NULL}};
    luaL_register(L, NULL, natives);
    lua_pushinteger(L, METRIC_SERIES_MAX);
    lua_setfield(L, -2, "series_max");
}
