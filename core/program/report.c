#include "program/report.h"

#include "lua/metric.h"

#include <stddef.h>

void worker_report_init(struct worker_report *report) {
    *report = (struct worker_report){.sessions_count = 0};
    bytes_init(&report->sessions);
}

void worker_report_finish(struct worker_report *report) {
    bytes_finish(&report->sessions);
}

void worker_report_fill(struct worker_report *report, struct worker *worker) {
    const struct engine *engine = &worker->engine;
    worker_describe_sessions(worker, &report->sessions);
    report->counters = engine->counters;
    report->ring = *ring_counters(engine->ring);
    report->sessions_count = engine->sessions_count;
    report->buffers_in_use = buffers_in_use(&engine->buffers);
    report->heap_bytes = engine->buffers.heap_bytes;
    report->evacuations = engine->buffers.evacuations;
    report->pipes_open = engine->splices.open_count;
}

/* A number that every worker keeps; most are 64 bits wide, some 32. */
struct worker_metric {
    const char *name;
    const char *type;
    const char *help;
    size_t offset; /* in struct worker_report */
    size_t size;
};

#define METRIC(name, type, help, member)                                                                               \
    {                                                                                                                  \
        "moonring_" name, type, help, offsetof(struct worker_report, member),                                          \
            sizeof(((struct worker_report *)NULL)->member)                                                             \
    }

static const struct worker_metric worker_metrics[] = {
    METRIC("sessions_active", "gauge", "Sessions that are open.", sessions_count),
    METRIC("sessions_opened_total", "counter", "Sessions that were opened.", counters.sessions_opened),
    METRIC("from_client_bytes_total", "counter", "Bytes received from clients.", counters.from_client_bytes),
    METRIC("from_server_bytes_total", "counter", "Bytes received from servers.", counters.from_server_bytes),
    METRIC("receives_total", "counter", "Completions that brought bytes.", counters.receives),
    METRIC("receives_armed_total", "counter", "Receive requests started.", counters.receives_armed),
    METRIC("sends_total", "counter", "Sends completed.", counters.sends),
    METRIC("sends_blocked_total", "counter", "Sends that the socket did not take whole.", counters.sends_blocked),
    METRIC("flows_starved_total", "counter", "Flows that found no receive buffer free.", counters.starved),
    METRIC("splice_promotions_total", "counter", "Flows that went over to splicing.", counters.splice_promotions),
    METRIC("splice_demotions_total", "counter", "Flows that came back from splicing.", counters.splice_demotions),
    METRIC("splice_bytes_total", "counter", "Bytes that were spliced.", counters.splice_bytes),
    METRIC("connects_total", "counter", "Connections to servers tried.", counters.connects),
    METRIC("connects_failed_total", "counter", "Connections to servers that failed.", counters.connects_failed),
    METRIC("retries_total", "counter", "Tries after a failed one.", counters.retries),
    METRIC("accepts_limited_total", "counter", "Clients that a limit of connections made wait.",
           counters.accepts_limited),
    METRIC("accepts_exhausted_total", "counter", "Accepts refused for want of descriptors or memory.",
           counters.accepts_exhausted),
    METRIC("hooks_total", "counter", "Hooks of filters that sessions began.", counters.hooks),
    METRIC("filters_bypassed_total", "counter", "Filters that left a session because they failed.",
           counters.filters_bypassed),
    METRIC("turn_longest_microseconds", "gauge", "The longest time between two waits.", counters.turn_longest_us),
    METRIC("ring_turns_total", "counter", "Turns of the loop.", ring.turns),
    METRIC("ring_system_calls_total", "counter", "io_uring_enter calls.", ring.system_calls),
    METRIC("ring_submissions_total", "counter", "Requests handed to the kernel.", ring.submissions),
    METRIC("ring_completions_total", "counter", "Completions taken from the kernel.", ring.completions),
    METRIC("ring_no_buffers_total", "counter", "Receives that ended for want of a buffer.", ring.no_buffers),
    METRIC("ring_overflows_total", "counter", "Times the completion queue was full.", ring.overflows),
    METRIC("ring_spins_total", "counter", "Busy polls that found work.", ring.spins),
    METRIC("buffers_in_use", "gauge", "Receive buffers that hold bytes.", buffers_in_use),
    METRIC("buffers_heap_bytes", "gauge", "Bytes of slow receivers kept on the heap.", heap_bytes),
    METRIC("buffers_evacuations_total", "counter", "Queues of slow receivers moved to the heap.", evacuations),
    METRIC("pipes_open", "gauge", "Pipes for splicing.", pipes_open),
};

