/* PROXY headers, in and out: scripted peers, HAProxy, nginx and curl at the other end. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE "PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n"

enum { MIB = 1 << 20 };

static const char trusting[] = "proxy_protocol: {trusted: 127.0.0.0/8}";

/* The next line of the access log with this text in it. */
static const char *wait_session(struct moonring *moonring, const char *text) {
    return process_wait_line(&moonring->process, &moonring->process.output, text);
}

/* --- scripted peers -------------------------------------------------------------------------------------------------
 */

Test(proxy_protocol, gives_the_client_that_the_header_names_to_log_and_rules, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: '%s', deny: 203.0.113.0/24, %s}}\n"
                   "log: {access: {format: json}}\n",
                   listener.address, trusting);
    peer_connect(&pair.client, moonring.address);
    peer_send(&pair.client, LINE "hello");
    peer_accept(&pair.server, &listener);
    peer_expect(&pair.server, "hello");
    peer_send(&pair.server, "world");
    peer_expect(&pair.client, "world");
    peer_close(&pair.client);
    peer_expect_end(&pair.server);
    peer_close(&pair.server);
    const char *line = wait_session(&moonring, "\"client\":\"192.0.2.7:51234\"");
    cr_expect_not_null(strstr(line, "\"from_client_bytes\":5,"), "the header is none of the client's bytes: %s", line);
    struct peer denied;
    peer_connect(&denied, moonring.address);
    peer_send(&denied, "PROXY TCP4 203.0.113.9 198.51.100.1 1 443\r\n");
    peer_expect_closed(&denied);
    line = wait_session(&moonring, "\"reason\":\"denied\"");
    cr_expect_not_null(strstr(line, "\"client\":\"203.0.113.9:1\""), "%s", line);
    moonring_stop(&moonring);
}

Test(proxy_protocol, is_wanted_of_the_trusted_and_taken_from_nobody_else, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct peer client;
    moonring_start_web(&moonring, &listener, trusting, "");
    peer_connect(&client, moonring.address);
    peer_send(&client, "GET / HTTP/1.1\r\n\r\n");
    peer_expect_closed(&client);
    moonring_expect_session(&moonring, "tries=0 from_client_bytes=0 reason=proxy_header ended_by=moonring "
                                       "error=\"no PROXY header\"");
    moonring_reload(&moonring,
                    "listeners: {web: {bind: '%s', upstream: '%s', proxy_protocol: {trusted: 10.0.0.0/8}}}\n",
                    moonring.address, listener.address);
    int error = peer_try_connect(&client, moonring.address);
    if (error == 0) {
        peer_expect_reset(&client);
    } else {
        cr_assert_eq(error, ECONNRESET, "the reset may be there before connect(2) returns");
    }
    moonring_expect_session(&moonring, "reason=denied");
    cr_assert_not(peer_listener_has_client(&listener, 0));
    cr_assert_eq(moonring_counter(&moonring, "moonring_connects_total"), 0);
    moonring_stop(&moonring);
}

/* Bytes that came right behind a header, and bulk that is spliced after it, in both directions. */
Test(proxy_protocol, does_not_stand_in_the_way_of_bulk, .timeout = 60) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: app, %s}}\n"
                   "upstreams: {app: {servers: ['%s'], proxy_protocol: v1}}\n",
                   trusting, listener.address);
    peer_connect(&pair.client, moonring.address);
    peer_send(&pair.client, LINE);
    pair_accept(&pair, &listener);
    peer_expect(&pair.server, LINE);
    struct transfer transfers[] = {
        {.peer = &pair.client, .send = 64 * MIB, .expect = 64 * MIB},
        {.peer = &pair.server, .send = 64 * MIB, .expect = 64 * MIB},
    };
    transfers_run(transfers, 2);
    cr_assert_gt(moonring_counter(&moonring, "moonring_splice_bytes_total"), 64.0 * MIB);
    pair_close(&pair);
    moonring_stop(&moonring);
}

/* Its clients have no address to speak of, and need no leave but the file's. */
Test(proxy_protocol, over_unix_sockets, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener v1, v2;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX], plain[ADDRESS_TEXT_MAX], proxied[ADDRESS_TEXT_MAX];
    temporary_create(&folder);
    snprintf(plain, sizeof(plain), "unix:%s", temporary_path(&folder, "plain", path));
    snprintf(proxied, sizeof(proxied), "unix:%s", temporary_path(&folder, "proxied", path));
    peer_listen(&v1, "127.0.0.1:0");
    peer_listen(&v2, "127.0.0.1:0");
    moonring_start(
        &moonring,
        "listeners:\n"
        "  plain: {bind: '%s', upstream: one}\n"
        "  proxied: {bind: '%s', upstream: two, proxy_protocol: {}}\n"
        "upstreams: {one: {servers: ['%s'], proxy_protocol: v1}, two: {servers: ['%s'], proxy_protocol: v2}}\n",
        plain, proxied, v1.address, v2.address);
    struct pair pair;
    peer_connect(&pair.client, plain);
    peer_accept(&pair.server, &v1);
    peer_expect(&pair.server, "PROXY UNKNOWN\r\n");
    pair_close(&pair);
    moonring_expect_session(&moonring, "client=unix:");
    peer_connect(&pair.client, proxied);
    peer_send(&pair.client, LINE);
    peer_accept(&pair.server, &v2);
    peer_expect(&pair.server, "\r\n\r\n");
    pair_close(&pair);
    moonring_expect_session(&moonring, "client=192.0.2.7:51234");
    moonring_stop(&moonring);
}

