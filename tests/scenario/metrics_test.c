/* The page of metrics over HTTP: what promtool says of it, who may ask how, and that a reload moves it. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/peer.h"
#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stage {
    struct moonring moonring;
    struct peer_listener server;
    char address[ADDRESS_TEXT_MAX]; /* of the listener */
    char metrics[ADDRESS_TEXT_MAX];
    struct process curl;
};

static void address_take(char address[ADDRESS_TEXT_MAX]) {
    snprintf(address, ADDRESS_TEXT_MAX, "127.0.0.1:%u", peer_free_port());
}

#define WITH_METRICS "listeners: {web: {bind: '%s', upstream: '%s'}}\nmetrics: {bind: '%s'}\n%s"

static void stage_start(struct stage *stage, const char *rest) {
    peer_listen(&stage->server, "127.0.0.1:0");
    address_take(stage->address);
    address_take(stage->metrics);
    moonring_start(&stage->moonring, WITH_METRICS, stage->address, stage->server.address, stage->metrics, rest);
}

/* What curl shows of a path, with more of its arguments. Valid until the next call. */
static const char *ask(struct stage *stage, const char *more, const char *path) {
    char command[512];
    snprintf(command, sizeof(command), "curl -sS %s http://%s%s", more, stage->metrics, path);
    process_run(&stage->curl, ARGUMENTS("sh", "-c", command));
    return process_text(&stage->curl.output);
}

static void expect(struct stage *stage, const char *more, const char *path, const char *text) {
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    const char *answer = ask(stage, more, path);
    while (strstr(answer, text) == NULL && deadline_left_ms(deadline_ms) > 0) {
        answer = ask(stage, more, path); /* a page is shown again for a while */
    }
    cr_assert(strstr(answer, text) != NULL, "%s does not say \"%s\":\n%s", path, text, answer);
}

/* --- the text ---------------------------------------------------------------------------------------------------- */

Test(metrics, are_what_promtool_wants, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    char command[256];
    struct process process;
    stage_start(&stage, "upstreams:\n"
                        "  odd:\n"
                        "    servers:\n"
                        "      - {address: '127.0.0.1:9', name: \"qu\\\"ote back\\\\slash é\"}\n");
    pair_open(&pair, stage.address, &stage.server);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    moonring_wait_session(&stage.moonring);
    snprintf(command, sizeof(command), "curl -sS http://%s/metrics | promtool check metrics 2>&1", stage.metrics);
    process_run(&process, ARGUMENTS("sh", "-c", command));
    cr_assert(strlen(process_text(&process.output)) == 0, "promtool says:\n%s", process_text(&process.output));
    expect(&stage, "", "/metrics", "server=\"qu\\\"ote back\\\\slash é\"");
}

Test(metrics, are_the_same_from_everywhere, .timeout = 30) {
    struct stage stage;
    struct process ctl;
    char more[TEMPORARY_PATH_MAX + 64], socket[TEMPORARY_PATH_MAX + 8];
    struct temporary folder;
    temporary_create(&folder);
    snprintf(socket, sizeof(socket), "unix:%s/admin.sock", folder.path);
    snprintf(more, sizeof(more), "admin: {bind: '%s'}\n", socket);
    stage_start(&stage, more);
    process_run(&ctl, ARGUMENTS(moonring_program(), "ctl", "--socket", socket, "metrics"));
    const char *page = ask(&stage, "", "/metrics");
    char *copy = strdup(process_text(&ctl.output));
    size_t families = 0;
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            cr_assert(strstr(page, line) != NULL, "only ctl has: %s", line);
            families++;
        }
    }
    cr_assert(families > 30, "%zu families", families);
    cr_assert(strstr(moonring_report(&stage.moonring), "# TYPE moonring_ring_turns_total counter") != NULL);
    free(copy);
}

