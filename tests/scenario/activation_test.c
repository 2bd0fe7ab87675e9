/* Socket activation: `bind: systemd:NAME`, started by systemd-socket-activate. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/network.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* It opens the sockets, waits for the first client, and then becomes moonring. */
static void activate(struct moonring *moonring, const char *names, const char *first, const char *second,
                     const char *yaml) {
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&moonring->folder);
    temporary_write(&moonring->folder, "moonring.yaml", "%s", yaml);
    process_start(&moonring->process, NULL,
                  ARGUMENTS("systemd-socket-activate", "-l", first, "-l", second, "--fdname", names, moonring_program(),
                            "run", "-c", temporary_path(&moonring->folder, "moonring.yaml", path)));
    snprintf(moonring->address, sizeof(moonring->address), "%s", first);
}

static void free_address(char address[ADDRESS_TEXT_MAX]) {
    snprintf(address, ADDRESS_TEXT_MAX, "127.0.0.1:%u", peer_free_port());
}

/* systemd-socket-activate needs a moment until it listens; the first who gets in starts moonring. */
static void connect_patiently(struct peer *client, const char *address) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (peer_try_connect(client, address) != 0) {
        cr_assert_gt(deadline_left_ms(deadline_ms), 0, "nobody listens on %s", address);
    }
}

static void exchange_at(struct peer_listener *listener, const char *address) {
    struct pair pair;
    pair_open(&pair, address, listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
}

Test(activation, serves_on_sockets_of_systemd_across_reloads, .timeout = 60) {
    struct moonring moonring;
    struct peer_listener listener;
    struct peer first;
    char web[ADDRESS_TEXT_MAX], other[ADDRESS_TEXT_MAX], yaml[512];
    network_enter();
    peer_listen(&listener, "127.0.0.1:0");
    free_address(web);
    free_address(other);
    snprintf(yaml, sizeof(yaml),
             "listeners:\n  a: {bind: 'systemd:web', upstream: '%s'}\n  b: {bind: 'systemd:other', upstream: '%s'}\n",
             listener.address, listener.address);
    activate(&moonring, "web:other", web, other, yaml);
    connect_patiently(&first, web);
    moonring_wait_ready(&moonring);
    struct pair pair = {.client = first};
    pair_accept(&pair, &listener);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    exchange_at(&listener, other);
    /* One is dropped and comes back; the other stays all the time. */
    moonring_reload(&moonring, "listeners: {a: {bind: 'systemd:web', upstream: '%s', timeouts: {idle: 1m}}}\n",
                    listener.address);
    exchange_at(&listener, web);
    moonring_reload(
        &moonring,
        "listeners: {c: {bind: 'systemd:other', upstream: '%s'}, a: {bind: 'systemd:web', upstream: '%s'}}\n"
        "process: {workers: 3}\n",
        listener.address, listener.address);
    for (int client = 0; client < 10; client++) {
        exchange_at(&listener, web);
        exchange_at(&listener, other);
    }
    moonring_stop(&moonring);
}

Test(activation, says_which_sockets_there_are, .timeout = 60) {
    struct moonring moonring;
    struct peer first;
    char web[ADDRESS_TEXT_MAX], other[ADDRESS_TEXT_MAX];
    network_enter();
    free_address(web);
    free_address(other);
    activate(&moonring, "web:other", web, other, "listeners: {a: {bind: 'systemd:wbe', upstream: '127.0.0.1:9'}}\n");
    connect_patiently(&first, web);
    moonring_expect_refusal(&moonring, 1,
                            "listener a: systemd has passed no listening stream socket named \"wbe\"; it has passed: "
                            "web, other");
}

Test(activation, is_missed_when_nobody_has_passed_a_socket, .timeout = 60) {
    struct moonring moonring;
    moonring_launch(&moonring, NULL, "listeners: {a: {bind: 'systemd:web', upstream: '127.0.0.1:9'}}\n");
    moonring_expect_refusal(&moonring, 1, "listener a: systemd has passed no socket at all");
}
