/* Everything at once for a long time, and nothing may grow: `make soak` runs this for half an hour, `make test` for ten
 * seconds. The environment variable SOAK_SECONDS tells how long. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/random.h"
#include "tests/support/traffic.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SESSIONS_MAX = 136,
    LONG_SESSIONS = 12,  /* of these, and */
    CROWD = 40,          /* that are slow together now and then */
    OPENED_TOGETHER = 4, /* of the others; then those that are open get a turn */
    CROWD_BEFORE_SAMPLE_MS = 700,
    WAYS = 4,            /* from both families of sockets to both */
    TWO_DAYS = 172800,   /* the longest soak */
    WARM_UP_MAX = 60,    /* seconds */
    SAMPLE_SECONDS = 10, /* between two samples; less in a short soak, which has ten */
    KIB = 1024,
    MIB = 1024 * KIB,
};

/* Bounds on what moonring has. Those of one moment follow from its own limits; sessions that are over for their peers
 * may be open in moonring for some milliseconds more. */
enum {
    BOUND_SESSIONS = SESSIONS_MAX + 32,
    BOUND_BUFFERS = 2 * 128,                            /* both workers' rings */
    BOUND_PIPES = 2 * 64,                               /* both workers' pools */
    BOUND_HEAP = BOUND_SESSIONS * 2 * (128 + 16) * KIB, /* two full flows a session, and a buffer more for each */
    /* After the warm-up, besides what the allocator keeps of the largest heap that there was: slabs of a larger crowd
     * than before, receive buffers and the access log's queues where they had not been used yet. In half an hour less
     * than 15 bytes for each session. */
    BOUND_GROWTH_KIB = 8 * KIB,
};

struct soak {
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listeners[2];
    struct peer_listener refusing;
    char ways[WAYS][ADDRESS_TEXT_MAX];
    char second_try[ADDRESS_TEXT_MAX];
    char nobody[ADDRESS_TEXT_MAX];
    struct traffic traffic;
    struct random random;
    uint64_t start_ms;
    uint64_t sample_ms; /* from one to the next */
    uint64_t next_sample_ms;
    bool crowd_came; /* since the last sample */
    uint64_t aborted;
    size_t heap_max; /* of all samples */
};

/* --- what is looked at ------------------------------------------------------------------------------------------- */

struct sample {
    size_t sessions;
    size_t buffers;
    size_t heap;
    size_t pipes;
    size_t descriptors; /* those of pipes not counted */
    size_t threads;
    size_t memory_kib;
};

static struct sample sample_take(struct soak *soak) {
    const struct process *process = &soak->moonring.process;
    const char *report = moonring_report(&soak->moonring);
    struct sample sample = {.sessions = (size_t)report_counter(report, "moonring_sessions_active"),
                            .buffers = (size_t)report_counter(report, "moonring_buffers_in_use"),
                            .heap = (size_t)report_counter(report, "moonring_buffers_heap_bytes"),
                            .pipes = (size_t)report_counter(report, "moonring_pipes_open"),
                            .descriptors = process_descriptors_count(process),
                            .threads = process_threads_count(process),
                            .memory_kib = process_memory_kib(process)};
    sample.descriptors -= 2 * sample.pipes;
    cr_assert(report_counter(report, "moonring_ring_overflows_total") == 0);
    cr_assert(report_counter(report, "moonring_accepts_exhausted_total") == 0);
    cr_assert(report_counter(report, "moonring_access_log_lost_lines_total") == 0);
    return sample;
}

static void sample_print(const struct soak *soak, const struct sample *sample, const char *when) {
    fprintf(stderr,
            "soak %5lu s %-8s %8lu sessions, %6lu MiB moved; now %3zu sessions, %3zu descriptors, %zu threads, "
            "%6zu KiB, %3zu buffers, %5zu KiB heap, %3zu pipes\n",
            (deadline_now_ms() - soak->start_ms) / 1000, when, soak->traffic.opened + soak->aborted,
            soak->traffic.bytes / MIB, sample->sessions, sample->descriptors, sample->threads, sample->memory_kib,
            sample->buffers, sample->heap / KIB, sample->pipes);
}