Test(proxy_protocol, is_there_before_a_filter_sees_or_writes_anything, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    char path[TEMPORARY_PATH_MAX];
    peer_listen(&listener, "127.0.0.1:0");
    temporary_create(&moonring.folder);
    temporary_write(&moonring.folder, "greet.lua",
                    "return {\n"
                    "  route = function(conn) conn.first = tostring(conn.client:peek(5)) end,\n"
                    "  connected = function(conn)\n"
                    "    local proxy = conn.proxy\n"
                    "    conn.server:write(string.format('<%%s %%s %%s %%s %%s %%s>', conn.client.name, conn.first,\n"
                    "      proxy.ip, proxy.destination, proxy.authority, proxy.tlvs[0xE0]))\n"
                    "  end,\n"
                    "}\n");
    temporary_write(&moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '127.0.0.1:0', upstream: app, filters: [greet.lua], %s}}\n"
                    "upstreams: {app: {servers: ['%s'], proxy_protocol: v1}}\n",
                    trusting, listener.address);
    process_start(&moonring.process, NULL,
                  ARGUMENTS(moonring_program(), "run", "-c", temporary_path(&moonring.folder, "moonring.yaml", path)));
    moonring_wait_ready(&moonring);
    static const char block[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x19\xc0\0\x02\x07\xc6\x33\x64\x01\xc8\x22\x01\xbb"
                                "\x02\0\x05"
                                "a.org"
                                "\xe0\0\x02"
                                "xy"
                                "hello";
    peer_connect(&pair.client, moonring.address);
    cr_assert_eq(write(pair.client.fd, block, sizeof(block) - 1), (ssize_t)sizeof(block) - 1);
    peer_accept(&pair.server, &listener);
    peer_expect(&pair.server, LINE "<192.0.2.7:51234 hello 127.0.0.1 198.51.100.1:443 a.org xy>hello");
    pair_close(&pair);
    moonring_stop(&moonring);
}

/* --- HAProxy, nginx, curl -------------------------------------------------------------------------------------------
 */

struct neighbour {
    struct process process;
    struct temporary folder;
    char address[ADDRESS_TEXT_MAX];
};

static void neighbour_prepare(struct neighbour *neighbour) {
    temporary_create(&neighbour->folder);
    snprintf(neighbour->address, sizeof(neighbour->address), "127.0.0.1:%u", peer_free_port());
}

static void haproxy_start(struct neighbour *haproxy) {
    char path[TEMPORARY_PATH_MAX];
    process_start(&haproxy->process, NULL,
                  ARGUMENTS("haproxy", "-db", "-f", temporary_path(&haproxy->folder, "haproxy.cfg", path)));
}

static void nginx_start(struct neighbour *nginx) {
    char path[TEMPORARY_PATH_MAX];
    process_start(&nginx->process, NULL,
                  ARGUMENTS("nginx", "-e", "stderr", "-p", nginx->folder.path, "-c",
                            temporary_path(&nginx->folder, "nginx.conf", path)));
}

/* Answers with the addresses that the header names. */
static void haproxy_start_server(struct neighbour *haproxy) {
    neighbour_prepare(haproxy);
    temporary_write(&haproxy->folder, "haproxy.cfg",
                    "defaults\n  mode http\n  timeout client 30s\n"
                    "frontend f\n  bind %s accept-proxy\n"
                    "  http-request return status 200 content-type text/plain "
                    "lf-string \"%%[src]:%%[src_port] %%[dst]:%%[dst_port]\"\n",
                    haproxy->address);
    haproxy_start(haproxy);
    peer_wait_for_server(haproxy->address);
}

static void nginx_start_server(struct neighbour *nginx) {
    neighbour_prepare(nginx);
    temporary_write(&nginx->folder, "nginx.conf",
                    "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
                    "events {}\n"
                    "http {\n"
                    "  access_log off;\n"
                    "  server {\n"
                    "    listen %s proxy_protocol;\n"
                    "    location / {\n"
                    "      return 200 \"$proxy_protocol_addr:$proxy_protocol_port "
                    "$proxy_protocol_server_addr:$proxy_protocol_server_port\";\n"
                    "    }\n"
                    "  }\n"
                    "}\n",
                    nginx->address);
    nginx_start(nginx);
    peer_wait_for_server(nginx->address);
}

