#include "protocol/tls.h"

#include <string.h>

enum {
    RECORD_HANDSHAKE = 22,
    RECORD_HEADER_SIZE = 5,
    RECORD_SIZE_MAX = 16384,
    MESSAGE_CLIENT_HELLO = 1,
    MESSAGE_HEADER_SIZE = 4,
    RANDOM_SIZE = 32,
    SESSION_SIZE_MAX = 32,
    EXTENSION_NAME = 0,
    EXTENSION_ALPN = 16,
    EXTENSION_VERSIONS = 43,
    NAME_TYPE_HOST = 0,
};

void tls_hello_begin(struct tls_hello *hello) {
    *hello = (struct tls_hello){0};
}

static enum parse_result refuse(struct tls_hello *hello, const char *reason) {
    return parse_refuse(&hello->reason, reason);
}

/* ---- collecting: are all records of the hello there?
 * ----------------------------------------------------------------- */

/* The record's length is known, perhaps the hello's too: can they be right? */
static enum parse_result sizes_check(struct tls_hello *hello) {
    if (hello->message_read < MESSAGE_HEADER_SIZE) {
        return PARSE_MORE;
    }
    uint32_t message_left = MESSAGE_HEADER_SIZE + hello->message_size - hello->message_read;
    if (hello->read + message_left > TLS_HELLO_MAX) {
        return refuse(hello, "a ClientHello above 16 KiB");
    }
    if (hello->record_left > message_left) {
        return refuse(hello, "something behind the ClientHello in its record");
    }
    return PARSE_MORE;
}

static enum parse_result record_size_check(struct tls_hello *hello) {
    if (hello->record_left == 0 || hello->record_left > RECORD_SIZE_MAX) {
        return refuse(hello, "a TLS record that is empty or above 16 KiB");
    }
    if (hello->read + hello->record_left > TLS_HELLO_MAX) {
        return refuse(hello, "a ClientHello above 16 KiB");
    }
    return sizes_check(hello);
}

static enum parse_result record_header_read(struct tls_hello *hello, uint8_t byte) {
    switch (hello->header_read++) {
    case 0:
        if (byte >= 0x80 && hello->message_read == 0) {
            return refuse(hello, "no TLS, or a hello in the way of SSLv2");
        }
        return byte == RECORD_HANDSHAKE ? PARSE_MORE : refuse(hello, "no TLS handshake");
    case 1:
        return byte == 3 ? PARSE_MORE : refuse(hello, "no TLS handshake");
    case 2:
        return byte <= 4 ? PARSE_MORE : refuse(hello, "no TLS handshake");
    case 3:
        hello->record_left = (uint32_t)byte << 8;
        return PARSE_MORE;
    }
    hello->record_left |= byte;
    return record_size_check(hello);
}

/* Counts bytes of a record's content. */
static void content_take(struct tls_hello *hello, uint32_t size) {
    hello->message_read += size;
    hello->record_left -= size;
    if (hello->record_left == 0) {
        hello->header_read = 0;
    }
}

static enum parse_result message_header_read(struct tls_hello *hello, uint8_t byte) {
    content_take(hello, 1);
    if (hello->message_read == 1) {
        return byte == MESSAGE_CLIENT_HELLO ? PARSE_MORE : refuse(hello, "a TLS handshake that begins otherwise");
    }
    hello->message_size = hello->message_size << 8 | byte;
    return sizes_check(hello);
}

/* Looks at the next byte, or at all that is there of a content that says nothing about sizes. */
static enum parse_result collect_some(struct tls_hello *hello, const uint8_t *bytes, uint32_t size) {
    if (hello->header_read < RECORD_HEADER_SIZE) {
        return record_header_read(hello, bytes[hello->read++]);
    }
    if (hello->message_read < MESSAGE_HEADER_SIZE) {
        return message_header_read(hello, bytes[hello->read++]);
    }
    uint32_t there = size - hello->read;
    uint32_t taken = hello->record_left < there ? hello->record_left : there;
    hello->read += taken;
    content_take(hello, taken);
    return PARSE_MORE;
}

/* Walks on through the records until the hello is there. */
static enum parse_result hello_collect(struct tls_hello *hello, const uint8_t *bytes, uint32_t size) {
    enum parse_result result = PARSE_MORE;
    while (result == PARSE_MORE && hello->read < size) {
        result = collect_some(hello, bytes, size);
        if (result == PARSE_MORE && hello->message_read >= MESSAGE_HEADER_SIZE &&
            hello->message_read == MESSAGE_HEADER_SIZE + hello->message_size) {
            result = PARSE_DONE;
        }
    }
    return result;
}

