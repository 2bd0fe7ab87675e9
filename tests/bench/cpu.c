#include "tests/bench/cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* user nice system idle iowait irq softirq steal */
static uint64_t line_busy_ticks(const char *numbers) {
    uint64_t user = 0;
    uint64_t nice = 0;
    uint64_t system = 0;
    uint64_t irq = 0;
    uint64_t softirq = 0;
    uint64_t steal = 0;
    sscanf(numbers, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64, &user, &nice,
           &system, &irq, &softirq, &steal);
    return user + nice + system + irq + softirq + steal;
}

uint64_t cpu_busy_ns(int cpu) {
    char line[256];
    char name[16];
    int name_size = snprintf(name, sizeof name, "cpu%d ", cpu);
    uint64_t ticks = 0;
    FILE *file = fopen("/proc/stat", "re");
    while (file != NULL && ticks == 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, (size_t)name_size) == 0) {
            ticks = line_busy_ticks(line + name_size);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return ticks * 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}
