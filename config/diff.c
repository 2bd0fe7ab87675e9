#include "config/diff.h"

#include "config/value.h"

#include <string.h>

enum { VALUE_SHOWN_MAX = 80 };

struct diff {
    const struct config *before;
    const struct config *after;
    bool fixed_only;
    size_t changes_count;
    struct bytes values[2]; /* of the key that is looked at */
};

/* A part of both configurations, and where its changes are told. */
struct pair {
    const void *before;
    const void *after;
    const char *prefix; /* stands in front of each key: `timeouts.`, `filters guard ` */
    struct bytes *out;
};

/* The items of a list or map in one of the configurations. */
struct items {
    const struct section *section;
    const char *list;
    size_t count;
};

static void diff_section(struct diff *diff, const struct section *section, struct pair pair);

/* ---- telling ---- */

/* False: there were so many that this one is only counted. */
static bool change_begin(struct diff *diff, struct bytes *out, const char *separator) {
    diff->changes_count++;
    if (diff->changes_count > DIFF_CHANGES_MAX) {
        return false;
    }
    bytes_append_text(out, out->size > 0 ? separator : "");
    return true;
}

/* Without the quotes where nobody would miss them, and not too much of it. */
static void append_shown(const char *value, struct bytes *out) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@[]%+*?=";
    size_t size = strlen(value);
    if (size > 2 && value[0] == '"' && strspn(value + 1, plain) == size - 2) {
        value++;
        size -= 2;
    }
    bytes_append(out, value, size < VALUE_SHOWN_MAX ? size : VALUE_SHOWN_MAX);
    bytes_append_text(out, size > VALUE_SHOWN_MAX ? "..." : "");
}

/* Of a key, when its values differ. Where memory ran out they count as different. */
static void tell_values(struct diff *diff, const char *name, struct pair pair) {
    bool known = !diff->values[0].failed && !diff->values[1].failed;
    bool equal = known && strcmp(diff->values[0].data, diff->values[1].data) == 0;
    if (!equal && change_begin(diff, pair.out, ", ")) {
        bytes_printf(pair.out, "%s%s ", pair.prefix, name);
        append_shown(diff->values[0].data, pair.out);
        bytes_append_text(pair.out, "->");
        append_shown(diff->values[1].data, pair.out);
    }
}

/* `+name`, `name changed`. */
static void tell_name(struct diff *diff, struct bytes *out, const char *separator, const char *prefix, char sign,
                      const char *name) {
    if (change_begin(diff, out, separator)) {
        bytes_append_text(out, prefix);
        if (sign != 0) {
            bytes_append_char(out, sign);
        }
        append_shown(name, out);
    }
}

/* ---- single values ---- */

static void value_append(const struct key *key, const void *record, const struct config *config, struct bytes *out) {
    if (!value_write(key, record, config, out)) {
        bytes_append_text(out, "unset");
    }
}

static void diff_value(struct diff *diff, const struct key *key, struct pair pair) {
    bytes_clear(&diff->values[0]);
    bytes_clear(&diff->values[1]);
    value_append(key, pair.before, diff->before, &diff->values[0]);
    value_append(key, pair.after, diff->after, &diff->values[1]);
    tell_values(diff, key->name, pair);
}

static struct items items_load(const struct key *key, const void *record) {
    struct items items = {.section = key->section};
    memcpy(&items.list, (const char *)record + key->offset, sizeof(items.list));
    memcpy(&items.count, (const char *)record + key->count_offset, sizeof(items.count));
    return items;
}

static void values_append(const struct key *key, const void *record, const struct config *config, struct bytes *out) {
    struct items items = items_load(key, record);
    bytes_clear(out);
    for (size_t index = 0; index < items.count; index++) {
        bytes_append_text(out, index > 0 ? ", " : "");
        value_append(key->item, items.list + index * key->item->size, config, out);
    }
    bytes_append_text(out, items.count == 0 ? "unset" : "");
}

static void diff_values(struct diff *diff, const struct key *key, struct pair pair) {
    values_append(key, pair.before, diff->before, &diff->values[0]);
    values_append(key, pair.after, diff->after, &diff->values[1]);
    tell_values(diff, key->name, pair);
}

/* ---- parameters ---- */

static bool parameters_are_equal(const struct config_value *before, const struct config_value *after) {
    if (before->kind != after->kind || before->items_count != after->items_count) {
        return false;
    }
    if (before->kind == CONFIG_VALUE_TEXT) {
        return strcmp(before->text, after->text) == 0;
    }
    for (size_t index = 0; index < before->items_count; index++) {
        const struct config_value *one = &before->items[index];
        const struct config_value *other = &after->items[index];
        if ((one->key != NULL && strcmp(one->key, other->key) != 0) || !parameters_are_equal(one, other)) {
            return false;
        }
    }
    return true;
}

