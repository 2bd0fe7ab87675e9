#include "config/report.h"

#include "config/json.h"

#include <stdlib.h>
#include <string.h>

enum { FINDINGS_DEPTH = 2 }; /* of an object in the list that stands in the whole */

void config_report_init(struct config_report *report) {
    *report = (struct config_report){.errors_count = 0};
    bytes_init(&report->text);
    bytes_init(&report->json);
}

void config_report_finish(struct config_report *report) {
    bytes_finish(&report->text);
    bytes_finish(&report->json);
    free(report->files);
    report->files = NULL;
    report->files_count = 0;
}

/* ---- files ---- */

static size_t text_size(const char *text) {
    return text != NULL ? strlen(text) + 1 : 0;
}

static const char *text_put(char **at, const char *text) {
    if (text == NULL) {
        return NULL;
    }
    const char *put = memcpy(*at, text, text_size(text));
    *at += text_size(text);
    return put;
}

void report_set_files(struct config_report *report, const struct config_file *files, size_t count) {
    size_t size = count * sizeof(files[0]);
    for (size_t index = 0; index < count; index++) {
        size += text_size(files[index].path) + text_size(files[index].pattern);
    }
    free(report->files);
    report->files = malloc(size); /* the list, and behind it its texts */
    report->files_count = report->files != NULL ? count : 0;
    if (report->files_count == 0) {
        return;
    }
    char *at = (char *)(report->files + count);
    for (size_t index = 0; index < count; index++) {
        report->files[index].path = text_put(&at, files[index].path);
        report->files[index].pattern = text_put(&at, files[index].pattern);
    }
}

/* ---- places ---- */

/* A place as it is told: numbers of 0 are left out. */
struct told {
    const char *file;   /* NULL: there is no place */
    const char *origin; /* what the line of a text that was made comes from; NULL: nothing, or it has lines */
    struct mark start;
    struct mark end;
};

static struct told told_from(const struct source *source, struct span span) {
    struct told told = {.file = source->name, .origin = source_origin(source, span.start.line)};
    if (source->origins == NULL) {
        told.start = span.start;
        told.end = span.end;
    }
    return told;
}

static void text_append_place(const struct told *told, struct bytes *out) {
    if (told->file == NULL) {
        return;
    }
    bytes_append_text(out, told->file);
    if (told->origin != NULL) {
        bytes_printf(out, ": %s", told->origin);
    }
    if (told->start.line > 0) {
        bytes_printf(out, ":%u", told->start.line);
    }
    if (told->start.column > 0) {
        bytes_printf(out, ":%u", told->start.column);
    }
    bytes_append_text(out, ": ");
}

static void json_mark(struct json *json, const char *line_name, const char *column_name, struct mark mark) {
    if (mark.line > 0) {
        json_number(json, line_name, mark.line);
    }
    if (mark.column > 0) {
        json_number(json, column_name, mark.column);
    }
}

static void json_place(struct json *json, const struct told *told) {
    if (told->file == NULL) {
        return;
    }
    json_text(json, "file", told->file);
    if (told->origin != NULL) {
        json_text(json, "option", told->origin);
    }
    json_mark(json, "line", "column", told->start);
    json_mark(json, "end_line", "end_column", told->end);
}

/* ---- one finding ---- */

/* The line of the file; a text that was made is not known to anybody. */
static void text_append_line(const struct source *source, struct span span, const char *hint, struct bytes *out) {
    if (span.start.line > 0 && source->origins == NULL) {
        source_show(source, span, hint, out);
    } else if (hint != NULL) {
        bytes_printf(out, "      = %s\n", hint);
    }
}

static const char *severity_of(enum code code) {
    return code_is_warning(code) ? "warning" : "error";
}

static const struct source *span_source(struct span span, const struct source *source) {
    return span.source != NULL ? span.source : source;
}

static void text_append_finding(const struct finding *finding, const struct source *source, struct bytes *out) {
    const struct source *own = span_source(finding->span, source);
    struct told place = told_from(own, finding->span);
    text_append_place(&place, out);
    bytes_printf(out, "%s[%s]: ", severity_of(finding->code), code_number(finding->code));
    source_clean(finding->message, strlen(finding->message), out);
    bytes_append_char(out, '\n');
    text_append_line(own, finding->span, finding->hint, out);
    if (finding->note != NULL) {
        const struct source *noted = span_source(finding->note_span, source);
        place = told_from(noted, finding->note_span);
        text_append_place(&place, out);
        bytes_printf(out, "note: %s\n", finding->note);
        text_append_line(noted, finding->note_span, NULL, out);
    }
}

