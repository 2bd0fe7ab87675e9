/* YAML text -> struct config. The only place of the program that knows YAML. */
#ifndef MOONRING_CONFIG_LOAD_H
#define MOONRING_CONFIG_LOAD_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/config.h"

/* What was wrong with a configuration, ready to be printed: every error with place, caret and advice, then a line
 * that counts them. Warnings are in the text too, and alone do not make a load fail. */
struct config_report {
    struct bytes text; /* the report; "" when there is nothing to say */
    struct bytes json; /* each error and warning as an object, commas between them: config_report_json */
    size_t errors_count;
    size_t warnings_count;
    struct config_file *files; /* ours: what was read or looked for, also when it was in vain; as in struct config */
    size_t files_count;
};

void config_report_init(struct config_report *report);
void config_report_finish(struct config_report *report);

/* Adds and counts an error that shows only after loading, in a script say. The problem begins with its place,
 * `FILE:LINE: ` or `FILE:LINE:COLUMN: `, where it has one, and may go on in further lines. `note` is about a second
 * place; NULL: there is none. No line of the text counts it. */
void config_report_error(struct config_report *report, const char *problem, const struct config_place *note_place,
                         const char *note);

/* Appends the whole report as one JSON object: `file`, `errors`, `warnings`, `findings`. */
void config_report_json(const struct config_report *report, const char *file, struct bytes *out);

/* Reads the file at `path` ("-": standard input). Relative paths in it and messages use `as` instead of `path` when
 * that is not NULL. Returns a configuration that config_destroy frees, or NULL with errors in the report. */
struct config *config_load_file(const char *path, const char *as, struct config_report *report);

/* The same from memory; `name` stands in messages. `text` need not end in 0. */
struct config *config_load_text(const char *text, size_t size, const char *name, struct config_report *report);

/* The same from a text that was made from something else. `origins` has the words for each of its lines that stand in
 * messages and places instead of the line's number (`--to`); NULL: there are none. */
struct config *config_load_made(const char *text, size_t size, const char *name, const char *const *origins,
                                size_t origins_count, struct config_report *report);

/* NULL is fine. */
void config_destroy(struct config *config);

/* Appends the configuration as YAML that loads to the same one, every value written out, defaults included. */
void config_dump(const struct config *config, struct bytes *out);

/* Appends one line for each key: key, type, default, help; for manuals. */
void config_describe(struct bytes *out);

/* One key, as a manual tells it. */
struct config_key_text {
    const char *path;     /* `upstreams.*.servers[].weight` */
    const char *value;    /* what it may be */
    const char *fallback; /* what holds when it is left out; "": nothing to say */
    const char *meaning;
};
typedef void config_key_fn(void *argument, const struct config_key_text *text);
/* Calls it for every key, in the order of the table. */
void config_each_key(config_key_fn *tell, void *argument);

/* Appends what there is to know about the key at a path like `listeners.*.timeouts.idle`, and lists the keys below it;
 * for
 * "" those at the top. False: there is no such key; the error names the nearest. */
bool config_explain(const char *path, struct bytes *out, struct error *error);

/* Appends a JSON Schema (draft 2020-12) of one file. */
void config_schema(struct bytes *out);

#endif
