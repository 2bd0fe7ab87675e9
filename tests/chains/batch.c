#include "tests/chains/batch.h"

#include "base/check.h"
#include "lua/filters.h"
#include "tests/chains/model.h"
#include "tests/chains/talk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PARAMETERS = 5, NUMBER_SIZE = 16, SHOWN = 24 };

/* --- drawing ------------------------------------------------------------------------------------------------------ */

static void world_draw(struct world_options *world, uint64_t seed, struct random *random) {
    bool is_rough = random_chance(random, 700);
    *world = (struct world_options){.seed = seed,
                                    .features = {.recv_bundle = random_chance(random, 700),
                                                 .recv_limit = random_chance(random, 700),
                                                 .send_vectored = random_chance(random, 700)},
                                    .window_min = 64,
                                    .window_max = 64 + (uint32_t)random_scaled(random, 32 * 1024)};
    if (is_rough) {
        world->latency_us_max = (uint32_t)random_below(random, 300);
        world->delay_us_max = (uint32_t)random_below(random, 300);
        world->delay_chance = (uint32_t)random_below(random, 200);
        world->short_chance = (uint32_t)random_below(random, 400);
        world->refuse_chance = (uint32_t)random_below(random, 200);
        world->no_buffers_chance = (uint32_t)random_below(random, 100);
        world->end_chance = (uint32_t)random_below(random, 300);
    }
}

void batch_draw(struct batch *batch, uint64_t seed, uint32_t rounds, const char *again) {
    struct random random;
    random_init(&random, seed);
    *batch = (struct batch){.rounds = calloc(rounds, sizeof(batch->rounds[0])), .count = rounds};
    check(batch->rounds != NULL);
    setup_draw(&batch->setup, &random);
    world_draw(&batch->world, seed, &random);
    batch->world.again = again;
    for (uint32_t index = 0; index < rounds; index++) {
        round_draw(&batch->rounds[index], &batch->setup, &random);
    }
}

void batch_finish(struct batch *batch) {
    for (uint32_t index = 0; index < batch->count; index++) {
        round_finish(&batch->rounds[index]);
    }
    free(batch->rounds);
}

/* --- the filters -------------------------------------------------------------------------------------------------- */

struct theatre {
    const struct batch *batch;
    const char *actor;
    struct watch *watch;
    char plans[64]; /* the path of a file */
    char numbers[CHAIN_FILTERS_MAX][3][NUMBER_SIZE];
    char hooks[CHAIN_FILTERS_MAX][64];
    struct config_value parameters[CHAIN_FILTERS_MAX][PARAMETERS];
    struct config_filter filter_configs[CHAIN_FILTERS_MAX];
    struct config_listener listener;
    struct config config;
    struct filters *filters;
    struct arena arena;
};

static void theatre_write_plans(struct theatre *theatre) {
    struct bytes text;
    bytes_init(&text);
    for (uint32_t index = 0; index < theatre->batch->count; index++) {
        for (uint32_t filter = 0; filter < theatre->batch->setup.count; filter++) {
            for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
                plan_write(&theatre->batch->rounds[index].plans[filter][direction], &text);
                bytes_append_char(&text, '\n');
            }
        }
    }
    strcpy(theatre->plans, "/tmp/chains.XXXXXX");
    int fd = mkstemp(theatre->plans);
    check(fd >= 0);
    check(write(fd, text.data, text.size) == (ssize_t)text.size);
    close(fd);
    bytes_finish(&text);
}

static const char *name_hooks(char *text, size_t size, uint32_t hooks) {
    text[0] = 0;
    for (int hook = 0; hook < HOOKS; hook++) {
        size_t used = strlen(text);
        if ((hooks & 1u << hook) != 0) {
            snprintf(text + used, size - used, "%s ", hook_name((enum hook)hook));
        }
    }
    return text;
}

