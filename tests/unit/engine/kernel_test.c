#include "stage.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct kernel_listen_options plain = {.backlog = 16};

static int option_of(int fd, int level, int option) {
    int value = -1;
    socklen_t size = sizeof(value);
    cr_assert_eq(getsockopt(fd, level, option, &value, &size), 0, "%m");
    return value;
}

static bool is_nonblocking(int fd) {
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

static void expect_close_on_exec(int fd) {
    cr_assert_geq(fd, 0);
    cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void address_read(struct address *address, const char *text) {
    struct error error = {.text = ""};
    cr_assert(address_parse(address, text, true, &error), "%s", error.text);
}

static void expect_readable(int fd) {
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&readable, 1, DEADLINE_MS / 2), 1);
}

/* --- clocks and random ---------------------------------------------------------------------------------------------
 */

Test(kernel, monotonic_clock_never_goes_back, .timeout = 10) {
    uint64_t before_ns = kernel_now_ns();
    for (int round = 0; round < 1000; round++) {
        uint64_t now_ns = kernel_now_ns();
        cr_assert_geq(now_ns, before_ns);
        before_ns = now_ns;
    }
}

Test(kernel, wall_clock_counts_milliseconds_since_1970, .timeout = 10) {
    uint64_t before_ms = (uint64_t)time(NULL) * 1000;
    uint64_t now_ms = kernel_wall_ms();
    cr_assert_geq(now_ms + 1000, before_ms); /* time() may run a tick behind */
    cr_assert_leq(now_ms, before_ms + 5000);
}

Test(kernel, random_numbers_differ_in_their_upper_and_lower_halves, .timeout = 10) {
    uint64_t first = kernel_random();
    uint64_t second = kernel_random();
    cr_assert_neq((uint32_t)first, (uint32_t)second);
    cr_assert_neq(first >> 32, second >> 32);
}

/* --- sockets -------------------------------------------------------------------------------------------------------
 */

Test(kernel, all_descriptors_are_close_on_exec, .timeout = 10) {
    struct address address;
    int listener = listener_open(&address);
    int client = client_open(&address);
    expect_readable(listener);
    int accepted = kernel_accept(listener);
    int event = kernel_event_open();
    struct kernel_pipe pipe;
    cr_assert_eq(kernel_pipe_open(&pipe, 65536), 0);
    expect_close_on_exec(listener);
    expect_close_on_exec(client);
    expect_close_on_exec(accepted);
    expect_close_on_exec(event);
    expect_close_on_exec(pipe.read_fd);
    expect_close_on_exec(pipe.write_fd);
}

Test(kernel, a_family_that_does_not_exist_is_an_error, .timeout = 10) {
    cr_assert_eq(kernel_socket(12345), -EAFNOSUPPORT);
}

Test(kernel, makes_nothing_without_a_descriptor_left, .timeout = 10) {
    struct kernel_pipe pipe;
    descriptors_limit(0);
    int socket = kernel_socket(AF_INET);
    int event = kernel_event_open();
    int opened = kernel_pipe_open(&pipe, 65536);
    descriptors_unlimit();
    cr_assert_eq(socket, -EMFILE);
    cr_assert_eq(event, -EMFILE);
    cr_assert_eq(opened, -EMFILE);
}

Test(kernel, an_address_in_use_is_refused, .timeout = 10) {
    struct address address;
    listener_open(&address);
    int second = kernel_socket(AF_INET);
    cr_assert_eq(kernel_bind(second, &address, &plain), -EADDRINUSE);
}

Test(kernel, sockets_that_share_an_address_are_bound_side_by_side, .timeout = 10) {
    const struct kernel_listen_options shared = {.reuse_port = true, .backlog = 16};
    struct address address;
    address_read(&address, "127.0.0.1:0");
    int first = kernel_socket(AF_INET);
    int second = kernel_socket(AF_INET);
    cr_assert_eq(kernel_bind(first, &address, &shared), 0);
    cr_assert_eq(kernel_local_address(first, &address), 0);
    cr_assert_eq(kernel_bind(second, &address, &shared), 0);
    cr_assert_eq(kernel_listen(first, &shared), 0);
    cr_assert_eq(kernel_listen(second, &shared), 0);
}

