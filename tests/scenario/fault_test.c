/* Faults on the real thing: servers that are paused or killed under load, a full disk, too few descriptors, and peers
 * that delay, throttle and cut wherever they like. */
#include "tests/support/deadline.h"
#include "tests/support/echo.h"
#include "tests/support/moonring.h"
#include "tests/support/random.h"
#include "tests/support/traffic.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- redis, paused and killed ------------------------------------------------------------------------------------ */

struct redis {
    struct process process;
    struct temporary folder;
    char port[8];
};

static void redis_run(struct redis *redis) {
    process_start(&redis->process, NULL,
                  ARGUMENTS("redis-server", "--port", redis->port, "--bind", "127.0.0.1", "--dir", redis->folder.path,
                            "--save", "", "--appendonly", "no"));
    process_wait_line(&redis->process, &redis->process.output, "Ready to accept connections");
}

static void redis_start(struct redis *redis) {
    temporary_create(&redis->folder);
    snprintf(redis->port, sizeof(redis->port), "%u", peer_free_port());
    redis_run(redis);
}

static void echoes_open(struct echo *echoes, size_t count, const char *address, uint64_t ahead_max) {
    for (size_t index = 0; index < count; index++) {
        echo_open(&echoes[index], address, index + 1, ahead_max);
    }
}

static size_t echoes_ended(const struct echo *echoes, size_t count) {
    size_t ended = 0;
    for (size_t index = 0; index < count; index++) {
        ended += echo_has_ended(&echoes[index]);
    }
    return ended;
}

static uint64_t echoes_end(struct echo *echoes, size_t count) {
    uint64_t asked_bytes = 0;
    for (size_t index = 0; index < count; index++) {
        asked_bytes += echoes[index].peer.sent;
        peer_end(&echoes[index].peer);
        peer_expect_end(&echoes[index].peer);
        peer_close(&echoes[index].peer);
    }
    return asked_bytes;
}

/* Everybody asks much more than fits between them and a server that does not read. */
Test(fault, of_a_paused_server_loses_no_byte_refuses_nobody_and_burns_no_cpu, .timeout = 60) {
    enum {
        CLIENTS = 16,
        LATE_CLIENTS = 4,
        ALL = CLIENTS + LATE_CLIENTS,
        AHEAD_MAX = 16 << 20,
        PAUSE_MS = 1000,
        IDLE_NS = 50000000
    };
    struct redis redis;
    struct moonring moonring;
    struct echo echoes[ALL];
    redis_start(&redis);
    moonring_start(&moonring,
                   "listeners: {redis: {bind: '127.0.0.1:0', upstream: '127.0.0.1:%s'}}\nprocess: {workers: 2}\n",
                   redis.port);
    echoes_open(echoes, CLIENTS, moonring.address, AHEAD_MAX);
    echoes_run(echoes, CLIENTS, 300);

    process_signal(&redis.process, SIGSTOP);
    echoes_run(echoes, CLIENTS, PAUSE_MS);
    echoes_open(echoes + CLIENTS, LATE_CLIENTS, moonring.address, AHEAD_MAX);
    echoes_run(echoes, ALL, PAUSE_MS);
    moonring_wait_counter_is(&moonring, "moonring_server_sessions_active", ALL);
    uint64_t cpu_ns = UINT64_MAX;
    for (int second = 0; second < 10 && cpu_ns >= IDLE_NS; second++) { /* until what fits between them is there */
        uint64_t cpu_before_ns = process_cpu_ns(&moonring.process);
        echoes_run(echoes, ALL, PAUSE_MS);
        cpu_ns = process_cpu_ns(&moonring.process) - cpu_before_ns;
    }
    cr_assert(cpu_ns < IDLE_NS, "%lu ns of CPU in a second of waiting", cpu_ns);

    process_signal(&redis.process, SIGCONT);
    echoes_run(echoes, ALL, 300);
    echoes_settle(echoes, ALL);
    cr_assert(echoes_ended(echoes, ALL) == 0);
    uint64_t asked_bytes = echoes_end(echoes, ALL);
    uint64_t logged_bytes = 0;
    for (size_t index = 0; index < ALL; index++) {
        const char *line = moonring_expect_session(&moonring, "reason=client_fin tries=1");
        logged_bytes += session_line_number(line, "from_client_bytes");
    }
    cr_assert(logged_bytes == asked_bytes, "%lu bytes of %lu", logged_bytes, asked_bytes);
    moonring_stop(&moonring);
}

