#include "engine/session.h"

#include "base/admission.h"
#include "engine/sources.h"
#include "service.h"
#include "stage.h"
#include "tests/support/deadline.h"
#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* --- connecting ----------------------------------------------------------------------------------------------------
 */

Test(session, connects_to_the_server_and_counts_it, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    service_wait(&service, service_session(&service)->state == SESSION_RELAYING);
    struct server *server = &service.upstream.servers[0];
    cr_assert_eq(atomic_load(&server->state->active), 1);
    cr_assert_eq(atomic_load(&server->state->connected_total), 1);
    cr_assert_eq(atomic_load(&server->state->failed_total), 0);
    cr_assert_eq(service_session(&service)->tries, 1);
    kernel_close(pair.client);
    kernel_close(pair.server);
    service_expect_closed(&service, CLOSE_CLIENT_FIN, 1);
    cr_assert_eq(atomic_load(&server->state->active), 0);
    service_close(&service);
}

Test(session, tries_the_next_server_when_one_refuses, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.servers_count = 3;
    service.upstream_config.retry_attempts = 3;
    service_open(&service);
    service_refuse(&service, 0);
    service_refuse(&service, 1);
    int client = service_client(&service);
    socket_write(client, 0, 100);
    service_expect(&service, service_server(&service, 2), 0, 100);
    cr_assert_eq(service_session(&service)->tries, 3);
    cr_assert_eq(service_session(&service)->server, &service.upstream.servers[2]);
    cr_assert_eq(service_counters(&service)->retries, 2);
    cr_assert_eq(atomic_load(&service.upstream.servers[0].state->failed_total), 1);
    cr_assert_eq(atomic_load(&service.upstream.servers[0].state->active), 0);
    service_close(&service);
}

Test(session, tries_no_more_often_than_it_may, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.servers_count = 3;
    service.upstream_config.retry_attempts = 2;
    service_open(&service);
    for (size_t server = 0; server < 3; server++) {
        service_refuse(&service, server);
    }
    int client = service_client(&service);
    service_expect_closed(&service, CLOSE_NO_SERVER, 1);
    cr_assert_leq(service_expect_end(&service, client), 0);
    cr_assert_eq(service_counters(&service)->connects, 2);
    cr_assert_eq(atomic_load(&service.upstream.servers[2].state->failed_total), 0);
    service_close(&service);
}

Test(session, tries_all_servers_again_after_a_while, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.servers_count = 2;
    service.upstream_config.retry_attempts = 4;
    service.upstream_config.retry_backoff_ms = 60;
    service_open(&service);
    service_refuse(&service, 0);
    service_refuse(&service, 1);
    uint64_t begin_ms = deadline_now_ms();
    service_client(&service);
    service_expect_closed(&service, CLOSE_NO_SERVER, 1);
    cr_assert_geq(deadline_now_ms() - begin_ms, 60);
    cr_assert_eq(service_counters(&service)->connects, 4);
    cr_assert_eq(atomic_load(&service.upstream.servers[0].state->failed_total), 2);
    cr_assert_eq(atomic_load(&service.upstream.servers[1].state->failed_total), 2);
    service_close(&service);
}

Test(session, is_refused_when_every_server_is_full, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.server_configs[0].connections_max = 1;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    int refused = service_client(&service);
    service_expect_closed(&service, CLOSE_UPSTREAM_FULL, 1);
    cr_assert_leq(service_expect_end(&service, refused), 0);
    cr_assert_eq(service_counters(&service)->connects, 1);
    kernel_close(pair.client);
    kernel_close(pair.server);
    service_expect_closed(&service, CLOSE_CLIENT_FIN, 1);
    service_pair(&service);
    service_close(&service);
}

/* Makes the server's queue of connections full: who connects now is not answered. */
static void server_fill(struct service *service) {
    const struct kernel_listen_options options = {.backlog = 0};
    cr_assert_eq(kernel_listen(service->servers[0], &options), 0);
    struct pollfd connected = {.events = POLLOUT};
    do {
        connected.fd = kernel_socket(AF_INET);
        kernel_set_nonblocking(connected.fd, true);
        const struct address *address = &service->server_addresses[0];
        cr_assert(connect(connected.fd, &address->any, address->length) == 0 || errno == EINPROGRESS);
    } while (poll(&connected, 1, 500) == 1);
}

