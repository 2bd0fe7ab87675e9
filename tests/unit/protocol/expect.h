/* What the tests of the parsers share: a sample is read whole, byte by byte and cut at every byte, alone and with other
 * bytes behind it; all of that must agree before the answer itself is looked at. */
#ifndef MOONRING_TESTS_PROTOCOL_EXPECT_H
#define MOONRING_TESTS_PROTOCOL_EXPECT_H

#include "tests/fuzz/feeding.h"

/* The bytes of a literal, zeros inside it included. */
#define SAMPLE(literal) (const uint8_t *)(literal), sizeof(literal) - 1

/* Each fails the test when the answer, or any way to cut the sample, says otherwise. */
void expect_done(const struct feeding *feeding, const uint8_t *bytes, size_t size);
void expect_more(const struct feeding *feeding, const uint8_t *bytes, size_t size);
/* `reason` is a part of it. The first `known` bytes alone must be enough to refuse. */
void expect_refused_at(const struct feeding *feeding, const uint8_t *bytes, size_t size, size_t known,
                       const char *reason);
void expect_refused(const struct feeding *feeding, const uint8_t *bytes, size_t size, const char *reason);

#endif
