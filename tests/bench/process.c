#include "tests/bench/process.h"

#include "tests/bench/clock.h"
#include "tests/bench/interrupt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATH_SIZE = 512, CHILDREN_MAX = 64 };
static const uint64_t STOP_TIMEOUT_NS = 5000000000;
static const long STOP_POLL_NS = 2000000;

/* ---- starting and stopping */

bool process_pin(int cpu, struct error *error) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < PROCESS_CPUS; i++) {
        if (cpu == i || cpu == PROCESS_ANY_CPU) {
            CPU_SET((size_t)i, &set);
        }
    }
    if (sched_setaffinity(0, sizeof set, &set) < 0) {
        return error_set(error, "cannot run on CPU %d: %s (the bench needs CPUs 0 and 1)", cpu, error_name(errno));
    }
    return true;
}

/* execv() takes the strings as they are and does not write to them. */
static _Noreturn void child_exec(const char *const *arguments) {
    execv(arguments[0], (char *const *)(uintptr_t)arguments);
    fprintf(stderr, "%s: %s\n", arguments[0], error_name(errno));
    _exit(127);
}

static _Noreturn void child_run(const char *const *arguments, int cpu, int output_fd, pid_t parent) {
    interrupt_unblock();
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(127); /* the bench died before the line above */
    }
    dup2(output_fd, STDOUT_FILENO);
    dup2(output_fd, STDERR_FILENO);
    struct error error;
    if (!process_pin(cpu, &error)) {
        fprintf(stderr, "%s\n", error.text);
        _exit(127);
    }
    child_exec(arguments);
}

bool process_start(struct process *process, const char *const *arguments, int cpu, const char *output_path,
                   struct error *error) {
    process->pid = 0;
    int output_fd = open(output_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (output_fd < 0) {
        return error_set(error, "%s: %s", output_path, error_name(errno));
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        child_run(arguments, cpu, output_fd, parent);
    }
    close(output_fd);
    if (pid < 0) {
        return error_set(error, "fork: %s", error_name(errno));
    }
    setpgid(pid, pid); /* here too: whoever comes first */
    process->pid = pid;
    return true;
}

bool process_is_alive(struct process *process) {
    if (process->pid != 0 && waitpid(process->pid, NULL, WNOHANG) == process->pid) {
        process->pid = 0;
    }
    return process->pid != 0;
}

void process_stop(struct process *process) {
    if (!process_is_alive(process)) {
        return;
    }
    pid_t pid = process->pid;
    kill(pid, SIGTERM);
    uint64_t deadline_ns = clock_now_ns() + STOP_TIMEOUT_NS;
    while (process_is_alive(process) && clock_now_ns() < deadline_ns) {
        nanosleep(&(struct timespec){.tv_nsec = STOP_POLL_NS}, NULL);
    }
    kill(-pid, SIGKILL); /* the rest of its group, if any */
    if (process->pid != 0) {
        waitpid(pid, NULL, 0);
        process->pid = 0;
    }
}

/* ---- measuring */

/* Reads a small file of /proc; an empty text when it is gone. */
static void file_read(const char *path, char *text, size_t text_size) {
    text[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    ssize_t size = read(fd, text, text_size - 1);
    text[size > 0 ? size : 0] = 0;
    close(fd);
}

struct family {
    pid_t pids[CHILDREN_MAX];
    size_t count;
};

static void family_add_children_of_thread(struct family *family, pid_t pid, const char *thread) {
    char path[PATH_SIZE];
    char text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", pid, thread);
    file_read(path, text, sizeof text);
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        if (family->count < CHILDREN_MAX) {
            family->pids[family->count++] = (pid_t)strtol(word, NULL, 10);
        }
    }
}

static void family_add_children(struct family *family, pid_t pid) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            family_add_children_of_thread(family, pid, entry->d_name);
        }
    }
    closedir(folder);
}

/* The process, its children, theirs, and so on. */
static struct family family_of(const struct process *process) {
    struct family family = {.pids = {process->pid}, .count = 1};
    for (size_t i = 0; i < family.count; i++) {
        family_add_children(&family, family.pids[i]);
    }
    return family;
}

uint64_t process_cpu_ns(const struct process *process) {
    uint64_t cpu_ns = 0;
    struct family family = family_of(process);
    for (size_t i = 0; i < family.count; i++) {
        clockid_t clock;
        /* The sum of all its threads' schedstat, but exact for a thread that runs now and with those that ended. */
        if (clock_getcpuclockid(family.pids[i], &clock) == 0) {
            cpu_ns += clock_read_ns(clock);
        }
    }
    return cpu_ns;
}

void process_list(const struct process *process, struct bytes *numbers) {
    struct family family = family_of(process);
    for (size_t i = 0; i < family.count; i++) {
        bytes_printf(numbers, "%s%d", i == 0 ? "" : ",", family.pids[i]);
    }
}

uint64_t process_memory(const struct process *process) {
    uint64_t kilobytes = 0;
    struct family family = family_of(process);
    for (size_t i = 0; i < family.count; i++) {
        char path[PATH_SIZE];
        char text[2048];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", family.pids[i]);
        file_read(path, text, sizeof text);
        const char *line = strstr(text, "\nRss:");
        if (line != NULL) {
            kilobytes += strtoull(line + strlen("\nRss:"), NULL, 10);
        }
    }
    return kilobytes * 1024;
}

/* ---- short commands */

static void output_read(int fd, struct bytes *output) {
    char piece[4096];
    ssize_t size = read(fd, piece, sizeof piece);
    while (size > 0) {
        bytes_append(output, piece, (size_t)size);
        size = read(fd, piece, sizeof piece);
    }
}

bool process_capture(const char *const *arguments, struct bytes *output) {
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) {
        interrupt_unblock();
        dup2(pipe_fds[1], STDOUT_FILENO);
        dup2(pipe_fds[1], STDERR_FILENO);
        child_exec(arguments);
    }
    close(pipe_fds[1]);
    if (pid > 0) {
        output_read(pipe_fds[0], output);
    }
    close(pipe_fds[0]);
    int status = -1;
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool path_join(const char *folder, size_t folder_size, const char *name, char *path, size_t path_size) {
    int size = snprintf(path, path_size, "%.*s/%s", (int)folder_size, folder, name);
    return size > 0 && (size_t)size < path_size && access(path, X_OK) == 0;
}

bool process_find(const char *name, char *path, size_t path_size) {
    if (strchr(name, '/') != NULL) {
        return path_join(name[0] == '/' ? "" : ".", name[0] == '/' ? 0 : 1, name[0] == '/' ? name + 1 : name, path,
                         path_size);
    }
    char folders[4096];
    const char *search = getenv("PATH");
    snprintf(folders, sizeof folders, "%s:/usr/sbin:/sbin:/usr/local/sbin", search == NULL ? "/usr/bin" : search);
    char *rest = NULL;
    for (char *folder = strtok_r(folders, ":", &rest); folder != NULL; folder = strtok_r(NULL, ":", &rest)) {
        if (path_join(folder, strlen(folder), name, path, path_size)) {
            return true;
        }
    }
    return false;
}
