/* The keys as a Markdown table, for the manual. */
#include "config/load.h"
#include "config/value.h"

static void describe_section(const struct section *section, const char *path, struct bytes *out);

static void append_escaped(const char *text, struct bytes *out) {
    for (; *text != 0; text++) {
        bytes_append_text(out, *text == '|' ? "\\" : "");
        bytes_append_char(out, *text);
    }
}

static const char *fallback_text(const struct key *key) {
    if (key->required) {
        return "must be there";
    }
    if (key->fallback == NULL && key->type == KEY_SECTION) {
        return "the section";
    }
    return key->fallback != NULL ? key->fallback : "";
}

static void describe_key(const struct key *key, const char *path, struct bytes *out) {
    struct bytes type;
    bytes_init(&type);
    value_describe(key, &type);
    bytes_printf(out, "| `%s` | ", path);
    append_escaped(type.data, out);
    bytes_printf(out, " | %s", fallback_text(key));
    if (key->unless != NULL) {
        bytes_printf(out, ", or `%s`", key->unless);
    }
    bytes_append_text(out, " | ");
    append_escaped(key->help, out);
    bytes_append_text(out, key->fixed ? " (a change takes a restart)" : "");
    bytes_append_text(out, " |\n");
    bytes_finish(&type);
}

static void describe_below(const struct key *key, const char *path, struct bytes *out) {
    struct bytes inner;
    bytes_init(&inner);
    bytes_append_text(&inner, path);
    bytes_append_text(&inner, key->type == KEY_MAP ? ".*" : key->type == KEY_LIST ? "[]" : "");
    describe_section(key->section, inner.data, out);
    bytes_finish(&inner);
}

static void describe_section(const struct section *section, const char *path, struct bytes *out) {
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        struct bytes inner;
        bytes_init(&inner);
        bytes_printf(&inner, "%s%s%s", path, path[0] != 0 ? "." : "", key->name);
        if (key->like != NULL) {
            bytes_printf(out, "| `%s` | a section | | the keys of `%s`, for listeners that do not set them |\n",
                         inner.data, key->like);
        } else {
            if (key->help != NULL) {
                describe_key(key, inner.data, out);
            }
            if (key->section != NULL) {
                describe_below(key, inner.data, out);
            }
        }
        bytes_finish(&inner);
    }
}

void config_describe(struct bytes *out) {
    bytes_append_text(out, "| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
    describe_section(&config_section, "", out);
}
