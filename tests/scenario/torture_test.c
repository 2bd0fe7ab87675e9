/* A thousand reloads under load, and nobody may notice: `make torture` runs this in full, `make test` for twenty
 * seconds. Clients come and go all the time, others stay and talk from the first reload to the last, both through a
 * listener without filters and through one with a filter. The environment variable TORTURE_RELOADS tells how many. */
#include "tests/support/crowd.h"
#include "tests/support/deadline.h"
#include "tests/support/mirror.h"
#include "tests/support/moonring.h"
#include "tests/support/residents.h"
#include "tests/support/torture.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    CLIENTS = 32,    /* of each listener, and */
    RESIDENTS = 250, /* too */
    SIZE_MAX_BYTES = 32 * 1024,
    WARM_UP = 40, /* reloads until memory is looked at for the first time */
    EVERY_MS = 50,
};

/* What a reload finds changed, one after the other. */
enum turn {
    NOTHING,
    TIMEOUT,
    SERVER_ADDED,
    SERVER_REMOVED,
    LISTENER_ADDED,
    BROKEN_YAML,
    LISTENER_REMOVED,
    SCRIPT,
    BROKEN_LUA,
    WORKER_ADDED,
    ADDRESS_IN_USE,
    WORKER_REMOVED,
    ACCESS_LOG,
    BACKLOG,
    TURNS
};

struct torture {
    struct moonring moonring;
    struct mirror mirrors[2];
    struct peer_listener taken; /* an address that is in use */
    char plain[ADDRESS_TEXT_MAX];
    char filtered[ADDRESS_TEXT_MAX];
    char extra[ADDRESS_TEXT_MAX];
    struct crowd crowds[2];
    struct residents residents[2];
    /* The configuration as it is now: */
    unsigned idle_s;
    unsigned workers;
    unsigned backlog;
    unsigned access_log;
    unsigned script;
    bool has_second_server;
    bool has_extra;
    size_t reloads;
    size_t refused;
    uint64_t memory_kib; /* the sum of what was there after each reload, since it was set to 0 */
};

/* --- the configuration ------------------------------------------------------------------------------------------- */

static void script_write(const struct torture *torture, const char *last_line) {
    temporary_write(&torture->moonring.folder, "pass.lua",
                    "local version = %u\n"
                    "return { from_client = function(_, buf) buf:pass(version > 0 and #buf) end }\n"
                    "%s",
                    torture->script, last_line);
}

static const char *configuration(const struct torture *torture, const char *last_lines) {
    static char text[4096];
    char extra[512] = "";
    char second[256] = "";
    if (torture->has_extra) {
        snprintf(extra, sizeof(extra), "  extra: {bind: '%s', upstream: mirrors}\n", torture->extra);
    }
    if (torture->has_second_server) {
        snprintf(second, sizeof(second), ", '%s'", torture->mirrors[1].address);
    }
    snprintf(text, sizeof(text),
             "listeners:\n"
             "  plain: {bind: '%s', upstream: mirrors, timeouts: {idle: %us}, tcp: {backlog: %u}}\n"
             "  filtered: {bind: '%s', upstream: mirrors, filters: [pass.lua]}\n"
             "%s"
             "upstreams:\n"
             "  mirrors: {servers: ['%s'%s]}\n"
             "process: {workers: %u}\n"
             "log: {access: {target: 'file:%s/access.%u.log'}}\n"
             "%s",
             torture->plain, torture->idle_s, torture->backlog, torture->filtered, extra, torture->mirrors[0].address,
             second, torture->workers, torture->moonring.folder.path, torture->access_log, last_lines);
    return text;
}

/* --- one reload after the other ---------------------------------------------------------------------------------- */

/* Each attempt is answered by one line. */
static const char *reload(struct torture *torture, const char *text) {
    struct process *process = &torture->moonring.process;
    temporary_write(&torture->moonring.folder, "moonring.yaml", "%s", text);
    process_signal(process, SIGHUP);
    torture->reloads++;
    return process_wait_line(process, &process->errors, " ms");
}

static void reload_well(struct torture *torture) {
    const char *line = reload(torture, configuration(torture, ""));
    cr_assert(strstr(line, "reload") != NULL && strstr(line, "refused") == NULL, "%s",
              process_last_words(&torture->moonring.process));
}

