/* conn.proxy: what the PROXY header of a session said. */
#ifndef MOONRING_LUA_PROXY_H
#define MOONRING_LUA_PROXY_H

#include "lua/conn.h"

/* Pushes a table of its own, which stays good after the session; nothing when there was no header. Returns how many
 * values it pushed. Inside the door; raises. */
int proxy_push(lua_State *L, const struct conn *conn);

#endif
