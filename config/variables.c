#include "config/variables.h"

#include "config/tree.h"
#include "config/utf8.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char forms[] = "write ${NAME}, ${NAME:-DEFAULT} or ${NAME:?MESSAGE}; $$ is a dollar";

struct replacing {
    const char *at; /* the rest of the text */
    struct span span;
    struct findings *findings;
};

/* What stands in the result next; not ended by a 0. */
struct piece {
    const char *text;
    size_t size;
};

static bool refuse(const struct replacing *replacing, const char *problem) {
    findings_add(replacing->findings, CODE_VARIABLE, replacing->span, forms, "%s", problem);
    return false;
}

static size_t name_size(const char *text) {
    size_t size = 0;
    while (isascii((unsigned char)text[size]) && (isalnum((unsigned char)text[size]) || text[size] == '_')) {
        size++;
    }
    return isdigit((unsigned char)text[0]) ? 0 : size;
}

/* ---- ${NAME} ---- */

/* Escapes in quotes are checked by who reads them; what a variable holds comes from elsewhere. */
static bool value_is_text(const struct replacing *replacing, const char *name, const char *value) {
    const char *end = value + strlen(value);
    for (const char *at = value; at < end;) {
        uint32_t character = 0;
        size_t length = utf8_decode(at, end, &character);
        if (length == 0 || utf8_is_control(character)) {
            findings_add(replacing->findings, CODE_VARIABLE, replacing->span, NULL,
                         "the variable %s holds a byte 0x%02x, which is not allowed in a text", name,
                         (unsigned char)*at);
            return false;
        }
        at += length;
    }
    return true;
}

static bool refuse_unset(const struct replacing *replacing, const char *name, const struct piece *message) {
    bool told = message->size > 0;
    const char *hint =
        told ? "set it" : arena_printf(replacing->findings->arena, "set it, or write ${%s:-DEFAULT}", name);
    findings_add(replacing->findings, CODE_VARIABLE_UNSET, replacing->span, hint, "the variable %s is not set%s%.*s",
                 name, told ? ": " : "", told ? (int)message->size : 0, told ? message->text : "");
    return false;
}

/* `operation` is `-`, `?`, or 0 where there is none; the operand follows it. */
static bool take_value(const struct replacing *replacing, const char *name, char operation, struct piece operand,
                       struct piece *piece) {
    const char *value = getenv(name);
    bool missing = value == NULL || (operation != 0 && value[0] == 0);
    if (missing && operation == '-') {
        *piece = operand;
        return true;
    }
    if (missing) {
        return refuse_unset(replacing, name, &operand);
    }
    *piece = (struct piece){value, strlen(value)};
    return value_is_text(replacing, name, value);
}

static bool take_variable(struct replacing *replacing, struct piece *piece) {
    const char *name = replacing->at + 2;
    const char *end = strchr(name, '}');
    if (end == NULL) {
        return refuse(replacing, "a ${ has no }");
    }
    size_t size = name_size(name);
    char operation = 0;
    struct piece operand = {NULL, 0};
    if (name[size] == ':' && (name[size + 1] == '-' || name[size + 1] == '?')) {
        operation = name[size + 1];
        operand = (struct piece){name + size + 2, (size_t)(end - (name + size + 2))};
    }
    if (size == 0 || (operation == 0 && name + size != end)) {
        return refuse(replacing, "this is no variable");
    }
    if (operand.size > 0 && memmem(operand.text, operand.size, "${", 2) != NULL) {
        return refuse(replacing, "a ${ stands inside another");
    }
    replacing->at = end + 1;
    return take_value(replacing, arena_copy(replacing->findings->arena, name, size), operation, operand, piece);
}

/* ---- the text ---- */

static bool take_dollar(struct replacing *replacing, struct piece *piece) {
    char next = replacing->at[1];
    if (next == '{') {
        return take_variable(replacing, piece);
    }
    size_t size = name_size(replacing->at + 1);
    if (size > 0) {
        const char *name = replacing->at + 1;
        const char *hint = arena_printf(replacing->findings->arena, "write ${%.*s}, or $$%.*s for a dollar", (int)size,
                                        name, (int)size, name);
        findings_add(replacing->findings, CODE_VARIABLE, replacing->span, hint, "$%.*s is no variable", (int)size,
                     name);
        return false;
    }
    *piece = (struct piece){replacing->at, 1};
    replacing->at += next == '$' ? 2 : 1;
    return true;
}

/* False: something is wrong, and reported. */
static bool take_piece(struct replacing *replacing, struct piece *piece) {
    if (replacing->at[0] == '$') {
        return take_dollar(replacing, piece);
    }
    *piece = (struct piece){replacing->at, strcspn(replacing->at, "$")};
    replacing->at += piece->size;
    return true;
}

const char *variables_replace(const char *text, struct span span, struct findings *findings) {
    if (strchr(text, '$') == NULL) {
        return text;
    }
    struct replacing replacing = {.at = text, .span = span, .findings = findings};
    struct piece piece;
    size_t size = 0;
    while (*replacing.at != 0) {
        if (!take_piece(&replacing, &piece)) {
            return NULL;
        }
        size += piece.size;
        if (size > TREE_TEXT_SIZE_MAX) {
            findings_add(findings, CODE_SCALAR_SIZE, span, NULL, "this text has more than 1 MiB with its variables");
            return NULL;
        }
    }
    char *result = arena_take(findings->arena, size + 1);
    size_t used = 0;
    for (replacing.at = text; *replacing.at != 0; used += piece.size) {
        take_piece(&replacing, &piece);
        memcpy(result + used, piece.text, piece.size);
    }
    return result;
}

void variables_escape(const char *text, struct bytes *out) {
    for (; *text != 0; text++) {
        bytes_append_text(out, *text == '$' ? "$" : "");
        bytes_append_char(out, *text);
    }
}
