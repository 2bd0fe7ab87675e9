/* YAML text -> struct config. The only place of the program that knows YAML. */
#ifndef MOONRING_CONFIG_LOAD_H
#define MOONRING_CONFIG_LOAD_H

#include "base/bytes.h"
#include "config/config.h"

/* What was wrong with a configuration, ready to be printed: every error with place, caret and advice, then a line
 * that counts them. Warnings are in the text too, and alone do not make a load fail. */
struct config_report {
    struct bytes text; /* the report; "" when there is nothing to say */
    size_t errors_count;
    size_t warnings_count;
};

void config_report_init(struct config_report *report);
void config_report_finish(struct config_report *report);

/* Reads the file at `path` ("-": standard input). Relative paths in it and messages use `as` instead of `path` when
 * that is not NULL. Returns a configuration that config_destroy frees, or NULL with errors in the report. */
struct config *config_load_file(const char *path, const char *as, struct config_report *report);

/* The same from memory; `name` stands in messages. `text` need not end in 0. */
struct config *config_load_text(const char *text, size_t size, const char *name, struct config_report *report);

/* NULL is fine. */
void config_destroy(struct config *config);

/* Appends the configuration as YAML that loads to the same one, every value written out, defaults included. */
void config_dump(const struct config *config, struct bytes *out);

/* Appends one line for each key: key, type, default, help; for manuals and --help. */
void config_describe(struct bytes *out);

#endif
