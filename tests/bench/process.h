/* A program under test: started on one CPU, measured with all its children and threads, ended for certain. */
#ifndef MOONRING_BENCH_PROCESS_H
#define MOONRING_BENCH_PROCESS_H

#include "base/bytes.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    pid_t pid; /* also its process group; 0: none */
};

enum { PROCESS_CPUS = 2, PROCESS_ANY_CPU = -1 }; /* the CPUs that the bench uses, from 0; and: on any of them */

/* Starts arguments[0] (a path) on `cpu` with stdout and stderr in the file `output_path`. When exec fails, the reason
 * stands there. The program gets SIGTERM when the bench dies. */
bool process_start(struct process *process, const char *const *arguments, int cpu, const char *output_path,
                   struct error *error);
bool process_is_alive(struct process *process);
/* SIGTERM, then after five seconds SIGKILL, to the program and what it started; returns when it is gone. */
void process_stop(struct process *process);

/* CPU time since its start: all threads (also those that ended, and the kernel's threads of its rings), all children
 * that live. */
uint64_t process_cpu_ns(const struct process *process);
/* The numbers of the program and its children, with commas. */
void process_list(const struct process *process, struct bytes *numbers);
/* The resident user memory, in bytes. */
uint64_t process_memory(const struct process *process);

/* Runs a short command and appends what it prints (stdout and stderr). False when it cannot be started or fails. */
bool process_capture(const char *const *arguments, struct bytes *output);
/* The path of a program: a name with a slash is one; else PATH is searched, then the folders of system programs. */
bool process_find(const char *name, char *path, size_t path_size);
/* Keeps the calling thread on `cpu`. */
bool process_pin(int cpu, struct error *error);

#endif