enum { KILL_CLIENTS = 16, KILL_AHEAD_MAX = 1 << 20 };

/* The server died in the middle of requests, or between two. */
static void expect_lost_sessions(struct moonring *moonring, size_t count) {
    for (size_t index = 0; index < count; index++) {
        const char *line = moonring_expect_session(moonring, "server=a ended_by=server");
        cr_assert(strstr(line, "reason=server_reset") != NULL || strstr(line, "reason=server_fin") != NULL, "%s", line);
    }
}

/* Waits until so many have seen that their server was killed. All others still get answers. */
static void wait_for_lost_sessions(struct echo *echoes, size_t count, size_t lost) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (echoes_ended(echoes, count) < lost) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "of %zu sessions of a server that was killed %zu have ended", lost,
                  echoes_ended(echoes, count));
        echoes_run(echoes, count, 50);
    }
}

Test(fault, of_a_killed_server_ends_its_sessions_and_new_ones_go_to_the_other_until_it_is_back, .timeout = 60) {
    struct redis a, b;
    struct moonring moonring;
    struct echo echoes[KILL_CLIENTS], more[KILL_CLIENTS];
    redis_start(&a);
    redis_start(&b);
    moonring_start(&moonring,
                   "listeners: {redis: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams: {pool: {servers: [{name: a, address: '127.0.0.1:%s'}, {name: b, address: "
                   "'127.0.0.1:%s'}], retry: {attempts: 2}}}\n"
                   "process: {workers: 2}\n",
                   a.port, b.port);
    echoes_open(echoes, KILL_CLIENTS, moonring.address, KILL_AHEAD_MAX);
    echoes_run(echoes, KILL_CLIENTS, 300);
    moonring_wait_counter_is(&moonring, "moonring_server_sessions_active", KILL_CLIENTS);
    const char *sessions_of_a = "moonring_server_sessions_active{upstream=\"pool\",server=\"a\"}";
    size_t on_a = (size_t)moonring_counter(&moonring, sessions_of_a);
    cr_assert(on_a > 0 && on_a < KILL_CLIENTS, "%zu sessions of %d", on_a, KILL_CLIENTS);

    process_kill(&a.process);
    wait_for_lost_sessions(echoes, KILL_CLIENTS, on_a);
    moonring_wait_counter_is(&moonring, sessions_of_a, 0);
    expect_lost_sessions(&moonring, on_a);
    echoes_open(more, KILL_CLIENTS, moonring.address, KILL_AHEAD_MAX);
    echoes_run(more, KILL_CLIENTS, 300);
    echoes_settle(more, KILL_CLIENTS);
    cr_assert(echoes_ended(more, KILL_CLIENTS) == 0);
    cr_assert(moonring_counter(&moonring, "moonring_retries_total") > 0);
    echoes_end(more, KILL_CLIENTS);
    for (size_t index = 0; index < KILL_CLIENTS; index++) {
        moonring_expect_session(&moonring, "server=b reason=client_fin");
    }

    redis_run(&a);
    echoes_open(more, KILL_CLIENTS, moonring.address, KILL_AHEAD_MAX);
    echoes_run(more, KILL_CLIENTS, 300);
    echoes_settle(more, KILL_CLIENTS);
    cr_assert(moonring_counter(&moonring, sessions_of_a) > 0, "it is not used again");
    echoes_end(more, KILL_CLIENTS);
    echoes_settle(echoes, KILL_CLIENTS);
    cr_assert(echoes_ended(echoes, KILL_CLIENTS) == on_a);
}

/* --- a full disk ------------------------------------------------------------------------------------------------- */

