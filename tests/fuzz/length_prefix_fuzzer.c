/* Any prefix over any bytes: a prefix that passes the check works, how the bytes are cut changes nothing, and a frame
 * has at least its own header and at most the limit. The first bytes of the input are the prefix and the cut. */
#include "protocol/length_prefix.h"
#include "tests/fuzz/feeding.h"

struct parameters {
    int64_t add;
    uint64_t size_max;
    uint8_t at;
    uint8_t bytes;
    uint8_t order;
    uint8_t cut;
};

struct parser {
    struct length_frame length_frame;
    const struct length_prefix *prefix;
};

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static enum parse_result parser_read(void *parser, const uint8_t *bytes, size_t size) {
    struct parser *own = parser;
    return length_frame_read(&own->length_frame, own->prefix, bytes, size);
}

static uint64_t parser_size(const void *parser) {
    const struct parser *own = parser;
    return own->length_frame.frame.read;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    struct parameters parameters;
    if (size < sizeof(parameters)) {
        return 0;
    }
    memcpy(&parameters, input, sizeof(parameters));
    const struct length_prefix prefix = {parameters.at, parameters.bytes, parameters.add,
                                         parameters.order % 2 == 0 ? LENGTH_BIG_ENDIAN : LENGTH_LITTLE_ENDIAN,
                                         parameters.size_max};
    struct error error = {.text = ""};
    if (!length_prefix_check(&prefix, &error)) {
        check(error.text[0] != 0);
        return 0;
    }
    const uint8_t *bytes = input + sizeof(parameters);
    size -= sizeof(parameters);
    struct parser parser = {.prefix = &prefix};
    length_frame_begin(&parser.length_frame);
    const struct feeding feeding = {sizeof(parser), true, &parser, parser_read, parser_size};
    feeding_check(&feeding, bytes, size, parameters.cut);
    if (length_frame_read(&parser.length_frame, &prefix, bytes, size) == PARSE_DONE) {
        check(parser.length_frame.frame.read == parser.length_frame.frame.whole);
        check(parser.length_frame.frame.whole >= prefix.at + prefix.bytes);
        check(parser.length_frame.frame.whole <= prefix.size_max);
        check(parser.length_frame.length + (uint64_t)prefix.add == parser.length_frame.frame.whole);
    }
    return 0;
}
