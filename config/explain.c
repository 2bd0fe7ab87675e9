/* One key of the table, or those of a section, for somebody at a terminal. */
#include "config/load.h"

#include "config/nearest.h"
#include "config/value.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE_MAX = 128, MEANT_SIZE_MAX = 2 * NAME_SIZE_MAX };

/* A key that a path leads to. */
struct found {
    const struct section *section; /* the key's, or for the empty path the whole; NULL: it has nothing below it */
    const struct key *key;         /* NULL: the whole */
    struct bytes path;             /* in its one spelling: `upstreams.*.servers[].weight` */
    const char *inherited;         /* the section of `defaults` whose value holds when it is left out; NULL: none */
};

/* ---- from a path to a key ---- */

static const char *step_behind(const struct key *key) {
    return key->type == KEY_MAP ? ".*" : key->type == KEY_LIST ? "[]" : "";
}

/* The nearest key, or one of that name a level below. */
static const char *find_meant(const struct section *section, const char *name, char meant[static MEANT_SIZE_MAX]) {
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->type == KEY_SECTION && schema_find(key->section, name) != NULL) {
            snprintf(meant, MEANT_SIZE_MAX, "%s.%s", key->name, name);
            return meant;
        }
        nearest_offer(&nearest, key->name);
    }
    return nearest.best;
}

static bool refuse_unknown(const struct found *found, const char *name, struct error *error) {
    char meant[MEANT_SIZE_MAX];
    const char *path = found->path.data;
    const char *best = find_meant(found->section, name, meant);
    if (best != NULL) {
        error_set(error, "did you mean \"%s\"?", best);
    } else {
        error_set(error, "see: moonring config explain%s%s", path[0] != 0 ? " " : "", path);
    }
    return error_prefix(error, "there is no key \"%.64s\"%s%s; ", name, path[0] != 0 ? " in " : "", path);
}

/* Takes a key's name from the path, which may have brackets behind it. */
static void take_name(const char **path, char *name, size_t name_size) {
    size_t size = strcspn(*path, ".");
    snprintf(name, name_size, "%.*s", (int)strcspn(*path, ".["), *path);
    *path += size + ((*path)[size] == '.');
}

/* What stands for the name of an item: any name of a map's, `*` of a list's. */
static void skip_item(const struct key *key, const char **path) {
    size_t size = strcspn(*path, ".");
    bool star = size == 1 && **path == '*';
    if (key->type == KEY_MAP || (key->type == KEY_LIST && star)) {
        *path += size + ((*path)[size] == '.');
    }
}

static bool take_step(struct found *found, const char **path, struct error *error) {
    char name[NAME_SIZE_MAX];
    take_name(path, name, sizeof(name));
    if (found->section == NULL) {
        return error_set(error, "%s has no keys below it that moonring knows", found->path.data);
    }
    const struct key *key = schema_find(found->section, name);
    if (key == NULL) {
        return refuse_unknown(found, name, error);
    }
    if (found->key != NULL) {
        bytes_printf(&found->path, "%s.", step_behind(found->key));
    }
    bytes_append_text(&found->path, key->name);
    if (key->inherits != 0) {
        found->inherited = key->name;
    }
    found->key = key;
    found->section = key->section;
    skip_item(key, path);
    return true;
}

/* ---- what is said about it ---- */

