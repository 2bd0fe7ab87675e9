/* What a reload changes while moonring runs, for whom, and what it leaves alone. */
#include "tests/support/crowd.h"
#include "tests/support/deadline.h"
#include "tests/support/mirror.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PLAIN "listeners: {web: {bind: '%s', upstream: '%s'}}\n"

/* Two servers, and moonring in front of the first. The listener's address has a port that stays. */
struct stage {
    struct moonring moonring;
    struct peer_listener servers[2];
    char address[ADDRESS_TEXT_MAX];
};

static void stage_open(struct stage *stage) {
    peer_listen(&stage->servers[0], "127.0.0.1:0");
    peer_listen(&stage->servers[1], "127.0.0.1:0");
    snprintf(stage->address, sizeof(stage->address), "127.0.0.1:%u", peer_free_port());
}

static void stage_start(struct stage *stage) {
    stage_open(stage);
    moonring_start(&stage->moonring, PLAIN, stage->address, stage->servers[0].address);
}

static void expect_refused(const char *address) {
    struct peer client;
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (peer_try_connect(&client, address) != ECONNREFUSED) {
        peer_reset(&client);
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s still accepts", address);
        deadline_pause(5);
    }
}

/* --- who gets what ----------------------------------------------------------------------------------------------- */

Test(reload, gives_new_sessions_the_new_upstream_and_leaves_live_ones_theirs, .timeout = 30) {
    struct stage stage;
    struct pair before, after;
    stage_start(&stage);
    pair_open(&before, stage.address, &stage.servers[0]);
    pair_exchange(&before, 1000);
    const char *line = moonring_reload(&stage.moonring, PLAIN, stage.address, stage.servers[1].address);
    cr_assert(strstr(line, stage.servers[1].address) != NULL, "the difference is not told: %s", line);
    pair_open(&after, stage.address, &stage.servers[1]);
    pair_exchange(&after, 1000);
    pair_exchange(&before, 100000);
    pair_close(&before);
    pair_close(&after);
    moonring_wait_counter_is(&stage.moonring, "moonring_generations", 1);
    moonring_stop(&stage.moonring);
}

Test(reload, leaves_a_live_session_the_timeout_it_began_with, .timeout = 30) {
    struct stage stage;
    struct pair before, after;
    stage_start(&stage);
    pair_open(&before, stage.address, &stage.servers[0]);
    pair_exchange(&before, 1000);
    moonring_reload(&stage.moonring, "listeners: {web: {bind: '%s', upstream: '%s', timeouts: {idle: 200ms}}}\n",
                    stage.address, stage.servers[0].address);
    pair_open(&after, stage.address, &stage.servers[0]);
    moonring_expect_session(&stage.moonring, "reason=timeout_idle");
    peer_expect_end(&after.client);
    pair_exchange(&before, 1000);
}

Test(reload, that_finds_nothing_changed_changes_nothing, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    const char *line = moonring_reload_again(&stage.moonring);
    cr_assert(strstr(line, "nothing has changed; generation 1 goes on") != NULL, "%s", line);
    cr_assert(moonring_counter(&stage.moonring, "moonring_reloads_total{result=\"unchanged\"}") == 1);
}

Test(reload, keeps_what_was_counted_of_servers_and_listeners, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    for (int round = 1; round <= 3; round++) {
        pair_open(&pair, stage.address, &stage.servers[0]);
        pair_exchange(&pair, 100);
        moonring_reload(&stage.moonring, "listeners: {web: {bind: '%s', upstream: '%s', timeouts: {idle: %dh}}}\n",
                        stage.address, stage.servers[0].address, round + 1);
        const char *report = moonring_report(&stage.moonring);
        cr_assert(report_counter(report, "moonring_server_connected_total") == round);
        cr_assert(report_counter(report, "moonring_listener_accepted_total") == round);
        cr_assert(report_counter(report, "moonring_server_sessions_active") == 1);
        pair_close(&pair);
        moonring_wait_counter_is(&stage.moonring, "moonring_server_sessions_active", 0);
    }
}

