#include "lua/place.h"

#include "lua/source.h"

#include <string.h>

/* The end of a path that is the name, whole: names are relative to the folder that the path begins with, if it does.
 * NULL: the path is another one. */
static const char *path_tail(const char *path, const char *name) {
    size_t path_size = strlen(path);
    size_t name_size = strlen(name);
    if (name_size > path_size || strcmp(path + path_size - name_size, name) != 0) {
        return NULL;
    }
    const char *tail = path + path_size - name_size;
    return tail == path || tail[-1] == '/' ? tail : NULL;
}

struct place place_of_line(const struct source *source, const char *name, uint32_t line) {
    const char *file = NULL;
    for (size_t index = 0; name[0] == '@' && file == NULL && index < source->files_count; index++) {
        file = path_tail(source->files[index].path, name + 1);
    }
    return (struct place){.file = file, .line = line};
}

struct place place_of_function(lua_State *L, const struct source *source) {
    lua_Debug activation;
    lua_getinfo(L, ">S", &activation);
    struct place place = place_of_line(source, activation.source, (uint32_t)activation.linedefined);
    place.last_line = place.file == NULL ? 0 : (uint32_t)activation.lastlinedefined;
    return place;
}

bool place_find_activation(lua_State *L, lua_Debug *activation) {
    for (int level = 0; lua_getstack(L, level, activation) != 0; level++) {
        lua_getinfo(L, "Sl", activation);
        if (activation->source[0] == '@') {
            return true;
        }
    }
    return false;
}

struct place place_of_running(lua_State *L, const struct source *source) {
    lua_Debug activation;
    if (!place_find_activation(L, &activation)) {
        return (struct place){.file = NULL};
    }
    return place_of_line(source, activation.source, (uint32_t)activation.currentline);
}
