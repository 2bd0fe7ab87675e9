/* What went wrong in a filter, told to the operator: a line in the log, and for each place of a script no more than one
 * a second. */
#ifndef MOONRING_LUA_FAULT_H
#define MOONRING_LUA_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FAULT_PLACES = 16 };

struct faults {
    struct fault_place {
        uint64_t hash;   /* of the place in the script; 0: none yet */
        uint64_t at_us;  /* when it was told */
        uint32_t untold; /* times since then */
    } places[FAULT_PLACES];
};

/* text: a message that begins with its place (`file:line:`), with its traceback. Whether it is to be told now; *untold:
 * how many were not told since the last one. */
bool fault_is_due(struct faults *faults, const char *text, uint64_t now_us, uint32_t *untold);

/* Writes a message with its traceback as one line: `file:2: no luck <- file:2: in function 'f' <- ...`. The result ends
 * in 0 and is cut to the size. */
void fault_format(const char *text, char *line, size_t size);

#endif
