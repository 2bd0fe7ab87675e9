/* Endless streams of bytes that look random: whether a byte is the right one at its place is known without keeping what
 * was sent, so bytes that were lost, doubled, reordered or from another stream are found. */
#ifndef MOONRING_TESTS_PATTERN_H
#define MOONRING_TESTS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* Writes the bytes from `offset` on of the stream numbered `stream`. */
void pattern_fill(uint64_t stream, uint64_t offset, char *bytes, size_t size);
/* The index of the first byte that is not the stream's, or `size`. */
size_t pattern_compare(uint64_t stream, uint64_t offset, const char *bytes, size_t size);
/* Makes a file of the stream's first `size` bytes. */
void pattern_write_file(uint64_t stream, const char *path, size_t size);

#endif
