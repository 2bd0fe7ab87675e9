/* Does it pay to look for work for a while before sleeping? A busy or a closed loop of requests gets its answer sooner
 * and saves the cost of falling asleep and being woken; under an even load that leaves gaps, spinning only burns the
 * CPU (37 instead of 19 us a request at 20,000 requests/s). Nobody can tell beforehand, so it is tried: from time to
 * time the other way is taken for a moment, the usual one for another, and the CPU time for the same work decides, with
 * how much of it got done. That is done each 0.4 s, or each 1.6 s once two trials have said the same, as long as the
 * load seems to stay as it is. */
#ifndef MOONRING_ENGINE_SPIN_H
#define MOONRING_ENGINE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum spin_window { SPIN_STEADY, SPIN_OTHER_WAY, SPIN_USUAL_WAY };

/* What a worker had used and done at some time. */
struct spin_sample {
    uint64_t now_ns;
    uint64_t cpu_ns;
    uint64_t work; /* completions, or what counts as much */
};

/* What a worker did in a window. */
struct spin_load {
    uint64_t work;
    double rate; /* work per nanosecond */
    double cost; /* nanoseconds of CPU time for it; 0: there was none */
};

/* When it pays. */
struct spin_terms {
    uint64_t duration_ns;        /* how long to look; 0: never */
    uint32_t dearer_max_percent; /* the same work takes so much more CPU time at most, */
    uint32_t gain_min_percent;   /* and so much more of it is done in time and CPU time; 0: that does not matter */
};

struct spin {
    struct spin_terms terms;
    bool pays; /* as the last trial found */
    enum spin_window window;
    uint64_t window_end_ns;
    struct spin_sample begin;     /* of the window */
    struct spin_load other_load;  /* of the window before, which went the other way */
    struct spin_load steady_load; /* of the steady window before the last trial */
    uint32_t trust;               /* how many more steady windows may pass without a trial while the load is that one */
};

/* Begins with spinning, until a trial says otherwise. */
void spin_init(struct spin *spin, const struct spin_terms *terms, uint64_t now_ns);

static inline bool spin_is_on(const struct spin *spin) {
    return spin->terms.duration_ns > 0 && spin->pays == (spin->window != SPIN_OTHER_WAY);
}

/* The window is over: a sample is wanted. Cheap; for each turn. */
static inline bool spin_is_due(const struct spin *spin, uint64_t now_ns) {
    return spin->terms.duration_ns > 0 && now_ns >= spin->window_end_ns;
}

void spin_next_window(struct spin *spin, const struct spin_sample *sample);

#endif