static void theatre_configure_filter(struct theatre *theatre, uint32_t index) {
    static const char *const names[] = {"one", "two", "three"};
    const struct setup *setup = &theatre->batch->setup;
    const struct role *role = &setup->roles[index];
    const uint32_t values[] = {index, setup->count, role->hold_max};
    const char *texts[PARAMETERS] = {theatre->plans};
    static const char *const keys[PARAMETERS] = {"plans", "position", "filters", "hold_max", "hooks"};
    for (size_t number = 0; number < 3; number++) {
        char *text = theatre->numbers[index][number];
        snprintf(text, NUMBER_SIZE, "%u", values[number]);
        texts[1 + number] = text;
    }
    texts[4] = name_hooks(theatre->hooks[index], sizeof(theatre->hooks[index]), role->hooks);
    for (size_t parameter = 0; parameter < PARAMETERS; parameter++) {
        theatre->parameters[index][parameter] =
            (struct config_value){.kind = CONFIG_VALUE_TEXT, .key = keys[parameter], .text = texts[parameter]};
    }
    theatre->filter_configs[index] = (struct config_filter){
        .path = theatre->actor,
        .name = names[index],
        .params = {.kind = CONFIG_VALUE_MAP, .items = theatre->parameters[index], .items_count = PARAMETERS},
        .on_error = role->bypasses ? ON_ERROR_BYPASS : ON_ERROR_CLOSE,
        .strict = role->strict,
        .hold_max = role->hold_max,
        .hold_timeout_ms = 10000,
        .jit = setup->jit};
}

static void theatre_load(struct theatre *theatre) {
    const struct filters_options options = {.worker = 0};
    struct config_report report;
    for (uint32_t index = 0; index < theatre->batch->setup.count; index++) {
        theatre_configure_filter(theatre, index);
    }
    theatre->listener = (struct config_listener){
        .name = "chain", .filters = theatre->filter_configs, .filters_count = theatre->batch->setup.count};
    theatre->config = (struct config){.folder = "/",
                                      .listeners = &theatre->listener,
                                      .listeners_count = 1,
                                      .lua = {.memory = (size_t)64 << 20, .budget_ms = 10000}};
    config_report_init(&report);
    theatre->filters = filters_load(&theatre->config, &options, theatre->watch, &report);
    if (theatre->filters == NULL) {
        fputs(report.text.data, stderr);
        exit(2);
    }
    config_report_finish(&report);
}

static void theatre_open(struct theatre *theatre, const struct batch *batch, const char *actor, struct watch *watch) {
    *theatre = (struct theatre){.batch = batch, .actor = actor, .watch = watch};
    theatre_write_plans(theatre);
    arena_open(&theatre->arena, &batch->world);
    theatre_load(theatre);
    arena_begin(&theatre->arena, filters_lists(theatre->filters), false);
    filters_start(theatre->filters, &theatre->arena.worker.engine, watch);
    arena_listen(&theatre->arena);
}

