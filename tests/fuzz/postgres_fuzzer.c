/* Any bytes as a start-up message and as a typed message of PostgreSQL: how they are cut changes nothing, and what is
 * read lies in the message. The first byte of the input says where to cut. */
#include "protocol/postgres.h"
#include "tests/fuzz/feeding.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static enum parse_result startup_read(void *parser, const uint8_t *bytes, size_t size) {
    return postgres_startup_read(parser, bytes, size);
}

static uint64_t startup_size(const void *parser) {
    const struct postgres_startup *startup = parser;
    return startup->size;
}

static enum parse_result message_read(void *parser, const uint8_t *bytes, size_t size) {
    return postgres_message_read(parser, bytes, size);
}

static uint64_t message_size(const void *parser) {
    const struct postgres_message *message = parser;
    return message->length_frame.frame.read;
}

static void start_check(const struct postgres_startup *startup, const uint8_t *bytes) {
    uint32_t at = 0;
    uint32_t users = 0;
    struct span name;
    struct span value;
    while (postgres_parameter_next(startup, bytes, &at, &name, &value)) {
        check(name.size > 0);
        check(bytes[name.at + name.size] == 0);
        check(bytes[value.at + value.size] == 0);
        check(value.at + value.size < startup->size);
        users += name.size == 4 && memcmp(bytes + name.at, "user", 4) == 0;
    }
    check(at == startup->parameters.size);
    check(users == 1);
    check(startup->user.size > 0);
    check(startup->database.size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    if (size < 1) {
        return 0;
    }
    struct postgres_startup startup;
    postgres_startup_begin(&startup);
    const struct feeding startup_feeding = {sizeof(startup), false, &startup, startup_read, startup_size};
    feeding_check(&startup_feeding, input + 1, size - 1, input[0]);
    struct postgres_message message;
    postgres_message_begin(&message);
    const struct feeding message_feeding = {sizeof(message), true, &message, message_read, message_size};
    feeding_check(&message_feeding, input + 1, size - 1, input[0]);
    if (postgres_startup_read(&startup, input + 1, size - 1) == PARSE_DONE) {
        check(startup.size <= POSTGRES_STARTUP_MAX);
        if (startup.request == POSTGRES_START) {
            start_check(&startup, input + 1);
        }
    }
    return 0;
}
