#include "lua/hooks.h"

#include "base/log.h"
#include "engine/ring.h"
#include "lua/conn.h"
#include "lua/trace.h"
#include "lua/values.h"
#include "lua/view.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* --- telling what went wrong -------------------------------------------------------------------------------------- */

enum { FAULT_LINE_SIZE = 3072, HELD_SHOWN = 64 };

/* `, held: 16 03 01 ...`: what the byte hook had before it, for whoever wants to know which input kills a script. */
static void append_held(struct bytes *line, const struct entry *entry) {
    if (!hook_is_of_bytes(entry->hook)) {
        return;
    }
    const struct stage *stage = &entry->conn->filter_session->stages[hook_direction(entry->hook)];
    uint32_t size = stage->shown < HELD_SHOWN ? stage->shown : HELD_SHOWN;
    bytes_printf(line, ", held %u bytes:", stage->input.bytes);
    for (uint32_t index = 0; index < size; index++) {
        bytes_printf(line, " %02x", (unsigned char)stage_bytes(stage)[index]);
    }
}

/* `listener web: filter guard: session 12 from 127.0.0.1:4711: from_client: ` */
static void append_subject(struct bytes *line, const struct entry *entry) {
    bytes_printf(line, "listener %s: filter %s: ", entry->filter->listener, entry->filter->filter.name);
    if (entry->conn != NULL) {
        struct filter_facts facts;
        struct address address;
        char client[ADDRESS_TEXT_MAX];
        filter_facts(entry->conn->filter_session, &facts);
        filter_client_address(entry->conn->filter_session, &address);
        address_format(&address, client, sizeof(client));
        bytes_printf(line, "session %lu from %s: ", (unsigned long)facts.id, client);
    }
    bytes_printf(line, "%s: ", hook_name(entry->hook));
}

/* Of the function that was entered: the hook, or what was spawned. */
static const struct place *entry_place(const struct entry *entry) {
    return entry->hook == HOOK_TASK ? &entry->task->place : &entry->filter->places[entry->hook];
}

/* By the line that the text names, or else where the function begins that was entered. */
static void hooks_count(struct runtime *runtime, const struct entry *entry, enum failure failure, const char *text) {
    const struct script *script = runtime->script;
    char where[FAILURE_PLACE_SIZE] = "unknown";
    struct place place = place_of_text(text, &script->source);
    if (place.file == NULL) {
        place = *entry_place(entry);
    }
    if (place.file != NULL) {
        place_format(&place, script->options.folder, where, sizeof(where));
    }
    usage_count_failure(entry->filter->usage, failure, where, runtime->engine->now_us);
}

static void hooks_tell(struct runtime *runtime, const struct entry *entry, enum failure failure, const char *text) {
    uint32_t untold = 0;
    hooks_count(runtime, entry, failure, text);
    if (!fault_is_due(&entry->filter->faults, text, runtime->engine->now_us, &untold)) {
        return;
    }
    char formatted[FAULT_LINE_SIZE];
    struct bytes line;
    bytes_init(&line);
    append_subject(&line, entry);
    fault_format(text, formatted, sizeof(formatted));
    bytes_append_text(&line, formatted);
    if (runtime_is_dead(runtime)) {
        append_held(&line, entry);
    }
    if (untold > 0) {
        bytes_printf(&line, " (and %u times before)", untold);
    }
    log_error("%s", line.data);
    bytes_finish(&line);
}

/* The line that ran is often lost with the VM: what can be named then is the function that was entered. */
static void hooks_tell_kill(struct runtime *runtime, const struct entry *entry, const char *text) {
    const struct place *place = entry_place(entry);
    const char *what = entry->hook == HOOK_TASK ? "spawned function" : "hook";
    struct error error;
    error_set(&error, "%s", text);
    bool is_known = runtime->script->stopped_at.file != NULL;
    if (place->file != NULL && !is_known && place->last_line == 0) {
        error_prefix(&error, "%s:%u: in what was spawned here: ", place->file, place->line);
    } else if (place->file != NULL && !is_known) {
        error_prefix(&error, "%s:%u: somewhere in the %s from here to line %u: ", place->file, place->line, what,
                     place->last_line);
    } else if (place->file != NULL) {
        error_set(&error, "%s, in the %s at %s:%u", text, what, place->file, place->line);
    }
    hooks_tell(runtime, entry, FAILURE_KILL, error.text);
}

