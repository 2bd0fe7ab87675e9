/* Frames that tell their length in a binary number near their beginning. */
#ifndef MOONRING_PROTOCOL_LENGTH_PREFIX_H
#define MOONRING_PROTOCOL_LENGTH_PREFIX_H

#include "base/error.h"
#include "protocol/parse.h"

enum length_order { LENGTH_BIG_ENDIAN, LENGTH_LITTLE_ENDIAN };

enum {
    LENGTH_AT_MAX = 65535,
    LENGTH_BYTES_MAX = 8,
};
/* Scripts have doubles, which are exact to here. */
#define LENGTH_SIZE_MAX (UINT64_C(1) << 53)

/* Where the number lies and what it means: a whole frame has number + add bytes. */
struct length_prefix {
    uint32_t at;    /* bytes in front of the number */
    uint32_t bytes; /* of the number, 1 to 8 */
    int64_t add;    /* 4 where a length of 4 bytes does not count itself; may be negative */
    enum length_order order;
    uint64_t size_max; /* of a whole frame in bytes, at most LENGTH_SIZE_MAX */
};

struct length_frame {
    struct frame frame;
    uint64_t length; /* the number as it stands in the frame; complete once frame.whole is known */
};

/* Is this a prefix that length_frame_read can work with? Else the error names the field as scripts write it (`at`
 * counts from 1 there). To be called once for each prefix that comes from outside. */
bool length_prefix_check(const struct length_prefix *prefix, struct error *error);

void length_frame_begin(struct length_frame *length_frame);
enum parse_result length_frame_read(struct length_frame *length_frame, const struct length_prefix *prefix,
                                    const uint8_t *bytes, size_t size);

#endif
