/* The keys one by one, as manuals tell them, and as a Markdown table. */
#include "config/load.h"
#include "config/value.h"

/* Whom each key is told to. */
struct telling {
    config_key_fn *tell;
    void *argument;
};

static void describe_section(const struct section *section, const char *path, const struct telling *telling);

static const char *fallback_text(const struct key *key) {
    if (key->required) {
        return "must be there";
    }
    if (key->fallback == NULL && key->type == KEY_SECTION) {
        return "the section";
    }
    return key->fallback != NULL ? key->fallback : "";
}

static void describe_key(const struct key *key, const char *path, const struct telling *telling) {
    struct bytes value, fallback, meaning;
    bytes_init(&value);
    bytes_init(&fallback);
    bytes_init(&meaning);
    value_describe(key, &value);
    bytes_append_text(&fallback, fallback_text(key));
    if (key->unless != NULL) {
        bytes_printf(&fallback, ", or `%s`", key->unless);
    }
    bytes_printf(&meaning, "%s%s", key->help, key->fixed ? " (a change takes a restart)" : "");
    const struct config_key_text text = {
        .path = path, .value = value.data, .fallback = fallback.data, .meaning = meaning.data};
    telling->tell(telling->argument, &text);
    bytes_finish(&value);
    bytes_finish(&fallback);
    bytes_finish(&meaning);
}

static void describe_like(const struct key *key, const char *path, const struct telling *telling) {
    struct bytes meaning;
    bytes_init(&meaning);
    bytes_printf(&meaning, "the keys of `%s`, for listeners that do not set them", key->like);
    const struct config_key_text text = {.path = path, .value = "a section", .fallback = "", .meaning = meaning.data};
    telling->tell(telling->argument, &text);
    bytes_finish(&meaning);
}

static void describe_below(const struct key *key, const char *path, const struct telling *telling) {
    struct bytes inner;
    bytes_init(&inner);
    bytes_append_text(&inner, path);
    bytes_append_text(&inner, key->type == KEY_MAP ? ".*" : key->type == KEY_LIST ? "[]" : "");
    describe_section(key->section, inner.data, telling);
    bytes_finish(&inner);
}

static void describe_section(const struct section *section, const char *path, const struct telling *telling) {
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        struct bytes inner;
        bytes_init(&inner);
        bytes_printf(&inner, "%s%s%s", path, path[0] != 0 ? "." : "", key->name);
        if (key->like != NULL) {
            describe_like(key, inner.data, telling);
        } else {
            if (key->help != NULL) {
                describe_key(key, inner.data, telling);
            }
            if (key->section != NULL) {
                describe_below(key, inner.data, telling);
            }
        }
        bytes_finish(&inner);
    }
}

void config_each_key(config_key_fn *tell, void *argument) {
    const struct telling telling = {tell, argument};
    describe_section(&config_section, "", &telling);
}

/* --- as Markdown -------------------------------------------------------------------------------------------------- */

static void append_escaped(const char *text, struct bytes *out) {
    for (; *text != 0; text++) {
        bytes_append_text(out, *text == '|' ? "\\" : "");
        bytes_append_char(out, *text);
    }
}

static void append_row(void *argument, const struct config_key_text *text) {
    struct bytes *out = argument;
    bytes_printf(out, "| `%s` | ", text->path);
    append_escaped(text->value, out);
    bytes_printf(out, " | %s | ", text->fallback);
    append_escaped(text->meaning, out);
    bytes_append_text(out, " |\n");
}

void config_describe(struct bytes *out) {
    bytes_append_text(out, "| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    config_each_key(append_row, out);
}
