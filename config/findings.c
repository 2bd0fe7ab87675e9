#include "config/findings.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = 2 * FINDINGS_SHOWN_MAX };

void findings_init(struct findings *findings, struct arena *arena, const struct source *source) {
    *findings = (struct findings){.arena = arena, .source = source};
    findings->shown = arena_take(arena, PLACES * sizeof(findings->shown[0]));
}

/* What stands behind an anchor is read once for each alias, and is wrong as often. */
static bool finding_is_known(const struct findings *findings, const struct finding *finding) {
    for (size_t index = 0; index < findings->shown_count; index++) {
        const struct finding *known = &findings->shown[index];
        if (known->code == finding->code && known->span.start.line == finding->span.start.line &&
            known->span.start.column == finding->span.start.column && strcmp(known->message, finding->message) == 0) {
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
    struct bytes quoted;
    bytes_init(&quoted);
    source_quote(text, strlen(text), &quoted);
    const char *copy = arena_copy(findings->arena, quoted.data, quoted.size);
    bytes_finish(&quoted);
    return copy;
}

static int finding_compare(const void *left, const void *right) {
    const struct finding *a = left;
    const struct finding *b = right;
    if (a->span.start.line != b->span.start.line) {
        return a->span.start.line < b->span.start.line ? -1 : 1;
    }
    if (a->span.start.column != b->span.start.column) {
        return a->span.start.column < b->span.start.column ? -1 : 1;
    }
    return a->order < b->order ? -1 : 1;
}

static void place_append(const struct source *source, struct mark mark, struct bytes *out) {
    bytes_append_text(out, source->name);
    if (mark.line > 0) {
        bytes_printf(out, ":%u:%u", mark.line, mark.column);
    }
}

static void finding_append(const struct finding *finding, const struct source *source, struct bytes *out) {
    place_append(source, finding->span.start, out);
    bytes_printf(out, ": %s[%s]: ", code_is_warning(finding->code) ? "warning" : "error", code_number(finding->code));
    source_clean(finding->message, strlen(finding->message), out);
    bytes_append_char(out, '\n');
    if (finding->span.start.line > 0) {
        source_show(source, finding->span, finding->hint, out);
    } else if (finding->hint != NULL) {
        bytes_printf(out, "      = %s\n", finding->hint);
    }
    if (finding->note != NULL) {
        place_append(source, finding->note_span.start, out);
        bytes_printf(out, ": note: %s\n", finding->note);
        source_show(source, finding->note_span, NULL, out);
    }
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
        finding_append(&findings->shown[index], findings->source, &report->text);
    }
    if (findings->shown_count > 0) {
        counts_append(findings, &report->text);
    }
    report->errors_count += findings->errors_count;
    report->warnings_count += findings->warnings_count;
}