Test(reload, of_a_limit_lets_in_who_waits_at_once, .timeout = 30) {
    struct stage stage;
    struct pair first, second;
    stage_open(&stage);
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s', limits: {max_connections: %d}}}\n";
    moonring_start(&stage.moonring, yaml, stage.address, stage.servers[0].address, 1);
    pair_open(&first, stage.address, &stage.servers[0]);
    peer_connect(&second.client, stage.address);
    cr_assert_not(peer_listener_has_client(&stage.servers[0], 200));
    moonring_reload(&stage.moonring, yaml, stage.address, stage.servers[0].address, 2);
    pair_accept(&second, &stage.servers[0]);
    pair_exchange(&second, 1000);
}

Test(reload, of_the_process_limit_holds_at_once, .timeout = 30) {
    struct stage stage;
    struct pair first, second;
    stage_open(&stage);
    static const char yaml[] = PLAIN "process: {max_connections: %d}\n";
    moonring_start(&stage.moonring, yaml, stage.address, stage.servers[0].address, 100);
    pair_open(&first, stage.address, &stage.servers[0]);
    moonring_reload(&stage.moonring, yaml, stage.address, stage.servers[0].address, 1);
    peer_connect(&second.client, stage.address);
    cr_assert_not(peer_listener_has_client(&stage.servers[0], 200));
    moonring_reload(&stage.moonring, yaml, stage.address, stage.servers[0].address, 100);
    pair_accept(&second, &stage.servers[0]);
}

/* --- addresses --------------------------------------------------------------------------------------------------- */

Test(reload, listens_on_an_address_that_was_added_and_not_on_one_that_was_removed, .timeout = 30) {
    struct stage stage;
    struct pair before, after;
    char added[ADDRESS_TEXT_MAX];
    stage_start(&stage);
    snprintf(added, sizeof(added), "127.0.0.1:%u", peer_free_port());
    pair_open(&before, stage.address, &stage.servers[0]);
    moonring_reload(&stage.moonring, PLAIN, added, stage.servers[0].address);
    pair_open(&after, added, &stage.servers[0]);
    pair_exchange(&after, 1000);
    expect_refused(stage.address);
    pair_exchange(&before, 1000);
}

/* What accepts on the address for a moment yet is no session. */
Test(reload, without_a_client_tells_of_no_session_that_goes_on, .timeout = 30) {
    struct stage stage;
    char added[ADDRESS_TEXT_MAX];
    stage_start(&stage);
    snprintf(added, sizeof(added), "127.0.0.1:%u", peer_free_port());
    moonring_reload(&stage.moonring, PLAIN, added, stage.servers[0].address);
    const char *errors = process_text(&stage.moonring.process.errors);
    cr_assert(strstr(errors, "reloaded: generation 2") != NULL, "%s", errors);
    cr_assert(strstr(errors, "keep what they had") == NULL, "%s", errors);
}

/* Clients that wait together, unserved, when a reload comes: every one of them has to be served. They talk to a server
 * that sends back what it gets, since the order in which they are served is nobody's. */
struct queue {
    struct moonring moonring;
    struct mirror mirror;
    char address[ADDRESS_TEXT_MAX];
    struct peer clients[100];
};

static const char *queue_yaml(const struct queue *queue, const char *name, const char *address, int workers) {
    static char yaml[512];
    snprintf(yaml, sizeof(yaml), "listeners: {%s: {bind: '%s', upstream: '%s'}}\nprocess: {workers: %d}\n", name,
             address, queue->mirror.address, workers);
    return yaml;
}

static void queue_start(struct queue *queue, int workers) {
    mirror_start(&queue->mirror, "127.0.0.1:0");
    snprintf(queue->address, sizeof(queue->address), "127.0.0.1:%u", peer_free_port());
    moonring_start(&queue->moonring, "%s", queue_yaml(queue, "web", queue->address, workers));
}

