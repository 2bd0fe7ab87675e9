/* Which lines the access log has, where they go, and what they tell beside the usual. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void session_run(struct moonring *moonring, const struct peer_listener *listener) {
    struct pair pair;
    pair_open(&pair, moonring->address, listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
}

/* A client that goes without a byte: a port scan, a health check. */
static void session_scan(struct moonring *moonring, const struct peer_listener *listener) {
    struct pair pair;
    peer_connect(&pair.client, moonring->address);
    peer_accept(&pair.server, listener);
    pair_close(&pair);
}

/* --- which lines ---------------------------------------------------------------------------------------------------
 */

Test(access_log, tells_of_sessions_that_begin_when_asked_to, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "log: {access: {when: [open, close]}}\n");
    session_run(&moonring, &listener);
    moonring_expect_session(&moonring, "event=open server=- tries=0 from_client_bytes=0 reason=- ended_by=-");
    moonring_expect_session(&moonring, "event=close tries=1 from_client_bytes=1000 reason=client_fin");
    moonring_stop(&moonring);
}

Test(access_log, tells_of_the_beginning_only_when_asked_to, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "log: {access: {when: open}}\n");
    session_run(&moonring, &listener);
    moonring_expect_session(&moonring, "event=open");
    session_run(&moonring, &listener);
    moonring_expect_session(&moonring, "event=open");
    moonring_stop(&moonring);
}

Test(access_log, tells_now_and_then_of_a_session_that_lives_on, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "", "log: {access: {every: 100ms}}\n");
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 1000);
    uint64_t before_ms = 0;
    for (int line = 0; line < 3; line++) {
        const char *text = moonring_expect_session(&moonring, "event=live from_client_bytes=1000 reason=- ended_by=-");
        uint64_t duration_ms = session_line_number(text, "duration_ms");
        cr_expect_geq(duration_ms, before_ms + 50, "%s", text); /* late lines are not made up for */
        before_ms = duration_ms;
    }
    pair_close(&pair);
    const char *text = moonring_wait_session(&moonring);
    while (strstr(text, "event=live") != NULL) {
        text = moonring_wait_session(&moonring);
    }
    cr_expect_not_null(strstr(text, "event=close"), "%s", text);
    moonring_stop(&moonring);
}

/* Until the PROXY header is there it is not known whose session it is, nor whether it may begin. */
Test(access_log, tells_nothing_of_a_session_that_has_not_been_introduced, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct peer silent;
    struct pair pair;
    moonring_start_web(&moonring, &listener, "proxy_protocol: {trusted: 127.0.0.0/8}",
                       "process: {workers: 1}\nlog: {access: {every: 100ms}}\n");
    peer_connect(&silent, moonring.address);
    peer_connect(&pair.client, moonring.address);
    peer_send(&pair.client, "PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n");
    peer_accept(&pair.server, &listener);
    for (int line = 0; line < 3; line++) {
        moonring_expect_session(&moonring, "client=192.0.2.7:51234 event=live");
    }
    peer_close(&silent);
    pair_close(&pair);
    moonring_stop(&moonring);
}

Test(access_log, leaves_out_sessions_without_a_byte_when_asked_to, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "log: {access: {skip_empty: true}}\nprocess: {workers: 1}\n");
    session_scan(&moonring, &listener);
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 0);
    session_run(&moonring, &listener);
    moonring_expect_session(&moonring, "id=2 from_client_bytes=1000 reason=client_fin");
    peer_listener_close(&listener);
    struct peer client;
    peer_connect(&client, moonring.address);
    moonring_expect_session(&moonring, "id=3 from_client_bytes=0 reason=no_server"); /* that is worth a line */
    moonring_stop(&moonring);
}

Test(access_log, tells_of_both_connections_when_asked_to, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "log: {access: {tcp_info: true, format: json}}\n");
    session_run(&moonring, &listener);
    const char *line = process_wait_line(&moonring.process, &moonring.process.output, "\"event\":\"close\"");
    cr_expect_not_null(strstr(line, ",\"client_rtt_ms\":"), "%s", line);
    cr_expect_not_null(strstr(line, ",\"client_retransmits\":"), "%s", line);
    cr_expect_not_null(strstr(line, ",\"server_rtt_ms\":"), "%s", line);
    cr_expect_null(strstr(line, "_rtt_ms\":null"), "%s", line);
    cr_expect_null(strstr(line, "_retransmits\":null"), "%s", line);
    moonring_stop(&moonring);
}

