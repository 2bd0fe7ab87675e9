/* A reload may take long: name servers may be slow, and files be written bit by bit. Nobody else waits for it. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/network.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct wait {
    struct moonring moonring;
    struct peer_listener server;
    char socket[TEMPORARY_PATH_MAX + 8];
    char path[TEMPORARY_PATH_MAX];
    int pipe_fd; /* where the configuration is to come from */
};

static void configure(struct wait *wait, const char *server) {
    temporary_write(&wait->moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '127.0.0.1:0', upstream: app}}\n"
                    "upstreams: {app: {servers: ['%s'], health_check: {interval: 50ms, timeout: 200ms, fall: 2}}}\n"
                    "admin: {bind: '%s'}\n",
                    server, wait->socket);
}

static void wait_create(struct wait *wait) {
    char path[TEMPORARY_PATH_MAX];
    peer_listen(&wait->server, "127.0.0.1:0");
    temporary_create(&wait->moonring.folder);
    temporary_path(&wait->moonring.folder, "admin.sock", path);
    snprintf(wait->socket, sizeof wait->socket, "unix:%s", path);
    temporary_path(&wait->moonring.folder, "moonring.yaml", wait->path);
}

static void wait_start(struct wait *wait, process_prepare_fn *prepare) {
    wait_create(wait);
    configure(wait, wait->server.address);
    process_start(&wait->moonring.process, prepare, ARGUMENTS(moonring_program(), "run", "-c", wait->path));
    moonring_wait_ready(&wait->moonring);
}

/* A reload has begun, and waits for its configuration. */
static void wait_begin(struct wait *wait) {
    cr_assert_eq(unlink(wait->path), 0);
    cr_assert_eq(mkfifo(wait->path, 0600), 0);
    process_signal(&wait->moonring.process, SIGHUP);
    wait->pipe_fd = open(wait->path, O_WRONLY | O_CLOEXEC); /* waits until it reads */
    cr_assert_geq(wait->pipe_fd, 0);
}

/* Here it is. */
static void wait_end(struct wait *wait) {
    cr_assert_gt(dprintf(wait->pipe_fd,
                         "listeners: {web: {bind: ['%s'], upstream: '%s', timeouts: {idle: 7m}}}\n"
                         "admin: {bind: '%s'}\n",
                         wait->moonring.address, wait->server.address, wait->socket),
                 0);
    close(wait->pipe_fd);
}

/* Checks connect to the server, too: the session is the one that says something. */
static void session_open(struct wait *wait, struct pair *pair) {
    char byte = 0;
    peer_connect(&pair->client, wait->moonring.address);
    peer_send(&pair->client, "!");
    pair_accept(pair, &wait->server);
    while (poll(&(struct pollfd){.fd = pair->server.fd, .events = POLLIN}, 1, DEADLINE_MS) == 1 &&
           recv(pair->server.fd, &byte, 1, 0) <= 0) {
        peer_close(&pair->server);
        pair_accept(pair, &wait->server);
    }
    cr_assert_eq(byte, '!');
}

static void ctl_start(const struct wait *wait, struct process *ctl, const char *order) {
    process_start(ctl, NULL, ARGUMENTS(moonring_program(), "ctl", "--socket", wait->socket, order));
}

Test(reload_wait, keeps_no_operator_waiting, .timeout = 30) {
    struct wait wait;
    struct process ctl;
    wait_start(&wait, NULL);
    wait_begin(&wait);
    for (int i = 0; i < 3; i++) {
        ctl_start(&wait, &ctl, "status");
        cr_assert_eq(process_wait(&ctl), 0);
        cr_assert_not_null(strstr(process_text(&ctl.output), "generation"), "%s", process_text(&ctl.output));
    }
    cr_assert_eq(process_count_lines(&wait.moonring.process.errors, "reload"), 0);
    wait_end(&wait);
    process_wait_line(&wait.moonring.process, &wait.moonring.process.errors, "reloaded: generation 2");
    moonring_stop(&wait.moonring);
}

Test(reload_wait, lets_another_one_wait, .timeout = 30) {
    struct wait wait;
    struct process ctl;
    wait_start(&wait, NULL);
    wait_begin(&wait);
    ctl_start(&wait, &ctl, "rollback");
    struct process status;
    ctl_start(&wait, &status, "status"); /* it came later, and is answered */
    cr_assert_eq(process_wait(&status), 0);
    cr_assert(process_is_running(&ctl));
    wait_end(&wait);
    cr_assert_eq(process_wait(&ctl), 0);
    cr_assert_not_null(strstr(process_text(&ctl.output), "generation 3"), "%s", process_text(&ctl.output));
    moonring_stop(&wait.moonring);
}

