#include "config/utf8.h"

#include <criterion/criterion.h>
#include <string.h>

static size_t decode(const char *text, uint32_t *character) {
    return utf8_decode(text, text + strlen(text), character);
}

Test(utf8, reads_characters_of_every_length, .timeout = 10) {
    uint32_t character;
    cr_expect_eq(decode("a", &character), 1);
    cr_expect_eq(character, 'a');
    cr_expect_eq(decode("\xc3\xa9", &character), 2);
    cr_expect_eq(character, 0xe9);
    cr_expect_eq(decode("\xe2\x82\xac", &character), 3);
    cr_expect_eq(character, 0x20ac);
    cr_expect_eq(decode("\xf0\x9f\x8c\x99", &character), 4);
    cr_expect_eq(character, 0x1f319);
}

Test(utf8, refuses_what_is_no_character, .timeout = 10) {
    static const char *const wrong[] = {
        "\x80",             /* a continuation without a beginning */
        "\xff",             /* no byte of UTF-8 */
        "\xc3",             /* cut off */
        "\xc3(",            /* a beginning without its continuation */
        "\xc0\xaf",         /* overlong */
        "\xe0\x80\xaf",     /* overlong */
        "\xf0\x80\x80\xaf", /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "",                 /* nothing */
    };
    for (size_t index = 0; index < sizeof(wrong) / sizeof(wrong[0]); index++) {
        uint32_t character;
        cr_expect_eq(decode(wrong[index], &character), 0, "%zu", index);
    }
}

Test(utf8, knows_the_columns_of_a_character, .timeout = 10) {
    cr_expect_eq(utf8_width('a'), 1);
    cr_expect_eq(utf8_width(0xe9), 1);
    cr_expect_eq(utf8_width(0x301), 0);
    cr_expect_eq(utf8_width(0x65e5), 2);
    cr_expect_eq(utf8_width(0x1f319), 2);
}
