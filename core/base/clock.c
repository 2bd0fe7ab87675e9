#include "base/clock.h"

#include <stdio.h>
#include <time.h>

/* 9999-12-31T23:59:59.999Z: a later year has no room in the text. */
static const uint64_t clock_last_ms = UINT64_C(253402300799999);

void clock_format(uint64_t wall_ms, char *text) {
    if (wall_ms > clock_last_ms) {
        wall_ms = clock_last_ms;
    }
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t length = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, CLOCK_TEXT_SIZE - length, ".%03uZ", (unsigned)(wall_ms % 1000));
}
