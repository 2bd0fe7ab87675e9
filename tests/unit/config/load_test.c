#include "loading.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void expect_address(const struct address *address, const char *expected) {
    char text[ADDRESS_TEXT_MAX];
    address_format(address, text, sizeof(text));
    cr_expect_str_eq(text, expected);
}

/* ---- what is left out ---- */

Test(load, fills_in_a_default_for_every_key_that_is_left_out, .timeout = 10) {
    struct config *config = loading_good("listeners:\n  web: {bind: ':8080', upstream: '127.0.0.1:9000'}\n");
    const struct config_listener *listener = &config->listeners[0];
    cr_expect_eq(listener->timeouts.connect_ms, 5000);
    cr_expect_eq(listener->timeouts.preread_ms, 5000);
    cr_expect_eq(listener->timeouts.handshake_ms, 10000);
    cr_expect_eq(listener->timeouts.idle_ms, 3600000);
    cr_expect_eq(listener->timeouts.half_close_ms, 60000);
    cr_expect_eq(listener->timeouts.send_stall_ms, 300000);
    cr_expect_eq(listener->timeouts.max_lifetime_ms, 0);
    cr_expect_eq(listener->connections_max, 0);
    cr_expect_eq(listener->filters_count, 0);
    cr_expect(listener->tcp.nodelay);
    cr_expect(!listener->tcp.keepalive);
    cr_expect_eq(listener->tcp.keepalive_idle_s, 60);
    cr_expect_eq(listener->tcp.keepalive_interval_s, 10);
    cr_expect_eq(listener->tcp.keepalive_count, 6);
    cr_expect_eq(listener->tcp.backlog, 4096);
    cr_expect_eq(listener->binds[0].mode, CONFIG_MODE_DEFAULT);
    cr_expect_null(listener->binds[0].group);
    cr_expect_str_eq(config->log.error_target, "stderr");
    cr_expect_eq(config->log.error_level, LOG_INFO);
    cr_expect_str_eq(config->log.access_target, "stdout");
    cr_expect_eq(config->log.access_format, ACCESS_FORMAT_TEXT);
    cr_expect_eq(config->process.workers, 0);
    cr_expect_null(config->process.user);
    cr_expect_eq(config->process.connections_max, 0);
    cr_expect(!config->io.sqpoll);
    cr_expect_eq(config->io.sqpoll_idle_ms, 10);
    cr_expect_eq(config->io.sqpoll_cpu, -1);
    cr_expect(config->io.splice);
    cr_expect(!config->io.zero_copy_send);
    cr_expect_eq(config->io.busy_poll_us, 0);
    cr_expect_eq(config->drain_timeout_ms, 60000);
    config_destroy(config);
}

Test(load, fills_in_the_defaults_of_upstreams_and_servers, .timeout = 10) {
    struct config *config = loading_good(LOADING_SMALL);
    const struct config_upstream *upstream = &config->upstreams[0];
    cr_expect_eq(upstream->balance, BALANCE_ROUND_ROBIN);
    cr_expect_eq(upstream->retry_attempts, 3);
    cr_expect_eq(upstream->retry_backoff_ms, 50);
    cr_expect_eq(upstream->connect_ms, UINT64_MAX);
    cr_expect_str_eq(upstream->servers[0].name, "10.0.0.1:80");
    cr_expect_str_eq(upstream->servers[0].address_text, "10.0.0.1:80");
    cr_expect_eq(upstream->servers[0].weight, 1);
    cr_expect_eq(upstream->servers[0].connections_max, 0);
    cr_expect(!upstream->servers[0].backup);
    config_destroy(config);
}

/* ---- every key ---- */