/* What a filter did stands there with its script, and in the log with its line. */
Test(metrics, tell_of_filters_and_what_became_of_them, .timeout = 60) {
    struct stage stage;
    struct peer client;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX], line[2 * TEMPORARY_PATH_MAX + 128];
    temporary_create(&folder);
    temporary_write(&folder, "wild.lua",
                    "return { from_client = function(conn, buf)\n"
                    "  if buf:starts('error') then error('no luck') end\n"
                    "  while buf:starts('kill') do end\nend }\n");
    peer_listen(&stage.server, "127.0.0.1:0");
    address_take(stage.address);
    address_take(stage.metrics);
    moonring_start(&stage.moonring,
                   "listeners: {web: {bind: '%s', upstream: '%s', filters: [{lua: '%s', name: wild}]}}\n"
                   "metrics: {bind: '%s'}\nprocess: {workers: 1}\nlua: {budget: 20ms}\n",
                   stage.address, stage.server.address, temporary_path(&folder, "wild.lua", path), stage.metrics);
    static const char *const words[] = {"error", "kill"};
    for (int index = 0; index < 2; index++) {
        peer_connect(&client, stage.address);
        peer_send(&client, words[index]);
        moonring_wait_session(&stage.moonring);
        peer_close(&client);
    }
    snprintf(line, sizeof(line), "moonring_filter_kills_total{listener=\"web\",filter=\"wild\",script=\"%s\"} 1\n",
             path);
    expect(&stage, "", "/metrics", line);
    snprintf(line, sizeof(line), "moonring_filter_errors_total{listener=\"web\",filter=\"wild\",script=\"%s\"} 1\n",
             path);
    expect(&stage, "", "/metrics", line);
    snprintf(line, sizeof(line), "script=\"%s\",place=\"%s:2\",kind=\"error\"} 1\n", path, path);
    expect(&stage, "", "/metrics", line);
    snprintf(line, sizeof(line), "script=\"%s\",place=\"%s:1\",kind=\"kill\"} 1\n", path, path);
    expect(&stage, "", "/metrics", line);
    snprintf(line, sizeof(line), "script=\"%s\",hook=\"from_client\"} 2\n", path);
    expect(&stage, "", "/metrics", line);
    snprintf(line, sizeof(line), "%s:1: somewhere in the hook from here to line 4: the VM was stopped", path);
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, line);
    temporary_remove(&folder);
}

/* --- what they tell ---------------------------------------------------------------------------------------------- */

#define TWO_UPSTREAMS                                                                                                  \
    "listeners: {web: {bind: '%s', upstream: app}}\n"                                                                  \
    "upstreams: {app: {servers: ['%s']}}\n"                                                                            \
    "metrics: {bind: '%s'}\nprocess: {workers: %d}\n"

Test(metrics, add_sessions_up_over_reloads_and_workers, .timeout = 60) {
    static const int workers[] = {1, 3, 2, 1};
    struct stage stage;
    struct pair pair;
    char text[128];
    stage_start(&stage, "");
    for (size_t round = 0; round < 4; round++) {
        moonring_reload(&stage.moonring, TWO_UPSTREAMS, stage.address, stage.server.address, stage.metrics,
                        workers[round]);
        pair_open(&pair, stage.address, &stage.server);
        peer_send_pattern(&pair.client, 1000);
        peer_expect_pattern(&pair.server, 1000);
        pair_close(&pair);
        moonring_wait_session(&stage.moonring);
        snprintf(text, sizeof(text), "moonring_listener_session_duration_seconds_count{listener=\"web\"} %zu\n",
                 round + 1);
        expect(&stage, "", "/metrics", text);
        snprintf(text, sizeof(text), "moonring_upstream_connect_duration_seconds_count{upstream=\"app\"} %zu\n",
                 round + 1);
        expect(&stage, "", "/metrics", text);
        snprintf(text, sizeof(text), "moonring_upstream_received_bytes_total{upstream=\"app\",from=\"client\"} %zu\n",
                 1000 * (round + 1));
        expect(&stage, "", "/metrics", text);
    }
    const char *page = ask(&stage, "", "/metrics");
    cr_assert(report_counter(page, "moonring_listener_sessions_closed_total") == 4);
    cr_assert(report_counter(page, "moonring_server_up") == 1);
    cr_assert(report_counter(page, "process_open_fds") > 10);
}