/* What is wrong is told with its place before the line that says that nothing was changed. */
static void expect_refused(struct torture *torture, const char *text, const char *place) {
    struct process_stream *errors = &torture->moonring.process.errors;
    size_t begin = errors->next;
    const char *line = reload(torture, text);
    cr_assert(strstr(line, "reload refused") != NULL, "%s", line);
    torture->refused++;
    cr_assert(strstr(process_text(errors) + begin, place) != NULL, "no %s in:\n%s", place,
              process_text(errors) + begin);
}

static void refuse_script(struct torture *torture) {
    script_write(torture, "this is no Lua\n");
    expect_refused(torture, configuration(torture, ""), "pass.lua:3:");
    script_write(torture, "");
}

static void refuse_address(struct torture *torture) {
    char more[256];
    torture->has_extra = false;
    snprintf(more, sizeof(more), "  taken: {bind: '%s', upstream: mirrors}\n", torture->taken.address);
    char text[4096];
    snprintf(text, sizeof(text), "%s", configuration(torture, ""));
    char *upstreams = strstr(text, "upstreams:");
    char rest[4096];
    snprintf(rest, sizeof(rest), "%s", upstreams);
    snprintf(upstreams, sizeof(text) - (size_t)(upstreams - text), "%s%s", more, rest);
    expect_refused(torture, text, "moonring.yaml:4:");
}

static void turn_run(struct torture *torture, enum turn turn) {
    switch (turn) {
    case NOTHING:
        break;
    case TIMEOUT:
        torture->idle_s = torture->idle_s == 600 ? 700 : 600;
        break;
    case SERVER_ADDED:
    case SERVER_REMOVED:
        torture->has_second_server = turn == SERVER_ADDED;
        break;
    case LISTENER_ADDED:
    case LISTENER_REMOVED:
        torture->has_extra = turn == LISTENER_ADDED;
        break;
    case BROKEN_YAML:
        expect_refused(torture, configuration(torture, "upstraems: {}\n"), "upstraems");
        return;
    case SCRIPT:
        torture->script++;
        script_write(torture, "");
        break;
    case BROKEN_LUA:
        refuse_script(torture);
        return;
    case WORKER_ADDED:
    case WORKER_REMOVED:
        torture->workers = turn == WORKER_ADDED ? 3 : 2;
        break;
    case ADDRESS_IN_USE:
        refuse_address(torture);
        return;
    case ACCESS_LOG:
        torture->access_log = 1 - torture->access_log;
        break;
    case BACKLOG:
        torture->backlog = torture->backlog == 4096 ? 1024 : 4096;
        break;
    case TURNS:
        break;
    }
    reload_well(torture);
}