Test(load, reads_every_key_of_a_listener, .timeout = 10) {
    struct config *config =
        loading_good("listeners:\n"
                     "  web:\n"
                     "    bind: {address: 'unix:/run/web.sock', mode: '0660', group: app}\n"
                     "    upstream: '10.0.0.1:80'\n"
                     "    timeouts: {connect: 1ms, idle: 2s, half_close: 3m, send_stall: 4h, max_lifetime: 5d,\n"
                     "      preread: 6ms, handshake: 7s}\n"
                     "    limits: {max_connections: 6}\n"
                     "    tcp: {nodelay: false, keepalive: {idle: 7s, interval: 8s, count: 9}, backlog: 10}\n");
    const struct config_listener *listener = &config->listeners[0];
    cr_expect_str_eq(listener->name, "web");
    expect_address(&listener->binds[0].address, "unix:/run/web.sock");
    cr_expect_eq(listener->binds[0].mode, 0660);
    cr_expect_str_eq(listener->binds[0].group, "app");
    cr_expect_eq(listener->timeouts.connect_ms, 1);
    cr_expect_eq(listener->timeouts.idle_ms, 2000);
    cr_expect_eq(listener->timeouts.half_close_ms, 180000);
    cr_expect_eq(listener->timeouts.send_stall_ms, 4 * 3600000);
    cr_expect_eq(listener->timeouts.max_lifetime_ms, 5 * UINT64_C(86400000));
    cr_expect_eq(listener->timeouts.preread_ms, 6);
    cr_expect_eq(listener->timeouts.handshake_ms, 7000);
    cr_expect_eq(listener->connections_max, 6);
    cr_expect(!listener->tcp.nodelay);
    cr_expect(listener->tcp.keepalive);
    cr_expect_eq(listener->tcp.keepalive_idle_s, 7);
    cr_expect_eq(listener->tcp.keepalive_interval_s, 8);
    cr_expect_eq(listener->tcp.keepalive_count, 9);
    cr_expect_eq(listener->tcp.backlog, 10);
    config_destroy(config);
}

Test(load, reads_every_key_of_an_upstream, .timeout = 10) {
    struct config *config =
        loading_good("listeners:\n"
                     "  web: {bind: ':8080', upstream: app}\n"
                     "upstreams:\n"
                     "  app:\n"
                     "    balance: least_conn\n"
                     "    retry: {attempts: 16, backoff: 1s}\n"
                     "    timeouts: {connect: 250ms}\n"
                     "    servers:\n"
                     "      - {name: one, address: '10.0.0.1:80', weight: 1000, max_connections: 5}\n"
                     "      - {address: 'db.internal:5432', backup: true}\n"
                     "      - 'unix:@abstract'\n");
    const struct config_upstream *upstream = &config->upstreams[0];
    cr_expect_str_eq(upstream->name, "app");
    cr_expect_eq(upstream->balance, BALANCE_LEAST_CONN);
    cr_expect_eq(upstream->retry_attempts, 16);
    cr_expect_eq(upstream->retry_backoff_ms, 1000);
    cr_expect_eq(upstream->connect_ms, 250);
    cr_assert_eq(upstream->servers_count, 3);
    cr_expect_str_eq(upstream->servers[0].name, "one");
    expect_address(&upstream->servers[0].address, "10.0.0.1:80");
    cr_expect_null(upstream->servers[0].host);
    cr_expect_eq(upstream->servers[0].weight, 1000);
    cr_expect_eq(upstream->servers[0].connections_max, 5);
    cr_expect_str_eq(upstream->servers[1].host, "db.internal");
    cr_expect_eq(upstream->servers[1].port, 5432);
    cr_expect_eq(upstream->servers[1].address.length, 0);
    cr_expect_str_eq(upstream->servers[1].name, "db.internal:5432");
    cr_expect(upstream->servers[1].backup);
    expect_address(&upstream->servers[2].address, "unix:@abstract");
    config_destroy(config);
}

Test(load, reads_every_key_of_the_process, .timeout = 10) {
    struct config *config =
        loading_good(LOADING_SMALL "log:\n"
                                   "  error: {target: stdout, level: debug}\n"
                                   "  access: {target: 'file:/var/log/access.log', format: json}\n"
                                   "process: {workers: 4, user: moonring, max_connections: 1000}\n"
                                   "io: {sqpoll: true, sqpoll_idle: 1s, sqpoll_cpu: 0, splice: off,\n"
                                   "  zero_copy_send: true, busy_poll: 30us}\n"
                                   "shutdown: {drain_timeout: off}\n");
    cr_expect_str_eq(config->log.error_target, "stdout");
    cr_expect_eq(config->log.error_level, LOG_DEBUG);
    cr_expect_str_eq(config->log.access_target, "/var/log/access.log");
    cr_expect_eq(config->log.access_format, ACCESS_FORMAT_JSON);
    cr_expect_eq(config->process.workers, 4);
    cr_expect_str_eq(config->process.user, "moonring");
    cr_expect_eq(config->process.connections_max, 1000);
    cr_expect(config->io.sqpoll);
    cr_expect_eq(config->io.sqpoll_idle_ms, 1000);
    cr_expect_eq(config->io.sqpoll_cpu, 0);
    cr_expect(!config->io.splice);
    cr_expect(config->io.zero_copy_send);
    cr_expect_eq(config->io.busy_poll_us, 30);
    cr_expect_eq(config->drain_timeout_ms, 0);
    config_destroy(config);
}

