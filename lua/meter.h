/* Metrics (lua/metric.h) as scripts see them: mr.counter, mr.gauge and mr.histogram are in moonring/meter.lua. */
#ifndef MOONRING_LUA_METER_H
#define MOONRING_LUA_METER_H

#include <lua.h>

/* Adds what moonring/meter.lua needs to the table on top of the stack. Inside the door. */
void meter_open(lua_State *L);

#endif
