/* What must come out of a chain: computed from the whole streams, one filter after the other, as if there were no
 * pieces, no waits and no other direction. */
#ifndef MOONRING_CHAINS_MODEL_H
#define MOONRING_CHAINS_MODEL_H

#include "tests/chains/plan.h"

struct expectation {
    struct bytes heard[2]; /* by direction: behind the last filter; ours */
    bool is_rejected;      /* a filter ends the session */
    bool is_failed;        /* a filter's error does: what is heard may be less */
    bool is_void;          /* a line was too long: an error, in which the pieces decide about what is heard */
};

void expectation_make(struct expectation *expected, const struct setup *setup, const struct round *round);
void expectation_finish(struct expectation *expected);

#endif
