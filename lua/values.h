/* The part of `mr` that needs no session: parameters, files, log lines, metrics, clocks, random numbers, and texts made
 * of numbers (moonring/values.lua, params.lua, meter.lua).
 *
 * The life of a script's values, as its owner steers it:
 *
 *     values_open              once, when the script is made
 *     values_set_worker        which worker it will be on
 *     params_set               for each filter: before script_load; then params_were_taken
 *     values_attach            when it has come to its worker's thread
 *     values_set_filter        at each entry: who is to be named in log lines */
#ifndef MOONRING_LUA_VALUES_H
#define MOONRING_LUA_VALUES_H

#include "lua/print.h"
#include "lua/script.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config_filter;

/* What the library's Lua code reads; the same struct stands in moonring/values.lua. */
struct values_shared {
    double *cells;                       /* of metrics, the row that may be written to (lua/metric.h) */
    const uint64_t *now_us;              /* the time of the worker's turn; NULL: ask the clock */
    double (*read_now)(void);            /* monotonic seconds */
    double (*read_time)(void);           /* seconds since 1970 */
    double (*read_random)(void *random); /* 0 to 1, 1 excluded */
    uint64_t random[4];
    uint32_t worker;
};

struct values {
    struct values_shared shared;
    double *row;        /* the worker's, for shared.cells */
    const char *filter; /* whoever set it; NULL: nobody did */
    struct print_limit lines;
    const struct config_filter *loading; /* whose file is being loaded; NULL: one without params */
    bool params_taken;
};

/* Adds its functions to the table on top of the stack, which is `mr`, and `print` to the globals. Inside the door, once
 * for each script. */
void values_open(lua_State *L);

/* The values of a script whose values were opened, until it is destroyed or killed; also outside of the door. */
struct values *values_of(const struct script *script);

/* What mr.worker.id says, from 0; 0 until then. False: not enough memory for the worker's metrics. */
bool values_set_worker(struct values *values, uint32_t worker);
/* From now on metrics are counted in the worker's row. (What a file's top level counts is counted in a row of its own,
 * since the worker may be writing to its row by an older script.) now_us: what mr.now reads; it must live as long as
 * the script is entered. */
void values_attach(struct values *values, const uint64_t *now_us);

/* The text is the caller's, and is read until the next call. */
static inline void values_set_filter(struct values *values, const char *name) {
    values->filter = name;
}

/* --- for the files that make up the library ----------------------------------------------------------------------- */

/* Raises unless a file is being loaded. */
void values_check_loading(lua_State *L, const char *function);

#endif