static void expect_within_bounds(const struct sample *sample, const struct sample *start) {
    cr_assert(sample->sessions <= BOUND_SESSIONS, "%zu sessions", sample->sessions);
    cr_assert(sample->buffers <= BOUND_BUFFERS, "%zu buffers", sample->buffers);
    cr_assert(sample->heap <= BOUND_HEAP, "%zu bytes of heap", sample->heap);
    cr_assert(sample->pipes <= BOUND_PIPES, "%zu pipes", sample->pipes);
    cr_assert(sample->descriptors <= start->descriptors + 2 * BOUND_SESSIONS, "%zu descriptors, %zu at the start",
              sample->descriptors, start->descriptors);
    cr_assert(sample->threads == start->threads, "%zu threads, %zu at the start", sample->threads, start->threads);
}

static void expect_nothing_left(const struct sample *sample, const struct sample *start) {
    cr_assert(sample->sessions == 0 && sample->buffers == 0 && sample->heap == 0);
    cr_assert(sample->descriptors == start->descriptors, "%zu descriptors, %zu at the start", sample->descriptors,
              start->descriptors);
    expect_within_bounds(sample, start);
}

/* --- what happens ------------------------------------------------------------------------------------------------ */

/* Of most kinds of session many are open at any moment: the quick ones are drawn more often. */
enum kind { SHORT, HALF_CLOSE, CUT, SLOW_READER, BULK, SECOND_TRY, NOBODY, ABORT, KINDS };

static const uint32_t kind_percent[KINDS] = {[SHORT] = 40, [HALF_CLOSE] = 10, [CUT] = 17,   [SLOW_READER] = 3,
                                             [BULK] = 5,   [SECOND_TRY] = 10, [NOBODY] = 5, [ABORT] = 10};

static enum kind kind_draw(struct random *random) {
    uint32_t percent = random_between(random, 1, 100);
    enum kind kind = SHORT;
    while (percent > kind_percent[kind]) {
        percent -= kind_percent[kind];
        kind++;
    }
    return kind;
}

static struct script script_sending(uint64_t size) {
    return (struct script){
        .send_size = size, .receive_max = ENDLESS, .write_size = 64 * KIB, .read_size = 64 * KIB, .end = ENDS_WITH_FIN};
}

static void scripts_draw(struct random *random, enum kind kind, struct script *client, struct script *server) {
    *client = script_sending(random_size(random, 11));
    *server = script_sending(random_size(random, 15));
    switch (kind) {
    case HALF_CLOSE:
        server->delay_ms = random_between(random, 1, 200); /* the client has ended long before */
        break;
    case CUT:
        *client = script_sending(random_size(random, 20));
        *server = script_sending(random_size(random, 20));
        client->end = (enum script_end)random_between(random, ENDS_WITH_FIN, ENDS_WITH_RESET);
        server->end = (enum script_end)random_between(random, ENDS_WITH_FIN, ENDS_WITH_RESET);
        server->receive_max = random_size(random, 20);
        break;
    case SLOW_READER:
        server->send_size = random_between(random, MIB, 6 * MIB);
        server->write_size = random_chance(random, 50) ? 4 * KIB : 64 * KIB; /* queued, or spliced */
        client->read_pause_ms = 10;
        break;
    case BULK:
        server->send_size = random_between(random, 4 * MIB, 32 * MIB);
        break;
    case SHORT:
    case SECOND_TRY:
    case NOBODY:
    case ABORT:
    case KINDS:
        break;
    }
}

/* The client is gone before its server has come. */
static void session_abort(struct soak *soak, const char *address) {
    struct peer client;
    peer_connect(&client, address);
    peer_reset(&client);
    soak->aborted++;
}