static void queue_reload(struct queue *queue, const char *yaml) {
    struct process *process = &queue->moonring.process;
    process_signal(process, SIGSTOP);
    for (size_t index = 0; index < 100; index++) {
        peer_connect(&queue->clients[index], queue->address);
    }
    temporary_write(&queue->moonring.folder, "moonring.yaml", "%s", yaml);
    process_signal(process, SIGHUP);
    process_signal(process, SIGCONT);
    process_wait_line(process, &process->errors, " reloaded: generation 2");
    for (size_t index = 0; index < 100; index++) {
        peer_send(&queue->clients[index], "hello");
        peer_expect(&queue->clients[index], "hello");
    }
}

Test(reload, serves_who_waits_in_the_queue_of_an_address_that_is_removed, .timeout = 30) {
    struct queue queue;
    queue_start(&queue, 2);
    queue_reload(&queue, queue_yaml(&queue, "web", "127.0.0.1:0", 2));
    expect_refused(queue.address);
}

Test(reload, keeps_the_socket_of_a_listener_that_is_renamed, .timeout = 30) {
    struct queue queue;
    queue_start(&queue, 2);
    queue_reload(&queue, queue_yaml(&queue, "renamed", queue.address, 2));
    cr_assert(process_count_lines(&queue.moonring.process.errors, "listening on ") == 1);
}

Test(reload, lets_who_waits_for_room_keep_waiting_when_the_address_is_removed, .timeout = 30) {
    struct stage stage;
    struct pair first, waiting[3];
    stage_open(&stage);
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s', limits: {max_connections: 1}}}\n"
                               "process: {workers: 1}\n";
    moonring_start(&stage.moonring, yaml, stage.address, stage.servers[0].address);
    pair_open(&first, stage.address, &stage.servers[0]);
    for (size_t index = 0; index < 3; index++) {
        peer_connect(&waiting[index].client, stage.address);
    }
    moonring_reload(&stage.moonring, yaml, "127.0.0.1:0", stage.servers[0].address);
    cr_assert_not(peer_listener_has_client(&stage.servers[0], 200));
    pair_close(&first);
    for (size_t index = 0; index < 3; index++) {
        pair_accept(&waiting[index], &stage.servers[0]);
        pair_exchange(&waiting[index], 1000);
        pair_close(&waiting[index]);
    }
    expect_refused(stage.address);
}

Test(reload, goes_from_every_address_of_a_port_to_one_and_back, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    char every[16];
    stage_open(&stage);
    snprintf(every, sizeof(every), ":%s", strrchr(stage.address, ':') + 1);
    moonring_start(&stage.moonring, PLAIN, every, stage.servers[0].address);
    for (int round = 0; round < 3; round++) {
        moonring_reload(&stage.moonring, PLAIN, stage.address, stage.servers[0].address);
        pair_open(&pair, stage.address, &stage.servers[0]);
        pair_close(&pair);
        moonring_reload(&stage.moonring, PLAIN, every, stage.servers[0].address);
        pair_open(&pair, stage.address, &stage.servers[0]);
        pair_close(&pair);
    }
}

