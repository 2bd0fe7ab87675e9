#include "config/apply.h"

#include "config/nearest.h"
#include "config/params.h"

#include <string.h>

/* A section that is being read: `where` names it in messages (NULL: the whole file), `title` is shown in them. */
struct target {
    const struct section *section;
    void *record;
    const char *where;
    const struct node *title;
};

static void read_section(struct apply *apply, struct target target, const struct node *node);

struct config_place apply_place(const struct apply *apply, const struct node *node) {
    const struct mark *mark = &node->span.start;
    const struct source *source = node->span.source;
    const char *origin = source_origin(source, mark->line);
    if (source->origins == NULL) {
        return (struct config_place){.file = source->name, .line = mark->line, .column = mark->column};
    }
    const char *separator = origin != NULL ? ": " : "";
    return (struct config_place){
        .file = arena_printf(apply->kept, "%s%s%s", source->name, separator, origin != NULL ? origin : "")};
}

bool apply_value(struct apply *apply, const struct key *key, const struct node *node, void *record,
                 struct value_problem *problem) {
    struct value_reader reader = {.arena = apply->kept, .folder = node->span.source->folder};
    return value_read(&reader, key, node->text, record, problem);
}

static void *section_record(const struct key *key, void *record) {
    return (char *)record + key->base;
}

static void apply_section_fallback(struct apply *apply, const struct key *key, void *record) {
    apply_fallbacks(apply, key->section, section_record(key, record));
    if (key->inherits != 0) {
        memcpy(section_record(key, record), (char *)apply->root + key->inherits, key->section->size);
    }
    if (key->fallback != NULL) {
        schema_store(key, record, key->word_value);
    }
}

/* The item that the parameters belong to begins with its place. */
static void apply_params_fallback(const struct key *key, void *record) {
    struct config_place place;
    memcpy(&place, record, sizeof(place));
    params_read_fallback(place, (void *)((char *)record + key->offset));
}

static char *make_items(struct apply *apply, void *record, const struct key *key, size_t count, size_t size) {
    void *items = arena_take(apply->kept, count * size);
    memcpy((char *)record + key->offset, &items, sizeof(items));
    memcpy((char *)record + key->count_offset, &count, sizeof(count));
    return items;
}

/* A list of one. */
static void apply_values_fallback(struct apply *apply, const struct key *key, void *record) {
    struct key item = *key->item;
    item.fallback = key->fallback;
    value_read_fallback(apply->kept, &item, make_items(apply, record, key, 1, item.size));
}

static bool key_has_items(const struct key *key) {
    return key->type == KEY_LIST || key->type == KEY_MAP || key->type == KEY_VALUES;
}

void apply_fallbacks(struct apply *apply, const struct section *section, void *record) {
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->type == KEY_SECTION) {
            apply_section_fallback(apply, key, record);
        } else if (key->type == KEY_PARAMS) {
            apply_params_fallback(key, record);
        } else if (!key_has_items(key)) {
            value_read_fallback(apply->kept, key, record);
        } else if (key->fallback != NULL) {
            apply_values_fallback(apply, key, record);
        }
    }
}

/* ---- messages ---- */

/* `"idle"`, `"idle" of listener "web"`. */
static const char *name_key(struct apply *apply, const char *key, const char *where) {
    return arena_printf(apply->findings->arena, "\"%s\"%s%s", key, where != NULL ? " of " : "",
                        where != NULL ? where : "");
}

static void report_kind(struct apply *apply, const struct node *node, const char *name, const char *hint) {
    if (node->wrong) {
        return;
    }
    if (node_is_empty(node)) {
        findings_add(apply->findings, CODE_NO_VALUE, node->span, "give it one, or remove the key", "%s has no value",
                     name);
    } else {
        findings_add(apply->findings, CODE_KIND, node->span, hint, "%s cannot be %s", name, node_kind_name(node->kind));
    }
}