Test(kernel, an_address_whose_old_connections_linger_can_be_bound_again, .timeout = 10) {
    struct address address;
    int listener = listener_open(&address);
    int client = client_open(&address);
    int accepted = accept(listener, NULL, NULL);
    close(accepted); /* who closes first is left in TIME_WAIT with the listener's port */
    cr_assert_eq(socket_read(client), 0);
    close(client);
    close(listener);
    int second = kernel_socket(AF_INET);
    cr_assert_eq(kernel_bind(second, &address, &plain), 0);
}

static int bind_any_v6(bool dual_stack, struct address *address) {
    const struct kernel_listen_options options = {.dual_stack = dual_stack, .backlog = 16};
    address_any_v6(address, 0);
    int fd = kernel_socket(AF_INET6);
    cr_assert_eq(kernel_bind(fd, address, &options), 0);
    cr_assert_eq(kernel_listen(fd, &options), 0);
    cr_assert_eq(kernel_local_address(fd, address), 0);
    return fd;
}

static int connect_over_ipv4(uint16_t port) {
    struct address address;
    address_read(&address, "127.0.0.1:0");
    address_set_port(&address, port);
    int client = kernel_socket(AF_INET);
    return connect(client, &address.any, address.length) < 0 ? -errno : client;
}

Test(kernel, a_dual_stack_socket_takes_ipv4_clients, .timeout = 10) {
    struct address address;
    struct address peer;
    char text[ADDRESS_TEXT_MAX];
    int listener = bind_any_v6(true, &address);
    cr_assert_geq(connect_over_ipv4(address_port(&address)), 0);
    expect_readable(listener);
    cr_assert_eq(kernel_peer_address(kernel_accept(listener), &peer), 0);
    address_format(&peer, text, sizeof(text));
    cr_assert_eq(strncmp(text, "127.0.0.1:", 10), 0, "%s", text);
}

Test(kernel, an_ipv6_socket_alone_refuses_ipv4_clients, .timeout = 10) {
    struct address address;
    bind_any_v6(false, &address);
    cr_assert_eq(connect_over_ipv4(address_port(&address)), -ECONNREFUSED);
}

static const struct kernel_tcp_options all_options = {
    .nodelay = true, .keepalive = true, .keepalive_idle_s = 61, .keepalive_interval_s = 17, .keepalive_count = 5};

static void expect_all_options(int fd) {
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    cr_assert_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 61);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 17);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 5);
}

Test(kernel, accepted_sockets_inherit_the_options_of_tcp, .timeout = 10) {
    const struct kernel_listen_options options = {.tcp = all_options, .backlog = 16};
    struct address address;
    address_read(&address, "127.0.0.1:0");
    int listener = kernel_socket(AF_INET);
    cr_assert_eq(kernel_bind(listener, &address, &options), 0);
    cr_assert_eq(kernel_listen(listener, &options), 0);
    cr_assert_eq(kernel_local_address(listener, &address), 0);
    client_open(&address);
    expect_readable(listener);
    expect_all_options(kernel_accept(listener));
}

Test(kernel, accept_takes_who_waits_and_never_waits, .timeout = 10) {
    struct address address;
    int listener = listener_open(&address);
    cr_assert_eq(kernel_accept(listener), -EAGAIN);
    client_open(&address);
    client_open(&address);
    expect_readable(listener);
    cr_assert_geq(kernel_accept(listener), 0);
    expect_readable(listener);
    cr_assert_geq(kernel_accept(listener), 0);
    cr_assert_eq(kernel_accept(listener), -EAGAIN);
}

Test(kernel, an_accepted_socket_is_blocking, .timeout = 10) {
    struct address address;
    int listener = listener_open(&address);
    client_open(&address);
    expect_readable(listener);
    cr_assert_not(is_nonblocking(kernel_accept(listener)));
}

