#include "lua/task.h"

#include "lua/conn.h"
#include "lua/embed.h"
#include "lua/hooks.h"
#include "lua/libs.h"
#include "lua/values.h"
#include "lua/view.h"

#include <lauxlib.h>
#include <string.h>

static const char handle_type[] = "moonring.task";
static const char signal_type[] = "moonring.signal";

#define SECONDS_MAX 1e9

/* --- life --------------------------------------------------------------------------------------------------------- */

static void task_fired(struct timer *timer) {
    struct task *task = container_of(timer, struct task, timer);
    task_run(task, task->waits == WAIT_TIME ? WAKE_DONE : WAKE_TIMEOUT);
}

/* Whoever waits for room comes at the end of the turn, or one that writes without end could keep a turn from ending. */
static void task_satisfied(struct stage_wait *wait) {
    struct task *task = container_of(wait, struct task, stage_wait);
    if (wait->for_room) {
        task_make_ready(task, WAKE_DONE);
    } else if (task->stage->input.bytes >= wait->bytes) {
        task_run(task, WAKE_DONE);
    } else {
        task_run(task, task->stage->ended ? WAKE_EOF : WAKE_TIMEOUT);
    }
}

struct task *task_create(struct runtime *runtime, const struct entry *entry, struct script_thread *thread) {
    struct task *task = runtime->tasks_count < TASKS_MAX ? slab_take(&runtime->tasks_slab) : NULL;
    if (task == NULL) {
        return NULL;
    }
    *task = (struct task){.filter = entry->filter,
                          .runtime = runtime,
                          .conn = entry->conn,
                          .thread = thread,
                          .function = LUA_NOREF,
                          .hook = (uint8_t)entry->hook};
    link_init(&task->link);
    link_init(&task->conn_link);
    link_init(&task->queue_link);
    timer_init(&task->timer, task_fired);
    stage_wait_init(&task->stage_wait, task_satisfied);
    list_append(&runtime->tasks, &task->link);
    if (task->conn != NULL) {
        list_append(&task->conn->tasks, &task->conn_link);
    }
    runtime->tasks_count++;
    task->filter->waiting++;
    return task;
}

static void task_stop_waiting(struct task *task) {
    wheel_stop(&task->timer);
    stage_wait_stop(&task->stage_wait);
    link_remove(&task->queue_link);
    task->waits = 0;
}

static void task_free(struct task *task) {
    struct runtime *runtime = task->runtime;
    if (task->handle != NULL) {
        task->handle->task = NULL;
    }
    if (task->conn != NULL && task->conn->quota == task) {
        task->conn->quota = NULL;
    }
    if (task->function != LUA_NOREF && !runtime_is_dead(runtime)) {
        luaL_unref(runtime->script->state, LUA_REGISTRYINDEX, task->function);
    }
    link_remove(&task->link);
    link_remove(&task->conn_link);
    runtime->tasks_count--;
    task->filter->waiting--;
    slab_give(&runtime->tasks_slab, task);
}

static void task_give_thread(struct task *task) {
    if (task->thread != NULL) {
        script_thread_give(task->runtime->script, task->thread);
        task->thread = NULL;
    }
}

/* What a byte hook had before it cannot be read any more. */
static void task_stop_views(struct task *task) {
    if (task->conn != NULL && task->conn->has_slot && hook_is_of_bytes(task->hook)) {
        view_stop(task->runtime->views, task->conn->slot, hook_direction(task->hook));
    }
}

void task_drop(struct task *task) {
    task_stop_views(task);
    task_stop_waiting(task);
    task_give_thread(task);
    task_free(task);
}

/* --- time --------------------------------------------------------------------------------------------------------- */

/* The wheel's time is that of the turn's beginning, cut to a millisecond: one more, so that nothing comes early. */
static void task_set_timer(struct task *task, double wait_ms) {
    struct engine *engine = task->runtime->engine;
    wheel_set(&engine->wheel, &task->timer, engine_now_ms(engine) + (uint64_t)wait_ms + 1);
}

/* Runs that were missed are left out. */
static void task_repeat(struct task *task) {
    struct engine *engine = task->runtime->engine;
    uint64_t now_ms = engine_now_ms(engine);
    task->started = false;
    task->waits = WAIT_TIME;
    task->due_ms += task->period_ms;
    if (task->due_ms <= now_ms) {
        task->due_ms = now_ms + task->period_ms;
    }
    wheel_set(&engine->wheel, &task->timer, task->due_ms);
}

