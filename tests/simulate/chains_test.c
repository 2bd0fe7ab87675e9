/* Chains of filters in Lua against a model (tests/chains/): a small part of `make chains`. */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A sanitizer needs more time for fewer. */
#ifdef MOONRING_DEBUG
enum { ROUNDS = 1000 };
#else
enum { ROUNDS = 20000 };
#endif

static void expect_right(uint64_t seed, int rounds) {
    char own[PATH_MAX] = "";
    char command[PATH_MAX + 64];
    cr_assert_gt(readlink("/proc/self/exe", own, sizeof(own) - 1), 0);
    *strrchr(own, '/') = '\0';
    snprintf(command, sizeof(command), "'%s/chain-rounds' --seed %lu --rounds %d", own, (unsigned long)seed, rounds);
    cr_assert_eq(system(command), 0, "%s failed", command);
}

Test(chains, of_filters_are_right_however_the_bytes_come_in, .timeout = 120) {
    expect_right(1, ROUNDS);
}

/* 142: the last line, without an end and as long as hold_max, was too long or not, as chance had it. */
Test(chains, of_filters_are_right_where_they_once_were_not, .timeout = 60) {
    expect_right(142, 200);
}