Test(load, reads_every_word_of_balance_and_level, .timeout = 10) {
    static const char *const balances[] = {"round_robin", "least_conn", "random", "first"};
    static const char *const levels[] = {"error", "warn", "info", "debug", "trace"};
    for (size_t index = 0; index < 5; index++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "listeners:\n  web: {bind: ':8080', upstream: app}\n"
                 "upstreams:\n  app: {servers: ['a:1'], balance: %s}\nlog: {error: {level: %s}}\n",
                 balances[index % 4], levels[index]);
        struct config *config = loading_good(text);
        cr_expect_eq(config->upstreams[0].balance, index % 4);
        cr_expect_eq(config->log.error_level, index);
        config_destroy(config);
    }
}

Test(load, takes_off_for_every_timeout_of_a_listener, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  web:\n"
                                         "    bind: ':8080'\n"
                                         "    upstream: '10.0.0.1:80'\n"
                                         "    timeouts: {connect: off, idle: off, half_close: off, send_stall: off,\n"
                                         "      max_lifetime: off}\n"
                                         "    limits: {max_connections: off}\n");
    const struct config_timeouts *timeouts = &config->listeners[0].timeouts;
    cr_expect_eq(timeouts->connect_ms, 0);
    cr_expect_eq(timeouts->idle_ms, 0);
    cr_expect_eq(timeouts->half_close_ms, 0);
    cr_expect_eq(timeouts->send_stall_ms, 0);
    config_destroy(config);
}

Test(load, takes_off_for_the_access_log, .timeout = 10) {
    struct config *config = loading_good(LOADING_SMALL "log: {access: off}\n");
    cr_expect_null(config->log.access_target);
    config_destroy(config);
}

/* ---- addresses ---- */

Test(load, reads_every_form_of_a_bind_address, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  web:\n"
                                         "    upstream: '10.0.0.1:80'\n"
                                         "    bind:\n"
                                         "      - :8080\n"
                                         "      - '0.0.0.0:8081'\n"
                                         "      - '[::]:8082'\n"
                                         "      - '[::1]:0'\n"
                                         "      - 'unix:@web'\n"
                                         "      - {address: '127.0.0.1:8083'}\n");
    static const char *const expected[] = {"[::]:8080", "0.0.0.0:8081", "[::]:8082",
                                           "[::1]:0",   "unix:@web",    "127.0.0.1:8083"};
    const struct config_listener *listener = &config->listeners[0];
    cr_assert_eq(listener->binds_count, 6);
    for (size_t index = 0; index < 6; index++) {
        expect_address(&listener->binds[index].address, expected[index]);
        cr_expect_eq(listener->binds[index].dual_stack, index == 0);
    }
    cr_expect_str_eq(listener->binds[0].text, ":8080");
    config_destroy(config);
}

Test(load, makes_an_upstream_of_an_address_and_shares_it, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  a: {bind: ':1', upstream: '127.0.0.1:9000'}\n"
                                         "  b: {bind: ':2', upstream: app}\n"
                                         "  c: {bind: ':3', upstream: '127.0.0.1:9000'}\n"
                                         "  d: {bind: ':4', upstream: 'unix:/run/d.sock'}\n"
                                         "  e: {bind: ':5', upstream: 'app:80'}\n"
                                         "upstreams:\n"
                                         "  app: {servers: ['10.0.0.1:80']}\n");
    const struct config_listener *listeners = config->listeners;
    cr_assert_eq(config->upstreams_count, 4);
    cr_expect_eq(listeners[0].upstream, listeners[2].upstream);
    cr_expect_str_eq(config->upstreams[listeners[0].upstream].name, "127.0.0.1:9000");
    cr_expect_eq(config->upstreams[listeners[0].upstream].servers_count, 1);
    cr_expect_eq(config->upstreams[listeners[0].upstream].retry_attempts, 3);
    expect_address(&config->upstreams[listeners[0].upstream].servers[0].address, "127.0.0.1:9000");
    cr_expect_eq(listeners[1].upstream, 0);
    cr_expect_str_eq(config->upstreams[listeners[3].upstream].name, "unix:/run/d.sock");
    cr_expect_str_eq(config->upstreams[listeners[4].upstream].servers[0].host, "app");
    config_destroy(config);
}

