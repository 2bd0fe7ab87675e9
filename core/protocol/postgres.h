/* PostgreSQL's protocol 3: how a client introduces itself, the one-byte answers to that, and where messages end. */
#ifndef MOONRING_PROTOCOL_POSTGRES_H
#define MOONRING_PROTOCOL_POSTGRES_H

#include "protocol/length_prefix.h"

enum {
    POSTGRES_STARTUP_MAX = 10000, /* bytes; the server's own limit */
    POSTGRES_STARTUP_MIN = 8,
    POSTGRES_SECRET_MAX = 256, /* bytes of a cancel request's secret; 4 before protocol 3.2 */
};
/* Bytes of a message: the server's own limit, its type byte included. */
#define POSTGRES_MESSAGE_MAX UINT64_C(0x40000000)

enum postgres_request {
    POSTGRES_START,      /* user, database, parameters; typed messages follow */
    POSTGRES_TLS,        /* asks for TLS; one byte answers, then either TLS or another request follows */
    POSTGRES_ENCRYPTION, /* asks for GSSAPI encryption; otherwise like POSTGRES_TLS */
    POSTGRES_CANCEL,     /* asks to cancel another session's query; nothing follows */
};

/* The first message of a client, the only one without a type. */
struct postgres_startup {
    const char *reason; /* a constant text with PARSE_NO, else NULL */
    uint32_t size;      /* bytes; 0 before PARSE_DONE */
    enum postgres_request request;

    uint16_t minor_version; /* of POSTGRES_START: 0 for protocol 3.0 */
    struct span user;
    struct span database;   /* the user's name when the client names none, as the server has it */
    struct span parameters; /* name 0 value 0 name 0 value 0 ...; see postgres_parameter_next */

    uint32_t process; /* of POSTGRES_CANCEL */
    struct span secret;

    uint32_t read; /* the parser's own: bytes of the header that were looked at */
};

void postgres_startup_begin(struct postgres_startup *startup);
/* What cannot be a start-up message is refused at the first byte that shows it; a TLS handshake at its first. */
enum parse_result postgres_startup_read(struct postgres_startup *startup, const uint8_t *bytes, size_t size);
/* Steps through the parameters: *at is 0 at first. False: there are no more. */
bool postgres_parameter_next(const struct postgres_startup *startup, const uint8_t *bytes, uint32_t *at,
                             struct span *name, struct span *value);

enum postgres_answer {
    POSTGRES_ANSWER_NO_ANSWER, /* not what a server answers */
    POSTGRES_ANSWER_ACCEPTED,  /* what follows in both directions is encrypted */
    POSTGRES_ANSWER_REFUSED,   /* the client goes on in the clear, or goes away */
    POSTGRES_ANSWER_ERROR,     /* from an old or a full server: this byte begins an error message */
};

/* The first byte that a server sends behind POSTGRES_TLS or POSTGRES_ENCRYPTION. */
enum postgres_answer postgres_answer_read(enum postgres_request request, uint8_t byte);

/* A typed message, from either side. */
struct postgres_message {
    struct length_frame length_frame;
    uint8_t type; /* 0 before the first byte */
};

void postgres_message_begin(struct postgres_message *message);
enum parse_result postgres_message_read(struct postgres_message *message, const uint8_t *bytes, size_t size);

#endif