Test(session, gives_up_a_server_that_does_not_answer_in_time, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.connect_ms = 80;
    service_open(&service);
    server_fill(&service);
    uint64_t begin_ms = deadline_now_ms();
    int client = service_client(&service);
    service_expect_closed(&service, CLOSE_TIMEOUT_CONNECT, 1);
    cr_assert_geq(deadline_now_ms() - begin_ms, 80);
    cr_assert_leq(service_expect_end(&service, client), 0);
    cr_assert_eq(atomic_load(&service.upstream.servers[0].state->failed_total), 1);
    service_close(&service);
}

Test(session, the_upstreams_connect_timeout_goes_before_the_listeners, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.connect_ms = 1000000;
    service.upstream_config.connect_ms = 50;
    service_open(&service);
    server_fill(&service);
    service_client(&service);
    service_expect_closed(&service, CLOSE_TIMEOUT_CONNECT, 1);
    service_close(&service);
}

Test(session, tries_the_next_server_when_one_does_not_answer, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.servers_count = 2;
    service.upstream_config.retry_attempts = 2;
    service.listener_config.timeouts.connect_ms = 50;
    service_open(&service);
    server_fill(&service);
    int client = service_client(&service);
    socket_write(client, 0, 100);
    service_expect(&service, service_server(&service, 1), 0, 100);
    service_close(&service);
}

/* Turns while no descriptor is left. The accept is armed already and keeps the limit of then. */
static void starve(struct service *service, int milliseconds) {
    uint64_t end_ms = deadline_after(milliseconds);
    descriptors_limit(0);
    while (deadline_left_ms(end_ms) > 0) {
        service_turn(service);
    }
    descriptors_unlimit();
}

Test(session, waits_for_a_descriptor_for_its_server, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    int client = service_client(&service);
    socket_write(client, 0, 100);
    starve(&service, 100);
    cr_assert_eq(service_session(&service)->state, SESSION_CONNECTING);
    cr_assert_str_eq(service_session(&service)->doing, "waits for a free descriptor");
    cr_assert_eq(atomic_load(&service.upstream.servers[0].state->active), 0);
    service_expect(&service, service_server(&service, 0), 0, 100);
    service_close(&service);
}

Test(session, that_finds_no_descriptor_in_time_ends_and_says_so, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.connect_ms = 50;
    service_open(&service);
    int client = service_client(&service);
    starve(&service, 200);
    service_expect_closed(&service, CLOSE_RESOURCES, 1);
    cr_assert_leq(service_expect_end(&service, client), 0);
    service_close(&service);
}

Test(session, waits_for_room_in_the_queue_of_a_unix_server, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.unix_servers = true;
    service_open(&service);
    const struct kernel_listen_options options = {.backlog = 0};
    cr_assert_eq(kernel_listen(service.servers[0], &options), 0);
    int first = service_client(&service);
    int second = service_client(&service);
    socket_write(first, 0, 10);
    socket_write(second, 0, 10);
    service_wait(&service, service_counters(&service)->connects == 2);
    for (int turn = 0; turn < 10; turn++) {
        service_turn(&service);
    }
    cr_assert_eq(atomic_load(&service.upstream.servers[0].state->connected_total), 1);
    cr_assert_eq(service_counters(&service)->connects_failed, 0);
    service_expect(&service, service_server(&service, 0), 0, 10);
    service_expect(&service, service_server(&service, 0), 0, 10);
    service_close(&service);
}

/* --- timeouts ------------------------------------------------------------------------------------------------------
 */

/* The session must end for the reason, and not before `wait_ms` have passed since `begin_ms`. */
static void expect_timeout(struct service *service, enum close_reason reason, uint64_t begin_ms, uint64_t wait_ms) {
    service_expect_closed(service, reason, 1);
    uint64_t passed_ms = deadline_now_ms() - begin_ms;
    cr_assert_geq(passed_ms + 1, wait_ms, "after %lu ms", passed_ms);
}

Test(session, ends_when_no_byte_moved_for_the_idle_timeout, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.idle_ms = 3000;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    uint64_t begin_ms = 0;
    for (uint64_t offset = 0; offset < 4; offset++) {
        deadline_pause(900); /* all of them are longer than the timeout, none is nearly as long */
        begin_ms = deadline_now_ms();
        socket_write(offset % 2 == 0 ? pair.client : pair.server, offset, 1);
        service_expect(&service, offset % 2 == 0 ? pair.server : pair.client, offset, 1);
    }
    expect_timeout(&service, CLOSE_TIMEOUT_IDLE, begin_ms, 3000);
    cr_assert_eq(service_expect_end(&service, pair.client), 0);
    cr_assert_eq(service_expect_end(&service, pair.server), 0);
    service_close(&service);
}

