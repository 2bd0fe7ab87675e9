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

static bool byte_in(uint8_t byte, const char *set) {
    return byte != 0 && strchr(set, byte) != NULL;
}

static enum parse_result frame_end(struct resp *resp) {
    resp->state = RESP_END;
    resp->frame.whole = resp->frame.read;
    if (resp->is_command && resp->head_size == 0) {
        resp->head_size = resp->words > 0 ? resp->name.at + resp->name.size : resp->frame.read;
    }
    return PARSE_DONE;
}

/* ---- values ---------------------------------------------------------------------------------------------------------
 */

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
    uint64_t values = resp->number;
    if (resp->type == '%' || resp->type == '|') {
        values *= 2;
    }
    if (resp->type == '|') {
        values++; /* an attribute is no value of its own: the one that it describes follows */
    }
    if (resp->owed + values > RESP_NUMBER_MAX) {
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

/* ---- bulk strings ---------------------------------------------------------------------------------------------------
 */

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
static enum parse_result chunk_begin(struct resp *resp) {
    if (resp->number > 0) {
        return payload_begin(resp);
    }
    resp->in_chunks = false;
    return value_end(resp);
}

/* ---- the line that begins a value -----------------------------------------------------------------------------------
 */

static enum parse_result type_refuse(struct resp *resp) {
    if (resp->is_command) {
        return refuse(resp, "a command's argument that is no bulk string");
    }
    return refuse(resp, resp->in_chunks ? "a streamed string with something else in it" : "an unknown type of value");
}

/* Which state reads what follows this type? RESP_END: it must not stand here. */
static enum resp_state type_state(const struct resp *resp, uint8_t type) {
    bool first = resp->frame.read == 1;
    if (resp->is_command) {
        return type == '$' || (first && type == '*') ? RESP_NUMBER : first ? RESP_INLINE : RESP_END;
    }
    if (resp->in_chunks) {
        return type == ';' ? RESP_NUMBER : RESP_END;
    }
    if (byte_in(type, "+-:_,#(") || (type == '.' && resp->owed == 0)) {
        return RESP_LINE;
    }
    if (byte_in(type, "$!=*~%|") || (type == '>' && first)) {
        return RESP_NUMBER;
    }
    return RESP_END;
}

static enum parse_result inline_read(struct resp *resp, uint8_t byte);

static enum parse_result type_read(struct resp *resp, uint8_t byte) {
    enum resp_state state = type_state(resp, byte);
    resp->state = (uint8_t)state;
    if (state == RESP_END) {
        return type_refuse(resp);
    }
    if (state == RESP_INLINE) {
        return inline_read(resp, byte);
    }
    if (resp->owed == 0 && byte != '.') {
        resp->owed = 1; /* a value of a streamed aggregate, which owes none in advance */
    }
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
    bool first = resp->digits == 0 && !resp->null && !resp->streamed && !resp->is_command;
    if (byte >= '0' && byte <= '9') {
        return digit_read(resp, byte - '0');
    }
    if (byte == '\r') {
        return number_return(resp);
    }
    if (byte == '-' && first && (resp->type == '$' || resp->type == '*')) {
        resp->null = true;
        return PARSE_MORE;
    }
    if (byte == '?' && first && byte_in(resp->type, "$*~%")) {
        resp->streamed = true;
        return PARSE_MORE;
    }
    return refuse(resp, "a length that is no plain number");
}

/* The bytes that the line of this type consists of; NULL: any. */
static const char *line_alphabet(uint8_t type) {
    switch (type) {
    case ':':
    case '(':
        return "+-0123456789";
    case ',':
        return "+-.0123456789eEinfa";
    case '#':
        return "tf";
    case '_':
    case '.':
        return "";
    }
    return NULL;
}

static enum parse_result line_read(struct resp *resp, uint8_t byte) {
    const char *alphabet = line_alphabet(resp->type);
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
    if ((alphabet != NULL && !byte_in(byte, alphabet)) || (resp->type == '#' && resp->line_size == 1)) {
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
    if (resp->null || byte_in(resp->type, "+-:_,#(")) {
        return value_end(resp);
    }
    if (resp->type == ';') {
        return chunk_begin(resp);
    }
    if (resp->streamed && resp->type != '$') {
        return stream_begin(resp);
    }
    if (resp->streamed) {
        resp->in_chunks = true;
        resp->state = RESP_TYPE;
        return PARSE_MORE;
    }
    return byte_in(resp->type, "$!=") ? payload_begin(resp) : aggregate_begin(resp);
}

static enum parse_result line_feed_read(struct resp *resp, uint8_t byte) {
    return byte == '\n' ? line_end(resp) : refuse(resp, "a carriage return without a line feed");
}

/* ---- inline commands ------------------------------------------------------------------------------------------------
 */

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
    /* Redis resolves quotes and escapes, so that "FLUSH\x41LL" in quotes is FLUSHALL: no span of bytes would show it.
     */
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

/* ---------------------------------------------------------------------------------------------------------------------
 */

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
        at += frame_skip_some(&resp->frame, size - at);
        if (at == size) {
            break;
        }
        resp->frame.read++;
        result = byte_read(resp, bytes[at++]);
    }
    return result;
}
