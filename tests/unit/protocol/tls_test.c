#include "protocol/tls.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

static enum parse_result hello_read(void *parser, const uint8_t *bytes, size_t size) {
    return tls_hello_read(parser, bytes, size);
}

static uint64_t hello_size(const void *parser) {
    const struct tls_hello *hello = parser;
    return hello->size;
}

/* What is read of a hello that must be good. */
static struct tls_hello hello_done(const uint8_t *bytes, size_t size) {
    struct tls_hello hello;
    tls_hello_begin(&hello);
    const struct feeding feeding = {sizeof(hello), false, &hello, hello_read, hello_size};
    expect_done(&feeding, bytes, size);
    cr_assert_eq(tls_hello_read(&hello, bytes, size), PARSE_DONE, "%s", hello.reason);
    return hello;
}

static void hello_refused_at(const uint8_t *bytes, size_t size, size_t known, const char *reason) {
    struct tls_hello hello;
    tls_hello_begin(&hello);
    const struct feeding feeding = {sizeof(hello), false, &hello, hello_read, hello_size};
    expect_refused_at(&feeding, bytes, size, known, reason);
}

static void hello_refused(const uint8_t *bytes, size_t size, const char *reason) {
    hello_refused_at(bytes, size, size, reason);
}

/* ---- hellos to order -------------------------------------------------------------------------------------------- */

enum { BODY_MAX = 20000 };

struct body {
    uint8_t bytes[BODY_MAX];
    size_t size;
};

static void append(struct body *body, const uint8_t *bytes, size_t size) {
    cr_assert_leq(body->size + size, (size_t)BODY_MAX);
    memcpy(body->bytes + body->size, bytes, size);
    body->size += size;
}

static void append_u16(struct body *body, size_t number) {
    const uint8_t bytes[] = {(uint8_t)(number >> 8), (uint8_t)number};
    append(body, bytes, sizeof(bytes));
}

/* Everything up to the extensions. */
static void body_begin(struct body *body) {
    static const uint8_t random[32] = {7};
    body->size = 0;
    append(body, SAMPLE("\x03\x03"));
    append(body, random, sizeof(random));
    append(body, SAMPLE("\0\0\x04\x13\x01\x13\x02\x01\0"));
}

/* The extensions come as they stand on the wire, behind their common length. */
static void body_make(struct body *body, const uint8_t *extensions, size_t size) {
    body_begin(body);
    append_u16(body, size);
    append(body, extensions, size);
}

/* Puts the body into a message, and the message into records of at most record_size bytes. */
static size_t records_make(const struct body *body, size_t record_size, uint8_t *records) {
    struct body message = {.size = 0};
    append(&message, SAMPLE("\x01\0"));
    append_u16(&message, body->size);
    append(&message, body->bytes, body->size);
    size_t size = 0;
    for (size_t at = 0; at < message.size; at += record_size) {
        size_t left = message.size - at;
        size_t content = left < record_size ? left : record_size;
        const uint8_t header[] = {0x16, 3, 1, (uint8_t)(content >> 8), (uint8_t)content};
        memcpy(records + size, header, sizeof(header));
        memcpy(records + size + sizeof(header), message.bytes + at, content);
        size += sizeof(header) + content;
    }
    return size;
}

static struct tls_hello extensions_done(const uint8_t *extensions, size_t size) {
    struct body body;
    uint8_t records[BODY_MAX];
    body_make(&body, extensions, size);
    return hello_done(records, records_make(&body, 16384, records));
}

static void body_refused(const struct body *body, const char *reason) {
    uint8_t records[BODY_MAX];
    hello_refused(records, records_make(body, 16384, records), reason);
}

static void extensions_refused(const uint8_t *extensions, size_t size, const char *reason) {
    struct body body;
    body_make(&body, extensions, size);
    body_refused(&body, reason);
}

#define NAME_A                                                                                                         \
    "\0\0\0\x06\0\x04\0\0\x01"                                                                                         \
    "a"