Test(reload, moves_unix_sockets_with_their_rights_and_removes_what_is_left, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    struct stat status;
    char first[TEMPORARY_PATH_MAX], second[TEMPORARY_PATH_MAX], address[TEMPORARY_PATH_MAX + 8];
    static const char yaml[] = "listeners: {web: {bind: {address: 'unix:%s', mode: '%s'}, upstream: '%s'}}\n";
    struct temporary folder;
    stage_open(&stage);
    temporary_create(&folder);
    temporary_path(&folder, "first.sock", first);
    temporary_path(&folder, "second.sock", second);
    moonring_start(&stage.moonring, yaml, first, "0600", stage.servers[0].address);
    moonring_reload(&stage.moonring, yaml, first, "0660", stage.servers[0].address);
    cr_assert(stat(first, &status) == 0 && (status.st_mode & 0777) == 0660);
    moonring_reload(&stage.moonring, yaml, second, "0606", stage.servers[0].address);
    cr_assert(stat(second, &status) == 0 && (status.st_mode & 0777) == 0606);
    snprintf(address, sizeof(address), "unix:%s", second);
    pair_open(&pair, address, &stage.servers[0]);
    pair_exchange(&pair, 1000);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (stat(first, &status) == 0) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s is still there", first);
        deadline_pause(5);
    }
    moonring_reload(&stage.moonring, yaml, first, "0600", stage.servers[0].address);
    cr_assert(stat(first, &status) == 0);
}

/* --- workers ----------------------------------------------------------------------------------------------------- */

#define WORKERS PLAIN "process: {workers: %d}\n"

static void wait_for_threads(const struct moonring *moonring, size_t count) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (process_threads_count(&moonring->process) != count) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%zu threads, not %zu", process_threads_count(&moonring->process),
                  count);
        deadline_pause(5);
    }
}

Test(reload, makes_more_workers_and_fewer, .timeout = 60) {
    enum { CLIENTS = 40 };
    struct stage stage;
    struct pair pairs[CLIENTS];
    stage_open(&stage);
    moonring_start(&stage.moonring, WORKERS, stage.address, stage.servers[0].address, 1);
    size_t others = process_threads_count(&stage.moonring.process) - 1;
    static const int steps[] = {4, 2, 3, 1, 4, 1};
    double completions = 0;
    for (size_t step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
        moonring_reload(&stage.moonring, WORKERS, stage.address, stage.servers[0].address, steps[step]);
        for (size_t index = 0; index < CLIENTS; index++) {
            pair_open(&pairs[index], stage.address, &stage.servers[0]);
            pair_exchange(&pairs[index], 1000);
        }
        for (size_t index = 0; index < CLIENTS; index++) {
            pair_close(&pairs[index]);
        }
        wait_for_threads(&stage.moonring, others + (size_t)steps[step]);
        moonring_wait_counter_is(&stage.moonring, "moonring_sessions_active", 0);
        double more = moonring_counter(&stage.moonring, "moonring_ring_completions_total");
        cr_assert(more > completions, "%g after %g: those of a worker that has ended count, too", more, completions);
        completions = more;
    }
    double opened = moonring_counter(&stage.moonring, "moonring_sessions_opened_total");
    cr_assert(opened == CLIENTS * sizeof(steps) / sizeof(steps[0]), "%g", opened);
    moonring_stop(&stage.moonring);
}

Test(reload, lets_a_worker_that_is_too_many_serve_its_sessions_to_their_end, .timeout = 60) {
    enum { CLIENTS = 20 };
    struct stage stage;
    struct pair pairs[CLIENTS];
    stage_open(&stage);
    moonring_start(&stage.moonring, WORKERS, stage.address, stage.servers[0].address, 4);
    size_t threads = process_threads_count(&stage.moonring.process);
    for (size_t index = 0; index < CLIENTS; index++) {
        pair_open(&pairs[index], stage.address, &stage.servers[0]);
    }
    moonring_reload(&stage.moonring, WORKERS, stage.address, stage.servers[0].address, 1);
    for (size_t index = 0; index < CLIENTS; index++) {
        pair_exchange(&pairs[index], 100000);
    }
    /* It is wanted again before it has ended: it accepts again. */
    moonring_reload(&stage.moonring, WORKERS, stage.address, stage.servers[0].address, 4);
    cr_assert(process_threads_count(&stage.moonring.process) == threads);
    moonring_reload(&stage.moonring, WORKERS, stage.address, stage.servers[0].address, 1);
    for (size_t index = 0; index < CLIENTS; index++) {
        pair_exchange(&pairs[index], 1000);
        pair_close(&pairs[index]);
    }
    wait_for_threads(&stage.moonring, threads - 3);
    moonring_stop(&stage.moonring);
}

