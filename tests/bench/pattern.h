/* The bytes that clients send and servers answer with. Every message is a slice of one random array, and its first
 * byte tells which slice: so nothing is copied to send or to answer, neighbouring messages differ, and both ends can
 * tell whether what came is what was sent. */
#ifndef MOONRING_BENCH_PATTERN_H
#define MOONRING_BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATTERN_SLICES = 64 };

struct pattern {
    uint8_t *bytes; /* ours */
    size_t message_size;
};

/* False when memory is short. */
bool pattern_init(struct pattern *pattern, size_t message_size);
void pattern_finish(struct pattern *pattern);
const uint8_t *pattern_message(const struct pattern *pattern, uint8_t slice);
/* Is `size` bytes of `data` what the message of `slice` has from `offset` on? Looks at both ends of the data (64 bytes
 * each): a lost, doubled or swapped piece shows there. */
bool pattern_matches(const struct pattern *pattern, uint8_t slice, size_t offset, const uint8_t *data, size_t size);

#endif