/* ---- defaults, aliases, merge keys ---- */

Test(load, lets_a_listener_inherit_defaults_key_by_key, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  a: {bind: ':1', upstream: 'a:1'}\n"
                                         "  b:\n"
                                         "    bind: ':2'\n"
                                         "    upstream: 'a:1'\n"
                                         "    timeouts: {connect: 9s}\n"
                                         "    tcp: {keepalive: {count: 2}, backlog: 5}\n"
                                         "  c: {bind: ':3', upstream: 'a:1', tcp: {keepalive: off}}\n"
                                         "defaults:\n"
                                         "  timeouts: {connect: 1s, idle: 10m}\n"
                                         "  tcp: {nodelay: false, keepalive: {idle: 30s}}\n");
    const struct config_listener *listeners = config->listeners;
    cr_expect_eq(listeners[0].timeouts.connect_ms, 1000);
    cr_expect_eq(listeners[0].timeouts.idle_ms, 600000);
    cr_expect_eq(listeners[0].timeouts.half_close_ms, 60000);
    cr_expect(listeners[0].tcp.keepalive);
    cr_expect_eq(listeners[0].tcp.keepalive_idle_s, 30);
    cr_expect_eq(listeners[1].timeouts.connect_ms, 9000);
    cr_expect_eq(listeners[1].timeouts.idle_ms, 600000);
    cr_expect(!listeners[1].tcp.nodelay);
    cr_expect_eq(listeners[1].tcp.keepalive_idle_s, 30);
    cr_expect_eq(listeners[1].tcp.keepalive_count, 2);
    cr_expect_eq(listeners[1].tcp.backlog, 5);
    cr_expect(!listeners[2].tcp.keepalive);
    cr_expect_eq(listeners[2].tcp.backlog, 4096);
    config_destroy(config);
}

Test(load, switches_keepalive_on_with_an_empty_section, .timeout = 10) {
    struct config *config = loading_good("listeners:\n  a: {bind: ':1', upstream: 'a:1', tcp: {keepalive: {}}}\n");
    cr_expect(config->listeners[0].tcp.keepalive);
    cr_expect_eq(config->listeners[0].tcp.keepalive_idle_s, 60);
    config_destroy(config);
}

Test(load, expands_aliases_and_merge_keys, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  a: &a\n"
                                         "    bind: ':1'\n"
                                         "    upstream: &to 'a:1'\n"
                                         "    timeouts: &times {connect: 1s, idle: 2s}\n"
                                         "  b:\n"
                                         "    <<: *a\n"
                                         "    bind: ':2'\n"
                                         "  c:\n"
                                         "    bind: ':3'\n"
                                         "    <<: [{timeouts: {<<: *times, idle: 3s}}, *a]\n"
                                         "  d: {bind: ':4', upstream: *to}\n");
    const struct config_listener *listeners = config->listeners;
    cr_assert_eq(config->listeners_count, 4);
    cr_expect_str_eq(listeners[1].binds[0].text, ":2");
    cr_expect_eq(listeners[1].timeouts.connect_ms, 1000);
    cr_expect_eq(listeners[2].timeouts.idle_ms, 3000);
    cr_expect_eq(listeners[2].timeouts.connect_ms, 1000);
    cr_expect_eq(listeners[3].upstream, listeners[0].upstream);
    config_destroy(config);
}

