#include "engine/spin.h"

#include <criterion/criterion.h>

/* A worker whose work cost so much CPU time with and without spinning, at a steady rate. */
struct load {
    struct spin_sample sample;
    uint64_t spinning_ns;
    uint64_t sleeping_ns;
    uint64_t gap_ns;
    uint64_t gained_ns; /* of each gap, while it spins */
    uint64_t spun_ns;   /* time that passed with spinning on */
};

static void load_run(struct load *load, struct spin *spin, uint64_t for_ns) {
    for (uint64_t end_ns = load->sample.now_ns + for_ns; load->sample.now_ns < end_ns;) {
        bool on = spin_is_on(spin);
        load->sample.now_ns += load->gap_ns - (on ? load->gained_ns : 0);
        load->sample.work++;
        load->sample.cpu_ns += on ? load->spinning_ns : load->sleeping_ns;
        load->spun_ns += on ? load->gap_ns : 0;
        if (spin_is_due(spin, load->sample.now_ns)) {
            spin_next_window(spin, &load->sample);
        }
    }
}

enum { SECOND_NS = 1000 * 1000 * 1000 };
static const struct spin_terms terms = {.duration_ns = 20000, .dearer_max_percent = 5};

Test(spin, goes_on_while_it_costs_no_more, .timeout = 10) {
    struct load load = {.gap_ns = 20000, .spinning_ns = 10000, .sleeping_ns = 10000};
    struct spin spin;
    spin_init(&spin, &terms, 0);
    load_run(&load, &spin, SECOND_NS);
    cr_expect_gt(load.spun_ns, SECOND_NS * 98ULL / 100);
    cr_expect(spin.pays);
}

Test(spin, ends_where_it_only_burns_the_cpu_and_costs_little_from_then_on, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, &terms, 0);
    load_run(&load, &spin, SECOND_NS);
    load.spun_ns = 0;
    load_run(&load, &spin, 10ULL * SECOND_NS);
    cr_expect_not(spin.pays);
    cr_expect_gt(load.spun_ns, 0, "it is tried again");
    cr_expect_lt(load.spun_ns, 10ULL * SECOND_NS * 3 / 1000);
}

Test(spin, is_first_tried_after_a_fifth_of_a_second, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, &terms, 0);
    load_run(&load, &spin, SECOND_NS / 4);
    cr_expect_not(spin.pays);
}

Test(spin, comes_back_when_the_load_changes, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, &terms, 0);
    load_run(&load, &spin, SECOND_NS);
    cr_assert_not(spin.pays);
    load.spinning_ns = 8000;
    load_run(&load, &spin, 2ULL * SECOND_NS);
    cr_expect(spin.pays);
}

/* Runs to the end of the next trial. The nanoseconds until it began. */
static uint64_t load_run_trial(struct load *load, struct spin *spin) {
    uint64_t begin_ns = load->sample.now_ns;
    while (spin->window == SPIN_STEADY) {
        load_run(load, spin, load->gap_ns);
    }
    uint64_t trial_ns = load->sample.now_ns;
    while (spin->window != SPIN_STEADY) {
        load_run(load, spin, load->gap_ns);
    }
    return trial_ns - begin_ns;
}

/* A load that has been tried several times, each time with the same result. */
static struct load load_known(struct spin *spin) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    spin_init(spin, &terms, 0);
    load_run(&load, spin, 20ULL * SECOND_NS);
    cr_assert_not(spin->pays);
    load_run_trial(&load, spin);
    return load;
}

static const uint64_t soon_ns = 420 * 1000 * 1000;
static const uint64_t later_ns = 1620 * 1000 * 1000;

Test(spin, is_tried_seldom_while_the_load_stays_as_it_is, .timeout = 10) {
    struct spin spin;
    struct load load = load_known(&spin);
    uint64_t ns = load_run_trial(&load, &spin);
    cr_expect(ns > later_ns - soon_ns && ns < later_ns, "%lu", (unsigned long)ns);
    load.gap_ns = load.gap_ns * 11 / 10;
    ns = load_run_trial(&load, &spin);
    cr_expect(ns > later_ns - soon_ns && ns < later_ns, "a tenth is no change: %lu", (unsigned long)ns);
}

