#include "program/metrics.h"

#include "base/counter.h"
#include "lua/metric.h"
#include "program/exposition.h"
#include "program/filter_metrics.h"
#include "program/process_metrics.h"

#include <stdlib.h>

static void write_one(struct exposition *page, const char *name, const char *type, const char *help, uint64_t value) {
    exposition_family(page, name, type, help);
    exposition_sample(page, "");
    exposition_integer(page, value);
}

/* --- workers ---------------------------------------------------------------------------------------------------- */

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
    write_one(page, "moonring_access_log_lost_lines_total", "counter", "Access log lines that were dropped.",
              program_lost_lines(program));
    free(workers);
}

/* --- tallies ---------------------------------------------------------------------------------------------------- */

/* Of a listener or an upstream. */
struct tally_view {
    const char *name;
    struct tally_cells sum;
};

static void write_bytes(struct exposition *page, const char *family, const char *label, const struct tally_view *views,
                        size_t count) {
    exposition_family(page, family, "counter", "Bytes received in sessions that are over, by who sent them.");
    for (size_t i = 0; i < count; i++) {
        exposition_sample(page, "");
        exposition_label(page, label, views[i].name);
        exposition_label(page, "from", "client");
        exposition_integer(page, counter_read(&views[i].sum.from_client_bytes));
        exposition_sample(page, "");
        exposition_label(page, label, views[i].name);
        exposition_label(page, "from", "server");
        exposition_integer(page, counter_read(&views[i].sum.from_server_bytes));
    }
}

static void write_closed(struct exposition *page, const struct tally_view *views, size_t count) {
    exposition_family(page, "moonring_listener_sessions_closed_total", "counter",
                      "Sessions of the listener that were closed, by reason.");
    for (size_t i = 0; i < count; i++) {
        for (unsigned reason = 0; reason < CLOSE_REASONS; reason++) {
            exposition_sample(page, "");
            exposition_label(page, "listener", views[i].name);
            exposition_label(page, "reason", close_reason_name(reason));
            exposition_integer(page, counter_read(&views[i].sum.closed[reason]));
        }
    }
}

static void write_histogram(struct exposition *page, const char *label, const struct tally_bounds *bounds,
                            const struct tally_view *view) {
    uint64_t total = 0;
    for (size_t i = 0; i <= TALLY_BOUNDS; i++) {
        total += counter_read(&view->sum.times[i]);
        exposition_sample(page, "_bucket");
        exposition_label(page, label, view->name);
        exposition_label(page, "le", bounds->texts[i]);
        exposition_integer(page, total);
    }
    exposition_sample(page, "_sum");
    exposition_label(page, label, view->name);
    exposition_seconds(page, counter_read(&view->sum.times_sum_us));
    exposition_sample(page, "_count");
    exposition_label(page, label, view->name);
    exposition_integer(page, total);
}

