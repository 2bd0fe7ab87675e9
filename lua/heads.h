/* What begins a connection or a message, as a table for scripts: mr.http1.head, mr.tls.hello, mr.pg.startup. */
#ifndef MOONRING_LUA_HEADS_H
#define MOONRING_LUA_HEADS_H

#include "lua/view.h"

/* Pushes a table of functions, each (string, buf, view or frame) -> a table; or nil, "more"; or nil, "no", reason. */
void heads_push(lua_State *L, struct views *views);

#endif
