#include "tests/bench/pattern.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE_STRIDE = 64, LOOK_SIZE = 64 };

static void pattern_fill(uint8_t *bytes, size_t size) {
    uint64_t random = 0x9e3779b97f4a7c15; /* xorshift64; any seed but 0 */
    for (size_t i = 0; i < size; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        bytes[i] = (uint8_t)random;
    }
}

bool pattern_init(struct pattern *pattern, size_t message_size) {
    size_t size = PATTERN_SLICES * SLICE_STRIDE + message_size;
    pattern->message_size = message_size;
    pattern->bytes = malloc(size);
    if (pattern->bytes == NULL) {
        return false;
    }
    pattern_fill(pattern->bytes, size);
    for (size_t slice = 0; slice < PATTERN_SLICES; slice++) {
        pattern->bytes[slice * SLICE_STRIDE] = (uint8_t)slice;
    }
    return true;
}

void pattern_finish(struct pattern *pattern) {
    free(pattern->bytes);
    pattern->bytes = NULL;
}

const uint8_t *pattern_message(const struct pattern *pattern, uint8_t slice) {
    return pattern->bytes + (size_t)slice * SLICE_STRIDE;
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
