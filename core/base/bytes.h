/* A growing run of bytes, always followed by a 0 byte that size does not count. For texts off the path of bytes. */
#ifndef MOONRING_BASE_BYTES_H
#define MOONRING_BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    char *data; /* ours; never NULL: "" when empty */
    size_t size;
    size_t capacity;
    bool failed; /* memory ran out once; appends since then were dropped */
};

void bytes_init(struct bytes *bytes);
void bytes_finish(struct bytes *bytes);
/* Empties, keeps the memory, and forgets that it failed. */
void bytes_clear(struct bytes *bytes);
/* Each appends all or, when memory is short, nothing. What is appended must not lie in the run itself. */
void bytes_append(struct bytes *bytes, const void *data, size_t size);
static inline void bytes_append_text(struct bytes *bytes, const char *text) {
    bytes_append(bytes, text, strlen(text)); /* here: the compiler knows how long a constant text is */
}
void bytes_append_char(struct bytes *bytes, char character);
void bytes_printf(struct bytes *bytes, const char *format, ...) __attribute__((format(printf, 2, 3)));
void bytes_vprintf(struct bytes *bytes, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));
/* Appends text as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void bytes_append_json(struct bytes *bytes, const char *text);
/* Appends text with control characters, backslash and bytes from 0x7f on as \xNN: safe in a log line and on a terminal.
 */
void bytes_append_escaped(struct bytes *bytes, const char *text, size_t size);
/* Writes one byte as bytes_append_escaped does, for who has no memory to spare. Returns the size, 1 to 4; adds no 0. */
size_t bytes_escape(char byte, char text[static 4]);

/* FNV-1a: spreads what was not made to collide. */
uint64_t bytes_hash(const void *data, size_t size);

#endif
