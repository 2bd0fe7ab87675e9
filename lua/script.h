/* A Lua VM and the one door into it.
 *
 * A script lives on one thread at a time, the one of its watch. Everything that may allocate in the VM or raise an
 * error runs inside the door: hooks by script_enter, our own C code by script_call. Outside of it only this is allowed
 * on a thread of the VM: reading values, and pushing nil, booleans, numbers and values that exist (lua_pushvalue,
 * lua_rawgeti, lua_xmove), LUA_MINSTACK at most.
 *
 * What ends a run that is too long or too hungry:
 *
 *                     at the budget, or the memory limit         at twice of it
 *   interpreted code  an error at its current line               (does not get there)
 *   compiled code     the same where it returns to the           the VM is stopped between two instructions, the door
 *                     interpreter                                returns SCRIPT_KILLED, and it is never entered again
 *
 * A VM that was killed runs no finalizer: what a userdata owns must also be known to somebody outside of the VM. Its
 * machine code stays mapped, since the unwinder of C knows of it: hence SCRIPT_KILLS_MAX. */
#ifndef MOONRING_LUA_SCRIPT_H
#define MOONRING_LUA_SCRIPT_H

#include "base/bytes.h"
#include "base/error.h"
#include "lua/heap.h"
#include "lua/place.h"
#include "lua/source.h"
#include "lua/watchdog.h"

#include <lua.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRIPT_STACK_SIZE = 256 * 1024 }; /* of C, for calls from C into Lua that ask first; see script_check_stack */
enum { SCRIPT_TEXT_SIZE = 4096, SCRIPT_KILLS_MAX = 16, SCRIPT_LOAD_BUDGET_MS = 5000, SCRIPT_SPARES_MAX = 64 };

struct script_options {
    const char *folder;       /* what paths of files are relative to */
    const char *const *paths; /* where `require` looks: patterns with one `?`, relative to folder */
    size_t paths_count;
    size_t memory_limit;     /* bytes */
    uint32_t budget_ms;      /* CPU time of one entry */
    uint32_t load_budget_ms; /* the same while a file is loaded; 0: SCRIPT_LOAD_BUDGET_MS */
    bool full_libraries;     /* everything that LuaJIT has, instead of the allow-list */
    bool interpreted;        /* compile nothing; set where compiled code could not be stopped (lua/escape.h) */
    uint64_t fail_from;      /* for tests: from this allocation on the system has no memory; 0: never */
};

/* A coroutine that hooks run in. */
struct script_thread {
    lua_State *state;
    int reference; /* keeps it from being collected */
    struct script_thread *next;
};

enum script_outcome {
    SCRIPT_RETURNED,      /* its results are on the thread's stack; the thread may be used again after lua_settop(0) */
    SCRIPT_YIELDED,       /* what it yielded is on the thread's stack; enter it again, or give it back */
    SCRIPT_RAISED,        /* an error that nobody caught; the thread is dead, as after those below */
    SCRIPT_OUT_OF_MEMORY, /* an error too: the VM holds more than its limit, also after a collection */
    SCRIPT_OVER_BUDGET,   /* an error too */
    SCRIPT_KILLED,        /* the VM is dead: only script_destroy is left */
};

struct script_result {
    const char *text; /* for the last four: message and traceback. The script's, until it is entered again */
};

/* Our own C code inside the door. May raise; returns the number of results, which are dropped. */
typedef int script_function_fn(lua_State *L, void *argument);

enum script_stop { SCRIPT_STOP_BUDGET = 1, SCRIPT_STOP_MEMORY = 2 };

struct runtime;

struct script {
    struct runtime *runtime; /* who made the script for filters (lua/runtime.h), and sets this; else NULL */
    lua_State *state;        /* for calls that cannot fail; nothing runs on it */
    struct watch *watch;
    struct heap heap;
    lua_State *running; /* the hook's thread while Lua runs, else NULL */
    char *stack_floor;  /* the end of its SCRIPT_STACK_SIZE */
    uint32_t budget_ms;
    size_t collect_above;       /* bytes in use from which on garbage is collected between turns */
    uint32_t collections;       /* that have ended between turns */
    int shield;                 /* depth of script_shield */
    volatile sig_atomic_t stop; /* enum script_stop: what asks for an end of this run */
    int stopped_by;             /* enum script_stop: what ended this run with an error; 0: nothing */
    bool entered;               /* `door` may be jumped to */
    bool dead;                  /* killed */
    struct place stopped_at;    /* the line that was asked first to stop in this run; of a dead script: the last */
    sigjmp_buf door;

