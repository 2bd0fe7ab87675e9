/* What systemd hears, with a scripted one at the other end of $NOTIFY_SOCKET; and the unit file. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The other end of the socket. */
struct manager {
    int fd;
    struct temporary folder;
    char word[1024]; /* the one that came last */
};

static char socket_path[TEMPORARY_PATH_MAX];
static const char *watchdog_us; /* NULL: nobody watches */

static void environment_prepare(void) {
    setenv("NOTIFY_SOCKET", socket_path, 1);
    if (watchdog_us != NULL) {
        setenv("WATCHDOG_USEC", watchdog_us, 1);
    }
}

static void manager_open(struct manager *manager) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    temporary_create(&manager->folder);
    temporary_path(&manager->folder, "notify", socket_path);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
    manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(manager->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

/* The next datagram. */
static const char *manager_hear(struct manager *manager) {
    struct pollfd wanted = {.fd = manager->fd, .events = POLLIN};
    cr_assert_eq(poll(&wanted, 1, DEADLINE_MS), 1, "it says nothing");
    ssize_t size = recv(manager->fd, manager->word, sizeof(manager->word) - 1, 0);
    cr_assert_geq(size, 0);
    manager->word[size] = 0;
    return manager->word;
}

static bool manager_hears(struct manager *manager, const char *word) {
    return strcmp(manager_hear(manager), word) == 0;
}

static void expect_word(struct manager *manager, const char *word) {
    cr_assert(manager_hears(manager, word), "\"%s\" instead of \"%s\"", manager->word, word);
}

static void expect_reloading(struct manager *manager) {
    static const char begin[] = "RELOADING=1\nMONOTONIC_USEC=";
    cr_assert_eq(strncmp(manager_hear(manager), begin, strlen(begin)), 0, "%s", manager->word);
    cr_assert_gt(strtoull(manager->word + strlen(begin), NULL, 10), 0);
}

Test(service_manager, hears_of_the_start_of_reloads_and_of_the_end, .timeout = 30) {
    struct manager manager;
    struct moonring moonring;
    struct peer_listener listener;
    manager_open(&manager);
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start_prepared(&moonring, environment_prepare, "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s'}}\n",
                            listener.address);
    expect_word(&manager, "READY=1\nSTATUS=Generation 1 is serving");
    moonring_reload(&moonring, "listeners: {web: {bind: '%s', upstream: '%s', timeouts: {idle: 1m}}}\n",
                    moonring.address, listener.address);
    expect_reloading(&manager);
    expect_word(&manager, "READY=1\nSTATUS=Generation 2 is serving");
    moonring_expect_reload_refused(&moonring, "E0203", "listeners: {web: {bnd: ':1'}}\n");
    expect_reloading(&manager);
    expect_word(&manager, "READY=1\nSTATUS=Generation 2 is serving; the last reload was refused, the log says why");
    moonring_stop(&moonring);
    expect_word(&manager, "STOPPING=1\nSTATUS=Stopping: sessions may end by themselves");
}

/* Idle workers are woken to say so. */
Test(service_manager, hears_that_idle_workers_live, .timeout = 30) {
    struct manager manager;
    struct moonring moonring;
    watchdog_us = "300000";
    manager_open(&manager);
    moonring_start_prepared(
        &moonring, environment_prepare,
        "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}}\nprocess: {workers: 3}\n");
    expect_word(&manager, "READY=1\nSTATUS=Generation 1 is serving");
    for (int sign = 0; sign < 4; sign++) {
        expect_word(&manager, "WATCHDOG=1");
    }
    moonring_stop(&moonring);
}

/* A script that runs away holds its worker until its budget is over. */
Test(service_manager, hears_nothing_while_a_worker_does_not_turn, .timeout = 60) {
    struct manager manager;
    struct moonring moonring;
    struct peer client;
    char path[TEMPORARY_PATH_MAX];
    watchdog_us = "90000";
    manager_open(&manager);
    temporary_create(&moonring.folder);
    temporary_write(&moonring.folder, "runaway.lua", "return { serve = function() while true do end end }\n");
    temporary_write(&moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '127.0.0.1:0', filters: [{lua: runaway.lua, jit: false}]}}\n"
                    "process: {workers: 2}\nlua: {budget: 300ms}\n");
    process_start(&moonring.process, environment_prepare,
                  ARGUMENTS(moonring_program(), "run", "-c", temporary_path(&moonring.folder, "moonring.yaml", path)));
    moonring_wait_ready(&moonring);
    peer_connect(&client, moonring.address);
    struct process *process = &moonring.process;
    process_wait_line(process, &process->errors, "does not turn: systemd's watchdog is not told");
    while (recv(manager.fd, manager.word, sizeof(manager.word), MSG_DONTWAIT) > 0) { /* from before that */
    }
    expect_word(&manager, "WATCHDOG=1");
    cr_assert_gt(process_count_lines(&process->errors, "does not turn"), 2);
    moonring_expect_session(&moonring, "reason=filter_budget");
    moonring_stop(&moonring);
}

/* As behind a slow name server; here it waits for the rest of its configuration, which is a pipe. */
Test(service_manager, hears_that_workers_live_while_a_reload_waits, .timeout = 30) {
    struct manager manager;
    struct moonring moonring;
    char path[TEMPORARY_PATH_MAX];
    watchdog_us = "300000";
    manager_open(&manager);
    moonring_start_prepared(&moonring, environment_prepare,
                            "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}}\n");
    temporary_path(&moonring.folder, "moonring.yaml", path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    process_signal(&moonring.process, SIGHUP);
    while (strncmp(manager_hear(&manager), "RELOADING=1", 11) != 0) { /* signs of life from before that */
    }
    int pipe_fd = open(path, O_WRONLY | O_CLOEXEC); /* waits until it reads */
    cr_assert_geq(pipe_fd, 0);
    for (int sign = 0; sign < 4; sign++) {
        expect_word(&manager, "WATCHDOG=1");
    }
    cr_assert_gt(dprintf(pipe_fd, "listeners: {web: {bind: ['%s'], upstream: '127.0.0.1:10'}}\n", moonring.address), 0);
    close(pipe_fd);
    const char *line = process_wait_line(&moonring.process, &moonring.process.errors, "reloaded: generation 2, ");
    const char *took = strstr(line, "generation 2, ") + strlen("generation 2, ");
    cr_assert_gt(strtoull(took, NULL, 10), 200, "there were four signs of life within \"%s\"", line);
    moonring_stop(&moonring);
}

/* With the program where the unit expects it. */
Test(service_manager, finds_no_fault_in_the_unit, .timeout = 60) {
    struct temporary folder;
    struct process shell;
    char line[1024];
    char *program = realpath(moonring_program(), NULL);
    cr_assert_not_null(program);
    temporary_create(&folder);
    snprintf(line, sizeof(line),
             "mkdir %s/bin && ln -s %s %s/bin/moonring && "
             "sed 's|@PREFIX@|%s|g' core/program/moonring.service.in > %s/moonring.service && "
             "systemd-analyze verify --man=no %s/moonring.service 2>&1",
             folder.path, program, folder.path, folder.path, folder.path, folder.path);
    process_run(&shell, ARGUMENTS("sh", "-c", line));
    cr_expect_str_eq(process_text(&shell.output), "");
    free(program);
}