void task_finish(struct task *task) {
    task_give_thread(task);
    if (task->period_ms > 0 && !task->cancelled && !runtime_is_dead(task->runtime)) {
        task_repeat(task);
    } else {
        task_free(task);
    }
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static void task_await_bytes(struct task *task, struct stage *stage, uint32_t bytes) {
    task->stage = stage;
    task->stage_wait.bytes = bytes;
    task->stage_wait.for_room = false;
    list_append(&stage->waits, &task->stage_wait.link);
}

static void task_await_room(struct task *task, struct stage *stage) {
    task->stage = stage;
    task->stage_wait.for_room = true;
    list_append(&stage->waits, &task->stage_wait.link);
}

static void task_await_time(struct task *task, double wait_ms) {
    if (wait_ms == 0) {
        task_make_ready(task, WAKE_DONE);
    } else {
        task_set_timer(task, wait_ms);
    }
}

static void task_set_deadline(struct task *task, double wait_ms) {
    if (wait_ms != WAIT_FOR_EVER) {
        task_set_timer(task, wait_ms);
    }
}

void task_suspend(struct task *task) {
    lua_State *thread = task->thread->state;
    struct filter_session *filter_session = task->conn != NULL ? task->conn->filter_session : NULL;
    task->waits = (uint8_t)lua_tonumber(thread, 1);
    double first = lua_tonumber(thread, 2);
    switch ((enum wait)task->waits) {
    case WAIT_BYTES:
        task_await_bytes(task, &filter_session->stages[(int)first], (uint32_t)lua_tonumber(thread, 3));
        break;
    case WAIT_SOURCE:
        task_await_bytes(task, filter_source(filter_session, (enum direction)first), (uint32_t)lua_tonumber(thread, 3));
        task_set_deadline(task, lua_tonumber(thread, 4));
        break;
    case WAIT_ROOM: {
        const struct conn *conn = lua_touserdata(thread, 2);
        task_await_room(task, &conn->filter_session->stages[(int)lua_tonumber(thread, 3)]);
        break;
    }
    case WAIT_TIME:
        task_await_time(task, first);
        break;
    case WAIT_SIGNAL: {
        struct signal *signal = lua_touserdata(thread, 2);
        list_append(&signal->waiting, &task->queue_link);
        task_set_deadline(task, lua_tonumber(thread, 3));
        break;
    }
    case WAIT_END:
        break; /* such a hook is over */
    }
}

void task_make_ready(struct task *task, enum wake wake) {
    link_remove(&task->queue_link);
    wheel_stop(&task->timer);
    task->wake = (uint8_t)wake;
    list_append(&task->runtime->ready, &task->queue_link);
}

/* Its session is closed, and its last hook has not begun, or there is none. */
static bool task_is_too_late(const struct task *task) {
    if (task->conn == NULL || task->conn->closing) {
        return false;
    }
    struct filter_facts facts;
    filter_facts(task->conn->filter_session, &facts);
    return facts.reason != NULL;
}

void task_run(struct task *task, enum wake wake) {
    struct engine *engine = task->runtime->engine;
    enum hook hook = task->hook;
    if (task_is_too_late(task)) {
        task_drop(task);
        return;
    }
    struct filter_session *filter_session = task->conn != NULL ? task->conn->filter_session : NULL;
    task_stop_waiting(task);
    filter_enter(engine, filter_session, hook);
    enum hook_outcome outcome = hooks_go_on(task, wake);
    filter_leave(engine, filter_session, hook, outcome);
}

/* --- for C functions that Lua calls ------------------------------------------------------------------------------- */

void task_check_may_wait(lua_State *L) {
    const struct script *script = script_of(L);
    if (script->loading > 0) {
        script_error(L, "the top level of a file must not wait: mr.spawn a function for that");
    }
    if (L != script->running) {
        script_error(L, "cannot wait inside a coroutine of yours");
    }
    if (!lua_isyieldable(L)) {
        script_error(L, "cannot wait inside a function that a library function calls");
    }
}

int task_wait(lua_State *L, enum wait wait, int arguments_count) {
    task_check_may_wait(L);
    lua_pushnumber(L, wait);
    lua_insert(L, -arguments_count - 1);
    return lua_yield(L, arguments_count + 1);
}

double task_check_ms(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) {
        return WAIT_FOR_EVER;
    }
    double seconds = lua_tonumber(L, index);
    if (lua_type(L, index) != LUA_TNUMBER || !(seconds >= 0 && seconds <= SECONDS_MAX)) {
        script_error(L, "a time is a number of seconds from 0 to 1e9");
    }
    return __builtin_ceil(seconds * 1000);
}

