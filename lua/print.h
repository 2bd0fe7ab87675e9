/* `print` and `mr.log`: lines of a script in the error log. */
#ifndef MOONRING_LUA_PRINT_H
#define MOONRING_LUA_PRINT_H

#include <lua.h>
#include <stdint.h>

/* A filter that logs each chunk must neither stall its worker nor hide what others log. */
enum { PRINT_LINES_MAX = 100 }; /* a second, of one script */

struct print_limit {
    uint64_t second;  /* the one that is counted */
    uint32_t written; /* in it */
    uint64_t left_out;
};

/* Adds `log` to the table `mr` at the index, and print to the globals. Inside the door. */
void print_open(lua_State *L, int mr);

#endif
