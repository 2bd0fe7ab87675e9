/* After sessions of every kind of end nothing is left of them. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>

static size_t descriptors_count(const struct process *process) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", process->pid);
    DIR *folder = opendir(path);
    cr_assert(folder != NULL);
    size_t count = 0;
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

enum kind_of_end {
    CLIENT_RESETS_AT_ONCE, /* maybe before it is accepted, or while the server is connected */
    CLIENT_ENDS_AT_ONCE,
    CLIENT_RESETS_WITH_BYTES_UNREAD,
    SERVER_RESETS_WITH_BYTES_UNREAD,
    BOTH_RESET_IN_THE_MIDDLE_OF_BULK,
    BOTH_END_AFTER_BULK,
    KINDS_OF_END
};

static void session_live(const char *address, const struct peer_listener *listener, enum kind_of_end kind) {
    enum { BULK = 1 << 20, SOME = 1000 };
    struct pair pair;
    peer_connect(&pair.client, address);
    switch (kind) {
    case CLIENT_RESETS_AT_ONCE:
        peer_reset(&pair.client);
        return;
    case CLIENT_ENDS_AT_ONCE:
        pair_accept(&pair, listener);
        break;
    case CLIENT_RESETS_WITH_BYTES_UNREAD:
        pair_accept(&pair, listener);
        peer_send_pattern(&pair.server, SOME);
        peer_reset(&pair.client);
        peer_close(&pair.server);
        return;
    case SERVER_RESETS_WITH_BYTES_UNREAD:
        pair_accept(&pair, listener);
        peer_send_pattern(&pair.client, SOME);
        peer_reset(&pair.server);
        peer_close(&pair.client);
        return;
    case BOTH_RESET_IN_THE_MIDDLE_OF_BULK:
        pair_accept(&pair, listener);
        peer_relay(&pair.client, &pair.server, BULK);
        peer_send_pattern(&pair.client, SOME);
        peer_send_pattern(&pair.server, SOME);
        peer_reset(&pair.client);
        peer_reset(&pair.server);
        return;
    case BOTH_END_AFTER_BULK:
        pair_accept(&pair, listener);
        pair_exchange(&pair, BULK);
        break;
    case KINDS_OF_END:
        break;
    }
    pair_close(&pair);
}

/* A client that left at once may or may not have got a server: that is known when all of them have been let in, and are
 * no more. */
static void forget_waiting_servers(struct moonring *moonring, const struct peer_listener *listener, size_t opened) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    bool over = false;
    while (!over || peer_listener_has_client(listener, 0)) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "the sessions do not end");
        while (peer_listener_has_client(listener, 0)) {
            struct peer server;
            peer_accept(&server, listener);
            peer_close(&server);
        }
        const char *report = moonring_report(moonring);
        over = report_counter(report, "moonring_sessions_opened_total") == (double)opened &&
               report_counter(report, "moonring_sessions_active") == 0;
    }
}

/* Adds up in *opened. */
static void sessions_live(struct moonring *moonring, const struct peer_listener *listener, size_t rounds,
                          size_t *opened) {
    for (int kind = 0; kind < KINDS_OF_END; kind++) {
        for (size_t round = 0; round < rounds; round++) {
            session_live(moonring->address, listener, (enum kind_of_end)kind);
        }
        *opened += rounds;
        forget_waiting_servers(moonring, listener, *opened);
    }
    moonring_wait_counter_is(moonring, "moonring_buffers_in_use", 0);
}

static void nothing_is_left(const char *configuration) {
    enum { POOLED_MAX = 20 }; /* pipes for splicing stay open for the next session */
    struct moonring moonring;
    struct peer_listener listener;
    size_t opened = 0;
    moonring_start_web(&moonring, &listener, "timeouts: {half_close: 2s}", configuration);
    sessions_live(&moonring, &listener, 5, &opened); /* fills the pools that are kept */
    size_t before = descriptors_count(&moonring.process);
    sessions_live(&moonring, &listener, 100, &opened);
    size_t after = descriptors_count(&moonring.process);
    cr_assert(after < before + POOLED_MAX, "%zu descriptors before, %zu after", before, after);
    moonring_stop(&moonring);
}

Test(leak, is_not_what_600_sessions_are_that_ended_in_six_ways, .timeout = 60) {
    nothing_is_left("log: {access: off}\n");
}

Test(leak, is_not_there_without_splice_either, .timeout = 60) {
    nothing_is_left("log: {access: off}\nio: {splice: off}\n");
}

Test(leak, is_not_there_with_sqpoll_either, .timeout = 60) {
    nothing_is_left("log: {access: off}\nprocess: {workers: 1}\nio: {sqpoll: true}\n");
}
