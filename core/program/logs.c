#include "program/logs.h"

#include "base/log.h"

#include <string.h>

static bool is_wanted(const struct config_log *config, enum config_access_event event) {
    for (size_t i = 0; i < config->access_when_count; i++) {
        if (config->access_when[i] == (uint32_t)event) {
            return true;
        }
    }
    return false;
}

struct access_lines logs_lines(const struct config_log *config) {
    return (struct access_lines){.at_open = is_wanted(config, ACCESS_AT_OPEN),
                                 .not_at_close = !is_wanted(config, ACCESS_AT_CLOSE),
                                 .every_us = config->access_every_ms * 1000,
                                 .skip_empty = config->access_skip_empty,
                                 .tcp_info = config->access_tcp_info};
}

struct held_log *logs_open(struct logs *logs, const char *target, struct error *error) {
    struct held_log *place = NULL;
    for (size_t i = 0; i < LOGS_MAX; i++) {
        struct held_log *held = &logs->held[i];
        if (held->log == NULL) {
            place = held;
        } else if (strcmp(access_log_target(held->log), target) == 0) {
            return held;
        }
    }
    if (place == NULL) {
        error_set(error, "log.access: %d access logs are still written to by sessions that began with them", LOGS_MAX);
        return NULL;
    }
    struct access_log *log = access_log_create(target, logs->thread_begins, error);
    pthread_mutex_lock(logs->view_lock);
    place->log = log;
    pthread_mutex_unlock(logs->view_lock);
    return log == NULL ? NULL : place;
}

static void logs_close(struct logs *logs, struct held_log *held) {
    struct access_log *log = held->log;
    pthread_mutex_lock(logs->view_lock);
    logs->lost += access_log_lost(log);
    held->log = NULL;
    pthread_mutex_unlock(logs->view_lock);
    access_log_destroy(log);
}

bool logs_sweep(struct logs *logs) {
    bool more = false;
    for (size_t i = 0; i < LOGS_MAX; i++) {
        struct held_log *held = &logs->held[i];
        if (held->log == NULL || held->generations > 0) {
            continue;
        }
        if (access_log_has_no_queue(held->log)) {
            logs_close(logs, held);
        } else {
            more = true;
        }
    }
    return more;
}

uint64_t logs_lost(const struct logs *logs) {
    uint64_t lost = logs->lost;
    for (size_t i = 0; i < LOGS_MAX; i++) {
        lost += logs->held[i].log == NULL ? 0 : access_log_lost(logs->held[i].log);
    }
    return lost;
}

void logs_reopen(const struct logs *logs) {
    struct error error;
    if (log_reopen(&error)) {
        log_info("error log: opened again");
    } else {
        log_error("%s", error.text);
    }
    for (size_t i = 0; i < LOGS_MAX; i++) {
        if (logs->held[i].log != NULL) {
            access_log_reopen(logs->held[i].log);
        }
    }
}

void logs_finish(struct logs *logs) {
    for (size_t i = 0; i < LOGS_MAX; i++) {
        access_log_destroy(logs->held[i].log);
        logs->held[i].log = NULL;
    }
}