#define ALPN_H2 "\0\x10\0\x05\0\x03\x02h2"

/* ---- what a hello says ------------------------------------------------------------------------------------------ */

/* openssl s_client -servername db.example.com -alpn h2 -tls1_2 */
static const uint8_t openssl_hello[] = {
    0x16, 0x03, 0x01, 0x00, 0xa9, 0x01, 0x00, 0x00, 0xa5, 0x03, 0x03, 0xb7, 0x5a, 0x4b, 0x66, 0xbf, 0x1f, 0xe6,
    0xdf, 0x1c, 0xfa, 0x9d, 0x75, 0xc9, 0xdd, 0x2b, 0x1c, 0x1a, 0x40, 0x6a, 0x77, 0x32, 0xea, 0x87, 0xb2, 0xf4,
    0x45, 0x17, 0x78, 0x9e, 0xe6, 0xd9, 0x5d, 0x00, 0x00, 0x0a, 0xc0, 0x2c, 0xc0, 0x30, 0xc0, 0x2b, 0xc0, 0x2f,
    0x00, 0xff, 0x01, 0x00, 0x00, 0x72, 0x00, 0x00, 0x00, 0x13, 0x00, 0x11, 0x00, 0x00, 0x0e, 0x64, 0x62, 0x2e,
    0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x63, 0x6f, 0x6d, 0x00, 0x0b, 0x00, 0x04, 0x03, 0x00, 0x01,
    0x02, 0x00, 0x0a, 0x00, 0x0c, 0x00, 0x0a, 0x00, 0x1d, 0x00, 0x17, 0x00, 0x1e, 0x00, 0x19, 0x00, 0x18, 0x00,
    0x23, 0x00, 0x00, 0x00, 0x10, 0x00, 0x05, 0x00, 0x03, 0x02, 0x68, 0x32, 0x00, 0x16, 0x00, 0x00, 0x00, 0x17,
    0x00, 0x00, 0x00, 0x0d, 0x00, 0x2a, 0x00, 0x28, 0x04, 0x03, 0x05, 0x03, 0x06, 0x03, 0x08, 0x07, 0x08, 0x08,
    0x08, 0x09, 0x08, 0x0a, 0x08, 0x0b, 0x08, 0x04, 0x08, 0x05, 0x08, 0x06, 0x04, 0x01, 0x05, 0x01, 0x06, 0x01,
    0x03, 0x03, 0x03, 0x01, 0x03, 0x02, 0x04, 0x02, 0x05, 0x02, 0x06, 0x02,
};

Test(tls, reads_what_openssl_sends, .timeout = 10) {
    struct tls_hello hello = hello_done(openssl_hello, sizeof(openssl_hello));
    cr_assert_str_eq(hello.name, "db.example.com");
    cr_assert_eq(hello.alpn_size, 3);
    cr_assert_eq(memcmp(hello.alpn, "\x02h2", 3), 0);
    cr_assert_eq(hello.version_max, TLS_1_2);
    cr_assert_eq(hello.versions_count, 0);
}

Test(tls, lowers_the_letters_of_a_name, .timeout = 10) {
    struct tls_hello hello = extensions_done(SAMPLE("\0\0\0\x0c\0\x0a\0\0\x07"
                                                    "A-Z.c_9"));
    cr_assert_str_eq(hello.name, "a-z.c_9");
}

Test(tls, a_hello_need_not_say_anything, .timeout = 10) {
    struct body body;
    uint8_t records[BODY_MAX];
    body_begin(&body);
    struct tls_hello hello = hello_done(records, records_make(&body, 16384, records));
    cr_assert_str_eq(hello.name, "");
    cr_assert_eq(hello.alpn_size, 0);
    cr_assert_eq(hello.version_max, TLS_1_2);
    cr_assert_str_eq(extensions_done(SAMPLE("")).name, "");
}

