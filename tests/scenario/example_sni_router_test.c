/* examples/sni_router.yaml with openssl on both sides. */
#include "tests/scenario/example_world.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define FRONT "127.0.0.1:8444"

struct servers {
    struct process one;
    struct process two;
};

static void sni_router_start(struct world *world, struct servers *servers) {
    world_enter(world);
    world_start_tls(world, &servers->one, "one.example", "9444");
    world_start_tls(world, &servers->two, "two.example", "9445");
    world_start(world, "sni_router.yaml");
}

/* Which certificate a client gets that asks for this name. */
static const char *server_of(struct world *world, const char *name) {
    return world_run(world, "openssl s_client -connect " FRONT " -servername %s </dev/null 2>&1 | grep ^subject", name);
}

Test(example_sni_router, leads_clients_to_the_server_of_the_name, .timeout = 60) {
    struct world world;
    struct servers servers;
    sni_router_start(&world, &servers);
    cr_assert_str_eq(server_of(&world, "one.example"), "subject=CN = one.example\n");
    cr_assert_str_eq(server_of(&world, "www.two.example"), "subject=CN = two.example\n");
    cr_assert_str_eq(server_of(&world, "ONE.example"), "subject=CN = one.example\n");
    moonring_stop(&world.moonring);
}

static void expect_alert(struct world *world, const char *options) {
    const char *text = world_run(world, "openssl s_client -connect " FRONT " %s </dev/null 2>&1 || true", options);
    cr_assert(strstr(text, "unrecognized name") != NULL, "%s", text);
}

Test(example_sni_router, tells_others_by_an_alert, .timeout = 60) {
    struct world world;
    struct servers servers;
    sni_router_start(&world, &servers);
    expect_alert(&world, "-servername two.example");
    expect_alert(&world, "-servername a.b.two.example");
    expect_alert(&world, "-noservername");
    moonring_stop(&world.moonring);
}

enum { HELLO_MAX = 4096, RECORD_HEADER_SIZE = 5 };

static void receive(const struct peer *peer, uint8_t *bytes, size_t size) {
    struct pollfd readable = {.fd = peer->fd, .events = POLLIN};
    for (size_t done = 0; done < size;) {
        cr_assert(poll(&readable, 1, DEADLINE_MS) == 1);
        ssize_t some = recv(peer->fd, bytes + done, size - done, 0);
        cr_assert(some > 0, "the client said too little");
        done += (size_t)some;
    }
}

/* The first record of a real client. */
static size_t capture_hello(uint8_t hello[static HELLO_MAX]) {
    struct peer_listener listener;
    struct peer server;
    struct process client;
    peer_listen(&listener, "127.0.0.1:0");
    process_start(&client, NULL,
                  ARGUMENTS("openssl", "s_client", "-connect", listener.address, "-servername", "www.two.example"));
    peer_accept(&server, &listener);
    receive(&server, hello, RECORD_HEADER_SIZE);
    size_t size = (size_t)hello[3] << 8 | hello[4];
    cr_assert(RECORD_HEADER_SIZE + size <= HELLO_MAX);
    receive(&server, hello + RECORD_HEADER_SIZE, size);
    process_kill(&client);
    return RECORD_HEADER_SIZE + size;
}

Test(example_sni_router, reads_a_hello_that_comes_byte_by_byte, .timeout = 60) {
    struct world world;
    struct servers servers;
    struct peer client;
    uint8_t hello[HELLO_MAX];
    sni_router_start(&world, &servers);
    size_t size = capture_hello(hello);
    peer_connect(&client, FRONT);
    for (size_t index = 0; index < size; index++) {
        cr_assert(send(client.fd, hello + index, 1, MSG_NOSIGNAL) == 1);
        deadline_pause(1); /* so that they are not sent together */
    }
    peer_expect(&client, "\x16\x03\x03"); /* a record of the server's handshake */
    peer_close(&client);
    moonring_expect_session(&world.moonring, "upstream=two");
}
