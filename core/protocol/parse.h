/* What all parsers of protocols have in common. They are pure functions over bytes: they allocate nothing, do no I/O,
 * and go on where they stopped. Their structs belong to the caller, who keeps one with the flow that it reads.
 *
 * There are two kinds. A head (HTTP/1 head, TLS ClientHello, PostgreSQL start-up) is held until it is whole: every call
 * gets all bytes from the head's first on; what was looked at before is not looked at again. A frame (RESP, chunked
 * body, PostgreSQL message, length-prefixed) may be larger than anybody holds: every call gets only the bytes that
 * follow those given before.
 *
 * How the bytes are cut into calls never changes an answer. Positions count from the first byte of the head or frame
 * and are no addresses, because bytes may move between two calls. After PARSE_DONE or PARSE_NO a call changes nothing
 * and answers the same again; the next head or frame starts with another _begin(). */
#ifndef MOONRING_PROTOCOL_PARSE_H
#define MOONRING_PROTOCOL_PARSE_H

#include "base/check.h"

#include <stddef.h>
#include <stdint.h>

enum parse_result {
    PARSE_MORE, /* all bytes given were taken, and more are needed */
    PARSE_DONE, /* the struct's size fields tell where it ended; bytes behind that were not looked at */
    PARSE_NO,   /* not this protocol, broken, or beyond a limit: `reason` in the struct says why */
};

struct span {
    uint32_t at;
    uint32_t size;
};

/* The part that every frame's struct begins with. */
struct frame {
    const char *reason; /* a constant text with PARSE_NO, else NULL */
    uint64_t read;      /* bytes of this frame that were taken so far */
    uint64_t skip;      /* this many of the next bytes need no look: frame_skip() may count them instead */
    uint64_t whole;     /* the size of the whole frame, 0 as long as that is open */
};

/* Counts bytes of the frame that went by without being shown to the parser: at most frame->skip. When the frame may end
 * with them, another read (of no bytes) tells. */
static inline void frame_skip(struct frame *frame, uint64_t size) {
    check(size <= frame->skip);
    frame->skip -= size;
    frame->read += size;
}

/* For parsers: skips what can be skipped of `size` bytes and returns how many that were. */
static inline size_t frame_skip_some(struct frame *frame, size_t size) {
    size_t some = frame->skip < size ? (size_t)frame->skip : size;
    frame_skip(frame, some);
    return some;
}

/* For parsers: `return parse_refuse(&head->reason, "why")`. */
static inline enum parse_result parse_refuse(const char **reason, const char *text) {
    *reason = text;
    return PARSE_NO;
}

#endif