/* Whatever the page costs, no worker does anything for it. */
Test(metrics, of_ten_thousand_servers_cost_no_worker_a_turn, .timeout = 60) {
    enum { SERVERS = 10000, SERVER_SIZE = 32 };
    struct stage stage;
    char *servers = malloc(SERVERS * SERVER_SIZE);
    size_t size = 0;
    cr_assert(servers != NULL);
    for (unsigned index = 0; index < SERVERS; index++) {
        size += (size_t)snprintf(servers + size, SERVER_SIZE, "'127.1.%u.%u:9',", index / 250, index % 250 + 1);
    }
    address_take(stage.metrics);
    moonring_start(&stage.moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: many}}\n"
                   "upstreams: {many: {servers: [%s]}}\nmetrics: {bind: '%s'}\n",
                   servers, stage.metrics);
    free(servers);
    double turns = report_counter(ask(&stage, "", "/metrics"), "moonring_ring_turns_total");
    for (size_t scrape = 0; scrape < 10; scrape++) {
        cr_assert(report_counter(ask(&stage, "", "/metrics"), "moonring_server_up") == SERVERS);
    }
    double turns_after = report_counter(ask(&stage, "", "/metrics"), "moonring_ring_turns_total");
    cr_assert(turns == turns_after, "%g turns, then %g", turns, turns_after);
}

/* --- the dashboard ----------------------------------------------------------------------------------------------- */

static char *read_file(const char *path) {
    enum { SIZE = 256 * 1024 };
    char *text = calloc(1, SIZE);
    FILE *file = fopen(path, "re");
    cr_assert(text != NULL && file != NULL, "%s cannot be read", path);
    cr_assert(fread(text, 1, SIZE - 1, file) > 0 && feof(file), "%s is empty or too large", path);
    fclose(file);
    return text;
}

/* As it is, or as a sample of a histogram. */
static bool has_family(const char *page, const char *name, size_t size) {
    static const char *const suffixes[] = {"", "_bucket", "_sum", "_count"};
    char line[192];
    for (size_t index = 0; index < sizeof(suffixes) / sizeof(suffixes[0]); index++) {
        size_t suffix = strlen(suffixes[index]);
        bool ends = size > suffix && strncmp(name + size - suffix, suffixes[index], suffix) == 0;
        snprintf(line, sizeof(line), "\n# TYPE %.*s ", (int)(size - suffix), name);
        if (ends && strstr(page, line) != NULL) {
            return true;
        }
    }
    return false;
}

static size_t check_names(const char *text, const char *beginning, const char *page) {
    size_t count = 0;
    for (const char *at = strstr(text, beginning); at != NULL; at = strstr(at + 1, beginning)) {
        size_t size = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
        cr_assert(has_family(page, at, size), "nothing is called %.*s", (int)size, at);
        count++;
    }
    return count;
}

Test(metrics, are_there_for_every_name_in_the_dashboard, .timeout = 30) {
    struct stage stage;
    struct process process;
    stage_start(&stage, "");
    process_run(&process, ARGUMENTS("python3", "-m", "json.tool", "examples/grafana-dashboard.json"));
    char *dashboard = read_file("examples/grafana-dashboard.json");
    const char *page = ask(&stage, "", "/metrics");
    cr_assert(check_names(dashboard, "moonring_", page) > 30);
    cr_assert(check_names(dashboard, "process_", page) >= 4);
    free(dashboard);
}

/* --- who asks ---------------------------------------------------------------------------------------------------- */

