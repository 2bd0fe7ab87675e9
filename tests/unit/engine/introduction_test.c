#include "engine/introduction.h"

#include "base/admission.h"
#include "service.h"
#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LINE "PROXY TCP4 192.0.2.7 198.51.100.1 51234 443\r\n"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BLOCK SIGNATURE "\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc8\x22\x01\xbb" /* the same in version 2 */

/* In version 2: from the unix socket /client to one without a name. */
static const char unix_block[16 + 2 * 108] = SIGNATURE "\x21\x31\0\xd8/client";

static const struct admission everybody = {.otherwise = true};
static const struct admission nobody = {.otherwise = false};

/* A listener that wants headers from whom it trusts. */
static void service_open_proxied(struct service *service, const struct admission *trusted, uint64_t preread_ms) {
    service_init(service);
    service->listener_config.timeouts.preread_ms = preread_ms;
    service->listener_config.proxy_protocol =
        (struct config_proxy_protocol){.wanted = true, .trusted_admission = trusted};
    service_open(service);
}

/* An upstream that wants headers of this kind. */
static void service_open_proxying(struct service *service, enum config_proxy_send send, size_t servers_count) {
    service_init(service);
    service->upstream_config.proxy_protocol = send;
    service->upstream_config.retry_attempts = (uint32_t)servers_count;
    service->servers_count = servers_count;
    service_open(service);
}