enum { DISK_SIZE = 256 << 10 };

/* A disk of our own, which is gone with this process. Needs root. */
static void disk_mount(const struct temporary *folder) {
    char options[64];
    snprintf(options, sizeof(options), "size=%d", DISK_SIZE);
    cr_assert(unshare(CLONE_NEWNS) == 0, "this test has to be run as root: %m");
    cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    cr_assert(mount("tmpfs", folder->path, "tmpfs", 0, options) == 0, "%m");
}

static void disk_fill(const char *path) {
    static const char bytes[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert(fd >= 0);
    while (write(fd, bytes, sizeof(bytes)) > 0) {
    }
    close(fd);
}

static void sessions_run(struct traffic *traffic, const char *address, size_t count) {
    const struct script script = {
        .send_size = 3000, .receive_max = ENDLESS, .write_size = 1000, .read_size = 65536, .end = ENDS_WITH_FIN};
    for (size_t index = 0; index < count; index++) {
        while (!traffic_has_room(traffic)) {
            traffic_turn(traffic, 100);
        }
        traffic_open(traffic, address, &script, &script);
    }
    traffic_run(traffic);
}

/* The lines that are whole: a line that the end of the disk cut in two is lost. */
static size_t count_whole_lines(const char *path) {
    char line[1024];
    size_t count = 0;
    FILE *file = fopen(path, "re");
    cr_assert(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        count += strncmp(line, "time=", 5) == 0 && strstr(line, " error=") != NULL && strchr(line, '\n') != NULL;
    }
    fclose(file);
    return count;
}

/* Lines are written a moment after their session. Returns how many were lost. */
static size_t wait_for_lines(struct moonring *moonring, const char *path, size_t sessions) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    for (;;) {
        size_t lost = (size_t)moonring_counter(moonring, "moonring_access_log_lost_lines_total");
        size_t whole = count_whole_lines(path);
        if (whole + lost == sessions) {
            return lost;
        }
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%zu lines and %zu lost ones of %zu sessions", whole, lost,
                  sessions);
        deadline_pause(10);
    }
}

/* Each worker's are told by themselves, once writing works again. */
static void wait_until_lines_are_told(struct moonring *moonring, size_t lost) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    for (size_t told = 0; told != lost;) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%zu lines were lost, %zu were told", lost, told);
        deadline_pause(5);
        told = 0;
        const char *found = process_text(&moonring->process.errors);
        while ((found = strstr(found, "access.log: ")) != NULL) {
            found += strlen("access.log: ");
            told += strstr(found, "lines were lost") == strchr(found, ' ') + 1 ? strtoul(found, NULL, 10) : 0;
        }
    }
}

Test(fault, of_a_full_disk_loses_lines_of_the_access_log_and_counts_them_and_nothing_else, .timeout = 60) {
    enum { BEFORE = 100, WHILE = 400, AFTER = 100, AT_ONCE = 32 };
    struct temporary folder;
    struct moonring moonring;
    struct peer_listener listener;
    struct traffic traffic;
    char log_path[TEMPORARY_PATH_MAX], ballast_path[TEMPORARY_PATH_MAX], rest[256];
    temporary_create(&folder);
    disk_mount(&folder);
    temporary_path(&folder, "access.log", log_path);
    temporary_path(&folder, "ballast", ballast_path);
    snprintf(rest, sizeof(rest), "process: {workers: 2}\nlog: {access: {target: 'file:%s'}}\n", log_path);
    moonring_start_web(&moonring, &listener, "", rest);
    traffic_init(&traffic, AT_ONCE, &listener, 1);

    sessions_run(&traffic, moonring.address, BEFORE);
    cr_assert(wait_for_lines(&moonring, log_path, BEFORE) == 0);
    disk_fill(ballast_path);
    sessions_run(&traffic, moonring.address, WHILE);
    size_t lost = wait_for_lines(&moonring, log_path, BEFORE + WHILE);
    cr_assert(lost > WHILE / 2, "only %zu lines were lost", lost); /* some fit into the file's last block */
    cr_assert(unlink(ballast_path) == 0);
    sessions_run(&traffic, moonring.address, AFTER);
    cr_assert(wait_for_lines(&moonring, log_path, BEFORE + WHILE + AFTER) == lost, "lines are still lost");

    wait_until_lines_are_told(&moonring, lost);
    cr_assert(process_count_lines(&moonring.process.errors, "No space left on device") == 1);
    cr_assert(process_count_lines(&moonring.process.errors, "writing works again") == 1);
    traffic_finish(&traffic);
    moonring_stop(&moonring);
}