static void *check_type(lua_State *L, int index, const char *type, const char *method) {
    void *value = luaL_testudata(L, index, type);
    if (value == NULL) {
        script_error(L, "%s is called with a colon: value:%s()", method, method);
    }
    return value;
}

/* --- spawning ----------------------------------------------------------------------------------------------------- */

static struct task_handle *push_handle(lua_State *L) {
    struct task_handle *handle = lua_newuserdata(L, sizeof(*handle));
    handle->task = NULL;
    luaL_getmetatable(L, handle_type);
    lua_setmetatable(L, -2);
    return handle;
}

/* Whose code runs now, in a hook, a task or at a top level. */
static struct lua_filter *current_filter(const struct runtime *runtime) {
    return runtime->entry.filter != NULL ? runtime->entry.filter : runtime->loading;
}

struct task *task_spawn(lua_State *L, struct conn *conn, int arguments_count, double wait_ms) {
    struct runtime *runtime = runtime_of(L);
    struct entry entry = {.filter = current_filter(runtime), .conn = conn, .hook = HOOK_TASK};
    if (lua_type(L, -arguments_count - 1) != LUA_TFUNCTION) {
        script_error(L, "what is to be run must be a function");
    }
    struct task_handle *handle = push_handle(L);
    lua_insert(L, -arguments_count - 2);
    lua_pushvalue(L, -arguments_count - 1);
    struct place place = place_of_function(L, &runtime->script->source);
    if (place.file == NULL) { /* the library's, as mr.all has it */
        place = place_of_running(L, &runtime->script->source);
    }
    struct script_thread *thread = script_thread_make(L);
    struct task *task = task_create(runtime, &entry, thread);
    if (task == NULL) {
        script_thread_give(runtime->script, thread);
        script_error(L, "not enough memory, or more than %d tasks in one VM", TASKS_MAX);
    }
    task->place = place;
    task->handle = handle;
    handle->task = task;
    task->arguments_count = arguments_count;
    task->waits = WAIT_TIME;
    task->due_ms = wait_ms == WAIT_FOR_EVER ? 0 : (uint64_t)wait_ms;
    if (!lua_checkstack(thread->state, arguments_count + 1)) {
        task_drop(task);
        script_error(L, "too many arguments");
    }
    lua_xmove(L, thread->state, arguments_count + 1);
    if (runtime->engine != NULL && wait_ms != WAIT_FOR_EVER) { /* (else somebody will make it ready) */
        task_set_out(task);
    }
    return task;
}

void task_set_out(struct task *task) {
    if (task->at_retire) {
        return;
    }
    double wait_ms = (double)task->due_ms;
    task->due_ms += engine_now_ms(task->runtime->engine);
    task_await_time(task, wait_ms);
}

static int api_spawn(lua_State *L) {
    if (lua_gettop(L) == 0) {
        lua_pushnil(L);
    }
    task_spawn(L, NULL, lua_gettop(L) - 1, 0);
    return 1;
}

/* (fn): beside the hook or task that runs, and no longer than its session. */
static int api_spawn_beside(lua_State *L) {
    task_spawn(L, runtime_of(L)->entry.conn, lua_gettop(L) - 1, 0);
    return 1;
}

static double check_delay_ms(lua_State *L, const char *name) {
    double wait_ms = task_check_ms(L, 1);
    if (wait_ms == WAIT_FOR_EVER) {
        script_error(L, "mr.%s needs a number of seconds", name);
    }
    return wait_ms;
}

static int api_after(lua_State *L) {
    double wait_ms = check_delay_ms(L, "after");
    lua_settop(L, 2);
    task_spawn(L, NULL, 0, wait_ms);
    return 1;
}