Test(kernel, sets_the_options_of_tcp, .timeout = 10) {
    int fd = kernel_socket(AF_INET6);
    kernel_set_tcp(fd, AF_INET6, &all_options);
    expect_all_options(fd);
}

Test(kernel, leaves_options_of_tcp_alone_that_are_not_wanted, .timeout = 10) {
    const struct kernel_tcp_options none = {.keepalive_idle_s = 61};
    int fd = kernel_socket(AF_INET);
    kernel_set_tcp(fd, AF_INET, &none);
    cr_assert_eq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_assert_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    cr_assert_neq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 61);
}

Test(kernel, sets_no_option_of_a_unix_socket, .timeout = 10) {
    int fd = kernel_socket(AF_UNIX);
    kernel_set_tcp(fd, AF_UNIX, &all_options);
    cr_assert_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
}

Test(kernel, a_descriptor_is_made_nonblocking_and_blocking_again, .timeout = 10) {
    int sockets[2];
    sockets_open_unix(sockets);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(kernel_set_nonblocking(sockets[0], true), 0);
        cr_assert_eq(kernel_set_nonblocking(sockets[0], true), 0);
        cr_assert(is_nonblocking(sockets[0]));
        cr_assert_eq(kernel_set_nonblocking(sockets[0], false), 0);
        cr_assert_eq(kernel_set_nonblocking(sockets[0], false), 0);
        cr_assert_not(is_nonblocking(sockets[0]));
    }
    cr_assert_not(is_nonblocking(sockets[1]));
}

Test(kernel, making_a_descriptor_nonblocking_keeps_its_other_flags, .timeout = 10) {
    int fd = open("/dev/null", O_WRONLY | O_APPEND | O_CLOEXEC);
    cr_assert_eq(kernel_set_nonblocking(fd, true), 0);
    cr_assert_eq(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
    cr_assert_eq(kernel_set_nonblocking(fd, false), 0);
    cr_assert_eq(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK), O_APPEND);
}

Test(kernel, both_ends_know_each_others_address, .timeout = 10) {
    int sockets[2];
    struct address local;
    struct address peer;
    sockets_open_tcp(sockets);
    cr_assert_eq(kernel_local_address(sockets[0], &local), 0);
    cr_assert_eq(kernel_peer_address(sockets[1], &peer), 0);
    cr_assert(address_equal(&local, &peer));
    cr_assert_neq(address_port(&peer), 0);
}

Test(kernel, a_unix_client_has_no_name, .timeout = 10) {
    int sockets[2];
    struct address peer;
    char text[ADDRESS_TEXT_MAX];
    sockets_open_unix(sockets);
    cr_assert_eq(kernel_peer_address(sockets[0], &peer), 0);
    address_format(&peer, text, sizeof(text));
    cr_assert_str_eq(text, "unix:");
}

Test(kernel, has_no_address_of_what_is_closed_or_not_connected, .timeout = 10) {
    struct address address;
    int fd = kernel_socket(AF_INET);
    cr_assert_eq(kernel_peer_address(fd, &address), -ENOTCONN);
    kernel_close(fd);
    cr_assert_eq(kernel_peer_address(fd, &address), -EBADF);
    cr_assert_eq(kernel_local_address(fd, &address), -EBADF);
    cr_assert_eq(kernel_set_nonblocking(fd, true), -EBADF);
    cr_assert_eq(kernel_shutdown_write(fd), -EBADF);
}

Test(kernel, has_no_address_of_a_client_that_was_reset, .timeout = 10) {
    int sockets[2];
    struct address address;
    sockets_open_tcp(sockets);
    kernel_reset(sockets[0]);
    cr_assert_eq(socket_read(sockets[1]), -ECONNRESET);
    cr_assert_eq(kernel_peer_address(sockets[1], &address), -ENOTCONN);
}

/* --- the end of a connection ---------------------------------------------------------------------------------------
 */

