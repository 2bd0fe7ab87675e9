/* Quantities as people read them: rounded, with a unit. */
#ifndef MOONRING_PROGRAM_HUMAN_H
#define MOONRING_PROGRAM_HUMAN_H

#include "base/bytes.h"

#include <stdint.h>

/* `3d 4h`, `12m 5s`, `0.4s`: the two largest units; tenths below ten seconds. */
void human_append_age(struct bytes *out, uint64_t milliseconds);
/* `734B`, `1.2MiB`. */
void human_append_size(struct bytes *out, uint64_t size);

#endif
