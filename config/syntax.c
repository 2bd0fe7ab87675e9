#include "config/syntax.h"

#include "config/utf8.h"

#include <string.h>

/* One line of the source, and the place in it where the parser stopped. */
struct line {
    const char *text;
    size_t size;
    size_t offset;
};

struct explanation {
    const char *problem; /* a part of the parser's text */
    const char *message; /* NULL: the parser's */
    const char *hint;
    const char *context_note;        /* NULL: where the construct began does not matter */
    bool context_is_the_place;       /* that is where a reader has to look */
    bool (*holds)(struct line line); /* NULL: always */
};

static size_t indentation(struct line line) {
    size_t size = 0;
    while (size < line.size && line.text[size] == ' ') {
        size++;
    }
    return size;
}

static bool is_at_line_start(struct line line) {
    return line.offset <= indentation(line);
}

static bool is_first_colon(struct line line) {
    return memchr(line.text, ':', line.offset) == NULL;
}

static bool is_behind_quote(struct line line) {
    return line.offset > 0 && strchr("\"'", line.text[line.offset - 1]) != NULL;
}

static const struct explanation explanations[] = {
    {.problem = "unexpected end of stream",
     .message = "a quote is not closed",
     .hint = "it begins here",
     .context_is_the_place = true},
    {.problem = "could not find expected ':'",
     .message = "a line is no key",
     .hint = "a key ends in \": \"",
     .context_is_the_place = true},
    {.problem = "mapping values are not allowed",
     .message = "there cannot be a key here",
     .hint = "is it indented too far, or does the line above lack its \":\"?",
     .holds = is_first_colon},
    {.problem = "mapping values are not allowed",
     .message = "there cannot be a \":\" here",
     .hint = "quote a value that has \": \" in it"},
    {.problem = "did not find expected key",
     .message = "a line is not indented like the others",
     .hint = "keys that belong together stand below one another",
     .context_note = "of these",
     .holds = is_at_line_start},
    {.problem = "did not find expected key",
     .message = "something follows a quote that ended just here",
     .hint = "is a quote above not closed?",
     .holds = is_behind_quote},
    {.problem = "unknown escape character",
     .message = "a \\ in double quotes begins an escape, but not this one",
     .hint = "write \\\\, or use single quotes"},
    {.problem = "did not find expected key",
     .message = "something follows a value that has ended",
     .hint = "quote the value as a whole, or begin a new line"},
    {.problem = "expected <document start>",
     .message = "a line stands further left than the first",
     .hint = "keys that belong together stand below one another"},
    {.problem = "expected '-' indicator",
     .message = "a list ends in the middle",
     .hint = "each item begins with \"- \"",
     .context_note = "this list"},
    {.problem = "expected ',' or '}'",
     .message = "a \",\" or \"}\" is missing",
     .hint = "quote values; close what is open",
     .context_note = "this is open"},
    {.problem = "expected ',' or ']'",
     .message = "a \",\" or \"]\" is missing",
     .hint = "quote values; close what is open",
     .context_note = "this is open"},
    {.problem = ""},
};

static struct line line_find(const struct source *source, struct mark mark) {
    struct line line = {.text = "", .size = 0, .offset = 0};
    size_t size;
    const char *text = source_line(source, mark.line, &size);
    if (text == NULL) {
        return line;
    }
    line.text = text;
    line.size = size;
    for (uint32_t column = 1; column < mark.column && line.offset < size; column++) {
        uint32_t character;
        size_t length = utf8_decode(text + line.offset, text + size, &character);
        line.offset += length > 0 ? length : 1;
    }
    return line;
}

/* The number of bytes of `[::1]` when the text begins with such an address, else 0. */
static size_t bracketed_ip_length(const char *text, size_t size) {
    size_t length = 1;
    size_t colons = 0;
    if (size == 0 || text[0] != '[') {
        return 0;
    }
    while (length < size && strchr("0123456789abcdefABCDEF:.", text[length]) != NULL) {
        colons += text[length] == ':';
        length++;
    }
    bool closed = length < size && text[length] == ']';
    return closed && colons >= 2 ? length + 1 : 0;
}

