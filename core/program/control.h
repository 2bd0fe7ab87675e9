/* The control thread: starts everything, obeys signals, reloads, ends everything. */
#ifndef MOONRING_PROGRAM_CONTROL_H
#define MOONRING_PROGRAM_CONTROL_H

#include "config/config.h"
#include "config/load.h"

struct control_options {
    /* Reads the configuration again; when it answers NULL the report says what is wrong. NULL: it cannot be read
     * again. */
    struct config *(*load)(void *argument, struct config_report *report);
    void *argument;
    bool trace; /* filters log each entry */
};

/* Runs until a signal ends it; to be called by the only thread there is. Takes over config. Messages go to the error
 * log. Returns the process' exit status: 0; 1 when it could not start, or failed; 2 when a filter is wrong. */
int control_run(const struct control_options *options, struct config *config);

#endif
