#include "protocol/postgres.h"

#include <string.h>

enum {
    /* Instead of a version: 1234 in the upper half, where no protocol will ever have it. */
    CODE_CANCEL = 80877102,
    CODE_TLS = 80877103,
    CODE_ENCRYPTION = 80877104,
    CANCEL_SIZE_MIN = 16,
};

static const struct length_prefix message_prefix = {
    .at = 1, .bytes = 4, .add = 1, .order = LENGTH_BIG_ENDIAN, .size_max = POSTGRES_MESSAGE_MAX};

static uint32_t u32_at(const uint8_t *bytes, uint32_t at) {
    return (uint32_t)bytes[at] << 24 | (uint32_t)bytes[at + 1] << 16 | (uint32_t)bytes[at + 2] << 8 | bytes[at + 3];
}

static enum parse_result refuse(struct postgres_startup *startup, const char *reason) {
    return parse_refuse(&startup->reason, reason);
}

/* ---- the start-up message --------------------------------------------------------------------------------------- */

void postgres_startup_begin(struct postgres_startup *startup) {
    *startup = (struct postgres_startup){0};
}

/* Does a length of four bytes that begins with these lie in the limits, whatever follows? */
static bool size_may_be_right(const uint8_t *bytes, uint32_t known) {
    uint32_t lowest = 0;
    for (uint32_t index = 0; index < sizeof(lowest); index++) {
        lowest = lowest << 8 | (index < known ? bytes[index] : 0);
    }
    bool whole = known == sizeof(lowest);
    return lowest <= POSTGRES_STARTUP_MAX && (!whole || lowest >= POSTGRES_STARTUP_MIN);
}

/* A text that ends in a 0 byte; false when that is missing. *at moves behind it. */
static bool text_read(const uint8_t *bytes, uint32_t *at, uint32_t end, struct span *text) {
    const uint8_t *zero = memchr(bytes + *at, 0, end - *at);
    if (zero == NULL) {
        return false;
    }
    *text = (struct span){*at, (uint32_t)(zero - bytes) - *at};
    *at += text->size + 1;
    return true;
}

static bool span_is(const uint8_t *bytes, struct span span, const char *word) {
    return span.size == strlen(word) && memcmp(bytes + span.at, word, span.size) == 0;
}

bool postgres_parameter_next(const struct postgres_startup *startup, const uint8_t *bytes, uint32_t *at,
                             struct span *name, struct span *value) {
    uint32_t end = startup->parameters.at + startup->parameters.size;
    uint32_t next = startup->parameters.at + *at;
    if (next >= end || !text_read(bytes, &next, end, name) || !text_read(bytes, &next, end, value)) {
        return false;
    }
    *at = next - startup->parameters.at;
    return true;
}

/* The server would take the last of two values, and a filter perhaps the first. */
static bool parameter_take(struct span *parameter, struct span value) {
    if (parameter->at != 0) {
        return false;
    }
    *parameter = value;
    return true;
}

static enum parse_result parameters_read(struct postgres_startup *startup, const uint8_t *bytes, uint32_t size) {
    /* An empty name, one 0 byte, ends the list and the message. */
    if (size == POSTGRES_STARTUP_MIN || bytes[size - 1] != 0) {
        return refuse(startup, "a start-up message whose parameters do not end where it ends");
    }
    startup->parameters = (struct span){POSTGRES_STARTUP_MIN, size - POSTGRES_STARTUP_MIN - 1};
    struct span name;
    struct span value;
    uint32_t at = 0;
    while (postgres_parameter_next(startup, bytes, &at, &name, &value)) {
        if (name.size == 0) {
            return refuse(startup, "a start-up message with something behind its parameters");
        }
        if ((span_is(bytes, name, "user") && !parameter_take(&startup->user, value)) ||
            (span_is(bytes, name, "database") && !parameter_take(&startup->database, value))) {
            return refuse(startup, "a start-up message with user or database twice");
        }
    }
    if (at != startup->parameters.size) {
        return refuse(startup, "a start-up message whose parameters do not end where it ends");
    }
    if (startup->user.size == 0) {
        return refuse(startup, "a start-up message without a user");
    }
    if (startup->database.size == 0) {
        startup->database = startup->user;
    }
    startup->size = size;
    return PARSE_DONE;
}