void report_write_head(struct bytes *out, const char *name, const char *type, const char *help) {
    bytes_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static unsigned long metric_value(const struct worker_report *report, const struct worker_metric *metric) {
    const char *at = (const char *)report + metric->offset;
    return metric->size == sizeof(uint32_t) ? *(const uint32_t *)(const void *)at : *(const uint64_t *)(const void *)at;
}

static void write_workers(const struct report_scope *scope, struct bytes *out) {
    for (size_t i = 0; i < sizeof worker_metrics / sizeof worker_metrics[0]; i++) {
        const struct worker_metric *metric = &worker_metrics[i];
        report_write_head(out, metric->name, metric->type, metric->help);
        for (size_t worker = 0; worker < scope->workers_count; worker++) {
            bytes_printf(out, "%s{worker=\"%zu\"} %lu\n", metric->name, worker,
                         metric_value(scope->workers[worker], metric));
        }
    }
    report_write_head(out, "moonring_sessions_closed_total", "counter", "Sessions that were closed, by reason.");
    for (size_t worker = 0; worker < scope->workers_count; worker++) {
        const struct engine_counters *counters = &scope->workers[worker]->counters;
        for (unsigned reason = 0; reason < CLOSE_REASONS; reason++) {
            bytes_printf(out, "moonring_sessions_closed_total{worker=\"%zu\",reason=\"%s\"} %lu\n", worker,
                         close_reason_name(reason), (unsigned long)counters->sessions_closed[reason]);
        }
    }
}

/* A label's value: quote, backslash and newline are escaped as the format wants it; JSON does the same. */
static void write_label(struct bytes *out, const char *key, const char *value) {
    bytes_append_text(out, key);
    bytes_append_char(out, '=');
    bytes_append_json(out, value);
}

static void write_listeners(const struct report_scope *scope, struct bytes *out) {
    report_write_head(out, "moonring_listener_accepted_total", "counter", "Clients accepted.");
    for (size_t i = 0; i < scope->listeners_count; i++) {
        const struct listener *listener = scope->listeners[i];
        bytes_append_text(out, "moonring_listener_accepted_total{");
        write_label(out, "listener", listener->name);
        bytes_printf(out, "} %lu\n", (unsigned long)atomic_load(&listener->accepted_total));
    }
    report_write_head(out, "moonring_listener_sessions_active", "gauge", "Sessions of the listener that are open.");
    for (size_t i = 0; i < scope->listeners_count; i++) {
        const struct listener *listener = scope->listeners[i];
        bytes_append_text(out, "moonring_listener_sessions_active{");
        write_label(out, "listener", listener->name);
        bytes_printf(out, "} %u\n", atomic_load(&listener->quota.active));
    }
}

enum server_number { SERVER_ACTIVE, SERVER_CONNECTED, SERVER_FAILED };

static unsigned long server_number(const struct server *server, enum server_number number) {
    switch (number) {
    case SERVER_ACTIVE:
        return atomic_load(&server->state->active);
    case SERVER_CONNECTED:
        return (unsigned long)atomic_load(&server->state->connected_total);
    case SERVER_FAILED:
        return (unsigned long)atomic_load(&server->state->failed_total);
    }
    return 0;
}

static void write_servers(const struct report_scope *scope, const char *name, const char *type, const char *help,
                          enum server_number number, struct bytes *out) {
    report_write_head(out, name, type, help);
    for (size_t i = 0; i < scope->upstreams_count; i++) {
        const struct upstream *upstream = &scope->upstreams[i];
        for (size_t j = 0; j < upstream->servers_count; j++) {
            bytes_printf(out, "%s{", name);
            write_label(out, "upstream", upstream->name);
            bytes_append_char(out, ',');
            write_label(out, "server", upstream->servers[j].name);
            bytes_printf(out, "} %lu\n", server_number(&upstream->servers[j], number));
        }
    }
}

void report_write_sessions(const struct report_scope *scope, struct bytes *out) {
    for (size_t i = 0; i < scope->workers_count; i++) {
        bytes_append(out, scope->workers[i]->sessions.data, scope->workers[i]->sessions.size);
    }
}

void report_write_metrics(const struct report_scope *scope, struct bytes *out) {
    write_workers(scope, out);
    write_listeners(scope, out);
    write_servers(scope, "moonring_server_sessions_active", "gauge", "Sessions on the server.", SERVER_ACTIVE, out);
    write_servers(scope, "moonring_server_connected_total", "counter", "Connections made.", SERVER_CONNECTED, out);
    write_servers(scope, "moonring_server_failed_total", "counter", "Connections that failed.", SERVER_FAILED, out);
    metrics_describe(out);
}
