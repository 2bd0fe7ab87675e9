#include "program/exposition.h"

#include "config/utf8.h"

#include <string.h>

void exposition_family(struct exposition *exposition, const char *name, const char *type, const char *help) {
    exposition->name = name;
    bytes_printf(exposition->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void exposition_sample(struct exposition *exposition, const char *suffix) {
    exposition->is_labelled = false;
    bytes_append_text(exposition->out, exposition->name);
    bytes_append_text(exposition->out, suffix);
}

static void append_name(struct exposition *exposition, const char *name) {
    bytes_append_char(exposition->out, exposition->is_labelled ? ',' : '{');
    bytes_append_text(exposition->out, name);
    bytes_append_text(exposition->out, "=\"");
    exposition->is_labelled = true;
}

/* The format knows three escapes, and no other one. */
static const char *escape_of(char character) {
    return character == '\\' ? "\\\\" : character == '"' ? "\\\"" : character == '\n' ? "\\n" : NULL;
}

void exposition_label(struct exposition *exposition, const char *name, const char *value) {
    const char *end = value + strlen(value);
    append_name(exposition, name);
    for (const char *at = value; at < end;) {
        uint32_t character;
        size_t size = utf8_decode(at, end, &character);
        const char *escape = escape_of(*at);
        if (size == 0 || escape != NULL) {
            bytes_append_text(exposition->out, size == 0 ? "\xef\xbf\xbd" : escape);
        } else {
            bytes_append(exposition->out, at, size);
        }
        at += size == 0 ? 1 : size;
    }
    bytes_append_char(exposition->out, '"');
}

void exposition_label_number(struct exposition *exposition, const char *name, uint64_t value) {
    append_name(exposition, name);
    bytes_printf(exposition->out, "%lu\"", (unsigned long)value);
}

static const char *before_number(const struct exposition *exposition) {
    return exposition->is_labelled ? "} " : " ";
}

void exposition_integer(struct exposition *exposition, uint64_t value) {
    bytes_printf(exposition->out, "%s%lu\n", before_number(exposition), (unsigned long)value);
}

void exposition_seconds(struct exposition *exposition, uint64_t us) {
    bytes_printf(exposition->out, "%s%lu.%06lu\n", before_number(exposition), (unsigned long)(us / 1000000),
                 (unsigned long)(us % 1000000));
}