Test(session, ends_after_its_lifetime_although_bytes_move, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.max_lifetime_ms = 150;
    service_open(&service);
    uint64_t begin_ms = deadline_now_ms();
    struct service_pair pair = service_pair(&service);
    for (uint64_t offset = 0; service_counters(&service)->sessions_closed[CLOSE_TIMEOUT_LIFETIME] == 0; offset++) {
        cr_assert_lt(deadline_now_ms() - begin_ms, 20000);
        socket_write(pair.client, offset, 1);
        service_turn(&service);
        deadline_pause(5);
    }
    expect_timeout(&service, CLOSE_TIMEOUT_LIFETIME, begin_ms, 150);
    service_close(&service);
}

Test(session, ends_when_a_half_closed_one_goes_quiet, .timeout = 30) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.half_close_ms = 3000;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    kernel_shutdown_write(pair.client);
    cr_assert_eq(service_expect_end(&service, pair.server), 0);
    uint64_t begin_ms = 0;
    for (uint64_t offset = 0; offset < 4; offset++) {
        deadline_pause(900); /* all of them are longer than the timeout, none is nearly as long */
        begin_ms = deadline_now_ms();
        socket_write(pair.server, offset, 1);
        service_expect(&service, pair.client, offset, 1);
    }
    expect_timeout(&service, CLOSE_TIMEOUT_HALF_CLOSE, begin_ms, 3000);
    service_close(&service);
}

Test(session, ends_when_a_receiver_takes_nothing, .timeout = 20) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.send_stall_ms = 150;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    uint64_t begin_ms = deadline_now_ms();
    while (!service_session(&service)->from_client.blocked) {
        socket_fill(pair.client, 0);
        service_turn(&service);
    }
    expect_timeout(&service, CLOSE_TIMEOUT_SEND_STALL, begin_ms, 150);
    service_close(&service);
}

Test(session, goes_on_while_a_receiver_takes_a_little, .timeout = 20) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.send_stall_ms = 3000;
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    size_t sent = 0;
    while (!service_session(&service)->from_client.blocked) {
        sent += socket_fill(pair.client, sent);
        service_turn(&service);
    }
    uint64_t end_ms = deadline_after(4000);
    for (uint64_t offset = 0; deadline_left_ms(end_ms) > 0; offset += 20000) {
        service_expect(&service, pair.server, offset, 20000);
        deadline_pause(100);
    }
    cr_assert_eq(service.worker.engine.sessions_count, 1);
    cr_assert(service_session(&service)->from_client.blocked, "it was never writable");
    service_close(&service);
}

Test(session, has_no_deadline_when_all_timeouts_are_off, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    service_pair(&service);
    service_wait(&service, service_session(&service)->state == SESSION_RELAYING);
    cr_assert_not(timer_is_set(&service_session(&service)->timer));
    service_close(&service);
}

/* --- the end -------------------------------------------------------------------------------------------------------
 */

Test(session, ends_in_order_by_whoever_ended_first, .timeout = 10) {
    for (int by_server = 0; by_server < 2; by_server++) {
        struct service service;
        service_init(&service);
        service_open(&service);
        struct service_pair pair = service_pair(&service);
        int first = by_server == 1 ? pair.server : pair.client;
        int second = by_server == 1 ? pair.client : pair.server;
        kernel_shutdown_write(first);
        cr_assert_eq(service_expect_end(&service, second), 0);
        cr_assert_eq(service.worker.engine.sessions_count, 1, "the other direction is open");
        socket_write(second, 0, 1000);
        kernel_shutdown_write(second);
        service_expect(&service, first, 0, 1000);
        cr_assert_eq(service_expect_end(&service, first), 0);
        service_expect_closed(&service, by_server == 1 ? CLOSE_SERVER_FIN : CLOSE_CLIENT_FIN, 1);
        service_close(&service);
    }
}

