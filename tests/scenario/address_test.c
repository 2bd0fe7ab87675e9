/* Every kind of address on both sides, and what an address can be refused for. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* Listens on `bind` (YAML) in front of a server on `server` and exchanges bytes. */
static void serve(struct moonring *moonring, struct pair *pair, const char *bind, const char *server) {
    struct peer_listener listener;
    peer_listen(&listener, server);
    moonring_start(moonring, "listeners: {web: {bind: %s, upstream: '%s'}}\n", bind, listener.address);
    pair_open(pair, moonring->address, &listener);
    pair_exchange(pair, 100000);
}

Test(address, may_be_ipv6_on_both_sides, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    serve(&moonring, &pair, "'[::1]:0'", "[::1]:0");
    pair_close(&pair);
    cr_assert(strstr(moonring_wait_session(&moonring), " client=[::1]:") != NULL);
}

Test(address, may_be_abstract_unix_on_both_sides, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    char bind[64], server[64];
    snprintf(bind, sizeof(bind), "'unix:@moonring-test-front-%d'", getpid());
    snprintf(server, sizeof(server), "unix:@moonring-test-back-%d", getpid());
    serve(&moonring, &pair, bind, server);
}

Test(address, may_be_several_of_one_listener, .timeout = 30) {
    struct moonring moonring;
    struct pair pair;
    struct peer_listener listener;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring, "listeners: {web: {bind: ['127.0.0.1:0', '[::1]:0'], upstream: '%s'}}\n",
                   listener.address);
    for (size_t index = 0; index < 2; index++) {
        char address[ADDRESS_TEXT_MAX];
        moonring_listener_address(&moonring, "web", index, address);
        pair_open(&pair, address, &listener);
        pair_exchange(&pair, 100);
    }
}

Test(address, without_a_host_serves_ipv4_and_ipv6, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring, "listeners: {web: {bind: ':0', upstream: '%s'}}\n", listener.address);
    const char *port = strrchr(moonring.address, ':');
    const char *hosts[] = {"127.0.0.1", "[::1]"};
    for (size_t index = 0; index < 2; index++) {
        struct pair pair;
        char address[ADDRESS_TEXT_MAX], client[ADDRESS_TEXT_MAX];
        snprintf(address, sizeof(address), "%s%s", hosts[index], port);
        pair_open(&pair, address, &listener);
        pair_exchange(&pair, 100);
        pair_close(&pair);
        snprintf(client, sizeof(client), " client=%s:", hosts[index]);
        const char *line = moonring_wait_session(&moonring);
        cr_assert(strstr(line, client) != NULL, "wants%s in: %s", client, line);
    }
}

/* As a kernel without IPv6 does. */
static void refuse_ipv6(void) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(instructions) / sizeof(instructions[0]), .filter = instructions};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

Test(address, without_a_host_serves_ipv4_alone_where_ipv6_is_off, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    char address[ADDRESS_TEXT_MAX];
    unsigned port = peer_free_port();
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start_prepared(&moonring, refuse_ipv6,
                            "process: {workers: 2}\nlisteners: {web: {bind: ':%u', upstream: '%s'}}\n", port,
                            listener.address);
    cr_assert(strstr(process_text(&moonring.process.errors), "IPv6 is off on this machine: port") != NULL);
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    pair_open(&pair, address, &listener);
    pair_exchange(&pair, 100);
    cr_assert(strstr(moonring_reload_again(&moonring), "nothing has changed") != NULL);
    moonring_reload(&moonring, "process: {workers: 3}\nlisteners: {web: {bind: ':%u', upstream: '%s'}}\n", port,
                    listener.address);
    pair_exchange(&pair, 100);
    for (int session = 0; session < 8; session++) {
        struct pair other;
        pair_open(&other, address, &listener);
        pair_exchange(&other, 100);
        pair_close(&other);
    }
}

Test(address, of_a_server_may_be_a_host_name, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring, "listeners: {web: {bind: '127.0.0.1:0', upstream: 'localhost%s'}}\n",
                   strrchr(listener.address, ':'));
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 1000);
}

Test(address, of_a_server_that_no_name_service_knows_is_refused, .timeout = 30) {
    struct moonring moonring;
    moonring_launch(&moonring, NULL, "listeners: {web: {bind: '127.0.0.1:0', upstream: 'no-such-host.invalid:80'}}\n");
    moonring_expect_refusal(&moonring, 1, "no-such-host.invalid");
}

/* --- unix sockets ------------------------------------------------------------------------------------------------ */

static bool path_exists(const char *path) {
    return access(path, F_OK) == 0;
}

