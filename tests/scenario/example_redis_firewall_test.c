/* examples/redis_firewall.yaml with redis-server and redis-cli. */
#include "tests/scenario/example_world.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define FRONT "127.0.0.1:6381"
#define REFUSED "ERR unknown command 'refused.by.moonring', with args beginning with: "

static void redis_firewall_start(struct world *world, struct process *redis) {
    world_enter(world);
    world_start_redis(world, redis, "6379");
    world_start(world, "redis_firewall.yaml");
}

static double refused(struct world *world) {
    return moonring_counter(&world->moonring, "redis_firewall_refused_total");
}

Test(example_redis_firewall, refuses_what_is_denied_and_nothing_else, .timeout = 60) {
    struct world world;
    struct process redis;
    redis_firewall_start(&world, &redis);
    cr_assert_str_eq(world_run(&world, "redis-cli -p 6381 SET moon ring"), "OK\n");
    cr_assert_str_eq(world_run(&world, "redis-cli -p 6381 FLUSHALL"), REFUSED "\n\n");
    cr_assert_str_eq(world_run(&world, "redis-cli -p 6381 flushall async"), REFUSED "\n\n");
    cr_assert_str_eq(world_run(&world, "redis-cli -p 6381 CONFIG SET dir /tmp"), REFUSED "\n\n");
    cr_assert_str_eq(world_run(&world, "redis-cli -p 6381 GET moon"), "ring\n");
    cr_assert_eq(refused(&world), 3);
    moonring_stop(&world.moonring);
}

Test(example_redis_firewall, answers_in_the_order_of_a_pipeline, .timeout = 60) {
    struct world world;
    struct process redis;
    struct peer client;
    redis_firewall_start(&world, &redis);
    peer_connect(&client, FRONT);
    peer_send(&client, "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
                       "*1\r\n$8\r\nFLUSHALL\r\n"
                       "INCR n\r\n"
                       "FLUSHDB\r\n"
                       "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n");
    peer_expect(&client, ":1\r\n-" REFUSED "\r\n:2\r\n-" REFUSED "\r\n:3\r\n");
    peer_close(&client);
    moonring_stop(&world.moonring);
}

Test(example_redis_firewall, passes_a_value_of_10_mib, .timeout = 60) {
    struct world world;
    struct process redis;
    redis_firewall_start(&world, &redis);
    world_run(&world, "head -c 10485760 /dev/urandom >value");
    cr_assert_str_eq(world_run(&world, "redis-cli -p 6381 -x SET large <value"), "OK\n");
    world_run(&world, "redis-cli -p 6379 GET large | head -c -1 | cmp - value"); /* behind the firewall */
    world_run(&world, "redis-cli -p 6381 GET large | head -c -1 | cmp - value");
    moonring_stop(&world.moonring);
}

Test(example_redis_firewall, serves_redis_benchmark, .timeout = 90) {
    struct world world;
    struct process redis;
    redis_firewall_start(&world, &redis);
    const char *text = world_run(&world, "redis-benchmark -p 6381 -c 50 -P 16 -n 100000 -t set,get,lrange_100 -q 2>&1"
                                         " | tr '\\r' '\\n' | grep -c 'requests per second'");
    cr_assert_str_eq(text, "4\n");   /* one for each, and one for the LPUSH in front of LRANGE */
    cr_assert(refused(&world) >= 1); /* it begins with CONFIG GET */
    moonring_stop(&world.moonring);
}

/* `strict`: half a command is not passed on when the client ends. */
Test(example_redis_firewall, drops_half_a_command_at_the_end, .timeout = 60) {
    struct world world;
    struct peer_listener listener;
    struct pair pair;
    world_enter(&world);
    peer_listen(&listener, "127.0.0.1:6379");
    world_start(&world, "redis_firewall.yaml");
    peer_connect(&pair.client, FRONT);
    peer_send(&pair.client, "PING\r\n*1\r\n$8\r\nFLUSH");
    pair_accept(&pair, &listener);
    peer_expect(&pair.server, "PING\r\n");
    peer_end(&pair.client);
    peer_expect_end(&pair.server);
    pair_close(&pair);
    moonring_stop(&world.moonring);
}