/* Asks from 127.7.7.7; the answer must name that client, and `destination` as where it had connected to. */
static void expect_named(const char *address, const char *option, const char *destination) {
    struct process curl;
    char url[ADDRESS_TEXT_MAX + 16];
    char named[64];
    snprintf(url, sizeof(url), "http://%s/", address);
    process_run(&curl, ARGUMENTS("curl", "-sSf", "--interface", "127.7.7.7", option, "-w",
                                 "%{stderr}%{local_ip}:%{local_port}", url));
    snprintf(named, sizeof(named), "%s %s", process_text(&curl.errors), destination);
    cr_expect(strncmp(named, "127.7.7.7:", 10) == 0, "%s", named);
    cr_expect_str_eq(process_text(&curl.output), named);
}

static void pass_to_server(const struct neighbour *server, const char *version) {
    struct moonring moonring;
    moonring_start(&moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: app}}\n"
                   "upstreams: {app: {servers: ['%s'], proxy_protocol: %s}}\n",
                   server->address, version);
    expect_named(moonring.address, "--http1.1", moonring.address);
    moonring_stop(&moonring);
}

Test(proxy_protocol, is_understood_by_haproxy, .timeout = 60) {
    struct neighbour haproxy;
    haproxy_start_server(&haproxy);
    pass_to_server(&haproxy, "v1");
    pass_to_server(&haproxy, "v2");
    process_kill(&haproxy.process);
}

Test(proxy_protocol, is_understood_by_nginx, .timeout = 60) {
    struct neighbour nginx;
    nginx_start_server(&nginx);
    pass_to_server(&nginx, "v1");
    pass_to_server(&nginx, "v2");
    process_kill(&nginx.process);
}

/* moonring takes a header from somebody and gives another one to a server. */
static void start_between(struct moonring *moonring, const char *accept, const struct neighbour *server) {
    moonring_start(moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: app,\n"
                   "                  proxy_protocol: {accept: %s, trusted: 127.0.0.0/8}}}\n"
                   "upstreams: {app: {servers: ['%s'], proxy_protocol: v2}}\n",
                   accept, server->address);
}

static void pass_from_haproxy(const char *accept, const char *option, const struct neighbour *server) {
    struct moonring moonring;
    struct neighbour haproxy;
    start_between(&moonring, accept, server);
    neighbour_prepare(&haproxy);
    temporary_write(&haproxy.folder, "haproxy.cfg",
                    "defaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n"
                    "listen f\n  bind %s\n  server s %s %s\n",
                    haproxy.address, moonring.address, option);
    haproxy_start(&haproxy);
    peer_wait_for_server(haproxy.address);
    expect_named(haproxy.address, "--http1.1", haproxy.address);
    wait_session(&moonring, "client=127.7.7.7:");
    process_kill(&haproxy.process);
    moonring_stop(&moonring);
}

Test(proxy_protocol, of_haproxy_is_understood, .timeout = 60) {
    struct neighbour nginx;
    nginx_start_server(&nginx);
    pass_from_haproxy("v1", "send-proxy", &nginx);
    pass_from_haproxy("v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id", &nginx);
    process_kill(&nginx.process);
}

/* HAProxy says LOCAL when it looks whether a server lives. */
Test(proxy_protocol, of_haproxys_health_checks_is_understood, .timeout = 60) {
    struct moonring moonring;
    struct neighbour haproxy, nginx;
    nginx_start_server(&nginx);
    start_between(&moonring, "v2", &nginx);
    neighbour_prepare(&haproxy);
    temporary_write(&haproxy.folder, "haproxy.cfg",
                    "defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n"
                    "listen f\n  bind %s\n  option httpchk GET /\n  server s %s check inter 100ms send-proxy-v2\n",
                    haproxy.address, moonring.address);
    haproxy_start(&haproxy);
    const char *line = wait_session(&moonring, "client=127.0.0.1:");
    cr_expect_null(strstr(line, "reason=proxy_header"), "%s", line);
    cr_expect_gt(session_line_number(line, "from_server_bytes"), 0);
    process_kill(&haproxy.process);
    process_kill(&nginx.process);
    moonring_stop(&moonring);
}

Test(proxy_protocol, of_nginx_and_of_curl_is_understood, .timeout = 60) {
    struct moonring moonring;
    struct neighbour between, server;
    haproxy_start_server(&server);
    start_between(&moonring, "any", &server);
    neighbour_prepare(&between);
    temporary_write(&between.folder, "nginx.conf",
                    "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                    "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
                    "events {}\n"
                    "stream { server { listen %s; proxy_pass %s; proxy_protocol on; } }\n",
                    between.address, moonring.address);
    nginx_start(&between);
    peer_wait_for_server(between.address);
    expect_named(between.address, "--http1.1", between.address);
    expect_named(moonring.address, "--haproxy-protocol", moonring.address);
    process_kill(&between.process);
    process_kill(&server.process);
    moonring_stop(&moonring);
}
