/* redis and nginx, killed, paused and silent while clients come and go: what clients notice of it. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/network.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    KNOCKERS = 4,
    SERVERS = 2,
    PATIENCE_MS = DEADLINE_MS / 2,
    IMPATIENCE_MS = 100, /* of those whose failures nobody counts */
};

/* Clients that connect, ask, and want an answer, again and again. */
struct knocking {
    struct address address;
    const char *question;
    const char *answer; /* how it begins */
    pthread_t threads[KNOCKERS];
    atomic_bool stop;
    _Atomic uint64_t answered;
    _Atomic uint64_t failed;
    _Atomic uint64_t since_ms; /* who began earlier is not counted */
    atomic_int patience_ms;    /* how long an answer may take */
};

static bool receives(int fd, const struct knocking *knocking) {
    const char *answer = knocking->answer;
    char text[64];
    size_t size = 0, wanted = strlen(answer);
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    while (size < wanted && poll(&readable, 1, atomic_load(&knocking->patience_ms)) > 0) {
        ssize_t got = recv(fd, text + size, wanted - size, 0);
        if (got <= 0) {
            return false;
        }
        size += (size_t)got;
    }
    return size == wanted && memcmp(text, answer, wanted) == 0;
}

static bool knock(const struct knocking *knocking) {
    int fd = socket(address_family(&knocking->address), SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answered = fd >= 0 && connect(fd, &knocking->address.any, knocking->address.length) == 0 &&
                    send(fd, knocking->question, strlen(knocking->question), MSG_NOSIGNAL) > 0 &&
                    receives(fd, knocking);
    close(fd);
    return answered;
}

static void *knock_on(void *argument) {
    struct knocking *knocking = argument;
    while (!atomic_load(&knocking->stop)) {
        uint64_t began_ms = deadline_now_ms();
        bool answered = knock(knocking);
        if (began_ms >= atomic_load(&knocking->since_ms)) {
            atomic_fetch_add(answered ? &knocking->answered : &knocking->failed, 1);
        }
    }
    return NULL;
}

static void knocking_start(struct knocking *knocking, const char *address, const char *question, const char *answer) {
    struct error error;
    *knocking = (struct knocking){.question = question, .answer = answer, .patience_ms = PATIENCE_MS};
    cr_assert(address_parse(&knocking->address, address, false, &error), "%s", error.text);
    for (size_t index = 0; index < KNOCKERS; index++) {
        cr_assert(pthread_create(&knocking->threads[index], NULL, knock_on, knocking) == 0);
    }
}

/* From now on; so many more answers, and how many failures there were meanwhile. */
static uint64_t knocking_failures(struct knocking *knocking, uint64_t answers) {
    atomic_store(&knocking->patience_ms, PATIENCE_MS);
    atomic_store(&knocking->since_ms, deadline_now_ms() + 1);
    deadline_pause(2);
    uint64_t failed = atomic_load(&knocking->failed);
    uint64_t wanted = atomic_load(&knocking->answered) + answers;
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); atomic_load(&knocking->answered) < wanted;) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%lu answers, %lu failures",
                  (unsigned long)atomic_load(&knocking->answered), (unsigned long)atomic_load(&knocking->failed));
        deadline_pause(5);
    }
    return atomic_load(&knocking->failed) - failed;
}