Test(reload, loses_nobody_who_waits_in_the_queue_of_a_worker_that_ends, .timeout = 60) {
    struct queue queue;
    queue_start(&queue, 4);
    queue_reload(&queue, queue_yaml(&queue, "web", queue.address, 1));
}

Test(reload, shares_a_unix_socket_with_more_workers_and_fewer, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    char address[ADDRESS_TEXT_MAX];
    stage_open(&stage);
    static const int steps[] = {3, 1, 2, 4, 1};
    moonring_start(&stage.moonring, "listeners: {web: {bind: 'unix:@moonring-%d', upstream: '%s'}}\n", getpid(),
                   stage.servers[0].address);
    snprintf(address, sizeof(address), "unix:@moonring-%d", getpid());
    for (size_t step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
        moonring_reload(&stage.moonring, WORKERS, address, stage.servers[0].address, steps[step]);
        for (int round = 0; round < 20; round++) {
            pair_open(&pair, address, &stage.servers[0]);
            pair_exchange(&pair, 100);
            pair_close(&pair);
        }
    }
    moonring_stop(&stage.moonring);
}

/* --- logs -------------------------------------------------------------------------------------------------------- */

static bool file_has(const struct temporary *folder, const char *name, const char *text) {
    char path[TEMPORARY_PATH_MAX], content[8192];
    FILE *file = fopen(temporary_path(folder, name, path), "re");
    if (file == NULL) {
        return false;
    }
    size_t size = fread(content, 1, sizeof(content) - 1, file);
    fclose(file);
    content[size] = 0;
    return strstr(content, text) != NULL;
}

static void wait_for_text(const struct temporary *folder, const char *name, const char *text) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (!file_has(folder, name, text)) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s has no %s", name, text);
        deadline_pause(5);
    }
}

#define ACCESS PLAIN "log: {access: %s}\n"

Test(reload, tells_of_a_session_where_it_would_have_been_told_of_when_it_began, .timeout = 60) {
    struct stage stage;
    struct pair before, after;
    char target[256];
    const struct temporary *folder = &stage.moonring.folder;
    stage_start(&stage);
    size_t descriptors = process_descriptors_count(&stage.moonring.process);
    pair_open(&before, stage.address, &stage.servers[0]);
    snprintf(target, sizeof(target), "{target: 'file:%s/access.log', format: json}", folder->path);
    moonring_reload(&stage.moonring, ACCESS, stage.address, stage.servers[0].address, target);
    pair_open(&after, stage.address, &stage.servers[0]);
    pair_close(&after);
    wait_for_text(folder, "access.log", "\"id\":");
    pair_close(&before);
    moonring_expect_session(&stage.moonring, "reason=client_fin");
    moonring_reload(&stage.moonring, ACCESS, stage.address, stage.servers[0].address, "off");
    pair_open(&after, stage.address, &stage.servers[0]);
    pair_close(&after);
    moonring_reload(&stage.moonring, ACCESS, stage.address, stage.servers[0].address, "{target: stdout}");
    pair_open(&after, stage.address, &stage.servers[0]);
    pair_close(&after);
    moonring_wait_session(&stage.moonring);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (process_descriptors_count(&stage.moonring.process) != descriptors) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "an old log is still open");
        deadline_pause(5);
    }
}

Test(reload, changes_the_form_of_a_log_that_stays, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    static const char *const formats[] = {"json", "text", "json"};
    for (size_t round = 0; round < 3; round++) {
        char target[64];
        snprintf(target, sizeof(target), "{target: stdout, format: %s}", formats[round]);
        moonring_reload(&stage.moonring, ACCESS, stage.address, stage.servers[0].address, target);
        pair_open(&pair, stage.address, &stage.servers[0]);
        pair_close(&pair);
        process_wait_line(&stage.moonring.process, &stage.moonring.process.output,
                          round == 1 ? " reason=client_fin" : "\"reason\":\"client_fin\"");
    }
}

