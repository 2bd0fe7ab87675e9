#include "protocol/postgres.h"

#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

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

/* What is read of a start-up message that must be good. */
static struct postgres_startup startup_done(const uint8_t *bytes, size_t size) {
    struct postgres_startup startup;
    postgres_startup_begin(&startup);
    const struct feeding feeding = {sizeof(startup), false, &startup, startup_read, startup_size};
    expect_done(&feeding, bytes, size);
    postgres_startup_read(&startup, bytes, size);
    return startup;
}

static void startup_refused_at(const uint8_t *bytes, size_t size, size_t known, const char *reason) {
    struct postgres_startup startup;
    postgres_startup_begin(&startup);
    const struct feeding feeding = {sizeof(startup), false, &startup, startup_read, startup_size};
    expect_refused_at(&feeding, bytes, size, known, reason);
}

static void startup_refused(const uint8_t *bytes, size_t size, const char *reason) {
    startup_refused_at(bytes, size, size, reason);
}

static void message_done(const uint8_t *bytes, size_t size) {
    struct postgres_message message;
    postgres_message_begin(&message);
    const struct feeding feeding = {sizeof(message), true, &message, message_read, message_size};
    expect_done(&feeding, bytes, size);
}

static void message_refused(const uint8_t *bytes, size_t size, const char *reason) {
    struct postgres_message message;
    postgres_message_begin(&message);
    const struct feeding feeding = {sizeof(message), true, &message, message_read, message_size};
    expect_refused(&feeding, bytes, size, reason);
}

static void expect_span(const char *bytes, struct span span, const char *text) {
    cr_expect_eq(span.size, strlen(text));
    cr_expect_eq(memcmp(bytes + span.at, text, strlen(text)), 0, "not %s", text);
}

#define SHOP "\0\0\0\x36\0\3\0\0user\0bob\0database\0shop\0application_name\0psql\0\0"

Test(postgres, reads_user_and_database_of_a_start, .timeout = 10) {
    static const char bytes[] = SHOP;
    struct postgres_startup startup = startup_done(SAMPLE(SHOP));
    cr_assert_eq(startup.request, POSTGRES_START);
    cr_assert_eq(startup.minor_version, 0);
    expect_span(bytes, startup.user, "bob");
    expect_span(bytes, startup.database, "shop");
}

Test(postgres, steps_through_the_parameters, .timeout = 10) {
    static const char bytes[] = SHOP;
    static const char *const expected[] = {"user", "bob", "database", "shop", "application_name", "psql"};
    struct postgres_startup startup = startup_done(SAMPLE(SHOP));
    uint32_t at = 0;
    struct span name;
    struct span value;
    for (size_t index = 0; index < 6; index += 2) {
        cr_assert(postgres_parameter_next(&startup, (const uint8_t *)bytes, &at, &name, &value));
        expect_span(bytes, name, expected[index]);
        expect_span(bytes, value, expected[index + 1]);
    }
    cr_assert_not(postgres_parameter_next(&startup, (const uint8_t *)bytes, &at, &name, &value));
}

Test(postgres, takes_the_users_name_for_a_database_that_is_not_named, .timeout = 10) {
    static const char unnamed[] = "\0\0\0\x12\0\3\0\2user\0bob\0\0";
    struct postgres_startup startup = startup_done(SAMPLE("\0\0\0\x12\0\3\0\2user\0bob\0\0"));
    cr_assert_eq(startup.minor_version, 2);
    expect_span(unnamed, startup.database, "bob");
    static const char empty[] = "\0\0\0\x1c\0\3\0\0database\0\0user\0bob\0\0";
    startup = startup_done(SAMPLE("\0\0\0\x1c\0\3\0\0database\0\0user\0bob\0\0"));
    expect_span(empty, startup.database, "bob");
}

Test(postgres, knows_requests_for_encryption_and_cancel, .timeout = 10) {
    cr_assert_eq(startup_done(SAMPLE("\0\0\0\x08\x04\xd2\x16\x2f")).request, POSTGRES_TLS);
    cr_assert_eq(startup_done(SAMPLE("\0\0\0\x08\x04\xd2\x16\x30")).request, POSTGRES_ENCRYPTION);
    struct postgres_startup cancel = startup_done(SAMPLE("\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02wxyz"));
    cr_assert_eq(cancel.request, POSTGRES_CANCEL);
    cr_assert_eq(cancel.process, 0x102);
    expect_span("\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02wxyz", cancel.secret, "wxyz");
    cancel = startup_done(SAMPLE("\0\0\0\x14\x04\xd2\x16\x2e\0\0\x01\x02longer-s"));
    cr_assert_eq(cancel.secret.size, 8);
}

Test(postgres, refuses_what_is_another_protocol_at_its_first_byte, .timeout = 10) {
    startup_refused_at(SAMPLE("\x16\x03\x01\x02\x00"), 1, "no PostgreSQL");
    startup_refused_at(SAMPLE("GET / HTTP/1.1\r\n"), 1, "no PostgreSQL");
    startup_refused_at(SAMPLE("SSH-2.0-OpenSSH_9.2\r\n"), 1, "no PostgreSQL");
    startup_refused_at(SAMPLE("\0\0\x28\0"), 3, "no PostgreSQL");
    startup_refused(SAMPLE("\0\0\x27\x11"), "above 10000");
    startup_refused(SAMPLE("\0\0\0\x07"), "no PostgreSQL");
    startup_refused(SAMPLE("\0\0\0\x20\0\2\0\0"), "another protocol than 3");
}