static const struct config_value *parameter_find(const struct config_value *map, const char *key) {
    for (size_t index = 0; index < map->items_count; index++) {
        if (strcmp(map->items[index].key, key) == 0) {
            return &map->items[index];
        }
    }
    return NULL;
}

static void tell_parameter(struct diff *diff, struct pair pair, const char *key, char sign, const char *what) {
    if (change_begin(diff, pair.out, ", ")) {
        bytes_append_text(pair.out, pair.prefix);
        if (sign != 0) {
            bytes_append_char(pair.out, sign);
        }
        bytes_append_text(pair.out, "params.");
        bytes_append_escaped(pair.out, key, strlen(key));
        bytes_append_text(pair.out, what);
    }
}

/* Their order means nothing. */
static void diff_parameters(struct diff *diff, const struct key *key, struct pair pair) {
    const struct config_value *before = (const void *)((const char *)pair.before + key->offset);
    const struct config_value *after = (const void *)((const char *)pair.after + key->offset);
    for (size_t index = 0; index < after->items_count; index++) {
        const struct config_value *now = &after->items[index];
        const struct config_value *old = parameter_find(before, now->key);
        if (old == NULL) {
            tell_parameter(diff, pair, now->key, '+', "");
        } else if (!parameters_are_equal(old, now)) {
            tell_parameter(diff, pair, now->key, 0, " changed");
        }
    }
    for (size_t index = 0; index < before->items_count; index++) {
        if (parameter_find(after, before->items[index].key) == NULL) {
            tell_parameter(diff, pair, before->items[index].key, '-', "");
        }
    }
}

/* ---- lists and maps ---- */

static const char *item_at(const struct items *items, size_t index) {
    return items->list + index * items->section->size;
}

static bool item_is_written(const struct items *items, size_t index) {
    return items->section->is_written == NULL || items->section->is_written(item_at(items, index));
}

/* What an item is known by, also across reloads. */
static const char *item_name(const struct items *items, size_t index) {
    const char *name;
    memcpy(&name, item_at(items, index) + items->section->name_offset, sizeof(name));
    return name;
}

/* Looks at `*index` first, where an item stands that nothing was added before. False: there is none of this name. */
static bool item_find(const struct items *items, const char *name, size_t *index) {
    for (size_t tried = 0; tried < items->count; tried++) {
        size_t at = (*index + tried) % items->count;
        if (strcmp(item_name(items, at), name) == 0 && item_is_written(items, at)) {
            *index = at;
            return true;
        }
    }
    return false;
}

/* Those of `items` that `others` has not. */
static void tell_missing(struct diff *diff, const struct items *items, const struct items *others, char sign,
                         const char *separator, struct pair pair) {
    size_t at = 0;
    for (size_t index = 0; index < items->count; index++) {
        if (!item_is_written(items, index)) {
            continue;
        }
        if (item_find(others, item_name(items, index), &at)) {
            at++;
        } else {
            tell_name(diff, pair.out, separator, pair.prefix, sign, item_name(items, index));
        }
    }
}

/* `~name(changes)`. */
static void diff_map_item(struct diff *diff, const struct items *items, size_t index, const void *before,
                          struct bytes *out) {
    struct bytes inner;
    bytes_init(&inner);
    struct pair pair = {.before = before, .after = item_at(items, index), .prefix = "", .out = &inner};
    diff_section(diff, items->section, pair);
    if (inner.size > 0) {
        bytes_printf(out, "%s~%s(%s)", out->size > 0 ? " " : "", item_name(items, index), inner.data);
    }
    bytes_finish(&inner);
}

static void diff_map(struct diff *diff, const struct key *key, struct pair pair) {
    struct items before = items_load(key, pair.before);
    struct items after = items_load(key, pair.after);
    size_t at = 0;
    tell_missing(diff, &after, &before, '+', " ", pair);
    for (size_t index = 0; index < after.count; index++) {
        if (item_is_written(&after, index) && item_find(&before, item_name(&after, index), &at)) {
            diff_map_item(diff, &after, index, item_at(&before, at), pair.out);
            at++;
        }
    }
    tell_missing(diff, &before, &after, '-', " ", pair);
}

/* `name key 1->2`. */
static void diff_list_item(struct diff *diff, const struct items *items, size_t index, const void *before,
                           struct pair outer) {
    struct bytes prefix;
    bytes_init(&prefix);
    bytes_printf(&prefix, "%s%s ", outer.prefix, item_name(items, index));
    struct pair pair = {.before = before, .after = item_at(items, index), .prefix = prefix.data, .out = outer.out};
    diff_section(diff, items->section, pair);
    bytes_finish(&prefix);
}