Test(tls, steps_through_the_alpn_list, .timeout = 10) {
    struct tls_hello hello = extensions_done(SAMPLE("\0\x10\0\x0e\0\x0c\x02h2\x08http/1.1"));
    uint32_t at = 0;
    struct span protocol;
    cr_assert(tls_alpn_next(&hello, &at, &protocol));
    cr_assert_eq(protocol.size, 2);
    cr_assert_eq(memcmp(hello.alpn + protocol.at, "h2", 2), 0);
    cr_assert(tls_alpn_next(&hello, &at, &protocol));
    cr_assert_eq(protocol.size, 8);
    cr_assert_eq(memcmp(hello.alpn + protocol.at, "http/1.1", 8), 0);
    cr_assert_not(tls_alpn_next(&hello, &at, &protocol));
}

Test(tls, passes_over_grease_and_unknown_extensions, .timeout = 10) {
    struct tls_hello hello =
        extensions_done(SAMPLE("\x0a\x0a\0\0" NAME_A "\0\x2b\0\x0b\x0a\x9a\x9a\x03\x04\x03\x03\xfa\xfa\x03\x02"
                               "\xff\x01\0\x01\0"));
    cr_assert_str_eq(hello.name, "a");
    cr_assert_eq(hello.version_max, TLS_1_3);
    cr_assert_eq(hello.versions_count, 3);
    cr_assert_eq(hello.versions[0], TLS_1_3);
    cr_assert_eq(hello.versions[1], TLS_1_2);
    cr_assert_eq(hello.versions[2], TLS_1_1);
}

Test(tls, reads_a_hello_in_records_of_every_size, .timeout = 30) {
    struct body body;
    uint8_t records[BODY_MAX];
    body_make(&body, SAMPLE(NAME_A ALPN_H2));
    for (size_t record_size = 1; record_size <= body.size + 4; record_size++) {
        struct tls_hello hello = hello_done(records, records_make(&body, record_size, records));
        cr_assert_str_eq(hello.name, "a");
        cr_assert_eq(memcmp(hello.alpn, "\x02h2", 3), 0);
    }
}

/* ---- what is refused -------------------------------------------------------------------------------------------- */

Test(tls, refuses_what_is_no_tls_at_the_first_byte_that_shows_it, .timeout = 10) {
    hello_refused_at(SAMPLE("GET / HTTP/1.1\r\n"), 1, "no TLS");
    hello_refused_at(SAMPLE("\0\0\0\x08\x04\xd2\x16\x2f"), 1, "no TLS");
    hello_refused_at(SAMPLE("\x80\x2e\x01\x03\x01"), 1, "SSLv2");
    hello_refused_at(SAMPLE("\x17\x03\x03\0\x10"), 1, "no TLS handshake");
    hello_refused_at(SAMPLE("\x16\x02\0"), 2, "no TLS handshake");
    hello_refused_at(SAMPLE("\x16\x03\x05\0"), 3, "no TLS handshake");
    hello_refused(SAMPLE("\x16\x03\x01\0\0"), "empty");
    hello_refused(SAMPLE("\x16\x03\x01\x40\x01"), "above 16 KiB");
    hello_refused_at(SAMPLE("\x16\x03\x01\x02\0\x02\0\0"), 6, "begins otherwise");
}

Test(tls, refuses_records_that_do_not_fit_the_hello, .timeout = 10) {
    hello_refused(SAMPLE("\x16\x03\x01\0\x30\x01\0\0\x2b"), "something behind");
    hello_refused(SAMPLE("\x16\x03\x01\0\x05\x01\0\0\x30z\x15"), "no TLS handshake");
    hello_refused(SAMPLE("\x16\x03\x01\0\x05\x01\0\0\x30z\x80"), "no TLS handshake");
    hello_refused(SAMPLE("\x16\x03\x01\0\x05\x01\0\0\x30z\x16\x03\x01\0\x30"), "something behind");
    hello_refused(SAMPLE("\x16\x03\x01\0\x04\x01\0\0\0"), "malformed");
}

