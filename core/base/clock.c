#include "base/clock.h"

#include <string.h>
#include <time.h>

/* 9999-12-31T23:59:59.999Z: a later year has no room in the text. */
static const uint64_t clock_last_ms = UINT64_C(253402300799999);

enum { SECOND_TEXT_SIZE = 20 }; /* 2026-01-31T12:00:00 and its 0 */

/* Lines of a log come many to a second: what they have in common is made once, by each thread for itself. */
struct second {
    time_t time;
    char text[SECOND_TEXT_SIZE];
};

static const struct second *second_of(time_t time) {
    static _Thread_local struct second last;
    if (last.text[0] == 0 || last.time != time) {
        struct tm utc;
        gmtime_r(&time, &utc);
        strftime(last.text, sizeof last.text, "%Y-%m-%dT%H:%M:%S", &utc);
        last.time = time;
    }
    return &last;
}

void clock_format(uint64_t wall_ms, char *text) {
    if (wall_ms > clock_last_ms) {
        wall_ms = clock_last_ms;
    }
    uint64_t ms = wall_ms % 1000;
    const char rest[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', 0};
    _Static_assert(SECOND_TEXT_SIZE - 1 + sizeof rest == CLOCK_TEXT_SIZE, "both make up the text");
    memcpy(text, second_of((time_t)(wall_ms / 1000))->text, SECOND_TEXT_SIZE - 1);
    memcpy(text + SECOND_TEXT_SIZE - 1, rest, sizeof rest);
}