Test(load, takes_types_from_the_schema_and_not_from_quotes, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  1:\n"
                                         "    bind: ':1'\n"
                                         "    upstream: true\n"
                                         "    limits: {max_connections: '5'}\n"
                                         "    tcp: {nodelay: 'false'}\n"
                                         "upstreams:\n"
                                         "  true: {servers: ['a:1']}\n");
    cr_expect_str_eq(config->listeners[0].name, "1");
    cr_expect_eq(config->listeners[0].connections_max, 5);
    cr_expect(!config->listeners[0].tcp.nodelay);
    cr_expect_str_eq(config->upstreams[0].name, "true");
    config_destroy(config);
}

/* ---- texts and places ---- */

Test(load, reads_files_with_a_byte_order_mark_and_any_line_end, .timeout = 10) {
    struct config *config =
        loading_good("\xef\xbb\xbflisteners:\r\n  web:\r\n    bind: ':1'\r\n    upstream: 'a:1'\r\n");
    cr_expect_str_eq(config->listeners[0].name, "web");
    cr_expect_eq(config->listeners[0].place.line, 2);
    config_destroy(config);
    config = loading_good("listeners:\r  web:\r    bind: ':1'\r    upstream: 'a:1'\r");
    cr_expect_eq(config->listeners[0].binds[0].place.line, 3);
    config_destroy(config);
}

Test(load, knows_where_everything_stands, .timeout = 10) {
    struct config *config = loading_good("listeners:\n"
                                         "  web: {bind: [':1', ':2'], upstream: app}\n"
                                         "  api: {bind: ':3', upstream: 'b:1'}\n"
                                         "upstreams:\n"
                                         "  app:\n"
                                         "    servers:\n"
                                         "      - 'a:1'\n");
    cr_expect_str_eq(config->listeners[0].place.file, "test.yaml");
    cr_expect_eq(config->listeners[0].place.line, 2);
    cr_expect_eq(config->listeners[0].place.column, 3);
    cr_expect_eq(config->listeners[0].binds[1].place.column, 22);
    cr_expect_eq(config->upstreams[0].place.line, 5);
    cr_expect_eq(config->upstreams[0].servers[0].place.line, 7);
    cr_expect_eq(config->upstreams[1].place.line, 3);
    config_destroy(config);
}

Test(load, keeps_the_configuration_when_there_are_only_warnings, .timeout = 10) {
    struct loading_result result = loading_from(LOADING_SMALL "  spare: {servers: ['b:1']}\n");
    cr_expect_not_null(result.config);
    cr_expect_eq(result.report.errors_count, 0);
    cr_expect_eq(result.report.warnings_count, 1);
    cr_expect(loading_reports(&result, "W0501", "no listener uses upstream \"spare\""));
    loading_finish(&result);
}

Test(load, says_nothing_about_a_file_that_is_fine, .timeout = 10) {
    struct loading_result result = loading_from(LOADING_SMALL);
    cr_expect_str_eq(result.report.text.data, "");
    loading_finish(&result);
}

Test(load, names_the_origins_of_a_text_that_was_made, .timeout = 10) {
    const char *text = "listeners:\n"
                       "  web:\n"
                       "    bind: ['*:80', ':1', ':1']\n"
                       "    upstream: 'a:99999'\n"
                       "    x: 1\n";
    static const char *const origins[] = {NULL, NULL, "--listen", "--to"};
    struct config_report report;
    config_report_init(&report);
    cr_expect_null(config_load_made(text, strlen(text), "command line", origins, 4, &report));
    cr_expect_str_eq(report.text.data,
                     "command line: --listen: error[E0306]: address: \"*:80\" is not an address\n"
                     "      = write \":80\" for every address of this machine\n"
                     "command line: --listen: error[E0403]: \":1\" is bound twice\n"
                     "command line: --listen: note: the other one\n"
                     "command line: --to: error[E0306]: upstream: 99999 is not a port (1-65535)\n"
                     "command line: error[E0203]: unknown key \"x\" in listener \"web\"\n"
                     "      = known here: bind, upstream, filters, allow, deny, proxy_protocol, timeouts, limits, tcp\n"
                     "4 errors: nothing was applied\n");
    config_report_finish(&report);
}