static const char *hint_type(struct apply *apply, const char *verb, const struct key *key) {
    struct bytes *type = findings_scratch(apply->findings);
    value_describe(key, type);
    return arena_printf(apply->findings->arena, "%s %s", verb, type->data);
}

static const char *list_keys(struct apply *apply, const struct section *section) {
    struct bytes *names = findings_scratch(apply->findings);
    bytes_append_text(names, "known here: ");
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        bytes_printf(names, "%s%s", key == section->keys ? "" : ", ", key->name);
    }
    return arena_copy(apply->findings->arena, names->data, names->size);
}

static const char *nearest_key(const struct section *section, const char *name) {
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        nearest_offer(&nearest, key->name);
    }
    return nearest.best;
}

/* A key that exists one level below, the nearest key here, or all of them. */
static const char *hint_for_unknown(struct apply *apply, const struct section *section, const char *name) {
    if (findings_are_full(apply->findings)) {
        return NULL;
    }
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->type == KEY_SECTION && schema_find(key->section, name) != NULL) {
            return arena_printf(apply->findings->arena, "it belongs in \"%s\"", key->name);
        }
    }
    const char *nearest = nearest_key(section, name);
    if (nearest != NULL) {
        return arena_printf(apply->findings->arena, "did you mean \"%s\"?", nearest);
    }
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->type == KEY_PARAMS) {
            return arena_printf(apply->findings->arena, "what the script takes belongs in \"%s\"", key->name);
        }
    }
    return list_keys(apply, section);
}

static void report_unknown_keys(struct apply *apply, struct target target, const struct node *node) {
    for (size_t index = 0; index < node->entries_count; index++) {
        const struct node *key = node->entries[index].key;
        if (schema_find(target.section, key->text) == NULL) {
            findings_add(apply->findings, CODE_UNKNOWN_KEY, key->span,
                         hint_for_unknown(apply, target.section, key->text), "unknown key %s%s%s",
                         findings_quote(apply->findings, key->text), target.where != NULL ? " in " : "",
                         target.where != NULL ? target.where : "");
        }
    }
}

/* It is there; or an unknown key that seems to be this one, misspelt: that is reported, and it is enough. */
static bool key_is_meant(struct target target, const char *wanted, const struct node *node) {
    if (node_entry(node, wanted) != NULL) {
        return true;
    }
    for (size_t index = 0; index < node->entries_count; index++) {
        const char *name = node->entries[index].key->text;
        const char *nearest = schema_find(target.section, name) == NULL ? nearest_key(target.section, name) : NULL;
        if (nearest != NULL && strcmp(nearest, wanted) == 0) {
            return true;
        }
    }
    return false;
}

static bool key_is_missed(struct target target, const struct key *key, const struct node *node) {
    return key->required && !key_is_meant(target, key->name, node) &&
           (key->unless == NULL || !key_is_meant(target, key->unless, node));
}

static void report_missing_key(struct apply *apply, struct target target, const struct key *key) {
    const char *verb = arena_printf(apply->findings->arena, "add \"%s\":", key->name);
    bool one_of_two = key->unless != NULL;
    findings_add(apply->findings, CODE_MISSING_KEY, target.title->span, hint_type(apply, verb, key),
                 "%s has %s \"%s\"%s%s%s", target.where, one_of_two ? "neither" : "no", key->name,
                 one_of_two ? " nor \"" : "", one_of_two ? key->unless : "", one_of_two ? "\"" : "");
}

/* ---- values ---- */

static void read_scalar(struct apply *apply, struct target target, const struct key *key, const struct node *node) {
    if (node->kind != NODE_SCALAR || node_is_empty(node)) {
        report_kind(apply, node, name_key(apply, key->name, target.where), hint_type(apply, "write", key));
        return;
    }
    struct value_problem problem;
    if (!apply_value(apply, key, node, target.record, &problem)) {
        findings_add(apply->findings, problem.code, node->span, problem.hint.text, "%s: %s", key->name,
                     problem.message.text);
    } else if (key->word_warning != NULL && strcmp(node->text, key->word) == 0) {
        findings_add(apply->findings, CODE_TIMEOUT_OFF, node->span, NULL, "%s: %s",
                     name_key(apply, key->name, target.where), key->word_warning);
    }
}

