/* A place in a script, for messages. */
#ifndef MOONRING_LUA_PLACE_H
#define MOONRING_LUA_PLACE_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source;

struct place {
    const char *file; /* of the source, which lives as long as the script; NULL: not known, or no file */
    uint32_t line;
    uint32_t last_line; /* of a function; else 0 */
};

/* Where the function on top of the stack is written; pops it. Also outside of the door. */
struct place place_of_function(lua_State *L, const struct source *source);
/* The line at which the innermost function that comes from a file and not from us runs, or stands while it waits. Also
 * outside of the door. */
struct place place_of_running(lua_State *L, const struct source *source);
/* The first line of a script that a message with its traceback names: `file:line: ...`. */
struct place place_of_text(const char *text, const struct source *source);
/* name: of a chunk, as Lua has it: "@path". */
struct place place_of_line(const struct source *source, const char *name, uint32_t line);

/* `file:line`, the file relative to folder where it lies below. Cut to the size. */
void place_format(const struct place *place, const char *folder, char *text, size_t size);

/* Fills in the innermost activation that comes from a file and not from us. False: there is none. */
bool place_find_activation(lua_State *L, lua_Debug *activation);

#endif
