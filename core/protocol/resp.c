#include "protocol/resp.h"

#include <string.h>

void resp_command_begin(struct resp *resp) {
    *resp = (struct resp){.is_command = true, .owed = 1};
}

void resp_reply_begin(struct resp *resp) {
    *resp = (struct resp){.owed = 1};
}

static enum parse_result refuse(struct resp *resp, const char *reason) {
    return parse_refuse(&resp->frame.reason, reason);
}

enum shape {
    SHAPE_NONE,
    SHAPE_LINE,      /* the value is the rest of the line */
    SHAPE_STRING,    /* a length, and that many bytes */
    SHAPE_AGGREGATE, /* a count, and that many values */
};

struct value_type {
    enum shape shape;
    const char *alphabet;      /* which bytes a line consists of; NULL: any */
    uint8_t values_per_number; /* 2: keys and values */
    uint8_t values_more;
    bool nullable;   /* -1 stands for null */
    bool streamable; /* ? stands for a length or count that is not known yet */
};

static const struct value_type value_types[256] = {
    ['+'] = {.shape = SHAPE_LINE},
    ['-'] = {.shape = SHAPE_LINE},
    [':'] = {.shape = SHAPE_LINE, .alphabet = "+-0123456789"},
    ['('] = {.shape = SHAPE_LINE, .alphabet = "+-0123456789"},
    [','] = {.shape = SHAPE_LINE, .alphabet = "+-.0123456789eEinfa"},
    ['#'] = {.shape = SHAPE_LINE, .alphabet = "tf"},
    ['_'] = {.shape = SHAPE_LINE, .alphabet = ""},
    ['.'] = {.shape = SHAPE_LINE, .alphabet = ""}, /* the end of a streamed aggregate */
    ['$'] = {.shape = SHAPE_STRING, .nullable = true, .streamable = true},
    ['!'] = {.shape = SHAPE_STRING},
    ['='] = {.shape = SHAPE_STRING},
    [';'] = {.shape = SHAPE_STRING}, /* a part of a streamed string */
    ['*'] = {.shape = SHAPE_AGGREGATE, .values_per_number = 1, .nullable = true, .streamable = true},
    ['~'] = {.shape = SHAPE_AGGREGATE, .values_per_number = 1, .streamable = true},
    ['>'] = {.shape = SHAPE_AGGREGATE, .values_per_number = 1},
    ['%'] = {.shape = SHAPE_AGGREGATE, .values_per_number = 2, .streamable = true},
    /* An attribute is no value of its own: the one that it describes follows. */
    ['|'] = {.shape = SHAPE_AGGREGATE, .values_per_number = 2, .values_more = 1},
};