Test(session, a_reset_is_passed_on_behind_the_bytes_before_it, .timeout = 10) {
    for (int by_server = 0; by_server < 2; by_server++) {
        struct service service;
        service_init(&service);
        service_open(&service);
        struct service_pair pair = service_pair(&service);
        int breaking = by_server == 1 ? pair.server : pair.client;
        int other = by_server == 1 ? pair.client : pair.server;
        socket_write(breaking, 0, 50000);
        service_expect(&service, other, 0, 50000);
        kernel_reset(breaking);
        cr_assert_eq(service_expect_end(&service, other), -ECONNRESET);
        service_expect_closed(&service, by_server == 1 ? CLOSE_SERVER_RESET : CLOSE_CLIENT_RESET, 1);
        service_close(&service);
    }
}

/* A client that has connected and broken before its session begins, so that nobody can say who it was. */
static void service_expect_stranger_refused(struct service *service) {
    struct address address;
    int socket = listener_open(&address);
    int client = client_open(&address);
    int fd = kernel_accept(socket);
    kernel_close(socket);
    kernel_reset(client);
    struct pollfd gone = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&gone, 1, DEADLINE_MS / 2), 1);
    cr_assert_eq(kernel_peer_address(fd, &address), -ENOTCONN);
    service_take(service, fd);
    service_expect_closed(service, CLOSE_CLIENT_RESET, 1);
    cr_expect_eq(service_counters(service)->connects, 0, "a server was chosen for it");
}

Test(session, of_a_client_that_is_gone_is_not_begun_where_rules_must_judge_it, .timeout = 10) {
    static const struct admission everybody = {.otherwise = true};
    struct service service;
    service_init(&service);
    service.listener_config.admission = &everybody;
    service_open(&service);
    service_expect_stranger_refused(&service);
    service_close(&service);
}

Test(session, of_a_client_that_is_gone_is_not_begun_where_its_source_must_be_counted, .timeout = 10) {
    struct service service;
    service_init(&service);
    service.listener_config.per_source =
        (struct config_source_limits){.connections_max = 1, .prefix_v4 = 32, .prefix_v6 = 64};
    service_open(&service);
    struct sources *sources = sources_create(7);
    cr_assert_not_null(sources);
    service.epoch->settings[0].sources = sources;
    service_expect_stranger_refused(&service);
    service_close(&service);
    sources_destroy(sources);
}

enum { UNDER_WAY = 100000 };

/* A client that has sent so many bytes and broken, and a server that has room for few and has read none. */
static struct service_pair broken_pair(struct service *service) {
    int small = 4096;
    setsockopt(service->servers[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)); /* who connects inherits it */
    struct service_pair pair = service_pair(service);
    socket_write(pair.client, 0, UNDER_WAY);
    service_wait(service, service_session(service)->from_client.bytes == UNDER_WAY);
    kernel_reset(pair.client);
    service_wait(service, service_session(service)->client_end.reset);
    return pair;
}

Test(session, a_reset_waits_for_a_slow_receiver_to_take_what_came_before_it, .timeout = 20) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = broken_pair(&service);
    cr_assert_eq(service.worker.engine.sessions_count, 1);
    service_expect(&service, pair.server, 0, UNDER_WAY);
    cr_assert_eq(service_expect_end(&service, pair.server), -ECONNRESET);
    service_expect_closed(&service, CLOSE_CLIENT_RESET, 1);
    service_close(&service);
}

Test(session, a_reset_waits_no_longer_than_the_receivers_stall_timeout, .timeout = 20) {
    struct service service;
    service_init(&service);
    service.listener_config.timeouts.send_stall_ms = 150;
    service_open(&service);
    broken_pair(&service);
    service_expect_closed(&service, CLOSE_CLIENT_RESET, 1);
    service_close(&service);
}

Test(session, a_reset_waits_for_no_receiver_that_is_gone_too, .timeout = 20) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = broken_pair(&service);
    kernel_reset(pair.server);
    service_expect_closed(&service, CLOSE_CLIENT_RESET, 1);
    service_close(&service);
}

