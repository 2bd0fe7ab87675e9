/* `moonring ctl`: tells a running moonring what to do, and shows its answer. */
#ifndef MOONRING_PROGRAM_CTL_H
#define MOONRING_PROGRAM_CTL_H

#include "program/arguments.h"

/* The arguments are an order. Returns the exit status: 0 done, or nothing was to be done; 2 refused, or wrong usage; 3
 * nobody answers, or not as moonring does. */
int ctl_run(const struct arguments *arguments);

#endif
