/* What relaying costs, in counts that no machine and no load changes. Who makes it cheaper lowers the bounds. */
#include "work.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TIMES = 1000 };

static void expect_at_most(enum work work, const char *what, double count, double bound) {
    cr_expect_leq(count, bound, "%s: %.3f %s, at most %.3f are allowed", work_name(work), count, what, bound);
}

static void expect_cost(enum work work, const struct work_cost *bound) {
    struct work_cost cost = work_count(work, TIMES);
    expect_at_most(work, "submissions", cost.submissions, bound->submissions);
    expect_at_most(work, "turns", cost.turns, bound->turns);
    expect_at_most(work, "other system calls", cost.calls, bound->calls);
    expect_at_most(work, "copied bytes", cost.copied_bytes, bound->copied_bytes);
}

/* A send each way; receives bring 128 KiB before they are asked for again. */
Test(work, of_a_request_is_two_submissions_in_four_turns, .timeout = 60) {
    expect_cost(WORK_REQUEST, &(struct work_cost){.submissions = 2.01, .turns = 4});
}

Test(work, of_64_requests_at_once_takes_the_turns_of_one, .timeout = 60) {
    expect_cost(WORK_BATCH, &(struct work_cost){.submissions = 64 * 2.01, .turns = 4});
}

/* A send, and a seventh of a receive. */
Test(work, of_16_kib_is_a_send_from_where_they_were_received, .timeout = 60) {
    expect_cost(WORK_CHUNK, &(struct work_cost){.submissions = 1.15, .turns = 2});
}

/* In and out, twice since the pipe of the world is a circle, and once to find that no more is there. */
Test(work, of_256_kib_that_are_spliced_is_five_calls_and_a_poll, .timeout = 60) {
    expect_cost(WORK_SPLICE, &(struct work_cost){.submissions = 1, .turns = 1, .calls = 5});
}

Test(work, of_a_filter_asks_nothing_more_of_the_kernel, .timeout = 60) {
    expect_cost(WORK_FILTERED, &(struct work_cost){.submissions = 1.01, .turns = 2});
}

/* A connect, two receives, two sends; a socket, its options, a shutdown, two descriptors closed. */
Test(work, of_a_session_is_five_submissions_and_five_calls, .timeout = 60) {
    expect_cost(WORK_SESSION, &(struct work_cost){.submissions = 5, .turns = 7, .calls = 5});
}

/* Only the release build is what users run. */
#ifdef MOONRING_DEBUG
enum { IS_RELEASE = 0 };
#else
enum { IS_RELEASE = 1 };
#endif

Test(work, takes_no_more_instructions_than_it_did, .timeout = 120, .disabled = !IS_RELEASE) {
    char own[PATH_MAX] = "";
    char command[PATH_MAX + 64];
    cr_assert_gt(readlink("/proc/self/exe", own, sizeof(own) - 1), 0);
    *strrchr(own, '/') = '\0';
    snprintf(command, sizeof(command), "tests/simulate/instructions.sh '%s/simulator'", own);
    cr_assert_eq(system(command), 0, "%s failed", command);
}
