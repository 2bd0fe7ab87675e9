#include "protocol/proxy_header.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

static enum parse_result header_read(void *parser, const uint8_t *bytes, size_t size) {
    return proxy_header_read(parser, bytes, size);
}

static uint64_t header_size(const void *parser) {
    const struct proxy_header *header = parser;
    return header->size;
}

static struct feeding feeding_of(struct proxy_header *header, unsigned versions) {
    proxy_header_begin(header, versions);
    return (struct feeding){sizeof(*header), false, header, header_read, header_size};
}

/* What is read of a header that must be good. */
static struct proxy_header header_done(const uint8_t *bytes, size_t size) {
    struct proxy_header header;
    const struct feeding feeding = feeding_of(&header, PROXY_ANY);
    expect_done(&feeding, bytes, size);
    cr_assert_eq(proxy_header_read(&header, bytes, size), PARSE_DONE, "%s", header.reason);
    return header;
}

static void header_refused_at(const uint8_t *bytes, size_t size, size_t known, const char *reason) {
    struct proxy_header header;
    const struct feeding feeding = feeding_of(&header, PROXY_ANY);
    expect_refused_at(&feeding, bytes, size, known, reason);
}

static void header_refused(const uint8_t *bytes, size_t size, const char *reason) {
    header_refused_at(bytes, size, size, reason);
}

static void address_is(const struct address *address, const char *expected) {
    char text[ADDRESS_TEXT_MAX];
    address_format(address, text, sizeof(text));
    cr_expect_str_eq(text, expected);
}

static void header_says(const struct proxy_header *header, const char *source, const char *destination) {
    address_is(&header->source, source);
    address_is(&header->destination, destination);
}

static struct address address_of(const char *text) {
    struct address address;
    struct error error;
    cr_assert(address_parse(&address, text, true, &error), "%s", error.text);
    return address;
}

/* ---- version 1 ----------------------------------------------------------------------------------------------------
 */

Test(proxy_header, reads_a_line, .timeout = 10) {
    struct proxy_header header = header_done(SAMPLE("PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n"));
    header_says(&header, "192.0.2.7:51234", "198.51.100.1:443");
    cr_expect_eq(header.version, PROXY_V1);
    cr_expect_not(header.is_local);
    header = header_done(SAMPLE("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n"));
    header_says(&header, "[2001:db8::7]:0", "[::1]:65535");
    header = header_done(SAMPLE("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"));
    header_says(&header, "192.0.2.7:1", "[::1]:2");
}

Test(proxy_header, knows_nobody_in_a_line_that_says_unknown, .timeout = 10) {
    struct proxy_header header = header_done(SAMPLE("PROXY UNKNOWN\r\n"));
    header_says(&header, "-", "-");
    header = header_done(SAMPLE("PROXY UNKNOWN ffff:f...f:ffff \377 65535 65535\r\n"));
    header_says(&header, "-", "-");
}

Test(proxy_header, takes_the_longest_line_and_no_longer_one, .timeout = 10) {
    uint8_t line[PROXY_V1_MAX + 1] = "PROXY UNKNOWN ";
    memset(line + 14, 'x', sizeof(line) - 14);
    memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
    header_done(line, PROXY_V1_MAX);
    memcpy(line + PROXY_V1_MAX - 2, "x\r\n", 3);
    header_refused_at(line, sizeof(line), PROXY_V1_MAX, "longer than 107 bytes");
}

Test(proxy_header, refuses_a_line_at_the_first_byte_that_shows_it, .timeout = 10) {
    header_refused_at(SAMPLE("GET / HTTP/1.1\r\n"), 1, "no PROXY header");
    header_refused_at(SAMPLE("POST / HTTP/1.1\r\n"), 2, "no PROXY header");
    header_refused_at(SAMPLE("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n"), 6, "no PROXY header");
}

