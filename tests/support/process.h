/* Another program, run by a test: what it writes is kept, waiting has a deadline, and it is killed with everything it
 * started when the test is over, however it ends. With TEST_ENDS_GENTLY in the environment it is asked to end before it
 * is killed, so that it can still write down which of its lines have run. */
#ifndef MOONRING_TESTS_PROCESS_H
#define MOONRING_TESTS_PROCESS_H

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a program wrote to one of its two streams. */
struct process_stream {
    int fd;            /* a file in memory that the program appends to: it never waits for its reader */
    struct bytes text; /* what was read of it up to now */
    size_t next;       /* where the line begins that process_wait_line looks at next */
    char line[8192];   /* the one it returned last */
};

struct process {
    const char *name;
    pid_t pid; /* also its session and process group */
    int pidfd; /* becomes readable when it ends */
    int guard;
    struct process_stream output;
    struct process_stream errors;
    char last_words[4096];
};

/* Runs in the new process before the program is executed: limits, environment, user. NULL: nothing to do. */
typedef void process_prepare_fn(void);

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Starts arguments[0], looked up in PATH. When it is not installed, the wait for it fails the test and says so. */
void process_start(struct process *process, process_prepare_fn *prepare, const char *const arguments[]);
void process_signal(struct process *process, int signal);
/* Waits for its end, at most DEADLINE_MS, and returns its exit code, or 128 + the signal that killed it. */
int process_wait(struct process *process);
int process_wait_at_most(struct process *process, int milliseconds);
/* True when it has not ended. */
bool process_is_running(const struct process *process);
/* Kills it with all that it started. */
void process_kill(struct process *process);

/* All that was written up to now. Valid until the next call for this stream. */
const char *process_text(struct process_stream *stream);
/* The end of what was written to both streams, for the text of a failure. Valid until the next call. */
const char *process_last_words(struct process *process);
/* Waits for a line that contains `wanted` among those not yet looked at and steps behind it. Returns it without the
 * newline; it is valid until the next call for this stream. Fails the test when the deadline passes or the program
 * ends without it. */
const char *process_wait_line(struct process *process, struct process_stream *stream, const char *wanted);
/* How many lines written up to now contain `wanted`. */
size_t process_count_lines(struct process_stream *stream, const char *wanted);

/* Runs a program to its end (at most 60 s), fails the test unless its exit code is 0, and leaves its output in
 * `process` for process_text. */
void process_run(struct process *process, const char *const arguments[]);

/* Nanoseconds of CPU that all its threads have used, the kernel threads of its rings included. */
uint64_t process_cpu_ns(const struct process *process);
/* The least that it used in one of several stretches of `milliseconds`, ending with the first one below `enough_ns`:
 * what burns the CPU while it waits does so in each, and who only had something to finish, on a machine that is busy,
 * not. */
uint64_t process_idle_cpu_ns(const struct process *process, int milliseconds, uint64_t enough_ns);
/* Resident memory in KiB. */
uint64_t process_memory_kib(const struct process *process);
size_t process_descriptors_count(const struct process *process);
size_t process_threads_count(const struct process *process);

#endif
