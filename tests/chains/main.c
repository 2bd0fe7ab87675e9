/* Whether chains of filters are right under any chunking: chain-rounds [--seed N] [--rounds N].
 *
 * Chains of one to three real filters do random things to random bytes that come in random pieces, in rounds; a model
 * that knows nothing of pieces says what must come out (tests/chains/model.c). The first round that goes wrong is made
 * as small as it can be, and told. */
#include "base/check.h"
#include "base/log.h"
#include "tests/chains/batch.h"
#include "tests/simulate/simulation.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WATCHDOG_TICK_MS = 100, BATCH_ROUNDS = 200, ROUNDS_DEFAULT = 1000 * 1000 };

struct run {
    char actor[PATH_MAX];
    struct watch watch;
    struct totals totals;
};

/* --- making it smaller -------------------------------------------------------------------------------------------- */

static bool still_fails(struct run *run, const struct batch *batch, const struct round *round, struct bytes *report) {
    struct totals unused = {.rounds = 0};
    struct round copy = *round;
    struct batch alone = {.setup = batch->setup, .world = batch->world, .rounds = &copy, .count = 1};
    bytes_clear(report);
    return batch_run(&alone, run->actor, &run->watch, &unused, report) == 0;
}

static bool plan_shrink(struct run *run, const struct batch *batch, struct round *round, struct plan *plan,
                        struct bytes *report) {
    bool shrank = false;
    for (uint32_t index = plan->count; index > 0; index--) {
        struct plan whole = *plan;
        memmove(&plan->deeds[index - 1], &plan->deeds[index], (plan->count - index) * sizeof(plan->deeds[0]));
        plan->count--;
        if (still_fails(run, batch, round, report)) {
            shrank = true;
        } else {
            *plan = whole;
        }
    }
    struct plan whole = *plan;
    plan->tail[0] = 0;
    if (whole.tail[0] != 0 && still_fails(run, batch, round, report)) {
        return true;
    }
    *plan = whole;
    return shrank;
}

static bool said_shrink(struct run *run, const struct batch *batch, struct round *round, struct bytes *said,
                        struct bytes *report) {
    size_t whole = said->size;
    for (size_t cut = whole; cut > 0; cut = cut / 2) {
        size_t before = said->size;
        said->size -= cut < before ? cut : before;
        if (!still_fails(run, batch, round, report)) {
            said->size = before;
        }
    }
    return said->size < whole;
}

static void round_shrink(struct run *run, const struct batch *batch, struct round *round, struct bytes *report) {
    bool shrank = true;
    while (shrank) {
        shrank = false;
        for (enum direction direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
            shrank |= said_shrink(run, batch, round, &round->said[direction], report);
            for (uint32_t index = 0; index < batch->setup.count; index++) {
                shrank |= plan_shrink(run, batch, round, &round->plans[index][direction], report);
            }
        }
    }
    check(still_fails(run, batch, round, report));
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static void tell_failure(struct run *run, const struct batch *batch, uint32_t number, const char *again,
                         const struct bytes *report) {
    struct bytes small;
    bytes_init(&small);
    printf("round %u of its seed is wrong; run it again: %s\n%s", number, again, report->data);
    fflush(stdout);
    if (still_fails(run, batch, &batch->rounds[number], &small)) {
        round_shrink(run, batch, &batch->rounds[number], &small);
        printf("made small:\n%s", small.data);
    }
    bytes_finish(&small);
}

static bool run_batch(struct run *run, uint64_t seed, uint32_t rounds) {
    struct batch batch;
    struct bytes report;
    char again[80];
    snprintf(again, sizeof(again), "chain-rounds --seed %" PRIu64 " --rounds %u", seed, rounds);
    bytes_init(&report);
    batch_draw(&batch, seed, rounds, again);
    uint32_t failed = batch_run(&batch, run->actor, &run->watch, &run->totals, &report);
    if (failed < batch.count) {
        tell_failure(run, &batch, failed, again, &report);
    }
    bytes_finish(&report);
    bool is_right = failed == batch.count;
    batch_finish(&batch);
    return is_right;
}

static bool read_options(int count, char **arguments, uint64_t *seed, uint64_t *rounds) {
    bool is_good = count % 2 == 1;
    for (int index = 1; is_good && index < count; index += 2) {
        uint64_t *number = strcmp(arguments[index], "--seed") == 0     ? seed
                           : strcmp(arguments[index], "--rounds") == 0 ? rounds
                                                                       : NULL;
        char *end = NULL;
        is_good = number != NULL && (*number = strtoull(arguments[index + 1], &end, 10)) > 0 && *end == 0;
    }
    return is_good;
}

int main(int arguments_count, char **arguments) {
    static struct run run;
    struct error error;
    uint64_t seed = 1;
    uint64_t rounds = ROUNDS_DEFAULT;
    if (!read_options(arguments_count, arguments, &seed, &rounds)) {
        fputs("usage: chain-rounds [--seed N] [--rounds N], in the folder of the sources\n", stderr);
        return 2;
    }
    if (realpath("tests/chains/actor.lua", run.actor) == NULL) {
        perror("tests/chains/actor.lua");
        return 2;
    }
    struct watchdog *watchdog = watchdog_create(WATCHDOG_TICK_MS, NULL, &error);
    check(watchdog != NULL && watch_join(&run.watch, watchdog, &error));
    check(log_open("/dev/null", &error)); /* errors are planned */
    simulation_explain_crashes();
    bool is_right = true;
    for (uint64_t done = 0; is_right && done < rounds; done += BATCH_ROUNDS) {
        uint64_t left = rounds - done;
        is_right = run_batch(&run, seed++, left < BATCH_ROUNDS ? (uint32_t)left : BATCH_ROUNDS);
    }
    const struct totals *totals = &run.totals;
    printf("%" PRIu64 " rounds, %" PRIu64 " hooks, %" PRIu64 " bytes heard; sessions ended by a filter: %" PRIu64
           ", by its error: %" PRIu64 "; not judged: %" PRIu64 "\n",
           totals->rounds, totals->hooks, totals->bytes, totals->rejected, totals->failed, totals->voided);
    watch_leave(&run.watch);
    watchdog_destroy(watchdog);
    return is_right ? 0 : 1;
}