static enum parse_result frame_end(struct resp *resp) {
    resp->state = RESP_END;
    resp->frame.whole = resp->frame.read;
    if (resp->is_command && resp->head_size == 0) {
        resp->head_size = resp->words > 0 ? resp->name.at + resp->name.size : resp->frame.read;
    }
    return PARSE_DONE;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* Every value pays one of those owed; an aggregate first adds its own. So nesting costs no memory, however deep. */
static enum parse_result value_end(struct resp *resp) {
    resp->owed--;
    if (resp->owed == 0 && resp->streams_count == 0) {
        return frame_end(resp);
    }
    resp->state = RESP_TYPE;
    return PARSE_MORE;
}

static enum parse_result aggregate_begin(struct resp *resp) {
    const struct value_type *type = &value_types[resp->type];
    uint64_t values = resp->number * type->values_per_number + type->values_more;
    if (resp->owed - 1 + values > RESP_NUMBER_MAX) {
        return refuse(resp, "more than 4294967295 values owed");
    }
    resp->owed += values;
    return value_end(resp);
}

/* Inside a streamed aggregate nothing is owed between two values, and a dot ends it. */
static enum parse_result stream_begin(struct resp *resp) {
    if (resp->streams_count == RESP_STREAMS_MAX) {
        return refuse(resp, "more than 4 streamed aggregates inside one another");
    }
    resp->streams[resp->streams_count++] = resp->owed;
    resp->owed = 0;
    resp->state = RESP_TYPE;
    return PARSE_MORE;
}

static enum parse_result stream_end(struct resp *resp) {
    resp->owed = resp->streams[--resp->streams_count];
    return value_end(resp);
}

/* ---- bulk strings ----------------------------------------------------------------------------------------------- */

/* A command's word begins: the name, the key, or one of the other arguments. */
static enum parse_result word_begin(struct resp *resp) {
    struct span word = {(uint32_t)resp->frame.read, (uint32_t)resp->number};
    resp->words++;
    if (resp->words == 1) {
        if (resp->number > RESP_NAME_MAX) {
            return refuse(resp, "a command's name above 512 bytes");
        }
        resp->name = word;
    } else if (resp->words == 2) {
        resp->key = word;
    }
    if (resp->head_size == 0 && (resp->words == 2 || resp->owed == 1)) {
        resp->head_size = resp->frame.read + resp->number;
    }
    return PARSE_MORE;
}

static enum parse_result payload_begin(struct resp *resp) {
    if (resp->type == '=' && resp->number < 4) {
        return refuse(resp, "a verbatim string without its format");
    }
    resp->frame.skip = resp->number;
    resp->state = RESP_PAYLOAD_RETURN;
    if (resp->owed == 1 && resp->streams_count == 0 && !resp->in_chunks) {
        resp->frame.whole = resp->frame.read + resp->number + strlen("\r\n");
    }
    return resp->is_command ? word_begin(resp) : PARSE_MORE;
}

static enum parse_result payload_return_read(struct resp *resp, uint8_t byte) {
    if (byte != '\r') {
        return refuse(resp, "a string that is longer than its length");
    }
    resp->state = RESP_PAYLOAD_FEED;
    return PARSE_MORE;
}

static enum parse_result payload_feed_read(struct resp *resp, uint8_t byte) {
    if (byte != '\n') {
        return refuse(resp, "a string that is longer than its length");
    }
    if (resp->in_chunks) {
        resp->state = RESP_TYPE;
        return PARSE_MORE;
    }
    return value_end(resp);
}

/* A streamed string consists of chunks; an empty one ends it. */
static enum parse_result string_begin(struct resp *resp) {
    if (resp->streamed) {
        resp->in_chunks = true;
        resp->state = RESP_TYPE;
        return PARSE_MORE;
    }
    if (resp->type == ';' && resp->number == 0) {
        resp->in_chunks = false;
        return value_end(resp);
    }
    return payload_begin(resp);
}

/* ---- the line that begins a value ------------------------------------------------------------------------------- */

static enum parse_result type_refuse(struct resp *resp) {
    if (resp->is_command) {
        return refuse(resp, "a command's argument that is no bulk string");
    }
    return refuse(resp, resp->in_chunks ? "a streamed string with something else in it" : "an unknown type of value");
}

/* May this byte begin a value here? */
static bool type_fits(const struct resp *resp, uint8_t type) {
    bool first = resp->frame.read == 1;
    if (resp->is_command) {
        return type == (first ? '*' : '$');
    }
    if (resp->in_chunks || type == ';') {
        return resp->in_chunks && type == ';';
    }
    if (type == '.') {
        return resp->owed == 0;
    }
    return type == '>' ? first : value_types[type].shape != SHAPE_NONE;
}

static enum parse_result inline_read(struct resp *resp, uint8_t byte);

static enum parse_result type_read(struct resp *resp, uint8_t byte) {
    if (!type_fits(resp, byte)) {
        bool is_inline = resp->is_command && resp->frame.read == 1;
        resp->state = RESP_INLINE;
        return is_inline ? inline_read(resp, byte) : type_refuse(resp);
    }
    if (resp->owed == 0 && byte != '.') {
        resp->owed = 1; /* a value of a streamed aggregate, which owes none in advance */
    }
    resp->state = value_types[byte].shape == SHAPE_LINE ? RESP_LINE : RESP_NUMBER;
    resp->type = byte;
    resp->number = 0;
    resp->digits = 0;
    resp->line_size = 0;
    resp->null = false;
    resp->streamed = false;
    return PARSE_MORE;
}

static enum parse_result digit_read(struct resp *resp, uint8_t digit) {
    if (resp->streamed || (resp->digits > 0 && resp->number == 0)) {
        return refuse(resp, "a length that is no plain number");
    }
    resp->number = resp->number * 10 + digit;
    resp->digits++;
    if (resp->number > RESP_NUMBER_MAX) {
        return refuse(resp, "a length above 4294967295");
    }
    return PARSE_MORE;
}

static enum parse_result number_return(struct resp *resp) {
    if (!resp->streamed && (resp->digits == 0 || (resp->null && resp->number != 1))) {
        return refuse(resp, "a length that is no plain number");
    }
    resp->state = RESP_LINE_FEED;
    return PARSE_MORE;
}

/* A length, `-1` for null, or `?` for a streamed value. */
static enum parse_result number_read(struct resp *resp, uint8_t byte) {
    if (byte >= '0' && byte <= '9') {
        return digit_read(resp, byte - '0');
    }
    if (byte == '\r') {
        return number_return(resp);
    }
    bool first = resp->digits == 0 && !resp->null && !resp->streamed;
    resp->null = byte == '-' && value_types[resp->type].nullable;
    resp->streamed = byte == '?' && value_types[resp->type].streamable;
    bool special = first && !resp->is_command && (resp->null || resp->streamed);
    return special ? PARSE_MORE : refuse(resp, "a length that is no plain number");
}

static enum parse_result line_read(struct resp *resp, uint8_t byte) {
    const char *alphabet = value_types[resp->type].alphabet;
    if (byte == '\r') {
        if (resp->line_size == 0 && alphabet != NULL && alphabet[0] != 0) {
            return refuse(resp, "a number or a boolean that is empty");
        }
        resp->state = RESP_LINE_FEED;
        return PARSE_MORE;
    }
    if (byte == '\n') {
        return refuse(resp, "a line feed without a carriage return");
    }
    bool known = alphabet == NULL || (byte != 0 && strchr(alphabet, byte) != NULL);
    if (!known || (resp->type == '#' && resp->line_size == 1)) {
        return refuse(resp, "a line that does not fit its type");
    }
    if (resp->line_size == RESP_LINE_MAX) {
        return refuse(resp, "a line above 64 KiB");
    }
    resp->line_size++;
    return PARSE_MORE;
}

/* The line is whole: a simple value, or the beginning of something larger. */
static enum parse_result line_end(struct resp *resp) {
    if (resp->type == '.') {
        return stream_end(resp);
    }
    enum shape shape = value_types[resp->type].shape;
    if (shape == SHAPE_LINE || resp->null) {
        return value_end(resp);
    }
    if (shape == SHAPE_STRING) {
        return string_begin(resp);
    }
    return resp->streamed ? stream_begin(resp) : aggregate_begin(resp);
}

static enum parse_result line_feed_read(struct resp *resp, uint8_t byte) {
    return byte == '\n' ? line_end(resp) : refuse(resp, "a carriage return without a line feed");
}

/* ---- inline commands -------------------------------------------------------------------------------------------- */

static void inline_word_end(struct resp *resp) {
    if (resp->in_word && resp->words == 2) {
        resp->head_size = resp->key.at + resp->key.size;
    }
    resp->in_word = false;
}

static enum parse_result inline_word_read(struct resp *resp, uint8_t byte) {
    if (!resp->in_word) {
        resp->in_word = true;
        resp->words++;
    }
    if (resp->words > 2) {
        return PARSE_MORE;
    }
    /* Redis resolves quotes and escapes: FLUSH"\x41LL" is FLUSHALL to it, which no span of bytes would show. */
    if (byte == '"' || byte == '\'') {
        return refuse(resp, "quotes in the name or key of an inline command");
    }
    struct span *word = resp->words == 1 ? &resp->name : &resp->key;
    if (word->size == 0) {
        word->at = (uint32_t)resp->frame.read - 1;
    }
    word->size++;
    if (resp->name.size > RESP_NAME_MAX) {
        return refuse(resp, "a command's name above 512 bytes");
    }
    return PARSE_MORE;
}

static enum parse_result inline_read(struct resp *resp, uint8_t byte) {
    if (resp->frame.read > RESP_LINE_MAX) {
        return refuse(resp, "an inline command above 64 KiB");
    }
    if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') {
        inline_word_end(resp);
        if (byte == '\r') {
            resp->state = RESP_INLINE_FEED;
        }
        return byte == '\n' ? frame_end(resp) : PARSE_MORE;
    }
    if (byte < ' ' || byte == 0x7f) {
        return refuse(resp, "a control character in an inline command");
    }
    return inline_word_read(resp, byte);
}

