#include "engine/spin.h"

enum {
    FIRST_NS = 200 * 1000 * 1000, /* before the first trial: until then it spins without knowing whether that pays */
    STEADY_NS = 400 * 1000 * 1000,
    TRIAL_NS = 4 * 1000 * 1000, /* of each way: at most 1 % of the time goes the wrong way */
    TRUST = 3,                  /* steady windows without a trial, after two that have said the same */
    LOAD_CHANGE_PERCENT = 25,   /* more or less, and it is another load */
    WORK_MIN = 16,              /* with fewer a trial says nothing but that hardly anything happens */
};

void spin_init(struct spin *spin, uint64_t duration_ns, uint32_t dearer_max_percent, uint64_t now_ns) {
    *spin = (struct spin){.duration_ns = duration_ns,
                          .dearer_max_percent = dearer_max_percent,
                          .pays = true,
                          .window = SPIN_STEADY,
                          .window_end_ns = now_ns + FIRST_NS,
                          .begin = {.now_ns = now_ns}};
}

static uint64_t window_ns(enum spin_window window) {
    switch (window) {
    case SPIN_STEADY:
        return STEADY_NS;
    case SPIN_OTHER_WAY:
    case SPIN_USUAL_WAY:
        break;
    }
    return TRIAL_NS;
}

static void window_begin(struct spin *spin, enum spin_window window, const struct spin_sample *sample) {
    spin->window = window;
    spin->begin = *sample;
    spin->window_end_ns = sample->now_ns + window_ns(window);
}

enum verdict { PAYS, BURNS, UNKNOWN };

/* PAYS: the CPU time for the same work, with spinning, is at most a little above that without. UNKNOWN: the trial fell
 * into a lull. */
static enum verdict trial_verdict(const struct spin *spin, uint64_t usual_cpu_ns, uint64_t usual_work) {
    if (usual_work < WORK_MIN || spin->other_work < WORK_MIN) {
        return spin->tried_load.rate * TRIAL_NS < WORK_MIN ? BURNS : UNKNOWN;
    }
    double usual = (double)usual_cpu_ns / (double)usual_work;
    double other = (double)spin->other_cpu_ns / (double)spin->other_work;
    double spinning = spin->pays ? usual : other;
    double sleeping = spin->pays ? other : usual;
    return spinning * 100 <= sleeping * (100 + spin->dearer_max_percent) ? PAYS : BURNS;
}

static void trial_over(struct spin *spin, enum verdict verdict) {
    bool pays = verdict == UNKNOWN ? spin->pays : verdict == PAYS;
    bool repeated = verdict != UNKNOWN && pays == spin->pays;
    spin->trust = repeated ? TRUST : 0;
    spin->pays = pays;
}

static bool is_about(double a, double b) {
    return a * 100 <= b * (100 + LOAD_CHANGE_PERCENT) && b * 100 <= a * (100 + LOAD_CHANGE_PERCENT);
}

static bool is_about_the_load(const struct spin_load *load, const struct spin_load *other) {
    return is_about(load->rate, other->rate) && is_about(load->cost, other->cost);
}

static void steady_window_over(struct spin *spin, const struct spin_sample *sample) {
    double elapsed_ns = (double)(sample->now_ns - spin->begin.now_ns);
    double cpu_ns = (double)(sample->cpu_ns - spin->begin.cpu_ns);
    double work = (double)(sample->work - spin->begin.work);
    const struct spin_load load = {.rate = work / elapsed_ns, .cost = work > 0 ? cpu_ns / work : 0};
    if (spin->trust > 0 && is_about_the_load(&load, &spin->tried_load)) {
        spin->trust--;
        window_begin(spin, SPIN_STEADY, sample);
    } else {
        spin->tried_load = load;
        window_begin(spin, SPIN_OTHER_WAY, sample);
    }
}

void spin_next_window(struct spin *spin, const struct spin_sample *sample) {
    uint64_t cpu_ns = sample->cpu_ns - spin->begin.cpu_ns;
    uint64_t work = sample->work - spin->begin.work;
    switch (spin->window) {
    case SPIN_STEADY:
        steady_window_over(spin, sample);
        break;
    case SPIN_OTHER_WAY:
        spin->other_cpu_ns = cpu_ns;
        spin->other_work = work;
        window_begin(spin, SPIN_USUAL_WAY, sample);
        break;
    case SPIN_USUAL_WAY:
        trial_over(spin, trial_verdict(spin, cpu_ns, work));
        window_begin(spin, SPIN_STEADY, sample);
        break;
    }
}