/* ---- reading: what does it say?
 * -------------------------------------------------------------------------------------- */

/* A run of the hello's bytes. It steps over the headers of records, so that nobody else needs to know of them. */
struct cursor {
    const uint8_t *bytes; /* the first record's */
    uint32_t at;
    uint32_t record_left;
    uint32_t left; /* of the run */
    bool failed;   /* more was read than there is; all that was read since then is 0 */
};

static void read_skip(struct cursor *cursor, uint32_t size) {
    if (size > cursor->left) {
        cursor->failed = true;
        size = cursor->left;
    }
    cursor->left -= size;
    while (size > 0) {
        if (cursor->record_left == 0) {
            const uint8_t *record_size = cursor->bytes + cursor->at + 3;
            cursor->record_left = (uint32_t)record_size[0] << 8 | record_size[1];
            cursor->at += RECORD_HEADER_SIZE;
        }
        uint32_t taken = size < cursor->record_left ? size : cursor->record_left;
        cursor->record_left -= taken;
        cursor->at += taken;
        size -= taken;
    }
}

/* A record's header is stepped over only in front of a byte, so that the byte itself is the last one before `at`. */
static uint8_t read_u8(struct cursor *cursor) {
    read_skip(cursor, 1);
    return cursor->failed ? 0 : cursor->bytes[cursor->at - 1];
}

static uint16_t read_u16(struct cursor *cursor) {
    uint16_t high = read_u8(cursor);
    return (uint16_t)(high << 8 | read_u8(cursor));
}

/* The next `size` bytes as a run of their own; the cursor itself stands behind them then. */
static struct cursor read_run(struct cursor *cursor, uint32_t size) {
    struct cursor run = *cursor;
    read_skip(cursor, size);
    run.left = size;
    run.failed = cursor->failed;
    if (run.failed) {
        run.left = 0;
    }
    return run;
}

static struct cursor read_run_u8(struct cursor *cursor) {
    return read_run(cursor, read_u8(cursor));
}

static struct cursor read_run_u16(struct cursor *cursor) {
    return read_run(cursor, read_u16(cursor));
}

/* From here on each function reads one part of the hello and returns the reason to refuse it, or NULL. */

/* A list with one host name. RFC 6066 allows one name of a type and knows but one type; servers refuse more. */
static const char *name_read(struct tls_hello *hello, struct cursor extension) {
    struct cursor list = read_run_u16(&extension);
    uint8_t type = read_u8(&list);
    struct cursor name = read_run_u16(&list);
    if (extension.failed || list.failed || extension.left > 0 || list.left > 0 || type != NAME_TYPE_HOST ||
        name.left == 0 || name.left > TLS_NAME_MAX) {
        return "a server name that is malformed";
    }
    for (uint32_t index = 0; name.left > 0; index++) {
        uint8_t byte = read_u8(&name);
        if (byte <= ' ' || byte >= 0x7f) {
            return "a server name with bytes that no name has";
        }
        bool upper = byte >= 'A' && byte <= 'Z';
        hello->name[index] = (char)(upper ? byte | 0x20 : byte);
    }
    return NULL;
}

static const char *alpn_read(struct tls_hello *hello, struct cursor extension) {
    struct cursor list = read_run_u16(&extension);
    if (extension.failed || extension.left > 0 || list.left == 0) {
        return "an ALPN list that is malformed";
    }
    if (list.left > TLS_ALPN_MAX) {
        return "an ALPN list above 255 bytes";
    }
    struct cursor copy = list;
    while (copy.left > 0) {
        hello->alpn[hello->alpn_size++] = read_u8(&copy);
    }
    while (list.left > 0) {
        struct cursor protocol = read_run_u8(&list);
        if (protocol.left == 0) {
            return "an ALPN list that is malformed";
        }
    }
    return NULL;
}

/* 0x0a0a, 0x1a1a ... 0xfafa: clients mix them in so that servers stay used to unknown values (RFC 8701). */
static bool version_is_grease(uint16_t version) {
    return (version & 0x0f0f) == 0x0a0a && version >> 8 == (version & 0xff);
}

