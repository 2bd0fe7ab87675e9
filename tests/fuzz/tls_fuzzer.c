/* Any bytes as a TLS ClientHello: how they are cut changes nothing, and cutting the hello into other records changes
 * nothing of what it says. The first byte of the input says where to cut. */
#include "protocol/tls.h"
#include "tests/fuzz/feeding.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static enum parse_result hello_read(void *parser, const uint8_t *bytes, size_t size) {
    return tls_hello_read(parser, bytes, size);
}

static uint64_t hello_size(const void *parser) {
    const struct tls_hello *hello = parser;
    return hello->size;
}

/* Takes the headers away from records. */
static size_t records_join(const uint8_t *records, size_t size, uint8_t *message) {
    size_t joined = 0;
    for (size_t at = 0; at < size;) {
        size_t content = (size_t)records[at + 3] << 8 | records[at + 4];
        memcpy(message + joined, records + at + 5, content);
        joined += content;
        at += 5 + content;
    }
    return joined;
}

static size_t records_cut(const uint8_t *message, size_t size, size_t record_size, uint8_t *records) {
    size_t written = 0;
    for (size_t at = 0; at < size; at += record_size) {
        size_t content = size - at < record_size ? size - at : record_size;
        const uint8_t header[] = {0x16, 3, 1, (uint8_t)(content >> 8), (uint8_t)content};
        memcpy(records + written, header, sizeof(header));
        memcpy(records + written + sizeof(header), message + at, content);
        written += sizeof(header) + content;
    }
    return written;
}

static void hello_compare(const struct tls_hello *hello, const struct tls_hello *again) {
    check(strcmp(again->name, hello->name) == 0);
    check(again->alpn_size == hello->alpn_size);
    check(memcmp(again->alpn, hello->alpn, hello->alpn_size) == 0);
    check(again->version_max == hello->version_max);
}

static void records_check(const struct tls_hello *hello, const uint8_t *bytes, size_t record_size) {
    uint8_t *message = malloc(TLS_HELLO_MAX);
    uint8_t *records = malloc((size_t)TLS_HELLO_MAX * 6);
    check(message != NULL);
    check(records != NULL);
    size_t message_size = records_join(bytes, hello->size, message);
    size_t size = records_cut(message, message_size, record_size, records);
    struct tls_hello again;
    tls_hello_begin(&again);
    enum parse_result result = tls_hello_read(&again, records, size);
    check(result == (size > TLS_HELLO_MAX ? PARSE_NO : PARSE_DONE));
    if (result == PARSE_DONE) {
        check(again.size == size);
        hello_compare(hello, &again);
    }
    free(message);
    free(records);
}

static void alpn_check(const struct tls_hello *hello) {
    uint32_t at = 0;
    uint32_t end = 0;
    struct span protocol;
    while (tls_alpn_next(hello, &at, &protocol)) {
        check(protocol.size > 0);
        end = protocol.at + protocol.size;
    }
    check(end == hello->alpn_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1) {
        return 0;
    }
    struct tls_hello hello;
    tls_hello_begin(&hello);
    const struct feeding feeding = {sizeof(hello), false, &hello, hello_read, hello_size};
    feeding_check(&feeding, input + 1, size - 1, input[0]);
    if (tls_hello_read(&hello, input + 1, size - 1) == PARSE_DONE) {
        alpn_check(&hello);
        records_check(&hello, input + 1, (size_t)input[0] + 1);
    }
    return 0;
}