Test(reload_wait, keeps_no_check_of_a_server_waiting, .timeout = 30) {
    struct wait wait;
    wait_start(&wait, NULL);
    wait_begin(&wait);
    peer_listener_close(&wait.server);
    process_wait_line(&wait.moonring.process, &wait.moonring.process.errors, "is down");
    wait_end(&wait);
    process_wait_line(&wait.moonring.process, &wait.moonring.process.errors, "reloaded: generation 2");
    moonring_stop(&wait.moonring);
}

Test(reload_wait, is_over_when_moonring_is_told_to_stop, .timeout = 30) {
    struct wait wait;
    struct pair pair;
    struct peer late;
    wait_start(&wait, NULL);
    session_open(&wait, &pair);
    wait_begin(&wait);
    process_signal(&wait.moonring.process, SIGTERM);
    process_wait_line(&wait.moonring.process, &wait.moonring.process.errors, "stopping: no new clients");
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (peer_try_connect(&late, wait.moonring.address) == 0) {
        peer_reset(&late); /* one that came too early makes a session: it is to end at once */
        cr_assert_gt(deadline_left_ms(deadline_ms), 0, "clients are still let in");
        deadline_pause(5);
    }
    pair_exchange(&pair, 1000);
    wait_end(&wait);
    process_wait_line(&wait.moonring.process, &wait.moonring.process.errors, "moonring is stopping");
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    cr_assert_eq(process_wait(&wait.moonring.process), 0);
}

/* --- a name server that does not answer ------------------------------------------------------------------------- */

static char resolver_path[TEMPORARY_PATH_MAX];

/* In its own view of the file system, where names are asked of our name server. */
static void use_name_server(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(resolver_path, "/etc/resolv.conf", NULL, MS_BIND, NULL) != 0) {
        _exit(99);
    }
}

/* It takes questions, and answers none. */
static int name_server_open(void) {
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void name_server_wait_question(int fd) {
    char question[512];
    const struct timeval patience = {.tv_sec = DEADLINE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    cr_assert_gt(recv(fd, question, sizeof question, 0), 0);
}

/* What prepares a process to use it is use_name_server. */
static int name_server_begin(struct temporary *folder) {
    network_enter();
    temporary_create(folder);
    temporary_write(folder, "resolv.conf", "nameserver 127.0.0.1\noptions timeout:10 attempts:3\n");
    temporary_path(folder, "resolv.conf", resolver_path);
    return name_server_open();
}

enum { SOON_MS = 4000 }; /* to look up one name takes 10 s and more */

Test(reload_wait, for_a_name_server_ends_with_moonring, .timeout = 30) {
    struct wait wait;
    struct temporary folder;
    struct process ctl;
    int name_server = name_server_begin(&folder);
    wait_start(&wait, use_name_server);
    configure(&wait, "nobody-knows.example:80");
    process_signal(&wait.moonring.process, SIGHUP);
    name_server_wait_question(name_server);
    ctl_start(&wait, &ctl, "status");
    cr_assert_eq(process_wait_at_most(&ctl, SOON_MS), 0);
    process_signal(&wait.moonring.process, SIGTERM);
    cr_assert_eq(process_wait_at_most(&wait.moonring.process, SOON_MS), 0);
    cr_assert_eq(process_count_lines(&wait.moonring.process.errors, "moonring is stopping"), 1);
    close(name_server);
}

Test(reload_wait, for_a_name_server_at_the_start_ends_with_moonring, .timeout = 30) {
    struct wait wait;
    struct temporary folder;
    int name_server = name_server_begin(&folder);
    wait_create(&wait);
    configure(&wait, "nobody-knows.example:80");
    process_start(&wait.moonring.process, use_name_server, ARGUMENTS(moonring_program(), "run", "-c", wait.path));
    name_server_wait_question(name_server);
    process_signal(&wait.moonring.process, SIGHUP); /* it waits until moonring serves, which it never does */
    process_signal(&wait.moonring.process, SIGTERM);
    cr_assert_eq(process_wait_at_most(&wait.moonring.process, SOON_MS), 0);
    cr_assert_eq(process_count_lines(&wait.moonring.process.errors, "told to stop before it was ready"), 1);
    cr_assert_eq(process_count_lines(&wait.moonring.process.errors, " error "), 0);
    close(name_server);
}
