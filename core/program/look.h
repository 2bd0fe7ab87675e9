/* A look at a worker's sessions on its thread, in portions so small that the traffic does not notice: what is found is
 * written down, or closed. */
#ifndef MOONRING_PROGRAM_LOOK_H
#define MOONRING_PROGRAM_LOOK_H

#include "base/bytes.h"
#include "engine/worker.h"
#include "program/selection.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum look_action {
    LOOK_CELLS, /* a row of a table for people, its cells separated by tabs */
    LOOK_JSON,  /* an object in one line */
    LOOK_LINES, /* as SIGUSR2 prints them */
    LOOK_KILL,
};

enum { LOOK_ROWS_MAX = 64 };

struct look {
    struct selection selection;
    enum look_action action;
    uint32_t walk; /* its number on each worker */
    bool begins;   /* this is the first portion */
};

struct look_row {
    uint64_t started_us; /* of the session */
    size_t end;          /* of its text */
};

/* What one portion brought, the oldest session first. */
struct portion {
    struct bytes text;
    struct look_row rows[LOOK_ROWS_MAX];
    size_t rows_count;
    uint64_t killed;
    bool is_last;
};

void portion_init(struct portion *portion);
void portion_finish(struct portion *portion);
void portion_clear(struct portion *portion);

/* The names of the cells. */
const char *look_head(void);
/* On the worker's thread. Fills the portion anew. */
void look_run(const struct look *look, struct worker *worker, struct portion *portion);

#endif
