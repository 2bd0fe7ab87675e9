#include "tests/bench/pattern.h"

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANDOM_STRIDE = 64, LOOK_SIZE = 64 };

static const char resp_begin[] = "*3\r\n$3\r\nSET\r\n$1\r\n"; /* then the key: the slice's name */

static void fill_random(uint8_t *bytes, size_t size) {
    uint64_t random = 0x9e3779b97f4a7c15; /* xorshift64; any seed but 0 */
    for (size_t i = 0; i < size; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes[i] = (uint8_t)random;
    }
}

static size_t write_resp_head(uint8_t *message, size_t value_size) {
    char head[sizeof resp_begin + 32];
    int size = snprintf(head, sizeof head, "%s?\r\n$%zu\r\n", resp_begin, value_size);
    memcpy(message, head, (size_t)size);
    return (size_t)size;
}

/* Writes a command around the random bytes that are there already; they become its value. */
static void fill_resp(uint8_t *message, size_t message_size) {
    /* The value's size depends on that of the head, which tells it: in as many digits as the message's size has. */
    size_t head_size = write_resp_head(message, message_size);
    size_t value_size = message_size - head_size - 2;
    check(write_resp_head(message, value_size) == head_size);
    memcpy(message + message_size - 2, "\r\n", 2);
}

static void pattern_fill(struct pattern *pattern, enum pattern_kind kind) {
    fill_random(pattern->bytes, (PATTERN_SLICES - 1) * pattern->stride + pattern->message_size);
    for (size_t slice = 0; slice < PATTERN_SLICES; slice++) {
        uint8_t *message = pattern->bytes + slice * pattern->stride;
        if (kind == PATTERN_RESP) {
            fill_resp(message, pattern->message_size);
        }
        message[pattern->name_offset] = (uint8_t)slice;
    }
}

bool pattern_init(struct pattern *pattern, enum pattern_kind kind, size_t message_size) {
    bool is_resp = kind == PATTERN_RESP;
    *pattern = (struct pattern){.message_size = message_size,
                                .stride = is_resp ? message_size : RANDOM_STRIDE,
                                .name_offset = is_resp ? sizeof resp_begin - 1 : 0};
    pattern->bytes = malloc((PATTERN_SLICES - 1) * pattern->stride + message_size);
    if (pattern->bytes == NULL) {
        return false;
    }
    pattern_fill(pattern, kind);
    return true;
}

void pattern_finish(struct pattern *pattern) {
    free(pattern->bytes);
    pattern->bytes = NULL;
}

const uint8_t *pattern_message(const struct pattern *pattern, uint8_t slice) {
    check(slice < PATTERN_SLICES);
    return pattern->bytes + (size_t)slice * pattern->stride;
}

bool pattern_find_slice(const struct pattern *pattern, size_t offset, const uint8_t *data, size_t size,
                        uint8_t *slice) {
    if (pattern->name_offset < offset || pattern->name_offset - offset >= size) {
        return false;
    }
    *slice = data[pattern->name_offset - offset];
    return true;
}

bool pattern_matches(const struct pattern *pattern, uint8_t slice, size_t offset, const uint8_t *data, size_t size) {
    if (slice >= PATTERN_SLICES || size > pattern->message_size || offset > pattern->message_size - size) {
        return false;
    }
    const uint8_t *expected = pattern_message(pattern, slice) + offset;
    if (size <= LOOK_SIZE) {
        return memcmp(expected, data, size) == 0;
    }
    size_t tail = size - LOOK_SIZE;
    return memcmp(expected, data, LOOK_SIZE) == 0 && memcmp(expected + tail, data + tail, LOOK_SIZE) == 0;
}
