#include "config/source.h"

#include "config/utf8.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN_COLUMNS_MAX = 120, SHOWN_FROM_START_MAX = 100, SHOWN_BEFORE_SPAN = 50, QUOTED_CHARACTERS_MAX = 60 };
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD, for what is not UTF-8 */

static bool character_ends_line(uint32_t character) {
    return character == '\n' || character == '\r' || character == 0x85 || character == 0x2028 || character == 0x2029;
}

/* The length of the line end at `text`, 0 when there is none. */
static size_t line_end_length(const char *text, const char *end) {
    unsigned char first = (unsigned char)text[0];
    bool may_end = first == '\n' || first == '\r' || first == 0xc2 || first == 0xe2;
    if (!may_end) {
        return 0;
    }
    if (end - text >= 2 && text[0] == '\r' && text[1] == '\n') {
        return 2;
    }
    uint32_t character;
    size_t length = utf8_decode(text, end, &character);
    return length > 0 && character_ends_line(character) ? length : 0;
}

/* Reads one character; a byte that belongs to none counts as one, too. */
static size_t character_read(const char *text, const char *end, uint32_t *character) {
    size_t length = utf8_decode(text, end, character);
    if (length == 0) {
        *character = 0xfffd;
        return 1;
    }
    return length;
}

enum source_fault source_check(const struct source *source, struct mark *mark, unsigned char *byte) {
    const char *end = source->text + source->size;
    *mark = (struct mark){1, 1};
    for (const char *at = source->text; at < end;) {
        size_t line_end = line_end_length(at, end);
        if (line_end > 0) {
            mark->line++;
            mark->column = 1;
            at += line_end;
            continue;
        }
        uint32_t character;
        size_t length = utf8_decode(at, end, &character);
        *byte = (unsigned char)at[0];
        if (length == 0) {
            return SOURCE_NOT_UTF8;
        }
        if (utf8_is_control(character) && character != '\t') {
            return SOURCE_CONTROL;
        }
        mark->column++;
        at += length;
    }
    return SOURCE_FINE;
}

const char *source_line(const struct source *source, uint32_t line, size_t *size) {
    const char *end = source->text + source->size;
    const char *start = source->text;
    uint32_t number = 1;
    for (const char *at = start; at < end;) {
        size_t line_end = line_end_length(at, end);
        if (line_end == 0) {
            at++;
            continue;
        }
        if (number == line) {
            *size = (size_t)(at - start);
            return start;
        }
        number++;
        at += line_end;
        start = at;
    }
    *size = (size_t)(end - start);
    return number == line ? start : NULL;
}

static void show_character(const char *text, size_t length, uint32_t character, struct bytes *out) {
    if (character == 0xfffd || (utf8_is_control(character) && character != '\t')) {
        bytes_append_text(out, replacement);
    } else {
        bytes_append(out, text, length);
    }
}

/* What is above the carets decides how wide they stand: a tab is repeated, so that it is as wide in both lines. */
static void show_below(uint32_t character, char mark, struct bytes *out) {
    if (character == '\t' && mark == ' ') {
        bytes_append_char(out, '\t');
        return;
    }
    for (unsigned column = 0; column < utf8_width(character); column++) {
        bytes_append_char(out, mark);
    }
}

/* The columns of a line that are shown: all of a usual one, some around the span of a very long one. */
static uint32_t first_column_shown(struct span span) {
    return span.start.column > SHOWN_FROM_START_MAX ? span.start.column - SHOWN_BEFORE_SPAN : 1;
}

const char *source_origin(const struct source *source, uint32_t line) {
    return line > 0 && line <= source->origins_count ? source->origins[line - 1] : NULL;
}

void source_show(const struct source *source, struct span span, const char *hint, struct bytes *out) {
    size_t size;
    const char *at = source_line(source, span.start.line, &size);
    if (at == NULL) {
        return;
    }
    const char *end = at + size;
    uint32_t first = first_column_shown(span);
    bool empty = span.end.line == span.start.line && span.end.column <= span.start.column;
    uint32_t end_column = span.end.line > span.start.line ? UINT32_MAX : span.end.column + empty;
    const char *cut = first > 1 ? "..." : "";
    struct bytes below;
    bytes_init(&below);
    bytes_printf(out, "%5u | %s", span.start.line, cut);
    bytes_printf(&below, "      | %*s", (int)strlen(cut), "");
    uint32_t column = 1;
    for (; at < end && column < first + SHOWN_COLUMNS_MAX; column++) {
        uint32_t character;
        size_t length = character_read(at, end, &character);
        bool marked = column >= span.start.column && column < end_column;
        if (column >= first) {
            show_character(at, length, character, out);
        }
        if (column >= first && (marked || column < span.start.column)) {
            show_below(character, marked ? '^' : ' ', &below);
        }
        at += length;
    }
    if (column <= span.start.column) {
        bytes_append_char(&below, '^'); /* the span is the line's end */
    }
    bytes_printf(out, "%s\n%s", at < end ? "..." : "", below.data);
    bytes_printf(out, "%s%s\n", hint != NULL ? " " : "", hint != NULL ? hint : "");
    bytes_finish(&below);
}

void source_clean(const char *text, size_t size, struct bytes *out) {
    const char *end = text + size;
    while (text < end) {
        uint32_t character;
        size_t length = character_read(text, end, &character);
        show_character(text, length, character, out);
        text += length;
    }
}

void source_quote(const char *text, size_t size, struct bytes *out) {
    const char *end = text + size;
    bytes_append_char(out, '"');
    for (unsigned count = 0; text < end; count++) {
        uint32_t character;
        size_t length = character_read(text, end, &character);
        if (count == QUOTED_CHARACTERS_MAX) {
            bytes_append_text(out, "...");
            break;
        }
        if (utf8_is_control(character)) {
            bytes_append_escaped(out, text, length);
        } else {
            show_character(text, length, character, out);
        }
        text += length;
    }
    bytes_append_char(out, '"');
}
