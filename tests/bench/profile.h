/* Whose code takes a program's CPU time, by perf: a clock of the CPU samples where it is, which works in virtual
 * machines, too. The kernel's own split (utime, stime) is a guess where it does not account at every entry. */
#ifndef MOONRING_BENCH_PROFILE_H
#define MOONRING_BENCH_PROFILE_H

#include "base/error.h"
#include "tests/bench/process.h"

#include <stdbool.h>

/* Shares of all samples, 0 to 1; all 0 when there is no profile, or nothing was recorded. */
struct profile {
    double own; /* the program's file */
    double liburing;
    double libraries; /* the others: libc, and whatever else is mapped */
    double kernel;
};

enum { PROFILE_PATH_SIZE = 600, PROFILE_CPU = 0 };

struct profiler {
    struct process perf;
    int control_fd; /* ours; orders for perf */
    int answer_fd;  /* ours; what it answers */
    char perf_path[PROFILE_PATH_SIZE];
    char file[PROFILE_PATH_SIZE]; /* what it records into */
    char name[PROFILE_PATH_SIZE]; /* of the program's file */
};

/* False, with the reason, where perf is not installed or not allowed to see the kernel. */
bool profiler_is_there(struct error *error);
/* Begins to record the program and its children, into a file in `folder` that replaces an earlier one. */
bool profiler_start(struct profiler *profiler, const struct process *process, const char *program, const char *folder,
                    struct error *error);
/* Ends it and reads what was recorded, unless `profile` is NULL. */
void profiler_stop(struct profiler *profiler, struct profile *profile);
/* perf now and then records nothing, and says so only by that. */
bool profile_is_empty(const struct profile *profile);

#endif
