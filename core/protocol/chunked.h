/* The chunked body of HTTP/1: where it ends. */
#ifndef MOONRING_PROTOCOL_CHUNKED_H
#define MOONRING_PROTOCOL_CHUNKED_H

#include "protocol/parse.h"

enum { CHUNKED_LINE_MAX = 16384 }; /* bytes of a chunk's first line, and of all trailers together */
/* Scripts have doubles, which are exact to here. */
#define CHUNKED_SIZE_MAX (UINT64_C(1) << 53)

enum chunked_state {
    CHUNKED_SIZE,
    CHUNKED_EXTENSION,
    CHUNKED_SIZE_FEED,
    CHUNKED_DATA_RETURN, /* behind the data, which frame.skip counts */
    CHUNKED_DATA_FEED,
    CHUNKED_TRAILER, /* the next byte begins a trailer, or the empty line that ends all */
    CHUNKED_TRAILER_NAME,
    CHUNKED_TRAILER_VALUE,
    CHUNKED_TRAILER_FEED,
    CHUNKED_LAST_FEED,
    CHUNKED_END,
};

/* The frame is the whole body, from its first chunk's line to the empty line behind the trailers. */
struct chunked {
    struct frame frame;
    uint64_t chunk_size;
    uint32_t line_size;
    enum chunked_state state;
};

void chunked_begin(struct chunked *chunked);
enum parse_result chunked_read(struct chunked *chunked, const uint8_t *bytes, size_t size);

#endif
