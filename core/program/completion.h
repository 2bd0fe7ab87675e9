/* A script for bash that completes what stands behind `moonring`, made from the tables of commands.h. */
#ifndef MOONRING_PROGRAM_COMPLETION_H
#define MOONRING_PROGRAM_COMPLETION_H

#include "base/bytes.h"

void completion_write(struct bytes *out);

#endif
