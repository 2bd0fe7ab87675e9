/* Kernels and containers that refuse io_uring: the message says what, why and what to do, before anything is served. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* What a container's seccomp profile does: io_uring_setup fails with `number`, all else works. */
static void refuse_io_uring(unsigned number) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(instructions) / sizeof(instructions[0]), .filter = instructions};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static void refuse_with_eperm(void) {
    refuse_io_uring(EPERM);
}

static void refuse_with_enosys(void) {
    refuse_io_uring(ENOSYS);
}

static void expect_explanation(process_prepare_fn *refuse, const char *advice) {
    struct moonring moonring;
    moonring_launch(&moonring, refuse, "listeners: {web: {bind: '127.0.0.1:0', upstream: '127.0.0.1:9'}}\n");
    moonring_expect_refusal(&moonring, 1, "io_uring");
    const char *errors = process_text(&moonring.process.errors);
    cr_assert(strstr(errors, advice) != NULL, "no advice about %s:\n%s", advice, errors);
    cr_assert(process_count_lines(&moonring.process.errors, "ready") == 0, "it said that it is ready:\n%s", errors);
}

Test(kernel_refusal, with_eperm_names_the_sysctl_and_the_seccomp_profile, .timeout = 30) {
    expect_explanation(refuse_with_eperm, "kernel.io_uring_disabled");
}

Test(kernel_refusal, with_enosys_names_the_smallest_kernel, .timeout = 30) {
    expect_explanation(refuse_with_enosys, "6.1");
}

Test(kernel_refusal, is_found_by_the_doctor, .timeout = 30) {
    struct process doctor;
    process_start(&doctor, refuse_with_eperm, ARGUMENTS(moonring_program(), "doctor"));
    cr_assert(process_wait(&doctor) == 1);
    cr_assert(strstr(process_text(&doctor.output), "io_uring") != NULL, "%s", process_text(&doctor.output));
}