/* A hook that waits is told with the line that it waits in, one that has returned with the place where it begins. */
static struct place held_place(const struct conn *conn, enum hook hook) {
    const struct runtime *runtime = conn->runtime;
    struct place place = {.file = NULL};
    for (struct link *link = conn->tasks.head.next; link != &conn->tasks.head; link = link->next) {
        const struct task *task = container_of(link, struct task, conn_link);
        if (task->hook == hook && task->thread != NULL && !runtime_is_dead(runtime)) {
            place = place_of_running(task->thread->state, &runtime->script->source);
        }
    }
    return place.file != NULL ? place : conn->filter->places[hook];
}

static void hooks_tell_hold(struct filter_session *filter_session, enum direction direction, const char *why) {
    struct conn *conn = filter_session->script;
    if (conn == NULL) {
        return; /* the filter was switched off before the session began */
    }
    struct entry entry = {.filter = conn->filter, .conn = conn, .hook = direction_hook(direction)};
    struct place place = held_place(conn, entry.hook);
    struct error error;
    error_set(&error, "%s", why);
    if (place.file != NULL) {
        error_prefix(&error, "%s:%u: ", place.file, place.line);
    }
    hooks_tell(conn->runtime, &entry, FAILURE_HOLD, error.text);
}

/* --- what a hook answered ----------------------------------------------------------------------------------------- */

/* The function has returned, so what can be named is where it begins. */
static bool answer_refuse(const struct entry *entry, struct error *error) {
    const struct place *place = entry_place(entry);
    return error_prefix(error, "%s:%u: the answer of %s ", place->file != NULL ? place->file : entry->filter->file,
                        place->line, hook_name(entry->hook));
}

/* `return name, { key = text }`: the text goes on top of the stack. */
static bool answer_push_key(const struct entry *entry, lua_State *thread, struct error *error) {
    if (!lua_istable(thread, 2)) {
        return error_set(error, "has a second value that is not a table: name, { key = text }");
    }
    lua_rawgeti(thread, LUA_REGISTRYINDEX, entry->conn->runtime->key_name);
    lua_rawget(thread, 2);
    return lua_type(thread, -1) == LUA_TSTRING || error_set(error, "has a `key` that is not a string");
}

static bool answer_where(const struct entry *entry, lua_State *thread, struct error *error) {
    size_t where_size = 0;
    size_t key_size = 0;
    const char *key = NULL;
    if (lua_type(thread, 1) != LUA_TSTRING) {
        return error_set(error, "is a %s: allowed are nil, the name of an upstream, and an address",
                         lua_typename(thread, lua_type(thread, 1)));
    }
    if (!lua_isnoneornil(thread, 2)) {
        if (!answer_push_key(entry, thread, error)) {
            return false;
        }
        key = lua_tolstring(thread, -1, &key_size);
    }
    const char *where = lua_tolstring(thread, 1, &where_size);
    return filter_answer(entry->conn->filter_session, where, where_size, key, key_size, error) ||
           error_prefix(error, "is not possible: ");
}

/* False: it is none of what is allowed; the error says so. */
static bool hooks_take_answer(const struct entry *entry, lua_State *thread, struct error *error) {
    switch (entry->hook) {
    case HOOK_ROUTE:
    case HOOK_CONNECT_FAILED:
        return lua_isnoneornil(thread, 1) || answer_where(entry, thread, error) || answer_refuse(entry, error);
    case HOOK_CLIENT_EOF:
    case HOOK_SERVER_EOF:
        if (lua_isboolean(thread, 1) && !lua_toboolean(thread, 1)) {
            filter_keep_open(entry->conn->filter_session);
        }
        return true;
    case HOOK_CONNECTED:
    case HOOK_FROM_CLIENT:
    case HOOK_FROM_SERVER:
    case HOOK_SERVE:
    case HOOK_CLOSED:
    case HOOK_TASK:
        break;
    }
    return true;
}

/* --- an entry ----------------------------------------------------------------------------------------------------- */

/* What of an entry is needed to the end of it. */
struct run {
    struct runtime *runtime;
    struct entry entry;
    struct script_thread *thread; /* ours, or the task's; NULL: there is none */
};

/* The coroutine is over, one way or the other. */
static void run_done(struct run *run) {
    if (run->entry.task != NULL) {
        task_finish(run->entry.task);
    } else if (run->thread != NULL) {
        script_thread_give(run->runtime->script, run->thread);
    }
}

