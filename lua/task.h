/* Coroutines in progress: hooks that wait, and what scripts started beside them.
 *
 * Who waits yields a number of enum wait and what belongs to it, and goes on with a number of enum wake. Only a hook's
 * or task's own coroutine may wait, not one that a script made. */
#ifndef MOONRING_LUA_TASK_H
#define MOONRING_LUA_TASK_H

#include "lua/runtime.h"

enum { TASKS_MAX = 100000 }; /* in one VM */

enum wait {
    WAIT_BYTES = 1, /* direction, bytes: until the view of the byte hook can have so many */
    WAIT_SOURCE,    /* direction, bytes, milliseconds: until an endpoint has so many to read */
    WAIT_ROOM,      /* the struct conn, direction: until a write into that stream need not wait */
    WAIT_TIME,      /* milliseconds */
    WAIT_SIGNAL,    /* the signal, milliseconds */
    WAIT_END,       /* enum filter_close: does not go on, and the session ends */
};

enum wake {
    WAKE_DONE,
    WAKE_EOF, /* of bytes: the end came before them */
    WAKE_TIMEOUT,
};

#define WAIT_FOR_EVER (-1.0) /* milliseconds */

/* What a script holds of a task; its memory is the VM's. */
struct task_handle {
    struct task *task; /* NULL: it is over */
};

struct task {
    struct link link;          /* in runtime.tasks */
    struct link conn_link;     /* in conn.tasks, unless it is of no session */
    struct link queue_link;    /* in runtime.ready or signal.waiting, while it stands there */
    struct lua_filter *filter; /* whose code it is */
    struct runtime *runtime;
    struct conn *conn;            /* NULL: of no session */
    struct script_thread *thread; /* ours; NULL: a repeated one between two runs */
    struct task_handle *handle;   /* points back; NULL: nobody holds it */
    struct place place;           /* of the function that was spawned */
    struct timer timer;
    struct stage_wait stage_wait;
    const struct stage *stage; /* that stage_wait is for */
    uint64_t due_ms;           /* of a repeated one: its next run */
    uint64_t period_ms;        /* 0: it runs once */
    int function;              /* of a repeated one: what it runs, in the registry; else LUA_NOREF */
    int arguments_count;       /* until it starts: what lies above the function on the thread's stack */
    uint8_t hook;              /* enum hook */
    uint8_t waits;             /* enum wait; 0: it does not */
    uint8_t wake;              /* enum wake, in runtime.ready */
    bool started;
    bool cancelled;
    bool at_retire; /* runs when the script is retired, and not before */
};

struct signal {
    struct list waiting; /* tasks */
    bool set;            /* nobody waited when it was */
};

/* Adds what is here to the library. Inside the door. */
void task_open(lua_State *L);

/* For C functions that Lua calls: `return task_wait(L, WAIT_..., count)`, with what belongs to it, numbers or values of
 * the script, on top of the stack. Raises where waiting is not possible. */
int task_wait(lua_State *L, enum wait wait, int arguments_count);
/* Raises where waiting is not possible. */
void task_check_may_wait(lua_State *L);
/* The argument, seconds, as milliseconds; WAIT_FOR_EVER: none is given. Raises unless it is 0 to a billion. */
double task_check_ms(lua_State *L, int index);

/* Starts the function below the topmost arguments_count values as a task that begins after wait_ms. Pops them, and
 * pushes its handle. conn: whose; NULL: of no session. Raises when there are too many, or memory is short. */
struct task *task_spawn(lua_State *L, struct conn *conn, int arguments_count, double wait_ms);

/* Makes a task of a hook that has just yielded; the thread is the task's then. NULL: too many, or memory is short. */
struct task *task_create(struct runtime *runtime, const struct entry *entry, struct script_thread *thread);
/* Sees to it that the task is entered when what its thread yielded has come. */
void task_suspend(struct task *task);
/* It was entered and will not be any more. A repeated one is set to its next run instead. */
void task_finish(struct task *task);
/* Ends a task that is not being entered, whatever it waits for. */
void task_drop(struct task *task);
/* It runs at the end of the turn. */
void task_make_ready(struct task *task, enum wake wake);
/* Enters a task that is due. Outside of any entry; it may be gone afterwards. */
void task_run(struct task *task, enum wake wake);
/* Sets out a task that was spawned while the runtime was not started. */
void task_set_out(struct task *task);

#endif
