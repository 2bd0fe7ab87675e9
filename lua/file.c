#include "lua/file.h"

#include "base/cidr.h"
#include "lua/values.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

/* The file that the first argument names, until the next one is read. */
static const struct bytes *file_read(lua_State *L, const char *function) {
    struct script *script = script_of(L);
    struct error error;
    values_check_loading(L, function);
    if (!source_read(&script->source, script->options.folder, luaL_checkstring(L, 1), &error)) {
        luaL_error(L, "mr.%s: %s", function, error.text);
    }
    return &script->source.text;
}

static int read_file(lua_State *L) {
    const struct bytes *text = file_read(L, "read_file");
    script_check_room(L, (double)text->size);
    lua_pushlstring(L, text->data, text->size);
    return 1;
}

/* --- lines -------------------------------------------------------------------------------------------------------- */

enum { LINE_COST = 48 }; /* bytes of memory for a line besides its text, about */

/* Where the line ends that begins at `text`: at its newline, or at the end of all. */
static const char *line_end(const char *text, const char *end) {
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    return newline != NULL ? newline : end;
}

static int lines_count(const char *text, const char *end) {
    int count = 0;
    while (text < end) {
        count++;
        text = line_end(text, end) + 1;
    }
    return count;
}

static int read_lines(lua_State *L) {
    const struct bytes *text = file_read(L, "lines");
    const char *end = text->data + text->size;
    int count = lines_count(text->data, end);
    script_check_room(L, (double)text->size + (double)count * LINE_COST);
    lua_createtable(L, count, 0);
    const char *line = text->data;
    for (int index = 1; index <= count; index++) {
        const char *newline = line_end(line, end);
        size_t size = (size_t)(newline - line);
        lua_pushlstring(L, line, size > 0 && newline[-1] == '\r' ? size - 1 : size);
        lua_rawseti(L, -2, index);
        line = newline + 1;
    }
    return 1;
}

/* --- sets of addresses -------------------------------------------------------------------------------------------- */

enum { ITEM_SIZE = 64 };

/* All of it is a userdata of Lua: a script that is killed leaves nothing behind. */
struct cidr_set {
    size_t count;
    struct cidr items[];
};

static const char cidr_set_name[] = "mr.cidr_set";

static bool is_blank(char character) {
    return character == ' ' || character == '\t' || character == '\r';
}

/* Copies what stands on a line of a list, without blanks and without a comment. False: it is longer than any address
 * is, or holds a 0. */
static bool item_trim(const char *text, size_t size, char item[static ITEM_SIZE]) {
    const char *comment = memchr(text, '#', size);
    size = comment != NULL ? (size_t)(comment - text) : size;
    while (size > 0 && is_blank(text[size - 1])) {
        size--;
    }
    while (size > 0 && is_blank(text[0])) {
        text++;
        size--;
    }
    if (size >= ITEM_SIZE || memchr(text, 0, size) != NULL) {
        return false;
    }
    memcpy(item, text, size);
    item[size] = 0;
    return true;
}

/* Adds the item on top of the stack, if there is one on its line. */
static void cidr_set_add(lua_State *L, struct cidr_set *set, int index) {
    size_t size;
    char item[ITEM_SIZE];
    struct error error;
    if (lua_type(L, -1) != LUA_TSTRING) {
        luaL_error(L, "mr.cidr_set: item %d is a %s, not a string", index, luaL_typename(L, -1));
    }
    const char *text = lua_tolstring(L, -1, &size);
    if (!item_trim(text, size, item)) {
        luaL_error(L, "mr.cidr_set: item %d is too long for an IP address, or holds a 0 byte", index);
    }
    if (item[0] == 0) {
        return;
    }
    if (!cidr_parse(&set->items[set->count], item, &error)) {
        luaL_error(L, "mr.cidr_set: item %d: %s", index, error.text);
    }
    set->count++;
}

static int cidr_set_make(lua_State *L) {
    values_check_loading(L, "cidr_set");
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t count = lua_objlen(L, 1);
    size_t size = sizeof(struct cidr_set) + count * sizeof(struct cidr);
    script_check_room(L, (double)size);
    struct cidr_set *set = lua_newuserdata(L, size);
    set->count = 0;
    for (size_t index = 1; index <= count; index++) {
        lua_rawgeti(L, 1, (int)index);
        cidr_set_add(L, set, (int)index);
        lua_pop(L, 1);
    }
    set->count = cidr_sort(set->items, set->count);
    luaL_getmetatable(L, cidr_set_name);
    lua_setmetatable(L, -2);
    return 1;
}

static int cidr_set_contains(lua_State *L) {
    const struct cidr_set *set = luaL_checkudata(L, 1, cidr_set_name);
    size_t size;
    const char *text = luaL_checklstring(L, 2, &size);
    struct cidr_ip ip;
    if (strlen(text) != size || !cidr_parse_ip(&ip, text)) {
        return luaL_error(L, "set:contains: '%s' is not an IP address", text);
    }
    lua_pushboolean(L, cidr_contains(set->items, set->count, &ip));
    return 1;
}

static void cidr_set_open(lua_State *L) {
    luaL_newmetatable(L, cidr_set_name);
    lua_newtable(L);
    lua_pushcfunction(L, cidr_set_contains);
    lua_setfield(L, -2, "contains");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

static const luaL_Reg functions[] = {
    {"read_file", read_file}, {"lines", read_lines}, {"cidr_set", cidr_set_make}, {NULL, NULL}};

void file_open(lua_State *L, int mr) {
    cidr_set_open(L);
    lua_pushvalue(L, mr);
    luaL_register(L, NULL, functions);
    lua_pop(L, 1);
}
