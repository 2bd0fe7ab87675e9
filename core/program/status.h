/* What `moonring ctl status` and `ctl generations` tell, people and programs. On the control thread. */
#ifndef MOONRING_PROGRAM_STATUS_H
#define MOONRING_PROGRAM_STATUS_H

#include "base/bytes.h"
#include "program/program.h"

/* Appends some lines about the process as it is now, and a table of its listeners, with tabs between the cells; or one
 * JSON object. */
void status_describe(struct program *program, struct bytes *out);
void status_to_json(struct program *program, struct bytes *out);
/* Appends a table with a line for each generation, the newest first, or one JSON object. */
void generations_describe(struct program *program, struct bytes *out);
void generations_to_json(struct program *program, struct bytes *out);

#endif