Test(metrics, answer_get_and_head_and_nothing_else, .timeout = 30) {
    struct stage stage;
    stage_start(&stage, "");
    expect(&stage, "-i", "/metrics", "HTTP/1.1 200 ");
    expect(&stage, "-i", "/metrics", "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    expect(&stage, "-i", "/metrics?name=x", "# TYPE moonring_sessions_active gauge");
    expect(&stage, "-I", "/metrics", "HTTP/1.1 200 ");
    cr_assert(strstr(process_text(&stage.curl.output), "# TYPE") == NULL, "HEAD has no body");
    expect(&stage, "-i", "/", "/metrics");
    expect(&stage, "-i", "/healthz", "\r\n\r\nok\n");
    expect(&stage, "-i", "/other", "HTTP/1.1 404 ");
    expect(&stage, "-i -X DELETE", "/metrics", "HTTP/1.1 405 ");
    expect(&stage, "-i --data 1234", "/metrics", "Allow: GET, HEAD\r\n");
    expect(&stage, "-i -H \"X: $(printf 'x%.0s' $(seq 9000))\"", "/metrics", "HTTP/1.1 431 ");
}

Test(metrics, say_that_it_stops, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage, "");
    pair_open(&pair, stage.address, &stage.server);
    process_signal(&stage.moonring.process, SIGTERM);
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "stopping");
    expect(&stage, "-i", "/healthz", "HTTP/1.1 503 ");
    expect(&stage, "", "/metrics", "moonring_sessions_active");
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    cr_assert(process_wait(&stage.moonring.process) == 0);
}

/* Many times as many as there are places: if who asks had to wait until their two seconds are over, it were 30. */
Test(metrics, are_for_who_asks_and_not_for_who_only_connects, .timeout = 60) {
    enum { IDLE = 240 };
    struct stage stage;
    struct peer idle[IDLE];
    stage_start(&stage, "");
    for (size_t index = 0; index < IDLE; index++) {
        peer_connect(&idle[index], stage.metrics);
    }
    expect(&stage, "--max-time 15", "/healthz", "ok");
    peer_expect_closed(&idle[0]);
    for (size_t index = 0; index < IDLE; index++) {
        peer_close(&idle[index]);
    }
    moonring_stop(&stage.moonring);
}

/* More of them than there are places: who comes later takes the place of who came first, and everybody else never
 * notices. */
Test(metrics, outlast_who_asks_slowly, .timeout = 60) {
    enum { SLOW = 40 };
    struct stage stage;
    struct peer slow[SLOW];
    struct pair pair;
    stage_start(&stage, "");
    size_t descriptors = process_descriptors_count(&stage.moonring.process);
    for (size_t index = 0; index < SLOW; index++) {
        peer_connect(&slow[index], stage.metrics);
        peer_send(&slow[index], "GET /metr");
    }
    pair_open(&pair, stage.address, &stage.server);
    pair_exchange(&pair, 1000000);
    cr_assert(process_descriptors_count(&stage.moonring.process) <= descriptors + 16 + 4);
    struct pollfd first = {.fd = slow[0].fd, .events = POLLIN};
    cr_assert(poll(&first, 1, 2 * DEADLINE_MS) == 1, "it was given more than two seconds");
    peer_expect_closed(&slow[0]);
    for (size_t index = 0; index < SLOW; index++) {
        peer_close(&slow[index]);
    }
    expect(&stage, "", "/healthz", "ok");
    pair_close(&pair);
    moonring_stop(&stage.moonring);
}

/* --- reloads ----------------------------------------------------------------------------------------------------- */

static void reload(struct stage *stage, const char *rest) {
    moonring_reload(&stage->moonring, WITH_METRICS, stage->address, stage->server.address, stage->metrics, rest);
}

/* The last client is closed after curl has ended. */
static void expect_counts(const struct stage *stage, size_t threads, size_t descriptors) {
    const struct process *process = &stage->moonring.process;
    uint64_t deadline_ms = deadline_after(DEADLINE_MS / 2);
    while (process_descriptors_count(process) != descriptors && deadline_left_ms(deadline_ms) > 0) {
    }
    cr_assert(process_threads_count(process) == threads);
    cr_assert(process_descriptors_count(process) == descriptors);
}