static void session_begin(struct soak *soak) {
    struct script client, server;
    enum kind kind = kind_draw(&soak->random);
    const char *way = soak->ways[random_between(&soak->random, 0, WAYS - 1)];
    scripts_draw(&soak->random, kind, &client, &server);
    if (kind == ABORT) {
        session_abort(soak, way);
    } else if (kind == NOBODY) {
        traffic_open(&soak->traffic, soak->nobody, &client, NULL);
    } else {
        traffic_open(&soak->traffic, kind == SECOND_TRY ? soak->second_try : way, &client, &server);
    }
}

/* Both sides send for as long as it lasts. */
static void long_sessions_begin(struct soak *soak) {
    struct script script = script_sending(ENDLESS);
    script.write_size = 8 * KIB;
    script.write_pause_ms = 5;
    for (size_t index = 0; index < LONG_SESSIONS; index++) {
        traffic_open(&soak->traffic, soak->ways[index % WAYS], &script, &script);
    }
}

/* Nobody reads much, everybody sends much: there are not enough receive buffers for all of them, and moonring has to
 * move bytes to the heap. */
static void crowd_begin(struct soak *soak) {
    struct script script = script_sending(MIB);
    script.read_pause_ms = 100;
    for (size_t index = 0; index < CROWD; index++) {
        traffic_open(&soak->traffic, soak->ways[WAYS - 1], &script, &script);
    }
}

/* There is always room left for the next crowd. */
static void sessions_begin(struct soak *soak) {
    size_t most = soak->crowd_came ? SESSIONS_MAX : SESSIONS_MAX - CROWD;
    for (size_t index = 0; index < OPENED_TOGETHER && soak->traffic.active < most; index++) {
        session_begin(soak);
    }
    bool soon = deadline_now_ms() + CROWD_BEFORE_SAMPLE_MS >= soak->next_sample_ms;
    if (soon && !soak->crowd_came && soak->traffic.active <= SESSIONS_MAX - CROWD) {
        crowd_begin(soak);
        soak->crowd_came = true;
    }
}

static void look(struct soak *soak, const struct sample *start, const char *when) {
    struct sample sample = sample_take(soak);
    sample_print(soak, &sample, when);
    expect_within_bounds(&sample, start);
    soak->heap_max = sample.heap > soak->heap_max ? sample.heap : soak->heap_max;
    soak->crowd_came = false;
}

static void load_run(struct soak *soak, const struct sample *start, const char *when, uint64_t seconds) {
    uint64_t now_ms = deadline_now_ms();
    uint64_t end_ms = now_ms + seconds * 1000;
    soak->next_sample_ms = now_ms + soak->sample_ms;
    long_sessions_begin(soak);
    for (; now_ms < end_ms; now_ms = deadline_now_ms()) {
        sessions_begin(soak);
        traffic_turn(&soak->traffic, 10);
        if (now_ms >= soak->next_sample_ms) {
            look(soak, start, when);
            soak->next_sample_ms += soak->sample_ms;
        }
    }
}

/* Everybody ends, and moonring has nothing left. */
static struct sample load_end(struct soak *soak, const struct sample *start, const char *when) {
    traffic_come_to_an_end(&soak->traffic);
    traffic_run(&soak->traffic);
    uint64_t deadline_ms = deadline_after(DEADLINE_MS);
    while (moonring_counter(&soak->moonring, "moonring_sessions_active") > 0 && deadline_left_ms(deadline_ms) > 0) {
        traffic_turn(&soak->traffic, 10); /* servers whose clients left at once */
    }
    struct sample sample = sample_take(soak);
    sample_print(soak, &sample, when);
    expect_nothing_left(&sample, start);
    return sample;
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

/* Freed memory is not kept from being used again for long, where a sanitizer does that. */
static void limit_quarantine(void) {
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 0);
}

