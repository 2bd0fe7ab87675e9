/* redis-server behind moonring: many small requests, pipelined ones, and a large value. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct redis {
    struct process server;
    struct temporary folder;
    struct moonring moonring;
    char port[8]; /* moonring's */
};

static void redis_start(struct redis *redis) {
    temporary_create(&redis->folder);
    char port[8];
    snprintf(port, sizeof(port), "%u", peer_free_port());
    process_start(&redis->server, NULL,
                  ARGUMENTS("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", redis->folder.path,
                            "--save", "", "--appendonly", "no"));
    process_wait_line(&redis->server, &redis->server.output, "Ready to accept connections");
    moonring_start(&redis->moonring, "listeners: {redis: {bind: '127.0.0.1:0', upstream: '127.0.0.1:%s'}}\n", port);
    snprintf(redis->port, sizeof(redis->port), "%s", strrchr(redis->moonring.address, ':') + 1);
}

static void redis_stop(struct redis *redis) {
    moonring_stop(&redis->moonring);
    process_kill(&redis->server);
}

Test(redis, answers_redis_cli, .timeout = 60) {
    struct redis redis;
    struct process cli;
    redis_start(&redis);
    process_run(&cli, ARGUMENTS("redis-cli", "-p", redis.port, "SET", "moon", "ring"));
    cr_assert_str_eq(process_text(&cli.output), "OK\n");
    process_run(&cli, ARGUMENTS("redis-cli", "-p", redis.port, "GET", "moon"));
    cr_assert_str_eq(process_text(&cli.output), "ring\n");
    redis_stop(&redis);
}

Test(redis, delivers_a_value_of_32_mib, .timeout = 60) {
    enum { VALUE_SIZE = 32 << 20 };
    struct redis redis;
    struct process cli;
    redis_start(&redis);
    process_run(
        &cli, ARGUMENTS("redis-cli", "-p", redis.port, "EVAL", "return string.rep('0123456789abcdef', 2097152)", "0"));
    const char *value = process_text(&cli.output);
    cr_assert(strlen(value) == VALUE_SIZE + 1, "%zu bytes", strlen(value));
    for (size_t index = 0; index < VALUE_SIZE; index += 16) {
        cr_assert(memcmp(value + index, "0123456789abcdef", 16) == 0, "wrong near byte %zu", index);
    }
    redis_stop(&redis);
}

static void benchmark(const char *clients, const char *pipeline, const char *requests) {
    struct redis redis;
    struct process process;
    redis_start(&redis);
    process_run(&process, ARGUMENTS("redis-benchmark", "-p", redis.port, "-c", clients, "-P", pipeline, "-n", requests,
                                    "-t", "set,get,lrange_100", "-q"));
    cr_assert(process_count_lines(&process.output, "requests per second") >= 3, "%s", process_text(&process.output));
    cr_assert(strstr(process_text(&process.errors), "rror") == NULL, "%s", process_text(&process.errors));
    redis_stop(&redis);
}

Test(redis, serves_redis_benchmark, .timeout = 90) {
    benchmark("50", "1", "30000");
}

Test(redis, serves_redis_benchmark_with_pipelines_of_16, .timeout = 90) {
    benchmark("50", "16", "100000");
}
