/* The characters of a UTF-8 text, one by one. */
#ifndef MOONRING_CONFIG_UTF8_H
#define MOONRING_CONFIG_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the character at `text`. Returns its length in bytes, or 0 when the bytes up to `end` begin with none: stray,
 * missing or overlong bytes, surrogates, beyond U+10FFFF. */
size_t utf8_decode(const char *text, const char *end, uint32_t *character);

/* C0, DEL, C1, the line and paragraph separators, and the two codes that YAML forbids (U+FFFE and U+FFFF). */
bool utf8_is_control(uint32_t character);

/* The columns that a terminal gives to a character: 0 for combining marks, 2 for wide ones. */
unsigned utf8_width(uint32_t character);

#endif