static const char *type_name(enum key_type type) {
    switch (type) {
    case KEY_BOOL:
        return "boolean";
    case KEY_INTEGER:
        return "whole number";
    case KEY_DURATION:
        return "duration";
    case KEY_SIZE:
        return "size";
    case KEY_PERCENT:
        return "percentage";
    case KEY_RATE:
        return "rate";
    case KEY_BANDWIDTH:
        return "bandwidth";
    case KEY_WORD:
        return "word";
    case KEY_TEXT:
    case KEY_NAME:
        return "name";
    case KEY_TARGET:
    case KEY_ACCESS_TARGET:
        return "target of a log";
    case KEY_MODE:
        return "mode of a file";
    case KEY_BIND:
    case KEY_BIND_PATH:
    case KEY_BIND_IP:
    case KEY_SERVER:
        return "address";
    case KEY_UPSTREAM:
        return "name or address";
    case KEY_SCRIPT:
    case KEY_PATTERN:
    case KEY_INCLUDE:
        return "path";
    case KEY_CIDRS:
        return "IP addresses";
    case KEY_PARAMS:
        return "parameters of a script";
    case KEY_SECTION:
        return "section";
    case KEY_LIST:
        return "list of sections";
    case KEY_MAP:
        return "map of sections";
    case KEY_VALUES:
        return "list";
    }
    return "";
}

static void append_field(const char *name, const char *value, struct bytes *out) {
    if (name[0] != 0 && value[0] != 0) {
        bytes_printf(out, "  %-9s%s\n", name, value);
    }
}

static void append_default(const struct found *found, struct bytes *out) {
    const struct key *key = found->key;
    struct bytes text;
    bytes_init(&text);
    if (key->required) {
        bytes_printf(&text, "none: it must be there%s%s", key->unless != NULL ? ", or " : "",
                     key->unless != NULL ? key->unless : "");
    } else if (key->fallback != NULL) {
        bytes_append_text(&text, key->fallback);
    }
    if (found->inherited != NULL && key->section == NULL) {
        bytes_printf(&text, ", unless defaults.%s.%s says otherwise", found->inherited, key->name);
    }
    append_field("default", text.data, out);
    bytes_finish(&text);
}

/* "": the type says it all. */
static const char *field_of_values(const struct key *key) {
    bool is_pace = key->type == KEY_RATE || key->type == KEY_BANDWIDTH;
    if (key->type == KEY_INTEGER || key->type == KEY_DURATION || key->type == KEY_SIZE || key->type == KEY_PERCENT ||
        is_pace) {
        return "range";
    }
    bool is_plain_section = key->type == KEY_MAP || (key->type == KEY_SECTION && key->word == NULL);
    return is_plain_section || key->type == KEY_TEXT ? "" : "value";
}

static const char *units_of(enum key_type type) {
    if (type == KEY_DURATION) {
        return "us ms s m h d: it must be written";
    }
    if (type == KEY_RATE) {
        return "/s /m /h: it must be written";
    }
    return type == KEY_SIZE ? "B KiB MiB GiB, or KB MB GB: it must be written" : "";
}

static void append_key(const struct found *found, struct bytes *out) {
    const struct key *key = found->key;
    struct bytes value;
    bytes_init(&value);
    value_describe(key, &value);
    bytes_printf(out, "%s\n", found->path.data);
    append_field("type", type_name(key->type), out);
    append_field(field_of_values(key), value.data, out);
    append_field("unit", units_of(key->type), out);
    append_default(found, out);
    append_field("meaning", key->help != NULL ? key->help : "", out);
    append_field("reload", key->fixed ? "refused: it takes a restart" : "", out);
    bytes_finish(&value);
}

static void append_keys_below(const struct section *section, struct bytes *out) {
    bytes_append_text(out, "keys:\n");
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        struct bytes value;
        bytes_init(&value);
        value_describe(key, &value);
        bytes_printf(out, "  %-16s %s%s%s\n", key->name, value.data, key->fallback != NULL ? "; default " : "",
                     key->fallback != NULL ? key->fallback : "");
        bytes_finish(&value);
    }
}

bool config_explain(const char *path, struct bytes *out, struct error *error) {
    struct found found = {.section = &config_section};
    bool good = true;
    bytes_init(&found.path);
    while (good && *path != 0) {
        good = take_step(&found, &path, error);
    }
    if (good && found.key != NULL) {
        append_key(&found, out);
    }
    if (good && found.section != NULL) {
        bytes_append_text(out, found.key != NULL ? "\n" : "");
        append_keys_below(found.section, out);
    }
    bytes_finish(&found.path);
    return good;
}