static void read_inner_section(struct apply *apply, struct target outer, const struct key *key,
                               const struct node_entry *entry) {
    const struct node *node = entry->value;
    void *record = section_record(key, outer.record);
    const char *name = name_key(apply, key->name, outer.where);
    if (key->word != NULL && node->kind == NODE_SCALAR && strcmp(node->text, key->word) == 0) {
        apply_fallbacks(apply, key->section, record);
        schema_store(key, outer.record, key->word_value);
        return;
    }
    if (node->kind != NODE_MAP) {
        report_kind(apply, node, name, hint_type(apply, "write", key));
        return;
    }
    if (key->size == sizeof(bool)) { /* a switch of its own; a larger one is a value in the section */
        schema_store(key, outer.record, true);
    }
    struct target inner = {.section = key->section, .record = record, .where = name, .title = entry->key};
    read_section(apply, inner, node);
}

/* ---- lists and maps ---- */

static void begin_item(struct apply *apply, const struct section *section, void *item, const struct node *node) {
    struct config_place place = apply_place(apply, node);
    memcpy(item, &place, sizeof(place));
    apply_fallbacks(apply, section, item);
}

static void read_item(struct apply *apply, struct target item, const struct node *node) {
    if (node->kind == NODE_SCALAR && !node_is_empty(node)) {
        read_scalar(apply, item, schema_find(item.section, item.section->shorthand), node);
    } else if (node->kind == NODE_MAP) {
        read_section(apply, item, node);
    } else {
        const char *hint = arena_printf(apply->findings->arena, "write %s, or a section with \"%s\" in it",
                                        item.section->plain, item.section->shorthand);
        report_kind(apply, node, item.where, hint);
    }
}

static bool list_is_good(struct apply *apply, struct target target, const struct key *key, const struct node *node) {
    const char *name = name_key(apply, key->name, target.where);
    if ((node->kind != NODE_LIST && !key->single) || node_is_empty(node)) {
        report_kind(apply, node, name, hint_type(apply, "write", key));
        return false;
    }
    if (node_items_count(node) == 0) {
        findings_add(apply->findings, CODE_EMPTY_LIST, node->span, NULL, "%s is empty", name);
    }
    return true;
}

static void read_values(struct apply *apply, struct target target, const struct key *key, const struct node *node) {
    if (!list_is_good(apply, target, key, node)) {
        return;
    }
    size_t count = node_items_count(node);
    char *items = make_items(apply, target.record, key, count, key->item->size);
    for (size_t index = 0; index < count; index++) {
        struct target item = {.record = items + index * key->item->size, .where = target.where};
        read_scalar(apply, item, key->item, node_item(node, index));
    }
}

static void read_list(struct apply *apply, struct target target, const struct key *key, const struct node *node) {
    if (!list_is_good(apply, target, key, node)) {
        return;
    }
    size_t count = node_items_count(node);
    char *items = make_items(apply, target.record, key, count, key->section->size);
    for (size_t index = 0; index < count; index++) {
        const struct node *value = node_item(node, index);
        struct target item = {
            .section = key->section,
            .record = items + index * key->section->size,
            .where = arena_printf(apply->findings->arena, "%s %zu of %s", key->section->noun, index + 1, target.where),
            .title = value,
        };
        begin_item(apply, key->section, item.record, value);
        read_item(apply, item, value);
    }
}