static void send_bytes(int fd, const char *bytes, size_t size) {
    cr_assert_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* Turns until these bytes have come. */
static void expect_bytes(struct service *service, int fd, const char *bytes, size_t size) {
    char received[512];
    cr_assert_leq(size, sizeof(received));
    for (size_t there = 0; there < size;) {
        ssize_t part = -1;
        service_wait(service, (part = recv(fd, received + there, size - there, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
        cr_assert_gt(part, 0, "the stream ended after %zu bytes", there);
        there += (size_t)part;
    }
    cr_assert_arr_eq(received, bytes, size);
}

static void expect_peer(struct service *service, const char *expected) {
    struct address address;
    char text[ADDRESS_TEXT_MAX];
    session_peer(service_session(service), &address);
    address_format(&address, text, sizeof(text));
    cr_assert_str_eq(text, expected);
}

static void expect_refused(struct service *service, const char *bytes, size_t size, const char *why) {
    int client = service_client(service);
    service_wait(service, service->worker.engine.sessions_count == 1);
    struct session *session = service_session(service);
    owner_hold(&session->owner); /* until we have looked */
    send_bytes(client, bytes, size);
    service_wait(service, session->state == SESSION_CLOSING);
    cr_expect_eq(session->reason, CLOSE_PROXY_HEADER);
    cr_expect(strstr(session->error, why) != NULL, "%s", session->error);
    owner_drop(&session->owner);
    cr_expect_lt(service_expect_end(service, client), 0, "it was not reset");
    kernel_close(client);
    service_wait(service, service->worker.engine.sessions_count == 0);
}

/* --- from the client ------------------------------------------------------------------------------------------------
 */

/* The header, and bytes right behind it, however they are cut: the server gets the bytes and nothing of the header. */
static void pass_cut(struct service *service, const char *bytes, size_t size, size_t cut) {
    int client = service_client(service);
    send_bytes(client, bytes, cut);
    service_wait(service, service->worker.engine.sessions_count == 1);
    for (int turn = 0; turn < 2; turn++) {
        service_turn(service);
    }
    send_bytes(client, bytes + cut, size - cut);
    int server = service_server(service, 0);
    expect_bytes(service, server, "hello", 5);
    expect_peer(service, "192.0.2.7:51234");
    send_bytes(server, "world", 5);
    expect_bytes(service, client, "world", 5);
    kernel_close(client);
    kernel_close(server);
    service_wait(service, service->worker.engine.sessions_count == 0);
}

Test(introduction, is_taken_off_wherever_it_is_cut, .timeout = 30) {
    struct service service;
    service_open_proxied(&service, &everybody, 0);
    for (size_t cut = 0; cut <= sizeof(LINE "hello") - 1; cut++) {
        pass_cut(&service, LINE "hello", sizeof(LINE "hello") - 1, cut);
    }
    for (size_t cut = 0; cut <= sizeof(BLOCK "hello") - 1; cut++) {
        pass_cut(&service, BLOCK "hello", sizeof(BLOCK "hello") - 1, cut);
    }
    service_close(&service);
}

Test(introduction, tells_the_destination_and_leaves_the_direct_peer_visible, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &everybody, 0);
    int client = service_client(&service);
    send_bytes(client, BLOCK, sizeof(BLOCK) - 1);
    int server = service_server(&service, 0);
    struct address address;
    struct address own;
    char text[ADDRESS_TEXT_MAX];
    session_destination(service_session(&service), &address);
    address_format(&address, text, sizeof(text));
    cr_assert_str_eq(text, "198.51.100.1:443");
    session_direct_peer(service_session(&service), &address);
    kernel_local_address(client, &own);
    cr_assert(address_equal(&address, &own));
    kernel_close(server);
    service_close(&service);
}

Test(introduction, of_a_proxy_itself_keeps_its_address, .timeout = 10) {
    static const char *const headers[] = {SIGNATURE "\x20\0\0\0", SIGNATURE "\x21\0\0\0", "PROXY UNKNOWN\r\n"};
    static const size_t sizes[] = {16, 16, 15};
    struct service service;
    service_open_proxied(&service, &everybody, 0);
    for (size_t index = 0; index < 3; index++) {
        int client = service_client(&service);
        send_bytes(client, headers[index], sizes[index]);
        int server = service_server(&service, 0);
        struct address own;
        char text[ADDRESS_TEXT_MAX];
        kernel_local_address(client, &own);
        address_format(&own, text, sizeof(text));
        expect_peer(&service, text);
        kernel_close(client);
        kernel_close(server);
        service_wait(&service, service.worker.engine.sessions_count == 0);
    }
    service_close(&service);
}

Test(introduction, is_taken_from_nobody_who_is_not_trusted, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &nobody, 0);
    int client = service_client(&service);
    send_bytes(client, LINE, sizeof(LINE) - 1);
    service_expect_closed(&service, CLOSE_DENIED, 1);
    cr_assert_lt(service_expect_end(&service, client), 0, "it was not reset");
    cr_assert_eq(service_counters(&service)->connects, 0);
    service_close(&service);
}

/* The kernel does not know any more who it was: nobody was turned away. */
Test(introduction, of_who_has_reset_before_it_was_accepted_is_no_matter_of_trust, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &nobody, 0);
    kernel_reset(service_client(&service));
    service_expect_closed(&service, CLOSE_CLIENT_RESET, 1);
    service_close(&service);
}

/* A listener that wants headers and lets nobody in. */
static void service_open_proxied_closed(struct service *service) {
    service_init(service);
    service->listener_config.proxy_protocol =
        (struct config_proxy_protocol){.wanted = true, .trusted_admission = &everybody};
    service->listener_config.admission = &nobody;
    service_open(service);
}

/* Its client has no IP address: the proxy has one, and answers for it. */
Test(introduction, of_a_unix_client_lets_no_proxy_past_the_rules, .timeout = 10) {
    struct service service;
    service_open_proxied_closed(&service);
    int client = service_client(&service);
    send_bytes(client, unix_block, sizeof(unix_block));
    service_expect_closed(&service, CLOSE_DENIED, 1);
    cr_assert_lt(service_expect_end(&service, client), 0, "it was not reset");
    cr_assert_eq(service_counters(&service)->connects, 0);
    kernel_close(client);
    service_close(&service);
}

Test(introduction, of_a_unix_client_over_a_unix_socket_is_no_matter_of_rules, .timeout = 10) {
    struct service service;
    int sockets[2];
    service_open_proxied_closed(&service);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    send_bytes(sockets[0], unix_block, sizeof(unix_block));
    service_take(&service, sockets[1]);
    kernel_close(service_server(&service, 0));
    kernel_close(sockets[0]);
    service_close(&service);
}

Test(introduction, is_refused_when_it_is_missing_or_malformed, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &everybody, 0);
    expect_refused(&service, "GET / HTTP/1.1\r\n", 16, "no PROXY header");
    expect_refused(&service, "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", 30, "malformed address");
    expect_refused(&service, SIGNATURE "\x21\x11\xff\xff", 16, "above 4 KiB");
    cr_assert_eq(service_counters(&service)->connects, 0);
    service_close(&service);
}

Test(introduction, takes_only_the_version_that_is_accepted, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.proxy_protocol =
        (struct config_proxy_protocol){.wanted = true, .accept = PROXY_ACCEPT_V2, .trusted_admission = &everybody};
    service_open(&service);
    expect_refused(&service, LINE, sizeof(LINE) - 1, "no PROXY header of version 2");
    pass_cut(&service, BLOCK "hello", sizeof(BLOCK "hello") - 1, 3);
    service_close(&service);
}

