#include "program/filter_metrics.h"

#include "lua/usage.h"

struct filter_metric {
    const char *name;
    const char *type;
    uint64_t (*read)(const struct usage_facts *facts);
    void (*write)(struct exposition *page, uint64_t number);
    const char *help;
};

static uint64_t read_errors(const struct usage_facts *facts) {
    return facts->errors;
}

static uint64_t read_over(const struct usage_facts *facts) {
    return facts->over;
}

static uint64_t read_kills(const struct usage_facts *facts) {
    return facts->kills;
}

static uint64_t read_holds(const struct usage_facts *facts) {
    return facts->holds;
}

static uint64_t read_busy_us(const struct usage_facts *facts) {
    return facts->busy_ns / 1000;
}

static uint64_t read_memory(const struct usage_facts *facts) {
    return facts->memory;
}

static uint64_t read_workers_off(const struct usage_facts *facts) {
    return facts->workers_off;
}

static const struct filter_metric table[] = {
    {"moonring_filter_errors_total", "counter", read_errors, exposition_integer, "Errors that nobody caught."},
    {"moonring_filter_stopped_total", "counter", read_over, exposition_integer,
     "Hooks and tasks ended over the CPU budget or the memory limit."},
    {"moonring_filter_kills_total", "counter", read_kills, exposition_integer, "VMs killed while the filter ran."},
    {"moonring_filter_holds_total", "counter", read_holds, exposition_integer,
     "Sessions in which the filter held too much or too long."},
    {"moonring_filter_busy_seconds_total", "counter", read_busy_us, exposition_seconds,
     "Time in the filter's code; of hooks for bytes estimated from some of them."},
    {"moonring_filter_memory_bytes", "gauge", read_memory, exposition_integer,
     "Memory of the VMs that the filter is in, which it may share with others."},
    {"moonring_filter_workers_off", "gauge", read_workers_off, exposition_integer,
     "Workers on which the filter was switched off."},
};

struct visit {
    struct exposition *page;
    const struct filter_metric *metric;
};

static void begin_sample(struct exposition *page, const struct usage_facts *facts) {
    exposition_sample(page, "");
    exposition_label(page, "listener", facts->listener);
    exposition_label(page, "filter", facts->filter);
    exposition_label(page, "script", facts->script);
}

static void write_entries(void *argument, const struct usage_facts *facts) {
    struct exposition *page = argument;
    for (int hook = 0; hook <= HOOKS; hook++) {
        if (facts->entered[hook] > 0) {
            begin_sample(page, facts);
            exposition_label(page, "hook", hook_name((enum hook)hook));
            exposition_integer(page, facts->entered[hook]);
        }
    }
}

static void write_sample(void *argument, const struct usage_facts *facts) {
    const struct visit *visit = argument;
    begin_sample(visit->page, facts);
    visit->metric->write(visit->page, visit->metric->read(facts));
}

struct failures_visit {
    struct exposition *page;
    const struct usage_facts *facts;
};

static void write_failure(void *argument, const char *place, enum failure failure, uint64_t count) {
    const struct failures_visit *visit = argument;
    begin_sample(visit->page, visit->facts);
    exposition_label(visit->page, "place", place);
    exposition_label(visit->page, "kind", failure_name(failure));
    exposition_integer(visit->page, count);
}

static void write_failures(void *argument, const struct usage_facts *facts) {
    struct failures_visit visit = {.page = argument, .facts = facts};
    failures_visit(facts->failures, write_failure, &visit);
}

void filter_metrics_write(struct exposition *page) {
    exposition_family(page, "moonring_filter_entries_total", "counter",
                      "Times that a hook or a task of a filter began, or went on after a wait.");
    usages_visit(write_entries, page);
    for (size_t index = 0; index < sizeof table / sizeof table[0]; index++) {
        struct visit visit = {.page = page, .metric = &table[index]};
        exposition_family(page, visit.metric->name, visit.metric->type, visit.metric->help);
        usages_visit(write_sample, &visit);
    }
    exposition_family(page, "moonring_filter_failures_total", "counter",
                      "What went wrong in filters, by the line of the script as the error log names it: errors, stops "
                      "over budget or memory, kills, holds. Beyond 32 lines of a filter: other.");
    usages_visit(write_failures, page);
}
