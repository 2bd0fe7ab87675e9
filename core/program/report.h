/* What SIGUSR2 prints: sessions for people, then all counters in Prometheus' text format. */
#ifndef MOONRING_PROGRAM_REPORT_H
#define MOONRING_PROGRAM_REPORT_H

#include "base/bytes.h"
#include "engine/worker.h"

/* What one worker says about itself; filled on its thread. */
struct worker_report {
    struct bytes sessions;
    struct engine_counters counters;
    struct ring_counters ring;
    uint32_t sessions_count;
    uint32_t buffers_in_use;
    uint64_t heap_bytes;
    uint64_t evacuations;
    uint32_t pipes_open;
};

/* What is told of. */
struct report_scope {
    struct listener *const *listeners;
    size_t listeners_count;
    const struct upstream *upstreams;
    size_t upstreams_count;
    const struct worker_report *const *workers; /* by number */
    size_t workers_count;
};

void worker_report_init(struct worker_report *report);
void worker_report_finish(struct worker_report *report);
/* On the worker's thread. */
void worker_report_fill(struct worker_report *report, struct worker *worker);

/* Appends the sessions' lines, */
void report_write_sessions(const struct report_scope *scope, struct bytes *out);
/* and all counters. */
void report_write_metrics(const struct report_scope *scope, struct bytes *out);

/* Appends the two lines that stand before a metric's numbers. */
void report_write_head(struct bytes *out, const char *name, const char *type, const char *help);

#endif
