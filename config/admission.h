/* What `allow` and `deny` of the listeners say, and the files of addresses that they name. */
#ifndef MOONRING_CONFIG_ADMISSION_H
#define MOONRING_CONFIG_ADMISSION_H

#include "config/apply.h"
#include "config/include.h"

/* Reads the files and gives each listener with rules its admission. Reports what is wrong, with its place in the file,
 * and adds the files to those that are to be watched. text: scratch that the caller frees, also after a jump out of an
 * arena. */
void admission_read(struct apply *apply, struct includes *includes, struct bytes *text, const struct node *tree);

#endif