/* (seconds, fn, everywhere) */
static int api_every(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    double period_ms = check_delay_ms(L, "every");
    if (period_ms < 1) {
        script_error(L, "mr.every needs more than 0 seconds");
    }
    bool everywhere = lua_toboolean(L, 3) != 0;
    lua_settop(L, 2);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (runtime->worker != 0 && runtime->entry.filter == NULL && !everywhere) {
        push_handle(L);
        return 1;
    }
    lua_pushvalue(L, 2);
    int function = luaL_ref(L, LUA_REGISTRYINDEX);
    struct task *task = task_spawn(L, NULL, 0, period_ms);
    task->function = function;
    task->period_ms = (uint64_t)period_ms;
    return 1;
}

static int api_on_retire(lua_State *L) {
    values_check_loading(L, "on_retire");
    lua_settop(L, 1);
    task_spawn(L, NULL, 0, WAIT_FOR_EVER)->at_retire = true;
    return 0;
}

static int api_check_may_wait(lua_State *L) {
    task_check_may_wait(L);
    return 0;
}

static int api_sleep(lua_State *L) {
    lua_pushnumber(L, check_delay_ms(L, "sleep"));
    return task_wait(L, WAIT_TIME, 1);
}

/* A task that cancels itself goes on until it waits or ends. */
static int api_cancel(lua_State *L) {
    struct task_handle *handle = check_type(L, 1, handle_type, "cancel");
    struct task *task = handle->task;
    if (task == NULL) {
        return 0;
    }
    task->cancelled = true;
    if (task != runtime_of(L)->entry.task) {
        task_drop(task);
    }
    return 0;
}

/* Runs in a collection. */
static int api_forget(lua_State *L) {
    struct task_handle *handle = luaL_testudata(L, 1, handle_type);
    if (handle != NULL && handle->task != NULL) {
        handle->task->handle = NULL;
    }
    return 0;
}

/* --- signals ------------------------------------------------------------------------------------------------------ */

static int api_signal(lua_State *L) {
    struct signal *signal = lua_newuserdata(L, sizeof(*signal));
    list_init(&signal->waiting);
    signal->set = false;
    luaL_getmetatable(L, signal_type);
    lua_setmetatable(L, -2);
    return 1;
}

static int api_signal_set(lua_State *L) {
    struct signal *signal = check_type(L, 1, signal_type, "set");
    signal->set = list_is_empty(&signal->waiting);
    for (struct link *link = list_pop(&signal->waiting); link != NULL; link = list_pop(&signal->waiting)) {
        task_make_ready(container_of(link, struct task, queue_link), WAKE_DONE);
    }
    return 0;
}

static int api_signal_wait(lua_State *L) {
    struct signal *signal = check_type(L, 1, signal_type, "wait");
    double wait_ms = task_check_ms(L, 2);
    if (signal->set) {
        signal->set = false;
        lua_pushnumber(L, WAKE_DONE);
        return 1;
    }
    lua_settop(L, 1);
    lua_pushnumber(L, wait_ms);
    return task_wait(L, WAIT_SIGNAL, 2);
}

/* --- the library -------------------------------------------------------------------------------------------------- */

static const luaL_Reg natives[] = {{"spawn", api_spawn},
                                   {"spawn_beside", api_spawn_beside},
                                   {"check_may_wait", api_check_may_wait},
                                   {"after", api_after},
                                   {"every", api_every},
                                   {"on_retire", api_on_retire},
                                   {"sleep", api_sleep},
                                   {"cancel", api_cancel},
                                   {"signal", api_signal},
                                   {"signal_set", api_signal_set},
                                   {"signal_wait", api_signal_wait},
                                   {NULL, NULL}};

static void push_metatable(lua_State *L, const char *type) {
    luaL_newmetatable(L, type);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

/* task.lua: native functions, the library, the metatables of tasks and signals. */
void task_open(lua_State *L) {
    libs_push_chunk(L, embed_task, embed_task_end);
    lua_newtable(L);
    luaL_register(L, NULL, natives);
    libs_push_library(L);
    push_metatable(L, handle_type);
    lua_pushcfunction(L, api_forget);
    lua_setfield(L, -2, "__gc");
    push_metatable(L, signal_type);
    lua_call(L, 4, 0);
}