static enum parse_result inline_feed_read(struct resp *resp, uint8_t byte) {
    return byte == '\n' ? frame_end(resp) : refuse(resp, "a carriage return without a line feed");
}

/* ----------------------------------------------------------------------------------------------------------------- */

static enum parse_result byte_read(struct resp *resp, uint8_t byte) {
    switch ((enum resp_state)resp->state) {
    case RESP_TYPE:
        return type_read(resp, byte);
    case RESP_NUMBER:
        return number_read(resp, byte);
    case RESP_LINE:
        return line_read(resp, byte);
    case RESP_LINE_FEED:
        return line_feed_read(resp, byte);
    case RESP_PAYLOAD_RETURN:
        return payload_return_read(resp, byte);
    case RESP_PAYLOAD_FEED:
        return payload_feed_read(resp, byte);
    case RESP_INLINE:
        return inline_read(resp, byte);
    case RESP_INLINE_FEED:
        return inline_feed_read(resp, byte);
    case RESP_END:
        break;
    }
    return PARSE_DONE;
}

enum parse_result resp_read(struct resp *resp, const uint8_t *bytes, size_t size) {
    if (resp->frame.reason != NULL) {
        return PARSE_NO;
    }
    enum parse_result result = resp->state == RESP_END ? PARSE_DONE : PARSE_MORE;
    size_t at = 0;
    while (result == PARSE_MORE) {
        if (resp->frame.skip > 0) {
            at += frame_skip_some(&resp->frame, size - at);
        }
        if (at == size) {
            break;
        }
        resp->frame.read++;
        result = byte_read(resp, bytes[at++]);
    }
    return result;
}
