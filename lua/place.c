#include "lua/place.h"

#include "lua/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names are relative to the folder that the path begins with, if it does. In messages Lua cuts a long one at its
 * beginning: "...ters/guard.lua".
 *
 * The end of the path that is the name, whole; NULL: the path is another one. */
static const char *path_tail(const char *path, const char *name, size_t name_size) {
    bool is_cut = name_size > 3 && strncmp(name, "...", 3) == 0;
    name += is_cut ? 3 : 0;
    name_size -= is_cut ? 3 : 0;
    size_t path_size = strlen(path);
    if (name_size > path_size || memcmp(path + path_size - name_size, name, name_size) != 0) {
        return NULL;
    }
    const char *tail = path + path_size - name_size;
    return is_cut || tail == path || tail[-1] == '/' ? (is_cut ? path : tail) : NULL;
}

static const char *find_file(const struct source *source, const char *name, size_t name_size) {
    const char *file = NULL;
    for (size_t index = 0; file == NULL && index < source->files_count; index++) {
        file = path_tail(source->files[index].path, name, name_size);
    }
    return file;
}

struct place place_of_line(const struct source *source, const char *name, uint32_t line) {
    const char *file = name[0] == '@' ? find_file(source, name + 1, strlen(name + 1)) : NULL;
    return (struct place){.file = file, .line = line};
}

/* Of one line of a message. */
static struct place place_of_text_line(const char *text, const struct source *source) {
    char *end;
    size_t name_size = strcspn(text, ":\n");
    if (text[name_size] != ':') {
        return (struct place){.file = NULL};
    }
    unsigned long line = strtoul(text + name_size + 1, &end, 10);
    bool is_place = name_size > 0 && end > text + name_size + 1 && *end == ':' && line <= UINT32_MAX;
    return (struct place){.file = is_place ? find_file(source, text, name_size) : NULL, .line = (uint32_t)line};
}

struct place place_of_text(const char *text, const struct source *source) {
    struct place place = place_of_text_line(text, source);
    while (place.file == NULL && (text = strstr(text, "\n\t")) != NULL) {
        text += 2;
        place = place_of_text_line(text, source);
    }
    return place;
}

void place_format(const struct place *place, const char *folder, char *text, size_t size) {
    const char *file = place->file;
    size_t folder_size = folder != NULL ? strlen(folder) : 0;
    if (folder_size > 0 && strncmp(file, folder, folder_size) == 0 && file[folder_size] == '/') {
        file += folder_size + 1;
    }
    snprintf(text, size, "%s:%u", file, place->line);
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