Test(reload, moves_the_error_log_or_leaves_it_where_it_is, .timeout = 60) {
    struct stage stage;
    const struct temporary *folder = &stage.moonring.folder;
    static const char yaml[] = PLAIN "log: {error: {target: 'file:%s/%s'}}\n";
    stage_start(&stage);
    moonring_expect_reload_refused(&stage.moonring, "no-such-folder/error.log", yaml, stage.address,
                                   stage.servers[0].address, folder->path, "no-such-folder/error.log");
    temporary_write(folder, "moonring.yaml", yaml, stage.address, stage.servers[0].address, folder->path, "error.log");
    process_signal(&stage.moonring.process, SIGHUP);
    wait_for_text(folder, "error.log", "reloaded: generation 2");
    temporary_write(folder, "moonring.yaml", PLAIN, stage.address, stage.servers[0].address);
    moonring_reload_again(&stage.moonring);
}

/* --- what stays as it is ----------------------------------------------------------------------------------------- */

Test(reload, refuses_what_takes_a_restart_and_names_it, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    moonring_expect_reload_refused(&stage.moonring, "splice", PLAIN "io: {splice: off}\n", stage.address,
                                   stage.servers[0].address);
    moonring_expect_reload_refused(&stage.moonring, "user", PLAIN "process: {user: nobody}\n", stage.address,
                                   stage.servers[0].address);
    moonring_reload(&stage.moonring, PLAIN, stage.address, stage.servers[1].address);
}

/* A connection of moonring's from its own point of view. */
static int option_of(const struct moonring *moonring, int level, int option) {
    int value = -1;
    for (int fd = 3; fd < 100; fd++) {
        int copy = (int)syscall(SYS_pidfd_getfd, moonring->process.pidfd, fd, 0);
        struct sockaddr_storage peer;
        socklen_t size = sizeof(peer);
        socklen_t value_size = sizeof(value);
        if (copy >= 0 && getpeername(copy, (struct sockaddr *)&peer, &size) == 0) {
            cr_assert(getsockopt(copy, level, option, &value, &value_size) == 0);
        }
        close(copy);
    }
    return value;
}

/* The queue that a listening socket of moonring's has room for. */
static unsigned backlog_of(const struct moonring *moonring) {
    struct tcp_info info = {.tcpi_sacked = 0};
    for (int fd = 3; fd < 100; fd++) {
        int copy = (int)syscall(SYS_pidfd_getfd, moonring->process.pidfd, fd, 0);
        struct tcp_info found;
        socklen_t size = sizeof(found);
        if (copy >= 0 && getsockopt(copy, IPPROTO_TCP, TCP_INFO, &found, &size) == 0 &&
            found.tcpi_state == TCP_LISTEN) {
            info = found;
        }
        close(copy);
    }
    return info.tcpi_sacked; /* of a listening socket */
}

/* What is not looked at when sessions begin. */
Test(reload, is_asked_when_moonring_logs_listens_and_stops, .timeout = 30) {
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s', tcp: {backlog: %d}}}\n"
                               "log: {error: {level: %s}}\nshutdown: {drain_timeout: %s}\n";
    struct stage stage;
    struct pair pair;
    stage_open(&stage);
    const char *server = stage.servers[0].address;
    moonring_start(&stage.moonring, yaml, stage.address, server, 7, "info", "1h");
    cr_assert(backlog_of(&stage.moonring) == 7);
    temporary_write(&stage.moonring.folder, "moonring.yaml", yaml, stage.address, server, 8, "warn", "1h");
    process_signal(&stage.moonring.process, SIGHUP);
    moonring_wait_counter_is(&stage.moonring, "moonring_generation", 2);
    cr_assert(process_count_lines(&stage.moonring.process.errors, "reloaded") == 0);
    moonring_reload(&stage.moonring, yaml, stage.address, server, 9, "info", "100ms");
    cr_assert(backlog_of(&stage.moonring) == 9);
    pair_open(&pair, stage.address, &stage.servers[0]);
    process_signal(&stage.moonring.process, SIGTERM);
    cr_assert(process_wait(&stage.moonring.process) == 0);
    process_wait_line(&stage.moonring.process, &stage.moonring.process.output, "reason=shutdown");
}