static void soak_start(struct soak *soak) {
    static const char *const names[WAYS] = {"tcp_tcp", "tcp_unix", "unix_tcp", "unix_unix"};
    char address[ADDRESS_TEXT_MAX];
    temporary_create(&soak->folder);
    snprintf(address, sizeof(address), "unix:%s/server.sock", soak->folder.path);
    peer_listen(&soak->listeners[0], "127.0.0.1:0");
    peer_listen(&soak->listeners[1], address);
    peer_refuse(&soak->refusing, "127.0.0.1:0");
    const char *tcp = soak->listeners[0].address;
    const char *local = soak->listeners[1].address;
    moonring_start_prepared(&soak->moonring, limit_quarantine,
                            "listeners:\n"
                            "  tcp_tcp: {bind: '127.0.0.1:0', upstream: '%s'}\n"
                            "  tcp_unix: {bind: '127.0.0.1:0', upstream: '%s'}\n"
                            "  unix_tcp: {bind: 'unix:%s/a.sock', upstream: '%s'}\n"
                            "  unix_unix: {bind: 'unix:%s/b.sock', upstream: '%s'}\n"
                            "  second_try: {bind: '127.0.0.1:0', upstream: half}\n"
                            "  nobody: {bind: '127.0.0.1:0', upstream: none}\n"
                            "upstreams:\n"
                            "  half: {balance: first, servers: ['%s', '%s'], retry: {attempts: 2}}\n"
                            "  none: {servers: ['%s'], retry: {attempts: 1}}\n"
                            "process: {workers: 2}\n"
                            "log: {access: {target: 'file:/dev/null'}}\n",
                            tcp, local, soak->folder.path, tcp, soak->folder.path, local, soak->refusing.address, tcp,
                            soak->refusing.address);
    for (size_t index = 0; index < WAYS; index++) {
        moonring_listener_address(&soak->moonring, names[index], 0, soak->ways[index]);
    }
    moonring_listener_address(&soak->moonring, "second_try", 0, soak->second_try);
    moonring_listener_address(&soak->moonring, "nobody", 0, soak->nobody);
    traffic_init(&soak->traffic, SESSIONS_MAX, soak->listeners, 2);
}

static uint64_t soak_seconds(void) {
    const char *text = getenv("SOAK_SECONDS");
    uint64_t seconds = text == NULL ? 10 : strtoull(text, NULL, 10);
    cr_assert(seconds >= 8 && seconds <= TWO_DAYS, "SOAK_SECONDS=%s: 8 to %d are allowed", text, TWO_DAYS);
    return seconds;
}

/* The warm-up fills pools, slabs and the allocator's own; from then on all must stay as it is. */
Test(soak, leaves_nothing_behind_and_needs_no_more_memory_than_at_first, .timeout = TWO_DAYS + 60) {
    uint64_t seconds = soak_seconds();
    uint64_t warm_up = seconds / 4 < WARM_UP_MAX ? seconds / 4 : WARM_UP_MAX;
    alarm((unsigned)(seconds + 60)); /* what hangs ends here, not at the timeout of the longest soak */
    struct soak soak = {.start_ms = deadline_now_ms(), .random = {.state = 1}};
    soak.sample_ms = seconds * 100 < SAMPLE_SECONDS * 1000 ? seconds * 100 : SAMPLE_SECONDS * 1000;
    soak_start(&soak);
    struct sample start = sample_take(&soak);
    sample_print(&soak, &start, "start");

    load_run(&soak, &start, "warm-up", warm_up);
    struct sample warm = load_end(&soak, &start, "warm");
    load_run(&soak, &start, "load", seconds - warm_up);
    struct sample end = load_end(&soak, &start, "end");

    fprintf(stderr, "soak: memory at rest %zu -> %zu KiB; the heap of slow readers had up to %zu KiB\n",
            warm.memory_kib, end.memory_kib, soak.heap_max / KIB);
    cr_assert(end.memory_kib <= warm.memory_kib + soak.heap_max / KIB + BOUND_GROWTH_KIB);
    traffic_finish(&soak.traffic);
    moonring_stop(&soak.moonring);
    cr_assert(process_count_lines(&soak.moonring.process.errors, "Z error ") == 0, "%s",
              process_last_words(&soak.moonring.process));
}
