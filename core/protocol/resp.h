/* RESP, the protocol of Redis: where commands and replies end, and what a command is called. Both RESP2 and RESP3.
 *
 * Stricter than Redis where being lax would let a client show a filter one command and the server another: what two
 * readers could take in two ways is refused. */
#ifndef MOONRING_PROTOCOL_RESP_H
#define MOONRING_PROTOCOL_RESP_H

#include "protocol/parse.h"

#include <stdbool.h>

enum {
    RESP_NAME_MAX = 512,   /* bytes of a command's name; real ones have at most about forty */
    RESP_LINE_MAX = 65536, /* bytes of a simple string, an error, a number, an inline command (as in Redis) */
    RESP_STREAMS_MAX = 4,  /* streamed aggregates inside one another; no server is known to send a single one */
};
/* Bytes of a bulk string and values owed at a time. Redis takes 512 MiB and 2^31 values unless told otherwise; nothing
 * is stored for either, so that this only keeps sums from overflowing. */
#define RESP_NUMBER_MAX UINT32_MAX

enum resp_state {
    RESP_TYPE, /* the next byte begins a value */
    RESP_NUMBER,
    RESP_LINE,
    RESP_LINE_FEED,
    RESP_PAYLOAD_RETURN, /* behind the payload, which frame.skip counts */
    RESP_PAYLOAD_FEED,
    RESP_INLINE,
    RESP_INLINE_FEED,
    RESP_END,
};

struct resp {
    struct frame frame;

    /* Of commands. The first argument is the key in nearly all of them (EVAL and XREAD are among the exceptions). The
     * spans of bulk strings are set before their bytes are there. */
    struct span name;
    struct span key;
    uint32_t words; /* the name and the arguments that have begun so far */
    /* The frame up to its name and key, or without words up to its end; 0 as long as that is open. */
    uint64_t head_size;

    /* The parser's own. */
    bool is_command;
    bool in_word; /* of an inline command */
    bool null;
    bool streamed;  /* `?` stands for the number */
    bool in_chunks; /* of a streamed string */
    uint8_t state;  /* enum resp_state */
    uint8_t type;   /* the byte that began the value */
    uint8_t digits;
    uint8_t streams_count;
    uint64_t number;
    uint32_t line_size;
    uint64_t owed;                      /* values that must still come, with the one that is being read */
    uint64_t streams[RESP_STREAMS_MAX]; /* what was owed outside of each streamed aggregate, the outermost first */
};

/* A command as a client sends it: an array of bulk strings, or an inline command (words in a line). */
void resp_command_begin(struct resp *resp);
/* A reply as a server sends it: any value, with the attributes in front of it. A push is a frame of its own (its first
 * byte is `>`). The raw transfer of a snapshot to a replica is no RESP: it is refused at its end. */
void resp_reply_begin(struct resp *resp);

enum parse_result resp_read(struct resp *resp, const uint8_t *bytes, size_t size);

#endif
