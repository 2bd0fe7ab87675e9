/* What byte hooks written in Lua add to relaying a chunk: hook-bench [CHUNKS].
 *
 * The engine runs on the simulator's fake ring, in this process and on this thread, so that neither the kernel nor a
 * peer is measured: a session without a filter and one with it relay chunks in turns of a thousand. Exits 1 when a
 * filter is above its goal, or when its VM still takes memory once it is compiled. */
#include "base/check.h"
#include "lua/filters.h"
#include "lua/runtime.h"
#include "tests/simulate/hook_cost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK_SIZE = 64, WATCHDOG_TICK_MS = 10, CHUNKS_DEFAULT = 10 * 1000 * 1000 };

struct contestant {
    const char *what;
    const char *text; /* of the filter */
    double goal_ns;   /* that it may add to a chunk; 0: none */
};

static const struct contestant contestants[] = {
    {"an empty from_client", "return { from_client = function(conn, buf) end }", 150},
    {"ten checked byte reads",
     "local sum = 0\n"
     "return { from_client = function(conn, buf)\n"
     "  sum = buf:byte(1) + buf:byte(2) + buf:byte(3) + buf:byte(4) + buf:byte(5)\n"
     "    + buf:byte(6) + buf:byte(7) + buf:byte(8) + buf:byte(9) + buf:byte(10)\n"
     "end, closed = function() if sum == 0 then error('nothing was read') end end }",
     250},
    {"buf:pass()", "return { from_client = function(conn, buf) buf:pass() end }", 0},
    {"both hooks, empty", "return { from_client = function(conn, buf) end, from_server = function(conn, buf) end }", 0},
};
enum { CONTESTANTS = sizeof(contestants) / sizeof(contestants[0]) };

struct bench {
    const struct contestant *contestant;
    char path[64];
    struct config_filter filter;
    struct config_listener listener;
    struct config config;
    struct watch watch;
    struct filters *filters;
    const struct filter_list *list;
};

static void bench_write(struct bench *bench, const char *text) {
    strcpy(bench->path, "/tmp/hook-bench.XXXXXX");
    int fd = mkstemp(bench->path);
    check(fd >= 0);
    check(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static const struct filter_list *bench_load(void *argument) {
    struct bench *bench = argument;
    const struct filters_options options = {.worker = 0};
    struct config_report report;
    bench_write(bench, bench->contestant->text);
    bench->filter = (struct config_filter){.path = bench->path,
                                           .name = "bench",
                                           .params = {.kind = CONFIG_VALUE_MAP},
                                           .hold_max = 64 * 1024,
                                           .hold_timeout_ms = 10000,
                                           .jit = true};
    bench->listener = (struct config_listener){.name = "bench", .filters = &bench->filter, .filters_count = 1};
    bench->config = (struct config){.folder = "/",
                                    .listeners = &bench->listener,
                                    .listeners_count = 1,
                                    .lua = {.memory = (size_t)64 << 20, .budget_ms = 100}};
    config_report_init(&report);
    bench->filters = filters_load(&bench->config, &options, &bench->watch, &report);
    if (bench->filters == NULL) {
        fputs(report.text.data, stderr);
        exit(1);
    }
    config_report_finish(&report);
    bench->list = filters_lists(bench->filters);
    return bench->list;
}

static void bench_begin(struct engine *engine, void *argument) {
    struct bench *bench = argument;
    filters_start(bench->filters, engine, &bench->watch);
}

static void bench_end(void *argument) {
    struct bench *bench = argument;
    filters_stop(bench->filters);
    filters_destroy(bench->filters, &bench->watch);
    unlink(bench->path);
}

static uint64_t bench_count_growths(void *argument) {
    const struct bench *bench = argument;
    const struct lua_filter *filter = container_of(bench->list->filters[0], struct lua_filter, filter);
    return filter->runtime->script->heap.growths;
}

/* Whether it reaches its goals. */
static bool bench_run(struct bench *bench, const struct contestant *contestant, uint64_t chunks) {
    bench->contestant = contestant;
    const struct hook_cost_options options = {.chunks = chunks,
                                              .chunk_size = CHUNK_SIZE,
                                              .load = bench_load,
                                              .begin = bench_begin,
                                              .end = bench_end,
                                              .count = bench_count_growths,
                                              .argument = bench};
    struct hook_cost cost = hook_cost_measure(&options);
    double added_ns = cost.filtered_ns - cost.plain_ns;
    bool ran = cost.hooks >= chunks;
    bool reached = ran && cost.counted == 0 && (contestant->goal_ns == 0 || added_ns <= contestant->goal_ns);
    printf("%-24s %6.1f ns more than the %.1f of a chunk without a filter, %" PRIu64 " blocks of memory in %" PRIu64
           " hooks",
           contestant->what, added_ns, cost.plain_ns, cost.counted, cost.hooks);
    if (contestant->goal_ns > 0) {
        printf(" (goal: %.0f ns, no block)", contestant->goal_ns);
    }
    puts(reached ? "" : ": MISSED");
    fflush(stdout);
    return reached;
}

int main(int arguments_count, char **arguments) {
    uint64_t chunks = arguments_count > 1 ? strtoull(arguments[1], NULL, 10) : CHUNKS_DEFAULT;
    if (arguments_count > 2 || chunks == 0) {
        fputs("usage: hook-bench [CHUNKS]\n", stderr);
        return 2;
    }
    static struct bench bench;
    struct error error;
    struct watchdog *watchdog = watchdog_create(WATCHDOG_TICK_MS, NULL, &error);
    check(watchdog != NULL && watch_join(&bench.watch, watchdog, &error));
    bool reached = true;
    for (size_t index = 0; index < CONTESTANTS; index++) {
        reached = bench_run(&bench, &contestants[index], chunks) && reached;
    }
    watch_leave(&bench.watch);
    watchdog_destroy(watchdog);
    return reached ? 0 : 1;
}
