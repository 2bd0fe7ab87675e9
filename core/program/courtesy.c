#include "program/courtesy.h"

#include "engine/ring.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* the name that timer_create(2) has for it is not in every glibc */
#endif

enum {
    STRETCH_NS = 250000,
    SLICE_NS = 100000, /* the shortest that the kernel takes (__setparam_fair in kernel/sched/syscalls.c) */
};

/* Nobody else uses it here, and one that comes too late or from elsewhere does no harm. */
static const int COURTESY_SIGNAL = SIGURG;

/* sched_attr of sched_setattr(2), which has no declaration in glibc before 2.41. */
struct scheduling {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns; /* of an ordinary thread: its slice */
    uint64_t deadline_ns;
    uint64_t period_ns;
};

static void slices_shorten(void) {
    struct scheduling scheduling = {.size = sizeof scheduling};
    if (syscall(SYS_sched_getattr, 0, &scheduling, sizeof scheduling, 0) == 0) {
        scheduling.runtime_ns = SLICE_NS;
        syscall(SYS_sched_setattr, 0, &scheduling, 0);
    }
}

/* 0: never. */
static void signal_after(struct courtesy *courtesy, long after_ns) {
    const struct itimerspec time = {.it_value.tv_nsec = after_ns};
    timer_settime(courtesy->timer, 0, &time, NULL);
}

/* The timer's time is the wall's: a thread that has been waiting meanwhile has held up nobody. */
static void courtesy_signalled(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    struct courtesy *courtesy = info->si_value.sival_ptr;
    int error = errno;
    if (info->si_code != SI_TIMER || courtesy == NULL || !courtesy->is_on) {
        return;
    }
    uint64_t now_ns = kernel_thread_ns();
    if (now_ns - courtesy->stretch_began_ns >= STRETCH_NS / 2) {
        courtesy->yields = courtesy->yields + 1;
        sched_yield();
        courtesy->stretch_began_ns = now_ns;
    }
    signal_after(courtesy, STRETCH_NS);
    errno = error;
}

void courtesy_open(struct courtesy *courtesy) {
    *courtesy = (struct courtesy){.is_open = false};
    struct sigaction action = {.sa_sigaction = courtesy_signalled, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
                             .sigev_signo = COURTESY_SIGNAL,
                             .sigev_value.sival_ptr = courtesy,
                             .sigev_notify_thread_id = gettid()};
    slices_shorten();
    courtesy->is_open =
        sigaction(COURTESY_SIGNAL, &action, NULL) == 0 && timer_create(CLOCK_MONOTONIC, &event, &courtesy->timer) == 0;
}

void courtesy_close(struct courtesy *courtesy) {
    courtesy_end(courtesy);
    if (courtesy->is_open) {
        timer_delete(courtesy->timer);
        courtesy->is_open = false;
    }
}

void courtesy_begin(struct courtesy *courtesy) {
    if (courtesy->is_open && !courtesy->is_on) {
        courtesy->stretch_began_ns = kernel_thread_ns();
        courtesy->is_on = true;
        signal_after(courtesy, STRETCH_NS);
    }
}

void courtesy_end(struct courtesy *courtesy) {
    if (courtesy->is_on) {
        courtesy->is_on = false; /* first: the signal may come at this moment, and must not set the timer again */
        signal_after(courtesy, 0);
    }
}