/* Who can connect to the listener that comes and goes while it is there is served to the end. */
static void try_extra(const struct torture *torture) {
    struct peer client;
    if (torture->has_extra) {
        peer_connect(&client, torture->extra);
        peer_send(&client, "hello");
        peer_expect(&client, "hello");
        peer_end(&client);
        peer_expect_end(&client);
        peer_close(&client);
    }
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

struct sample {
    size_t descriptors;
    size_t threads;
};

static void free_address(char *address) {
    snprintf(address, ADDRESS_TEXT_MAX, "127.0.0.1:%u", peer_free_port());
}

static void torture_start(struct torture *torture) {
    *torture = (struct torture){.idle_s = 600, .workers = 2, .backlog = 4096, .script = 1};
    mirror_start(&torture->mirrors[0], "127.0.0.1:0");
    mirror_start(&torture->mirrors[1], "127.0.0.1:0");
    peer_listen(&torture->taken, "127.0.0.1:0");
    free_address(torture->plain);
    free_address(torture->filtered);
    free_address(torture->extra);
    struct moonring *moonring = &torture->moonring;
    temporary_create(&moonring->folder);
    script_write(torture, "");
    temporary_write(&moonring->folder, "moonring.yaml", "%s", configuration(torture, ""));
    char path[TEMPORARY_PATH_MAX];
    temporary_path(&moonring->folder, "moonring.yaml", path);
    process_start(&moonring->process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(moonring);
}

static void load_start(struct torture *torture) {
    const char *const addresses[] = {torture->plain, torture->filtered};
    for (size_t index = 0; index < 2; index++) {
        residents_start(&torture->residents[index], addresses[index], RESIDENTS, 200);
        crowd_start(&torture->crowds[index], addresses[index], CLIENTS, SIZE_MAX_BYTES, 10);
    }
}

static struct sample sample_take(const struct torture *torture) {
    const struct process *process = &torture->moonring.process;
    return (struct sample){.descriptors = process_descriptors_count(process),
                           .threads = process_threads_count(process)};
}

static void reloads_run(struct torture *torture, size_t count) {
    for (size_t index = 0; index < count; index++) {
        uint64_t next_ms = deadline_now_ms() + EVERY_MS;
        turn_run(torture, (enum turn)(index % TURNS));
        try_extra(torture);
        deadline_pause(deadline_left_ms(next_ms));
        torture->memory_kib += process_memory_kib(&torture->moonring.process);
    }
}

/* Sessions on their way and the garbage of VMs make one look worth little: the mean of many tells. */
static uint64_t reloads_run_and_weigh(struct torture *torture, size_t count) {
    torture->memory_kib = 0;
    reloads_run(torture, count);
    return torture->memory_kib / count;
}

static void load_print(const struct torture *torture, const struct footprint *before, const struct footprint *after) {
    const struct torture_row row = {.name = "moonring",
                                    .reloads = torture->reloads,
                                    .crowds = torture->crowds,
                                    .residents = torture->residents,
                                    .listeners = 2,
                                    .before = *before,
                                    .after = *after};
    torture_print(&row);
}

static void load_stop(struct torture *torture) {
    for (size_t index = 0; index < 2; index++) {
        crowd_stop(&torture->crowds[index]);
        residents_stop(&torture->residents[index]);
        cr_expect(crowd_mishaps(&torture->crowds[index]) == 0);
        cr_expect(atomic_load(&torture->residents[index].lost) == 0);
    }
}

static void expect_as_at_the_start(struct torture *torture, const struct sample *start) {
    struct moonring *moonring = &torture->moonring;
    torture->has_extra = false;
    torture->has_second_server = false;
    torture->workers = 2;
    reload_well(torture);
    moonring_wait_counter_is(moonring, "moonring_sessions_active", 0);
    moonring_wait_counter_is(moonring, "moonring_buffers_in_use", 0);
    moonring_wait_counter_is(moonring, "moonring_generations", 1);
    cr_expect(moonring_counter(moonring, "moonring_reloads_total{result=\"refused\"}") == (double)torture->refused);
    struct sample end = sample_take(torture);
    size_t pipes = 0;
    for (uint64_t until_ms = deadline_now_ms() + DEADLINE_MS; deadline_now_ms() < until_ms; deadline_pause(50)) {
        pipes = (size_t)moonring_counter(moonring, "moonring_pipes_open");
        end = sample_take(torture);
        if (end.descriptors - 2 * pipes <= start->descriptors && end.threads <= start->threads) {
            break;
        }
    }
    cr_expect(end.descriptors - 2 * pipes <= start->descriptors, "%zu descriptors, %zu at the start", end.descriptors,
              start->descriptors);
    cr_expect(end.threads <= start->threads, "%zu threads, %zu at the start", end.threads, start->threads);
}

static size_t reloads_wanted(void) {
    const char *text = getenv("TORTURE_RELOADS");
    return text == NULL ? 12 * TURNS : strtoull(text, NULL, 10);
}

/* The access log's queues fill up slowly: 1 MiB for each worker and target. */
Test(torture, of_reloads_under_load_is_noticed_by_nobody_and_leaves_nothing_behind, .timeout = 600) {
    enum { QUEUES_KIB = 2 * 1024 };
    struct torture torture;
    size_t count = reloads_wanted();
    torture_start(&torture);
    reloads_run(&torture, TURNS); /* a third worker has been there: its sockets stay */
    struct sample start = sample_take(&torture);
    load_start(&torture);
    reloads_run(&torture, WARM_UP);
    struct footprint before = footprint_take(&torture.moonring.process);
    uint64_t first_kib = reloads_run_and_weigh(&torture, count / 4);
    reloads_run(&torture, count / 2);
    uint64_t last_kib = reloads_run_and_weigh(&torture, count / 4);
    struct footprint after = footprint_take(&torture.moonring.process);
    load_stop(&torture);
    load_print(&torture, &before, &after);
    fprintf(stderr, "torture: %zu reloads, %zu of them refused; memory %lu KiB in the first quarter, %lu in the last\n",
            torture.reloads, torture.refused, first_kib, last_kib);
    cr_expect(last_kib < first_kib + first_kib / 10 + QUEUES_KIB);
    expect_as_at_the_start(&torture, &start);
    moonring_stop(&torture.moonring);
}
