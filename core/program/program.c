#include "program/program.h"

#include "base/log.h"
#include "engine/ring.h"
#include "program/change.h"
#include "program/privileges.h"
#include "program/report.h"
#include "program/retirement.h"

#include <stdlib.h>
#include <string.h>

enum {
    WATCHDOG_TICK_MS = 10, /* how often it looks at who runs scripts */
    REPORT_MS = 5000,      /* a worker that takes longer for a turn has no news */
};

/* --- life ------------------------------------------------------------------------------------------------------- */

void program_init(struct program *program, bool trace, admin_obey_fn *obey, void *argument) {
    *program = (struct program){.trace = trace, .crew = {.event_fd = -1}, .started_ms = kernel_now_ns() / 1000000};
    admin_init(&program->admin, obey, argument);
    list_init(&program->retired);
    sockets_init(&program->sockets);
}

/* Of a process that changed its user: only the control thread keeps a right. */
static void drop_rights(void) {
    struct error error;
    if (!privileges_drop_thread(&error)) {
        log_error("%s", error.text);
    }
}

/* Who we are, before anything is opened or made with our rights. */
static bool program_become(struct program *program, const struct config *config, struct error *error) {
    const char *user = config->process.user;
    if (user != NULL && !privileges_drop(user, error)) {
        return false;
    }
    program->logs.thread_begins = user == NULL ? NULL : drop_rights;
    log_set_level(config->log.error_level);
    if (!log_open(config->log.error_target, error)) {
        return false;
    }
    if (user == NULL && privileges_warning() != NULL) {
        log_warn("%s", privileges_warning());
    }
    return true;
}

static bool program_watch(struct program *program, const struct config *config, struct error *error) {
    program->watchdog = watchdog_create(WATCHDOG_TICK_MS, config->process.user == NULL ? NULL : drop_rights, error);
    program->is_watched = program->watchdog != NULL && watch_join(&program->watch, program->watchdog, error);
    return program->is_watched;
}

static bool program_hire(struct program *program, const struct config *config, struct error *error) {
    struct crew_options options = {.drop_rights = config->process.user != NULL,
                                   .io = config->io,
                                   .watchdog = program->watchdog,
                                   .sockets = &program->sockets};
    return ring_probe(&options.features, error) && crew_init(&program->crew, &options, error);
}

static bool program_open(struct program *program, const struct config *config, struct config_report *report) {
    struct error error;
    bool opened = program_become(program, config, &error) && program_watch(program, config, &error) &&
                  program_hire(program, config, &error);
    if (!opened) {
        bytes_printf(&report->text, "%s\n", error.text);
    }
    return opened;
}

static bool program_start_with(struct program *program, struct held_config *held, struct config_report *report) {
    struct generation *first =
        program_open(program, held->config, report) ? change_prepare(program, held, report) : NULL;
    bool starts = first != NULL && change_listen(program, first, report);
    if (starts) {
        change_commit(program, first);
    }
    return starts;
}

bool program_start(struct program *program, struct config *config, struct config_report *report) {
    struct held_config *held = held_config_create(config);
    if (held == NULL) {
        bytes_append_text(&report->text, "no memory for the configuration\n");
        return false;
    }
    bool started = program_start_with(program, held, report);
    held_config_drop(held);
    return started;
}

void program_finish(struct program *program) {
    crew_finish(&program->crew);
    list_for_each (link, &program->retired) {
        generation_destroy(container_of(link, struct generation, link));
    }
    generation_destroy(program->generation);
    held_config_drop(program->previous);
    fingerprints_finish(&program->previous_files);
    sockets_finish(&program->sockets);
    admin_finish(&program->admin);
    logs_finish(&program->logs);
    if (program->is_watched) {
        watch_leave(&program->watch);
    }
    watchdog_destroy(program->watchdog);
}

/* --- what has ended --------------------------------------------------------------------------------------------- */

