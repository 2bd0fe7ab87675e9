#include "program/change.h"

#include "base/log.h"
#include "program/exporter.h"

#include <sched.h>
#include <string.h>
#include <sys/resource.h>

enum {
    ANSWER_MS = 5000,          /* a worker that takes longer for a turn is in no state for a change */
    DESCRIPTORS_RESERVED = 64, /* rings, listening sockets, logs, pipes */
    CONNECTIONS_MAX = 10000000,
};

/* --- sizes ------------------------------------------------------------------------------------------------------ */

static uint32_t workers_count(const struct config *config) {
    if (config->process.workers != 0) {
        return config->process.workers;
    }
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (uint32_t)count : 1;
}

static uint64_t descriptors_raise(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/* A session needs two descriptors. */
static uint32_t connections_possible(uint64_t descriptors) {
    uint64_t reserved = descriptors / 4 < DESCRIPTORS_RESERVED ? descriptors / 4 : DESCRIPTORS_RESERVED;
    uint64_t possible = (descriptors - reserved) / 2;
    return possible < 1 ? 1 : possible > CONNECTIONS_MAX ? CONNECTIONS_MAX : (uint32_t)possible;
}

static void tell_connections_max(uint32_t wanted, uint32_t possible, uint64_t descriptors) {
    if (wanted == 0) {
        log_info("max_connections: %u, from the limit of %lu descriptors", possible, (unsigned long)descriptors);
    } else if (wanted > possible) {
        log_warn("process.max_connections is %u, but the limit of %lu descriptors allows only %u, which is used: raise "
                 "it (`ulimit -n`, systemd: LimitNOFILE=)",
                 wanted, (unsigned long)descriptors, possible);
    }
}

static void set_connections_max(struct program *program, const struct generation *next) {
    uint64_t descriptors = descriptors_raise();
    program->keeper.checks_max = keeper_descriptors(next, descriptors);
    uint32_t possible = connections_possible(descriptors - program->keeper.checks_max);
    uint32_t wanted = next->config->process.connections_max;
    uint32_t max = wanted == 0 || wanted > possible ? possible : wanted;
    if (atomic_exchange(&program->process.max, max) != max) {
        tell_connections_max(wanted, possible, descriptors);
    }
}

/* --- preparing -------------------------------------------------------------------------------------------------- */

static const struct config_log *log_before(const struct program *program) {
    return program->generation == NULL ? NULL : &program->generation->config->log;
}

static bool prepare_logs(struct program *program, const struct config_log *config, struct held_log **access_log,
                         struct error *error) {
    const struct config_log *before = log_before(program);
    *access_log = NULL;
    if (config->access_target != NULL) {
        *access_log = logs_open(&program->logs, config->access_target, error);
        if (*access_log == NULL) {
            return error_prefix(error, "log.access.target: ");
        }
    }
    bool moves = before == NULL || strcmp(before->error_target, config->error_target) != 0;
    return !moves || log_prepare(config->error_target, error) || error_prefix(error, "log.error.target: ");
}

/* The one that is there stays if it is to listen on the same address. */
static bool prepare_exporter(struct program *program, const struct config_metrics *config, struct error *error) {
    const struct config_bind *bind = config->binds_count == 0 ? NULL : &config->binds[0];
    bool stays = program->exporter != NULL && bind != NULL && exporter_is_for(program->exporter, bind);
    program->exporter_goes = !stays;
    program->exporter_next =
        stays || bind == NULL ? NULL : exporter_create(program, bind, program->logs.thread_begins, error);
    program->sockets.metrics[0] = exporter_address(program->exporter);
    program->sockets.metrics[1] = exporter_address(program->exporter_next);
    return stays || bind == NULL || program->exporter_next != NULL;
}

static void commit_exporter(struct program *program) {
    if (program->exporter_goes) {
        exporter_destroy(program->exporter);
        program->exporter = program->exporter_next;
    }
    if (program->exporter_next != NULL) {
        exporter_begin(program->exporter_next);
    }
    program->exporter_next = NULL;
}

static void abandon_exporter(struct program *program) {
    exporter_destroy(program->exporter_next);
    program->exporter_next = NULL;
}

/* It may have been told to stop while an errand took its time: workers that stop adopt nothing. */
static bool is_wanted(const struct program *program, struct error *error) {
    return !atomic_load(&program->stopping) || error_set(error, "moonring is stopping");
}

static bool prepare_workers(struct program *program, struct generation *next, struct error *error) {
    return is_wanted(program, error) && keeper_prepare(&program->keeper, next, error) &&
           admin_prepare(&program->admin, &next->config->admin, error) &&
           prepare_exporter(program, &next->config->metrics, error) &&
           sockets_prepare(&program->sockets, next->config, next->workers, error) &&
           crew_prepare(&program->crew, next, next->workers, error) && crew_answers(&program->crew, ANSWER_MS, error);
}

static void report_say(struct config_report *report, const struct error *error) {
    bytes_printf(&report->text, "%s\n", error->text);
}

struct making {
    struct held_config *held;
    const struct generation *before;
    struct generation_options options;
    struct config_report *report;
    struct generation *made;
};

static void errand_make(void *argument) {
    struct making *making = argument;
    making->made = generation_create(making->held, making->before, &making->options, making->report);
}

static struct generation *make_generation(struct program *program, struct making *making) {
    errand_run_apart(&program->errand, errand_make, making);
    return making->made;
}

struct generation *change_prepare(struct program *program, struct held_config *held, struct config_report *report) {
    struct making making = {.held = held,
                            .before = program->generation,
                            .options = {.workers = workers_count(held->config),
                                        .process = &program->process,
                                        .watch = &program->watch,
                                        .trace = program->trace,
                                        .give_up = &program->stopping},
                            .report = report};
    struct error error;
    struct generation *next = NULL;
    if (!prepare_logs(program, &held->config->log, &making.options.access_log, &error)) {
        report_say(report, &error);
    } else if ((next = make_generation(program, &making)) != NULL && prepare_workers(program, next, &error)) {
        return next;
    } else if (next != NULL) {
        report_say(report, &error);
    }
    change_abandon(program, next);
    return NULL;
}

bool change_listen(struct program *program, struct generation *next, struct config_report *report) {
    struct error error;
    bool listens = is_wanted(program, &error) && sockets_listen(&program->sockets, next->config, &error);
    if (!listens) {
        report_say(report, &error);
        change_abandon(program, next);
    }
    return listens;
}

void change_abandon(struct program *program, struct generation *next) {
    crew_abandon(&program->crew);
    if (next != NULL) {
        keeper_abandon(&program->keeper, next);
    }
    sockets_abandon(&program->sockets);
    admin_abandon(&program->admin);
    abandon_exporter(program);
    program_forget(program, next);
    log_abandon();
    logs_sweep(&program->logs);
}

/* --- committing ------------------------------------------------------------------------------------------------- */

static void retire(struct program *program, struct generation *before) {
    before->replaced_ms = kernel_now_ns() / 1000000;
    list_append(&program->retired, &before->link);
    held_config_drop(program->previous);
    program->previous = held_config_hold(before->held);
    fingerprints_finish(&program->previous_files);
    program->previous_files = before->files;
    before->files = (struct fingerprints){.items = NULL};
}

void change_commit(struct program *program, struct generation *next) {
    struct generation *before = program->generation;
    const struct config *config = next->config;
    log_commit();
    log_set_level(config->log.error_level);
    set_connections_max(program, next);
    generation_commit(next);
    sockets_commit(&program->sockets, config);
    admin_commit(&program->admin, &config->admin);
    crew_commit(&program->crew);
    keeper_commit(&program->keeper, next);
    next->began_ms = kernel_now_ns() / 1000000;
    pthread_mutex_lock(&program->view_lock);
    program->generation = next;
    pthread_mutex_unlock(&program->view_lock);
    commit_exporter(program);
    if (before != NULL) {
        retire(program, before);
    }
}
