#include "tests/support/process.h"

#include "tests/support/deadline.h"
#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_FOUND = 127 };

static void stream_open(struct process_stream *stream, const char *name) {
    stream->fd = memfd_create(name, MFD_CLOEXEC);
    cr_assert(stream->fd >= 0);
    fcntl(stream->fd, F_SETFL, O_APPEND);
    bytes_init(&stream->text);
    stream->next = 0;
}

/* To moonring, the second SIGTERM says: at once. */
static void group_ask_to_end(pid_t group) {
    enum { ENDS_WITHIN_MS = 3000, BETWEEN_MS = 20 };
    for (int waited_ms = 0; waited_ms < ENDS_WITHIN_MS && kill(-group, SIGTERM) == 0; waited_ms += BETWEEN_MS) {
        deadline_pause(BETWEEN_MS);
    }
}

static void group_kill(const void *subject) {
    const pid_t *pid = subject;
    if (getenv("TEST_ENDS_GENTLY") != NULL) {
        group_ask_to_end(*pid);
    }
    kill(-*pid, SIGKILL);
}

_Noreturn static void program_execute(const struct process *process, process_prepare_fn *prepare,
                                      const char *const arguments[]) {
    setsid();
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(process->output.fd, STDOUT_FILENO);
    dup2(process->errors.fd, STDERR_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    /* The test runner may have blocked or ignored some. */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (prepare != NULL) {
        prepare();
    }
    /* execvp changes no argument, it only lacks the const for the sake of old callers. */
    execvp(arguments[0], (char *const *)(uintptr_t)arguments);
    fprintf(stderr, "cannot execute %s: %s; `make packages-test` installs what the tests need\n", arguments[0],
            strerror(errno));
    _exit(EXIT_NOT_FOUND);
}

void process_start(struct process *process, process_prepare_fn *prepare, const char *const arguments[]) {
    process->name = arguments[0];
    stream_open(&process->output, "output");
    stream_open(&process->errors, "errors");
    process->pid = fork();
    cr_assert(process->pid >= 0);
    if (process->pid == 0) {
        program_execute(process, prepare, arguments);
    }
    process->pidfd = pidfd_open(process->pid, 0);
    cr_assert(process->pidfd >= 0);
    process->guard = guard_start(group_kill, &process->pid);
}

void process_signal(struct process *process, int signal) {
    cr_assert(pidfd_send_signal(process->pidfd, signal, NULL, 0) == 0, "cannot signal %s: %m", process->name);
}

static bool process_ended_by(const struct process *process, uint64_t deadline_ms) {
    struct pollfd end = {.fd = process->pidfd, .events = POLLIN};
    return poll(&end, 1, deadline_left_ms(deadline_ms)) == 1;
}

bool process_is_running(const struct process *process) {
    return !process_ended_by(process, 0);
}

int process_wait_at_most(struct process *process, int milliseconds) {
    cr_assert(process_ended_by(process, deadline_after(milliseconds)),
              "%s did not end within %d ms; its last words:\n%s", process->name, milliseconds,
              process_last_words(process));
    int status = 0;
    cr_assert(waitpid(process->pid, &status, 0) == process->pid);
    guard_release(process->guard);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    cr_assert(code != EXIT_NOT_FOUND, "%s", process_text(&process->errors));
    return code;
}

int process_wait(struct process *process) {
    return process_wait_at_most(process, DEADLINE_MS);
}

void process_kill(struct process *process) {
    kill(-process->pid, SIGKILL);
    process_wait(process);
}

/* --- what it wrote ----------------------------------------------------------------------------------------------- */

const char *process_text(struct process_stream *stream) {
    char piece[65536];
    for (;;) {
        ssize_t size = pread(stream->fd, piece, sizeof(piece), (off_t)stream->text.size);
        if (size <= 0) {
            return stream->text.data;
        }
        bytes_append(&stream->text, piece, (size_t)size);
    }
}

static const char *stream_end(struct process_stream *stream, size_t size) {
    const char *text = process_text(stream);
    return stream->text.size <= size ? text : text + stream->text.size - size;
}

const char *process_last_words(struct process *process) {
    size_t half = sizeof(process->last_words) / 2 - 1;
    snprintf(process->last_words, sizeof(process->last_words), "%s%s", stream_end(&process->output, half),
             stream_end(&process->errors, half));
    return process->last_words;
}

/* The next whole line, or NULL. */
static const char *stream_next_line(struct process_stream *stream) {
    const char *start = process_text(stream) + stream->next;
    const char *end = strchr(start, '\n');
    if (end == NULL) {
        return NULL;
    }
    size_t length = (size_t)(end - start);
    stream->next += length + 1;
    snprintf(stream->line, sizeof(stream->line), "%.*s", (int)length, start);
    return stream->line;
}

const char *process_wait_line(struct process *process, struct process_stream *stream, const char *wanted) {
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS);;) {
        bool running = process_is_running(process); /* before the look: its last words count */
        for (const char *line = stream_next_line(stream); line != NULL; line = stream_next_line(stream)) {
            if (strstr(line, wanted) != NULL) {
                return line;
            }
        }
        cr_assert(running && deadline_left_ms(deadline_ms) > 0,
                  "%s wrote no line with \"%s\" and %s; its last words:\n%s", process->name, wanted,
                  running ? "time is up" : "ended", process_last_words(process));
        deadline_pause(1);
    }
}

