#include "program/report.h"

void worker_report_init(struct worker_report *report) {
    *report = (struct worker_report){.sessions = {0}};
    bytes_init(&report->sessions);
}

void worker_report_finish(struct worker_report *report) {
    bytes_finish(&report->sessions);
}

void worker_report_fill(struct worker_report *report, struct worker *worker) {
    worker_describe_sessions(worker, &report->sessions);
}
