#include "tests/bench/machine.h"

#include "base/clock.h"
#include "tests/bench/clock.h"
#include "tests/bench/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The rest of the first line that starts with `start`, after blanks and a colon. */
static void line_read(const char *path, const char *start, char *text) {
    snprintf(text, MACHINE_TEXT_SIZE, "unknown");
    FILE *file = fopen(path, "re");
    char line[512];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0) {
            const char *rest = line + strlen(start);
            rest += strspn(rest, " \t:");
            snprintf(text, MACHINE_TEXT_SIZE, "%.*s", (int)strcspn(rest, "\n"), rest);
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static void kernel_read(char *text) {
    struct utsname name;
    uname(&name);
    snprintf(text, MACHINE_TEXT_SIZE, "%.40s %.60s %.20s", name.sysname, name.release, name.machine);
}

static void commit_read(char *text) {
    struct bytes output;
    char path[MACHINE_TEXT_SIZE];
    bytes_init(&output);
    bool found = process_find("git", path, sizeof path) &&
                 process_capture((const char *const[]){path, "describe", "--always", "--dirty", NULL}, &output);
    snprintf(text, MACHINE_TEXT_SIZE, "%.*s", (int)strcspn(output.data, "\n"), output.data);
    if (!found) {
        snprintf(text, MACHINE_TEXT_SIZE, "unknown");
    }
    bytes_finish(&output);
}

uint64_t machine_slab_memory(void) {
    char text[MACHINE_TEXT_SIZE];
    line_read("/proc/meminfo", "Slab", text);
    return strtoull(text, NULL, 10) * 1024;
}

void machine_describe(struct machine *machine) {
    clock_format(clock_read_ns(CLOCK_REALTIME) / 1000000, machine->date);
    kernel_read(machine->kernel);
    line_read("/proc/cpuinfo", "model name", machine->cpu);
    machine->cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    line_read("/proc/sys/net/ipv4/tcp_congestion_control", "", machine->congestion_control);
    line_read("/proc/sys/net/core/skb_defer_max", "", machine->skb_defer_max);
    if (access("/proc/sys/net/core/skb_defer_max", F_OK) != 0) {
        snprintf(machine->skb_defer_max, sizeof machine->skb_defer_max, "-");
    }
    commit_read(machine->commit);
}