size_t process_count_lines(struct process_stream *stream, const char *wanted) {
    size_t count = 0;
    for (const char *found = strstr(process_text(stream), wanted); found != NULL; found = strstr(found, wanted)) {
        count++;
        found += strcspn(found, "\n");
    }
    return count;
}

void process_run(struct process *process, const char *const arguments[]) {
    process_start(process, NULL, arguments);
    int code = process_wait_at_most(process, 6 * DEADLINE_MS);
    cr_assert(code == 0, "%s ended with %d; its last words:\n%s", process->name, code, process_last_words(process));
}

/* --- what it uses ------------------------------------------------------------------------------------------------ */

static uint64_t thread_cpu_ns(pid_t pid, const char *thread) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", pid, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    unsigned long long nanoseconds = 0;
    cr_assert(fscanf(file, "%llu", &nanoseconds) == 1);
    fclose(file);
    return nanoseconds;
}

uint64_t process_cpu_ns(const struct process *process) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", process->pid);
    DIR *threads = opendir(path);
    cr_assert(threads != NULL, "%s is gone", process->name);
    uint64_t sum_ns = 0;
    for (struct dirent *thread = readdir(threads); thread != NULL; thread = readdir(threads)) {
        if (thread->d_name[0] != '.') {
            sum_ns += thread_cpu_ns(process->pid, thread->d_name);
        }
    }
    closedir(threads);
    return sum_ns;
}

uint64_t process_idle_cpu_ns(const struct process *process, int milliseconds, uint64_t enough_ns) {
    enum { STRETCHES = 5 };
    uint64_t least_ns = UINT64_MAX;
    for (int stretch = 0; stretch < STRETCHES && least_ns >= enough_ns; stretch++) {
        uint64_t before_ns = process_cpu_ns(process);
        deadline_pause(milliseconds);
        uint64_t used_ns = process_cpu_ns(process) - before_ns;
        least_ns = used_ns < least_ns ? used_ns : least_ns;
    }
    return least_ns;
}

uint64_t process_memory_kib(const struct process *process) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", process->pid);
    FILE *file = fopen(path, "re");
    cr_assert(file != NULL, "%s is gone", process->name);
    unsigned long long kib = 0;
    for (char line[256]; fgets(line, sizeof(line), file) != NULL;) {
        if (sscanf(line, "VmRSS: %llu", &kib) == 1) {
            break;
        }
    }
    fclose(file);
    return kib;
}

static size_t folder_count(const struct process *process, const char *name) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", process->pid, name);
    DIR *folder = opendir(path);
    cr_assert(folder != NULL, "%s is gone", process->name);
    size_t count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += entry->d_name[0] != '.';
    }
    closedir(folder);
    return count;
}

size_t process_descriptors_count(const struct process *process) {
    return folder_count(process, "fd");
}

size_t process_threads_count(const struct process *process) {
    return folder_count(process, "task");
}
