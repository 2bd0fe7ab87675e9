/* Sessions that stay, and reload after reload: nothing grows. `make torture` runs this in full, with 9,000 sessions and
 * 1,000 reloads (MEMORY_SESSIONS, MEMORY_RELOADS). */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
    WARM_UP = 20,          /* reloads until memory is looked at */
    GROWTH_MAX_KIB = 3072, /* the allocator's own, and what VMs keep for the next one */
};

struct hotel {
    struct moonring moonring;
    struct peer_listener server;
    char plain[ADDRESS_TEXT_MAX];
    char filtered[ADDRESS_TEXT_MAX];
    struct pair *guests; /* ours */
    size_t count;
    unsigned version;
};

static size_t number_of(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

/* A timeout, the servers, the filter, and, every fifth time, a mistake. */
static void hotel_write(struct hotel *hotel) {
    unsigned version = hotel->version++;
    temporary_write(
        &hotel->moonring.folder, "pass.lua",
        "local version = %u\nreturn { from_client = function(_, buf) buf:pass(version >= 0 and #buf) end }\n",
        version / 3);
    temporary_write(&hotel->moonring.folder, "moonring.yaml",
                    "listeners:\n"
                    "  plain: {bind: '%s', upstream: servers, timeouts: {idle: %us}}\n"
                    "  filtered: {bind: '%s', upstream: servers, filters: [pass.lua]}\n"
                    "upstreams: {servers: {servers: ['%s', '127.0.0.1:%u']}}\n"
                    "log: {access: off}\n"
                    "process: {workers: 2}\n"
                    "%s",
                    hotel->plain, 3600 + version, hotel->filtered, hotel->server.address, 1 + version % 7,
                    version % 5 == 4 ? "mistake: 1\n" : "");
}

static void hotel_reload(struct hotel *hotel, size_t times) {
    for (size_t i = 0; i < times; i++) {
        hotel_write(hotel);
        moonring_reload_again(&hotel->moonring);
    }
}

static void hotel_open(struct hotel *hotel) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    peer_listen(&hotel->server, "127.0.0.1:0");
    snprintf(hotel->plain, sizeof(hotel->plain), "127.0.0.1:%u", peer_free_port());
    snprintf(hotel->filtered, sizeof(hotel->filtered), "127.0.0.1:%u", peer_free_port());
    temporary_create(&hotel->moonring.folder);
    hotel_write(hotel);
    char path[TEMPORARY_PATH_MAX];
    temporary_path(&hotel->moonring.folder, "moonring.yaml", path);
    process_start(&hotel->moonring.process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(&hotel->moonring);
}

/* Every tenth goes through the filter. The second server is nobody: the next one is tried. */
static void hotel_fill(struct hotel *hotel) {
    hotel->count = number_of("MEMORY_SESSIONS", 500);
    hotel->guests = calloc(hotel->count, sizeof(*hotel->guests));
    for (size_t i = 0; i < hotel->count; i++) {
        pair_open(&hotel->guests[i], i % 10 == 0 ? hotel->filtered : hotel->plain, &hotel->server);
        pair_exchange(&hotel->guests[i], 100);
    }
}

Test(reload_memory, does_not_grow_while_sessions_stay, .timeout = 900) {
    struct hotel hotel = {.version = 0};
    size_t reloads = number_of("MEMORY_RELOADS", 200);
    hotel_open(&hotel);
    hotel_fill(&hotel);
    hotel_reload(&hotel, WARM_UP);
    const struct process *process = &hotel.moonring.process;
    uint64_t before_kib = process_memory_kib(process);
    size_t descriptors = process_descriptors_count(process);
    hotel_reload(&hotel, reloads);
    uint64_t after_kib = process_memory_kib(process);
    fprintf(stderr, "%zu sessions stay, %zu reloads: %lu KiB before, %lu after\n", hotel.count, reloads, before_kib,
            after_kib);
    cr_expect(after_kib < before_kib + GROWTH_MAX_KIB, "%lu KiB before, %lu after", before_kib, after_kib);
    cr_expect(process_descriptors_count(process) == descriptors);
    cr_expect(moonring_counter(&hotel.moonring, "moonring_generations") == 2); /* theirs, and the one at work */
    for (size_t i = 0; i < hotel.count; i++) {
        pair_exchange(&hotel.guests[i], 100);
        pair_close(&hotel.guests[i]);
    }
    moonring_wait_counter_is(&hotel.moonring, "moonring_generations", 1);
    moonring_stop(&hotel.moonring);
    free(hotel.guests);
}
