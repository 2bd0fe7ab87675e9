#include "program/human.h"

#include <stddef.h>

void human_append_age(struct bytes *out, uint64_t milliseconds) {
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};
    uint64_t seconds = milliseconds / 1000;
    size_t first = 0;
    while (first < 3 && seconds < units[first].seconds) {
        first++;
    }
    if (seconds < 10) {
        bytes_printf(out, "%lu.%lus", (unsigned long)seconds, (unsigned long)(milliseconds % 1000 / 100));
        return;
    }
    bytes_printf(out, "%lu%s", (unsigned long)(seconds / units[first].seconds), units[first].name);
    if (first < 3) {
        uint64_t rest = seconds % units[first].seconds / units[first + 1].seconds;
        bytes_printf(out, " %lu%s", (unsigned long)rest, units[first + 1].name);
    }
}

void human_append_size(struct bytes *out, uint64_t size) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (size < 1024) {
        bytes_printf(out, "%luB", (unsigned long)size);
        return;
    }
    double value = (double)size / 1024;
    size_t unit = 0;
    while (value >= 1023.95 && unit < sizeof units / sizeof units[0] - 1) {
        value /= 1024;
        unit++;
    }
    bytes_printf(out, "%.1f%s", value, units[unit]);
}
