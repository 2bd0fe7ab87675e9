#include "program/process_metrics.h"

#include "program/version.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void write_one(struct exposition *page, const char *name, const char *help, uint64_t value) {
    exposition_family(page, name, "gauge", help);
    exposition_sample(page, "");
    exposition_integer(page, value);
}

/* A field of a file of one line, from 0; behind the name in parentheses, if there is one. 0: it cannot be read. */
static uint64_t read_field(const char *path, int field) {
    char line[1024] = "";
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(line, sizeof line, file) == NULL) {
        line[0] = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    const char *name_end = strrchr(line, ')');
    const char *at = name_end == NULL ? line : name_end + 2;
    for (; field > 0 && at != NULL; field--) {
        at = strchr(at, ' ');
        at = at == NULL ? NULL : at + 1;
    }
    return at == NULL ? 0 : strtoul(at, NULL, 10);
}

static uint64_t count_descriptors(void) {
    uint64_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return 0;
    }
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count > 3 ? count - 3 : 0; /* . and .., and the one that was opened to count */
}

/* Seconds since 1970: the kernel tells the start in ticks since it has booted itself. */
static uint64_t started_s(void) {
    enum { STARTTIME = 19 }; /* proc(5) counts it as 22, from 1 and with the name */
    uint64_t ticks = read_field("/proc/self/stat", STARTTIME);
    uint64_t booted_s = 0;
    char line[256];
    FILE *file = fopen("/proc/stat", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "btime ", 6) == 0) {
            booted_s = strtoul(line + 6, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return booted_s + ticks / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void write_cpu(struct exposition *page) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    uint64_t seconds = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec);
    exposition_family(page, "process_cpu_seconds_total", "counter", "CPU time of all threads, in and for them.");
    exposition_sample(page, "");
    exposition_seconds(page, seconds * 1000000 + (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
}

void process_metrics_write(struct exposition *exposition) {
    struct rlimit descriptors = {.rlim_cur = 0};
    getrlimit(RLIMIT_NOFILE, &descriptors);
    uint64_t page_size = (uint64_t)sysconf(_SC_PAGESIZE);
    exposition_family(exposition, "moonring_build_info", "gauge", "1, with what was built as labels.");
    exposition_sample(exposition, "");
    exposition_label(exposition, "version", moonring_version());
    exposition_integer(exposition, 1);
    write_cpu(exposition);
    write_one(exposition, "process_open_fds", "Open file descriptors.", count_descriptors());
    write_one(exposition, "process_max_fds", "How many there may be.", descriptors.rlim_cur);
    write_one(exposition, "process_virtual_memory_bytes", "Address space in use.",
              read_field("/proc/self/statm", 0) * page_size);
    write_one(exposition, "process_resident_memory_bytes", "Memory in use.",
              read_field("/proc/self/statm", 1) * page_size);
    write_one(exposition, "process_start_time_seconds", "When it was started, since 1970.", started_s());
}
