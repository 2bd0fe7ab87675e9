#include "tests/support/tamper.h"

#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <linux/elf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

static bool thread_has_name(pid_t process, const char *thread, const char *name) {
    char path[64], found[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%.16s/comm", process, thread);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool same = fgets(found, sizeof(found), file) != NULL && strncmp(found, name, strlen(name)) == 0 &&
                found[strlen(name)] == '\n';
    fclose(file);
    return same;
}

pid_t tamper_find_thread(pid_t process, const char *name) {
    char path[64];
    pid_t thread = 0;
    snprintf(path, sizeof(path), "/proc/%d/task", process);
    DIR *threads = opendir(path);
    cr_assert(threads != NULL);
    for (struct dirent *entry = readdir(threads); entry != NULL && thread == 0; entry = readdir(threads)) {
        if (thread_has_name(process, entry->d_name, name)) {
            thread = (pid_t)strtol(entry->d_name, NULL, 10);
        }
    }
    closedir(threads);
    cr_assert(thread != 0, "there is no thread \"%s\"", name);
    return thread;
}

/* --- registers --------------------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
/* A call of this number does nothing but fail. */
static void call_skip(pid_t thread) {
    cr_assert(ptrace(PTRACE_POKEUSER, thread, offsetof(struct user_regs_struct, orig_rax), -1L) == 0);
}

static void result_set(pid_t thread, long result) {
    cr_assert(ptrace(PTRACE_POKEUSER, thread, offsetof(struct user_regs_struct, rax), result) == 0);
}
#elif defined(__aarch64__)
static void call_skip(pid_t thread) {
    int number = -1;
    struct iovec part = {.iov_base = &number, .iov_len = sizeof(number)};
    cr_assert(ptrace(PTRACE_SETREGSET, thread, NT_ARM_SYSTEM_CALL, &part) == 0);
}

static void result_set(pid_t thread, long result) {
    struct user_regs_struct registers;
    struct iovec part = {.iov_base = &registers, .iov_len = sizeof(registers)};
    cr_assert(ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &part) == 0);
    registers.regs[0] = (unsigned long long)result;
    cr_assert(ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &part) == 0);
}
#else
static void call_skip(pid_t thread) {
    (void)thread;
    cr_assert_fail("how to change a system call of this processor is not known here");
}

static void result_set(pid_t thread, long result) {
    (void)thread;
    (void)result;
}
#endif

/* --- holding ----------------------------------------------------------------------------------------------------- */

/* Waits until the thread stops; false: it does not. */
static bool wait_for_stop(pid_t thread, int *status) {
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); deadline_left_ms(deadline_ms) > 0;) {
        if (waitpid(thread, status, __WALL | WNOHANG) == thread) {
            return WIFSTOPPED(*status);
        }
        deadline_pause(1);
    }
    return false;
}

void tamper_hold(pid_t thread) {
    int status;
    cr_assert(ptrace(PTRACE_SEIZE, thread, NULL, PTRACE_O_TRACESYSGOOD) == 0, "cannot trace: %m");
    cr_assert(ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) == 0);
    cr_assert(wait_for_stop(thread, &status));
}

void tamper_let_go(pid_t thread) {
    cr_assert(ptrace(PTRACE_DETACH, thread, NULL, NULL) == 0);
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

/* From one stop at a call, before or behind it, to the next. False: there is none in time; then the thread runs. */
static bool next_stop(pid_t thread, struct __ptrace_syscall_info *call) {
    int status;
    do {
        cr_assert(ptrace(PTRACE_SYSCALL, thread, NULL, NULL) == 0);
        if (!wait_for_stop(thread, &status)) {
            return false;
        }
    } while (WSTOPSIG(status) != (SIGTRAP | 0x80));
    return ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(*call), call) > 0;
}

static bool find_call(pid_t thread, long number, size_t nth) {
    struct __ptrace_syscall_info call;
    while (nth > 0) {
        if (!next_stop(thread, &call)) {
            return false;
        }
        nth -= call.op == PTRACE_SYSCALL_INFO_ENTRY && call.entry.nr == (unsigned long long)number;
    }
    return true;
}

bool tamper_fail_call(pid_t thread, long number, size_t nth, int failure, void (*act)(void *argument), void *argument) {
    struct __ptrace_syscall_info call;
    tamper_hold(thread);
    act(argument);
    if (!find_call(thread, number, nth)) {
        ptrace(PTRACE_INTERRUPT, thread, NULL, NULL);
        int status;
        wait_for_stop(thread, &status);
        tamper_let_go(thread);
        return false;
    }
    call_skip(thread);
    cr_assert(next_stop(thread, &call));
    result_set(thread, -failure);
    tamper_let_go(thread);
    return true;
}
