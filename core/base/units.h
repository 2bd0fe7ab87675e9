/* Numbers with units, as configuration and command line write them. Every parser reads the whole text or fails with
 * an error that says what is allowed; none looks at the locale. */
#ifndef MOONRING_BASE_UNITS_H
#define MOONRING_BASE_UNITS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A plain integer without sign or leading zeros, min to max inclusive, UINT64_MAX excluded. */
bool units_parse_integer(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct error *error);
/* `5s`, `250ms`, `1h`: us ms s m h d. A bare number is an error that proposes units. `off` is not read here. At most
 * 36500d, so that deadlines in nanoseconds stay far from the end of 64 bits. */
bool units_parse_duration(const char *text, uint64_t *microseconds, struct error *error);
/* `64KiB`: B KiB MiB GiB (powers of two), KB MB GB (powers of ten). */
bool units_parse_size(const char *text, uint64_t *bytes, struct error *error);
/* `50/s`, `10/m`, `1/h` -> events per hour. */
bool units_parse_rate(const char *text, uint64_t *per_hour, struct error *error);
/* `10MiB/s` -> bytes a second: a size as units_parse_size reads it. */
bool units_parse_bandwidth(const char *text, uint64_t *bytes_per_second, struct error *error);
/* `50%` -> 50, 0 to 100. */
bool units_parse_percent(const char *text, uint64_t *percent, struct error *error);

/* The shortest exact spelling that the parsers read: 600000000 -> `10m`, 65536 -> `64KiB`. */
size_t units_format_duration(uint64_t microseconds, char *text, size_t text_size);
size_t units_format_size(uint64_t bytes, char *text, size_t text_size);
size_t units_format_rate(uint64_t per_hour, char *text, size_t text_size);
size_t units_format_bandwidth(uint64_t bytes_per_second, char *text, size_t text_size);

#endif
