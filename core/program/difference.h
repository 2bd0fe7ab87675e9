/* What differs between two generations, in one line for people: keys, files of filters, and addresses of servers that
 * are known by a name. */
#ifndef MOONRING_PROGRAM_DIFFERENCE_H
#define MOONRING_PROGRAM_DIFFERENCE_H

#include "base/bytes.h"
#include "program/generation.h"

#include <stdbool.h>

/* Appends, as config_diff does:
 *
 *     listeners: ~pg(timeouts.idle 10m->1h); files: ~filters/guard.lua; addresses: api(+10.0.0.4:80 -10.0.0.3:80)
 *
 * False, and nothing, when both would serve alike. */
bool generation_differs(const struct generation *before, const struct generation *next, struct bytes *out);

#endif
