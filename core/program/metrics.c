#include "program/metrics.h"

#include "base/counter.h"
#include "lua/metric.h"
#include "program/exposition.h"
#include "program/filter_metrics.h"

#include <stdlib.h>

static void write_one(struct exposition *page, const char *name, const char *type, const char *help, uint64_t value) {
    exposition_family(page, name, type, help);
    exposition_sample(page, "");
    exposition_integer(page, value);
}

/* --- workers ---------------------------------------------------------------------------------------------------- */

/* Lines that found no room in a queue, and those that the target refused. */
static void write_lost_lines(const struct program *program, const struct worker_numbers *workers,
                             struct exposition *page) {
    uint64_t lost = logs_lost(&program->logs);
    for (uint32_t i = 0; i < program->crew.places_count; i++) {
        lost += workers[i].access_lost;
    }
    write_one(page, "moonring_access_log_lost_lines_total", "counter", "Access log lines that were dropped.", lost);
}

static void write_workers(const struct program *program, struct exposition *page) {
    uint32_t count = program->crew.places_count;
    struct worker_numbers *workers = calloc(count, sizeof *workers);
    if (workers == NULL) {
        page->out->failed = true;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        workers[i] = crew_numbers(&program->crew, i);
    }
    worker_metrics_write(workers, count, page);
    write_lost_lines(program, workers, page);
    free(workers);
}

/* --- listeners -------------------------------------------------------------------------------------------------- */

struct listener_metric {
    const char *name;
    const char *type;
    uint64_t (*read)(const struct listener *listener);
    const char *help;
};

static uint64_t listener_accepted(const struct listener *listener) {
    return counter_read(&listener->accepted_total);
}

static uint64_t listener_active(const struct listener *listener) {
    return atomic_load(&listener->quota.active);
}

static uint64_t listener_max(const struct listener *listener) {
    return atomic_load(&listener->quota.max);
}

static const struct listener_metric listener_metrics[] = {
    {"moonring_listener_accepted_total", "counter", listener_accepted, "Clients accepted."},
    {"moonring_listener_sessions_active", "gauge", listener_active, "Sessions of the listener that are open."},
    {"moonring_listener_sessions_max", "gauge", listener_max, "Its limits.max_connections; 0: off."},
};

static void write_listeners(const struct generation *generation, struct exposition *page) {
    for (size_t i = 0; i < sizeof listener_metrics / sizeof listener_metrics[0]; i++) {
        const struct listener_metric *metric = &listener_metrics[i];
        exposition_family(page, metric->name, metric->type, metric->help);
        for (size_t j = 0; j < generation->config->listeners_count; j++) {
            exposition_sample(page, "");
            exposition_label(page, "listener", generation->listeners[j]->name);
            exposition_integer(page, metric->read(generation->listeners[j]));
        }
    }
}

/* --- servers ---------------------------------------------------------------------------------------------------- */

struct server_metric {
    const char *name;
    const char *type;
    uint64_t (*read)(const struct server *server);
    const char *help;
};

static uint64_t server_active(const struct server *server) {
    return atomic_load(&server->state->active);
}

static uint64_t server_connected(const struct server *server) {
    return counter_read(&server->state->connected_total);
}

static uint64_t server_failed(const struct server *server) {
    return counter_read(&server->state->failed_total);
}

static uint64_t server_weight(const struct server *server) {
    return server->weight;
}

static const struct server_metric server_metrics[] = {
    {"moonring_server_sessions_active", "gauge", server_active, "Sessions on the server."},
    {"moonring_server_connected_total", "counter", server_connected, "Connections made."},
    {"moonring_server_failed_total", "counter", server_failed, "Connections that failed."},
    {"moonring_server_weight", "gauge", server_weight, "Its share of the sessions beside the other servers'."},
};

static void write_servers_of(const struct upstream *upstream, const struct server_metric *metric,
                             struct exposition *page) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        const struct server *server = &upstream->servers[i];
        exposition_sample(page, "");
        exposition_label(page, "upstream", upstream->name);
        exposition_label(page, "server", server->name);
        exposition_integer(page, metric->read(server));
    }
}

static void write_servers(const struct generation *generation, struct exposition *page) {
    for (size_t i = 0; i < sizeof server_metrics / sizeof server_metrics[0]; i++) {
        const struct server_metric *metric = &server_metrics[i];
        exposition_family(page, metric->name, metric->type, metric->help);
        for (size_t j = 0; j < generation->config->upstreams_count; j++) {
            write_servers_of(&generation->upstreams[j], metric, page);
        }
    }
}

/* --- reloads ---------------------------------------------------------------------------------------------------- */

static void write_reload_result(struct exposition *page, const char *result, uint64_t count) {
    exposition_sample(page, "");
    exposition_label(page, "result", result);
    exposition_integer(page, count);
}

static void write_reloads(const struct program *program, struct exposition *page) {
    const struct program_counters *counters = &program->counters;
    write_one(page, "moonring_generation", "gauge", "The number of the configuration at work.",
              program->generation->number);
    write_one(page, "moonring_generations", "gauge", "Configurations that sessions are open in.",
              counter_read(&counters->generations));
    write_one(page, "moonring_filters_retired", "gauge",
              "Sets of filters that reloads have replaced and that still have sessions.",
              counter_read(&counters->filters_retired));
    exposition_family(page, "moonring_reloads_total", "counter", "Reloads, by what became of them.");
    write_reload_result(page, "applied", counter_read(&counters->applied));
    write_reload_result(page, "unchanged", counter_read(&counters->unchanged));
    write_reload_result(page, "refused", counter_read(&counters->refused));
    exposition_family(page, "moonring_reload_duration_seconds", "gauge", "How long the last reload took.");
    exposition_sample(page, "");
    exposition_seconds(page, counter_read(&counters->took_ms) * 1000);
    write_one(page, "moonring_reload_success_timestamp_seconds", "gauge",
              "When the configuration at work was last read and found right, or unchanged.",
              counter_read(&counters->succeeded_s));
}

/* --- all -------------------------------------------------------------------------------------------------------- */

void metrics_write(struct program *program, struct bytes *out) {
    struct exposition page = {.out = out};
    pthread_mutex_lock(&program->view_lock);
    write_workers(program, &page);
    write_listeners(program->generation, &page);
    write_servers(program->generation, &page);
    write_reloads(program, &page);
    pthread_mutex_unlock(&program->view_lock);
    filter_metrics_write(&page);
    metrics_describe(out);
}
