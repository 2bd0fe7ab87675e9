/* Who may come in: `allow` and `deny`. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket with this address of its own. */
static int socket_from(const char *ip) {
    char text[ADDRESS_TEXT_MAX];
    struct address own;
    struct error error;
    snprintf(text, sizeof(text), strchr(ip, ':') == NULL ? "%s:0" : "[%s]:0", ip);
    cr_assert(address_parse(&own, text, true, &error), "%s", error.text);
    int fd = socket(address_family(&own), SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, &own.any, own.length), 0, "%s", ip);
    return fd;
}

static void connect_from(struct peer *client, const char *ip, const char *address) {
    peer_connect_socket(client, socket_from(ip), address);
}

/* The reset may be there before connect(2) returns. */
static void expect_reset_from(const char *ip, const char *text) {
    struct address address;
    struct error error;
    char byte;
    int fd = socket_from(ip);
    cr_assert(address_parse(&address, text, false, &error), "%s", error.text);
    bool reset = connect(fd, &address.any, address.length) < 0 || recv(fd, &byte, 1, 0) < 0;
    cr_assert(reset && errno == ECONNRESET, "%s was not reset", ip);
    close(fd);
}

static void expect_served(const struct moonring *moonring, const struct peer_listener *listener, const char *ip) {
    struct pair pair;
    connect_from(&pair.client, ip, moonring->address);
    pair_accept(&pair, listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
}

static void expect_denied(const struct moonring *moonring, const struct peer_listener *listener, const char *ip) {
    expect_reset_from(ip, moonring->address);
    cr_assert(!peer_listener_has_client(listener, 0), "the server heard of %s", ip);
}

Test(access, of_a_denied_client_is_closed_before_any_server_is_asked, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "deny: [127.6.0.0/16]\n    allow: [127.0.0.0/8]", "");
    expect_served(&moonring, &listener, "127.0.0.1");
    moonring_expect_session(&moonring, "reason=client_fin");
    expect_denied(&moonring, &listener, "127.6.6.6");
    const char *line = moonring_expect_session(&moonring, "server=- tries=0 from_client_bytes=0 reason=denied "
                                                          "ended_by=moonring");
    cr_expect_not_null(strstr(line, " client=127.6.6.6:"), "%s", line);
    expect_served(&moonring, &listener, "127.7.0.1");
    const char *report = moonring_report(&moonring);
    cr_expect_eq(report_counter(report, "moonring_connects_total"), 2);
    moonring_stop(&moonring);
}

Test(access, knows_ipv4_clients_of_a_dual_stack_socket, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    char address[ADDRESS_TEXT_MAX];
    peer_listen(&listener, "127.0.0.1:0");
    uint16_t port = peer_free_port();
    moonring_start(&moonring, "listeners: {web: {bind: ':%u', upstream: '%s', allow: [127.0.0.2]}}\n", port,
                   listener.address);
    snprintf(moonring.address, sizeof(moonring.address), "127.0.0.1:%u", port);
    expect_served(&moonring, &listener, "127.0.0.2");
    expect_denied(&moonring, &listener, "127.0.0.1");
    snprintf(address, sizeof(address), "[::1]:%u", port);
    expect_reset_from("::1", address);
    moonring_stop(&moonring);
}

Test(access, to_a_unix_socket_is_a_matter_of_its_file, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    char address[ADDRESS_TEXT_MAX];
    temporary_create(&folder);
    snprintf(address, sizeof(address), "unix:%s", temporary_path(&folder, "socket", path));
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring, "listeners: {web: {bind: ['127.0.0.1:0', '%s'], upstream: '%s', allow: 10.0.0.0/8}}\n",
                   address, listener.address);
    expect_denied(&moonring, &listener, "127.0.0.1");
    struct pair pair;
    pair_open(&pair, address, &listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    moonring_stop(&moonring);
}

/* Starts with a list of nobody. */
static void start_with_file(struct moonring *moonring, struct peer_listener *listener, const char *watch) {
    char address[ADDRESS_TEXT_MAX];
    char path[TEMPORARY_PATH_MAX];
    char text[512];
    peer_listen(listener, "127.0.0.1:0");
    snprintf(address, sizeof(address), "127.0.0.1:%u", peer_free_port());
    temporary_create(&moonring->folder);
    temporary_write(&moonring->folder, "bad.txt", "# nobody yet\n");
    snprintf(text, sizeof(text),
             "listeners: {web: {bind: '%s', upstream: '%s', deny: 'file:bad.txt'}}\nreload: {watch: %s}\n", address,
             listener->address, watch);
    temporary_write(&moonring->folder, "moonring.yaml", "%s", text);
    process_start(&moonring->process, NULL,
                  ARGUMENTS(moonring_program(), "run", "-c", temporary_path(&moonring->folder, "moonring.yaml", path)));
    moonring_wait_ready(moonring);
    snprintf(moonring->address, sizeof(moonring->address), "%s", address);
}

Test(access, changes_with_a_file_of_addresses_that_is_reloaded, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair before;
    start_with_file(&moonring, &listener, "false");
    connect_from(&before.client, "127.6.6.6", moonring.address);
    pair_accept(&before, &listener);
    temporary_write(&moonring.folder, "bad.txt", "127.6.0.0/16\n");
    const char *line = moonring_reload_again(&moonring);
    cr_expect_not_null(strstr(line, "files: ~bad.txt"), "%s", line);
    expect_denied(&moonring, &listener, "127.6.6.6");
    expect_served(&moonring, &listener, "127.7.7.7");
    pair_exchange(&before, 1000); /* who is in, stays in */
    line = moonring_reload_again(&moonring);
    cr_expect_not_null(strstr(line, "nothing has changed"), "%s", line);
    temporary_write(&moonring.folder, "bad.txt", "127.6.0.0/16\n127.7.0.0/99\n");
    line = moonring_reload_again(&moonring);
    cr_expect_not_null(strstr(line, "refused"), "%s", line);
    expect_denied(&moonring, &listener, "127.6.6.6");
    pair_close(&before);
    moonring_stop(&moonring);
}

Test(access, changes_with_a_file_of_addresses_that_is_watched, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    start_with_file(&moonring, &listener, "true");
    expect_served(&moonring, &listener, "127.6.6.6");
    temporary_write(&moonring.folder, "bad.txt", "127.6.6.6\n");
    process_wait_line(&moonring.process, &moonring.process.errors, "files: ~bad.txt");
    expect_denied(&moonring, &listener, "127.6.6.6");
    temporary_write(&moonring.folder, "bad.txt", "127.6.6\n");
    process_wait_line(&moonring.process, &moonring.process.errors, "bad.txt:1:1: error[E0330]");
    temporary_write(&moonring.folder, "bad.txt", "127.6.6.7\n");
    process_wait_line(&moonring.process, &moonring.process.errors, "files: ~bad.txt");
    expect_served(&moonring, &listener, "127.6.6.6");
    expect_denied(&moonring, &listener, "127.6.6.7");
    moonring_stop(&moonring);
}
