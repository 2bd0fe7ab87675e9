/* The way out of code that does not end: a signal handler makes the interrupted thread go on at the door by which it
 * entered. Whatever it left behind is torn and must never be used again. */
#ifndef MOONRING_LUA_ESCAPE_H
#define MOONRING_LUA_ESCAPE_H

#include <setjmp.h>
#include <stdbool.h>
#include <ucontext.h>

/* Whether escape_redirect can ever succeed here: x86-64, with LuaJIT as a shared library of its own. Without it
 * LuaJIT's compiler must stay off, since nothing else ends a compiled loop. */
bool escape_is_possible(void);

/* Called in a signal handler. If the interrupted instruction is LuaJIT's or machine code made by it, the thread will
 * continue from sigsetjmp(*door, 0) with 1 when the handler returns. False if it is in any other code, which may hold a
 * lock or be in the middle of something: try again later. */
bool escape_redirect(ucontext_t *context, sigjmp_buf *door);

/* To be called where the escape arrives, before anything else: puts the processor into the state that C expects. */
static inline void escape_arrived(void) {
#if defined(__x86_64__)
    /* LuaJIT computes logarithms on the x87 stack, and half a computation may have been left there. */
    __asm__ volatile("fninit\n\tcld" ::: "cc");
#endif
}

#endif