static void name_item(struct apply *apply, struct target item, const struct node *key) {
    const char *name = arena_copy(apply->kept, key->text, strlen(key->text));
    memcpy((char *)item.record + item.section->name_offset, &name, sizeof(name));
    if (!value_is_name(name)) {
        findings_add(apply->findings, CODE_NAME, key->span, VALUE_NAME_HELP, "%s: the name is not allowed", item.where);
    }
}

static void read_map(struct apply *apply, struct target target, const struct key *key, const struct node *node) {
    if (node->kind != NODE_MAP) {
        report_kind(apply, node, name_key(apply, key->name, target.where), hint_type(apply, "write", key));
        return;
    }
    char *items = make_items(apply, target.record, key, node->entries_count, key->section->size);
    for (size_t index = 0; index < node->entries_count; index++) {
        const struct node_entry *entry = &node->entries[index];
        struct target item = {
            .section = key->section,
            .record = items + index * key->section->size,
            .where = arena_printf(apply->findings->arena, "%s %s", key->section->noun,
                                  findings_quote(apply->findings, entry->key->text)),
            .title = entry->key,
        };
        begin_item(apply, key->section, item.record, entry->key);
        name_item(apply, item, entry->key);
        if (entry->value->kind == NODE_MAP) {
            read_section(apply, item, entry->value);
        } else {
            report_kind(apply, entry->value, item.where, "write its keys below it, indented");
        }
    }
}

static void read_params(struct apply *apply, struct target target, const struct key *key,
                        const struct node_entry *entry) {
    if (entry->value->kind == NODE_MAP) {
        params_read(apply, entry, (void *)((char *)target.record + key->offset));
    } else if (!node_is_empty(entry->value)) {
        report_kind(apply, entry->value, name_key(apply, key->name, target.where), hint_type(apply, "write", key));
    }
}

/* ---- sections ---- */

static void read_key(struct apply *apply, struct target target, const struct key *key, const struct node_entry *entry) {
    switch (key->type) {
    case KEY_SECTION:
        read_inner_section(apply, target, key, entry);
        return;
    case KEY_LIST:
        read_list(apply, target, key, entry->value);
        return;
    case KEY_MAP:
        read_map(apply, target, key, entry->value);
        return;
    case KEY_VALUES:
        read_values(apply, target, key, entry->value);
        return;
    case KEY_PARAMS:
        read_params(apply, target, key, entry);
        return;
    case KEY_BOOL:
    case KEY_INTEGER:
    case KEY_DURATION:
    case KEY_SIZE:
    case KEY_PERCENT:
    case KEY_RATE:
    case KEY_BANDWIDTH:
    case KEY_WORD:
    case KEY_TEXT:
    case KEY_NAME:
    case KEY_TARGET:
    case KEY_ACCESS_TARGET:
    case KEY_MODE:
    case KEY_BIND:
    case KEY_BIND_PATH:
    case KEY_BIND_IP:
    case KEY_SERVER:
    case KEY_UPSTREAM:
    case KEY_SCRIPT:
    case KEY_PATTERN:
    case KEY_CIDRS:
    case KEY_INCLUDE:
        read_scalar(apply, target, key, entry->value);
        return;
    }
}

static void read_section(struct apply *apply, struct target target, const struct node *node) {
    for (const struct key *key = target.section->keys; key->name != NULL; key++) {
        const struct node_entry *entry = node_entry(node, key->name);
        if (entry != NULL) {
            read_key(apply, target, key, entry);
        } else if (key_is_missed(target, key, node)) {
            report_missing_key(apply, target, key);
        }
    }
    report_unknown_keys(apply, target, node);
}

void apply_tree(struct apply *apply, const struct node *tree) {
    apply_fallbacks(apply, &config_section, apply->root);
    if (tree->kind != NODE_MAP) {
        findings_add(apply->findings, CODE_KIND, tree->span, "begin with \"listeners:\"",
                     "a configuration is a section, not %s", node_kind_name(tree->kind));
        return;
    }
    read_section(apply, (struct target){.section = &config_section, .record = apply->root, .title = tree}, tree);
}
