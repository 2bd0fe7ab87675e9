#include "tests/bench/reload.h"

#include "tests/bench/clock.h"
#include "tests/bench/contestant_run.h"
#include "tests/bench/interrupt.h"
#include "tests/bench/load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    LISTENERS = 500,
    UPSTREAMS = 2000,
    SERVERS = 10,
    SESSIONS = 64,
    MESSAGE_SIZE = 64,
    PERIODS_A_ROUND = 10,
    BUCKETS_MAX = 24,
    PACED = 12800, /* requests a second */
};
static const uint64_t WARM_UP_NS = 500000000;
static const uint64_t PERIOD_NS = 500000000; /* from one reload to the next */
static const uint64_t LOOK_NS = 20000000;
static const uint64_t RELOAD_TIMEOUT_NS = 30000000000;

/* What a reload finds changed. */
enum change { CHANGE_NONE, CHANGE_TIMEOUTS, CHANGE_LISTENERS, CHANGE_FILTER };

struct reload_case {
    const char *title;
    uint64_t requests_per_s; /* 0: as many as can be */
    enum change change;
};

static const struct reload_case cases[] = {
    {"paced, no reload", PACED, CHANGE_NONE},
    {"paced, a timeout of each listener", PACED, CHANGE_TIMEOUTS},
    {"paced, 499 listeners come or go", PACED, CHANGE_LISTENERS},
    {"paced, the filter", PACED, CHANGE_FILTER},
    {"closed loop, no reload", 0, CHANGE_NONE},
    {"closed loop, a timeout of each listener", 0, CHANGE_TIMEOUTS},
};

/* The worker's turns since its start, by how long they took, or by how long it has worked in them. */
struct turns {
    size_t bounds_count;
    char bounds[BUCKETS_MAX][16]; /* as moonring writes them, in seconds */
    uint64_t counts[BUCKETS_MAX]; /* up to that bound */
};

struct reload_run {
    const struct reload_case *about;
    const struct options *options;
    struct contestant_run program;
    struct load *load;
    uint16_t port;
    uint16_t server_port;
    size_t periods;       /* with a reload each, or without */
    FILE *output;         /* ours; the program's, read as it comes */
    size_t applied;       /* reloads */
    double sum_ms;        /* that they took */
    struct turns took[2]; /* before, and after */
    struct turns worked[2];
    double seconds;
    struct load_counts counts; /* of those seconds */
};

/* ---- configurations */

static void write_listener(struct bytes *text, size_t index, const struct reload_run *run, unsigned idle_s) {
    /* One port, many addresses: all of them are this machine's. */
    bytes_printf(text, "  l%zu: {bind: '127.%zu.%zu.1:%u', upstream: u%zu, timeouts: {idle: %us}%s}\n", index,
                 index / 250, index % 250, run->port, index, idle_s, index == 1 ? ", filters: [slow.lua]" : "");
}

static void write_upstream(struct bytes *text, size_t index, const struct reload_run *run) {
    bytes_printf(text, "  u%zu: {servers: ['127.0.0.1:%u'", index, run->server_port);
    for (size_t server = 1; server < SERVERS; server++) {
        bytes_printf(text, ", {address: '127.%zu.%zu.%zu:7', backup: true}", 1 + index / 250, index % 250, server);
    }
    bytes_append_text(text, "]}\n");
}

/* state: 0 or 1, the two that reloads go between. */
static void write_configuration(struct bytes *text, const struct reload_run *run, int state) {
    enum change change = run->about->change;
    size_t listeners = change == CHANGE_LISTENERS && state == 1 ? 2 : LISTENERS;
    bytes_printf(text, "process: {workers: 1}\nlog: {access: off}\nadmin: {bind: 'unix:%s/admin.sock'}\nlisteners:\n",
                 run->program.folder);
    write_listener(text, 0, run, 600);
    for (size_t i = 1; i < listeners; i++) {
        write_listener(text, i, run, change == CHANGE_TIMEOUTS && state == 1 ? 601 : 600);
    }
    bytes_append_text(text, "upstreams:\n");
    for (size_t i = 0; i < UPSTREAMS; i++) {
        write_upstream(text, i, run);
    }
}