static const char *versions_read(struct tls_hello *hello, struct cursor extension) {
    struct cursor list = read_run_u8(&extension);
    if (extension.failed || extension.left > 0 || list.left == 0 || list.left % 2 != 0) {
        return "a list of versions that is malformed";
    }
    hello->version_max = 0;
    while (list.left > 0) {
        uint16_t version = read_u16(&list);
        if (version_is_grease(version)) {
            continue;
        }
        if (hello->versions_count == TLS_VERSIONS_MAX) {
            return "more than 16 versions";
        }
        hello->versions[hello->versions_count++] = version;
        hello->version_max = version > hello->version_max ? version : hello->version_max;
    }
    return NULL;
}

/* Reads an extension if it is one of those that we know. Bit i of `seen` stands for the i-th of them. */
static const char *extension_read(struct tls_hello *hello, uint16_t type, struct cursor extension, uint32_t *seen) {
    static const struct {
        uint16_t type;
        const char *(*read)(struct tls_hello *hello, struct cursor extension);
    } known[] = {{EXTENSION_NAME, name_read}, {EXTENSION_ALPN, alpn_read}, {EXTENSION_VERSIONS, versions_read}};
    for (uint32_t index = 0; index < sizeof(known) / sizeof(known[0]); index++) {
        if (type == known[index].type) {
            bool twice = *seen & UINT32_C(1) << index;
            *seen |= UINT32_C(1) << index;
            return twice ? "an extension that is there twice" : known[index].read(hello, extension);
        }
    }
    return NULL;
}

static const char *extensions_read(struct tls_hello *hello, struct cursor extensions) {
    uint32_t seen = 0;
    const char *reason = NULL;
    while (extensions.left > 0 && reason == NULL) {
        uint16_t type = read_u16(&extensions);
        struct cursor extension = read_run_u16(&extensions);
        reason = extensions.failed ? "an extension that is longer than the ClientHello"
                                   : extension_read(hello, type, extension, &seen);
    }
    return reason;
}

static const char *hello_read(struct tls_hello *hello, struct cursor cursor) {
    uint16_t legacy_version = read_u16(&cursor);
    read_skip(&cursor, RANDOM_SIZE);
    struct cursor session = read_run_u8(&cursor);
    struct cursor ciphers = read_run_u16(&cursor);
    struct cursor compressions = read_run_u8(&cursor);
    if (cursor.failed || session.left > SESSION_SIZE_MAX || ciphers.left == 0 || ciphers.left % 2 != 0 ||
        compressions.left == 0) {
        return "a ClientHello that is malformed";
    }
    if (legacy_version >> 8 != 3) {
        return "a ClientHello of an unknown version";
    }
    hello->version_max = legacy_version;
    if (cursor.left == 0) { /* before TLS 1.2 there need not be extensions */
        return NULL;
    }
    struct cursor extensions = read_run_u16(&cursor);
    if (cursor.failed || cursor.left > 0) {
        return "extensions that do not end where the ClientHello ends";
    }
    return extensions_read(hello, extensions);
}

enum parse_result tls_hello_read(struct tls_hello *hello, const uint8_t *bytes, size_t size) {
    if (hello->reason != NULL) {
        return PARSE_NO;
    }
    if (hello->size > 0) {
        return PARSE_DONE;
    }
    uint32_t window = size < TLS_HELLO_MAX ? (uint32_t)size : TLS_HELLO_MAX;
    enum parse_result result = hello_collect(hello, bytes, window);
    if (result == PARSE_MORE && window == TLS_HELLO_MAX) {
        return refuse(hello, "a ClientHello above 16 KiB"); /* in many small records */
    }
    if (result != PARSE_DONE) {
        return result;
    }
    struct cursor cursor = {.bytes = bytes, .left = MESSAGE_HEADER_SIZE + hello->message_size};
    read_skip(&cursor, MESSAGE_HEADER_SIZE);
    const char *reason = hello_read(hello, cursor);
    if (reason != NULL) {
        return refuse(hello, reason);
    }
    hello->size = hello->read;
    return PARSE_DONE;
}

bool tls_alpn_next(const struct tls_hello *hello, uint32_t *at, struct span *protocol) {
    if (*at >= hello->alpn_size) {
        return false;
    }
    *protocol = (struct span){*at + 1, hello->alpn[*at]};
    *at += 1 + protocol->size;
    return true;
}
