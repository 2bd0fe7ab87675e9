/* examples/http_header.yaml: curl to nginx, and peers for what nginx does not do by itself. */
#include "tests/scenario/example_world.h"

#include <criterion/criterion.h>
#include <string.h>

#define FRONT "127.0.0.1:8092"

static void web_start(struct world *world, struct process *nginx) {
    world_enter(world);
    world_start_nginx(world, nginx,
                      "server { listen 127.0.0.1:9080;"
                      "  location /who { return 200 '$http_x_forwarded_for\\n'; }"
                      "  location /upload/ { root .; dav_methods PUT; create_full_put_path on; }"
                      "  location /chunked/ { alias upload/; sub_filter_types *; sub_filter never! there; }"
                      "}",
                      "127.0.0.1:9080");
    world_start(world, "http_header.yaml");
}

Test(example_http_header, tells_nginx_who_asks_in_each_request_of_a_connection, .timeout = 60) {
    struct world world;
    struct process nginx;
    web_start(&world, &nginx);
    const char *text = world_run(&world, "curl -sSf -w '%%{num_connects}\n' http://" FRONT "/who http://" FRONT "/who"
                                         " -H 'X-Forwarded-For: 10.9.9.9'");
    cr_assert_str_eq(text, "10.9.9.9, 127.0.0.1\n1\n10.9.9.9, 127.0.0.1\n0\n");
    cr_assert_str_eq(world_run(&world, "curl -sSf http://" FRONT "/who"), "127.0.0.1\n");
    moonring_stop(&world.moonring);
}

/* 20 MiB with the length in front, in chunks, and on a connection that goes on. */
Test(example_http_header, passes_bodies_of_either_kind_both_ways, .timeout = 60) {
    struct world world;
    struct process nginx;
    web_start(&world, &nginx);
    world_run(&world,
              "head -c 15728640 /dev/urandom | base64 >sent; url=http://" FRONT ";"
              "curl -sSf -T sent $url/upload/length --next -sSf $url/who >who;"
              "curl -sSf -T sent -H 'Transfer-Encoding: chunked' $url/upload/chunked --next -sSf $url/who >>who;"
              "cmp sent upload/length; cmp sent upload/chunked;"
              "curl -sSf -D head $url/chunked/length | cmp - sent; grep -qi '^transfer-encoding: chunked' head;"
              "curl -sSf $url/upload/length -o down -w '%%{num_connects} ' --next $url/who >>who; cmp sent down;"
              "curl -sSf -I $url/upload/length -o head --next $url/who >>who; grep -qi '^content-length: 2' head");
    cr_assert_str_eq(world_run(&world, "grep -c 127.0.0.1 who"), "4\n");
    moonring_stop(&world.moonring);
}

/* A server that the test plays. */
static void peers_start(struct world *world, struct pair *pair) {
    struct peer_listener listener;
    world_enter(world);
    peer_listen(&listener, "127.0.0.1:9080");
    world_start(world, "http_header.yaml");
    peer_connect(&pair->client, FRONT);
    pair_accept(pair, &listener);
}

Test(example_http_header, leaves_alone_what_follows_an_upgrade, .timeout = 60) {
    static const char accepted[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: talk\r\nConnection: Upgrade\r\n\r\n";
    static const char words[] = "GET /not/a/request HTTP/1.1\r\nHost: talk\r\n\r\n";
    struct world world;
    struct pair pair;
    peers_start(&world, &pair);
    peer_send(&pair.client, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: talk\r\nConnection: Upgrade\r\n\r\n");
    peer_expect(&pair.server, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: talk\r\nConnection: Upgrade\r\n"
                              "X-Forwarded-For: 127.0.0.1\r\n\r\n");
    peer_send(&pair.server, accepted);
    peer_expect(&pair.client, accepted);
    peer_send(&pair.client, words);
    peer_expect(&pair.server, words);
    peer_send(&pair.server, words);
    peer_expect(&pair.client, words);
    pair_exchange(&pair, 100000);
    pair_close(&pair);
    moonring_stop(&world.moonring);
}

Test(example_http_header, goes_on_when_an_upgrade_is_refused, .timeout = 60) {
    static const char refused[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno";
    struct world world;
    struct pair pair;
    peers_start(&world, &pair);
    peer_send(&pair.client, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: talk\r\nConnection: Upgrade\r\n\r\n"
                            "GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    peer_expect(&pair.server, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: talk\r\nConnection: Upgrade\r\n"
                              "X-Forwarded-For: 127.0.0.1\r\n\r\n");
    peer_send(&pair.server, refused);
    peer_expect(&pair.client, refused);
    peer_expect(&pair.server, "GET /second HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n");
    pair_close(&pair);
    moonring_stop(&world.moonring);
}

Test(example_http_header, does_not_wait_for_the_body_before_the_server_wants_it, .timeout = 60) {
    struct world world;
    struct pair pair;
    peers_start(&world, &pair);
    peer_send(&pair.client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    peer_expect(&pair.server, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
                              "X-Forwarded-For: 127.0.0.1\r\n\r\n");
    peer_send(&pair.server, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_expect(&pair.client, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_send(&pair.client, "body");
    peer_expect(&pair.server, "body");
    pair_close(&pair);
    moonring_stop(&world.moonring);
}

/* A server that read it in another way would see a request that nobody has looked at. */
Test(example_http_header, closes_where_two_readers_could_differ, .timeout = 60) {
    struct world world;
    struct pair pair;
    peers_start(&world, &pair);
    peer_send(&pair.client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n");
    peer_expect_closed(&pair.client);
    peer_expect_closed(&pair.server);
    moonring_expect_session(&world.moonring, "reason=filter_error");
}