Test(load, gives_places_of_a_text_that_was_made_without_numbers, .timeout = 10) {
    const char *text = "listeners:\n  web:\n    bind: ':80'\n    upstream: 'a:1'\n";
    static const char *const origins[] = {NULL, NULL, "--listen", "--to"};
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_made(text, strlen(text), "command line", origins, 4, &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_expect_str_eq(config->listeners[0].place.file, "command line");
    cr_expect_str_eq(config->listeners[0].binds[0].place.file, "command line: --listen");
    cr_expect_str_eq(config->upstreams[0].servers[0].place.file, "command line: --to");
    cr_expect_eq(config->upstreams[0].servers[0].place.line, 0);
    config_destroy(config);
    config_report_finish(&report);
}

/* ---- files ---- */

static const char relative_text[] = "listeners:\n"
                                    "  web: {bind: 'unix:run/web.sock', upstream: 'unix:run/app.sock'}\n"
                                    "log: {error: {target: 'file:log/error.log'}}\n";

static char *write_file(const char *text) {
    char *path = strdup("/tmp/moonring-config-XXXXXX");
    int descriptor = mkstemp(path);
    cr_assert_geq(descriptor, 0);
    cr_assert_eq(write(descriptor, text, strlen(text)), (ssize_t)strlen(text));
    close(descriptor);
    return path;
}

Test(load, takes_relative_paths_from_the_folder_of_the_file, .timeout = 10) {
    char *path = write_file(relative_text);
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_file(path, NULL, &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_expect_str_eq(config->log.error_target, "/tmp/log/error.log");
    expect_address(&config->listeners[0].binds[0].address, "unix:/tmp/run/web.sock");
    expect_address(&config->upstreams[0].servers[0].address, "unix:/tmp/run/app.sock");
    config_destroy(config);
    config = config_load_file(path, "/etc/moonring/moonring.yaml", &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_expect_str_eq(config->log.error_target, "/etc/moonring/log/error.log");
    cr_expect_str_eq(config->listeners[0].place.file, "/etc/moonring/moonring.yaml");
    config_destroy(config);
    config_report_finish(&report);
    unlink(path);
    free(path);
}

Test(load, takes_relative_paths_of_a_relative_file_from_the_working_folder, .timeout = 10) {
    struct config_report report;
    char expected[4200];
    char *working = get_current_dir_name();
    config_report_init(&report);
    struct config *config = config_load_text(relative_text, strlen(relative_text), "conf/a.yaml", &report);
    cr_assert_not_null(config, "%s", report.text.data);
    snprintf(expected, sizeof(expected), "%s/conf/log/error.log", working);
    cr_expect_str_eq(config->log.error_target, expected);
    config_destroy(config);
    config = config_load_text(relative_text, strlen(relative_text), "command line", &report);
    snprintf(expected, sizeof(expected), "%s/log/error.log", working);
    cr_expect_str_eq(config->log.error_target, expected);
    config_destroy(config);
    config = config_load_text(relative_text, strlen(relative_text), "/a.yaml", &report);
    cr_expect_str_eq(config->log.error_target, "/log/error.log");
    config_destroy(config);
    config_report_finish(&report);
    free(working);
}

static void expect_unreadable(const char *path, const char *text) {
    struct config_report report;
    config_report_init(&report);
    cr_expect_null(config_load_file(path, NULL, &report));
    cr_expect_eq(report.errors_count, 1);
    cr_expect_str_eq(report.text.data, text);
    config_report_finish(&report);
}

Test(load, says_which_file_cannot_be_read_and_why, .timeout = 10) {
    expect_unreadable("/nowhere/a.yaml", "/nowhere/a.yaml: error[E0101]: cannot read /nowhere/a.yaml: No such file or "
                                         "directory\n1 error: nothing was applied\n");
    expect_unreadable("/tmp", "/tmp: error[E0101]: cannot read /tmp: Is a directory\n1 error: nothing was applied\n");
}

Test(load, reads_standard_input, .timeout = 10) {
    char *path = write_file(LOADING_SMALL);
    struct config_report report;
    config_report_init(&report);
    cr_assert_not_null(freopen(path, "r", stdin));
    struct config *config = config_load_file("-", NULL, &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_expect_str_eq(config->listeners[0].place.file, "standard input");
    config_destroy(config);
    config_report_finish(&report);
    unlink(path);
    free(path);
}

Test(load, destroys_nothing_when_there_is_nothing, .timeout = 10) {
    config_destroy(NULL);
}
