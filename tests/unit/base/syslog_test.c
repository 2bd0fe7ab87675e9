#include "base/syslog.h"

#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A daemon's end. */
static int daemon_open(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say(struct syslog *syslog, const char *text, int wanted) {
    syslog_append(syslog, text, strlen(text));
    cr_assert_eq(syslog_send(syslog), wanted);
}

/* What stands behind the header, whose form is checked. */
static const char *hear(int daemon, char text[static SYSLOG_TEXT_MAX + SYSLOG_HEADER_MAX + 1]) {
    char month[4];
    unsigned priority, day, hour, minute, second, process;
    int begin = 0;
    ssize_t size = recv(daemon, text, SYSLOG_TEXT_MAX + SYSLOG_HEADER_MAX, 0);
    cr_assert_geq(size, 0);
    text[size] = 0;
    int fields = sscanf(text, "<%u>%3s %u %u:%u:%u moonring[%u]: %n", &priority, month, &day, &hour, &minute, &second,
                        &process, &begin);
    cr_assert_eq(fields, 7, "%s", text);
    cr_assert_eq(priority, 30);
    cr_assert_eq(process, (unsigned)getpid());
    return text + begin;
}

struct fixture {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    char text[SYSLOG_TEXT_MAX + SYSLOG_HEADER_MAX + 1];
    struct syslog syslog;
    int daemon;
};

static void fixture_open(struct fixture *fixture) {
    temporary_create(&fixture->folder);
    fixture->daemon = daemon_open(temporary_path(&fixture->folder, "log", fixture->path));
    cr_assert_eq(syslog_open(&fixture->syslog, fixture->path), 0);
}

Test(syslog, sends_each_text_as_one_datagram_behind_its_header, .timeout = 10) {
    static struct fixture fixture;
    fixture_open(&fixture);
    syslog_append(&fixture.syslog, "one ", 4);
    say(&fixture.syslog, "whole", 0);
    say(&fixture.syslog, "and another", 0);
    cr_expect_str_eq(hear(fixture.daemon, fixture.text), "one whole");
    cr_expect_str_eq(hear(fixture.daemon, fixture.text), "and another");
    syslog_close(&fixture.syslog);
}

Test(syslog, finds_a_daemon_that_was_started_anew, .timeout = 10) {
    static struct fixture fixture;
    fixture_open(&fixture);
    close(fixture.daemon);
    unlink(fixture.path);
    say(&fixture.syslog, "nobody hears this", -ENOENT);
    fixture.daemon = daemon_open(fixture.path);
    say(&fixture.syslog, "but this", 0);
    cr_expect_str_eq(hear(fixture.daemon, fixture.text), "but this");
    syslog_close(&fixture.syslog);
}

Test(syslog, does_not_wait_and_keeps_what_a_full_daemon_did_not_take, .timeout = 10) {
    static struct fixture fixture;
    fixture_open(&fixture);
    unsigned sent = 0;
    int result = 0;
    while (result == 0 && sent < 100000) {
        syslog_append(&fixture.syslog, "again", 5);
        result = syslog_send(&fixture.syslog);
        sent += result == 0;
    }
    cr_assert_eq(result, -EAGAIN);
    struct pollfd poll_fd = {.fd = fixture.syslog.fd, .events = POLLOUT};
    cr_expect_eq(poll(&poll_fd, 1, 0), 0);
    for (; sent > 0; sent--) {
        cr_assert_str_eq(hear(fixture.daemon, fixture.text), "again");
    }
    cr_expect_eq(poll(&poll_fd, 1, 1000), 1);
    cr_assert_eq(syslog_send(&fixture.syslog), 0);
    cr_assert_str_eq(hear(fixture.daemon, fixture.text), "again");
    syslog_close(&fixture.syslog);
}

Test(syslog, cuts_what_is_too_long, .timeout = 10) {
    static struct fixture fixture;
    fixture_open(&fixture);
    for (int i = 0; i < 1000; i++) {
        syslog_append(&fixture.syslog, "0123456789", 10);
    }
    cr_assert_eq(syslog_send(&fixture.syslog), 0);
    cr_expect_eq(strlen(hear(fixture.daemon, fixture.text)), SYSLOG_TEXT_MAX);
    syslog_close(&fixture.syslog);
}

Test(syslog, refuses_a_path_that_no_socket_can_have, .timeout = 10) {
    static struct syslog syslog;
    char path[200];
    memset(path, 'x', sizeof(path));
    path[sizeof(path) - 1] = 0;
    cr_expect_eq(syslog_open(&syslog, path), -ENAMETOOLONG);
    cr_expect_eq(syslog_open(&syslog, "/nowhere/log"), -ENOENT);
}
