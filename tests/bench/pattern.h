/* The bytes that clients send and servers answer with. Every message is a slice of one array that is filled once, and
 * one of its bytes tells which slice: so nothing is copied to send or to answer, neighbouring messages differ, and both
 * ends can tell whether what came is what was sent. */
#ifndef MOONRING_BENCH_PATTERN_H
#define MOONRING_BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATTERN_SLICES = 64 };

enum pattern_kind {
    PATTERN_RANDOM, /* slices overlap, so that even large messages stay in the cache */
    PATTERN_RESP,   /* each message is a Redis command, `SET key value`; as an answer it is a valid array */
};

struct pattern {
    uint8_t *bytes; /* ours */
    size_t message_size;
    size_t stride;      /* from a slice to the next */
    size_t name_offset; /* of the byte that tells the slice; what stands before it is alike in all messages */
};

/* False when memory is short. */
bool pattern_init(struct pattern *pattern, enum pattern_kind kind, size_t message_size);
void pattern_finish(struct pattern *pattern);
const uint8_t *pattern_message(const struct pattern *pattern, uint8_t slice);
/* Takes the slice's name out of `size` bytes that begin at `offset` of a message; false when it is not among them. */
bool pattern_find_slice(const struct pattern *pattern, size_t offset, const uint8_t *data, size_t size, uint8_t *slice);
/* Is `size` bytes of `data` what the message of `slice` has from `offset` on? Looks at both ends of the data (64 bytes
 * each): a lost, doubled or swapped piece shows there. */
bool pattern_matches(const struct pattern *pattern, uint8_t slice, size_t offset, const uint8_t *data, size_t size);

#endif