static void expect_trial_after_change(uint64_t gap_ns, uint64_t sleeping_ns) {
    struct spin spin;
    struct load load = load_known(&spin);
    load.gap_ns = gap_ns;
    load.sleeping_ns = sleeping_ns;
    uint64_t ns = load_run_trial(&load, &spin);
    cr_expect_lt(ns, soon_ns, "gaps of %lu, cost %lu: %lu", (unsigned long)gap_ns, (unsigned long)sleeping_ns,
                 (unsigned long)ns);
}

Test(spin, is_tried_soon_when_the_load_has_changed, .timeout = 10) {
    expect_trial_after_change(12000, 9000);
    expect_trial_after_change(50000, 9000);
    expect_trial_after_change(25000, 6000);
    expect_trial_after_change(25000, 14000);
}

Test(spin, is_tried_soon_after_a_trial_that_said_something_else, .timeout = 10) {
    struct spin spin;
    struct load load = load_known(&spin);
    load.spinning_ns = load.sleeping_ns;
    load_run_trial(&load, &spin);
    cr_assert(spin.pays);
    cr_expect_lt(load_run_trial(&load, &spin), soon_ns);
}

/* A fifth of a second busy, a fifth with next to nothing; a trial in the latter would say so. */
Test(spin, stays_on_where_the_load_comes_in_bursts, .timeout = 10) {
    struct load load = {.spinning_ns = 10000, .sleeping_ns = 15000};
    struct spin spin;
    spin_init(&spin, &terms, 0);
    while (load.sample.now_ns < 60ULL * SECOND_NS) {
        load.gap_ns = 20000;
        load_run(&load, &spin, SECOND_NS / 5);
        load.gap_ns = 10000000;
        load_run(&load, &spin, SECOND_NS / 5);
    }
    cr_expect_gt(load.spun_ns, 60ULL * SECOND_NS * 9 / 10);
}

Test(spin, ends_where_hardly_anything_happens, .timeout = 10) {
    struct load load = {.gap_ns = 10000000, .spinning_ns = 10000, .sleeping_ns = 10000};
    struct spin spin;
    spin_init(&spin, &terms, 0);
    load_run(&load, &spin, SECOND_NS);
    cr_expect_not(spin.pays);
}

Test(spin, of_no_duration_is_never_on_and_never_asks, .timeout = 10) {
    struct spin spin;
    spin_init(&spin, &(struct spin_terms){.dearer_max_percent = 5}, 0);
    cr_expect_not(spin_is_on(&spin));
    cr_expect_not(spin_is_due(&spin, UINT64_MAX));
}

/* A spin that is wanted only where more gets done: for a load that goes on for a second, what it comes to. */
static bool pays_by_gain(uint64_t gained_ns, uint64_t spinning_ns) {
    const struct spin_terms by_gain = {.duration_ns = 20000, .dearer_max_percent = 25, .gain_min_percent = 25};
    struct load load = {.gap_ns = 20000, .gained_ns = gained_ns, .spinning_ns = spinning_ns, .sleeping_ns = 10000};
    struct spin spin;
    spin_init(&spin, &by_gain, 0);
    load_run(&load, &spin, SECOND_NS);
    return spin.pays;
}

Test(spin, may_be_wanted_only_where_more_gets_done, .timeout = 10) {
    cr_expect(pays_by_gain(5000, 10000), "a third faster");
    cr_expect(pays_by_gain(10000, 12400), "twice as fast, a quarter dearer");
    cr_expect_not(pays_by_gain(10000, 12600), "too dear");
    cr_expect_not(pays_by_gain(3000, 10000), "not fast enough");
    cr_expect(pays_by_gain(0, 7900), "a quarter cheaper");
    cr_expect_not(pays_by_gain(0, 8200), "not so much cheaper");
}

/* What is done first, slowly, says nothing about what comes. */
Test(spin, is_tried_a_little_after_a_lull_has_ended, .timeout = 10) {
    struct spin spin;
    struct load load = load_known(&spin);
    load.sample.now_ns += 10ULL * SECOND_NS;
    uint64_t ns = load_run_trial(&load, &spin);
    cr_expect(ns > 40 * 1000 * 1000 && ns < 50 * 1000 * 1000, "%lu", (unsigned long)ns);
}