static void theatre_close(struct theatre *theatre) {
    arena_stop(&theatre->arena);
    filters_stop(theatre->filters);
    filters_destroy(theatre->filters, theatre->watch);
    arena_close(&theatre->arena);
    unlink(theatre->plans);
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

static bool reasons_fit(const struct expectation *expected, int reason) {
    if (expected->is_failed) {
        return reason == CLOSE_FILTER_ERROR;
    }
    if (expected->is_rejected) {
        return reason == CLOSE_REJECTED;
    }
    return reason == CLOSE_CLIENT_FIN || reason == CLOSE_SERVER_FIN;
}

static size_t common_size(const struct bytes *a, const struct bytes *b) {
    size_t size = 0;
    while (size < a->size && size < b->size && a->data[size] == b->data[size]) {
        size++;
    }
    return size;
}

static void tell_bytes(struct bytes *report, const char *what, const struct bytes *bytes, size_t from) {
    size_t size = bytes->size - from < SHOWN ? bytes->size - from : SHOWN;
    bytes_printf(report, "    %s: %zu bytes; from %zu on: ", what, bytes->size, from);
    bytes_append_escaped(report, bytes->data + from, size);
    bytes_append_char(report, '\n');
}

/* An error may cost what is on its way, but nothing else may come. */
static bool judge_direction(const struct expectation *expected, const struct talk *talk, enum direction direction,
                            struct bytes *report) {
    const struct speaker *listener = &talk->speakers[direction_opposite(direction)];
    const struct bytes *heard = &listener->heard;
    const struct bytes *wanted = &expected->heard[direction];
    size_t common = common_size(heard, wanted);
    bool is_whole = heard->size == wanted->size && (listener->error == 0 || direction == FROM_SERVER);
    if (expected->is_void || (common == heard->size && (is_whole || expected->is_failed))) {
        return true;
    }
    bytes_printf(report, "  what %s hears is wrong%s\n", direction == FROM_CLIENT ? "the server" : "the client",
                 listener->error != 0 ? ", and it hears an error" : "");
    tell_bytes(report, "expected", wanted, common);
    tell_bytes(report, "heard", heard, common);
    return false;
}

static void tell_round(struct bytes *report, const struct setup *setup, const struct round *round,
                       const struct talk *talk) {
    char hooks[64];
    for (uint32_t index = 0; index < setup->count; index++) {
        const struct role *role = &setup->roles[index];
        bytes_printf(report, "  filter %u: %shold_max %u%s%s\n", index + 1,
                     name_hooks(hooks, sizeof(hooks), role->hooks), role->hold_max, role->strict ? ", strict" : "",
                     role->bypasses ? ", bypass" : "");
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            bytes_printf(report, "    %s: ", hook_name(direction_hook(direction)));
            plan_write(&round->plans[index][direction], report);
            bytes_append_char(report, '\n');
        }
    }
    for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        const struct speaker *speaker = &talk->speakers[direction];
        bytes_printf(report, "  %s says %zu bytes, in pieces of%s\n    ",
                     direction == FROM_CLIENT ? "the client" : "the server", speaker->says->size, speaker->pieces.data);
        bytes_append_escaped(report, speaker->says->data, speaker->says->size < 256 ? speaker->says->size : 256);
        bytes_append_char(report, '\n');
    }
}

static int reason_since(const struct engine_counters *counters, const uint64_t before[CLOSE_REASONS]) {
    int reason = 0;
    while (reason < CLOSE_REASONS && counters->sessions_closed[reason] == before[reason]) {
        reason++;
    }
    return reason;
}

static bool theatre_play(struct theatre *theatre, const struct round *round, struct totals *totals,
                         struct bytes *report) {
    const struct engine_counters *counters = &theatre->arena.worker.engine.counters;
    const struct setup *setup = &theatre->batch->setup;
    uint64_t before[CLOSE_REASONS];
    struct expectation expected;
    struct talk talk;
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        before[reason] = counters->sessions_closed[reason];
    }
    expectation_make(&expected, setup, round);
    bool is_right = talk_run(&talk, &theatre->arena, round);
    int reason = reason_since(counters, before);
    if (!is_right) {
        bytes_printf(report, "  it does not end\n");
    }
    if (is_right && !expected.is_void && !reasons_fit(&expected, reason)) {
        bytes_printf(report, "  it ends with %s\n",
                     reason < CLOSE_REASONS ? close_reason_name((enum close_reason)reason) : "nothing");
        is_right = false;
    }
    is_right = judge_direction(&expected, &talk, FROM_CLIENT, report) && is_right;
    is_right = judge_direction(&expected, &talk, FROM_SERVER, report) && is_right;
    if (!is_right) {
        tell_round(report, setup, round, &talk);
    }
    totals->rounds++;
    totals->bytes += talk.speakers[FROM_CLIENT].heard.size + talk.speakers[FROM_SERVER].heard.size;
    totals->rejected += expected.is_rejected;
    totals->failed += expected.is_failed;
    totals->voided += expected.is_void;
    talk_finish(&talk);
    expectation_finish(&expected);
    return is_right;
}

uint32_t batch_run(const struct batch *batch, const char *actor, struct watch *watch, struct totals *totals,
                   struct bytes *report) {
    static struct theatre theatre;
    uint32_t index = 0;
    theatre_open(&theatre, batch, actor, watch);
    while (index < batch->count && theatre_play(&theatre, &batch->rounds[index], totals, report)) {
        index++;
    }
    totals->hooks += theatre.arena.worker.engine.counters.hooks;
    theatre_close(&theatre);
    return index;
}