/* Objects of one list follow one another in report->json. */
static struct json json_go_on(struct config_report *report) {
    return (struct json){.out = &report->json, .depth = FINDINGS_DEPTH, .comma = report->json.size > 0};
}

static void json_note(struct json *json, const char *note, const struct told *place) {
    json_begin(json, "note", '{');
    json_text(json, "message", note);
    json_place(json, place);
    json_end(json, '}');
}

static void json_append_finding(const struct finding *finding, const struct source *source,
                                struct config_report *report) {
    struct json json = json_go_on(report);
    struct told place = told_from(span_source(finding->span, source), finding->span);
    json_begin(&json, NULL, '{');
    json_text(&json, "severity", severity_of(finding->code));
    json_text(&json, "code", code_number(finding->code));
    json_place(&json, &place);
    json_text(&json, "message", finding->message);
    if (finding->hint != NULL) {
        json_text(&json, "help", finding->hint);
    }
    if (finding->note != NULL) {
        place = told_from(span_source(finding->note_span, source), finding->note_span);
        json_note(&json, finding->note, &place);
    }
    json_end(&json, '}');
}

void report_add(struct config_report *report, const struct finding *finding, const struct source *source) {
    text_append_finding(finding, source, &report->text);
    json_append_finding(finding, source, report);
}

void report_add_unread(struct config_report *report, const char *name, enum code code, const char *message) {
    const struct source source = {.name = name};
    const struct finding finding = {.code = code, .message = message};
    report_add(report, &finding, &source);
    report->errors_count++;
    bytes_append_text(&report->text, "1 error: nothing was applied\n");
}

/* ---- what comes after loading ---- */

/* Reads `:12`; 0: there is none. */
static uint32_t take_number(const char **text) {
    size_t digits = (*text)[0] == ':' ? strspn(*text + 1, "0123456789") : 0;
    uint32_t number = digits > 0 ? (uint32_t)strtoul(*text + 1, NULL, 10) : 0;
    *text += digits > 0 ? digits + 1 : 0;
    return number;
}

/* Splits `FILE:LINE: message`. `file` is as long as the problem. */
static struct told told_from_problem(const char *problem, char *file, const char **message) {
    const char *rest = strchrnul(problem, ':');
    size_t file_size = (size_t)(rest - problem);
    struct mark mark = {.line = take_number(&rest)};
    mark.column = mark.line > 0 ? take_number(&rest) : 0;
    if (mark.line == 0 || strncmp(rest, ": ", 2) != 0) {
        *message = problem;
        return (struct told){.file = NULL};
    }
    *message = rest + 2;
    memcpy(file, problem, file_size);
    file[file_size] = 0;
    return (struct told){.file = file, .start = mark};
}

static void add_problem(struct config_report *report, const struct told *place, const char *message,
                        const struct told *note_place, const char *note) {
    struct json json = json_go_on(report);
    text_append_place(place, &report->text);
    bytes_printf(&report->text, "error: %s\n", message);
    json_begin(&json, NULL, '{');
    json_text(&json, "severity", "error");
    json_place(&json, place);
    json_text(&json, "message", message);
    if (note != NULL) {
        text_append_place(note_place, &report->text);
        bytes_printf(&report->text, "note: %s\n", note);
        json_note(&json, note, note_place);
    }
    json_end(&json, '}');
}

void config_report_error(struct config_report *report, const char *problem, const struct config_place *note_place,
                         const char *note) {
    const char *message;
    char *file = strdup(problem);
    struct told note_told = {.file = NULL};
    if (note != NULL) {
        note_told.file = note_place->file;
        note_told.start = (struct mark){note_place->line, note_place->column};
    }
    report->errors_count++;
    if (file == NULL) {
        report->text.failed = true;
        return;
    }
    struct told told = told_from_problem(problem, file, &message);
    add_problem(report, &told, message, &note_told, note);
    free(file);
}

void config_report_json(const struct config_report *report, const char *file, struct bytes *out) {
    struct json json = {.out = out};
    json_begin(&json, NULL, '{');
    json_text(&json, "file", file);
    json_number(&json, "errors", report->errors_count);
    json_number(&json, "warnings", report->warnings_count);
    json_begin(&json, "findings", '[');
    bytes_append_text(out, report->json.data);
    json.comma = report->json.size > 0;
    json_end(&json, ']');
    json_end(&json, '}');
    bytes_append_char(out, '\n');
}
