#include "program/worker_metrics.h"

#include "base/counter.h"

#include <assert.h>

enum kind { COUNTER, GAUGE };

struct worker_metric {
    const char *name;
    enum kind kind;
    bool of_ring;  /* else of the engine */
    size_t offset; /* in struct ring_counters, or in struct engine */
    const char *help;
};

#define ENGINE(name, kind, member, help)                                                                               \
    { "moonring_" name, kind, false, offsetof(struct engine, member), help }
#define RING(name, member, help)                                                                                       \
    { "moonring_ring_" name, COUNTER, true, offsetof(struct ring_counters, member), help }

static const struct worker_metric table[] = {
    ENGINE("sessions_active", GAUGE, gauges.sessions, "Sessions that are open."),
    ENGINE("sessions_opened_total", COUNTER, counters.sessions_opened, "Sessions that were opened."),
    ENGINE("from_client_bytes_total", COUNTER, counters.from_client_bytes, "Bytes received from clients."),
    ENGINE("from_server_bytes_total", COUNTER, counters.from_server_bytes, "Bytes received from servers."),
    ENGINE("receives_total", COUNTER, counters.receives, "Completions that brought bytes."),
    ENGINE("receives_armed_total", COUNTER, counters.receives_armed, "Receive requests started."),
    ENGINE("sends_total", COUNTER, counters.sends, "Sends completed."),
    ENGINE("sends_blocked_total", COUNTER, counters.sends_blocked, "Sends that the socket did not take whole."),
    ENGINE("flows_starved_total", COUNTER, counters.starved, "Flows that found no receive buffer free."),
    ENGINE("splice_promotions_total", COUNTER, counters.splice_promotions, "Flows that went over to splicing."),
    ENGINE("splice_demotions_total", COUNTER, counters.splice_demotions, "Flows that came back from splicing."),
    ENGINE("splice_bytes_total", COUNTER, counters.splice_bytes, "Bytes that were spliced."),
    ENGINE("connects_total", COUNTER, counters.connects, "Connections to servers tried."),
    ENGINE("connects_failed_total", COUNTER, counters.connects_failed, "Connections to servers that failed."),
    ENGINE("retries_total", COUNTER, counters.retries, "Tries after a failed one."),
    ENGINE("accepts_armed_total", COUNTER, counters.accepts_armed, "Accept requests started."),
    ENGINE("accepts_limited_total", COUNTER, counters.accepts_limited,
           "Clients that a limit of connections made wait."),
    ENGINE("accepts_exhausted_total", COUNTER, counters.accepts_exhausted,
           "Accepts refused for want of descriptors or memory."),
    ENGINE("hooks_total", COUNTER, counters.hooks, "Hooks of filters that sessions began."),
    ENGINE("filters_bypassed_total", COUNTER, counters.filters_bypassed,
           "Filters that left a session because they failed."),
    RING("turns_total", turns, "Turns of the loop."),
    RING("system_calls_total", system_calls, "io_uring_enter calls."),
    RING("submissions_total", submissions, "Requests handed to the kernel."),
    RING("completions_total", completions, "Completions taken from the kernel."),
    RING("no_buffers_total", no_buffers, "Receives that ended with ENOBUFS, for want of a buffer."),
    RING("overflows_total", overflows, "Times the completion queue was full."),
    RING("spins_total", spins, "Busy polls that found work."),
    ENGINE("buffers_in_use", GAUGE, gauges.buffers_in_use, "Receive buffers that hold bytes."),
    ENGINE("buffers_heap_bytes", GAUGE, gauges.heap_bytes, "Bytes of slow receivers kept on the heap."),
    ENGINE("buffers_evacuations_total", COUNTER, gauges.evacuations, "Queues of slow receivers moved to the heap."),
    ENGINE("pipes_open", GAUGE, gauges.pipes_open, "Pipes for splicing."),
};
enum { TABLE_SIZE = sizeof table / sizeof table[0] };
static_assert(sizeof table / sizeof table[0] <= WORKER_METRICS_MAX, "every row has a place in worker_numbers");

static uint64_t metric_read(const struct worker_metric *metric, const struct engine *engine) {
    const void *base = metric->of_ring ? (const void *)ring_counters(engine->ring) : engine;
    return counter_read((const _Atomic uint64_t *)(const void *)((const char *)base + metric->offset));
}

