/* examples/one_port.yaml: TLS, SSH and HTTP on one port, with curl, ssh and peers that say little. */
#include "tests/scenario/example_world.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define FRONT "127.0.0.1:8443"

struct servers {
    struct process nginx;
    struct process sshd;
};

static void one_port_start(struct world *world, struct servers *servers) {
    world_enter(world);
    world_make_certificate(world, "server");
    world_start_nginx(world, &servers->nginx,
                      "server { listen 127.0.0.1:9080; return 200 'in the clear'; }"
                      "server { listen 127.0.0.1:9443 ssl; ssl_certificate server.crt; ssl_certificate_key server.key;"
                      " return 200 'encrypted'; }",
                      "127.0.0.1:9443");
    world_start_sshd(world, &servers->sshd, "22");
    world_start(world, "one_port.yaml");
}

Test(example_one_port, leads_curl_and_ssh_to_their_servers, .timeout = 60) {
    struct world world;
    struct servers servers;
    one_port_start(&world, &servers);
    cr_assert_str_eq(world_run(&world, "curl -sSf http://" FRONT "/"), "in the clear");
    cr_assert_str_eq(world_run(&world, "curl -sSf -k https://" FRONT "/"), "encrypted");
    cr_assert_str_eq(world_run(&world, "ssh -q -i user_key -p 8443 -o StrictHostKeyChecking=no"
                                       " -o UserKnownHostsFile=/dev/null root@127.0.0.1 'echo $((6 * 7))'"),
                     "42\n");
    moonring_stop(&world.moonring);
}

Test(example_one_port, gives_a_client_that_waits_the_greeting_of_ssh, .timeout = 60) {
    struct world world;
    struct servers servers;
    struct peer client;
    one_port_start(&world, &servers);
    uint64_t start_ms = deadline_now_ms();
    peer_connect(&client, FRONT);
    peer_expect(&client, "SSH-2.0-OpenSSH");
    uint64_t took_ms = deadline_now_ms() - start_ms;
    cr_assert(took_ms >= 500, "it took %lu ms", took_ms);
    peer_close(&client);
    moonring_stop(&world.moonring);
}

Test(example_one_port, reads_first_words_that_come_byte_by_byte, .timeout = 60) {
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    struct world world;
    struct servers servers;
    struct peer client;
    one_port_start(&world, &servers);
    peer_connect(&client, FRONT);
    for (size_t index = 0; request[index] != 0; index++) {
        peer_send(&client, (char[]){request[index], 0});
        deadline_pause(5); /* so that they are not sent together */
    }
    peer_expect(&client, "HTTP/1.1 200 OK\r\n");
    peer_close(&client);
    moonring_stop(&world.moonring);
}