static void knocking_stop(struct knocking *knocking) {
    atomic_store(&knocking->stop, true);
    for (size_t index = 0; index < KNOCKERS; index++) {
        pthread_join(knocking->threads[index], NULL);
    }
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

static void redis_start(struct process *redis, const char *host, const char *port, const char *folder) {
    process_start(redis, NULL,
                  ARGUMENTS("redis-server", "--port", port, "--bind", host, "--protected-mode", "no", "--dir", folder,
                            "--save", "", "--appendonly", "no", "--tcp-backlog", "16"));
    process_wait_line(redis, &redis->output, "Ready to accept connections");
}

static void nginx_start(struct process *nginx, const char *host, const char *port, struct temporary *folder) {
    char path[TEMPORARY_PATH_MAX], name[32];
    snprintf(name, sizeof(name), "nginx-%s.conf", port);
    temporary_write(folder, name,
                    "daemon off; master_process off; pid nginx-%s.pid; error_log stderr;\n"
                    "events {}\n"
                    "http { access_log off; server { listen %s:%s backlog=16; return 200 hello; } }\n",
                    port, host, port);
    process_start(nginx, NULL,
                  ARGUMENTS("nginx", "-e", "stderr", "-p", folder->path, "-c", temporary_path(folder, name, path)));
    char address[ADDRESS_TEXT_MAX];
    snprintf(address, sizeof(address), "%s:%s", host, port);
    peer_wait_for_server(address);
}

struct stage {
    struct moonring moonring;
    struct temporary folder;
    struct process servers[SERVERS];
    const char *hosts[SERVERS];
    char ports[SERVERS][8];
    bool is_redis;
    struct knocking knocking;
};

static void server_start(struct stage *stage, size_t index) {
    if (stage->is_redis) {
        redis_start(&stage->servers[index], stage->hosts[index], stage->ports[index], stage->folder.path);
    } else {
        nginx_start(&stage->servers[index], stage->hosts[index], stage->ports[index], &stage->folder);
    }
}

static void stage_start_at(struct stage *stage, const char *host, bool is_redis, const char *keys) {
    *stage = (struct stage){.is_redis = is_redis, .hosts = {host, "127.0.0.1"}};
    temporary_create(&stage->folder);
    for (size_t index = 0; index < SERVERS; index++) {
        snprintf(stage->ports[index], sizeof(stage->ports[index]), "%u", peer_free_port());
        server_start(stage, index);
    }
    moonring_start(&stage->moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams:\n"
                   "  pool:\n"
                   "    servers: [{name: a, address: '%s:%s'}, {name: b, address: '127.0.0.1:%s'}]\n"
                   "    slow_start: 200ms\n"
                   "    %s\n"
                   "log: {access: off}\n"
                   "process: {workers: 2}\n",
                   host, stage->ports[0], stage->ports[1], keys);
    knocking_start(&stage->knocking, stage->moonring.address, is_redis ? "PING\r\n" : "GET / HTTP/1.0\r\n\r\n",
                   is_redis ? "+PONG" : "HTTP/1.1 200 OK");
    cr_assert(knocking_failures(&stage->knocking, 100) == 0, "before anything has happened");
}

static void stage_start(struct stage *stage, bool is_redis, const char *keys) {
    stage_start_at(stage, "127.0.0.1", is_redis, keys);
}

static void wait_log(struct stage *stage, const char *text) {
    process_wait_line(&stage->moonring.process, &stage->moonring.process.errors, text);
}

/* Who comes to a silent server gives up soon, until failures count again. */
static void server_pause(struct stage *stage, size_t index) {
    atomic_store(&stage->knocking.patience_ms, IMPATIENCE_MS);
    process_signal(&stage->servers[index], SIGSTOP);
}

/* Until then a check would be the first of its server, which decides alone. */
static void wait_checked(struct stage *stage) {
    moonring_wait_counter(&stage->moonring,
                          "moonring_server_checks_total{upstream=\"pool\",server=\"a\",result=\"passed\"}", 1);
    moonring_wait_counter(&stage->moonring,
                          "moonring_server_checks_total{upstream=\"pool\",server=\"b\",result=\"passed\"}", 1);
}

#define CHECKS "health_check: {interval: 100ms, timeout: 1s, rise: 2, fall: 2}"

/* Whoever had a session on it is cut; whoever comes afterwards notices nothing, before it is down nor afterwards. */
static void server_is_killed(bool is_redis) {
    struct stage stage;
    stage_start(&stage, is_redis, CHECKS);
    wait_checked(&stage);
    process_kill(&stage.servers[0]);
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "while it refuses");
    wait_log(&stage, "server a is down: Connection refused, 2 checks in a row");
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "when it is down");
    server_start(&stage, 0);
    wait_log(&stage, "server a is up again");
    process_kill(&stage.servers[1]);
    wait_log(&stage, "server b is down");
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "when it is back");
    knocking_stop(&stage.knocking);
}

