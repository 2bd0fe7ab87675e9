/* The manual pages, in the language of man(7): made from the tables that the program itself goes by, so that they say
 * what it does. */
#ifndef MOONRING_PROGRAM_MANUAL_H
#define MOONRING_PROGRAM_MANUAL_H

#include "base/bytes.h"

#include <stdbool.h>

/* Appends the page of that name: `moonring.1` or `moonring.yaml.5`. False: there is none. */
bool manual_write(const char *page, struct bytes *out);

#endif
