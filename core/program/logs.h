/* The logs while the program runs: a reload may send them elsewhere. The error log has one target at a time. Of access
 * logs there may be several: a session is told of where it would have been when it began, so an old log goes when the
 * last generation that writes to it has gone. All of it on the control thread. */
#ifndef MOONRING_PROGRAM_LOGS_H
#define MOONRING_PROGRAM_LOGS_H

#include "base/error.h"
#include "engine/access_log.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An access log that is open. */
struct held_log {
    struct access_log *log; /* ours; NULL: this place is free */
    uint32_t generations;   /* that write to it: they count themselves */
};

enum { LOGS_MAX = 16 };

struct logs {
    struct held_log held[LOGS_MAX];
    uint64_t lost;               /* lines that those which were closed had lost */
    void (*thread_begins)(void); /* see access_log_create */
    pthread_mutex_t *view_lock;  /* the program's; held while the two above change */
};

/* Which lines the configuration wants. */
struct access_lines logs_lines(const struct config_log *config);

/* The log of that target, opened if it is not yet. NULL: the error says why. */
struct held_log *logs_open(struct logs *logs, const char *target, struct error *error);
/* Closes those that no generation has any more and whose lines are all written. True: some have lines still. */
bool logs_sweep(struct logs *logs);
/* Lines that were lost because a target refused them. Any thread that holds the view lock. */
uint64_t logs_lost(const struct logs *logs);
/* Opens the files again by their paths, the error log's too. */
void logs_reopen(const struct logs *logs);
/* Writes out what there is, for a while. */
void logs_finish(struct logs *logs);

#endif
