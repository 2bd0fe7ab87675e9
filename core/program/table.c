#include "program/table.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

struct column {
    size_t width;
    bool is_number; /* every cell but the first, its head, begins with a digit or is a dash */
};

struct table {
    struct column columns[TABLE_COLUMNS_MAX];
    size_t columns_count;
};

/* Up to its tab or newline. */
static size_t cell_size(const char *cell) {
    return strcspn(cell, "\t\n");
}

/* `12`, `1.2MiB`, `3d 4h`; an address has a colon. */
static bool cell_is_number(const char *cell) {
    size_t size = cell_size(cell);
    bool is_quantity = isdigit((unsigned char)cell[0]) && memchr(cell, ':', size) == NULL;
    return is_quantity || (cell[0] == '-' && size == 1);
}

static bool line_has_cells(const char *line) {
    return line[cell_size(line)] == '\t';
}

static const char *line_next(const char *line) {
    line += strcspn(line, "\n");
    return *line == '\n' ? line + 1 : line;
}

/* What follows the cell; NULL: it is the line's last. */
static const char *cell_next(const char *cell) {
    cell += cell_size(cell);
    return *cell == '\t' ? cell + 1 : NULL;
}

/* Cells are at most one line's, so a hostile line makes no more columns than there are. */
static void table_measure_line(struct table *table, const char *line, bool is_head) {
    size_t at = 0;
    for (const char *cell = line; cell != NULL && at < TABLE_COLUMNS_MAX; cell = cell_next(cell), at++) {
        struct column *column = &table->columns[at];
        if (at == table->columns_count) {
            *column = (struct column){.is_number = true};
            table->columns_count++;
        }
        size_t size = cell_size(cell);
        column->width = size > column->width ? size : column->width;
        column->is_number = column->is_number && (is_head || cell_is_number(cell));
    }
}

static void append_blanks(struct bytes *out, size_t count) {
    bytes_printf(out, "%*s", (int)count, "");
}

static void table_append_line(const struct table *table, const char *line, struct bytes *out) {
    size_t at = 0;
    for (const char *cell = line; cell != NULL && at < table->columns_count; cell = cell_next(cell), at++) {
        const struct column *column = &table->columns[at];
        size_t size = cell_size(cell);
        size_t blanks = column->width - size;
        bool is_last = cell_next(cell) == NULL;
        append_blanks(out, at == 0 ? 0 : 2);
        append_blanks(out, column->is_number ? blanks : 0);
        bytes_append(out, cell, size);
        append_blanks(out, column->is_number || is_last ? 0 : blanks);
    }
    bytes_append_char(out, '\n');
}

/* Returns where the table ends. */
static const char *table_append(const char *text, struct bytes *out) {
    struct table table = {.columns_count = 0};
    const char *line = text;
    for (; line_has_cells(line); line = line_next(line)) {
        table_measure_line(&table, line, line == text);
    }
    const char *end = line;
    for (line = text; line != end; line = line_next(line)) {
        table_append_line(&table, line, out);
    }
    return end;
}

void table_align(const char *text, struct bytes *out) {
    while (*text != 0) {
        if (line_has_cells(text)) {
            text = table_append(text, out);
            continue;
        }
        const char *next = line_next(text);
        bytes_append(out, text, (size_t)(next - text));
        text = next;
    }
}
