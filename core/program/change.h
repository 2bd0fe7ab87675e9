/* The program goes from one generation to the next, at its start from none to the first: everything that can fail is
 * done aside, in an order in which nobody notices a failure; then comes the commit, which cannot fail. */
#ifndef MOONRING_PROGRAM_CHANGE_H
#define MOONRING_PROGRAM_CHANGE_H

#include "config/load.h"
#include "program/program.h"

#include <stdbool.h>

/* Looks up names, loads filters, opens logs, binds addresses, makes workers, and asks the workers that there are
 * whether they turn. NULL: all of it is undone, and the report says why. */
struct generation *change_prepare(struct program *program, struct held_config *held, struct config_report *report);
/* The last step that can fail. False: all of it is undone, and the report says why. */
bool change_listen(struct program *program, struct generation *next, struct config_report *report);
/* From here on sessions begin in that generation. */
void change_commit(struct program *program, struct generation *next);
/* Instead of a commit: undoes it. */
void change_abandon(struct program *program, struct generation *next);

#endif
