/* One side of a session, as scripts see it: conn.client and conn.server. */
#ifndef MOONRING_LUA_ENDPOINT_H
#define MOONRING_LUA_ENDPOINT_H

#include "lua/conn.h"

/* Pushes the endpoint that bytes of the direction come from. Inside the door. */
void endpoint_push(lua_State *L, struct conn *conn, enum direction direction);
/* The session is over: whoever still holds the endpoint can do nothing with it. The reference is given back. */
void endpoint_forget(lua_State *L, int reference);

/* For C functions that Lua calls: writes the string or view at the index into the stream of that direction, behind the
 * conn's filter. Raises when it is neither, or is too much. False: that stream has ended. */
bool endpoint_write(lua_State *L, int index, struct conn *conn, enum direction direction);

/* The address has an IP; pushes it, without port and brackets. */
bool endpoint_has_ip(const struct address *address);
void endpoint_push_ip(lua_State *L, const struct address *address);

/* Pushes the table of C functions that conn.lua makes the methods of. */
void endpoint_push_natives(lua_State *L);

#endif
