/* What clients saw of a program that reloaded under load, and what it took: a row of a table, the same for all
 * programs. */
#ifndef MOONRING_TESTS_TORTURE_H
#define MOONRING_TESTS_TORTURE_H

#include "tests/support/crowd.h"
#include "tests/support/process.h"
#include "tests/support/residents.h"

#include <stddef.h>
#include <stdint.h>

/* Of a process and all that belong to its group. */
struct footprint {
    size_t processes;
    uint64_t resident_kib; /* memory that several of them share is counted for each, */
    uint64_t share_kib;    /* and here once (PSS) */
};

struct footprint footprint_take(const struct process *process);

struct torture_row {
    const char *name;
    size_t reloads;
    const struct crowd *crowds; /* one for each listener, */
    const struct residents *residents;
    size_t listeners; /* of these */
    struct footprint before;
    struct footprint after;
};

/* Prints it to stderr and appends it to the file that the environment variable TORTURE_TABLE names, if there is one. */
void torture_print(const struct torture_row *row);

#endif