static enum parse_result start_read(struct postgres_startup *startup, const uint8_t *bytes, size_t size,
                                    uint32_t whole) {
    if (size < whole) {
        return PARSE_MORE;
    }
    startup->request = POSTGRES_START;
    startup->minor_version = (uint16_t)u32_at(bytes, 4);
    return parameters_read(startup, bytes, whole);
}

static enum parse_result cancel_read(struct postgres_startup *startup, const uint8_t *bytes, size_t size,
                                     uint32_t whole) {
    const uint32_t secret_at = 12;
    if (whole < CANCEL_SIZE_MIN || whole > secret_at + POSTGRES_SECRET_MAX) {
        return refuse(startup, "a cancel request of a wrong size");
    }
    if (size < whole) {
        return PARSE_MORE;
    }
    startup->request = POSTGRES_CANCEL;
    startup->process = u32_at(bytes, 8);
    startup->secret = (struct span){secret_at, whole - secret_at};
    startup->size = whole;
    return PARSE_DONE;
}

static enum parse_result encryption_read(struct postgres_startup *startup, uint32_t whole,
                                         enum postgres_request request) {
    if (whole != POSTGRES_STARTUP_MIN) {
        return refuse(startup, "a request for encryption of a wrong size");
    }
    startup->request = request;
    startup->size = whole;
    return PARSE_DONE;
}

/* Looks at the length and the code, each of four bytes, as far as they are there. */
static enum parse_result header_read(struct postgres_startup *startup, const uint8_t *bytes, size_t size) {
    while (startup->read < size && startup->read < POSTGRES_STARTUP_MIN) {
        startup->read++;
        if (startup->read <= sizeof(uint32_t) && !size_may_be_right(bytes, startup->read)) {
            return refuse(startup, "no PostgreSQL, or a start-up message above 10000 bytes");
        }
    }
    return startup->read < POSTGRES_STARTUP_MIN ? PARSE_MORE : PARSE_DONE;
}

enum parse_result postgres_startup_read(struct postgres_startup *startup, const uint8_t *bytes, size_t size) {
    if (startup->reason != NULL) {
        return PARSE_NO;
    }
    if (startup->size > 0) {
        return PARSE_DONE;
    }
    enum parse_result result = header_read(startup, bytes, size);
    if (result != PARSE_DONE) {
        return result;
    }
    uint32_t whole = u32_at(bytes, 0);
    uint32_t code = u32_at(bytes, 4);
    switch (code) {
    case CODE_CANCEL:
        return cancel_read(startup, bytes, size, whole);
    case CODE_TLS:
        return encryption_read(startup, whole, POSTGRES_TLS);
    case CODE_ENCRYPTION:
        return encryption_read(startup, whole, POSTGRES_ENCRYPTION);
    }
    bool protocol_3 = code >> 16 == 3;
    return protocol_3 ? start_read(startup, bytes, size, whole)
                      : refuse(startup, "a start-up message of another protocol than 3");
}

/* ---- answers and messages --------------------------------------------------------------------------------------- */

enum postgres_answer postgres_answer_read(enum postgres_request request, uint8_t byte) {
    bool asked = request == POSTGRES_TLS || request == POSTGRES_ENCRYPTION;
    if (!asked) {
        return POSTGRES_ANSWER_NO_ANSWER;
    }
    if (byte == (request == POSTGRES_TLS ? 'S' : 'G')) {
        return POSTGRES_ANSWER_ACCEPTED;
    }
    if (byte == 'N') {
        return POSTGRES_ANSWER_REFUSED;
    }
    return byte == 'E' ? POSTGRES_ANSWER_ERROR : POSTGRES_ANSWER_NO_ANSWER;
}

void postgres_message_begin(struct postgres_message *message) {
    *message = (struct postgres_message){0};
}

/* Every type there is, from either side, is a letter or one of 1 2 3. */
static bool type_may_be(uint8_t byte) {
    uint8_t lower = byte | 0x20;
    return (lower >= 'a' && lower <= 'z') || (byte >= '1' && byte <= '3');
}

enum parse_result postgres_message_read(struct postgres_message *message, const uint8_t *bytes, size_t size) {
    struct frame *frame = &message->length_frame.frame;
    if (frame->read == 0 && size > 0) {
        if (!type_may_be(bytes[0])) {
            return parse_refuse(&frame->reason, "a message of an unknown type");
        }
        message->type = bytes[0];
    }
    return length_frame_read(&message->length_frame, &message_prefix, bytes, size);
}
