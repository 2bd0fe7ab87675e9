#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool error_set(struct error *error, const char *format, ...) {
    /* By way of a copy: an argument may point into the text that is replaced. */
    struct error formatted;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(formatted.text, sizeof(formatted.text), format, arguments);
    va_end(arguments);
    strcpy(error->text, formatted.text);
    return false;
}

bool error_prefix(struct error *error, const char *format, ...) {
    struct error prefixed;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(prefixed.text, sizeof(prefixed.text), format, arguments);
    va_end(arguments);
    size_t prefix_size = strlen(prefixed.text);
    size_t room = sizeof(prefixed.text) - 1 - prefix_size;
    size_t kept_size = strnlen(error->text, room);
    memcpy(prefixed.text + prefix_size, error->text, kept_size);
    prefixed.text[prefix_size + kept_size] = 0;
    strcpy(error->text, prefixed.text);
    return false;
}

const char *error_name(int number) {
    const char *name = strerrordesc_np(number);
    return name != NULL ? name : "unknown error";
}