Test(introduction, may_never_come_from_who_only_looks, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &everybody, 0);
    int client = service_client(&service);
    kernel_shutdown_write(client);
    service_expect_closed(&service, CLOSE_CLIENT_FIN, 1);
    cr_assert_eq(service_expect_end(&service, client), 0);
    kernel_close(client);
    client = service_client(&service);
    send_bytes(client, "PRO", 3);
    kernel_shutdown_write(client);
    service_expect_closed(&service, CLOSE_PROXY_HEADER, 1);
    kernel_close(client);
    client = service_client(&service);
    service_turn(&service);
    kernel_reset(client);
    service_expect_closed(&service, CLOSE_CLIENT_RESET, 1);
    service_close(&service);
}

/* Each byte comes in time, and yet it takes too long. */
Test(introduction, has_one_deadline_whatever_comes, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &everybody, 100);
    int client = service_client(&service);
    service_wait(&service, service.worker.engine.sessions_count == 1);
    uint64_t polls_before = ring_counters(service.worker.engine.ring)->completions;
    static const char line[] = LINE;
    size_t sent = 0;
    while (service_counters(&service)->sessions_closed[CLOSE_TIMEOUT_PREREAD] == 0 && sent < sizeof(line) - 2) {
        send(client, &line[sent], 1, MSG_NOSIGNAL);
        sent++;
        service_turn(&service);
        service_turn(&service);
    }
    service_expect_closed(&service, CLOSE_TIMEOUT_PREREAD, 1);
    /* What was taken of the header does not make the socket readable again. */
    cr_assert_leq(ring_counters(service.worker.engine.ring)->completions - polls_before, sent + 3);
    service_close(&service);
}

Test(introduction, of_a_session_that_is_closed_is_given_back, .timeout = 10) {
    struct service service;
    service_open_proxied(&service, &everybody, 0);
    int client = service_client(&service);
    send_bytes(client, "PROXY", 5);
    service_wait(&service, service.worker.engine.sessions_count == 1);
    service_turn(&service);
    session_close(service_session(&service), CLOSE_SHUTDOWN);
    service_expect_closed(&service, CLOSE_SHUTDOWN, 1);
    service_close(&service);
}

/* --- to the server --------------------------------------------------------------------------------------------------
 */

static size_t header_of(const struct service *service, int client, unsigned version, uint8_t *bytes) {
    struct address own;
    kernel_local_address(client, &own);
    return proxy_header_write(bytes, version, &own, &service->address);
}

Test(introduction, comes_before_everything_else, .timeout = 10) {
    for (unsigned version = PROXY_V1; version <= PROXY_V2; version++) {
        struct service service;
        uint8_t header[PROXY_WRITTEN_MAX];
        service_open_proxying(&service, version == PROXY_V1 ? PROXY_SEND_V1 : PROXY_SEND_V2, 1);
        int client = service_client(&service);
        size_t size = header_of(&service, client, version, header);
        send_bytes(client, "hello", 5);
        int server = service_server(&service, 0);
        expect_bytes(&service, server, (const char *)header, size);
        expect_bytes(&service, server, "hello", 5);
        cr_expect_eq(service_session(&service)->from_client.bytes, 5, "the header is none of the client's bytes");
        service_close(&service);
    }
}

/* A server of a protocol in which it speaks first waits for the header. */
Test(introduction, does_not_wait_for_the_client_to_speak, .timeout = 10) {
    struct service service;
    uint8_t header[PROXY_WRITTEN_MAX];
    service_open_proxying(&service, PROXY_SEND_V2, 1);
    int client = service_client(&service);
    int server = service_server(&service, 0);
    expect_bytes(&service, server, (const char *)header, header_of(&service, client, PROXY_V2, header));
    kernel_shutdown_write(client);
    cr_expect_eq(service_expect_end(&service, server), 0);
    service_close(&service);
}

Test(introduction, is_sent_anew_to_the_next_server, .timeout = 10) {
    struct service service;
    uint8_t header[PROXY_WRITTEN_MAX];
    service_open_proxying(&service, PROXY_SEND_V1, 2);
    service_refuse(&service, 0);
    int client = service_client(&service);
    send_bytes(client, "hello", 5);
    int server = service_server(&service, 1);
    expect_bytes(&service, server, (const char *)header, header_of(&service, client, PROXY_V1, header));
    expect_bytes(&service, server, "hello", 5);
    service_close(&service);
}

/* What one proxy says goes on to the next. */
Test(introduction, is_passed_on, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.proxy_protocol =
        (struct config_proxy_protocol){.wanted = true, .trusted_admission = &everybody};
    service.upstream_config.proxy_protocol = PROXY_SEND_V2;
    service_open(&service);
    int client = service_client(&service);
    send_bytes(client, LINE "hello", sizeof(LINE "hello") - 1);
    expect_bytes(&service, service_server(&service, 0), BLOCK "hello", sizeof(BLOCK "hello") - 1);
    service_close(&service);
}
