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

/* --- limits of each source --------------------------------------------------------------------------------------- */

static void open_from(struct pair *pair, const struct moonring *moonring, const struct peer_listener *listener,
                      const char *ip) {
    connect_from(&pair->client, ip, moonring->address);
    pair_accept(pair, listener);
    pair_exchange(pair, 100);
}

static void expect_over_limit(struct moonring *moonring, const struct peer_listener *listener, const char *ip) {
    expect_reset_from(ip, moonring->address);
    moonring_expect_session(moonring, "tries=0 reason=limit_source ended_by=moonring");
    cr_assert(!peer_listener_has_client(listener, 0), "the server heard of %s", ip);
}

Test(access, of_a_source_is_bounded_by_its_sessions, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair first, second, other;
    moonring_start_web(&moonring, &listener, "limits: {per_source: {max_connections: 2}}", "process: {workers: 2}\n");
    open_from(&first, &moonring, &listener, "127.1.0.1");
    open_from(&second, &moonring, &listener, "127.1.0.1");
    expect_over_limit(&moonring, &listener, "127.1.0.1");
    open_from(&other, &moonring, &listener, "127.1.0.2");
    pair_close(&first);
    moonring_expect_session(&moonring, "reason=client_fin");
    moonring_wait_counter_is(&moonring, "moonring_listener_sessions_active", 2);
    open_from(&first, &moonring, &listener, "127.1.0.1");
    expect_over_limit(&moonring, &listener, "127.1.0.1");
    const char *report = moonring_report(&moonring);
    cr_expect_eq(report_counter(report, "moonring_listener_sources"), 2);
    cr_expect_eq(report_counter(report, "moonring_listener_source_refused_total"), 2);
    pair_close(&first);
    pair_close(&second);
    pair_close(&other);
    moonring_wait_counter_is(&moonring, "moonring_listener_sources", 0);
    moonring_stop(&moonring);
}

Test(access, of_a_block_of_addresses_is_that_of_one_source, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair first, second;
    moonring_start_web(&moonring, &listener, "limits: {per_source: {max_connections: 1, prefix_v4: 16}}", "");
    open_from(&first, &moonring, &listener, "127.1.0.1");
    expect_over_limit(&moonring, &listener, "127.1.255.255");
    open_from(&second, &moonring, &listener, "127.2.0.1");
    pair_close(&first);
    pair_close(&second);
    moonring_stop(&moonring);
}

/* An hour is longer than any test: none of the burst comes back. */
Test(access, of_a_source_is_bounded_by_its_rate_on_all_workers_together, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "limits: {per_source: {rate: 1/h, burst: 5}}", "process: {workers: 2}\n");
    for (int session = 0; session < 5; session++) {
        expect_served(&moonring, &listener, "127.1.0.1");
        moonring_expect_session(&moonring, "reason=client_fin");
    }
    expect_over_limit(&moonring, &listener, "127.1.0.1");
    expect_served(&moonring, &listener, "127.1.0.2");
    moonring_stop(&moonring);
}

/* The table goes by the address: a new name does not let anybody in again. */
Test(access, of_a_source_is_remembered_over_reloads_which_may_change_its_limits, .timeout = 30) {
    static const char yaml[] = "listeners: {%s: {bind: '%s', upstream: '%s', limits: {per_source: %s}}}\n";
    struct moonring moonring;
    struct peer_listener listener;
    struct pair first, second;
    char address[ADDRESS_TEXT_MAX];
    peer_listen(&listener, "127.0.0.1:0");
    snprintf(address, sizeof(address), "127.0.0.1:%u", peer_free_port());
    moonring_start(&moonring, yaml, "web", address, listener.address, "{max_connections: 1, rate: 1/h, burst: 2}");
    open_from(&first, &moonring, &listener, "127.1.0.1");
    expect_over_limit(&moonring, &listener, "127.1.0.1");
    moonring_reload(&moonring, yaml, "renamed", address, listener.address, "{max_connections: 2, rate: 1/h, burst: 2}");
    open_from(&second, &moonring, &listener, "127.1.0.1");
    pair_close(&second);
    moonring_expect_session(&moonring, "reason=client_fin");
    expect_over_limit(&moonring, &listener, "127.1.0.1"); /* the burst is used up */
    moonring_reload(&moonring, yaml, "renamed", address, listener.address, "{max_connections: 2}");
    open_from(&second, &moonring, &listener, "127.1.0.1");
    expect_over_limit(&moonring, &listener, "127.1.0.1");
    moonring_reload(&moonring, yaml, "renamed", address, listener.address, "off");
    expect_served(&moonring, &listener, "127.1.0.1");
    pair_exchange(&first, 1000);
    pair_close(&first);
    pair_close(&second);
    moonring_stop(&moonring);
}

/* --- bandwidth -----------------------------------------------------------------------------------------------------
 */

enum { BANDWIDTH_SENT = 1 << 20 };

/* Sends 1 MiB each way and returns the milliseconds that it took. */
static uint64_t exchange_ms(const struct moonring *moonring, const struct peer_listener *listener) {
    struct pair pair;
    pair_open(&pair, moonring->address, listener);
    uint64_t begin_ms = deadline_now_ms();
    struct transfer transfers[] = {{.peer = &pair.client, .send = BANDWIDTH_SENT, .expect = BANDWIDTH_SENT},
                                   {.peer = &pair.server, .send = BANDWIDTH_SENT, .expect = BANDWIDTH_SENT}};
    transfers_run(transfers, 2);
    uint64_t took_ms = deadline_now_ms() - begin_ms;
    pair_close(&pair);
    return took_ms;
}

/* That it is not slower than that, the simulator and the limit's own tests see to: here the machine may be slow. */
Test(access, to_bandwidth_is_bounded_for_each_session_and_each_direction, .timeout = 30) {
    static const char yaml[] = "listeners: {web: {bind: '%s', upstream: '%s', limits: {bandwidth: %s}}}\n";
    struct moonring moonring;
    struct peer_listener listener;
    char address[ADDRESS_TEXT_MAX];
    peer_listen(&listener, "127.0.0.1:0");
    snprintf(address, sizeof(address), "127.0.0.1:%u", peer_free_port());
    moonring_start(&moonring, yaml, address, listener.address, "1MiB/s");
    uint64_t took_ms = exchange_ms(&moonring, &listener);
    cr_expect_geq(took_ms, 1000 - 1000 / 8 - 1000 / 40 - 1, "it took %lu ms", took_ms); /* less what comes at once */
    moonring_reload(&moonring, yaml, address, listener.address, "4MiB/s");
    took_ms = exchange_ms(&moonring, &listener);
    cr_expect_geq(took_ms, 250 - 1000 / 8 - 1000 / 40 - 1, "it took %lu ms", took_ms);
    moonring_stop(&moonring);
}
