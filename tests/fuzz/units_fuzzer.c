/* Any text as a number with a unit or as an address: what a parser takes, the formatter writes so that the parser reads
 * the same value again. */
#include "base/address.h"
#include "base/check.h"
#include "base/units.h"

#include <stdint.h>
#include <string.h>

enum { TEXT_SIZE_MAX = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void try_duration(const char *text) {
    struct error error;
    uint64_t value;
    uint64_t again;
    char written[64];
    if (units_parse_duration(text, &value, &error)) {
        units_format_duration(value, written, sizeof(written));
        check(units_parse_duration(written, &again, &error));
        check(value == again);
    }
}

static void try_size(const char *text) {
    struct error error;
    uint64_t value;
    uint64_t again;
    char written[64];
    if (units_parse_size(text, &value, &error)) {
        units_format_size(value, written, sizeof(written));
        check(units_parse_size(written, &again, &error));
        check(value == again);
    }
}

static void try_others(const char *text) {
    struct error error;
    uint64_t value;
    if (units_parse_integer(text, 5, 1000, &value, &error)) {
        check(value >= 5);
        check(value <= 1000);
    }
    if (units_parse_percent(text, &value, &error)) {
        check(value <= 100);
    }
}

static void try_paces(const char *text) {
    struct error error;
    uint64_t value;
    uint64_t again;
    char written[64];
    if (units_parse_rate(text, &value, &error)) {
        units_format_rate(value, written, sizeof(written));
        check(units_parse_rate(written, &again, &error));
        check(value == again);
    } else {
        check(error.text[0] != 0);
    }
    if (units_parse_bandwidth(text, &value, &error)) {
        units_format_bandwidth(value, written, sizeof(written));
        check(units_parse_bandwidth(written, &again, &error));
        check(value == again);
    } else {
        check(error.text[0] != 0);
    }
}

/* An IPv4-mapped IPv6 address is written as IPv4, so not every address comes back in its family: the text must. */
static void try_address(const char *text) {
    struct error error;
    struct address address;
    struct address again;
    char written[ADDRESS_TEXT_MAX];
    char rewritten[ADDRESS_TEXT_MAX];
    if (address_parse(&address, text, true, &error)) {
        address_format(&address, written, sizeof(written));
        check(address_parse(&again, written, true, &error));
        address_format(&again, rewritten, sizeof(rewritten));
        check(strcmp(written, rewritten) == 0);
    }
}

static void try_host(const char *text) {
    char host[64];
    uint16_t port;
    if (address_split_host(text, host, sizeof(host), &port)) {
        check(port > 0);
        check(host[0] != 0);
        check(strncmp(text, host, strlen(host)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    char text[TEXT_SIZE_MAX + 1];
    if (size > TEXT_SIZE_MAX) {
        return 0;
    }
    memcpy(text, input, size);
    text[size] = 0;
    try_duration(text);
    try_size(text);
    try_others(text);
    try_paces(text);
    try_address(text);
    try_host(text);
    return 0;
}
