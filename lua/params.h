/* What a filter's YAML says under `params`, as mr.params gives it to the script (moonring/params.lua). */
#ifndef MOONRING_LUA_PARAMS_H
#define MOONRING_LUA_PARAMS_H

#include "base/error.h"
#include "lua/values.h"

#include <lua.h>
#include <stdbool.h>

struct config_filter;

/* Which filter's file is loaded next: its params are what mr.params will check and give, and its name stands in log
 * lines from now on. `filter` is read until the load has ended and params_were_taken was asked. NULL: a file that is
 * used without a configuration; everything has its default. */
void params_set(struct values *values, const struct config_filter *filter);

/* After a load that succeeded. False: the YAML has parameters, and the script never called mr.params; the error says so
 * with the place. */
bool params_were_taken(const struct values *values, struct error *error);

/* Adds what moonring/params.lua needs to the table on top of the stack. Inside the door. */
void params_open(lua_State *L);

#endif