Test(proxy_header, refuses_a_malformed_line, .timeout = 10) {
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), "CR LF");
    header_refused(SAMPLE("PROXY \n"), "CR LF");
    header_refused(SAMPLE("PROXY \r\n"), "neither TCP4, TCP6 nor UNKNOWN");
    header_refused(SAMPLE("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"), "neither TCP4, TCP6 nor UNKNOWN");
    header_refused(SAMPLE("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"), "neither TCP4, TCP6 nor UNKNOWN");
    header_refused(SAMPLE("PROXY TCP4\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP4 ::1 ::1 1 2\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"), "malformed address");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4\0.9 1.2.3.4 1 2\r\n"), "zero byte");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), "malformed port");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"), "malformed port");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 1 123456\r\n"), "malformed port");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"), "malformed port");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"), "malformed port");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"), "malformed port");
    header_refused(SAMPLE("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"), "malformed port");
}

/* ---- version 2 ----------------------------------------------------------------------------------------------------
 */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define FOUR_ADDRESSES "\xc0\0\x02\x07\xc6\x33\x64\x01\xc8\x22\x01\xbb" /* 192.0.2.7:51234 to 198.51.100.1:443 */

Test(proxy_header, reads_ipv4_addresses, .timeout = 10) {
    struct proxy_header header = header_done(SAMPLE(SIGNATURE "\x21\x11\0\x0c" FOUR_ADDRESSES));
    header_says(&header, "192.0.2.7:51234", "198.51.100.1:443");
    cr_expect_eq(header.version, PROXY_V2);
    cr_expect_eq(header.tlvs.size, 0);
}

Test(proxy_header, reads_ipv6_addresses, .timeout = 10) {
    struct proxy_header header = header_done(
        SAMPLE(SIGNATURE
               "\x21\x21\0\x24 \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02"));
    header_says(&header, "[2001:db8::7]:1", "[::1]:2");
}

Test(proxy_header, reads_unix_addresses, .timeout = 10) {
    uint8_t bytes[PROXY_V2_PREFIX + 216] = SIGNATURE "\x21\x31\0\xd8/run/app.sock";
    memcpy(bytes + PROXY_V2_PREFIX + 108, "\0web", 4);
    struct proxy_header header = header_done(bytes, sizeof(bytes));
    header_says(&header, "unix:/run/app.sock", "unix:@web");
    memset(bytes + PROXY_V2_PREFIX, 0, 108);
    memset(bytes + PROXY_V2_PREFIX + 108, 'x', 108);
    header = header_done(bytes, sizeof(bytes));
    address_is(&header.source, "unix:");
    cr_expect_eq(header.destination.length, sizeof(sa_family_t) + 108);
}

Test(proxy_header, knows_nobody_behind_local_and_unknown, .timeout = 10) {
    struct proxy_header header = header_done(SAMPLE(SIGNATURE "\x20\0\0\0"));
    cr_expect(header.is_local);
    header_says(&header, "-", "-");
    header = header_done(SAMPLE(SIGNATURE "\x20\x11\0\x0e" FOUR_ADDRESSES "\x01\xff"));
    cr_expect(header.is_local);
    header_says(&header, "-", "-");
    cr_expect_eq(header.tlvs.size, 0, "what follows LOCAL means nothing");
    header = header_done(SAMPLE(SIGNATURE "\x20\xff\0\x01x"));
    cr_expect(header.is_local, "whatever its family");
    header = header_done(SAMPLE(SIGNATURE "\x21\0\0\x04\x02\0\x01x"));
    cr_expect_not(header.is_local);
    header_says(&header, "-", "-");
    cr_expect_eq(header.tlvs.size, 4);
}

