#include "tests/support/torture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- processes and memory ---------------------------------------------------------------------------------------- */

static bool is_number(const char *text) {
    return *text != 0 && strspn(text, "0123456789") == strlen(text);
}

/* A line of /proc/PID/smaps_rollup, `Pss:   123 kB`. Nothing of a process that has just ended. */
static uint64_t rollup_kib(const char *pid, const char *key) {
    char path[64];
    char line[256];
    unsigned long value = 0;
    snprintf(path, sizeof(path), "/proc/%.16s/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = strtoul(line + strlen(key), NULL, 10);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

struct footprint footprint_take(const struct process *process) {
    struct footprint usage = {.processes = 0};
    DIR *folder = opendir("/proc");
    cr_assert_not_null(folder);
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (!is_number(entry->d_name) || getpgid((pid_t)strtol(entry->d_name, NULL, 10)) != process->pid) {
            continue;
        }
        uint64_t resident_kib = rollup_kib(entry->d_name, "Rss:");
        if (resident_kib > 0) {
            usage.processes++;
            usage.resident_kib += resident_kib;
            usage.share_kib += rollup_kib(entry->d_name, "Pss:");
        }
    }
    closedir(folder);
    return usage;
}

/* --- the table --------------------------------------------------------------------------------------------------- */

static unsigned long sum_of_mishaps(const struct torture_row *row, enum mishap mishap) {
    unsigned long sum = 0;
    for (size_t i = 0; i < row->listeners; i++) {
        sum += atomic_load(&row->crowds[i].mishaps[mishap]);
    }
    return sum;
}

static int mishap_width(int mishap) {
    int width = (int)strlen(mishap_name((enum mishap)mishap));
    return width < 8 ? 8 : width;
}

static void write_head(FILE *file) {
    fprintf(file, "%-10s %7s %9s", "", "reloads", "sessions");
    for (int mishap = 0; mishap < MISHAPS; mishap++) {
        fprintf(file, " %*s", mishap_width(mishap), mishap_name((enum mishap)mishap));
    }
    fprintf(file, "  %10s %8s  %-16s %-24s %-24s\n", "long lived", "cut", "processes", "memory, MiB (PSS)",
            "memory, MiB (RSS)");
}

static void write_row(const struct torture_row *row, FILE *file) {
    unsigned long sessions = 0, stay = 0, cut = 0;
    for (size_t i = 0; i < row->listeners; i++) {
        sessions += atomic_load(&row->crowds[i].sessions);
        stay += row->residents[i].count;
        cut += atomic_load(&row->residents[i].lost);
    }
    fprintf(file, "%-10s %7zu %9lu", row->name, row->reloads, sessions);
    for (int mishap = 0; mishap < MISHAPS; mishap++) {
        fprintf(file, " %*lu", mishap_width(mishap), sum_of_mishaps(row, (enum mishap)mishap));
    }
    fprintf(file, "  %10lu %8lu  %4zu -> %-8zu %7.1f -> %-13.1f %7.1f -> %-13.1f\n", stay, cut, row->before.processes,
            row->after.processes, (double)row->before.share_kib / 1024, (double)row->after.share_kib / 1024,
            (double)row->before.resident_kib / 1024, (double)row->after.resident_kib / 1024);
}

void torture_print(const struct torture_row *row) {
    const char *path = getenv("TORTURE_TABLE");
    write_head(stderr);
    write_row(row, stderr);
    FILE *file = path == NULL ? NULL : fopen(path, "ae");
    if (file == NULL) {
        return;
    }
    if (ftell(file) == 0) {
        write_head(file);
    }
    write_row(row, file);
    fclose(file);
}
