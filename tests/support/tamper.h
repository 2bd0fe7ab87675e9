/* Meddles with one thread of another program as a debugger does: makes one of its system calls fail, or holds it still.
 * Needs the right to trace (root has it), and a processor that is known here. */
#ifndef MOONRING_TESTS_TAMPER_H
#define MOONRING_TESTS_TAMPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The thread of that name; fails the test when there is none. */
pid_t tamper_find_thread(pid_t process, const char *name);

/* Runs `act`, which must not wait for the program, and lets the thread go on until it has made the call `number` for
 * the n-th time since then (from 1): that one fails with `failure`, an errno, and is not made. Returns when it has, or
 * false when a deadline passes without it. */
bool tamper_fail_call(pid_t thread, long number, size_t nth, int failure, void (*act)(void *argument), void *argument);

/* The thread stands still until it is let go, by the same thread of the test. */
void tamper_hold(pid_t thread);
void tamper_let_go(pid_t thread);

#endif