Test(kernel, shutting_down_writing_sends_a_fin_behind_the_bytes_and_still_reads, .timeout = 10) {
    int sockets[2];
    sockets_open_tcp(sockets);
    socket_write(sockets[0], 0, 1000);
    cr_assert_eq(kernel_shutdown_write(sockets[0]), 0);
    socket_expect(sockets[1], 0, 1000);
    cr_assert_eq(socket_read(sockets[1]), 0);
    socket_write(sockets[1], 0, 500);
    socket_expect(sockets[0], 0, 500);
}

Test(kernel, shutting_down_a_socket_that_was_reset_is_an_error, .timeout = 10) {
    int sockets[2];
    sockets_open_tcp(sockets);
    kernel_reset(sockets[0]);
    cr_assert_eq(socket_read(sockets[1]), -ECONNRESET);
    cr_assert_eq(kernel_shutdown_write(sockets[1]), -ENOTCONN);
}

Test(kernel, closing_sends_a_fin, .timeout = 10) {
    int sockets[2];
    sockets_open_tcp(sockets);
    socket_write(sockets[0], 0, 1000);
    kernel_close(sockets[0]);
    socket_expect(sockets[1], 0, 1000);
    cr_assert_eq(socket_read(sockets[1]), 0);
}

Test(kernel, a_reset_is_an_error_at_the_peer, .timeout = 10) {
    int sockets[2];
    sockets_open_tcp(sockets);
    kernel_reset(sockets[0]);
    cr_assert_eq(socket_read(sockets[1]), -ECONNRESET);
}

Test(kernel, a_reset_unix_socket_is_closed, .timeout = 10) {
    int sockets[2];
    sockets_open_unix(sockets);
    socket_write(sockets[0], 0, 1000);
    kernel_reset(sockets[0]);
    socket_expect(sockets[1], 0, 1000);
    cr_assert_eq(socket_read(sockets[1]), 0);
}

static void expect_unsent_until_read(const int sockets[2]) {
    cr_assert_eq(kernel_unsent(sockets[0]), 0);
    size_t sent = socket_fill(sockets[0], 0);
    cr_assert_gt(kernel_unsent(sockets[0]), 0);
    socket_expect(sockets[1], 0, sent);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (kernel_unsent(sockets[0]) > 0) {
        cr_assert_gt(deadline_left_ms(deadline_ms), 0, "%d bytes stay unsent", kernel_unsent(sockets[0]));
        deadline_pause(1); /* for the acknowledgement, which nothing tells us of */
    }
}

Test(kernel, unsent_bytes_are_those_that_the_peer_has_no_room_for, .timeout = 10) {
    int sockets[2];
    sockets_open_tcp(sockets);
    expect_unsent_until_read(sockets);
}

Test(kernel, unsent_bytes_of_a_unix_socket_are_those_that_were_not_read, .timeout = 10) {
    int sockets[2];
    sockets_open_unix(sockets);
    expect_unsent_until_read(sockets);
}

Test(kernel, nothing_is_unsent_on_a_connection_that_is_gone, .timeout = 10) {
    int sockets[2];
    sockets_open_tcp(sockets);
    socket_fill(sockets[0], 0);
    cr_assert_gt(kernel_unsent(sockets[0]), 0);
    kernel_reset(sockets[1]);
    cr_assert_eq(socket_read(sockets[0]), -ECONNRESET);
    cr_assert_eq(kernel_unsent(sockets[0]), 0);
}

/* --- pipes ---------------------------------------------------------------------------------------------------------
 */

Test(kernel, a_pipe_tells_the_size_that_it_has, .timeout = 10) {
    struct kernel_pipe pipe;
    cr_assert_eq(kernel_pipe_open(&pipe, 128 * 1024), 0);
    cr_assert_eq(pipe.size, 128 * 1024);
    cr_assert_eq(fcntl(pipe.read_fd, F_GETPIPE_SZ), 128 * 1024);
    kernel_pipe_close(&pipe);
}

