#include "tests/bench/profile.h"

#include "tests/bench/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t READY_TIMEOUT_NS = 5000000000;
enum { READY_POLL_MS = 50 };

static bool perf_find(char path[PROFILE_PATH_SIZE], struct error *error) {
    return process_find("perf", path, PROFILE_PATH_SIZE) ||
           error_set(error, "perf is not installed (Debian: linux-perf)");
}

bool profiler_is_there(struct error *error) {
    char path[PROFILE_PATH_SIZE];
    if (!perf_find(path, error)) {
        return false;
    }
    FILE *file = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
    int level = 2;
    if (file == NULL || fscanf(file, "%d", &level) != 1) {
        level = 2;
    }
    if (file != NULL) {
        fclose(file);
    }
    return geteuid() == 0 || level <= 1 ||
           error_set(error, "perf may not see the kernel: kernel.perf_event_paranoid is %d (1, or root)", level);
}

/* perf answers once its clocks run; a signal before that would end it without a word. */
static bool profiler_wait_ready(struct profiler *profiler) {
    static const char order[] = "ping\n";
    uint64_t deadline_ns = clock_now_ns() + READY_TIMEOUT_NS;
    struct pollfd answer = {.fd = profiler->answer_fd, .events = POLLIN};
    if (write(profiler->control_fd, order, sizeof order - 1) != (ssize_t)sizeof order - 1) {
        return false;
    }
    while (process_is_alive(&profiler->perf) && clock_now_ns() < deadline_ns) {
        if (poll(&answer, 1, READY_POLL_MS) == 1) {
            return true;
        }
    }
    return false;
}

/* A pipe with a name; -1 when it cannot be made. Open for both ends, so that neither waits for the other. */
static int fifo_open(const char *folder, const char *name) {
    char path[PROFILE_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path); /* of an earlier profile */
    return mkfifo(path, 0600) == 0 ? open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
}

static bool profiler_launch(struct profiler *profiler, const struct process *process, const char *folder,
                            struct error *error) {
    char control[2 * PROFILE_PATH_SIZE];
    char output_path[PROFILE_PATH_SIZE + 16];
    snprintf(control, sizeof control, "fifo:%s/perf.control,%s/perf.answer", folder, folder);
    snprintf(output_path, sizeof output_path, "%s/perf.output", folder);
    struct bytes pids;
    bytes_init(&pids);
    process_list(process, &pids);
    const char *const arguments[] = {profiler->perf_path, "record", "-q",   "-N",           "-e",
                                     "cpu-clock",         "-F",     "4999", "-p",           pids.data,
                                     "--control",         control,  "-o",   profiler->file, NULL};
    bool started = process_start(&profiler->perf, arguments, PROFILE_CPU, output_path, error);
    bytes_finish(&pids);
    return started;
}

bool profiler_start(struct profiler *profiler, const struct process *process, const char *program, const char *folder,
                    struct error *error) {
    const char *name = strrchr(program, '/');
    snprintf(profiler->name, sizeof profiler->name, "%s", name == NULL ? program : name + 1);
    snprintf(profiler->file, sizeof profiler->file, "%s/perf.data", folder);
    if (!perf_find(profiler->perf_path, error)) {
        return false;
    }
    profiler->perf.pid = 0;
    profiler->control_fd = fifo_open(folder, "perf.control");
    profiler->answer_fd = fifo_open(folder, "perf.answer");
    if (profiler->control_fd >= 0 && profiler->answer_fd >= 0 && profiler_launch(profiler, process, folder, error) &&
        profiler_wait_ready(profiler)) {
        return true;
    }
    profiler_stop(profiler, NULL);
    return error_set(error, "perf does not record");
}

/* A line of perf: `    83.21%  [kernel.kallsyms]`. */
static void profile_add(struct profile *profile, const char *own_name, double share, const char *name) {
    bool is_module = strncmp(name, "ngx_", 4) == 0; /* nginx has its relaying in a library */
    if (strcmp(name, own_name) == 0 || is_module) {
        profile->own += share;
    } else if (strncmp(name, "[kernel", 7) == 0) {
        profile->kernel += share;
    } else if (strncmp(name, "liburing", 8) == 0) {
        profile->liburing += share;
    } else {
        profile->libraries += share;
    }
}

static void profile_read(const struct profiler *profiler, struct profile *profile) {
    struct bytes output;
    bytes_init(&output);
    const char *const arguments[] = {profiler->perf_path, "report", "-q", "--stdio", "--sort", "dso", "-i",
                                     profiler->file,      NULL};
    process_capture(arguments, &output);
    *profile = (struct profile){0};
    char *rest = NULL;
    for (char *line = strtok_r(output.data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        double percent;
        char name[128];
        if (sscanf(line, " %lf%% %127s", &percent, name) == 2) {
            profile_add(profile, profiler->name, percent / 100, name);
        }
    }
    bytes_finish(&output);
}

void profiler_stop(struct profiler *profiler, struct profile *profile) {
    process_stop(&profiler->perf);
    close(profiler->control_fd); /* -1 does no harm */
    close(profiler->answer_fd);
    if (profile != NULL) {
        profile_read(profiler, profile);
    }
}

bool profile_is_empty(const struct profile *profile) {
    return profile->own + profile->kernel <= 0;
}