Test(address, of_unix_sockets_has_mode_and_group_and_is_removed_at_stop, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    struct pair pair;
    char bind[256], path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    snprintf(bind, sizeof(bind), "{address: 'unix:%s', mode: '0640', group: nogroup}",
             temporary_path(&folder, "web.sock", path));
    serve(&moonring, &pair, bind, "127.0.0.1:0");
    struct stat status;
    cr_assert(stat(path, &status) == 0);
    cr_assert((status.st_mode & 07777) == 0640, "mode is %o", status.st_mode & 07777);
    cr_assert(status.st_gid == getgrnam("nogroup")->gr_gid, "group is %u", status.st_gid);
    pair_close(&pair);
    moonring_stop(&moonring);
    cr_assert(!path_exists(path));
}

Test(address, of_a_stale_unix_socket_is_taken_over, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener stale;
    struct pair pair;
    char address[ADDRESS_TEXT_MAX], bind[256];
    temporary_create(&folder);
    snprintf(address, sizeof(address), "unix:%s/web.sock", folder.path);
    peer_listen(&stale, address);
    peer_listener_close(&stale); /* its file stays */
    snprintf(bind, sizeof(bind), "'%s'", address);
    serve(&moonring, &pair, bind, "127.0.0.1:0");
}

Test(address, of_a_live_unix_socket_is_refused_and_left_alone, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener live;
    char address[ADDRESS_TEXT_MAX];
    temporary_create(&folder);
    snprintf(address, sizeof(address), "unix:%s/web.sock", folder.path);
    peer_listen(&live, address);
    moonring_launch(&moonring, NULL, "listeners: {web: {bind: '%s', upstream: '127.0.0.1:9'}}\n", address);
    moonring_expect_refusal(&moonring, 1, "in use");
    cr_assert(path_exists(address + strlen("unix:")));
    struct peer client;
    peer_connect(&client, address);
}

/* Nobody listens there yet when the second listener comes: it must not take it for a stale one. */
Test(address, of_a_unix_socket_is_not_that_of_two_listeners_by_two_paths, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    temporary_create(&folder);
    moonring_launch(&moonring, NULL,
                    "listeners:\n"
                    "  one: {bind: 'unix:%s/web.sock', upstream: '127.0.0.1:9'}\n"
                    "  two: {bind: 'unix:%s//web.sock', upstream: '127.0.0.1:9'}\n",
                    folder.path, folder.path);
    moonring_expect_refusal(&moonring, 1, "listener two: cannot bind");
}

Test(address, of_a_unix_socket_that_is_a_file_is_refused_and_left_alone, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "precious", "data\n");
    temporary_path(&folder, "precious", path);
    moonring_launch(&moonring, NULL, "listeners: {web: {bind: 'unix:%s', upstream: '127.0.0.1:9'}}\n", path);
    moonring_expect_refusal(&moonring, 1, path);
    cr_assert(path_exists(path));
}

/* --- refusals ---------------------------------------------------------------------------------------------------- */

Test(address, of_another_moonring_is_refused, .timeout = 30) {
    struct moonring first, second;
    struct peer_listener listener;
    struct pair pair;
    moonring_start_web(&first, &listener, "", "");
    moonring_launch(&second, NULL, "listeners: {copy: {bind: '%s', upstream: '%s'}}\n", first.address,
                    listener.address);
    moonring_expect_refusal(&second, 1, "in use");
    pair_open(&pair, first.address, &listener);
    pair_exchange(&pair, 1000);
}

Test(address, that_this_host_does_not_have_is_refused, .timeout = 30) {
    struct moonring moonring;
    moonring_launch(&moonring, NULL, "listeners: {web: {bind: '192.0.2.1:0', upstream: '127.0.0.1:9'}}\n");
    moonring_expect_refusal(&moonring, 1, "192.0.2.1");
}

static void lose_the_right_to_low_ports(void) {
    prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE, 0, 0, 0); /* root gets no more than the bounding set at exec */
}

Test(address, with_a_privileged_port_is_refused_without_the_right, .timeout = 30) {
    struct moonring moonring;
    moonring_launch(&moonring, lose_the_right_to_low_ports,
                    "listeners: {web: {bind: '127.0.0.1:81', upstream: '127.0.0.1:9'}}\n");
    moonring_expect_refusal(&moonring, 1, "127.0.0.1:81");
    cr_assert(strstr(process_text(&moonring.process.errors), "CAP_NET_BIND_SERVICE") != NULL, "no advice:\n%s",
              process_text(&moonring.process.errors));
}
