/* What SIGUSR2 prints of each worker: its sessions, for people. */
#ifndef MOONRING_PROGRAM_REPORT_H
#define MOONRING_PROGRAM_REPORT_H

#include "base/bytes.h"
#include "engine/worker.h"

/* What one worker says about itself; filled on its thread. */
struct worker_report {
    struct bytes sessions;
};

void worker_report_init(struct worker_report *report);
void worker_report_finish(struct worker_report *report);
/* On the worker's thread. */
void worker_report_fill(struct worker_report *report, struct worker *worker);

#endif
