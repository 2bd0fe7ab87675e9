#include "lua/framers.h"

#include "base/log.h"
#include "protocol/postgres.h"

#include <string.h>

/* --- lengths that the script tells ---------------------------------------------------------------------------------
 */

static void script_begin(struct framing *framing) {
    (void)framing; /* framing_show says all there is */
}

const struct framer framer_script = {.name = "a frame", .begin = script_begin};

/* --- lines ----------------------------------------------------------------------------------------------------------
 */

static void lines_begin(struct framing *framing) {
    (void)framing;
}

/* The end of the stream ends a line, too. But after hold_max bytes there is no room for the one more that would tell
 * whether it comes: such a line is too long, also where the end happens to be known already. */
static enum parse_result lines_read(struct framing *framing, const uint8_t *bytes, uint32_t size, struct error *error) {
    const uint8_t *feed = memchr(bytes + framing->read, '\n', size - framing->read);
    framing->read = feed != NULL ? (uint64_t)(feed - bytes) + 1 : size;
    bool is_open = feed == NULL && framing->read == framing->filter_session->filter->hold_max;
    if (framing->read > framing->see || is_open) {
        error_set(error, "a line above %u bytes", framing->see);
        return PARSE_NO;
    }
    if (feed == NULL && !framing->ended) {
        return PARSE_MORE;
    }
    framing->whole = framing->read;
    framing->head = framing->read;
    return PARSE_DONE;
}

const struct framer framer_lines = {.name = "lines", .begin = lines_begin, .read = lines_read};

/* --- what frames of the parsers have in common ----------------------------------------------------------------------
 */

/* Tells the framing what a parser found out. */
static enum parse_result frame_note(struct framing *framing, const struct frame *frame, enum parse_result result,
                                    struct error *error) {
    framing->read = frame->read;
    framing->whole = frame->whole;
    if (result == PARSE_NO) {
        error_set(error, "%s", frame->reason);
    }
    return result;
}

enum parse_result framer_note_rest(struct framing *framing, struct frame *frame, uint64_t before,
                                   enum parse_result result, struct error *error) {
    framing->read += frame->read - before;
    if (result == PARSE_NO) {
        error_set(error, "%s", frame->reason);
    } else if (result == PARSE_MORE) {
        framing->read += frame->skip;
        frame_skip(frame, frame->skip);
    }
    return result;
}

/* --- Redis ----------------------------------------------------------------------------------------------------------
 */

static void commands_begin(struct framing *framing) {
    resp_command_begin(framing->state);
}

static enum parse_result commands_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                       struct error *error) {
    struct resp *resp = framing->state;
    enum parse_result result = resp_read(resp, bytes + framing->read, size - framing->read);
    if (resp->head_size > 0 && resp->name.at + resp->name.size > framing->see) {
        error_set(error, "a command's name beyond hold_max");
        return PARSE_NO;
    }
    framing->head = resp->head_size;
    return frame_note(framing, &resp->frame, result, error);
}

static enum parse_result resp_read_rest(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                        struct error *error) {
    struct resp *resp = framing->state;
    uint64_t before = resp->frame.read;
    return framer_note_rest(framing, &resp->frame, before, resp_read(resp, bytes, size), error);
}

const struct framer framer_commands = {.name = "RESP",
                                       .state_size = sizeof(struct resp),
                                       .begin = commands_begin,
                                       .read = commands_read,
                                       .read_rest = resp_read_rest};

struct span framer_command_name(const struct framing *framing) {
    return ((const struct resp *)framing->state)->name;
}

struct span framer_command_key(const struct framing *framing) {
    return ((const struct resp *)framing->state)->key;
}

static void replies_begin(struct framing *framing) {
    resp_reply_begin(framing->state);
}

/* An array tells its size at its end only. */
static enum parse_result replies_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                      struct error *error) {
    struct resp *resp = framing->state;
    enum parse_result result = resp_read(resp, bytes + framing->read, size - framing->read);
    bool is_long = resp->frame.whole == 0 && resp->frame.read >= framing->see;
    framing->head = is_long ? framing->see : resp->frame.whole;
    return frame_note(framing, &resp->frame, result, error);
}

const struct framer framer_replies = {.name = "RESP",
                                      .state_size = sizeof(struct resp),
                                      .begin = replies_begin,
                                      .read = replies_read,
                                      .read_rest = resp_read_rest};

/* --- numbers in front -----------------------------------------------------------------------------------------------
 */

static void length_begin(struct framing *framing) {
    length_frame_begin(framing->state);
}

static enum parse_result length_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                     struct error *error) {
    struct length_frame *length_frame = framing->state;
    enum parse_result result =
        length_frame_read(length_frame, framing->parameter, bytes + framing->read, size - framing->read);
    framing->head = length_frame->frame.whole;
    return frame_note(framing, &length_frame->frame, result, error);
}

const struct framer framer_length = {.name = "a frame of this length prefix",
                                     .state_size = sizeof(struct length_frame),
                                     .begin = length_begin,
                                     .read = length_read};

/* --- PostgreSQL -----------------------------------------------------------------------------------------------------
 */

/* A client's stream begins untyped, a server's with one byte for each request for encryption. */
enum postgres_phase {
    POSTGRES_BEGINS,
    POSTGRES_ASKED_TLS,
    POSTGRES_ASKED_ENCRYPTION,
    POSTGRES_TYPED,
    POSTGRES_CANCELLED,
    POSTGRES_ENCRYPTED,
};

enum { TLS_HANDSHAKE = 0x16, GSS_TOKEN = 0x60, GSS_TOKEN_AT = 4 };