/* What the script can read of the session ends with a hook that does not return; with a task, it is hidden. */
static void run_stop_views(struct run *run) {
    const struct entry *entry = &run->entry;
    if (entry->conn == NULL || !entry->conn->has_slot) {
        return;
    }
    if (hook_is_of_bytes(entry->hook)) {
        view_stop(run->runtime->views, entry->conn->slot, hook_direction(entry->hook));
    } else {
        conn_end_peeks(entry->conn);
        view_pause(run->runtime->views, entry->conn->slot);
    }
}

static enum hook_outcome run_fail(struct run *run, const char *text) {
    bool overflowed = run->entry.conn != NULL && run->entry.conn->filter_session->overflowed;
    hooks_tell(run->runtime, &run->entry, overflowed ? FAILURE_HOLD : FAILURE_ERROR, text);
    run_stop_views(run);
    run_done(run);
    return HOOK_FAILED;
}

static enum hook_outcome run_stopped(struct run *run, enum script_outcome outcome, const char *text) {
    struct lua_filter *filter = run->entry.filter;
    if (outcome == SCRIPT_RAISED) {
        return run_fail(run, text);
    }
    if (outcome == SCRIPT_KILLED) {
        lua_filter_note_kill(filter, run->runtime->engine->now_us);
        hooks_tell_kill(run->runtime, &run->entry, text);
    } else {
        enum failure failure = outcome == SCRIPT_OVER_BUDGET ? FAILURE_BUDGET : FAILURE_MEMORY;
        hooks_tell(run->runtime, &run->entry, failure, text);
    }
    run_stop_views(run);
    run_done(run);
    return HOOK_OVER;
}

static enum hook_outcome run_without_thread(struct run *run) {
    const struct runtime *runtime = run->runtime;
    if (runtime_is_dead(runtime)) {
        return run_stopped(run, SCRIPT_KILLED, runtime->script->text);
    }
    return run_stopped(run, SCRIPT_OUT_OF_MEMORY, "not enough memory for a coroutine");
}

static enum hook_outcome run_enter(struct run *run, int arguments_count);

/* A loop over frames that the hook left is finished for it, as another part of the same hook. */
static enum hook_outcome run_finish_frames(struct run *run) {
    struct conn *conn = run->entry.conn;
    lua_State *thread = run->thread->state;
    lua_settop(thread, 0);
    view_push_finish(thread, run->runtime->views);
    lua_rawgeti(thread, LUA_REGISTRYINDEX, conn->bufs[hook_direction(run->entry.hook)]);
    return run_enter(run, 1);
}

/* Not in the frame of those that may run for each chunk, with all its text. */
__attribute__((noinline)) static enum hook_outcome run_answered(struct run *run) {
    struct error error;
    if (!hooks_take_answer(&run->entry, run->thread->state, &error)) {
        return run_fail(run, error.text);
    }
    run_stop_views(run);
    run_done(run);
    return HOOK_RETURNED;
}

static enum hook_outcome run_returned(struct run *run) {
    const struct entry *entry = &run->entry;
    struct views *views = run->runtime->views;
    if (!hook_is_of_bytes(entry->hook)) {
        return run_answered(run);
    }
    switch (view_end(views, entry->conn->slot, hook_direction(entry->hook))) {
    case VIEW_DONE:
    case VIEW_NOTHING:
        break;
    case VIEW_FINISH:
        return run_finish_frames(run);
    case VIEW_FAILED:
        return run_fail(run, view_reason(views));
    }
    run_done(run);
    return HOOK_RETURNED;
}

static enum hook_outcome run_ended(struct run *run) {
    enum filter_close how = (enum filter_close)lua_tonumber(run->thread->state, 2);
    filter_close(run->entry.conn->filter_session, how);
    run_stop_views(run);
    run_done(run);
    return HOOK_ENDS;
}

static bool run_pause_views(struct run *run) {
    const struct conn *conn = run->entry.conn;
    return conn == NULL || !conn->has_slot || view_pause(run->runtime->views, conn->slot) != VIEW_FAILED;
}

static enum hook_outcome run_suspend(struct run *run) {
    struct entry *entry = &run->entry;
    if (!run_pause_views(run)) {
        return run_fail(run, view_reason(run->runtime->views));
    }
    if (entry->task == NULL) {
        struct task *task = task_create(run->runtime, entry, run->thread);
        if (task == NULL) {
            return run_fail(run, "it cannot wait: not enough memory, or too many tasks in its VM");
        }
        task->started = true;
        entry->task = task;
    }
    if (entry->task->cancelled) {
        task_finish(entry->task);
        return HOOK_RETURNED;
    }
    task_suspend(entry->task);
    return HOOK_WAITS;
}

