/* Lua's own libraries as filters see them (moonring/libs.lua), and what that needs of C. All of these run inside the
 * door. */
#ifndef MOONRING_LUA_LIBS_H
#define MOONRING_LUA_LIBS_H

#include <lua.h>
#include <stddef.h>

/* Opens the libraries. Once, first of all. */
void libs_open(lua_State *L);

/* Pushes the table of the globals that each file loaded from then on gets a copy of: for what we add. */
void libs_push_globals(lua_State *L);
/* Pushes the table in which `require` looks for a name before it looks for a file: for what we add. */
void libs_push_modules(lua_State *L);

/* Pushes the table of what `require "moonring"` offers: for what we add. */
void libs_push_library(lua_State *L);

/* Pushes a file of ours (lua/embed.h) as a function. */
void libs_push_chunk(lua_State *L, const char *text, const char *end);

/* Loads text (never bytecode) with an environment of its own, runs it, and pushes the first value that it returned.
 * Raises its errors. name: of the chunk, as Lua has it: "@path". */
void libs_run(lua_State *L, const char *text, size_t size, const char *name);

/* For Lua code of ours, (table, name): the key that name is likely a misspelling of, or nil. */
int libs_nearest(lua_State *L);

/* Pushes the value at the index as text, without addresses. May call its __tostring. */
const char *libs_push_text(lua_State *L, int index);

#endif
