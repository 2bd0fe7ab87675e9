/* What this binary is. */
#ifndef MOONRING_PROGRAM_VERSION_H
#define MOONRING_PROGRAM_VERSION_H

#include <stdio.h>

/* The oldest kernel that moonring runs on. */
enum { KERNEL_MAJOR_MIN = 6, KERNEL_MINOR_MIN = 1 };

/* `1.2.3`, `1.2.3-4-gabcdef0-dirty`, or `unknown` when it was built outside of a clone. */
const char *moonring_version(void);
/* `2026-01-31`, of the source. */
const char *moonring_date(void);

/* Prints the text of `moonring version`. */
void version_print(FILE *out);

#endif
