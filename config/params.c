#include "config/params.h"

#include "config/variables.h"

#include <ctype.h>
#include <string.h>

enum { INDENTATION = 2 };
static const char plain_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./%+";

/* ---- reading ---- */

static const char *keep(struct apply *apply, const char *text) {
    return arena_copy(apply->kept, text, strlen(text));
}

/* Could it be written without quotes where params_write does it? A plain dash is a text inside brackets only; and what
 * a variable holds was never read as YAML. */
static bool text_may_be_plain(const struct node *node) {
    bool simple = isalnum((unsigned char)node->text[0]) && node->text[strspn(node->text, plain_characters)] == 0;
    return node->replaced ? simple : strcmp(node->text, "-") != 0;
}

static void read_text(struct apply *apply, const struct node *node, struct config_value *value) {
    if (node_is_empty(node) && !node->wrong) {
        findings_add(apply->findings, CODE_NO_VALUE, node->span, "write a value, or \"\" for an empty text",
                     "a parameter has no value");
    }
    value->quoted = node->quoted || !text_may_be_plain(node);
    value->text = keep(apply, node->text);
}

static void read_key(struct apply *apply, const struct node *key, struct config_value *value) {
    if (strlen(key->text) > PARAMS_KEY_SIZE_MAX) {
        findings_add(apply->findings, CODE_TEXT, key->span, NULL,
                     "the name of a parameter is too long (at most %d bytes)", PARAMS_KEY_SIZE_MAX);
    }
    value->key = keep(apply, key->text);
    value->key_place = apply_place(apply, key);
}

/* Goes as deep as the file is nested, aliases followed: the loader has a limit for that. */
static void read_value(struct apply *apply, const struct node *node, struct config_value *value) {
    value->place = apply_place(apply, node);
    if (node->kind == NODE_SCALAR) {
        value->kind = CONFIG_VALUE_TEXT;
        read_text(apply, node, value);
        return;
    }
    struct config_value *items = arena_take(apply->kept, node->entries_count * sizeof(items[0]));
    for (size_t index = 0; index < node->entries_count; index++) {
        const struct node_entry *entry = &node->entries[index];
        if (entry->key != NULL) {
            read_key(apply, entry->key, &items[index]);
        }
        read_value(apply, entry->value, &items[index]);
    }
    value->kind = node->kind == NODE_MAP ? CONFIG_VALUE_MAP : CONFIG_VALUE_LIST;
    value->items = items;
    value->items_count = node->entries_count;
}

void params_read(struct apply *apply, const struct node_entry *entry, struct config_value *params) {
    read_value(apply, entry->value, params);
    params->key_place = apply_place(apply, entry->key);
}

void params_read_fallback(struct config_place place, struct config_value *params) {
    *params = (struct config_value){.place = place, .kind = CONFIG_VALUE_MAP, .key_place = place};
}

/* ---- writing ---- */

/* A name that YAML takes for nothing else may stand without quotes. */
static bool key_is_plain(const char *key) {
    for (const char *at = key; *at != 0; at++) {
        if (!isascii(*at) || (!isalnum((unsigned char)*at) && *at != '_')) {
            return false;
        }
    }
    return key[0] != 0;
}

/* `key:`, or `-` in a list. */
static void write_label(const struct config_value *value, struct bytes *out) {
    if (value->key == NULL) {
        bytes_append_char(out, '-');
        return;
    }
    if (key_is_plain(value->key)) {
        bytes_append_text(out, value->key);
    } else {
        bytes_append_json(out, value->key);
    }
    bytes_append_char(out, ':');
}

static void write_text(const struct config_value *value, struct bytes *out) {
    bytes_append_char(out, ' ');
    struct bytes text;
    bytes_init(&text);
    variables_escape(value->text, &text);
    if (value->quoted) {
        bytes_append_json(out, text.data);
    } else {
        bytes_append_text(out, text.data);
    }
    bytes_append_char(out, '\n');
    bytes_finish(&text);
}

/* What stands behind a label, to the end of the line or on lines of its own. */
static void write_value(const struct config_value *value, size_t indentation, struct bytes *out) {
    if (value->kind == CONFIG_VALUE_TEXT) {
        write_text(value, out);
        return;
    }
    if (value->items_count == 0) {
        bytes_append_text(out, value->kind == CONFIG_VALUE_MAP ? " {}\n" : " []\n");
        return;
    }
    bytes_append_char(out, '\n');
    for (size_t index = 0; index < value->items_count; index++) {
        bytes_printf(out, "%*s", (int)indentation + INDENTATION, "");
        write_label(&value->items[index], out);
        write_value(&value->items[index], indentation + INDENTATION, out);
    }
}

void params_write(const struct config_value *params, size_t indentation, struct bytes *out) {
    bytes_append_text(out, "params:");
    write_value(params, indentation, out);
}
