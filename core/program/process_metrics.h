/* What the process is and uses, by the names that every exporter has for it. */
#ifndef MOONRING_PROGRAM_PROCESS_METRICS_H
#define MOONRING_PROGRAM_PROCESS_METRICS_H

#include "program/exposition.h"

/* Any thread. */
void process_metrics_write(struct exposition *exposition);

#endif
