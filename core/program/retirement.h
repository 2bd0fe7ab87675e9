/* Bounds on what reloads leave behind: sessions with filters keep their old VMs, each with all its memory, but not too
 * many, and not for ever. */
#ifndef MOONRING_PROGRAM_RETIREMENT_H
#define MOONRING_PROGRAM_RETIREMENT_H

#include "program/program.h"

#include <stddef.h>
#include <stdint.h>

/* Sets of filters that were replaced and that still have sessions. */
size_t retirement_count(const struct program *program);
/* Closes the sessions of filters that were replaced too often, or too long ago. Returns when to look again, in
 * milliseconds of the monotonic clock; UINT64_MAX: when something has changed. */
uint64_t retirement_enforce(struct program *program, uint64_t now_ms);

#endif
