/* A fixed number of seeds. A test that fails has printed how to run its seed. */
#include "simulation.h"

#include "base/log.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { SEEDS = 500, SESSIONS = 100 };

static void run_seed(uint64_t seed, uint32_t sessions, struct simulation_totals *totals) {
    char again[80];
    snprintf(again, sizeof(again), "simulator --seed %lu --sessions %u --trace", (unsigned long)seed, sessions);
    const struct simulation_options options = {.seed = seed, .sessions = sessions, .again = again};
    simulation_run(&options, totals);
}

/* Meeting every end that a session can have and every hardship there is: else the seeds prove little. */
Test(simulation, finds_nothing_wrong_in_fifty_thousand_sessions, .timeout = 120) {
    struct simulation_totals totals = {.clients = 0};
    struct error error;
    cr_assert(log_open("/dev/null", &error), "%s", error.text); /* limits and errors are expected here */
    simulation_explain_crashes();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed, SESSIONS, &totals);
    }
    cr_assert_eq(totals.clients, SEEDS * SESSIONS);
    for (int reason = 0; reason < CLOSE_REASONS; reason++) {
        cr_expect_gt(totals.reasons[reason], 0, "%s", close_reason_name((enum close_reason)reason));
    }
    cr_expect_gt(totals.paired, totals.sessions / 4);
    cr_expect_gt(totals.starved, 0);
    cr_expect_gt(totals.evacuations, 0);
    cr_expect_gt(totals.promotions, 0);
    cr_expect_gt(totals.demotions, 0);
    cr_expect_gt(totals.retries, 0);
}

/* 1222: receives that waited for a buffer were not asked again while one was free. 2381: a wait for a descriptor after
 * a backoff had no deadline. 6104: the receiver of bytes from before a reset was waited for beyond the idle timeout.
 * 6797: an accept was cancelled again and again while its completion was on its way. */
Test(simulation, finds_nothing_wrong_where_it_once_did, .timeout = 60) {
    static const struct {
        uint64_t seed;
        uint32_t sessions;
    } found[] = {{1222, 100}, {2381, 100}, {6104, 100}, {6797, 125}};
    struct simulation_totals totals = {.clients = 0};
    struct error error;
    cr_assert(log_open("/dev/null", &error), "%s", error.text);
    simulation_explain_crashes();
    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++) {
        run_seed(found[i].seed, found[i].sessions, &totals);
    }
    cr_assert_gt(totals.sessions, 0);
}