static enum hook_outcome run_yielded(struct run *run) {
    double wait = lua_tonumber(run->thread->state, 1);
    if (wait == WAIT_END) {
        return run_ended(run);
    }
    bool known = wait >= WAIT_BYTES && wait < WAIT_END;
    return known ? run_suspend(run) : run_fail(run, "the hook yielded to nobody");
}

/* Reading the clock costs as much as a short hook: only some of the hooks that may run for each chunk are measured. */
static uint64_t run_weight(const struct run *run) {
    struct usage_cells *usage = run->entry.filter->usage;
    if (!hook_is_of_bytes(run->entry.hook)) {
        return 1;
    }
    if (--usage->unmeasured > 0) {
        return 0;
    }
    usage->unmeasured = USAGE_SAMPLING;
    return USAGE_SAMPLING;
}

static enum script_outcome run_enter_script(struct run *run, int arguments_count, struct script_result *result) {
    struct usage_cells *usage = run->entry.filter->usage;
    struct script *script = run->runtime->script;
    uint64_t weight = run_weight(run);
    uint64_t began_ns = weight == 0 ? 0 : kernel_now_ns();
    enum script_outcome outcome = script_enter(script, run->thread, arguments_count, result);
    if (weight > 0) {
        usage_add(&usage->busy_ns, weight * (kernel_now_ns() - began_ns));
        atomic_store_explicit(&usage->memory, script->heap.used, memory_order_relaxed);
    }
    return outcome;
}

/* Enters the thread with so many arguments on its stack. */
static enum hook_outcome run_enter(struct run *run, int arguments_count) {
    struct runtime *runtime = run->runtime;
    struct script_result result;
    runtime->entry = run->entry;
    enum script_outcome outcome = run_enter_script(run, arguments_count, &result);
    runtime->entry = (struct entry){.filter = NULL};
    switch (outcome) {
    case SCRIPT_RETURNED:
        return run_returned(run);
    case SCRIPT_YIELDED:
        return run_yielded(run);
    case SCRIPT_RAISED:
    case SCRIPT_OUT_OF_MEMORY:
    case SCRIPT_OVER_BUDGET:
    case SCRIPT_KILLED:
        break;
    }
    return run_stopped(run, outcome, result.text);
}

static enum hook_outcome run_start(struct run *run, int arguments_count) {
    struct lua_filter *filter = run->entry.filter;
    values_set_filter(run->runtime->values, filter->filter.name);
    usage_add(&filter->usage->entered[run->entry.hook], 1);
    if (!run->runtime->trace) {
        return run_enter(run, arguments_count);
    }
    struct trace trace;
    struct entry entry = run->entry;
    trace_begin(&trace, &entry);
    enum hook_outcome outcome = run_enter(run, arguments_count);
    trace_end(&trace, &entry, outcome);
    return outcome;
}

/* --- hooks that begin --------------------------------------------------------------------------------------------- */

static int push_failure(lua_State *L, const struct filter_facts *facts) {
    lua_pushstring(L, facts->error != NULL ? facts->error : "no server was tried");
    lua_pushnumber(L, facts->tries);
    return 2;
}

static int push_info(lua_State *L, const struct conn *conn, const struct filter_facts *facts) {
    lua_createtable(L, 0, 5);
    lua_pushstring(L, facts->reason);
    lua_setfield(L, -2, "reason");
    lua_pushstring(L, facts->error);
    lua_setfield(L, -2, "error");
    lua_pushnumber(L, (double)(conn->runtime->engine->now_us - facts->started_us) / 1e6);
    lua_setfield(L, -2, "seconds");
    lua_pushnumber(L, (double)facts->bytes[FROM_CLIENT]);
    lua_setfield(L, -2, "from_client");
    lua_pushnumber(L, (double)facts->bytes[FROM_SERVER]);
    lua_setfield(L, -2, "from_server");
    return 1;
}

struct preparation {
    struct conn *conn;
    enum hook hook;
    lua_State *thread;
    int arguments_count; /* behind conn */
};

/* Inside the door: what a hook needs that cannot be made outside of it. */
static int prepare(lua_State *L, void *argument) {
    struct preparation *preparation = argument;
    struct conn *conn = preparation->conn;
    struct filter_facts facts;
    conn_make(L, conn);
    filter_facts(conn->filter_session, &facts);
    if (preparation->hook == HOOK_CONNECT_FAILED) {
        preparation->arguments_count = push_failure(L, &facts);
    } else if (preparation->hook == HOOK_CLOSED) {
        preparation->arguments_count = push_info(L, conn, &facts);
    }
    lua_xmove(L, preparation->thread, preparation->arguments_count);
    return 0;
}

