#include "lua/values.h"

#include "base/check.h"
#include "engine/ring.h"
#include "lua/embed.h"
#include "lua/file.h"
#include "lua/libs.h"
#include "lua/meter.h"
#include "lua/metric.h"
#include "lua/params.h"

#include <lauxlib.h>

/* Where the values are in the registry. luaL_ref takes no negative numbers, and a number, other than a string, can be
 * looked up outside of the door. */
enum { VALUES_KEY = -1 };

struct values *values_of(const struct script *script) {
    lua_rawgeti(script->state, LUA_REGISTRYINDEX, VALUES_KEY);
    struct values *values = lua_touserdata(script->state, -1);
    lua_pop(script->state, 1);
    check(values != NULL);
    return values;
}

void values_check_loading(lua_State *L, const char *function) {
    if (script_of(L)->loading == 0) {
        luaL_error(L, "mr.%s: only at the top level, since it stops every connection meanwhile", function);
    }
}

/* --- what the library calls by way of FFI: no Lua from here ------------------------------------------------------- */

static double read_now(void) {
    return (double)kernel_now_ns() / 1e9;
}

static double read_time(void) {
    return (double)kernel_wall_ms() / 1e3;
}

static uint64_t rotated(uint64_t value, int bits) {
    return value << bits | value >> (64 - bits);
}

/* xoshiro256**, by Blackman and Vigna: fast and even, but no secret can be made of it. */
static double read_random(void *random) {
    uint64_t *state = random;
    uint64_t result = rotated(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotated(state[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static struct values *values_create(lua_State *L) {
    struct values *values = lua_newuserdata(L, sizeof(*values));
    *values = (struct values){
        .shared = {.cells = metric_row(0), .read_now = read_now, .read_time = read_time, .read_random = read_random},
    };
    lua_rawseti(L, LUA_REGISTRYINDEX, VALUES_KEY);
    if (values->shared.cells == NULL) {
        luaL_error(L, "not enough memory for metrics");
    }
    for (size_t index = 0; index < sizeof(values->shared.random) / sizeof(values->shared.random[0]); index++) {
        values->shared.random[index] = kernel_random();
    }
    return values;
}

/* Runs (natives, mr, shared) -> value, which is left on the stack. The natives are on top of it, shared is a value at
 * an index. */
static void values_run(lua_State *L, const char *text, const char *end, int mr, int natives, int shared) {
    libs_push_chunk(L, text, end);
    lua_pushvalue(L, natives);
    lua_pushvalue(L, mr);
    lua_pushvalue(L, shared);
    lua_call(L, 3, 1);
}

void values_open(lua_State *L) {
    int mr = lua_gettop(L);
    struct values *values = values_create(L);
    print_open(L, mr);
    file_open(L, mr);
    lua_newtable(L);
    params_open(L);
    meter_open(L);
    int natives = mr + 1;
    int shared = mr + 2;
    lua_pushlightuserdata(L, &values->shared);
    values_run(L, embed_values, embed_values_end, mr, natives, shared);
    lua_replace(L, shared); /* the same, as Lua code can read it */
    values_run(L, embed_params, embed_params_end, mr, natives, shared);
    values_run(L, embed_meter, embed_meter_end, mr, natives, shared);
    lua_settop(L, mr);
}

/* --- use ---------------------------------------------------------------------------------------------------------- */

bool values_set_worker(struct values *values, uint32_t worker) {
    values->shared.worker = worker;
    values->row = metric_row(worker + 1);
    return values->row != NULL;
}

void values_attach(struct values *values, const uint64_t *now_us) {
    if (values->row != NULL) {
        values->shared.cells = values->row;
    }
    values->shared.now_us = now_us;
}