/* --- syslog --------------------------------------------------------------------------------------------------------
 */

struct daemon {
    int fd;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    char text[16 * 1024];
};

static void daemon_open(struct daemon *daemon) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unlink(daemon->path);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->path);
    daemon->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(daemon->fd, (const struct sockaddr *)&address, sizeof(address)), 0);
}

static void daemon_create(struct daemon *daemon) {
    temporary_create(&daemon->folder);
    temporary_path(&daemon->folder, "log", daemon->path);
    daemon_open(daemon);
}

static const char *daemon_hear(struct daemon *daemon) {
    struct pollfd poll_fd = {.fd = daemon->fd, .events = POLLIN};
    cr_assert_eq(poll(&poll_fd, 1, DEADLINE_MS), 1, "syslog heard nothing");
    ssize_t size = recv(daemon->fd, daemon->text, sizeof(daemon->text) - 1, 0);
    cr_assert_gt(size, 0);
    daemon->text[size] = 0;
    return daemon->text;
}

static void expect_heard(struct daemon *daemon, const char *words) {
    const char *text = daemon_hear(daemon);
    cr_expect_eq(strncmp(text, "<30>", 4), 0, "%s", text);
    cr_expect_not_null(strstr(text, " moonring["), "%s", text);
    cr_expect_not_null(strstr(text, words), "%s", text);
    cr_expect_null(strchr(text, '\n'), "%s", text);
}

Test(access_log, goes_to_syslog_and_finds_it_again, .timeout = 30) {
    static struct daemon daemon;
    struct moonring moonring;
    struct peer_listener listener;
    char rest[256];
    daemon_create(&daemon);
    snprintf(rest, sizeof(rest), "log: {access: {target: 'syslog:%s'}}\n", daemon.path);
    moonring_start_web(&moonring, &listener, "", rest);
    session_run(&moonring, &listener);
    expect_heard(&daemon, " event=close id=1 ");
    close(daemon.fd);
    unlink(daemon.path);
    session_run(&moonring, &listener);
    process_wait_line(&moonring.process, &moonring.process.errors, "lines are dropped until it works again");
    moonring_wait_counter_is(&moonring, "moonring_access_log_lost_lines_total", 1);
    daemon_open(&daemon);
    session_run(&moonring, &listener);
    expect_heard(&daemon, " reason=client_fin ");
    process_wait_line(&moonring.process, &moonring.process.errors, "1 lines were lost");
    moonring_stop(&moonring);
}

Test(access_log, is_not_begun_with_a_syslog_that_is_not_there, .timeout = 30) {
    struct moonring moonring;
    moonring_launch(&moonring, NULL,
                    "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:1'}}\n"
                    "log: {access: {target: 'syslog:/nowhere/log'}}\n");
    moonring_expect_refusal(&moonring, 1, "access log syslog:/nowhere/log: cannot be opened");
}

/* --- reloads ---------------------------------------------------------------------------------------------------------
 */

Test(access_log, is_another_one_for_sessions_that_begin_after_a_reload, .timeout = 30) {
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s'}}\nlog: {access: %s}\n";
    static struct daemon daemon;
    struct moonring moonring;
    struct peer_listener listener;
    struct pair before;
    char address[ADDRESS_TEXT_MAX];
    char syslog[256];
    daemon_create(&daemon);
    snprintf(syslog, sizeof(syslog), "{target: 'syslog:%s', when: [open, close], format: json}", daemon.path);
    peer_listen(&listener, "127.0.0.1:0");
    snprintf(address, sizeof(address), "127.0.0.1:%u", peer_free_port());
    moonring_start(&moonring, yaml, address, listener.address, "{when: close}");
    pair_open(&before, moonring.address, &listener);
    const char *line = moonring_reload(&moonring, yaml, address, listener.address, syslog);
    cr_expect_not_null(strstr(line, "access.when close->open, close"), "%s", line);
    session_run(&moonring, &listener);
    expect_heard(&daemon, "\"event\":\"open\"");
    expect_heard(&daemon, "\"event\":\"close\"");
    pair_exchange(&before, 1000);
    pair_close(&before);
    moonring_expect_session(&moonring, "event=close reason=client_fin");
    moonring_stop(&moonring);
}