/* Nobody without CAP_SYS_RESOURCE gets more than fs.pipe-max-size, and nobody gets this much. */
Test(kernel, a_pipe_whose_size_is_refused_has_the_usual_one_and_says_so, .timeout = 10) {
    struct kernel_pipe pipe;
    cr_assert_eq(kernel_pipe_open(&pipe, UINT32_C(1) << 31), 0);
    cr_assert_eq((int)pipe.size, fcntl(pipe.read_fd, F_GETPIPE_SZ));
    cr_assert_gt(pipe.size, 0);
    kernel_pipe_close(&pipe);
}

Test(kernel, closing_a_pipe_closes_both_ends, .timeout = 10) {
    size_t count = descriptors_count();
    struct kernel_pipe pipe;
    cr_assert_eq(kernel_pipe_open(&pipe, 65536), 0);
    cr_assert_eq(descriptors_count(), count + 2);
    kernel_pipe_close(&pipe);
    cr_assert_eq(descriptors_count(), count);
}

static void nonblocking_sockets_open(int sockets[2]) {
    sockets_open_tcp(sockets);
    cr_assert_eq(kernel_set_nonblocking(sockets[0], true), 0);
    cr_assert_eq(kernel_set_nonblocking(sockets[1], true), 0);
}

Test(kernel, splicing_moves_bytes_from_socket_to_socket, .timeout = 10) {
    int from[2];
    int to[2];
    struct kernel_pipe pipe;
    nonblocking_sockets_open(from);
    nonblocking_sockets_open(to);
    cr_assert_eq(kernel_pipe_open(&pipe, 65536), 0);
    socket_write(from[0], 0, 5000);
    expect_readable(from[1]);
    int64_t moved = kernel_splice(from[1], pipe.write_fd, 65536);
    cr_assert_eq(moved, 5000);
    cr_assert_eq(kernel_splice(pipe.read_fd, to[0], 3000), 3000);
    cr_assert_eq(kernel_splice(pipe.read_fd, to[0], 65536), 2000);
    socket_expect(to[1], 0, 5000);
}

Test(kernel, splicing_never_waits, .timeout = 10) {
    int from[2];
    int to[2];
    struct kernel_pipe pipe;
    nonblocking_sockets_open(from);
    nonblocking_sockets_open(to);
    cr_assert_eq(kernel_pipe_open(&pipe, 65536), 0);
    cr_assert_eq(kernel_splice(from[1], pipe.write_fd, 65536), -EAGAIN, "nothing came");
    socket_write(from[0], 0, 100);
    expect_readable(from[1]);
    cr_assert_eq(kernel_splice(from[1], pipe.write_fd, 65536), 100);
    socket_fill(to[0], 0);
    cr_assert_eq(kernel_splice(pipe.read_fd, to[0], 100), -EAGAIN, "the socket is full");
}

Test(kernel, splicing_tells_the_end_of_a_stream_and_errors, .timeout = 10) {
    int from[2];
    struct kernel_pipe pipe;
    cr_assert_eq(kernel_pipe_open(&pipe, 65536), 0);
    nonblocking_sockets_open(from);
    kernel_shutdown_write(from[0]);
    expect_readable(from[1]);
    cr_assert_eq(kernel_splice(from[1], pipe.write_fd, 65536), 0);
    nonblocking_sockets_open(from);
    kernel_reset(from[0]);
    expect_readable(from[1]);
    cr_assert_eq(kernel_splice(from[1], pipe.write_fd, 65536), -ECONNRESET);
}

/* --- events --------------------------------------------------------------------------------------------------------
 */

static void *signal_three_times(void *fd) {
    for (int count = 0; count < 3; count++) {
        kernel_event_signal(*(const int *)fd);
    }
    return NULL;
}

Test(kernel, an_event_adds_up_the_signals_of_all_threads, .timeout = 10) {
    int fd = kernel_event_open();
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, signal_three_times, &fd), 0);
    signal_three_times(&fd);
    pthread_join(thread, NULL);
    uint64_t value = 0;
    cr_assert_eq(read(fd, &value, sizeof(value)), sizeof(value));
    cr_assert_eq(value, 6);
}