Test(session, that_ends_with_bytes_undelivered_is_reset_towards_who_misses_them, .timeout = 20) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    while (!service_session(&service)->from_client.blocked) {
        socket_fill(pair.client, 0);
        service_turn(&service);
    }
    worker_close_sessions(&service.worker);
    service_expect_closed(&service, CLOSE_SHUTDOWN, 1);
    static char piece[65536];
    ssize_t received = 1;
    while (received > 0) {
        service_wait(&service,
                     (received = recv(pair.server, piece, sizeof(piece), MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
    }
    cr_assert_eq(received, -1, "a FIN would say that all had come");
    cr_assert_eq(errno, ECONNRESET);
    service_close(&service);
}

Test(session, closing_twice_is_harmless, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    service_pair(&service);
    struct session *session = service_session(&service);
    session_close(session, CLOSE_SHUTDOWN);
    session_close(session, CLOSE_TIMEOUT_IDLE);
    service_expect_closed(&service, CLOSE_SHUTDOWN, 1);
    cr_assert_eq(service_counters(&service)->sessions_closed[CLOSE_TIMEOUT_IDLE], 0);
    service_close(&service);
}

Test(session, that_connects_can_be_closed, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    server_fill(&service);
    int client = service_client(&service);
    service_wait(&service, service.worker.engine.sessions_count == 1);
    cr_assert_eq(service_session(&service)->state, SESSION_CONNECTING);
    session_close(service_session(&service), CLOSE_SHUTDOWN);
    service_expect_closed(&service, CLOSE_SHUTDOWN, 1);
    cr_assert_leq(service_expect_end(&service, client), 0);
    service_close(&service);
}

/* --- its line in the log -------------------------------------------------------------------------------------------
 */

/* The first line of the access log of a service that closes now; the caller finishes it. */
static struct bytes close_and_read_log(struct service *service, const char *path) {
    struct bytes line;
    char text[1024] = "";
    service_close(service);
    access_log_destroy(service->access_log);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(text, sizeof(text), file));
    fclose(file);
    bytes_init(&line);
    bytes_append_text(&line, text);
    return line;
}

static void logging_service_init(struct service *service, struct temporary *folder, char *path) {
    struct error error = {.text = ""};
    temporary_create(folder);
    temporary_path(folder, "access.log", path);
    service_init(service);
    service->access_log = access_log_create(path, NULL, &error);
    cr_assert_not_null(service->access_log, "%s", error.text);
}

Test(session, its_line_in_the_log_says_what_happened, .timeout = 10) {
    struct service service;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    char wanted[512];
    char client[ADDRESS_TEXT_MAX];
    char server[ADDRESS_TEXT_MAX];
    struct address address;
    logging_service_init(&service, &folder, path);
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    cr_assert_eq(kernel_local_address(pair.client, &address), 0);
    address_format(&address, client, sizeof(client));
    address_format(&service.server_addresses[0], server, sizeof(server));
    socket_write(pair.client, 0, 300);
    service_expect(&service, pair.server, 0, 300);
    socket_write(pair.server, 0, 4000);
    service_expect(&service, pair.client, 0, 4000);
    kernel_close(pair.server);
    cr_assert_eq(service_expect_end(&service, pair.client), 0);
    kernel_close(pair.client);
    service_expect_closed(&service, CLOSE_SERVER_FIN, 1);
    struct bytes line = close_and_read_log(&service, path);
    snprintf(wanted, sizeof(wanted),
             " id=1 worker=0 listener=web client=%s upstream=app server=one server_address=%s tries=1 connect_ms=",
             client, server);
    cr_assert_not_null(strstr(line.data, wanted), "no %s in %s", wanted, line.data);
    cr_assert_not_null(strstr(line.data, " from_client_bytes=300 from_server_bytes=4000 reason=server_fin "
                                         "ended_by=server error=-\n"),
                       "%s", line.data);
    cr_assert_null(strstr(line.data, "_ms=-"), "every phase was reached: %s", line.data);
    bytes_finish(&line);
}

Test(session, its_line_in_the_log_says_why_no_server_was_found, .timeout = 10) {
    struct service service;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    logging_service_init(&service, &folder, path);
    service_open(&service);
    service_refuse(&service, 0);
    service_client(&service);
    service_expect_closed(&service, CLOSE_NO_SERVER, 1);
    struct bytes line = close_and_read_log(&service, path);
    cr_assert_not_null(strstr(line.data, " server=- server_address=- tries=1 connect_ms=- first_byte_ms=- "), "%s",
                       line.data);
    cr_assert_not_null(strstr(line.data, " reason=no_server ended_by=moonring error=\"Connection refused\"\n"), "%s",
                       line.data);
    bytes_finish(&line);
}
