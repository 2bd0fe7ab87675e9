#include "config/include.h"

#include "base/error.h"
#include "config/file.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char wildcards[] = "*?[";

/* A pattern, taken apart at its last slash. */
struct pattern {
    const struct node *node;
    const char *folder; /* absolute; "" is the root of the file system */
    const char *shown;  /* what stands in front of a name in messages */
    const char *name;   /* the last part: of a file, or with wildcards in it */
};

void includes_init(struct includes *includes, const struct source *main, struct findings *findings,
                   struct arena *kept) {
    *includes = (struct includes){.main = main, .findings = findings, .kept = kept};
}

void includes_finish(struct includes *includes) {
    if (includes->folder != NULL) {
        closedir(includes->folder);
        includes->folder = NULL;
    }
}

/* Room for one more in an array of an arena. */
static void *array_grow(struct arena *arena, void *array, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity > 0 ? 2 * *capacity : 8;
    void *grown = arena_take(arena, *capacity * size);
    if (count > 0) {
        memcpy(grown, array, count * size);
    }
    return grown;
}

void includes_watch(struct includes *includes, const char *path, const char *pattern) {
    includes->files = array_grow(includes->kept, includes->files, includes->files_count, &includes->files_capacity,
                                 sizeof(includes->files[0]));
    struct config_file *file = &includes->files[includes->files_count++];
    file->path = arena_copy(includes->kept, path, strlen(path));
    file->pattern = pattern != NULL ? arena_copy(includes->kept, pattern, strlen(pattern)) : NULL;
}

/* ---- one file ---- */

static void report_unreadable(struct includes *includes, const struct node *node, const char *name, int number) {
    findings_add(includes->findings, CODE_READ, node->span, NULL, "cannot read %s: %s", name, error_name(number));
}

static bool is_main(const struct includes *includes, const struct include *include) {
    const char *path =
        arena_printf(includes->findings->arena, "%s/%s", includes->main->folder, file_last_part(includes->main->name));
    struct stat status;
    return stat(path, &status) == 0 && status.st_dev == include->device && status.st_ino == include->number;
}

/* False: it would be read a second time, and that is reported. */
static bool is_new(struct includes *includes, const struct include *include) {
    struct span span = include->pattern->span;
    if (is_main(includes, include)) {
        findings_add(includes->findings, CODE_INCLUDE_TWICE, span, NULL, "%s is the file that includes", include->name);
        return false;
    }
    for (size_t index = 0; index < includes->count; index++) {
        const struct include *known = &includes->list[index];
        if (known->device == include->device && known->number == include->number) {
            findings_add(includes->findings, CODE_INCLUDE_TWICE, span, NULL, "%s is included twice", include->name);
            findings_note(includes->findings, known->pattern->span, "the first time");
            return false;
        }
    }
    return true;
}

/* Fills in what the system knows of the file. False: it cannot be included. */
static bool look_up(struct includes *includes, struct include *include) {
    struct stat status;
    if (stat(include->path, &status) != 0) {
        report_unreadable(includes, include->pattern, include->name, errno);
        return false;
    }
    if (!S_ISREG(status.st_mode)) {
        const char *hint =
            S_ISDIR(status.st_mode)
                ? arena_printf(includes->findings->arena, "write \"%s/*.yaml\" for files in it", include->pattern->text)
                : NULL;
        findings_add(includes->findings, CODE_READ, include->pattern->span, hint, "%s is not a file", include->name);
        return false;
    }
    include->device = status.st_dev;
    include->number = status.st_ino;
    return is_new(includes, include);
}

static void add_file(struct includes *includes, const struct pattern *pattern, const char *name) {
    struct arena *arena = includes->findings->arena;
    struct include include = {
        .pattern = pattern->node,
        .path = arena_printf(arena, "%s/%s", pattern->folder, name),
        .name = arena_printf(arena, "%s%s", pattern->shown, name),
    };
    includes_watch(includes, include.path, NULL);
    if (look_up(includes, &include)) {
        includes->list =
            array_grow(arena, includes->list, includes->count, &includes->capacity, sizeof(includes->list[0]));
        includes->list[includes->count++] = include;
    }
}

/* ---- folders ---- */