static void diff_list(struct diff *diff, const struct key *key, struct pair pair) {
    struct items before = items_load(key, pair.before);
    struct items after = items_load(key, pair.after);
    size_t at = 0;
    size_t furthest = 0;
    bool reordered = false;
    tell_missing(diff, &after, &before, '+', ", ", pair);
    for (size_t index = 0; index < after.count; index++) {
        if (item_find(&before, item_name(&after, index), &at)) {
            diff_list_item(diff, &after, index, item_at(&before, at), pair);
            reordered |= at < furthest;
            furthest = ++at;
        }
    }
    tell_missing(diff, &before, &after, '-', ", ", pair);
    if (reordered && key->section->is_ordered) {
        tell_name(diff, pair.out, ", ", pair.prefix, 0, "reordered");
    }
}

/* The name of a list is told only where its section has several. */
static void diff_named_list(struct diff *diff, const struct section *section, const struct key *list,
                            struct pair pair) {
    size_t lists_count = 0;
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        lists_count += key->type == KEY_LIST;
    }
    struct bytes prefix;
    bytes_init(&prefix);
    bytes_append_text(&prefix, pair.prefix);
    if (lists_count > 1) {
        bytes_printf(&prefix, "%s ", list->name);
    }
    pair.prefix = prefix.data;
    diff_list(diff, list, pair);
    bytes_finish(&prefix);
}

/* ---- sections ---- */

static void diff_inner_section(struct diff *diff, const struct key *key, struct pair pair) {
    bool was_off = key->word != NULL && schema_load(key, pair.before) == key->word_value;
    bool is_off = key->word != NULL && schema_load(key, pair.after) == key->word_value;
    if (was_off != is_off && !diff->fixed_only && change_begin(diff, pair.out, ", ")) {
        bytes_printf(pair.out, "%s%s %s->%s", pair.prefix, key->name, was_off ? key->word : "on",
                     is_off ? key->word : "on");
    }
    if (was_off || is_off) {
        return;
    }
    struct bytes prefix;
    bytes_init(&prefix);
    bytes_printf(&prefix, "%s%s.", pair.prefix, key->name);
    struct pair inner = {.before = (const char *)pair.before + key->base,
                         .after = (const char *)pair.after + key->base,
                         .prefix = prefix.data,
                         .out = pair.out};
    diff_section(diff, key->section, inner);
    bytes_finish(&prefix);
}

static void diff_key(struct diff *diff, const struct section *section, const struct key *key, struct pair pair) {
    if (key->type == KEY_SECTION) {
        diff_inner_section(diff, key, pair);
    } else if (diff->fixed_only && !key->fixed) {
        return;
    } else if (key->type == KEY_MAP) {
        diff_map(diff, key, pair);
    } else if (key->type == KEY_LIST) {
        diff_named_list(diff, section, key, pair);
    } else if (key->type == KEY_VALUES) {
        diff_values(diff, key, pair);
    } else if (key->type == KEY_PARAMS) {
        diff_parameters(diff, key, pair);
    } else {
        diff_value(diff, key, pair);
    }
}

static void diff_section(struct diff *diff, const struct section *section, struct pair pair) {
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (!key->only_read) {
            diff_key(diff, section, key, pair);
        }
    }
}

/* `log: error.level info->debug`. */
static void diff_top(struct diff *diff, const struct key *key, struct bytes *text) {
    struct bytes inner;
    bytes_init(&inner);
    struct pair pair = {.before = (const char *)diff->before + key->base,
                        .after = (const char *)diff->after + key->base,
                        .prefix = "",
                        .out = &inner};
    if (key->type == KEY_SECTION) {
        diff_section(diff, key->section, pair);
    } else {
        diff_key(diff, &config_section, key, pair);
    }
    if (inner.size > 0) {
        bytes_printf(text, "%s%s: %s", text->size > 0 ? "; " : "", key->name, inner.data);
    }
    bytes_finish(&inner);
}

static bool diff_all(const struct config *before, const struct config *after, bool fixed_only, struct bytes *text) {
    struct diff diff = {.before = before, .after = after, .fixed_only = fixed_only};
    struct bytes changes;
    bytes_init(&changes);
    bytes_init(&diff.values[0]);
    bytes_init(&diff.values[1]);
    for (const struct key *key = config_section.keys; key->name != NULL; key++) {
        if (!key->only_read) {
            diff_top(&diff, key, &changes);
        }
    }
    if (diff.changes_count > DIFF_CHANGES_MAX) {
        bytes_printf(&changes, "; %zu more changes", diff.changes_count - DIFF_CHANGES_MAX);
    }
    bytes_append_text(text, changes.data);
    bytes_finish(&diff.values[0]);
    bytes_finish(&diff.values[1]);
    bytes_finish(&changes);
    return diff.changes_count > 0;
}

bool config_diff(const struct config *before, const struct config *after, struct bytes *text) {
    return diff_all(before, after, false, text);
}

bool config_diff_fixed(const struct config *before, const struct config *after, struct bytes *text) {
    return diff_all(before, after, true, text);
}
