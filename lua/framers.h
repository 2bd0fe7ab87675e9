/* The framers that filters can use; their parsers are in core/protocol. */
#ifndef MOONRING_LUA_FRAMERS_H
#define MOONRING_LUA_FRAMERS_H

#include "lua/framing.h"
#include "protocol/length_prefix.h"
#include "protocol/resp.h"

extern const struct framer framer_script; /* a function of the script tells the lengths */
extern const struct framer framer_lines;
extern const struct framer framer_commands; /* of Redis */
extern const struct framer framer_replies;
extern const struct framer framer_length; /* parameter: struct length_prefix */
extern const struct framer framer_postgres;
extern const struct framer framer_requests; /* of HTTP/1 */
extern const struct framer framer_responses;

/* What the frame is called that is shown: its name lies in the frame's first bytes. Only for framer_commands. */
struct span framer_command_name(const struct framing *framing);
struct span framer_command_key(const struct framing *framing);

enum postgres_kind {
    POSTGRES_KIND_STARTUP = 1,
    POSTGRES_KIND_TLS,
    POSTGRES_KIND_ENCRYPTION,
    POSTGRES_KIND_CANCEL,
    POSTGRES_KIND_ACCEPTED,
    POSTGRES_KIND_REFUSED,
};
/* Of framer_postgres: a message's type, which is a letter or a digit, or enum postgres_kind. */
uint8_t framer_postgres_kind(const struct framing *framing);

/* For framers: a parser has read on behind the head, and had read `before` bytes; what it need not see goes by. */
enum parse_result framer_note_rest(struct framing *framing, struct frame *frame, uint64_t before,
                                   enum parse_result result, struct error *error);

#endif