Test(postgres, refuses_start_up_messages_that_are_malformed, .timeout = 10) {
    startup_refused(SAMPLE("\0\0\0\x08\0\3\0\0"), "do not end where it ends");
    startup_refused(SAMPLE("\0\0\0\x09\0\3\0\0\0"), "without a user");
    startup_refused(SAMPLE("\0\0\0\x11\0\3\0\0user\0bob\0"), "do not end where it ends");
    startup_refused(SAMPLE("\0\0\0\x11\0\3\0\0user\0bobb"), "do not end where it ends");
    startup_refused(SAMPLE("\0\0\0\x10\0\3\0\0user\0\0x\0"), "do not end where it ends");
    startup_refused(SAMPLE("\0\0\0\x0f\0\3\0\0user\0\0\0"), "without a user");
    startup_refused(SAMPLE("\0\0\0\x16\0\3\0\0user\0bob\0\0abc\0"), "do not end where it ends");
    startup_refused(SAMPLE("\0\0\0\x17\0\3\0\0user\0bob\0\0abc\0\0"), "behind its parameters");
    startup_refused(SAMPLE("\0\0\0\x1b\0\3\0\0user\0bob\0user\0eve\0\0"), "twice");
    startup_refused(SAMPLE("\0\0\0\x25\0\3\0\0database\0a\0database\0\0user\0b\0\0"), "twice");
}

Test(postgres, refuses_requests_of_a_wrong_size, .timeout = 10) {
    startup_refused(SAMPLE("\0\0\0\x09\x04\xd2\x16\x2f"), "wrong size");
    startup_refused(SAMPLE("\0\0\0\x0f\x04\xd2\x16\x2e"), "wrong size");
    startup_refused(SAMPLE("\0\0\x02\0\x04\xd2\x16\x2e"), "wrong size");
}

Test(postgres, understands_the_one_byte_answers, .timeout = 10) {
    cr_assert_eq(postgres_answer_read(POSTGRES_TLS, 'S'), POSTGRES_ANSWER_ACCEPTED);
    cr_assert_eq(postgres_answer_read(POSTGRES_ENCRYPTION, 'G'), POSTGRES_ANSWER_ACCEPTED);
    cr_assert_eq(postgres_answer_read(POSTGRES_TLS, 'N'), POSTGRES_ANSWER_REFUSED);
    cr_assert_eq(postgres_answer_read(POSTGRES_ENCRYPTION, 'N'), POSTGRES_ANSWER_REFUSED);
    cr_assert_eq(postgres_answer_read(POSTGRES_TLS, 'E'), POSTGRES_ANSWER_ERROR);
    cr_assert_eq(postgres_answer_read(POSTGRES_TLS, 'G'), POSTGRES_ANSWER_NO_ANSWER);
    cr_assert_eq(postgres_answer_read(POSTGRES_ENCRYPTION, 'S'), POSTGRES_ANSWER_NO_ANSWER);
    cr_assert_eq(postgres_answer_read(POSTGRES_START, 'S'), POSTGRES_ANSWER_NO_ANSWER);
    cr_assert_eq(postgres_answer_read(POSTGRES_TLS, 0x16), POSTGRES_ANSWER_NO_ANSWER);
}

Test(postgres, finds_the_end_of_messages, .timeout = 10) {
    message_done(SAMPLE("Q\0\0\0\x0dSELECT 1\0"));
    message_done(SAMPLE("S\0\0\0\x04"));
    message_done(SAMPLE("1\0\0\0\x04"));
    message_done(SAMPLE("Z\0\0\0\x05I"));
}

Test(postgres, knows_type_and_size_of_a_large_row_from_its_header, .timeout = 10) {
    struct postgres_message message;
    postgres_message_begin(&message);
    cr_assert_eq(postgres_message_read(&message, SAMPLE("D")), PARSE_MORE);
    cr_assert_eq(message.type, 'D');
    cr_assert_eq(postgres_message_read(&message, SAMPLE("\x01\0\0\x04row")), PARSE_MORE);
    struct frame *frame = &message.length_frame.frame;
    cr_assert_eq(frame->whole, (16 << 20) + 5);
    frame_skip(frame, frame->skip);
    cr_assert_eq(postgres_message_read(&message, NULL, 0), PARSE_DONE);
}

Test(postgres, refuses_messages_that_cannot_be, .timeout = 10) {
    message_refused(SAMPLE("\0"), "unknown type");
    message_refused(SAMPLE("\x16"), "unknown type");
    message_refused(SAMPLE("0"), "unknown type");
    message_refused(SAMPLE("["), "unknown type");
    message_refused(SAMPLE("Q\0\0\0\3"), "shorter than its own header");
    message_refused(SAMPLE("Q\x40\0\0\0"), "above the limit");
    message_refused(SAMPLE("Q\xff\xff\xff\xff"), "above the limit");
}