Test(health_load, redis_is_killed, .timeout = 60) {
    server_is_killed(true);
}

Test(health_load, nginx_is_killed, .timeout = 60) {
    server_is_killed(false);
}

/* The kernel accepts for it as long as there is room in its queue, then it is silent. */
static void server_is_paused(bool is_redis) {
    struct stage stage;
    stage_start(&stage, is_redis, CHECKS);
    wait_checked(&stage);
    server_pause(&stage, 0);
    wait_log(&stage, "server a is down: no answer within 1s, 2 checks in a row");
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "after the fall time");
    process_signal(&stage.servers[0], SIGCONT);
    wait_log(&stage, "server a is up again");
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "when it is back");
    knocking_stop(&stage.knocking);
}

Test(health_load, redis_is_paused, .timeout = 60) {
    server_is_paused(true);
}

Test(health_load, nginx_is_paused, .timeout = 60) {
    server_is_paused(false);
}

/* --- a network that swallows packets ---------------------------------------------------------------------------- */

#define FAR_HOST "10.99.0.1"

static void shell(const char *script) {
    struct process process;
    process_run(&process, ARGUMENTS("sh", "-ec", script));
}

/* A network of our own, with a cable whose far end nobody is at. */
static void network_enter_with_hole(void) {
    network_enter();
    shell("ip link add hole type veth peer name bottom; ip link set hole arp off up; "
          "ip link set bottom arp off up; ip addr add 10.99.0.254/32 dev hole; ip addr add " FAR_HOST "/32 dev lo");
}

/* Neither an answer nor a refusal comes back; also not to sessions that there are. */
static void server_is_blackholed(bool is_redis) {
    struct stage stage;
    network_enter_with_hole();
    stage_start_at(&stage, FAR_HOST, is_redis, CHECKS);
    wait_checked(&stage);
    atomic_store(&stage.knocking.patience_ms, IMPATIENCE_MS);
    shell("ip addr del " FAR_HOST "/32 dev lo; ip route add " FAR_HOST " dev hole");
    wait_log(&stage, "server a is down: no answer within 1s, 2 checks in a row");
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "after the fall time");
    shell("ip route del " FAR_HOST " dev hole; ip addr add " FAR_HOST "/32 dev lo");
    wait_log(&stage, "server a is up again");
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "when it is back");
    knocking_stop(&stage.knocking);
}

Test(health_load, redis_is_blackholed, .timeout = 60) {
    server_is_blackholed(true);
}

Test(health_load, nginx_is_blackholed, .timeout = 60) {
    server_is_blackholed(false);
}

/* --- without checks ------------------------------------------------------------------------------------------------
 */

Test(health_load, without_checks_a_silent_server_is_ejected, .timeout = 60) {
    struct stage stage;
    stage_start(&stage, true,
                "timeouts: {connect: 200ms}\n    outlier_detection: {consecutive_failures: 3, ejection_time: 1h}");
    server_pause(&stage, 0);
    wait_log(&stage, "server a is ejected for 1h: "); /* after three, or some more before the control thread knows */
    cr_assert(knocking_failures(&stage.knocking, 500) == 0, "when it is ejected");
    process_signal(&stage.servers[0], SIGCONT);
    knocking_stop(&stage.knocking);
}

/* One that dies and returns ten times in a row costs no client that comes after its death. */
Test(health_load, flapping_is_not_felt, .timeout = 120) {
    struct stage stage;
    stage_start(&stage, true, "outlier_detection: {consecutive_failures: 2, ejection_time: 50ms}\n    " CHECKS);
    for (int time = 0; time < 10; time++) {
        process_kill(&stage.servers[0]);
        cr_assert(knocking_failures(&stage.knocking, 100) == 0, "time %d, dead", time);
        server_start(&stage, 0);
        cr_assert(knocking_failures(&stage.knocking, 100) == 0, "time %d, alive", time);
    }
    size_t lines = process_count_lines(&stage.moonring.process.errors, "server a");
    cr_assert(lines < 100, "%zu lines in the log", lines);
    knocking_stop(&stage.knocking);
}