Test(metrics, move_with_a_reload_and_go_on_counting, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    char first[ADDRESS_TEXT_MAX];
    struct peer client;
    stage_start(&stage, "");
    size_t threads = process_threads_count(&stage.moonring.process);
    size_t descriptors = process_descriptors_count(&stage.moonring.process);
    pair_open(&pair, stage.address, &stage.server);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
    moonring_wait_session(&stage.moonring);
    strcpy(first, stage.metrics);
    address_take(stage.metrics);
    reload(&stage, "");
    expect(&stage, "", "/metrics", "moonring_listener_accepted_total{listener=\"web\"} 1\n");
    expect(&stage, "", "/metrics", "moonring_reloads_total{result=\"applied\"} 1\n");
    cr_assert(peer_try_connect(&client, first) != 0, "the old address still answers");
    expect_counts(&stage, threads, descriptors);
    moonring_reload(&stage.moonring, "listeners: {web: {bind: '%s', upstream: '%s'}}\n", stage.address,
                    stage.server.address);
    cr_assert(peer_try_connect(&client, stage.metrics) != 0, "nobody was told to listen");
    cr_assert(process_threads_count(&stage.moonring.process) == threads - 1);
    moonring_stop(&stage.moonring);
}

Test(metrics, stay_where_they_are_when_an_address_is_taken, .timeout = 30) {
    struct stage stage;
    stage_start(&stage, "");
    moonring_expect_reload_refused(&stage.moonring, "metrics: cannot bind", WITH_METRICS, stage.address,
                                   stage.server.address, stage.server.address, "");
    expect(&stage, "", "/metrics", "moonring_reloads_total{result=\"refused\"} 1\n");
    reload(&stage, "process: {workers: 1}\n");
    expect(&stage, "", "/metrics", "moonring_reloads_total{result=\"applied\"} 1\n");
}

/* It is our own socket that is in the way, and no other program. */
Test(metrics, say_so_when_they_are_in_the_way_themselves, .timeout = 30) {
    struct stage stage;
    char wide[ADDRESS_TEXT_MAX];
    stage_start(&stage, "");
    snprintf(wide, sizeof(wide), "0.0.0.0%s", strrchr(stage.metrics, ':'));
    moonring_expect_reload_refused(&stage.moonring, "this moonring's own page of metrics is on that port", WITH_METRICS,
                                   stage.address, stage.server.address, wide, "");
    moonring_expect_reload_refused(&stage.moonring, "a listener of this moonring is there", WITH_METRICS, "127.0.0.1:0",
                                   stage.server.address, stage.address, "");
    moonring_expect_reload_refused(&stage.moonring, "this moonring's own page of metrics is there", WITH_METRICS,
                                   stage.metrics, stage.server.address, "127.0.0.1:0", "");
    moonring_expect_reload_refused(&stage.moonring, "another program", WITH_METRICS, stage.address,
                                   stage.server.address, stage.server.address, "");
    expect(&stage, "", "/healthz", "ok");
    moonring_stop(&stage.moonring);
}

/* In two reloads, as the refusal says. */
Test(metrics, widen_their_address_in_two_reloads, .timeout = 30) {
    struct stage stage;
    char wide[ADDRESS_TEXT_MAX];
    stage_start(&stage, "");
    snprintf(wide, sizeof(wide), "0.0.0.0%s", strrchr(stage.metrics, ':'));
    moonring_reload(&stage.moonring, "listeners: {web: {bind: '%s', upstream: '%s'}}\n", stage.address,
                    stage.server.address);
    moonring_reload(&stage.moonring, WITH_METRICS, stage.address, stage.server.address, wide, "");
    expect(&stage, "", "/healthz", "ok");
    moonring_stop(&stage.moonring);
}

Test(metrics, have_an_address_that_nobody_else_has, .timeout = 30) {
    struct stage stage;
    peer_listen(&stage.server, "127.0.0.1:0");
    moonring_launch(&stage.moonring, NULL, WITH_METRICS, "127.0.0.1:0", "127.0.0.1:9", stage.server.address, "");
    moonring_expect_refusal(&stage.moonring, 1, "metrics: cannot bind");
}
