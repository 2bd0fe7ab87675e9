#include "config/findings.h"

#include "config/report.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = 2 * FINDINGS_SHOWN_MAX };

void findings_init(struct findings *findings, struct arena *arena, const struct source *source) {
    *findings = (struct findings){.arena = arena, .source = source};
    bytes_init(&findings->scratch);
    findings->shown = arena_take(arena, PLACES * sizeof(findings->shown[0]));
}

void findings_finish(struct findings *findings) {
    bytes_finish(&findings->scratch);
}

struct bytes *findings_scratch(struct findings *findings) {
    bytes_clear(&findings->scratch);
    return &findings->scratch;
}

static int number_compare(uint32_t a, uint32_t b) {
    return a < b ? -1 : a > b;
}

/* By the places where they begin, one file after another. */
static int span_compare(const struct span *a, const struct span *b) {
    uint32_t a_number = a->source != NULL ? a->source->number : 0;
    uint32_t b_number = b->source != NULL ? b->source->number : 0;
    int order = number_compare(a_number, b_number);
    order = order != 0 ? order : number_compare(a->start.line, b->start.line);
    return order != 0 ? order : number_compare(a->start.column, b->start.column);
}

/* What stands behind an anchor is read once for each alias, and is wrong as often. */
static bool finding_is_known(const struct findings *findings, const struct finding *finding) {
    for (size_t index = 0; index < findings->shown_count; index++) {
        const struct finding *known = &findings->shown[index];
        if (known->code == finding->code && span_compare(&known->span, &finding->span) == 0 &&
            strcmp(known->message, finding->message) == 0) {
            return true;
        }
    }
    return false;
}

void findings_add(struct findings *findings, enum code code, struct span span, const char *hint, const char *format,
                  ...) {
    size_t *count = code_is_warning(code) ? &findings->warnings_count : &findings->errors_count;
    findings->last = NULL;
    if (*count >= FINDINGS_SHOWN_MAX) {
        ++*count;
        return;
    }
    bool hinted = hint != NULL && hint[0] != 0;
    struct finding *finding = &findings->shown[findings->shown_count];
    *finding = (struct finding){.code = code, .span = span, .order = findings->shown_count};
    va_list arguments;
    va_start(arguments, format);
    finding->message = arena_vprintf(findings->arena, format, arguments);
    va_end(arguments);
    if (!finding_is_known(findings, finding)) {
        finding->hint = hinted ? arena_copy(findings->arena, hint, strlen(hint)) : NULL;
        findings->last = finding;
        findings->shown_count++;
        ++*count;
    }
}

void findings_note(struct findings *findings, struct span span, const char *note) {
    if (findings->last != NULL) {
        findings->last->note_span = span;
        findings->last->note = note;
    }
}

bool findings_are_full(const struct findings *findings) {
    return findings->errors_count >= FINDINGS_SHOWN_MAX;
}

const char *findings_quote(struct findings *findings, const char *text) {
    struct bytes *quoted = findings_scratch(findings);
    source_quote(text, strlen(text), quoted);
    return arena_copy(findings->arena, quoted->data, quoted->size);
}

static int finding_compare(const void *left, const void *right) {
    const struct finding *a = left;
    const struct finding *b = right;
    int order = span_compare(&a->span, &b->span);
    return order != 0 ? order : a->order < b->order ? -1 : 1;
}

static void count_append(const char *noun, size_t count, struct bytes *out) {
    bytes_printf(out, "%zu %s%s", count, noun, count == 1 ? "" : "s");
    if (count > FINDINGS_SHOWN_MAX) {
        bytes_printf(out, " (%d are shown)", FINDINGS_SHOWN_MAX);
    }
}

/* `2 errors, 1 warning: nothing was applied`. */
static void counts_append(const struct findings *findings, struct bytes *out) {
    if (findings->errors_count > 0) {
        count_append("error", findings->errors_count, out);
    }
    if (findings->errors_count > 0 && findings->warnings_count > 0) {
        bytes_append_text(out, ", ");
    }
    if (findings->warnings_count > 0) {
        count_append("warning", findings->warnings_count, out);
    }
    bytes_append_text(out, findings->errors_count > 0 ? ": nothing was applied\n" : "\n");
}

void findings_report(struct findings *findings, struct config_report *report) {
    qsort(findings->shown, findings->shown_count, sizeof(findings->shown[0]), finding_compare);
    for (size_t index = 0; index < findings->shown_count; index++) {
        report_add(report, &findings->shown[index], findings->source);
    }
    if (findings->shown_count > 0) {
        counts_append(findings, &report->text);
    }
    report->errors_count += findings->errors_count;
    report->warnings_count += findings->warnings_count;
}
