/* From one configuration to the next, on the control thread: everything that can fail is done aside, while the workers
 * serve; then comes the commit, which cannot. */
#ifndef MOONRING_PROGRAM_RELOAD_H
#define MOONRING_PROGRAM_RELOAD_H

#include "config/load.h"
#include "program/program.h"

#include <stdbool.h>
#include <stdint.h>

enum reload_result { RELOAD_APPLIED, RELOAD_UNCHANGED, RELOAD_REFUSED };

/* An attempt, and what became of it. */
struct reload {
    enum reload_result result;
    bool is_plan;                /* nothing is changed, whatever the result says */
    uint64_t generation;         /* at work now */
    uint64_t began_ns;           /* of the monotonic clock: at reload_init, before the configuration is read */
    uint64_t took_ms;            /* from then on */
    struct bytes difference;     /* what changes, in one line */
    struct bytes wishes;         /* what operators want of servers, which no reload changes */
    struct config_report report; /* what is wrong, and warnings */
    struct fingerprints files;   /* that it names, as they were before they were used */
    struct held_config *held;    /* counted; what was wanted, as far as it could be loaded; or NULL */
    uint64_t sessions_before;    /* that go on in earlier generations */
};

void reload_init(struct reload *reload);
void reload_finish(struct reload *reload);

/* Prepares, and unless it is a plan, commits. Takes over the configuration; NULL: it could not be loaded, which the
 * report says already. */
void reload_run(struct reload *reload, struct program *program, struct config *config);
/* The same with the configuration before this one. */
void reload_back(struct reload *reload, struct program *program);

/* Appends what became of it, for the log and for `moonring ctl`: what is wrong, then a line. */
void reload_describe(const struct reload *reload, struct bytes *out);
/* The same as one JSON object. */
void reload_to_json(const struct reload *reload, struct bytes *out);

#endif
