/* The load generator and the server behind the proxies: both ends of every session, on one ring in the calling thread.
 * Everything runs inside load_open, load_run and load_finish. What arrives is checked; the first thing that is not as
 * it must be ends the load with an error. */
#ifndef MOONRING_BENCH_LOAD_H
#define MOONRING_BENCH_LOAD_H

#include "base/error.h"
#include "tests/bench/histogram.h"
#include "tests/bench/pattern.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum load_kind {
    LOAD_EXCHANGE, /* each session sends a message, the server answers with the same, and so on; unit: a request */
    LOAD_BULK,     /* each session sends as much as it may, the server discards it; unit: a byte that arrived */
    LOAD_CHURN,    /* connect, one exchange, the server closes first; unit: a connection */
};

struct load_plan {
    enum load_kind kind;
    size_t sessions; /* at most (LOAD_BULK: 64); in LOAD_CHURN: connections at a time */
    size_t message_size;
    uint64_t requests_per_s; /* LOAD_EXCHANGE: begun at even distances, over all sessions; 0: each as soon as it can */
    size_t slow_sessions;    /* LOAD_EXCHANGE: so many of the sessions idle, until load_slow_begin */
    size_t under_way_max;    /* LOAD_BULK: bytes of a session that are sent and have not arrived; 0: no limit */
    enum pattern_kind messages;
};

struct load_counts {
    uint64_t units;           /* finished since load_counts_clear */
    struct histogram latency; /* send (paced: when it was due) to whole answer; in LOAD_CHURN connect to end of stream;
                                 none in LOAD_BULK */
    uint64_t slow_bytes;      /* that slow clients have read */
};

struct load; /* opaque: it holds a ring */

/* Listens on 127.0.0.1:server_port. NULL and an error when the kernel refuses something. */
struct load *load_create(const struct load_plan *plan, uint16_t server_port, struct error *error);
/* Cuts all sessions at once. */
void load_destroy(struct load *load);

/* Opens sessions through 127.0.0.1:port until there are `sessions`, each proven by one exchange (LOAD_BULK: by
 * connecting). LOAD_CHURN opens its own later: nothing happens. */
bool load_open(struct load *load, uint16_t port, size_t sessions, struct error *error);
/* Runs the traffic for that long; the next call goes on where this one stopped. */
bool load_run(struct load *load, uint64_t duration_ns, struct error *error);
/* From now on servers send to the slow sessions as much as they may, whose clients read 320 KiB/s each. While running.
 */
void load_slow_begin(struct load *load);
/* Begins nothing new and waits until all that was sent has arrived, but for what slow clients are to read. load_run may
 * follow. */
bool load_finish(struct load *load, struct error *error);

const struct load_counts *load_counts(const struct load *load);
void load_counts_clear(struct load *load);

#endif
