#include "base/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t scale;
};

static const struct unit duration_units[] = {
    {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", 3600000000}, {"d", 86400000000}, {NULL, 0},
};
static const uint64_t duration_max_us = 36500 * UINT64_C(86400000000);

static const struct unit size_units[] = {
    {"B", 1},     {"KiB", 1 << 10}, {"MiB", 1 << 20},   {"GiB", 1 << 30},
    {"KB", 1000}, {"MB", 1000000},  {"GB", 1000000000}, {NULL, 0},
};

static const struct unit rate_units[] = {{"/s", 3600}, {"/m", 60}, {"/h", 1}, {NULL, 0}};

/* Reads the digits at the beginning of text. NULL: there are none, or zeros lead. A number that is too large becomes
 * UINT64_MAX. */
static const char *number_read(const char *text, uint64_t *number) {
    size_t length = strspn(text, "0123456789");
    if (length == 0 || (length > 1 && text[0] == '0')) {
        return NULL;
    }
    uint64_t sum = 0;
    for (size_t index = 0; index < length; index++) {
        if (__builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, text[index] - '0', &sum)) {
            sum = UINT64_MAX;
            break;
        }
    }
    *number = sum;
    return text + length;
}

static const struct unit *unit_find(const struct unit *units, const char *name) {
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (strcmp(unit->name, name) == 0) {
            return unit;
        }
    }
    return NULL;
}

/* number times scale, UINT64_MAX where that is too large. */
static uint64_t number_scale(uint64_t number, uint64_t scale) {
    uint64_t scaled;
    return __builtin_mul_overflow(number, scale, &scaled) ? UINT64_MAX : scaled;
}

bool units_parse_integer(const char *text, uint64_t min, uint64_t max, uint64_t *value, struct error *error) {
    uint64_t number;
    const char *end = number_read(text, &number);
    if (end == NULL || *end != 0) {
        return error_set(error, "\"%.64s\" is not a whole number (%" PRIu64 "-%" PRIu64 ")", text, min, max);
    }
    if (number < min || number > max || number == UINT64_MAX) {
        return error_set(error, "%.64s is out of range (%" PRIu64 "-%" PRIu64 ")", text, min, max);
    }
    *value = number;
    return true;
}

/* What to write instead of a number without its unit: in `unit`, and shorter where that is possible. */
static bool error_set_no_unit(struct error *error, const char *kind, const char *text, const char *unit,
                              const char *shorter) {
    char plain[64];
    snprintf(plain, sizeof(plain), "%.20s%s", text, unit);
    if (strcmp(plain, shorter) == 0) {
        return error_set(error, "a %s needs a unit: write %s", kind, plain);
    }
    return error_set(error, "a %s needs a unit: write %s or %s", kind, plain, shorter);
}

bool units_parse_duration(const char *text, uint64_t *microseconds, struct error *error) {
    uint64_t number;
    const char *end = number_read(text, &number);
    const struct unit *unit = end != NULL ? unit_find(duration_units, *end != 0 ? end : "s") : NULL;
    if (unit == NULL) {
        return error_set(
            error, "\"%.64s\" is not a duration: write a whole number and one of us ms s m h d, like 250ms", text);
    }
    uint64_t duration_us = number_scale(number, unit->scale);
    if (duration_us > duration_max_us) {
        return error_set(error, "%.64s is too long (at most 36500d)", text);
    }
    if (*end == 0) {
        char shorter[32];
        units_format_duration(duration_us, shorter, sizeof(shorter));
        return error_set_no_unit(error, "duration", text, "s", shorter);
    }
    *microseconds = duration_us;
    return true;
}

bool units_parse_size(const char *text, uint64_t *bytes, struct error *error) {
    uint64_t number;
    const char *end = number_read(text, &number);
    const struct unit *unit = end != NULL ? unit_find(size_units, *end != 0 ? end : "B") : NULL;
    if (unit == NULL) {
        return error_set(
            error, "\"%.64s\" is not a size: write a whole number and one of B KiB MiB GiB KB MB GB, like 64KiB", text);
    }
    uint64_t size = number_scale(number, unit->scale);
    if (size == UINT64_MAX) {
        return error_set(error, "%.64s is too large (at most 17179869183GiB)", text);
    }
    if (*end == 0) {
        char shorter[32];
        units_format_size(size, shorter, sizeof(shorter));
        return error_set_no_unit(error, "size", text, "B", shorter);
    }
    *bytes = size;
    return true;
}

bool units_parse_rate(const char *text, uint64_t *per_hour, struct error *error) {
    uint64_t number;
    const char *end = number_read(text, &number);
    const struct unit *unit = end != NULL ? unit_find(rate_units, end) : NULL;
    if (unit == NULL) {
        return error_set(error, "\"%.64s\" is not a rate: write a whole number and one of /s /m /h, like 50/s", text);
    }
    uint64_t rate = number_scale(number, unit->scale);
    if (rate == UINT64_MAX) {
        return error_set(error, "%.64s is too high a rate (at most 5124095576030431/s)", text);
    }
    *per_hour = rate;
    return true;
}

bool units_parse_bandwidth(const char *text, uint64_t *bytes_per_second, struct error *error) {
    char size[32] = "";
    struct error ignored;
    size_t length = strlen(text);
    if (length > 2 && length - 2 < sizeof(size) && strcmp(text + length - 2, "/s") == 0) {
        memcpy(size, text, length - 2);
    }
    return units_parse_size(size, bytes_per_second, &ignored) ||
           error_set(error, "\"%.64s\" is not a bandwidth: write a size for each second, like 10MiB/s", text);
}

bool units_parse_percent(const char *text, uint64_t *percent, struct error *error) {
    uint64_t number;
    const char *end = number_read(text, &number);
    if (end == NULL || strcmp(end, "%") != 0 || number > 100) {
        return error_set(error, "\"%.64s\" is not a percentage: write a whole number from 0%% to 100%%", text);
    }
    *percent = number;
    return true;
}

/* The shortest exact spelling; of equally short ones the unit that stands first. */
static size_t units_format(const struct unit *units, uint64_t value, char *text, size_t text_size) {
    char shortest[32] = "";
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        char spelling[32];
        int length = snprintf(spelling, sizeof(spelling), "%" PRIu64 "%s", value / unit->scale, unit->name);
        bool shorter = shortest[0] == 0 || (size_t)length < strlen(shortest);
        if (value % unit->scale == 0 && shorter) {
            memcpy(shortest, spelling, sizeof(spelling));
        }
    }
    snprintf(text, text_size, "%s", shortest);
    return strlen(text);
}

size_t units_format_duration(uint64_t microseconds, char *text, size_t text_size) {
    return units_format(duration_units, microseconds, text, text_size);
}

size_t units_format_size(uint64_t bytes, char *text, size_t text_size) {
    return units_format(size_units, bytes, text, text_size);
}

size_t units_format_rate(uint64_t per_hour, char *text, size_t text_size) {
    return units_format(rate_units, per_hour, text, text_size);
}

size_t units_format_bandwidth(uint64_t bytes_per_second, char *text, size_t text_size) {
    char size[32];
    units_format_size(bytes_per_second, size, sizeof(size));
    snprintf(text, text_size, "%s/s", size);
    return strlen(text);
}
