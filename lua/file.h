/* Files that scripts read while they are loaded: mr.read_file, mr.lines, mr.cidr_set. */
#ifndef MOONRING_LUA_FILE_H
#define MOONRING_LUA_FILE_H

#include <lua.h>

/* Adds the functions to the table `mr` at the index. Inside the door. */
void file_open(lua_State *L, int mr);

#endif
