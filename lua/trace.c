#include "lua/trace.h"

#include "base/bytes.h"
#include "base/log.h"
#include "lua/conn.h"

static const struct stage *entry_stage(const struct entry *entry) {
    bool is_of_bytes = hook_is_of_bytes(entry->hook);
    return is_of_bytes ? &entry->conn->filter_session->stages[hook_direction(entry->hook)] : NULL;
}

static uint32_t entry_sent(const struct entry *entry) {
    return entry->conn->filter_session->outbox[hook_direction(entry->hook)].bytes;
}

void trace_begin(struct trace *trace, const struct entry *entry) {
    const struct stage *stage = entry_stage(entry);
    *trace = (struct trace){.offset = 0};
    if (stage != NULL) {
        *trace = (struct trace){.offset = stage->offset, .bytes = stage->input.bytes, .sent = entry_sent(entry)};
    }
}

static const char *outcome_name(enum hook_outcome outcome) {
    switch (outcome) {
    case HOOK_RETURNED:
        return "returned";
    case HOOK_WAITS:
        return "waits";
    case HOOK_ENDS:
        return "ends the session";
    case HOOK_FAILED:
        return "failed";
    case HOOK_OVER:
        return "was stopped";
    }
    return "?";
}

static void append_count(struct bytes *line, const char *verb, uint64_t count) {
    if (count > 0) {
        char last = line->data[line->size - 1];
        bytes_printf(line, "%s %s %lu", last == ':' ? "" : ",", verb, (unsigned long)count);
    }
}

/* Bytes that were decided, and what was made of them; then what is left of the view. */
static void append_bytes(struct bytes *line, const struct trace *trace, const struct entry *entry,
                         enum hook_outcome outcome) {
    const struct stage *stage = entry_stage(entry);
    uint64_t decided = stage->offset - trace->offset;
    uint64_t sent = entry_sent(entry) - trace->sent;
    bool holds = stage->need > 0 || outcome == HOOK_WAITS;
    bytes_printf(line, " %u B:", trace->bytes);
    if (sent == decided) {
        append_count(line, "pass", decided);
    } else {
        append_count(line, "take out", decided);
        append_count(line, "put", sent);
    }
    append_count(line, holds ? "hold" : "pass", stage->input.bytes);
    if (stage->need > 0) {
        bytes_printf(line, " (needs %u)", stage->need);
    }
    if (outcome != HOOK_RETURNED) {
        bytes_printf(line, "; %s", outcome_name(outcome));
    }
}

void trace_end(const struct trace *trace, const struct entry *entry, enum hook_outcome outcome) {
    struct filter_facts facts = {.id = 0};
    struct bytes line;
    bytes_init(&line);
    if (entry->conn != NULL) {
        filter_facts(entry->conn->filter_session, &facts);
        bytes_printf(&line, "#%lu ", (unsigned long)facts.id);
    }
    bytes_printf(&line, "%s %s", entry->filter->filter.name, hook_name(entry->hook));
    if (entry_stage(entry) != NULL) {
        append_bytes(&line, trace, entry, outcome);
    } else {
        bytes_printf(&line, ": %s", outcome_name(outcome));
    }
    log_write(LOG_TRACE, "%s", line.data);
    bytes_finish(&line);
}
