/* A text for people about one thing that went wrong. Owned by the caller, usually on its stack. */
#ifndef MOONRING_BASE_ERROR_H
#define MOONRING_BASE_ERROR_H

#include <stdbool.h>

struct error {
    char text[512];
};

/* Formats the text (cut at its end when too long) and returns false, so that `return error_set(...)` reads well. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts words in front of the text that is there: "listener web: " + "address in use". Returns false. */
bool error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The words for an errno value (a positive one): like strerror(), but a constant string, for any thread. */
const char *error_name(int number);

#endif