static void write_times(struct exposition *page, const char *family, const char *help, const char *label,
                        const struct tally_bounds *bounds, const struct tally_view *views, size_t count) {
    exposition_family(page, family, "histogram", help);
    for (size_t i = 0; i < count; i++) {
        write_histogram(page, label, bounds, &views[i]);
    }
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

static void write_listener_numbers(const struct generation *generation, struct exposition *page) {
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

static void write_listeners(const struct generation *generation, struct exposition *page) {
    size_t count = generation->config->listeners_count;
    struct tally_view *views = calloc(count + 1, sizeof *views);
    for (size_t i = 0; views != NULL && i < count; i++) {
        views[i].name = generation->listeners[i]->name;
        tally_sum(generation->listeners[i]->tally, &views[i].sum);
    }
    write_listener_numbers(generation, page);
    if (views == NULL) {
        page->out->failed = true;
        return;
    }
    write_bytes(page, "moonring_listener_received_bytes_total", "listener", views, count);
    write_closed(page, views, count);
    write_times(page, "moonring_listener_session_duration_seconds", "From accept to the end of sessions that are over.",
                "listener", &tally_durations, views, count);
    free(views);
}

/* --- upstreams -------------------------------------------------------------------------------------------------- */

static void write_upstreams(const struct generation *generation, struct exposition *page) {
    size_t count = generation->config->upstreams_count;
    struct tally_view *views = calloc(count + 1, sizeof *views);
    if (views == NULL) {
        page->out->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        views[i].name = generation->upstreams[i].name;
        tally_sum(generation->upstreams[i].tally, &views[i].sum);
    }
    write_bytes(page, "moonring_upstream_received_bytes_total", "upstream", views, count);
    write_times(page, "moonring_upstream_connect_duration_seconds",
                "From accept until a server was connected, retries included.", "upstream", &tally_connects, views,
                count);
    free(views);
}

/* --- sources: of listeners with limits.per_source ----------------------------------------------------------------- */

struct sources_metric {
    const char *name;
    const char *type;
    uint64_t (*read)(const struct sources *sources);
    const char *help;
};

static uint64_t sources_known(const struct sources *sources) {
    return sources_count(sources);
}

static uint64_t sources_max(const struct sources *sources) {
    (void)sources;
    return SOURCES_MAX;
}

static const struct sources_metric sources_metrics[] = {
    {"moonring_listener_sources", "gauge", sources_known, "Sources that limits.per_source remembers."},
    {"moonring_listener_sources_max", "gauge", sources_max, "Sources that it can remember."},
    {"moonring_listener_source_refused_total", "counter", sources_refused, "Clients that limits.per_source refused."},
    {"moonring_listener_source_uncounted_total", "counter", sources_uncounted,
     "Clients that were let in without being counted: there were too many sources."},
};

static void write_sources(const struct generation *generation, struct exposition *page) {
    for (size_t i = 0; i < sizeof sources_metrics / sizeof sources_metrics[0]; i++) {
        const struct sources_metric *metric = &sources_metrics[i];
        exposition_family(page, metric->name, metric->type, metric->help);
        for (size_t j = 0; j < generation->config->listeners_count; j++) {
            const struct sources *sources = limiters_sources(&generation->limiters, j);
            if (sources != NULL) {
                exposition_sample(page, "");
                exposition_label(page, "listener", generation->listeners[j]->name);
                exposition_integer(page, metric->read(sources));
            }
        }
    }
}

/* --- servers ---------------------------------------------------------------------------------------------------- */

struct server_metric {
    const char *name;
    const char *type;
    uint64_t (*read)(const struct server_numbers *numbers);
    const char *help;
};

static uint64_t server_up(const struct server_numbers *numbers) {
    return numbers->out == 0;
}

static uint64_t server_active(const struct server_numbers *numbers) {
    return numbers->active;
}

static uint64_t server_connected(const struct server_numbers *numbers) {
    return numbers->connected_total;
}

static uint64_t server_failed(const struct server_numbers *numbers) {
    return numbers->failed_total;
}

static uint64_t server_weight_now(const struct server_numbers *numbers) {
    return numbers->weight;
}

static uint64_t server_ejections(const struct server_numbers *numbers) {
    return numbers->ejections_total;
}

static const struct server_metric server_metrics[] = {
    {"moonring_server_up", "gauge", server_up, "1: it gets sessions; 0: see moonring_server_out."},
    {"moonring_server_sessions_active", "gauge", server_active, "Sessions on the server."},
    {"moonring_server_connected_total", "counter", server_connected, "Connections made."},
    {"moonring_server_failed_total", "counter", server_failed, "Connections that failed."},
    {"moonring_server_weight", "gauge", server_weight_now, "Its share of the sessions beside the other servers'."},
    {"moonring_server_ejections_total", "counter", server_ejections, "Times outlier_detection took it out."},
};

static void label_server(struct exposition *page, const struct upstream *upstream, const struct server *server) {
    exposition_sample(page, "");
    exposition_label(page, "upstream", upstream->name);
    exposition_label(page, "server", server->name);
}

static void write_server_numbers(const struct upstream *upstream, const struct server_metric *metric,
                                 struct exposition *page) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        const struct server_numbers numbers = server_numbers(&upstream->servers[i]);
        label_server(page, upstream, &upstream->servers[i]);
        exposition_integer(page, metric->read(&numbers));
    }
}

/* Only what holds: most servers are in service most of the time. */
static void write_server_out(const struct upstream *upstream, struct exposition *page) {
    for (size_t i = 0; i < upstream->servers_count; i++) {
        uint32_t out = server_numbers(&upstream->servers[i]).out;
        for (uint32_t bit = HEALTH_DOWN; bit <= HEALTH_DISABLED; bit *= 2) {
            if ((out & bit) != 0) {
                label_server(page, upstream, &upstream->servers[i]);
                exposition_label(page, "reason", health_name(bit));
                exposition_integer(page, 1);
            }
        }
    }
}

static void write_server_checks(const struct upstream *upstream, struct exposition *page) {
    for (size_t i = 0; upstream->health.check.on && i < upstream->servers_count; i++) {
        const struct server_numbers numbers = server_numbers(&upstream->servers[i]);
        label_server(page, upstream, &upstream->servers[i]);
        exposition_label(page, "result", "passed");
        exposition_integer(page, numbers.checks_passed_total);
        label_server(page, upstream, &upstream->servers[i]);
        exposition_label(page, "result", "failed");
        exposition_integer(page, numbers.checks_failed_total);
    }
}

static void write_servers(const struct generation *generation, struct exposition *page) {
    size_t count = generation->config->upstreams_count;
    for (size_t i = 0; i < sizeof server_metrics / sizeof server_metrics[0]; i++) {
        const struct server_metric *metric = &server_metrics[i];
        exposition_family(page, metric->name, metric->type, metric->help);
        for (size_t j = 0; j < count; j++) {
            write_server_numbers(&generation->upstreams[j], metric, page);
        }
    }
    exposition_family(page, "moonring_server_out", "gauge", "Why a server gets no sessions; only what holds is here.");
    for (size_t j = 0; j < count; j++) {
        write_server_out(&generation->upstreams[j], page);
    }
    exposition_family(page, "moonring_server_checks_total", "counter", "Checks of health_check, by their result.");
    for (size_t j = 0; j < count; j++) {
        write_server_checks(&generation->upstreams[j], page);
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
    write_upstreams(program->generation, &page);
    write_sources(program->generation, &page);
    write_servers(program->generation, &page);
    write_reloads(program, &page);
    pthread_mutex_unlock(&program->view_lock);
    filter_metrics_write(&page);
    process_metrics_write(&page);
    metrics_describe(out);
}
