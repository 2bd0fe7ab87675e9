/* The configuration as YAML, written by the table that reads it. */
#include "config/load.h"
#include "config/params.h"
#include "config/value.h"

#include <string.h>

enum { INDENTATION = 2 };

/* Where writing stands. */
struct writer {
    const struct config *config;
    struct bytes *out;
    size_t depth;
    bool dash; /* the next line begins an item of a list */
};

static void write_section(struct writer *writer, const struct section *section, const void *record);

static void begin_line(struct writer *writer) {
    size_t spaces = writer->depth * INDENTATION;
    if (writer->dash) {
        bytes_printf(writer->out, "%*s- ", (int)(spaces - INDENTATION), "");
        writer->dash = false;
    } else {
        bytes_printf(writer->out, "%*s", (int)spaces, "");
    }
}

static void write_scalar(struct writer *writer, const struct key *key, const void *record) {
    struct bytes value;
    bytes_init(&value);
    if (value_write(key, record, writer->config, &value)) {
        begin_line(writer);
        bytes_printf(writer->out, "%s: %s\n", key->name, value.data);
    }
    bytes_finish(&value);
}

/* A section that is left out stands for its word: `access: off`. */
static void write_inner_section(struct writer *writer, const struct key *key, const void *record) {
    if (key->word != NULL && schema_load(key, record) == key->word_value) {
        begin_line(writer);
        bytes_printf(writer->out, "%s: %s\n", key->name, key->word);
        return;
    }
    struct bytes inner;
    bytes_init(&inner);
    struct writer inner_writer = {.config = writer->config, .out = &inner, .depth = writer->depth + 1};
    write_section(&inner_writer, key->section, (const char *)record + key->base);
    if (inner.size > 0) {
        begin_line(writer);
        bytes_printf(writer->out, "%s:\n%s", key->name, inner.data);
    }
    bytes_finish(&inner);
}

static const char *items_load(const struct key *key, const void *record, size_t *count) {
    const char *items;
    memcpy(&items, (const char *)record + key->offset, sizeof(items));
    memcpy(count, (const char *)record + key->count_offset, sizeof(*count));
    return items;
}

static void write_item(struct writer *writer, const struct key *key, const void *item) {
    const struct section *section = key->section;
    if (key->type == KEY_LIST) {
        writer->depth++;
        writer->dash = true;
        write_section(writer, section, item);
        writer->depth--;
        return;
    }
    const char *name;
    memcpy(&name, (const char *)item + section->name_offset, sizeof(name));
    begin_line(writer);
    bytes_printf(writer->out, "%s:\n", name);
    writer->depth++;
    write_section(writer, section, item);
    writer->depth--;
}

static void write_items(struct writer *writer, const struct key *key, const void *record) {
    size_t count;
    const char *items = items_load(key, record, &count);
    bool begun = false;
    writer->depth++;
    for (size_t index = 0; index < count; index++) {
        const char *item = items + index * key->section->size;
        if (key->section->is_written != NULL && !key->section->is_written(item)) {
            continue;
        }
        if (!begun) {
            writer->depth--;
            begin_line(writer);
            bytes_printf(writer->out, "%s:\n", key->name);
            writer->depth++;
            begun = true;
        }
        write_item(writer, key, item);
    }
    writer->depth--;
}

static void write_values(struct writer *writer, const struct key *key, const void *record) {
    size_t count;
    const char *items = items_load(key, record, &count);
    if (count > 0) {
        begin_line(writer);
        bytes_printf(writer->out, "%s:\n", key->name);
    }
    for (size_t index = 0; index < count; index++) {
        bytes_printf(writer->out, "%*s- ", (int)(writer->depth + 1) * INDENTATION, "");
        value_write(key->item, items + index * key->item->size, writer->config, writer->out);
        bytes_append_char(writer->out, '\n');
    }
}

static void write_params(struct writer *writer, const struct key *key, const void *record) {
    begin_line(writer);
    params_write((const void *)((const char *)record + key->offset), writer->depth * INDENTATION, writer->out);
}

static void write_section(struct writer *writer, const struct section *section, const void *record) {
    for (const struct key *key = section->keys; key->name != NULL; key++) {
        if (key->only_read) {
            continue;
        }
        if (key->type == KEY_LIST || key->type == KEY_MAP) {
            write_items(writer, key, record);
        } else if (key->type == KEY_VALUES) {
            write_values(writer, key, record);
        } else if (key->type == KEY_PARAMS) {
            write_params(writer, key, record);
        } else if (key->type == KEY_SECTION) {
            write_inner_section(writer, key, record);
        } else {
            write_scalar(writer, key, record);
        }
    }
}

void config_dump(const struct config *config, struct bytes *out) {
    struct writer writer = {.config = config, .out = out, .depth = 0, .dash = false};
    write_section(&writer, &config_section, config);
}
