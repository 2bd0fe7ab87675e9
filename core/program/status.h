/* What `moonring ctl status` and `ctl generations` tell people. On the control thread. */
#ifndef MOONRING_PROGRAM_STATUS_H
#define MOONRING_PROGRAM_STATUS_H

#include "base/bytes.h"
#include "program/program.h"

/* Appends some lines about the process as it is now. */
void status_describe(struct program *program, struct bytes *out);
/* Appends a line for each generation, the newest first. */
void status_list_generations(struct program *program, struct bytes *out);

#endif
