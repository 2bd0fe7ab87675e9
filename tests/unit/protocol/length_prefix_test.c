#include "protocol/length_prefix.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

static const struct length_prefix network = {.at = 0, .bytes = 4, .add = 4, .size_max = 1 << 20};

struct parser {
    struct length_frame length_frame;
    const struct length_prefix *prefix;
};

static enum parse_result parser_read(void *parser, const uint8_t *bytes, size_t size) {
    struct parser *own = parser;
    return length_frame_read(&own->length_frame, own->prefix, bytes, size);
}

static uint64_t parser_size(const void *parser) {
    const struct parser *own = parser;
    return own->length_frame.frame.read;
}

static void frame_done(const struct length_prefix *prefix, const uint8_t *bytes, size_t size) {
    struct parser parser = {.prefix = prefix};
    const struct feeding feeding = {sizeof(parser), true, &parser, parser_read, parser_size};
    expect_done(&feeding, bytes, size);
}

static void frame_refused(const struct length_prefix *prefix, const uint8_t *bytes, size_t size, const char *reason) {
    struct parser parser = {.prefix = prefix};
    const struct feeding feeding = {sizeof(parser), true, &parser, parser_read, parser_size};
    expect_refused(&feeding, bytes, size, reason);
}

Test(length_prefix, reads_numbers_of_every_width_in_both_orders, .timeout = 10) {
    static const uint8_t big[] = {0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c'};
    static const uint8_t little[] = {3, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'};
    for (uint32_t bytes = 1; bytes <= 8; bytes++) {
        const struct length_prefix first = {0, bytes, bytes, LENGTH_BIG_ENDIAN, 1000};
        frame_done(&first, big + 8 - bytes, bytes + 3);
        const struct length_prefix second = {0, bytes, bytes, LENGTH_LITTLE_ENDIAN, 1000};
        uint8_t frame[11];
        memcpy(frame, little, bytes);
        memcpy(frame + bytes, "abc", 3);
        frame_done(&second, frame, bytes + 3);
    }
}

Test(length_prefix, reads_the_bytes_of_a_number_in_their_order, .timeout = 10) {
    struct length_frame length_frame;
    const struct length_prefix big = {2, 3, 5, LENGTH_BIG_ENDIAN, LENGTH_SIZE_MAX};
    length_frame_begin(&length_frame);
    cr_assert_eq(length_frame_read(&length_frame, &big, SAMPLE("xx\x01\x02\x03")), PARSE_MORE);
    cr_assert_eq(length_frame.length, 0x010203);
    cr_assert_eq(length_frame.frame.whole, 0x010203 + 5);
    const struct length_prefix little = {2, 3, 5, LENGTH_LITTLE_ENDIAN, LENGTH_SIZE_MAX};
    length_frame_begin(&length_frame);
    cr_assert_eq(length_frame_read(&length_frame, &little, SAMPLE("xx\x01\x02\x03")), PARSE_MORE);
    cr_assert_eq(length_frame.length, 0x030201);
}

Test(length_prefix, takes_a_length_behind_other_bytes_and_one_that_counts_itself, .timeout = 10) {
    const struct length_prefix typed = {.at = 1, .bytes = 4, .add = 1, .size_max = 100};
    frame_done(&typed, SAMPLE("Q\0\0\0\x09hello"));
    frame_done(&typed, SAMPLE("S\0\0\0\4"));
    const struct length_prefix inclusive = {.at = 0, .bytes = 2, .add = 0, .size_max = 100};
    frame_done(&inclusive, SAMPLE("\0\5abc"));
}

Test(length_prefix, knows_the_whole_size_once_the_number_is_there, .timeout = 10) {
    struct length_frame length_frame;
    length_frame_begin(&length_frame);
    cr_assert_eq(length_frame_read(&length_frame, &network, SAMPLE("\0\0\x01")), PARSE_MORE);
    cr_assert_eq(length_frame.frame.whole, 0);
    cr_assert_eq(length_frame_read(&length_frame, &network, SAMPLE("\0ab")), PARSE_MORE);
    cr_assert_eq(length_frame.frame.whole, 260);
    cr_assert_eq(length_frame.frame.read, 6);
    cr_assert_eq(length_frame.frame.skip, 254);
}

Test(length_prefix, ends_with_bytes_that_were_only_counted, .timeout = 10) {
    struct length_frame length_frame;
    length_frame_begin(&length_frame);
    cr_assert_eq(length_frame_read(&length_frame, &network, SAMPLE("\0\x0f\0\0")), PARSE_MORE);
    frame_skip(&length_frame.frame, length_frame.frame.skip);
    cr_assert_eq(length_frame_read(&length_frame, &network, NULL, 0), PARSE_DONE);
    cr_assert_eq(length_frame.frame.read, 0x0f0004);
}

Test(length_prefix, refuses_a_length_that_does_not_cover_its_header, .timeout = 10) {
    const struct length_prefix inclusive = {.at = 0, .bytes = 2, .add = 0, .size_max = 100};
    frame_refused(&inclusive, SAMPLE("\0\1"), "shorter than its own header");
    const struct length_prefix shrinking = {.at = 0, .bytes = 1, .add = -5, .size_max = 100};
    frame_refused(&shrinking, SAMPLE("\4"), "shorter than its own header");
    frame_done(&shrinking, SAMPLE("\6"));
}

Test(length_prefix, refuses_a_frame_above_the_limit, .timeout = 10) {
    frame_refused(&network, SAMPLE("\0\x10\0\0"), "above the limit");
    const struct length_prefix wide = {.at = 0, .bytes = 8, .add = 8, .size_max = LENGTH_SIZE_MAX};
    frame_refused(&wide, SAMPLE("\xff\xff\xff\xff\xff\xff\xff\xff"), "above the limit");
    frame_refused(&wide, SAMPLE("\x80\0\0\0\0\0\0\0"), "above the limit");
    const struct length_prefix small = {.at = 0, .bytes = 1, .add = 1, .size_max = 4};
    frame_done(&small, SAMPLE("\3abc"));
    frame_refused(&small, SAMPLE("\4"), "above the limit");
}

static void prefix_refused(struct length_prefix prefix, const char *text) {
    struct error error = {.text = ""};
    cr_expect_not(length_prefix_check(&prefix, &error));
    cr_expect_str_eq(error.text, text);
}

Test(length_prefix, says_which_field_of_a_prefix_is_out_of_range, .timeout = 10) {
    struct error error;
    cr_assert(length_prefix_check(&network, &error));
    prefix_refused((struct length_prefix){.bytes = 0, .size_max = 10},
                   "bytes: a number of 0 bytes cannot be read (1-8)");
    prefix_refused((struct length_prefix){.bytes = 9, .size_max = 10},
                   "bytes: a number of 9 bytes cannot be read (1-8)");
    prefix_refused((struct length_prefix){.at = 65536, .bytes = 1, .size_max = 70000},
                   "at: 65537 is too far in a frame (1-65536)");
    prefix_refused((struct length_prefix){.bytes = 1, .add = INT64_MAX, .size_max = 10},
                   "add: 9223372036854775807 is out of range (-9007199254740992 to 9007199254740992)");
    prefix_refused((struct length_prefix){.at = 2, .bytes = 4, .size_max = 5},
                   "max: frames of at most 5 bytes are not possible (6-9007199254740992)");
}
