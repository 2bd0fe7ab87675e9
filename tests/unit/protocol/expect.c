#include "tests/unit/protocol/expect.h"

#include <criterion/criterion.h>

/* A large sample is cut at some places only. */
static void expect_agreement(const struct feeding *feeding, const uint8_t *bytes, size_t size) {
    size_t step = size < 1000 ? 1 : size / 10;
    for (size_t cut = 0; cut <= size; cut += step) {
        struct error error = {.text = ""};
        cr_assert(feeding_agrees(feeding, bytes, size, cut, &error), "%s", error.text);
    }
}

static void expect_result(const struct feeding *feeding, const uint8_t *bytes, size_t size, enum parse_result expected,
                          const char *reason) {
    struct feeding_run run = feeding_run(feeding, bytes, size, size, size, false);
    cr_expect_eq(run.result, expected, "%s (%s) instead of %s", feeding_word(run.result), feeding_reason(&run),
                 feeding_word(expected));
    cr_expect(strstr(feeding_reason(&run), reason) != NULL, "\"%s\" is not in \"%s\"", reason, feeding_reason(&run));
    free(run.parser);
}

void expect_more(const struct feeding *feeding, const uint8_t *bytes, size_t size) {
    expect_agreement(feeding, bytes, size);
    expect_result(feeding, bytes, size, PARSE_MORE, "");
}

/* Every byte counts: without its last the sample is not done, and bytes behind it do not belong to it. */
void expect_done(const struct feeding *feeding, const uint8_t *bytes, size_t size) {
    uint8_t *longer = malloc(size + 4);
    cr_assert_not_null(longer);
    memcpy(longer, bytes, size);
    memcpy(longer + size, "\r\n\0*", 4);
    expect_agreement(feeding, longer, size + 4);
    expect_result(feeding, longer, size, PARSE_DONE, "");
    expect_result(feeding, longer, size - 1, PARSE_MORE, "");
    struct feeding_run run = feeding_run(feeding, longer, size + 4, size + 4, size + 4, false);
    cr_expect_eq(run.result, PARSE_DONE);
    cr_expect_eq(feeding->size(run.parser), size, "the size is %zu instead of %zu", (size_t)feeding->size(run.parser),
                 size);
    free(run.parser);
    free(longer);
}

void expect_refused_at(const struct feeding *feeding, const uint8_t *bytes, size_t size, size_t known,
                       const char *reason) {
    expect_agreement(feeding, bytes, size);
    expect_result(feeding, bytes, size, PARSE_NO, reason);
    expect_result(feeding, bytes, known, PARSE_NO, reason);
    expect_result(feeding, bytes, known - 1, PARSE_MORE, "");
}

void expect_refused(const struct feeding *feeding, const uint8_t *bytes, size_t size, const char *reason) {
    expect_refused_at(feeding, bytes, size, size, reason);
}