/* Some 0.1 s until it is loaded, most of it garbage then. */
static void write_filter(struct bytes *text, int state) {
    bytes_printf(text,
                 "local version, known = %d, {}\n"
                 "for i = 1, 260000 do known[i] = {i, tostring(i)} end\n"
                 "local count = #known\n"
                 "return { from_client = function(_, buf) buf:pass(count > version and #buf) end }\n",
                 state);
}

static bool file_write(const struct reload_run *run, const char *name, const char *text, struct error *error) {
    char path[CONTESTANT_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/%s", run->program.folder, name);
    FILE *file = fopen(path, "we");
    bool written = file != NULL && fputs(text, file) >= 0;
    written = file != NULL && fclose(file) == 0 && written;
    return written || error_set(error, "%s: %s", path, error_name(errno));
}

/* Puts one of the two states into place, at the cost of a rename. */
static bool file_put(const struct reload_run *run, const char *name, int state, struct error *error) {
    char from[CONTESTANT_PATH_SIZE + 32];
    char between[CONTESTANT_PATH_SIZE + 32];
    char to[CONTESTANT_PATH_SIZE + 32];
    snprintf(from, sizeof from, "%s/%s.%d", run->program.folder, name, state);
    snprintf(between, sizeof between, "%s/%s.next", run->program.folder, name);
    snprintf(to, sizeof to, "%s/%s", run->program.folder, name);
    return (link(from, between) == 0 && rename(between, to) == 0) || error_set(error, "%s: %s", to, error_name(errno));
}

static bool write_state(const struct reload_run *run, int state, struct error *error) {
    struct bytes text;
    char name[16];
    bytes_init(&text);
    write_configuration(&text, run, state);
    snprintf(name, sizeof name, "config.%d", state);
    bool written = file_write(run, name, text.data, error);
    bytes_clear(&text);
    write_filter(&text, run->about->change == CHANGE_FILTER ? state : 0);
    snprintf(name, sizeof name, "slow.lua.%d", state);
    written = written && file_write(run, name, text.data, error);
    bytes_finish(&text);
    return written;
}

static bool put_state(const struct reload_run *run, int state, struct error *error) {
    return file_put(run, "config", state, error) && file_put(run, "slow.lua", state, error);
}

/* ---- what moonring tells */

static bool ask(const struct reload_run *run, const char *order, struct bytes *answer, struct error *error) {
    char address[CONTESTANT_PATH_SIZE + 32];
    snprintf(address, sizeof address, "unix:%s/admin.sock", run->program.folder);
    const char *const arguments[] = {run->options->moonring, "ctl", "--socket", address, order, NULL};
    return process_capture(arguments, answer) || error_set(error, "moonring ctl %s: %.160s", order, answer->data);
}

static bool take_turns(const char *metrics, const char *family, struct turns *turns, struct error *error) {
    char begin[80];
    snprintf(begin, sizeof begin, "%s_bucket{worker=\"0\",le=\"", family);
    *turns = (struct turns){.bounds_count = 0};
    for (const char *at = metrics; (at = strstr(at, begin)) != NULL && turns->bounds_count < BUCKETS_MAX;) {
        at += strlen(begin);
        size_t size = strcspn(at, "\"");
        snprintf(turns->bounds[turns->bounds_count], sizeof turns->bounds[0], "%.*s", (int)size, at);
        turns->counts[turns->bounds_count++] = strtoull(at + size + strlen("\"} "), NULL, 10);
    }
    return turns->bounds_count > 0 || error_set(error, "moonring tells nothing of its turns");
}

static bool read_turns(struct reload_run *run, size_t when, struct error *error) {
    struct bytes answer;
    bytes_init(&answer);
    bool read = ask(run, "metrics", &answer, error) &&
                take_turns(answer.data, "moonring_turn_seconds", &run->took[when], error) &&
                take_turns(answer.data, "moonring_turn_work_seconds", &run->worked[when], error);
    bytes_finish(&answer);
    return read;
}

/* Reads on in what the program has printed: reloads that were applied, and how long they took. */
static void read_output(struct reload_run *run) {
    static const char words[] = " reloaded: generation ";
    char line[4096];
    while (run->output != NULL && fgets(line, sizeof line, run->output) != NULL) {
        const char *at = strstr(line, words);
        const char *comma = at == NULL ? NULL : strchr(at, ',');
        if (comma != NULL) {
            run->applied++;
            run->sum_ms += strtod(comma + 1, NULL);
        }
    }
    if (run->output != NULL) {
        clearerr(run->output); /* of the end, which is only the end for now */
    }
}

/* ---- a run */

/* Runs the traffic until the reload is done, and then until it is time for the next one. */
static bool run_reload(struct reload_run *run, int state, struct error *error) {
    size_t wanted = run->applied + 1;
    uint64_t begin_ns = clock_now_ns();
    if (!put_state(run, state, error)) {
        return false;
    }
    kill(run->program.process.pid, SIGHUP);
    while (run->applied < wanted) {
        if (clock_now_ns() - begin_ns > RELOAD_TIMEOUT_NS) {
            return error_set(error, "a reload was not applied within %d s", (int)(RELOAD_TIMEOUT_NS / 1000000000));
        }
        if (!load_run(run->load, LOOK_NS, error)) {
            return false;
        }
        read_output(run);
    }
    uint64_t took_ns = clock_now_ns() - begin_ns;
    return took_ns >= PERIOD_NS || load_run(run->load, PERIOD_NS - took_ns, error);
}

static bool run_traffic(struct reload_run *run, struct error *error) {
    bool ran = true;
    for (size_t i = 0; ran && i < run->periods; i++) {
        ran = run->about->change == CHANGE_NONE ? load_run(run->load, PERIOD_NS, error)
                                                : run_reload(run, (int)(i + 1) % 2, error);
    }
    return ran;
}

/* From the small configuration of the start to the large one. */
static bool run_begin(struct reload_run *run, struct error *error) {
    char path[CONTESTANT_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/output", run->program.folder);
    run->output = fopen(path, "re");
    return write_state(run, 0, error) && write_state(run, 1, error) &&
           load_open(run->load, run->port, SESSIONS, error) && run_reload(run, 0, error) &&
           load_run(run->load, WARM_UP_NS, error);
}

static bool run_measure(struct reload_run *run, struct error *error) {
    if (!run_begin(run, error) || !read_turns(run, 0, error) || !load_run(run->load, LOOK_NS, error)) {
        return false;
    }
    load_counts_clear(run->load);
    run->applied = 0;
    run->sum_ms = 0;
    uint64_t begin_ns = clock_now_ns();
    if (!run_traffic(run, error)) {
        return false;
    }
    run->seconds = (double)(clock_now_ns() - begin_ns) / 1e9;
    /* Before moonring is asked: meanwhile the generator stands still, and whoever waits then waits for us. */
    run->counts = *load_counts(run->load);
    return read_turns(run, 1, error) && load_finish(run->load, error);
}

static void print_run(const struct reload_run *run);

static bool run_with_load(struct reload_run *run, const struct contestant_program *program, struct error *error) {
    char config[256];
    snprintf(config, sizeof config,
             "process: {workers: 1}\nlog: {access: off}\nadmin: {bind: 'unix:@FOLDER@/admin.sock'}\n"
             "listeners: {l0: {bind: '@LISTEN@', upstream: '@SERVER@'}}\n");
    const struct contestant contestant = {
        .name = "moonring", .program = "moonring", .config = config, .arguments = {"run", "-c", "@CONFIG@"}};
    const struct contestant_ports ports = {.listen = run->port, .server = run->server_port};
    static const struct workload workload = {.name =
                                                 "reload"}; /* its listeners and servers stand in its configuration */
    if (!contestant_start(&run->program, &contestant, &workload, program, &ports, error)) {
        return false;
    }
    bool measured = run_measure(run, error);
    if (measured) {
        print_run(run);
    } else if (!interrupt_pending()) {
        contestant_explain(&run->program, error);
    }
    if (run->output != NULL) {
        fclose(run->output);
    }
    return measured;
}

/* Fewer where all is to be short. */
static size_t periods_of(const struct options *options) {
    size_t periods = options->rounds * PERIODS_A_ROUND;
    return options->seconds < 1 ? (size_t)((double)periods * options->seconds) + 1 : periods;
}

static bool run_case(const struct reload_case *about, const struct options *options,
                     const struct contestant_program *program, struct ports *ports, struct error *error) {
    struct reload_run run = {.about = about, .options = options, .periods = periods_of(options)};
    const struct load_plan plan = {.kind = LOAD_EXCHANGE,
                                   .sessions = SESSIONS,
                                   .message_size = MESSAGE_SIZE,
                                   .requests_per_s = about->requests_per_s};
    run.server_port = ports_take(ports, error);
    run.port = ports_take(ports, error);
    run.load = run.server_port == 0 || run.port == 0 ? NULL : load_create(&plan, run.server_port, error);
    if (run.load == NULL) {
        return false;
    }
    bool measured = run_with_load(&run, program, error);
    load_destroy(run.load); /* first: a proxy that drains would wait for its sessions */
    contestant_stop(&run.program);
    return measured;
}

/* ---- the table */

static double latency_us(const struct load_counts *counts, double share) {
    return (double)histogram_quantile_ns(&counts->latency, share) / 1e3;
}

static uint64_t turns_up_to(const struct turns turns[2], const char *bound) {
    for (size_t i = 0; i < turns[1].bounds_count; i++) {
        if (strcmp(turns[1].bounds[i], bound) == 0) {
            return turns[1].counts[i] - turns[0].counts[i];
        }
    }
    return 0;
}

static void print_longer(const struct turns turns[2]) {
    static const char *const bounds[] = {"0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005"};
    uint64_t all = turns_up_to(turns, "+Inf");
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        printf(" %*llu", i == 0 ? 8 : 7, (unsigned long long)(all - turns_up_to(turns, bounds[i])));
    }
}

static void print_head(void) {
    printf("reloads with %d listeners, %d upstreams of %d servers, and a filter whose top level takes 0.1 s "
           "(reload)\n"
           "64 B request/response, %d connections; everything of moonring on CPU 1. A turn is what a worker does "
           "between two waits.\n"
           "%-42s %9s | %8s %7s %7s %7s %7s %7s | %8s %7s %7s %7s %7s %7s | %10s %7s %7s %7s %7s %9s %8s\n",
           LISTENERS, UPSTREAMS, SERVERS, SESSIONS, "", "turns", "work>0.1", "0.2 ms", "0.5 ms", "1 ms", "2 ms", "5 ms",
           "time>0.1", "0.2 ms", "0.5 ms", "1 ms", "2 ms", "5 ms", "requests/s", "p50 us", "p99", "p99.9", "max",
           "reloads", "ms each");
}

static void print_run(const struct reload_run *run) {
    const struct load_counts *counts = &run->counts;
    printf("%-42s %9llu |", run->about->title, (unsigned long long)turns_up_to(run->took, "+Inf"));
    print_longer(run->worked);
    printf(" |");
    print_longer(run->took);
    printf(" | %10.0f %7.0f %7.0f %7.0f %7.0f", (double)counts->units / run->seconds, latency_us(counts, 0.5),
           latency_us(counts, 0.99), latency_us(counts, 0.999),
           latency_us(counts, 1 - 0.5 / (double)counts->latency.count));
    if (run->applied > 0) {
        printf(" %9zu %8.0f", run->applied, run->sum_ms / (double)run->applied);
    }
    printf("\n");
    fflush(stdout);
}

bool reload_bench(const struct options *options, struct ports *ports, struct error *error) {
    static const struct contestant moonring = {
        .name = "moonring", .program = "moonring", .version_argument = "version"};
    struct contestant_program program;
    if (!contestant_find(&moonring, options->moonring, options->source, &program, error)) {
        return false;
    }
    print_head();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0] && !interrupt_pending(); i++) {
        if (!run_case(&cases[i], options, &program, ports, error)) {
            return error_prefix(error, "reload: ");
        }
    }
    printf("\n");
    return true;
}