    struct script_options options; /* its pointers are not ours; they live as long as the script */
    struct script_thread *spare;   /* ours; a thread that was taken belongs to its taker */
    uint32_t spares_count;         /* at most SCRIPT_SPARES_MAX */
    struct script_thread service;  /* runs script_call: */
    int service_function;          /* what it starts with, in the registry */
    script_function_fn *function;  /* the caller's */
    void *argument;
    int function_status;
    int loading; /* files being loaded: only then `require` reads */
    struct source source;
    uint64_t secret; /* mixed into the addresses that scripts see */
    char text[SCRIPT_TEXT_SIZE];
};

/* Makes a VM with its libraries, on the calling thread, which must be the one of `watch`. NULL: the error says why.
 * What options point to must live as long as the script. */
struct script *script_create(const struct script_options *options, struct watch *watch, struct error *error);
/* Runs finalizers (within the budget) unless the script was killed, and gives its memory back. NULL is fine. */
void script_destroy(struct script *script);
/* Moves the script to the calling thread. Nothing of it may be running. False when so many VMs were killed on that
 * thread that no more should run there. */
bool script_attach(struct script *script, struct watch *watch);

/* Loads a file (text, not bytecode) and runs its top level, which may not wait. Its globals are its own, and are closed
 * when it has run: from then on assigning one raises. *reference: what it returned, in the registry of Lua. */
enum script_outcome script_load(struct script *script, const char *path, int *reference, struct script_result *result);

/* The door: starts or resumes the thread with the topmost values of its stack as arguments (and, to start it, the
 * function below them). Not to be called by what it runs. */
enum script_outcome script_enter(struct script *script, struct script_thread *thread, int arguments_count,
                                 struct script_result *result);
/* The door for our own C code. SCRIPT_RETURNED unless it raised or was stopped; it cannot yield. */
enum script_outcome script_call(struct script *script, script_function_fn *function, void *argument,
                                struct script_result *result);

/* A thread with an empty stack; used ones come first. NULL when memory is short or the script is dead. */
struct script_thread *script_thread_take(struct script *script);
/* Gives a thread back in whatever state it is. It must not be running. */
void script_thread_give(struct script *script, struct script_thread *thread);

/* Collects some garbage if much memory is in use; for the worker's loop, between turns. False: it took too long, or a
 * finalizer did, and the script is dead. */
bool script_collect(struct script *script);
/* Collects all garbage, that of top levels, say; while nobody waits for the thread. False: as above. */
bool script_collect_all(struct script *script);

/* --- for C functions that Lua calls ------------------------------------------------------------------------------- */

struct script *script_of(lua_State *L);

/* Raises an error at the line that runs in the innermost function that comes from a file, and not from us. The format
 * is lua_pushfstring's. */
_Noreturn void script_error(lua_State *L, const char *format, ...);

/* As script_thread_take. Raises when memory is short. */
struct script_thread *script_thread_make(lua_State *L);

/* Between these two the script is not killed: for C code that has the engine's objects in a state that must not stay,
 * and calls LuaJIT meanwhile. (While an instruction of our own runs it is never killed.) Nothing between them may
 * raise, yield, or run Lua code; keep it short. */
static inline void script_shield(struct script *script) {
    script->shield++;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void script_unshield(struct script *script) {
    atomic_signal_fence(memory_order_seq_cst);
    script->shield--;
}

/* Raises when so much of the C stack is used that another call from C into Lua might overflow it: to be called by every
 * C function that calls Lua. LuaJIT has no such limit of its own. */
void script_check_stack(lua_State *L);
/* Raises when `size` bytes more would exceed the memory limit, before something asks for them at once. */
void script_check_room(lua_State *L, double size);

#endif
