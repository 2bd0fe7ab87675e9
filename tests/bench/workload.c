#include "tests/bench/workload.h"

#include "base/check.h"

enum { CHUNK_SIZE = 16384 };

#define IDLE(workload, count)                                                                                          \
    {                                                                                                                  \
        .name = workload, .title = #count " idle sessions", .kind = WORKLOAD_IDLE, .plan = {                           \
            .kind = LOAD_EXCHANGE,                                                                                     \
            .sessions = count,                                                                                         \
            .message_size = 64                                                                                         \
        }                                                                                                              \
    }
#define CURVE(workload, about, ...)                                                                                    \
    { .name = workload, .title = about, .contest = CONTEST_CURVES, .only_named = true, __VA_ARGS__ }
#define CONNECTIONS(name, count)                                                                                       \
    CURVE(name, "64 B request/response, " #count " connections",                                                       \
          .plan = {.kind = LOAD_EXCHANGE, .sessions = count, .message_size = 64})
#define SIZE(name, size)                                                                                               \
    CURVE(name, #size " B request/response, 16 connections",                                                           \
          .plan = {.kind = LOAD_EXCHANGE, .sessions = 16, .message_size = size})
#define SCALE(name, listeners_count, servers_count)                                                                    \
    CURVE(name, "connect, exchange 64 B, close; " #listeners_count " listeners, " #servers_count " servers",           \
          .plan = {.kind = LOAD_CHURN, .sessions = 64, .message_size = 64}, .listeners = listeners_count,              \
          .servers = servers_count)

/* At 5 % of the load, 99.9 % of a second's requests would leave a handful. */
#define TAIL(workload, percent)                                                                                        \
    {                                                                                                                  \
        .name = workload, .title = "64 B over 64 connections, paced at " #percent " % of what the slowest reaches",    \
        .contest = CONTEST_TAIL, .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64},                  \
        .rounds_more = 2, .seconds_times = 2, .reach_percent = percent                                                 \
    }

/* Bulk has a window, as a network has. Without one, a sender that is faster than the proxy fills the proxy's receive
 * buffers with up to tcp_rmem[2] bytes each; then they fit the cache or not, and costs jump between two values from run
 * to run. Together the windows fill a cache of 2 MiB. */
static const struct workload workloads[] = {
    {.name = "64B-1",
     .title = "64 B request/response, 1 connection",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 1, .message_size = 64},
     .has_pauses = true},
    {.name = "64B-64",
     .title = "64 B request/response, 64 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64}},
    {.name = "64B-512",
     .title = "64 B request/response, 512 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 512, .message_size = 64}},
    {.name = "64B-1024",
     .title = "64 B request/response, 1024 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 1024, .message_size = 64},
     .only_full = true},
    {.name = "64B-4096",
     .title = "64 B request/response, 4096 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 4096, .message_size = 64}},
    {.name = "64B-9500",
     .title = "64 B request/response, 9500 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 9500, .message_size = 64},
     .seconds_times = 2},
    {.name = "active-9500",
     .title = "64 B, 20000 requests/s over 9500 connections, each of them in its turn",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 9500, .message_size = 64, .requests_per_s = 20000},
     .seconds_times = 2},
    {.name = "paced-20k",
     .title = "64 B, 20000 requests/s at even distances over 64 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64, .requests_per_s = 20000},
     .has_pauses = true},
    {.name = "4KiB-64",
     .title = "4 KiB request/response, 64 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 4096}},
    {.name = "16KiB-64",
     .title = "16 KiB request/response, 64 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 16384}},
    {.name = "64KiB-64",
     .title = "64 KiB request/response, 64 connections",
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 65536}},
    {.name = "bulk-1",
     .rounds_more = 2, /* decisions/0024 */
     .title = "bulk one way, 1 connection",
     .plan = {.kind = LOAD_BULK, .sessions = 1, .message_size = 65536, .under_way_max = 256 << 10}},
    {.name = "bulk-16",
     .rounds_more = 2, /* decisions/0024 */
     .title = "bulk one way, 16 connections",
     .plan = {.kind = LOAD_BULK, .sessions = 16, .message_size = 65536, .under_way_max = 128 << 10}},
    {.name = "flood-1",
     .title = "bulk without a window, 1 connection",
     .plan = {.kind = LOAD_BULK, .sessions = 1, .message_size = 65536},
     .only_full = true},
    {.name = "flood-16",
     .title = "bulk without a window, 16 connections",
     .plan = {.kind = LOAD_BULK, .sessions = 16, .message_size = 65536},
     .only_full = true},
    {.name = "churn",
     .title = "connect, exchange 64 B, close; 64 at a time",
     .plan = {.kind = LOAD_CHURN, .sessions = 64, .message_size = 64}},
    IDLE("idle-1k", 1000),
    IDLE("idle-3k", 3000),
    IDLE("idle-9k", 9500),
    {.name = "tail-reach",
     .title = "64 B request/response, 64 connections: what each reaches; the slowest sets the load of the next ones",
     .contest = CONTEST_TAIL,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64},
     .finds_reach = true},
    TAIL("tail-5", 5),
    TAIL("tail-20", 20),
    TAIL("tail-50", 50),
    TAIL("tail-80", 80),
    {.name = "slow-readers",
     .title = "64 B, 20000 requests/s over 32 connections, beside 32 whose clients read slowly, and without those",
     .kind = WORKLOAD_SLOW,
     .contest = CONTEST_SLOW,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64, .requests_per_s = 20000, .slow_sessions = 32},
     .rounds_more = 2},
    {.name = "profile-64B-64",
     .title = "64 B request/response, 64 connections: whose code takes the CPU time",
     .contest = CONTEST_PROFILE,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64},
     .is_profiled = true,
     .seconds_times = 2},
    {.name = "start",
     .title = "from the start of the program to the first answer",
     .kind = WORKLOAD_START,
     .contest = CONTEST_START,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 1, .message_size = 64},
     .rounds_more = 7},
    {.name = "filter-64B-64",
     .title = "Redis commands of 64 B and the same back, 64 connections, in turns with the filter and without",
     .kind = WORKLOAD_FILTER,
     .contest = CONTEST_FILTERS,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64, .messages = PATTERN_RESP},
     .rounds_more = 2,
     .seconds_times = 2},
    {.name = "filter-bulk-16",
     .title = "bulk one way, Redis commands of 64 KiB, 16 connections, in turns with the filter and without",
     .kind = WORKLOAD_FILTER,
     .contest = CONTEST_FILTERS,
     .plan = {.kind = LOAD_BULK,
              .sessions = 16,
              .message_size = 65536,
              .under_way_max = 128 << 10,
              .messages = PATTERN_RESP},
     .rounds_more = 2},
    {.name = "workers-64B-64",
     .title = "64 B request/response, 64 connections, two workers beside the generator",
     .contest = CONTEST_WORKERS,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64}},
    {.name = "ring-64B-64",
     .title = "64 B request/response, 64 connections: how the ring is used",
     .contest = CONTEST_RING,
     .plan = {.kind = LOAD_EXCHANGE, .sessions = 64, .message_size = 64},
     .has_pauses = true},
    {.name = "ring-bulk-16",
     .title = "bulk one way, 16 connections: how the ring is used",
     .contest = CONTEST_RING,
     .plan = {.kind = LOAD_BULK, .sessions = 16, .message_size = 65536, .under_way_max = 128 << 10},
     .has_pauses = true},
    {.name = "ring-churn",
     .title = "connect, exchange 64 B, close; 64 at a time: how the ring is used",
     .contest = CONTEST_RING,
     .plan = {.kind = LOAD_CHURN, .sessions = 64, .message_size = 64},
     .has_pauses = true},
    /* Against the number of connections, */
    CONNECTIONS("connections-1", 1),
    CONNECTIONS("connections-8", 8),
    CONNECTIONS("connections-64", 64),
    CONNECTIONS("connections-512", 512),
    CONNECTIONS("connections-2000", 2000),
    CONNECTIONS("connections-4500", 4500),
    CONNECTIONS("connections-9000", 9000),
    /* the size of a message, */
    SIZE("size-1", 1),
    SIZE("size-64", 64),
    SIZE("size-1024", 1024),
    SIZE("size-4096", 4096),
    SIZE("size-16384", 16384),
    SIZE("size-65536", 65536),
    SIZE("size-262144", 262144),
    SIZE("size-1048576", 1048576),
    /* listeners, and servers to choose from. */
    SCALE("listeners-1", 1, 1),
    SCALE("listeners-10", 10, 1),
    SCALE("listeners-100", 100, 1),
    SCALE("listeners-1000", 1000, 1),
    SCALE("servers-1", 1, 1),
    SCALE("servers-10", 1, 10),
    SCALE("servers-100", 1, 100),
    SCALE("servers-1000", 1, 1000),
    SCALE("servers-10000", 1, 10000),
};

