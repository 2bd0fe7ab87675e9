#include "engine/spin.h"

enum {
    FIRST_NS = 200 * 1000 * 1000, /* before the first trial: until then it spins without knowing whether that pays */
    LULL_NS = 100 * 1000 * 1000,  /* so long after a window it was no window of the load that is there now */
    AFRESH_NS = 40 * 1000 * 1000, /* before a load is tried that has just begun */
    STEADY_NS = 400 * 1000 * 1000,
    TRIAL_NS = 4 * 1000 * 1000, /* of each way: at most 1 % of the time goes the wrong way */
    TRUST = 3,                  /* steady windows without a trial, after two that have said the same */
    LOAD_CHANGE_PERCENT = 25,   /* more or less, and it is another load */
    WORK_MIN = 16,              /* with fewer a trial says nothing but that hardly anything happens */
};

void spin_init(struct spin *spin, const struct spin_terms *terms, uint64_t now_ns) {
    *spin = (struct spin){.terms = *terms,
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

/* Since its beginning. */
static struct spin_load window_load(const struct spin *spin, const struct spin_sample *sample) {
    uint64_t work = sample->work - spin->begin.work;
    double cpu_ns = (double)(sample->cpu_ns - spin->begin.cpu_ns);
    return (struct spin_load){.work = work,
                              .rate = (double)work / (double)(sample->now_ns - spin->begin.now_ns),
                              .cost = work > 0 ? cpu_ns / (double)work : 0};
}

enum verdict { PAYS, BURNS, UNKNOWN };

static bool is_within(const struct spin_terms *terms, const struct spin_load *spinning,
                      const struct spin_load *sleeping) {
    double dearer = spinning->cost / sleeping->cost;
    double faster = spinning->rate / sleeping->rate;
    return dearer * 100 <= 100 + terms->dearer_max_percent &&
           (terms->gain_min_percent == 0 || faster / dearer * 100 >= 100 + terms->gain_min_percent);
}

/* PAYS: spinning is within the terms. UNKNOWN: the trial fell into a lull. */
static enum verdict trial_verdict(const struct spin *spin, const struct spin_load *usual) {
    const struct spin_load *other = &spin->other_load;
    if (usual->work < WORK_MIN || other->work < WORK_MIN) {
        return spin->steady_load.rate * TRIAL_NS < WORK_MIN ? BURNS : UNKNOWN;
    }
    return is_within(&spin->terms, spin->pays ? usual : other, spin->pays ? other : usual) ? PAYS : BURNS;
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

static void steady_window_over(struct spin *spin, const struct spin_load *load, const struct spin_sample *sample) {
    if (sample->now_ns >= spin->window_end_ns + LULL_NS) {
        window_begin(spin, SPIN_STEADY, sample);
        spin->window_end_ns = sample->now_ns + AFRESH_NS;
        spin->trust = 0;
    } else if (spin->trust > 0 && is_about_the_load(load, &spin->steady_load)) {
        spin->trust--;
        window_begin(spin, SPIN_STEADY, sample);
    } else {
        spin->steady_load = *load;
        window_begin(spin, SPIN_OTHER_WAY, sample);
    }
}

void spin_next_window(struct spin *spin, const struct spin_sample *sample) {
    const struct spin_load load = window_load(spin, sample);
    switch (spin->window) {
    case SPIN_STEADY:
        steady_window_over(spin, &load, sample);
        break;
    case SPIN_OTHER_WAY:
        spin->other_load = load;
        window_begin(spin, SPIN_USUAL_WAY, sample);
        break;
    case SPIN_USUAL_WAY:
        trial_over(spin, trial_verdict(spin, &load));
        window_begin(spin, SPIN_STEADY, sample);
        break;
    }
}
