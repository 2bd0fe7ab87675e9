#include "tests/support/guard.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Other guards and the processes under test must not hold our end of the pair open, nor we theirs. */
static void keep_only(int fd) {
    dup2(fd, 0);
    close_range(1, ~0U, 0);
}

_Noreturn static void guard_run(int fd, guard_cleanup_fn *cleanup, const void *subject) {
    keep_only(fd);
    setsid();
    char ignored;
    while (read(0, &ignored, 1) > 0) {
    }
    cleanup(subject);
    _exit(0);
}

int guard_start(guard_cleanup_fn *cleanup, const void *subject) {
    int pair[2];
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        guard_run(pair[1], cleanup, subject);
    }
    close(pair[1]);
    return pair[0];
}

void guard_release(int guard) {
    shutdown(guard, SHUT_WR);
    char ignored;
    /* The guard's end is closed by its exit. */
    while (read(guard, &ignored, 1) > 0) {
    }
    close(guard);
}
