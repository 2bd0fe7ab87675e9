#include "tests/bench/workload.h"

#include "base/check.h"

/* Bulk has a window, as a network has. Without one, a sender that is faster than the proxy fills the proxy's receive
 * buffers with up to tcp_rmem[2] bytes each; then they fit the cache or not, and costs jump between two values from run
 * to run. Together the windows fill a cache of 2 MiB. */
static const struct workload workloads[] = {
    {"64B-1", "64 B request/response, 1 connection", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 1, 64, 0}, false},
    {"64B-64", "64 B request/response, 64 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 64, 64, 0}, false},
    {"64B-512", "64 B request/response, 512 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 512, 64, 0}, true},
    {"64B-1024", "64 B request/response, 1024 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 1024, 64, 0}, false},
    {"64B-4096", "64 B request/response, 4096 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 4096, 64, 0}, true},
    {"4KiB-64", "4 KiB request/response, 64 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 64, 4096, 0}, false},
    {"16KiB-64", "16 KiB request/response, 64 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 64, 16384, 0}, false},
    {"64KiB-64", "64 KiB request/response, 64 connections", WORKLOAD_TRAFFIC, {LOAD_EXCHANGE, 64, 65536, 0}, false},
    {"bulk-1", "bulk one way, 1 connection", WORKLOAD_TRAFFIC, {LOAD_BULK, 1, 65536, 256 << 10}, false},
    {"bulk-16", "bulk one way, 16 connections", WORKLOAD_TRAFFIC, {LOAD_BULK, 16, 65536, 128 << 10}, false},
    {"flood-1", "bulk without a window, 1 connection", WORKLOAD_TRAFFIC, {LOAD_BULK, 1, 65536, 0}, true},
    {"flood-16", "bulk without a window, 16 connections", WORKLOAD_TRAFFIC, {LOAD_BULK, 16, 65536, 0}, true},
    {"churn", "connect, exchange 64 B, close; 64 at a time", WORKLOAD_TRAFFIC, {LOAD_CHURN, 64, 64, 0}, false},
    {"idle", "5000 idle sessions", WORKLOAD_IDLE, {LOAD_EXCHANGE, 5000, 64, 0}, false},
};

size_t workload_count(void) {
    return sizeof workloads / sizeof workloads[0];
}

const struct workload *workload_at(size_t index) {
    check(index < workload_count());
    return &workloads[index];
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
