#include "base/bytes.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an empty run points at, so that its data is always a text. Only ever read: nothing is written before there is
 * capacity. */
static char bytes_nothing[1];

void bytes_init(struct bytes *bytes) {
    *bytes = (struct bytes){.data = bytes_nothing};
}

void bytes_finish(struct bytes *bytes) {
    if (bytes->capacity > 0) {
        free(bytes->data);
    }
    bytes_init(bytes);
}

void bytes_clear(struct bytes *bytes) {
    bytes->size = 0;
    bytes->failed = false;
    if (bytes->capacity > 0) {
        bytes->data[0] = 0;
    }
}

/* Gets memory for `added` more bytes and the 0 behind them. */
static bool bytes_grow(struct bytes *bytes, size_t added) {
    if (added >= SIZE_MAX / 2 - bytes->size) {
        bytes->failed = true;
        return false;
    }
    size_t needed = bytes->size + added + 1;
    size_t capacity = bytes->capacity > 0 ? bytes->capacity : 64;
    while (capacity < needed) {
        capacity *= 2;
    }
    char *data = realloc(bytes->capacity > 0 ? bytes->data : NULL, capacity);
    if (data == NULL) {
        bytes->failed = true;
        return false;
    }
    bytes->data = data;
    bytes->capacity = capacity;
    bytes->data[bytes->size] = 0;
    return true;
}

/* Makes room for `added` more bytes and the 0 behind them. */
static inline bool bytes_reserve(struct bytes *bytes, size_t added) {
    return !bytes->failed && (added < bytes->capacity - bytes->size || bytes_grow(bytes, added));
}

void bytes_append(struct bytes *bytes, const void *data, size_t size) {
    if (size == 0 || !bytes_reserve(bytes, size)) {
        return;
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
    bytes->data[bytes->size] = 0;
}

void bytes_append_char(struct bytes *bytes, char character) {
    bytes_append(bytes, &character, 1);
}

void bytes_printf(struct bytes *bytes, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    bytes_vprintf(bytes, format, arguments);
    va_end(arguments);
}

void bytes_vprintf(struct bytes *bytes, const char *format, va_list arguments) {
    va_list measured;
    va_copy(measured, arguments);
    int size = vsnprintf(NULL, 0, format, measured);
    va_end(measured);
    if (size < 0) {
        bytes->failed = true;
    } else if (bytes_reserve(bytes, (size_t)size)) {
        vsnprintf(bytes->data + bytes->size, (size_t)size + 1, format, arguments);
        bytes->size += (size_t)size;
    }
}

/* The length of the UTF-8 sequence at `text` (which ends in 0), or 0 when there is none: a stray or missing
 * continuation byte, an overlong form, a surrogate, or more than U+10FFFF. */
static size_t utf8_length(const unsigned char *text) {
    if (text[0] < 0x80) {
        return 1;
    }
    if (text[0] < 0xc2 || text[0] > 0xf4) {
        return 0;
    }
    unsigned char lowest = 0x80; /* of the second byte */
    unsigned char highest = 0xbf;
    switch (text[0]) {
    case 0xe0: /* below it: overlong */
        lowest = 0xa0;
        break;
    case 0xed: /* above it: surrogates */
        highest = 0x9f;
        break;
    case 0xf0: /* below it: overlong */
        lowest = 0x90;
        break;
    case 0xf4: /* above it: past U+10FFFF */
        highest = 0x8f;
        break;
    }
    if (text[1] < lowest || text[1] > highest) {
        return 0;
    }
    size_t length = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    for (size_t index = 2; index < length; index++) {
        if (text[index] < 0x80 || text[index] > 0xbf) {
            return 0;
        }
    }
    return length;
}

static void bytes_append_json_control(struct bytes *bytes, unsigned char character) {
    switch (character) {
    case '\n':
        bytes_append_text(bytes, "\\n");
        break;
    case '\r':
        bytes_append_text(bytes, "\\r");
        break;
    case '\t':
        bytes_append_text(bytes, "\\t");
        break;
    default:
        bytes_printf(bytes, "\\u%04x", character);
        break;
    }
}

void bytes_append_json(struct bytes *bytes, const char *text) {
    bytes_append_char(bytes, '"');
    for (const unsigned char *at = (const unsigned char *)text; *at != 0;) {
        size_t length = utf8_length(at);
        if (length == 0) {
            bytes_append_text(bytes, "\xef\xbf\xbd"); /* U+FFFD */
            length = 1;
        } else if (*at == '"' || *at == '\\') {
            bytes_append_char(bytes, '\\');
            bytes_append(bytes, at, 1);
        } else if (*at < 0x20 || *at == 0x7f) {
            bytes_append_json_control(bytes, *at);
        } else {
            bytes_append(bytes, at, length);
        }
        at += length;
    }
    bytes_append_char(bytes, '"');
}

static bool is_plain(char byte) {
    return byte >= 0x20 && byte < 0x7f && byte != '\\';
}

size_t bytes_escape(char byte, char text[static 4]) {
    static const char digits[] = "0123456789abcdef";
    unsigned char value = (unsigned char)byte;
    if (is_plain(byte)) {
        text[0] = byte;
        return 1;
    }
    text[0] = '\\';
    text[1] = 'x';
    text[2] = digits[value >> 4];
    text[3] = digits[value & 15];
    return 4;
}

void bytes_append_escaped(struct bytes *bytes, const char *text, size_t size) {
    for (const char *end = text + size; text < end;) {
        const char *plain = text;
        while (text < end && is_plain(*text)) {
            text++;
        }
        bytes_append(bytes, plain, (size_t)(text - plain));
        if (text < end) {
            char escaped[4];
            bytes_append(bytes, escaped, bytes_escape(*text++, escaped));
        }
    }
}

uint64_t bytes_hash(const void *data, size_t size) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const unsigned char *byte = data, *end = byte + size; byte < end; byte++) {
        hash = (hash ^ *byte) * UINT64_C(0x100000001b3);
    }
    return hash;
}