/* Does a value begin at `offset`? */
static bool value_begins(struct line line, size_t offset) {
    if (offset == 0) {
        return true;
    }
    char before = line.text[offset - 1];
    if (before == ' ') {
        return offset >= 2 && strchr(":,-{[", line.text[offset - 2]) != NULL;
    }
    return before == ',' || before == '{' ||
           (before == '[' && bracketed_ip_length(line.text + offset - 1, line.size - offset + 1) == 0);
}

static size_t value_start(struct line line) {
    size_t start = line.offset < line.size ? line.offset : line.size;
    while (!value_begins(line, start) ||
           (start > 0 && line.text[start - 1] == '{' && start >= 2 && line.text[start - 2] == '$')) {
        start--;
    }
    return start;
}

/* Where a value ends that was meant to be plain: at a blank or at what separates values in { } and [ ]. */
static size_t value_end(struct line line, size_t start) {
    size_t at = start + bracketed_ip_length(line.text + start, line.size - start);
    bool in_variable = false;
    for (; at < line.size; at++) {
        char character = line.text[at];
        if (in_variable) {
            in_variable = character != '}';
        } else if (character == '$' && at + 1 < line.size && line.text[at + 1] == '{') {
            in_variable = true;
        } else if (strchr(" \t,}]", character) != NULL) {
            break;
        }
    }
    return at;
}

static uint32_t characters_count(const char *text, const char *end) {
    uint32_t count = 0;
    while (text < end) {
        uint32_t character;
        size_t length = utf8_decode(text, end, &character);
        text += length > 0 ? length : 1;
        count++;
    }
    return count;
}

/* A value whose characters mean something to YAML: says that it must be quoted. */
static bool explain_quote(const struct syntax_error *error, struct line line, struct findings *findings) {
    size_t start = value_start(line);
    size_t size = value_end(line, start) - start;
    const char *value = line.text + start;
    bool variable = memmem(value, size, "${", 2) != NULL;
    bool special = size >= 2 && start > 0 && strchr(":*[&!%@`", value[0]) != NULL && memchr(value, '"', size) == NULL;
    if (!special && !variable) {
        return false;
    }
    bool in_braces = memchr(line.text, '{', start) != NULL;
    const char *hint =
        arena_printf(findings->arena, "%squote it: \"%.*s\"", in_braces ? "inside { } " : "", (int)size, value);
    uint32_t column = characters_count(line.text, value) + 1;
    uint32_t end_column = column + characters_count(value, value + size);
    struct span span = {{error->mark.line, column}, {error->mark.line, end_column}, error->source};
    findings_add(findings, CODE_SYNTAX, span, hint, "not YAML: %.*s needs quotes here", (int)size, value);
    return true;
}

static bool explain_tab(const struct syntax_error *error, struct line line, struct findings *findings) {
    size_t spaces = indentation(line);
    if (spaces == line.size || line.text[spaces] != '\t') {
        return false;
    }
    uint32_t column = (uint32_t)spaces + 1;
    struct span span = {{error->mark.line, column}, {error->mark.line, column + 1}, error->source};
    findings_add(findings, CODE_TAB, span, "use spaces", "a tab indents this line");
    return true;
}

static const struct explanation *explanation_find(const char *problem, struct line line) {
    const struct explanation *explanation = explanations;
    while (strstr(problem, explanation->problem) == NULL || (explanation->holds != NULL && !explanation->holds(line))) {
        explanation++;
    }
    return explanation;
}

static struct span span_at(const struct syntax_error *error, struct mark mark) {
    return (struct span){mark, mark, error->source};
}

void syntax_explain(const struct syntax_error *error, struct findings *findings) {
    struct line line = line_find(error->source, error->mark);
    if (explain_tab(error, line, findings) || explain_quote(error, line, findings)) {
        return;
    }
    const struct explanation *explanation = explanation_find(error->problem, line);
    struct mark place = explanation->context_is_the_place ? error->context : error->mark;
    findings_add(findings, CODE_SYNTAX, span_at(error, place), explanation->hint, "not YAML: %s",
                 explanation->message != NULL ? explanation->message : error->problem);
    if (explanation->context_note != NULL) {
        findings_note(findings, span_at(error, error->context), explanation->context_note);
    }
}
