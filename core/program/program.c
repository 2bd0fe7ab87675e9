#include "program/program.h"

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "engine/ring.h"
#include "program/change.h"
#include "program/exporter.h"
#include "program/listing.h"
#include "program/metrics.h"
#include "program/privileges.h"
#include "program/retirement.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert((int)ADMIN_CLIENTS_MAX < (int)ENGINE_WALKS_MAX,
               "each client of the admin socket has its walk, SIGUSR2 the last");

enum {
    WATCHDOG_TICK_MS = 10, /* how often it looks at who runs scripts */
    REPORT_MS = 5000,      /* a worker that takes longer for a turn has no news */
};

/* --- life ------------------------------------------------------------------------------------------------------- */

void program_init(struct program *program, bool trace, const struct admin_service *service) {
    *program = (struct program){.trace = trace, .crew = {.event_fd = -1}, .started_ms = kernel_now_ns() / 1000000};
    check(pthread_mutex_init(&program->view_lock, NULL) == 0);
    program->logs.view_lock = &program->view_lock;
    admin_init(&program->admin, service);
    list_init(&program->retired);
    sockets_init(&program->sockets);
    keeper_init(&program->keeper);
}

/* Only the control thread keeps a right, whoever gave it: we as root, or systemd (AmbientCapabilities=). Root that is
 * to stay root reads files and reaches sockets of others by its capabilities: there all threads keep them. */
static bool threads_drop_rights(const struct config *config) {
    return config->process.user != NULL || geteuid() != 0;
}

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
    program->logs.thread_begins = threads_drop_rights(config) ? drop_rights : NULL;
    log_set_level(config->log.error_level);
    if (!log_open(config->log.error_target, error)) {
        return error_prefix(error, "log.error.target: ");
    }
    if (user == NULL && privileges_warning() != NULL) {
        log_warn("%s", privileges_warning());
    }
    return true;
}

struct beginning {
    struct program *program;
    bool drops_rights;
    struct error *error;
};

static void errand_begin(void *argument) {
    const struct beginning *beginning = argument;
    struct program *program = beginning->program;
    if (beginning->drops_rights) {
        drop_rights();
    }
    program->is_watched = watch_join(&program->watch, program->watchdog, beginning->error);
}

static bool program_watch(struct program *program, const struct config *config, struct error *error) {
    struct beginning beginning = {program, threads_drop_rights(config), error};
    program->watchdog = watchdog_create(WATCHDOG_TICK_MS, beginning.drops_rights ? drop_rights : NULL, error);
    courtesy_open(&program->courtesy);
    if (program->watchdog == NULL || !errand_start(&program->errand, &program->courtesy, error)) {
        return false;
    }
    errand_run(&program->errand, errand_begin, &beginning);
    return program->is_watched;
}

