/* Everything that moonring counts, in Prometheus' text format. */
#ifndef MOONRING_PROGRAM_METRICS_H
#define MOONRING_PROGRAM_METRICS_H

#include "base/bytes.h"
#include "program/program.h"

/* Appends the page. Takes the program's view lock; any thread may call it while the program runs. It asks nothing of
 * the workers and makes nobody of them wait. */
void metrics_write(struct program *program, struct bytes *out);

#endif
