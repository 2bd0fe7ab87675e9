#include "config/utf8.h"

struct range {
    uint32_t first;
    uint32_t last;
};

size_t utf8_decode(const char *text, const char *end, uint32_t *character) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* by length; below it: overlong */
    if (text >= end) {
        return 0;
    }
    unsigned char first = (unsigned char)text[0];
    if (first < 0x80) {
        *character = first;
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || (size_t)(end - text) < length) {
        return 0;
    }
    uint32_t value = first & (0x7fU >> length);
    for (size_t index = 1; index < length; index++) {
        unsigned char byte = (unsigned char)text[index];
        if ((byte & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (byte & 0x3f);
    }
    bool surrogate = value >= 0xd800 && value <= 0xdfff;
    if (value < smallest[length] || value > 0x10ffff || surrogate) {
        return 0;
    }
    *character = value;
    return length;
}

bool utf8_is_control(uint32_t character) {
    bool control = character < 0x20 || (character >= 0x7f && character < 0xa0);
    bool separator = character == 0x2028 || character == 0x2029;
    return control || separator || character == 0xfffe || character == 0xffff;
}

static bool range_holds(const struct range *ranges, size_t count, uint32_t character) {
    for (size_t index = 0; index < count; index++) {
        if (character >= ranges[index].first && character <= ranges[index].last) {
            return true;
        }
    }
    return false;
}

/* Whole blocks of Unicode: near enough to put a caret in its place, and the same in every locale. */
unsigned utf8_width(uint32_t character) {
    static const struct range none[] = {{0x300, 0x36f}, {0x200b, 0x200f}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}};
    static const struct range wide[] = {
        {0x1100, 0x115f}, {0x2e80, 0xa4cf}, {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
        {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
    };
    if (character < 0x300) {
        return 1;
    }
    if (range_holds(none, sizeof(none) / sizeof(none[0]), character)) {
        return 0;
    }
    return range_holds(wide, sizeof(wide) / sizeof(wide[0]), character) ? 2 : 1;
}