static int name_compare(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The names in the open folder that match, sorted. */
static const char **list_names(struct includes *includes, const struct pattern *pattern, size_t *count) {
    struct arena *arena = includes->findings->arena;
    const char **names = NULL;
    size_t capacity = 0;
    *count = 0;
    for (const struct dirent *entry; (entry = readdir(includes->folder)) != NULL;) {
        if (fnmatch(pattern->name, entry->d_name, FNM_PERIOD) == 0 && *count <= INCLUDES_MAX) {
            names = array_grow(arena, names, *count, &capacity, sizeof(names[0]));
            names[(*count)++] = arena_copy(arena, entry->d_name, strlen(entry->d_name));
        }
    }
    if (*count > 0) {
        qsort(names, *count, sizeof(names[0]), name_compare);
    }
    return names;
}

static void add_folder(struct includes *includes, const struct pattern *pattern) {
    const char *path = pattern->folder[0] != 0 ? pattern->folder : "/";
    size_t count;
    includes_watch(includes, path, pattern->name);
    includes->folder = opendir(path);
    if (includes->folder == NULL) {
        report_unreadable(includes, pattern->node, pattern->shown[0] != 0 ? pattern->shown : path, errno);
        return;
    }
    const char **names = list_names(includes, pattern, &count);
    includes_finish(includes);
    for (size_t index = 0; index < count && includes->count <= INCLUDES_MAX; index++) {
        add_file(includes, pattern, names[index]);
    }
}

/* ---- patterns ---- */

bool include_is_allowed(const char *pattern) {
    const char *wildcard = strpbrk(pattern, wildcards);
    return wildcard == NULL || wildcard >= file_last_part(pattern);
}

static struct pattern pattern_from(struct includes *includes, const struct node *node) {
    struct arena *arena = includes->findings->arena;
    const struct source *main = includes->main;
    const char *text = node->text;
    while (strncmp(text, "./", 2) == 0) {
        text += 2;
    }
    bool absolute = text[0] == '/';
    const char *name = file_last_part(text);
    const char *before = arena_copy(arena, text, (size_t)(name - text)); /* with the slash, or "" */
    const char *main_folder = arena_copy(arena, main->name, (size_t)(file_last_part(main->name) - main->name));
    const char *path = arena_printf(arena, "%s%s%s", absolute ? "" : main->folder, absolute ? "" : "/", before);
    return (struct pattern){
        .node = node,
        .folder = arena_copy(arena, path, strlen(path) - 1), /* it ends in a slash */
        .shown = arena_printf(arena, "%s%s", absolute ? "" : main_folder, before),
        .name = name,
    };
}

/* What is no text, or no text of this kind, is reported where all keys are. */
static bool is_pattern(const struct node *node) {
    return node->kind == NODE_SCALAR && node->text[0] != 0 && include_is_allowed(node->text);
}

bool includes_find(struct includes *includes, const struct node *tree) {
    const struct node *patterns = node_child(tree, "include");
    size_t errors_before = includes->findings->errors_count;
    bool understood = true;
    for (size_t index = 0; index < node_items_count(patterns) && includes->count <= INCLUDES_MAX; index++) {
        const struct node *node = node_item(patterns, index);
        if (!is_pattern(node)) {
            understood = false;
            continue;
        }
        struct pattern pattern = pattern_from(includes, node);
        if (strpbrk(pattern.name, wildcards) != NULL) {
            add_folder(includes, &pattern);
        } else {
            add_file(includes, &pattern, pattern.name);
        }
    }
    if (includes->count > INCLUDES_MAX) {
        findings_add(includes->findings, CODE_INCLUDES, patterns->span, NULL, "these are more than %d files",
                     INCLUDES_MAX);
    }
    return understood && includes->findings->errors_count == errors_before;
}

/* ---- trees ---- */

static struct node *copy_map(const struct node *map, struct arena *arena) {
    struct node *copy = node_make_map(map->span, arena);
    for (size_t index = 0; index < map->entries_count; index++) {
        node_append(copy, map->entries[index].key, map->entries[index].value, arena);
    }
    return copy;
}

struct node *include_copy(const struct node *tree, struct arena *arena) {
    struct node *whole = copy_map(tree, arena);
    for (size_t index = 0; index < whole->entries_count; index++) {
        struct node_entry *entry = &whole->entries[index];
        if (entry->value->kind == NODE_MAP) {
            entry->value = copy_map(entry->value, arena);
        }
    }
    return whole;
}

static void join_entry(struct node *whole, const struct node_entry *added, struct findings *findings) {
    struct node_entry *entry = whole->entries;
    const struct node_entry *end = whole->entries + whole->entries_count;
    while (entry < end && strcmp(entry->key->text, added->key->text) != 0) {
        entry++;
    }
    bool is_map = added->value->kind == NODE_MAP;
    if (entry == end) {
        node_append(whole, added->key, is_map ? copy_map(added->value, findings->arena) : added->value,
                    findings->arena);
    } else if (!is_map || entry->value->kind != NODE_MAP) {
        node_report_duplicate(added->key, entry->key, findings);
    } else {
        for (size_t index = 0; index < added->value->entries_count; index++) {
            const struct node_entry *inner = &added->value->entries[index];
            node_append(entry->value, inner->key, inner->value, findings->arena);
        }
    }
}

void include_join(struct node *whole, const struct node *added, struct findings *findings) {
    if (added->kind != NODE_MAP) {
        findings_add(findings, CODE_KIND, added->span, NULL, "an included file is a section, not %s",
                     node_kind_name(added->kind));
        return;
    }
    for (size_t index = 0; index < added->entries_count; index++) {
        const struct node_entry *entry = &added->entries[index];
        if (strcmp(entry->key->text, "include") == 0) {
            findings_add(findings, CODE_INCLUDE_NESTED, entry->key->span, "only the main file does",
                         "an included file includes others");
        } else {
            join_entry(whole, entry, findings);
        }
    }
}

void include_settle(struct node *whole, struct findings *findings) {
    for (size_t index = 0; index < whole->entries_count; index++) {
        struct node *value = whole->entries[index].value;
        if (value->kind == NODE_MAP) {
            node_settle_map(value, findings->arena, findings);
        }
    }
}
