#include "tests/bench/interrupt.h"

#include <signal.h>
#include <stddef.h>

static void interrupt_set(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
}

void interrupt_block(void) {
    sigset_t set;
    interrupt_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

void interrupt_unblock(void) {
    sigset_t set;
    interrupt_set(&set);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

bool interrupt_pending(void) {
    sigset_t pending;
    sigpending(&pending);
    return sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}
