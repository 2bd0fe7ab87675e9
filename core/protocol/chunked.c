#include "protocol/chunked.h"

#include "protocol/http1_byte.h"

void chunked_begin(struct chunked *chunked) {
    *chunked = (struct chunked){.state = CHUNKED_SIZE};
}

static enum parse_result refuse(struct chunked *chunked, const char *reason) {
    return parse_refuse(&chunked->frame.reason, reason);
}

static enum parse_result enter(struct chunked *chunked, enum chunked_state state) {
    chunked->state = state;
    return PARSE_MORE;
}

static enum parse_result feed_expect(struct chunked *chunked, uint8_t byte, enum chunked_state next) {
    return byte == '\n' ? enter(chunked, next) : refuse(chunked, "a carriage return without a line feed");
}

static int hexadecimal_value(uint8_t byte) {
    uint8_t lower = http1_byte_lower(byte);
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static enum parse_result size_read(struct chunked *chunked, uint8_t byte) {
    int digit = hexadecimal_value(byte);
    if (digit >= 0) {
        chunked->chunk_size = chunked->chunk_size * 16 + (uint64_t)digit;
        return chunked->chunk_size <= CHUNKED_SIZE_MAX ? PARSE_MORE : refuse(chunked, "a chunk above 2^53 bytes");
    }
    if (chunked->line_size == 1) {
        return refuse(chunked, "a chunk without a size");
    }
    if (byte == '\r') {
        return enter(chunked, CHUNKED_SIZE_FEED);
    }
    /* Some servers pad the size with blanks; an extension follows a semicolon. Nobody looks at either. */
    bool extension = byte == ';' || http1_byte_is_blank(byte);
    return extension ? enter(chunked, CHUNKED_EXTENSION) : refuse(chunked, "a chunk's size that is no plain number");
}

static enum parse_result extension_read(struct chunked *chunked, uint8_t byte) {
    if (byte == '\r') {
        return enter(chunked, CHUNKED_SIZE_FEED);
    }
    return http1_byte_is_text(byte) ? PARSE_MORE : refuse(chunked, "a control character in a chunk's extension");
}

/* A chunk's first line ends here; size 0 stands for the end of the data. */
static enum parse_result size_feed_read(struct chunked *chunked, uint8_t byte) {
    chunked->line_size = 0;
    chunked->frame.skip = chunked->chunk_size;
    return feed_expect(chunked, byte, chunked->chunk_size > 0 ? CHUNKED_DATA_RETURN : CHUNKED_TRAILER);
}

static enum parse_result data_return_read(struct chunked *chunked, uint8_t byte) {
    return byte == '\r' ? enter(chunked, CHUNKED_DATA_FEED) : refuse(chunked, "a chunk that is longer than its size");
}

static enum parse_result data_feed_read(struct chunked *chunked, uint8_t byte) {
    chunked->line_size = 0;
    chunked->chunk_size = 0;
    return feed_expect(chunked, byte, CHUNKED_SIZE);
}

static enum parse_result trailer_read(struct chunked *chunked, uint8_t byte) {
    if (byte == '\r') {
        return enter(chunked, CHUNKED_LAST_FEED);
    }
    return http1_byte_is_token(byte) ? enter(chunked, CHUNKED_TRAILER_NAME)
                                     : refuse(chunked, "a trailer without a proper name");
}

static enum parse_result trailer_name_read(struct chunked *chunked, uint8_t byte) {
    if (byte == ':') {
        return enter(chunked, CHUNKED_TRAILER_VALUE);
    }
    return http1_byte_is_token(byte) ? PARSE_MORE : refuse(chunked, "a trailer without a proper name");
}

static enum parse_result trailer_value_read(struct chunked *chunked, uint8_t byte) {
    if (byte == '\r') {
        return enter(chunked, CHUNKED_TRAILER_FEED);
    }
    return http1_byte_is_text(byte) ? PARSE_MORE : refuse(chunked, "a control character in a trailer");
}

static enum parse_result last_feed_read(struct chunked *chunked, uint8_t byte) {
    if (feed_expect(chunked, byte, CHUNKED_END) == PARSE_NO) {
        return PARSE_NO;
    }
    chunked->frame.whole = chunked->frame.read;
    return PARSE_DONE;
}

static enum parse_result byte_read(struct chunked *chunked, uint8_t byte) {
    if (chunked->line_size == CHUNKED_LINE_MAX) {
        return refuse(chunked, "a chunk's first line, or trailers, above 16 KiB");
    }
    chunked->line_size++;
    switch (chunked->state) {
    case CHUNKED_SIZE:
        return size_read(chunked, byte);
    case CHUNKED_EXTENSION:
        return extension_read(chunked, byte);
    case CHUNKED_SIZE_FEED:
        return size_feed_read(chunked, byte);
    case CHUNKED_DATA_RETURN:
        return data_return_read(chunked, byte);
    case CHUNKED_DATA_FEED:
        return data_feed_read(chunked, byte);
    case CHUNKED_TRAILER:
        return trailer_read(chunked, byte);
    case CHUNKED_TRAILER_NAME:
        return trailer_name_read(chunked, byte);
    case CHUNKED_TRAILER_VALUE:
        return trailer_value_read(chunked, byte);
    case CHUNKED_TRAILER_FEED:
        return feed_expect(chunked, byte, CHUNKED_TRAILER);
    case CHUNKED_LAST_FEED:
        return last_feed_read(chunked, byte);
    case CHUNKED_END:
        break;
    }
    return PARSE_DONE;
}

enum parse_result chunked_read(struct chunked *chunked, const uint8_t *bytes, size_t size) {
    if (chunked->frame.reason != NULL) {
        return PARSE_NO;
    }
    enum parse_result result = chunked->state == CHUNKED_END ? PARSE_DONE : PARSE_MORE;
    size_t at = 0;
    while (result == PARSE_MORE) {
        at += frame_skip_some(&chunked->frame, size - at);
        if (at == size) {
            break;
        }
        chunked->frame.read++;
        result = byte_read(chunked, bytes[at++]);
    }
    return result;
}