static bool needs_preparation(const struct conn *conn, enum hook hook) {
    return !conn->made || hook == HOOK_CONNECT_FAILED || hook == HOOK_CLOSED;
}

/* Puts the hook and its arguments on the thread's stack. */
static enum script_outcome push_hook(struct run *run, int *arguments_count, struct script_result *result) {
    struct conn *conn = run->entry.conn;
    enum hook hook = run->entry.hook;
    lua_State *thread = run->thread->state;
    lua_rawgeti(thread, LUA_REGISTRYINDEX, conn->filter->hooks[hook]);
    *arguments_count = 1;
    if (needs_preparation(conn, hook)) {
        struct preparation preparation = {.conn = conn, .hook = hook, .thread = thread};
        enum script_outcome outcome = script_call(conn->runtime->script, prepare, &preparation, result);
        if (outcome != SCRIPT_RETURNED) {
            return outcome;
        }
        *arguments_count += preparation.arguments_count;
    }
    conn_push(thread, conn);
    if (*arguments_count > 1) {
        lua_insert(thread, 2);
    }
    if (hook_is_of_bytes(hook)) {
        lua_rawgeti(thread, LUA_REGISTRYINDEX, conn->bufs[hook_direction(hook)]);
        *arguments_count += 1;
    }
    return SCRIPT_RETURNED;
}

static enum hook_outcome hooks_begin(struct conn *conn, enum hook hook) {
    struct runtime *runtime = conn->runtime;
    struct run run = {.runtime = runtime, .entry = {.filter = conn->filter, .conn = conn, .hook = hook}};
    struct script_result result;
    int arguments_count = 0;
    run.thread = script_thread_take(runtime->script);
    if (run.thread == NULL) {
        return run_without_thread(&run);
    }
    enum script_outcome outcome = push_hook(&run, &arguments_count, &result);
    if (outcome != SCRIPT_RETURNED) {
        return run_stopped(&run, outcome, result.text);
    }
    if (!hook_is_of_bytes(hook)) {
        view_resume(runtime->views, conn->slot);
        return run_start(&run, arguments_count);
    }
    switch (view_begin(runtime->views, conn->slot, hook_direction(hook))) {
    case VIEW_DONE:
    case VIEW_FINISH:
        break;
    case VIEW_NOTHING:
        run_done(&run);
        return HOOK_RETURNED;
    case VIEW_FAILED:
        return run_fail(&run, view_reason(runtime->views));
    }
    return run_start(&run, arguments_count);
}

static enum hook_outcome hooks_run(struct filter_session *filter_session, enum hook hook) {
    struct conn *conn = filter_session->script;
    if (conn == NULL) {
        return HOOK_RETURNED; /* the filter was switched off before the session began */
    }
    if (runtime_is_dead(conn->runtime)) {
        return HOOK_OVER;
    }
    if (hook == HOOK_CLOSED) {
        conn_drop_tasks(conn);
        conn_end_peeks(conn);
        conn->closing = true;
    }
    return hooks_begin(conn, hook);
}

const struct filter_calls hooks_calls = {
    .open = conn_open, .run = hooks_run, .close = conn_close, .tell_hold = hooks_tell_hold};

/* --- hooks and tasks that go on ----------------------------------------------------------------------------------- */

/* A repeated task begins each run on a fresh thread. */
static bool task_take_thread(struct task *task) {
    if (task->thread == NULL) {
        task->thread = script_thread_take(task->runtime->script);
        if (task->thread == NULL) {
            return false;
        }
        lua_rawgeti(task->thread->state, LUA_REGISTRYINDEX, task->function);
    }
    return true;
}

enum hook_outcome hooks_go_on(struct task *task, enum wake wake) {
    struct runtime *runtime = task->runtime;
    struct conn *conn = task->conn;
    struct run run = {.runtime = runtime, .entry = {task->filter, conn, task, task->hook}};
    if (runtime_is_dead(runtime)) {
        task_finish(task);
        return HOOK_OVER;
    }
    if (!task_take_thread(task)) {
        return run_without_thread(&run);
    }
    run.thread = task->thread;
    int arguments_count = task->arguments_count;
    task->arguments_count = 0;
    if (task->started) {
        lua_settop(task->thread->state, 0);
        lua_pushnumber(task->thread->state, wake);
        arguments_count = 1;
    }
    task->started = true;
    if (conn != NULL && conn->has_slot) {
        view_resume(runtime->views, conn->slot);
    }
    return run_start(&run, arguments_count);
}
