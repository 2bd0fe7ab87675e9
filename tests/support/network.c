#include "tests/support/network.h"

#include "tests/support/process.h"

#include <criterion/criterion.h>
#include <sched.h>

void network_enter(void) {
    struct process process;
    cr_assert(unshare(CLONE_NEWNET) == 0, "cannot make a network: this test has to be run as root: %m");
    process_run(&process, ARGUMENTS("ip", "link", "set", "lo", "up"));
}