static bool program_hire(struct program *program, const struct config *config, struct error *error) {
    struct crew_options options = {.drop_rights = threads_drop_rights(config),
                                   .io = config->io,
                                   .watchdog = program->watchdog,
                                   .sockets = &program->sockets,
                                   .view_lock = &program->view_lock};
    return ring_probe(&options.features, error) && crew_init(&program->crew, &options, error) &&
           keeper_open(&program->keeper, &program->crew, error);
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

/* For metrics: who reads them does not look at the retired generations themselves. */
static void program_note(struct program *program) {
    counter_set(&program->counters.generations, program_generations(program));
    counter_set(&program->counters.filters_retired, retirement_count(program));
}

static bool program_start_with(struct program *program, struct held_config *held, struct config_report *report) {
    struct generation *first =
        program_open(program, held->config, report) ? change_prepare(program, held, report) : NULL;
    bool starts = first != NULL && change_listen(program, first, report);
    if (starts) {
        change_commit(program, first);
        counter_set(&program->counters.succeeded_s, kernel_wall_ms() / 1000);
        program_note(program);
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

static void errand_destroy(void *argument) {
    generation_destroy(argument);
}

void program_forget(struct program *program, struct generation *generation) {
    if (generation != NULL) {
        errand_run(&program->errand, errand_destroy, generation);
    }
}

static void errand_end(void *argument) {
    watch_leave(argument);
}

void program_finish(struct program *program) {
    exporter_destroy(program->exporter); /* first: it looks at all the rest */
    crew_finish(&program->crew);
    keeper_finish(&program->keeper);
    list_for_each (link, &program->retired) {
        program_forget(program, container_of(link, struct generation, link));
    }
    program_forget(program, program->generation);
    held_config_drop(program->previous);
    fingerprints_finish(&program->previous_files);
    sockets_finish(&program->sockets);
    admin_finish(&program->admin);
    logs_finish(&program->logs);
    if (program->is_watched) {
        errand_run(&program->errand, errand_end, &program->watch);
    }
    errand_finish(&program->errand);
    courtesy_close(&program->courtesy);
    watchdog_destroy(program->watchdog);
    pthread_mutex_destroy(&program->view_lock);
}

/* --- what has ended --------------------------------------------------------------------------------------------- */

static void errand_tend(void *argument) {
    struct program *program = argument;
    list_for_each (link, &program->retired) {
        struct generation *generation = container_of(link, struct generation, link);
        generation_tend(generation);
        if (generation_is_over(generation)) {
            generation_destroy(generation);
        }
    }
}

/* The errand's thread is slow where workers are busy: it is not asked in vain. */
static bool retired_have_news(const struct program *program) {
    const struct link *head = &program->retired.head;
    for (const struct link *link = head->next; link != head; link = link->next) {
        if (generation_has_news(container_of((uintptr_t)link, struct generation, link))) {
            return true;
        }
    }
    return false;
}

uint64_t program_tend(struct program *program) {
    enum { LOOK_AGAIN_MS = 50 };
    uint64_t now_ms = kernel_now_ns() / 1000000;
    if (retired_have_news(program)) {
        errand_run(&program->errand, errand_tend, program);
    }
    crew_tend(&program->crew);
    uint64_t at_ms = retirement_enforce(program, now_ms);
    uint64_t keeper_ms = keeper_turn(&program->keeper, now_ms);
    at_ms = keeper_ms < at_ms ? keeper_ms : at_ms;
    bool more = logs_sweep(&program->logs);
    program_note(program);
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

uint64_t program_sessions(const struct generation *generation) {
    uint64_t sessions = 0;
    for (uint32_t worker = 0; worker < generation->workers; worker++) {
        sessions += epoch_sessions(generation->parts[worker].epoch);
    }
    return sessions;
}

uint64_t program_sessions_before(struct program *program) {
    uint64_t sessions = 0;
    list_for_each (link, &program->retired) {
        sessions += program_sessions(container_of(link, struct generation, link));
    }
    return sessions;
}

uint64_t program_lost_lines(const struct program *program) {
    uint64_t lost = logs_lost(&program->logs);
    for (uint32_t place = 0; place < program->crew.places_count; place++) {
        lost += crew_numbers(&program->crew, place).access_lost;
    }
    return lost;
}

/* All of them at once: the error log waits for nobody. */
static void report_sessions(struct program *program, struct bytes *out) {
    const struct selection everything = {.generation_max = UINT64_MAX};
    struct listing listing;
    struct error error;
    enum listing_result result = LISTING_GOES_ON;
    if (!listing_begin(&listing, &program->crew, &everything, LOOK_LINES, ADMIN_CLIENTS_MAX, 0)) {
        return;
    }
    while (result == LISTING_GOES_ON) {
        result = listing_go_on(&listing, out, &error);
    }
    if (result == LISTING_FAILED) {
        log_warn("%s: some of its sessions are not told of", error.text);
    }
    listing_end(&listing);
    crew_describe_filters(&program->crew, REPORT_MS, out);
}

void program_report(struct program *program, enum report_part parts, struct bytes *out) {
    if ((parts & REPORT_SESSIONS) != 0) {
        report_sessions(program, out);
    }
    if ((parts & REPORT_METRICS) != 0) {
        metrics_write(program, out);
        bytes_append_text(out, "# end\n");
    }
}