struct postgres {
    enum postgres_phase phase;
    enum postgres_phase next; /* when the frame was decided */
    uint8_t kind;
    struct postgres_startup startup;
    struct postgres_message message;
};

uint8_t framer_postgres_kind(const struct framing *framing) {
    const struct postgres *postgres = framing->state;
    return postgres->kind;
}

static void postgres_begin(struct framing *framing) {
    struct postgres *postgres = framing->state;
    postgres_startup_begin(&postgres->startup);
    postgres_message_begin(&postgres->message);
    postgres->next = postgres->phase;
    postgres->kind = 0;
}

static enum parse_result postgres_found(struct framing *framing, uint64_t whole) {
    framing->whole = whole;
    framing->head = whole;
    framing->read = whole;
    return PARSE_DONE;
}

/* What follows is encrypted: this filter sees no more of the session. */
static void detach(const struct framing *framing) {
    log_debug("filter %s: PostgreSQL is encrypted from here on: the filter leaves the session",
              framing->filter_session->filter->name);
    filter_detach(framing->filter_session, FROM_CLIENT);
    filter_detach(framing->filter_session, FROM_SERVER);
}

static enum parse_result postgres_detach(struct framing *framing) {
    detach(framing);
    return postgres_found(framing, 0);
}

static void startup_note(struct postgres *postgres) {
    switch (postgres->startup.request) {
    case POSTGRES_START:
        postgres->kind = POSTGRES_KIND_STARTUP;
        postgres->next = POSTGRES_TYPED;
        break;
    case POSTGRES_TLS:
        postgres->kind = POSTGRES_KIND_TLS;
        postgres->next = POSTGRES_ASKED_TLS;
        break;
    case POSTGRES_ENCRYPTION:
        postgres->kind = POSTGRES_KIND_ENCRYPTION;
        postgres->next = POSTGRES_ASKED_ENCRYPTION;
        break;
    case POSTGRES_CANCEL:
        postgres->kind = POSTGRES_KIND_CANCEL;
        postgres->next = POSTGRES_CANCELLED;
        break;
    }
}

/* A server that was not asked for TLS, or has refused it, takes this byte for a start-up message that is too long, and
 * GSSAPI's token, which follows a length, for a version that there is not: no server reads on behind either. */
static bool client_encrypts(const struct postgres *postgres, const uint8_t *bytes, uint32_t size) {
    bool speaks_gss = size > GSS_TOKEN_AT && bytes[GSS_TOKEN_AT] == GSS_TOKEN;
    return bytes[0] == TLS_HANDSHAKE || (postgres->phase == POSTGRES_ASKED_ENCRYPTION && speaks_gss);
}

static enum parse_result startup_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                      struct error *error) {
    struct postgres *postgres = framing->state;
    if (client_encrypts(postgres, bytes, size)) {
        return postgres_detach(framing);
    }
    enum parse_result result = postgres_startup_read(&postgres->startup, bytes, size);
    framing->read = size;
    if (result == PARSE_NO) {
        error_set(error, "%s", postgres->startup.reason);
    } else if (result == PARSE_DONE) {
        startup_note(postgres);
        return postgres_found(framing, postgres->startup.size);
    }
    return result;
}

static enum parse_result message_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                      struct error *error) {
    struct postgres *postgres = framing->state;
    struct frame *frame = &postgres->message.length_frame.frame;
    enum parse_result result = postgres_message_read(&postgres->message, bytes + framing->read, size - framing->read);
    postgres->kind = postgres->message.type;
    postgres->next = POSTGRES_TYPED;
    framing->head = frame->whole;
    return frame_note(framing, frame, result, error);
}

/* What begins a server's stream otherwise is R, E or v. */
static enum parse_result answer_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                     struct error *error) {
    struct postgres *postgres = framing->state;
    switch (bytes[0]) {
    case TLS_HANDSHAKE:
        return postgres_detach(framing);
    case 'S':
    case 'G':
        postgres->kind = POSTGRES_KIND_ACCEPTED;
        postgres->next = POSTGRES_ENCRYPTED;
        return postgres_found(framing, 1);
    case 'N':
        postgres->kind = POSTGRES_KIND_REFUSED;
        return postgres_found(framing, 1);
    }
    return message_read(framing, bytes, size, error);
}

static enum parse_result postgres_read(struct framing *framing, const uint8_t *bytes, uint32_t size,
                                       struct error *error) {
    const struct postgres *postgres = framing->state;
    bool from_client = framing->direction == FROM_CLIENT;
    switch (postgres->phase) {
    case POSTGRES_BEGINS:
    case POSTGRES_ASKED_TLS:
    case POSTGRES_ASKED_ENCRYPTION:
        return (from_client ? startup_read : answer_read)(framing, bytes, size, error);
    case POSTGRES_TYPED:
        return message_read(framing, bytes, size, error);
    case POSTGRES_CANCELLED:
        error_set(error, "something follows a cancel request");
        return PARSE_NO;
    case POSTGRES_ENCRYPTED:
        break;
    }
    return postgres_detach(framing);
}

static void postgres_decided(struct framing *framing) {
    struct postgres *postgres = framing->state;
    postgres->phase = postgres->next;
    if (postgres->phase == POSTGRES_ENCRYPTED) {
        detach(framing);
    }
}

const struct framer framer_postgres = {.name = "PostgreSQL",
                                       .state_size = sizeof(struct postgres),
                                       .begin = postgres_begin,
                                       .read = postgres_read,
                                       .decided = postgres_decided};