void worker_numbers_add(struct worker_numbers *numbers, const struct worker *worker) {
    const struct engine *engine = &worker->engine;
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        numbers->values[i] += table[i].kind == COUNTER ? metric_read(&table[i], engine) : 0;
    }
    for (size_t reason = 0; reason < CLOSE_REASONS; reason++) {
        numbers->sessions_closed[reason] += counter_read(&engine->counters.sessions_closed[reason]);
    }
    numbers->access_lost += counter_read(&engine->counters.access_lost);
    turns_merge(&numbers->turns, &engine->turns);
}

void worker_numbers_look(struct worker_numbers *numbers, const struct worker *worker) {
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        if (table[i].kind == GAUGE) {
            numbers->values[i] = metric_read(&table[i], &worker->engine);
        }
    }
}

static void write_closed(const struct worker_numbers *workers, size_t count, struct exposition *exposition) {
    exposition_family(exposition, "moonring_sessions_closed_total", "counter", "Sessions that were closed, by reason.");
    for (size_t worker = 0; worker < count; worker++) {
        for (unsigned reason = 0; reason < CLOSE_REASONS; reason++) {
            exposition_sample(exposition, "");
            exposition_label_number(exposition, "worker", worker);
            exposition_label(exposition, "reason", close_reason_name(reason));
            exposition_integer(exposition, workers[worker].sessions_closed[reason]);
        }
    }
}

static void write_times_of(const struct turn_times *times, size_t worker, struct exposition *exposition) {
    uint64_t count = 0;
    for (size_t i = 0; i <= TURNS_BOUNDS; i++) {
        count += counter_read(&times->counts[i]);
        exposition_sample(exposition, "_bucket");
        exposition_label_number(exposition, "worker", worker);
        exposition_label(exposition, "le", turns_bound_text(i));
        exposition_integer(exposition, count);
    }
    exposition_sample(exposition, "_sum");
    exposition_label_number(exposition, "worker", worker);
    exposition_seconds(exposition, counter_read(&times->sum_us));
    exposition_sample(exposition, "_count");
    exposition_label_number(exposition, "worker", worker);
    exposition_integer(exposition, count);
}

static void write_longest_of(const struct turn_times *times, size_t worker, struct exposition *exposition) {
    exposition_sample(exposition, "");
    exposition_label_number(exposition, "worker", worker);
    exposition_seconds(exposition, counter_read(&times->longest_us));
}

static void write_turns(const struct worker_numbers *workers, size_t count, struct exposition *exposition) {
    exposition_family(exposition, "moonring_turn_seconds", "histogram",
                      "Turns of the loop, by how long they took from one wait to the next.");
    for (size_t worker = 0; worker < count; worker++) {
        write_times_of(&workers[worker].turns.took, worker, exposition);
    }
    exposition_family(exposition, "moonring_turn_longest_seconds", "gauge", "The longest turn since the start.");
    for (size_t worker = 0; worker < count; worker++) {
        write_longest_of(&workers[worker].turns.took, worker, exposition);
    }
    exposition_family(exposition, "moonring_turn_work_seconds", "histogram",
                      "The same turns without the time for which other threads had the processor.");
    for (size_t worker = 0; worker < count; worker++) {
        write_times_of(&workers[worker].turns.worked, worker, exposition);
    }
    exposition_family(exposition, "moonring_turn_work_longest_seconds", "gauge",
                      "The longest turn since the start, without that time.");
    for (size_t worker = 0; worker < count; worker++) {
        write_longest_of(&workers[worker].turns.worked, worker, exposition);
    }
}

void worker_metrics_write(const struct worker_numbers *workers, size_t count, struct exposition *exposition) {
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        exposition_family(exposition, table[i].name, table[i].kind == COUNTER ? "counter" : "gauge", table[i].help);
        for (size_t worker = 0; worker < count; worker++) {
            exposition_sample(exposition, "");
            exposition_label_number(exposition, "worker", worker);
            exposition_integer(exposition, workers[worker].values[i]);
        }
    }
    write_closed(workers, count, exposition);
    write_turns(workers, count, exposition);
}