Test(proxy_header, steps_through_what_else_is_said, .timeout = 10) {
    static const char bytes[] = SIGNATURE "\x21\x11\0\x1c" FOUR_ADDRESSES "\x01\0\x02h2\x02\0\x05"
                                          "a.org\x04\0\0";
    const uint8_t *start = (const uint8_t *)bytes;
    struct proxy_header header = header_done(start, sizeof(bytes) - 1);
    struct proxy_tlv tlv;
    uint32_t at = 0;
    cr_assert(proxy_tlv_next(&header, start, &at, &tlv));
    cr_expect_eq(tlv.type, PROXY_TLV_ALPN);
    cr_expect_arr_eq(bytes + tlv.value.at, "h2", 2);
    cr_assert(proxy_tlv_next(&header, start, &at, &tlv));
    cr_expect_eq(tlv.type, PROXY_TLV_AUTHORITY);
    cr_expect_eq(tlv.value.size, 5);
    cr_expect_arr_eq(bytes + tlv.value.at, "a.org", 5);
    cr_assert(proxy_tlv_next(&header, start, &at, &tlv));
    cr_expect_eq(tlv.type, 4);
    cr_expect_eq(tlv.value.size, 0);
    cr_expect_not(proxy_tlv_next(&header, start, &at, &tlv));
}

/* The sum was reckoned by another implementation (RFC 3720's CRC32C, bit by bit). */
Test(proxy_header, proves_the_checksum, .timeout = 10) {
    uint8_t bytes[] = SIGNATURE "\x21\x11\0\x13" FOUR_ADDRESSES "\x03\0\x04"
                                "\xf1\xab\x89\x85";
    header_done(bytes, sizeof(bytes) - 1);
    for (size_t at = 16; at < 28; at++) {
        bytes[at] ^= 1;
        header_refused(bytes, sizeof(bytes) - 1, "whose checksum does not fit");
        bytes[at] ^= 1;
    }
    header_refused(SAMPLE(SIGNATURE "\x21\x11\0\x12" FOUR_ADDRESSES "\x03\0\x03"
                                    "abc"),
                   "malformed checksum");
}

Test(proxy_header, refuses_a_block_at_the_first_byte_that_shows_it, .timeout = 10) {
    header_refused_at(SAMPLE("\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c" FOUR_ADDRESSES), 12, "no PROXY header");
    header_refused_at(SAMPLE("\r\nGET / HTTP/1.1\r\n"), 3, "no PROXY header");
    header_refused_at(SAMPLE(SIGNATURE "\x11\x11\0\x0c" FOUR_ADDRESSES), 13, "unknown version or command");
    header_refused_at(SAMPLE(SIGNATURE "\x22\x11\0\x0c" FOUR_ADDRESSES), 13, "unknown version or command");
    header_refused_at(SAMPLE(SIGNATURE "\x21\x12\0\x0c" FOUR_ADDRESSES), 14, "datagrams");
    header_refused_at(SAMPLE(SIGNATURE "\x21\x41\0\x0c" FOUR_ADDRESSES), 14, "unknown family");
    header_refused_at(SAMPLE(SIGNATURE "\x21\x10\0\x0c" FOUR_ADDRESSES), 14, "unknown family");
    header_refused_at(SAMPLE(SIGNATURE "\x21\x11\0\x0b" FOUR_ADDRESSES), 16, "shorter than its addresses");
    header_refused_at(SAMPLE(SIGNATURE "\x21\x31\0\x24" FOUR_ADDRESSES), 16, "shorter than its addresses");
    header_refused_at(SAMPLE(SIGNATURE "\x21\x11\x10\x01" FOUR_ADDRESSES), 16, "above 4 KiB");
    header_refused_at(SAMPLE(SIGNATURE "\x20\x11\xff\xff" FOUR_ADDRESSES), 16, "above 4 KiB");
}

Test(proxy_header, refuses_a_block_that_is_cut_wrongly, .timeout = 10) {
    header_refused(SAMPLE(SIGNATURE "\x21\x11\0\x0d" FOUR_ADDRESSES "x"), "more in it than its size says");
    header_refused(SAMPLE(SIGNATURE "\x21\x11\0\x0f" FOUR_ADDRESSES "x\0\x01"), "more in it than its size says");
    header_refused(SAMPLE(SIGNATURE "\x21\x11\0\x12" FOUR_ADDRESSES "x\0\0\x01\0\x01"),
                   "more in it than its size says");
}

