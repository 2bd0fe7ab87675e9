/* examples/quick-start.yaml, which serves itself by serve.lua; and serve.lua without any configuration. */
#include "tests/scenario/example_world.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(example_serve, is_the_quick_start, .timeout = 60) {
    struct world world;
    world_enter(&world);
    world_start(&world, "quick-start.yaml");
    for (int round = 1; round <= 2; round++) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "hello from server A, request %d\n", round);
        cr_assert_str_eq(world_run(&world, "curl -sSf http://127.0.0.1:8080/"), wanted);
        snprintf(wanted, sizeof(wanted), "hello from server B, request %d\n", round);
        cr_assert_str_eq(world_run(&world, "curl -sSf http://127.0.0.1:8080/"), wanted);
    }
    moonring_stop(&world.moonring);
}

/* serve.lua on 127.0.0.1:8094, as its header says. */
static void serve_start(struct world *world) {
    struct process *process = &world->moonring.process;
    world_enter(world);
    process_start(process, NULL,
                  ARGUMENTS(moonring_program(), "run", "-l", "127.0.0.1:8094", "-f", "examples/serve.lua"));
    moonring_wait_ready(&world->moonring);
}

Test(example_serve, keeps_the_connection_for_more_requests, .timeout = 60) {
    struct world world;
    serve_start(&world);
    cr_assert_str_eq(
        world_run(&world, "curl -sSf -w '%%{num_connects} ' http://127.0.0.1:8094/a http://127.0.0.1:8094/b"),
        "hello from server moonring, request 1\n1 hello from server moonring, request 2\n0 ");
    moonring_stop(&world.moonring);
}

static void expect_answer(const char *request, const char *answer) {
    struct peer client;
    peer_connect(&client, "127.0.0.1:8094");
    peer_send(&client, request);
    peer_expect(&client, answer);
    peer_expect_end(&client);
    peer_close(&client);
}

Test(example_serve, answers_as_the_method_wants, .timeout = 60) {
    struct world world;
    serve_start(&world);
    expect_answer("HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n",
                  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 38\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 38\r\nConnection: close\r\n\r\n"
                  "hello from server moonring, request 2\n");
    expect_answer("DELETE / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"
                                               "Content-Type: text/plain\r\nContent-Length: 18\r\n"
                                               "Connection: close\r\n\r\nonly GET and HEAD\n");
    expect_answer("nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 26\r\n"
                                      "Connection: close\r\n\r\nthis is no HTTP/1 request\n");
    moonring_stop(&world.moonring);
}
