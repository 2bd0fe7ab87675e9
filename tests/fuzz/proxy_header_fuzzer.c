/* Any bytes as a PROXY header: how they are cut changes nothing, what else it says lies within it, and a header that is
 * written with the same addresses says the same. The first byte of the input says where to cut. */
#include "protocol/proxy_header.h"
#include "tests/fuzz/feeding.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static enum parse_result header_read(void *parser, const uint8_t *bytes, size_t size) {
    return proxy_header_read(parser, bytes, size);
}

static uint64_t header_size(const void *parser) {
    const struct proxy_header *header = parser;
    return header->size;
}

static void tlvs_check(const struct proxy_header *header, const uint8_t *bytes) {
    uint32_t at = 0;
    uint32_t end = header->tlvs.at;
    struct proxy_tlv tlv;
    while (proxy_tlv_next(header, bytes, &at, &tlv)) {
        check(tlv.value.at == end + 3);
        end = tlv.value.at + tlv.value.size;
    }
    check(header->tlvs.size == 0 || end == header->size);
}

static void written_check(const struct proxy_header *header, unsigned version) {
    uint8_t bytes[PROXY_WRITTEN_MAX];
    struct proxy_header again;
    proxy_header_begin(&again, version);
    size_t size = proxy_header_write(bytes, version, &header->source, &header->destination);
    check(proxy_header_read(&again, bytes, size) == PARSE_DONE);
    check(again.size == size);
    bool is_ip = address_family(&header->source) == AF_INET || address_family(&header->source) == AF_INET6;
    bool is_known = is_ip || (version == PROXY_V2 && address_is_unix(&header->source));
    char text[ADDRESS_TEXT_MAX];
    char text_again[ADDRESS_TEXT_MAX];
    address_format(&header->source, text, sizeof(text));
    address_format(&again.source, text_again, sizeof(text_again));
    check(strcmp(text_again, is_known ? text : "-") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1) {
        return 0;
    }
    struct proxy_header header;
    proxy_header_begin(&header, PROXY_ANY);
    const struct feeding feeding = {sizeof(header), false, &header, header_read, header_size};
    feeding_check(&feeding, input + 1, size - 1, input[0]);
    if (proxy_header_read(&header, input + 1, size - 1) == PARSE_DONE) {
        tlvs_check(&header, input + 1);
        written_check(&header, PROXY_V1);
        written_check(&header, PROXY_V2);
    }
    return 0;
}