uint64_t program_tend(struct program *program) {
    enum { LOOK_AGAIN_MS = 50 };
    uint64_t now_ms = kernel_now_ns() / 1000000;
    list_for_each (link, &program->retired) {
        struct generation *generation = container_of(link, struct generation, link);
        generation_tend(generation);
        if (generation_is_over(generation)) {
            generation_destroy(generation);
        }
    }
    crew_tend(&program->crew);
    uint64_t at_ms = retirement_enforce(program, now_ms);
    bool more = logs_sweep(&program->logs);
    return more && at_ms > now_ms + LOOK_AGAIN_MS ? now_ms + LOOK_AGAIN_MS : at_ms;
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

size_t program_generations(const struct program *program) {
    size_t count = 1;
    list_for_each (link, &program->retired) {
        count++;
    }
    return count;
}

uint64_t program_sessions(struct program *program, const struct generation *generation) {
    uint64_t users = 0;
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        users += epoch_users(generation->parts[worker].epoch);
    }
    uint64_t acceptors = generation == program->generation ? sockets_acceptors(&program->sockets) : 0;
    return users > acceptors ? users - acceptors : 0;
}

uint64_t program_sessions_before(struct program *program) {
    uint64_t sessions = 0;
    list_for_each (link, &program->retired) {
        sessions += program_sessions(program, container_of(link, struct generation, link));
    }
    return sessions;
}

/* What the reloads were. */
static void write_reloads(const struct program *program, struct bytes *out) {
    const struct program_counters *counters = &program->counters;
    report_write_head(out, "moonring_generation", "gauge", "The number of the configuration at work.");
    bytes_printf(out, "moonring_generation %lu\n", (unsigned long)program->generation->number);
    report_write_head(out, "moonring_generations", "gauge", "Configurations that sessions are open in.");
    bytes_printf(out, "moonring_generations %zu\n", program_generations(program));
    report_write_head(out, "moonring_filters_retired", "gauge",
                      "Sets of filters that reloads have replaced and that still have sessions.");
    bytes_printf(out, "moonring_filters_retired %zu\n", retirement_count(program));
    report_write_head(out, "moonring_reloads_total", "counter", "Reloads, by what became of them.");
    bytes_printf(out, "moonring_reloads_total{result=\"applied\"} %lu\n", (unsigned long)counters->applied);
    bytes_printf(out, "moonring_reloads_total{result=\"unchanged\"} %lu\n", (unsigned long)counters->unchanged);
    bytes_printf(out, "moonring_reloads_total{result=\"refused\"} %lu\n", (unsigned long)counters->refused);
    report_write_head(out, "moonring_reload_milliseconds", "gauge", "How long the last reload took.");
    bytes_printf(out, "moonring_reload_milliseconds %lu\n", (unsigned long)counters->took_ms);
}

/* Those that found no room in a queue, and those that the target refused. */
static void write_lost_lines(const struct program *program, struct bytes *out) {
    uint64_t lost = logs_lost(&program->logs);
    for (uint32_t i = 0; i < program->crew.places_count; i++) {
        lost += program->crew.places[i].report.counters.access_lost;
    }
    report_write_head(out, "moonring_access_log_lost_lines_total", "counter", "Access log lines that were dropped.");
    bytes_printf(out, "moonring_access_log_lost_lines_total %lu\n", (unsigned long)lost);
}

/* NULL: memory is short. */
static const struct worker_report **collect_reports(struct crew *crew) {
    crew_report(crew, REPORT_MS);
    const struct worker_report **reports = calloc(crew->places_count, sizeof *reports);
    for (uint32_t i = 0; reports != NULL && i < crew->places_count; i++) {
        reports[i] = &crew->places[i].report;
    }
    return reports;
}

void program_report(struct program *program, enum report_part parts, struct bytes *out) {
    const struct generation *generation = program->generation;
    const struct worker_report **reports = collect_reports(&program->crew);
    if (reports == NULL) {
        return;
    }
    const struct report_scope scope = {.listeners = generation->listeners,
                                       .listeners_count = generation->config->listeners_count,
                                       .upstreams = generation->upstreams,
                                       .upstreams_count = generation->config->upstreams_count,
                                       .workers = reports,
                                       .workers_count = program->crew.places_count};
    if ((parts & REPORT_SESSIONS) != 0) {
        report_write_sessions(&scope, out);
    }
    if ((parts & REPORT_METRICS) != 0) {
        report_write_metrics(&scope, out);
        write_lost_lines(program, out);
        write_reloads(program, out);
        bytes_append_text(out, "# end\n");
    }
    free(reports);
}