/* --- too few descriptors ----------------------------------------------------------------------------------------- */

static rlim_t descriptors_allowed; /* of the next process: what prepares it takes no argument */

static void allow_descriptors(void) {
    struct rlimit limit = {.rlim_cur = descriptors_allowed, .rlim_max = descriptors_allowed};
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* True when it became ready. Else it must have ended, soon, with 1, and said why. */
static bool starts_with(rlim_t descriptors, bool *no_ring) {
    struct moonring moonring;
    descriptors_allowed = descriptors;
    moonring_launch(&moonring, allow_descriptors,
                    "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}}\nprocess: {workers: 4}\n");
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (process_is_running(&moonring.process)) {
        if (process_count_lines(&moonring.process.errors, " info ready") > 0) {
            moonring_stop(&moonring);
            return true;
        }
        cr_assert(deadline_left_ms(deadline_ms) > 0, "with %lu descriptors it neither starts nor ends: %s", descriptors,
                  process_last_words(&moonring.process));
        deadline_pause(1);
    }
    int code = process_wait(&moonring.process);
    const char *errors = process_text(&moonring.process.errors);
    bool says_why = strstr(errors, "descriptor") != NULL || strstr(errors, "Too many open files") != NULL;
    cr_assert(code == 1 && says_why, "with %lu descriptors it ended with %d and said: %s", descriptors, code, errors);
    *no_ring = strstr(errors, "io_uring") != NULL;
    return false;
}

/* One more descriptor at a time: at first there is none for the first ring, then none for one of the later ones. */
Test(fault, of_a_ring_that_cannot_be_made_on_one_of_four_workers_ends_the_process_and_says_why, .timeout = 60) {
    enum { LEAST = 4, MOST = 64 };
    size_t without_ring = 0;
    bool no_ring;
    rlim_t descriptors = LEAST;
    while (!starts_with(descriptors, &no_ring)) {
        without_ring += no_ring;
        descriptors++;
        cr_assert(descriptors < MOST);
    }
    cr_assert(without_ring >= 2, "%zu", without_ring);
    cr_assert(starts_with(descriptors + 1, &no_ring));
}

/* --- peers that delay, throttle and cut -------------------------------------------------------------------------- */

enum {
    CUT_SESSIONS = 400,
    CUT_AT_ONCE = 100,
    CUT_PIECES_MAX = 300, /* so many writes or reads at the most, and */
    CUT_PAUSE_MS = 4,     /* so long a pause after each */
};

static uint32_t draw_piece_size(struct random *random, uint64_t stream_size) {
    uint32_t least = (uint32_t)(stream_size / CUT_PIECES_MAX) + 1;
    uint32_t size = random_size(random, 16);
    return size < least ? least : size;
}

static enum script_end draw_end(struct random *random) {
    return (enum script_end)random_between(random, ENDS_WITH_FIN, ENDS_WITH_RESET);
}

/* Of its length: from one byte to 2 MiB. Half of those who cut do so by what they have received. */
static void draw_scripts(struct random *random, struct script *client, struct script *server) {
    struct script *sides[] = {client, server};
    for (size_t index = 0; index < 2; index++) {
        *sides[index] = (struct script){.send_size = random_size(random, 21) - 1,
                                        .receive_max = ENDLESS,
                                        .delay_ms = random_chance(random, 20) ? random_between(random, 1, 100) : 0,
                                        .write_pause_ms = random_between(random, 0, CUT_PAUSE_MS),
                                        .read_pause_ms = random_between(random, 0, CUT_PAUSE_MS),
                                        .end = draw_end(random)};
    }
    for (size_t index = 0; index < 2; index++) {
        struct script *side = sides[index];
        uint64_t comes = sides[1 - index]->send_size;
        side->write_size = draw_piece_size(random, side->send_size);
        side->read_size = draw_piece_size(random, comes);
        if (comes > 0 && random_chance(random, 50)) {
            side->receive_max = random_between(random, 1, (uint32_t)comes);
        }
    }
}

/* Clients and servers of both families in every combination. */
static void start_on_four_ways(struct moonring *moonring, struct temporary *folder, struct peer_listener listeners[2],
                               char addresses[4][ADDRESS_TEXT_MAX], const char *io) {
    static const char *const names[] = {"tcp_tcp", "tcp_unix", "unix_tcp", "unix_unix"};
    char address[ADDRESS_TEXT_MAX];
    temporary_create(folder);
    snprintf(address, sizeof(address), "unix:%s/server.sock", folder->path);
    peer_listen(&listeners[0], "127.0.0.1:0");
    peer_listen(&listeners[1], address);
    moonring_start(moonring,
                   "listeners:\n"
                   "  tcp_tcp: {bind: '127.0.0.1:0', upstream: '%s'}\n"
                   "  tcp_unix: {bind: '127.0.0.1:0', upstream: '%s'}\n"
                   "  unix_tcp: {bind: 'unix:%s/a.sock', upstream: '%s'}\n"
                   "  unix_unix: {bind: 'unix:%s/b.sock', upstream: '%s'}\n"
                   "process: {workers: 2}\n"
                   "io: %s\n",
                   listeners[0].address, listeners[1].address, folder->path, listeners[0].address, folder->path,
                   listeners[1].address, io);
    for (size_t index = 0; index < 4; index++) {
        moonring_listener_address(moonring, names[index], 0, addresses[index]);
    }
}

static uint64_t seed_of_test(uint64_t usual) {
    const char *text = getenv("TEST_SEED");
    return text == NULL ? usual : strtoull(text, NULL, 10);
}

static void survives_cuts(uint64_t usual_seed, const char *io) {
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listeners[2];
    struct traffic traffic;
    char addresses[4][ADDRESS_TEXT_MAX];
    struct random random = {.state = seed_of_test(usual_seed)};
    start_on_four_ways(&moonring, &folder, listeners, addresses, io);
    traffic_init(&traffic, CUT_AT_ONCE, listeners, 2);
    for (size_t index = 0; index < CUT_SESSIONS; index++) {
        struct script client, server;
        draw_scripts(&random, &client, &server);
        while (!traffic_has_room(&traffic)) {
            traffic_turn(&traffic, 100);
        }
        traffic_open(&traffic, addresses[index % 4], &client, &server);
    }
    traffic_run(&traffic);
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 0);
    moonring_wait_counter_is(&moonring, "moonring_buffers_in_use", 0);
    cr_assert(moonring_counter(&moonring, "moonring_sessions_opened_total") == CUT_SESSIONS);
    cr_assert(moonring_counter(&moonring, "moonring_buffers_heap_bytes") == 0);
    moonring_stop(&moonring);
    cr_assert(process_count_lines(&moonring.process.output, "ended_by=moonring") == 0, "%s",
              process_last_words(&moonring.process));
    traffic_finish(&traffic);
}

Test(fault, of_peers_that_delay_throttle_and_cut_is_passed_on_as_it_was, .timeout = 60) {
    survives_cuts(1, "{splice: auto}");
}

Test(fault, of_peers_that_delay_throttle_and_cut_is_passed_on_as_it_was_without_splice, .timeout = 60) {
    survives_cuts(2, "{splice: off}");
}

Test(fault, of_peers_that_delay_throttle_and_cut_is_passed_on_as_it_was_with_zero_copy, .timeout = 60) {
    survives_cuts(3, "{splice: off, zero_copy_send: true}");
}
