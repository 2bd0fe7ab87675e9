/* Any bytes as RESP, from both sides: how they are cut changes nothing, and what is shown of a command lies in it. The
 * first byte of the input says which side, the second where to cut. */
#include "protocol/resp.h"
#include "tests/fuzz/feeding.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static enum parse_result frame_read(void *parser, const uint8_t *bytes, size_t size) {
    return resp_read(parser, bytes, size);
}

static uint64_t frame_size(const void *parser) {
    const struct resp *resp = parser;
    return resp->frame.read;
}

static void command_check(const uint8_t *bytes, size_t size) {
    struct resp resp;
    resp_command_begin(&resp);
    enum parse_result result = resp_read(&resp, bytes, size);
    check(resp.frame.read <= size);
    check(resp.name.size <= RESP_NAME_MAX + 1);
    if (result != PARSE_DONE) {
        return;
    }
    check(resp.frame.whole == resp.frame.read);
    check(resp.head_size > 0);
    check(resp.head_size <= resp.frame.whole);
    check((uint64_t)resp.name.at + resp.name.size <= resp.head_size);
    check((uint64_t)resp.key.at + resp.key.size <= resp.head_size);
    check(resp.words < 2 || resp.key.at > resp.name.at + resp.name.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 2) {
        return 0;
    }
    struct resp begun;
    (input[0] % 2 == 0 ? resp_command_begin : resp_reply_begin)(&begun);
    const struct feeding feeding = {sizeof(begun), true, &begun, frame_read, frame_size};
    feeding_check(&feeding, input + 2, size - 2, input[1]);
    command_check(input + 2, size - 2);
    return 0;
}
