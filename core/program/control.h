/* The control thread: puts a process together from a configuration, starts the workers, obeys signals, takes it apart.
 */
#ifndef MOONRING_PROGRAM_CONTROL_H
#define MOONRING_PROGRAM_CONTROL_H

#include "config/config.h"

/* Runs until a signal ends it; to be called by the only thread there is. Messages go to the error log. Returns the
 * process' exit status: 0, or 1 when it could not start or failed. */
int control_run(const struct config *config);

#endif