size_t workload_count(void) {
    return sizeof workloads / sizeof workloads[0];
}

const struct workload *workload_at(size_t index) {
    check(index < workload_count());
    return &workloads[index];
}

const char *contest_name(enum contest contest) {
    switch (contest) {
    case CONTEST_PROXIES:
        return "proxies";
    case CONTEST_FILTERS:
        return "filters";
    case CONTEST_TAIL:
        return "tail";
    case CONTEST_SLOW:
        return "slow";
    case CONTEST_PROFILE:
        return "profile";
    case CONTEST_START:
        return "start";
    case CONTEST_WORKERS:
        return "workers";
    case CONTEST_RING:
        return "ring";
    case CONTEST_CURVES:
        return "curves";
    }
    return "";
}

const char *workload_rate_name(const struct workload *workload) {
    switch (workload->plan.kind) {
    case LOAD_EXCHANGE:
        return "requests/s";
    case LOAD_BULK:
        return "GB/s";
    case LOAD_CHURN:
        return "conns/s";
    }
    return "";
}

double workload_rate(const struct workload *workload, double units_per_s) {
    return workload->plan.kind == LOAD_BULK ? units_per_s / 1e9 : units_per_s;
}

const char *workload_cost_name(const struct workload *workload) {
    if (workload->kind == WORKLOAD_IDLE) {
        return "B/session";
    }
    if (workload->kind == WORKLOAD_START) {
        return "ms";
    }
    switch (workload->plan.kind) {
    case LOAD_EXCHANGE:
        return "us/request";
    case LOAD_BULK:
        return "s/GB";
    case LOAD_CHURN:
        return "us/connection";
    }
    return "";
}

double workload_cost(const struct workload *workload, double cpu_ns_per_unit) {
    /* A nanosecond per byte is a second per gigabyte. */
    return workload->plan.kind == LOAD_BULK ? cpu_ns_per_unit : cpu_ns_per_unit / 1e3;
}

double workload_chunk_us(const struct workload *workload, double cost, bool one_way) {
    switch (workload->plan.kind) {
    case LOAD_EXCHANGE:
        return cost / (one_way ? 1 : 2);
    case LOAD_BULK:
        return cost * CHUNK_SIZE / 1e3;
    case LOAD_CHURN:
        return 0;
    }
    return 0;
}
