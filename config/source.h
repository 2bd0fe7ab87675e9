/* The text of a configuration file: checked before it is parsed, and shown in messages. */
#ifndef MOONRING_CONFIG_SOURCE_H
#define MOONRING_CONFIG_SOURCE_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source {
    uint32_t number;    /* 0: the file that was named; included ones follow in the order in which they are read */
    const char *name;   /* stands in messages and places */
    const char *folder; /* absolute: where relative paths in it start; "" is the root of the file system */
    const char *text;   /* no 0 need follow; never begins with a byte order mark */
    size_t size;
    const char *const *origins; /* of a text that was made, what each line comes from; NULL: people wrote it */
    size_t origins_count;
};

/* A place between two characters: line and column count from 1, columns in characters. Line 0: nowhere. */
struct mark {
    uint32_t line;
    uint32_t column;
};

struct span {
    struct mark start;
    struct mark end;             /* behind the last character */
    const struct source *source; /* NULL: the file that was named, as a whole */
};

enum source_fault { SOURCE_FINE, SOURCE_NOT_UTF8, SOURCE_CONTROL };

/* Looks for what YAML allows in no place. `mark` and `byte` then say where and what it is. */
enum source_fault source_check(const struct source *source, struct mark *mark, unsigned char *byte);

/* The text of a line without its end, as YAML counts lines; NULL behind the last one. */
const char *source_line(const struct source *source, uint32_t line, size_t *size);

/* Where a line of a text with origins comes from; NULL: from nothing that has a name. */
const char *source_origin(const struct source *source, uint32_t line);

/* Appends the line where the span starts, and under it carets below the span, followed by the hint (NULL: none). Long
 * lines are cut around the span. Appends nothing when there is no such line. */
void source_show(const struct source *source, struct span span, const char *hint, struct bytes *out);

/* Appends text with replacements for what is not UTF-8 and for control characters. */
void source_clean(const char *text, size_t size, struct bytes *out);

/* Appends text in double quotes, on one line, cut when it is long. */
void source_quote(const char *text, size_t size, struct bytes *out);

#endif
