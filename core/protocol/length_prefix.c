#include "protocol/length_prefix.h"

#include <inttypes.h>

bool length_prefix_check(const struct length_prefix *prefix, struct error *error) {
    if (prefix->at > LENGTH_AT_MAX) {
        return error_set(error, "at: %" PRIu64 " is too far in a frame (1-%d)", UINT64_C(1) + prefix->at,
                         LENGTH_AT_MAX + 1);
    }
    if (prefix->bytes < 1 || prefix->bytes > LENGTH_BYTES_MAX) {
        return error_set(error, "bytes: a number of %" PRIu32 " bytes cannot be read (1-%d)", prefix->bytes,
                         LENGTH_BYTES_MAX);
    }
    int64_t add_max = (int64_t)LENGTH_SIZE_MAX;
    if (prefix->add > add_max || prefix->add < -add_max) {
        return error_set(error, "add: %" PRId64 " is out of range (-%" PRId64 " to %" PRId64 ")", prefix->add, add_max,
                         add_max);
    }
    uint64_t header_size = (uint64_t)prefix->at + prefix->bytes;
    if (prefix->size_max < header_size || prefix->size_max > LENGTH_SIZE_MAX) {
        return error_set(error, "max: frames of at most %" PRIu64 " bytes are not possible (%" PRIu64 "-%" PRIu64 ")",
                         prefix->size_max, header_size, LENGTH_SIZE_MAX);
    }
    return true;
}

void length_frame_begin(struct length_frame *length_frame) {
    *length_frame = (struct length_frame){0};
}

/* Takes bytes up to the end of the number; returns how many. */
static size_t number_read(struct length_frame *length_frame, const struct length_prefix *prefix, const uint8_t *bytes,
                          size_t size) {
    size_t taken = 0;
    for (uint64_t end = prefix->at + prefix->bytes; taken < size && length_frame->frame.read < end; taken++) {
        uint64_t position = length_frame->frame.read++;
        if (position < prefix->at) {
            continue;
        }
        if (prefix->order == LENGTH_BIG_ENDIAN) {
            length_frame->length = length_frame->length << 8 | bytes[taken];
        } else {
            length_frame->length |= (uint64_t)bytes[taken] << 8 * (position - prefix->at);
        }
    }
    return taken;
}

/* The number is there: how large is the frame? */
static enum parse_result size_decide(struct length_frame *length_frame, const struct length_prefix *prefix) {
    struct frame *frame = &length_frame->frame;
    uint64_t whole;
    /* The builtin computes with the true values, signs included: it fails for a negative sum as well. */
    if (__builtin_add_overflow(length_frame->length, prefix->add, &whole)) {
        bool negative = prefix->add < 0;
        return parse_refuse(&frame->reason,
                            negative ? "a length that is shorter than its own header" : "a length above the limit");
    }
    if (whole < frame->read) {
        return parse_refuse(&frame->reason, "a length that is shorter than its own header");
    }
    if (whole > prefix->size_max) {
        return parse_refuse(&frame->reason, "a length above the limit");
    }
    frame->whole = whole;
    frame->skip = whole - frame->read;
    return PARSE_MORE;
}

enum parse_result length_frame_read(struct length_frame *length_frame, const struct length_prefix *prefix,
                                    const uint8_t *bytes, size_t size) {
    struct frame *frame = &length_frame->frame;
    if (frame->reason != NULL) {
        return PARSE_NO;
    }
    if (frame->whole == 0) {
        size_t taken = number_read(length_frame, prefix, bytes, size);
        if (frame->read < prefix->at + prefix->bytes) {
            return PARSE_MORE;
        }
        if (size_decide(length_frame, prefix) == PARSE_NO) {
            return PARSE_NO;
        }
        size -= taken;
    }
    frame_skip_some(frame, size);
    return frame->skip == 0 ? PARSE_DONE : PARSE_MORE;
}
