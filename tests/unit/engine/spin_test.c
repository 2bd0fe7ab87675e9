#include "engine/spin.h"

#include <criterion/criterion.h>

/* A worker whose completions cost so much CPU time with and without spinning, at a steady rate. */
struct load {
    struct spin_sample sample;
    uint64_t spinning_ns;
    uint64_t sleeping_ns;
    uint64_t gap_ns;
    uint64_t spun_ns; /* time that passed with spinning on */
};

static void load_run(struct load *load, struct spin *spin, uint64_t for_ns) {
    for (uint64_t end_ns = load->sample.now_ns + for_ns; load->sample.now_ns < end_ns;) {
        bool on = spin_is_on(spin);
        load->sample.now_ns += load->gap_ns;
        load->sample.completions++;
        load->sample.cpu_ns += on ? load->spinning_ns : load->sleeping_ns;
        load->spun_ns += on ? load->gap_ns : 0;
        if (spin_is_due(spin, load->sample.now_ns)) {
            spin_next_window(spin, &load->sample);
        }
    }
}

enum { SECOND_NS = 1000 * 1000 * 1000 };

Test(spin, goes_on_while_it_costs_no_more, .timeout = 10) {
    struct load load = {.gap_ns = 20000, .spinning_ns = 10000, .sleeping_ns = 10000};
    struct spin spin;
    spin_init(&spin, 20000, 0);
    load_run(&load, &spin, SECOND_NS);
    cr_expect_gt(load.spun_ns, SECOND_NS * 98ULL / 100);
    cr_expect(spin.pays);
}

Test(spin, ends_where_it_only_burns_the_cpu_and_costs_little_from_then_on, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, 20000, 0);
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
    spin_init(&spin, 20000, 0);
    load_run(&load, &spin, SECOND_NS / 4);
    cr_expect_not(spin.pays);
}

Test(spin, comes_back_when_the_load_changes, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, 20000, 0);
    load_run(&load, &spin, SECOND_NS);
    cr_assert_not(spin.pays);
    load.spinning_ns = 8000;
    load_run(&load, &spin, 7ULL * SECOND_NS);
    cr_expect(spin.pays);
}

Test(spin, is_tried_less_and_less_while_the_load_stays_the_same, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, 20000, 0);
    load_run(&load, &spin, 10ULL * SECOND_NS);
    load.spun_ns = 0;
    load_run(&load, &spin, 20ULL * SECOND_NS);
    cr_expect_geq(load.spun_ns, 2 * 4000000, "a trial each 6.4 seconds");
    cr_expect_leq(load.spun_ns, 4 * 4100000);
}

/* Half as many completions, each for twice the time. */
Test(spin, is_tried_at_once_when_the_load_has_changed_where_that_shows, .timeout = 10) {
    struct load load = {.gap_ns = 25000, .spinning_ns = 18000, .sleeping_ns = 9000};
    struct spin spin;
    spin_init(&spin, 20000, 0);
    load_run(&load, &spin, 20ULL * SECOND_NS);
    cr_assert_not(spin.pays);
    load = (struct load){.sample = load.sample, .gap_ns = 50000, .spinning_ns = 18000, .sleeping_ns = 18000};
    load_run(&load, &spin, SECOND_NS);
    cr_expect(spin.pays);
}

Test(spin, ends_where_hardly_anything_happens, .timeout = 10) {
    struct load load = {.gap_ns = 10000000, .spinning_ns = 10000, .sleeping_ns = 10000};
    struct spin spin;
    spin_init(&spin, 20000, 0);
    load_run(&load, &spin, SECOND_NS);
    cr_expect_not(spin.pays);
}

Test(spin, of_no_duration_is_never_on_and_never_asks, .timeout = 10) {
    struct spin spin;
    spin_init(&spin, 0, 0);
    cr_expect_not(spin_is_on(&spin));
    cr_expect_not(spin_is_due(&spin, UINT64_MAX));
}