Test(tls, refuses_lengths_that_do_not_fit, .timeout = 10) {
    struct body body;
    body_begin(&body);
    body.size -= 1;
    body_refused(&body, "malformed");
    body_begin(&body);
    body.bytes[34] = 33; /* the session */
    body_refused(&body, "malformed");
    body_begin(&body);
    body.bytes[36] = 3; /* the ciphers: not a multiple of two */
    body_refused(&body, "malformed");
    body_begin(&body);
    body.bytes[36] = 0;
    body_refused(&body, "malformed");
    body_begin(&body);
    body.bytes[41] = 0; /* the compressions */
    body_refused(&body, "malformed");
    body_begin(&body);
    body.bytes[0] = 2;
    body_refused(&body, "unknown version");
    body_begin(&body);
    append(&body, SAMPLE("\0"));
    body_refused(&body, "do not end where");
    body_begin(&body);
    append(&body, SAMPLE("\0\0\0"));
    body_refused(&body, "do not end where");
    body_begin(&body);
    append(&body, SAMPLE("\0\x01"));
    body_refused(&body, "do not end where");
}

Test(tls, refuses_malformed_extensions, .timeout = 10) {
    extensions_refused(SAMPLE("\0"), "longer than the ClientHello");
    extensions_refused(SAMPLE("\0\x01\0\x01"), "longer than the ClientHello");
    extensions_refused(SAMPLE(NAME_A NAME_A), "twice");
    extensions_refused(SAMPLE(ALPN_H2 ALPN_H2), "twice");
    extensions_refused(SAMPLE("\0\x2b\0\x03\x02\x03\x04\0\x2b\0\x03\x02\x03\x04"), "twice");
}

Test(tls, refuses_malformed_names, .timeout = 10) {
    extensions_refused(SAMPLE("\0\0\0\0"), "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x02\0\0"), "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x05\0\x03\0\0\0"), "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x06\0\x04\x01\0\x01"
                              "a"),
                       "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x06\0\x04\0\0\x02"
                              "a"),
                       "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x06\0\x05\0\0\x01"
                              "a"),
                       "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x07\0\x04\0\0\x01"
                              "ab"),
                       "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x0a\0\x08\0\0\x01"
                              "a\0\0\x01"
                              "b"),
                       "name that is malformed");
    extensions_refused(SAMPLE("\0\0\0\x07\0\x05\0\0\x02"
                              "a\0"),
                       "bytes that no name has");
    extensions_refused(SAMPLE("\0\0\0\x07\0\x05\0\0\x02"
                              "a "),
                       "bytes that no name has");
    extensions_refused(SAMPLE("\0\0\0\x07\0\x05\0\0\x02"
                              "a\xe4"),
                       "bytes that no name has");
}

/* A hello with one name of this size. */
static size_t named_make(size_t name_size, uint8_t *records) {
    struct body extensions = {.size = 0};
    append_u16(&extensions, 0);
    append_u16(&extensions, name_size + 5);
    append_u16(&extensions, name_size + 3);
    append(&extensions, SAMPLE("\0"));
    append_u16(&extensions, name_size);
    for (size_t index = 0; index < name_size; index++) {
        append(&extensions, SAMPLE("n"));
    }
    struct body body;
    body_make(&body, extensions.bytes, extensions.size);
    return records_make(&body, 16384, records);
}

Test(tls, limits_names, .timeout = 30) {
    uint8_t records[BODY_MAX];
    struct tls_hello hello = hello_done(records, named_make(TLS_NAME_MAX, records));
    cr_assert_eq(strlen(hello.name), TLS_NAME_MAX);
    hello_refused(records, named_make(TLS_NAME_MAX + 1, records), "name that is malformed");
}

