/* Wall-clock times as text. Reading a clock is the ring's business (engine/ring.h) so that tests can turn it. */
#ifndef MOONRING_BASE_CLOCK_H
#define MOONRING_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 25 }; /* 2026-01-31T12:00:00.123Z and its 0 */

/* Writes milliseconds since 1970 as UTC in RFC 3339. text holds CLOCK_TEXT_SIZE bytes. */
void clock_format(uint64_t wall_ms, char *text);

#endif