Test(reload, switches_socket_options_on_and_off, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s', tcp: {nodelay: %s, keepalive: %s}}}\n";
    stage_open(&stage);
    moonring_start(&stage.moonring, yaml, stage.address, stage.servers[0].address, "true", "{idle: 60s}");
    for (int round = 0; round < 2; round++) {
        bool on = round == 1;
        moonring_reload(&stage.moonring, yaml, stage.address, stage.servers[0].address, on ? "true" : "false",
                        on ? "{idle: 60s}" : "off");
        pair_open(&pair, stage.address, &stage.servers[0]);
        cr_expect(option_of(&stage.moonring, IPPROTO_TCP, TCP_NODELAY) == on);
        cr_expect(option_of(&stage.moonring, SOL_SOCKET, SO_KEEPALIVE) == on);
        pair_close(&pair);
        moonring_wait_counter_is(&stage.moonring, "moonring_sessions_active", 0);
    }
}

/* --- nobody is reset ---------------------------------------------------------------------------------------------- */

static size_t cycles_wanted(void) {
    const char *text = getenv("RELOAD_CYCLES");
    return text == NULL ? 10 : strtoull(text, NULL, 10);
}

/* The socket that is left has clients in the middle of a handshake nearly every time. */
Test(reload, between_every_address_of_a_port_and_one_resets_nobody, .timeout = 600) {
    struct stage stage;
    struct mirror mirror;
    struct crowd crowd;
    char every[16];
    size_t cycles = cycles_wanted();
    stage_open(&stage);
    mirror_start(&mirror, "127.0.0.1:0");
    snprintf(every, sizeof(every), ":%s", strrchr(stage.address, ':') + 1);
    moonring_start(&stage.moonring, PLAIN, every, mirror.address);
    crowd_start(&crowd, stage.address, 32, 100, 0);
    for (size_t cycle = 0; cycle < cycles; cycle++) {
        moonring_reload(&stage.moonring, PLAIN, stage.address, mirror.address);
        deadline_pause(50);
        moonring_reload(&stage.moonring, PLAIN, every, mirror.address);
        deadline_pause(50);
    }
    crowd_stop(&crowd);
    fprintf(stderr, "%zu cycles: %lu sessions, %lu refused, %lu reset, %lu cut short\n", cycles,
            atomic_load(&crowd.sessions), atomic_load(&crowd.mishaps[MISHAP_REFUSED]),
            atomic_load(&crowd.mishaps[MISHAP_RESET]), atomic_load(&crowd.mishaps[MISHAP_LOST]));
    cr_assert(atomic_load(&crowd.sessions) > 0);
    cr_assert(crowd_mishaps(&crowd) == 0);
}

static uint32_t retransmits(const struct peer *peer) {
    struct tcp_info info;
    socklen_t size = sizeof(info);
    cr_assert(getsockopt(peer->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0);
    return info.tcpi_total_retrans;
}

/* Also while the socket that was left still accepts who had begun before. */
Test(reload, that_brings_an_address_back_at_once_serves_it_at_once, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    for (int round = 0; round < 5; round++) {
        moonring_reload(&stage.moonring, PLAIN, "127.0.0.1:0", stage.servers[0].address);
        moonring_reload(&stage.moonring, PLAIN, stage.address, stage.servers[0].address);
        pair_open(&pair, stage.address, &stage.servers[0]);
        cr_assert(retransmits(&pair.client) == 0, "a client had to try twice");
        pair_close(&pair);
    }
}