Test(tls, refuses_malformed_lists, .timeout = 10) {
    extensions_refused(SAMPLE("\0\x10\0\0"), "ALPN list that is malformed");
    extensions_refused(SAMPLE("\0\x10\0\x02\0\0"), "ALPN list that is malformed");
    extensions_refused(SAMPLE("\0\x10\0\x03\0\x01\0"), "ALPN list that is malformed");
    extensions_refused(SAMPLE("\0\x10\0\x04\0\x02\x02h"), "ALPN list that is malformed");
    extensions_refused(SAMPLE("\0\x10\0\x04\0\x01\x01h"), "ALPN list that is malformed");
    extensions_refused(SAMPLE("\0\x2b\0\0"), "versions that is malformed");
    extensions_refused(SAMPLE("\0\x2b\0\x01\0"), "versions that is malformed");
    extensions_refused(SAMPLE("\0\x2b\0\x02\x01\x03"), "versions that is malformed");
    extensions_refused(SAMPLE("\0\x2b\0\x03\x03\x03\x04"), "versions that is malformed");
    extensions_refused(SAMPLE("\0\x2b\0\x04\x02\x03\x04\x03"), "versions that is malformed");
}

Test(tls, limits_lists, .timeout = 30) {
    uint8_t records[BODY_MAX];
    struct body extensions = {.size = 0};
    append(&extensions, SAMPLE("\0\x10\x01\x02\x01\0"));
    for (size_t index = 0; index < 128; index++) {
        append(&extensions, SAMPLE("\x01x"));
    }
    extensions_refused(extensions.bytes, extensions.size, "ALPN list above 255");
    struct body versions = {.size = 0};
    append(&versions, SAMPLE("\0\x2b\0\x23\x22"));
    for (size_t index = 0; index < TLS_VERSIONS_MAX + 1; index++) {
        append(&versions, SAMPLE("\x03\x03"));
    }
    extensions_refused(versions.bytes, versions.size, "more than 16 versions");
    versions.bytes[3] = 0x21;
    versions.bytes[4] = 0x20;
    struct body body;
    body_make(&body, versions.bytes, versions.size - 2);
    cr_assert_eq(hello_done(records, records_make(&body, 16384, records)).versions_count, TLS_VERSIONS_MAX);
}

/* A body whose hello has `size` bytes in a single record. */
static void padded_make(struct body *body, size_t size) {
    static const uint8_t zeros[BODY_MAX];
    body_begin(body);
    size_t extensions_size = size - 5 - 4 - body->size - 2;
    append_u16(body, extensions_size);
    append_u16(body, 21);
    append_u16(body, extensions_size - 4);
    append(body, zeros, extensions_size - 4);
}

Test(tls, limits_the_size_of_a_hello, .timeout = 60) {
    struct body body;
    uint8_t records[BODY_MAX];
    padded_make(&body, TLS_HELLO_MAX);
    struct tls_hello hello = hello_done(records, records_make(&body, 16384, records));
    cr_assert_eq(hello.size, TLS_HELLO_MAX);
    size_t size = records_make(&body, 1000, records);
    hello_refused_at(records, size, 1005 + 5, "above 16 KiB");
    size = records_make(&body, TLS_HELLO_MAX - 6, records); /* the limit lies in the second record's header */
    hello_refused_at(records, size, TLS_HELLO_MAX, "above 16 KiB");
    padded_make(&body, TLS_HELLO_MAX + 1);
    size = records_make(&body, 16384, records);
    hello_refused_at(records, size, 5, "above 16 KiB");
    size = records_make(&body, 1000, records);
    hello_refused_at(records, size, 9, "above 16 KiB");
}

/* The limit holds for all bytes, also when most of them are headers of records. */
Test(tls, limits_a_hello_in_tiny_records, .timeout = 60) {
    struct body body;
    uint8_t records[6 * BODY_MAX];
    padded_make(&body, 2800);
    size_t size = records_make(&body, 1, records);
    size_t message_size = 4 + body.size;
    size_t taken = 0; /* records, and so bytes of the hello, until what is left of it cannot fit any more */
    while (6 * taken + 5 + message_size - taken <= TLS_HELLO_MAX) {
        taken++;
    }
    hello_refused_at(records, size, 6 * taken + 5, "above 16 KiB");
}