Test(proxy_header, takes_the_largest_block, .timeout = 10) {
    static uint8_t bytes[PROXY_HEADER_MAX] = SIGNATURE "\x21\0\x10\0\xe0\x0f\xfd";
    struct proxy_header header = header_done(bytes, sizeof(bytes));
    cr_expect_eq(header.tlvs.size, PROXY_V2_REST_MAX);
}

Test(proxy_header, accepts_only_the_versions_it_was_told, .timeout = 10) {
    struct proxy_header header;
    struct feeding feeding = feeding_of(&header, PROXY_V2);
    expect_refused_at(&feeding, SAMPLE("PROXY UNKNOWN\r\n"), 1, "no PROXY header of version 2");
    feeding = feeding_of(&header, PROXY_V1);
    expect_refused_at(&feeding, SAMPLE(SIGNATURE "\x20\0\0\0"), 1, "no PROXY header of version 1");
}

/* ---- writing ------------------------------------------------------------------------------------------------------
 */

/* Writes it in both versions, reads it again, and returns the line. */
static const char *line_of(const char *source_text, const char *destination_text) {
    static char line[PROXY_WRITTEN_MAX + 1];
    uint8_t block[PROXY_WRITTEN_MAX];
    struct address source = address_of(source_text);
    struct address destination = address_of(destination_text);
    struct proxy_header header = header_done(block, proxy_header_write(block, PROXY_V2, &source, &destination));
    header_says(&header, source_text, destination_text);
    size_t size = proxy_header_write((uint8_t *)line, PROXY_V1, &source, &destination);
    line[size] = 0;
    header_done((const uint8_t *)line, size);
    return line;
}

Test(proxy_header, writes_what_it_reads, .timeout = 10) {
    cr_expect_str_eq(line_of("192.0.2.7:51234", "198.51.100.1:443"), "PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n");
    cr_expect_str_eq(line_of("[2001:db8::7]:1", "[::1]:65535"), "PROXY TCP6 2001:db8::7 ::1 1 65535\r\n");
    cr_expect_str_eq(line_of("192.0.2.7:1", "[2001:db8::7]:2"), "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::7 1 2\r\n");
    cr_expect_str_eq(line_of("unix:/run/app.sock", "unix:@web"), "PROXY UNKNOWN\r\n");
}

/* A dual-stack socket shows IPv4 clients so. */
Test(proxy_header, writes_ipv4_addresses_for_what_they_are, .timeout = 10) {
    uint8_t bytes[PROXY_WRITTEN_MAX];
    struct address source = address_of("[::ffff:192.0.2.7]:51234");
    struct address destination = address_of("[::ffff:198.51.100.1]:443");
    size_t size = proxy_header_write(bytes, PROXY_V2, &source, &destination);
    cr_assert_eq(size, 28);
    cr_expect_arr_eq(bytes, SIGNATURE "\x21\x11\0\x0c" FOUR_ADDRESSES, size);
}

Test(proxy_header, says_that_it_does_not_know, .timeout = 10) {
    uint8_t bytes[PROXY_WRITTEN_MAX];
    struct address nobody = {.length = 0};
    struct address unnamed = {.length = sizeof(sa_family_t), .local = {.sun_family = AF_UNIX}};
    struct address server = address_of("127.0.0.1:80");
    size_t size = proxy_header_write(bytes, PROXY_V2, &nobody, &server);
    cr_expect(header_done(bytes, size).is_local);
    size = proxy_header_write(bytes, PROXY_V2, &unnamed, &server);
    cr_expect(header_done(bytes, size).is_local);
    size = proxy_header_write(bytes, PROXY_V1, &nobody, &server);
    cr_expect_arr_eq(bytes, "PROXY UNKNOWN\r\n", size);
    size = proxy_header_write(bytes, PROXY_V2, &unnamed, &unnamed);
    struct proxy_header header = header_done(bytes, size);
    header_says(&header, "unix:", "unix:");
}
