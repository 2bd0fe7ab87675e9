/* How a finding is told: as text with the line it is about, and as JSON. */
#ifndef MOONRING_CONFIG_REPORT_H
#define MOONRING_CONFIG_REPORT_H

#include "config/findings.h"

/* Appends one finding to both forms of the report; the counts are the caller's. */
void report_add(struct config_report *report, const struct finding *finding, const struct source *source);

/* Copies the list; without memory it becomes empty. */
void report_set_files(struct config_report *report, const struct config_file *files, size_t count);

/* The same about a file that was not even read. */
void report_add_unread(struct config_report *report, const char *name, enum code code, const char *message);

#endif
