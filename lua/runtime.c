#include "lua/runtime.h"

#include "base/log.h"
#include "config/nearest.h"
#include "lua/conn.h"
#include "lua/hooks.h"
#include "lua/libs.h"
#include "lua/params.h"
#include "lua/values.h"
#include "lua/view.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLAB_CHUNK = 64 * 1024,
    ROUNDS_MAX = 8, /* in which one turn runs what is ready: sessions wait meanwhile */
};

/* All links, to the end of another list. */
static void list_move(struct list *from, struct list *to) {
    for (struct link *link = list_pop(from); link != NULL; link = list_pop(from)) {
        list_append(to, link);
    }
}

/* --- making one --------------------------------------------------------------------------------------------------- */

static int open_library(lua_State *L, void *argument) {
    const struct runtime *runtime = argument;
    libs_push_library(L);
    values_open(L);
    views_open(L, runtime->views);
    lua_pop(L, 1);
    task_open(L);
    conn_open_library(L);
    return 0;
}

/* Only there to wake the worker: what is left is run at the end of the turn. */
static void runtime_fired(struct timer *timer) {
    (void)timer;
}

static void runtime_init(struct runtime *runtime, const struct runtime_options *options) {
    *runtime = (struct runtime){.worker = options->worker, .trace = options->trace};
    link_init(&runtime->link);
    list_init(&runtime->conns);
    list_init(&runtime->ends);
    list_init(&runtime->tasks);
    list_init(&runtime->ready);
    slab_init(&runtime->conns_slab, sizeof(struct conn), SLAB_CHUNK);
    slab_init(&runtime->tasks_slab, sizeof(struct task), SLAB_CHUNK);
    timer_init(&runtime->timer, runtime_fired);
}

static bool runtime_open(struct runtime *runtime, struct error *error) {
    struct script_result result;
    runtime->script->runtime = runtime;
    if (script_call(runtime->script, open_library, runtime, &result) != SCRIPT_RETURNED) {
        return error_set(error, "%s", result.text);
    }
    runtime->values = values_of(runtime->script);
    return values_set_worker(runtime->values, runtime->worker) || error_set(error, "not enough memory for metrics");
}

struct runtime *runtime_create(const struct runtime_options *options, struct watch *watch, struct error *error) {
    struct runtime *runtime = malloc(sizeof(*runtime));
    if (runtime == NULL) {
        error_set(error, "not enough memory for a Lua VM");
        return NULL;
    }
    runtime_init(runtime, options);
    runtime->views = views_create();
    if (runtime->views == NULL) {
        error_set(error, "not enough memory for the views of a Lua VM");
    } else {
        runtime->script = script_create(&options->script, watch, error);
    }
    if (runtime->script == NULL || !runtime_open(runtime, error)) {
        runtime_destroy(runtime);
        return NULL;
    }
    return runtime;
}

static void runtime_drop_tasks(struct runtime *runtime) {
    list_for_each (link, &runtime->tasks) {
        task_drop(container_of(link, struct task, link));
    }
}

void runtime_destroy(struct runtime *runtime) {
    if (runtime == NULL) {
        return;
    }
    check(list_is_empty(&runtime->conns));
    wheel_stop(&runtime->timer);
    runtime_drop_tasks(runtime);
    script_destroy(runtime->script);
    views_destroy(runtime->views);
    slab_finish(&runtime->conns_slab);
    slab_finish(&runtime->tasks_slab);
    link_remove(&runtime->link);
    free(runtime);
}

/* --- kills -------------------------------------------------------------------------------------------------------- */

void lua_filter_note_kill(struct lua_filter *filter, uint64_t now_us) {
    for (int index = KILLS_REMEMBERED - 1; index > 0; index--) {
        filter->kills_us[index] = filter->kills_us[index - 1];
    }
    filter->kills_us[0] = now_us;
}

bool lua_filter_is_wild(const struct lua_filter *filter) {
    uint64_t first_us = filter->kills_us[KILLS_REMEMBERED - 1];
    return first_us != 0 && filter->kills_us[0] - first_us <= (uint64_t)KILLS_WITHIN_S * 1000000;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* What is done with what a file returned, inside the door. */
struct taking {
    struct lua_filter *filter;
    int reference; /* what it returned, in the registry */
};

static void take_hook(lua_State *L, struct lua_filter *filter, enum hook hook) {
    lua_pushvalue(L, -1);
    filter->places[hook] = place_of_function(L, &script_of(L)->source);
    filter->hooks[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
    filter->filter.hooks |= 1u << hook;
}

/* HOOK_TASK: there is no such hook. */
static enum hook find_hook(const char *name, struct nearest *nearest) {
    int hook = 0;
    nearest_init(nearest, name);
    while (hook < HOOKS && strcmp(hook_name((enum hook)hook), name) != 0) {
        nearest_offer(nearest, hook_name((enum hook)hook));
        hook++;
    }
    return (enum hook)hook;
}

static void refuse_name(lua_State *L, const struct nearest *nearest) {
    if (nearest->best != NULL) {
        luaL_error(L, "there is no hook '%s' (did you mean '%s'?)", nearest->text, nearest->best);
    }
    luaL_error(L,
               "there is no hook '%s': there are route, connect_failed, connected, from_client, from_server, "
               "client_eof, server_eof, serve, closed",
               nearest->text);
}

/* The key is below the value on the stack; the value is taken. */
static void take_field(lua_State *L, struct lua_filter *filter) {
    struct nearest nearest;
    if (lua_type(L, -2) != LUA_TSTRING) {
        luaL_error(L, "the table of hooks has a field that is not a name, but a %s", luaL_typename(L, -2));
    }
    enum hook hook = find_hook(lua_tostring(L, -2), &nearest);
    if (hook == HOOK_TASK) {
        refuse_name(L, &nearest);
    }
    if (!lua_isfunction(L, -1)) {
        luaL_error(L, "the hook '%s' is not a function, but a %s", hook_name(hook), luaL_typename(L, -1));
    }
    take_hook(L, filter, hook);
}

static int take_hooks(lua_State *L, void *argument) {
    const struct taking *taking = argument;
    struct lua_filter *filter = taking->filter;
    if (taking->reference == LUA_REFNIL) {
        lua_pushnil(L);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, taking->reference);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, taking->reference);
    if (lua_isfunction(L, -1)) {
        take_hook(L, filter, HOOK_ROUTE);
        return 0;
    }
    if (!lua_istable(L, -1)) {
        luaL_error(L, "a filter returns a table of hooks, or one function, which is `route`; this returns %s",
                   lua_isnil(L, -1) ? "nothing" : luaL_typename(L, -1));
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        take_field(L, filter);
    }
    if (filter->filter.hooks == 0) {
        luaL_error(L, "the table of hooks is empty");
    }
    return 0;
}

static bool runtime_take_hooks(struct runtime *runtime, struct lua_filter *filter, int reference,
                               struct script_result *result) {
    struct taking taking = {.filter = filter, .reference = reference};
    for (int hook = 0; hook < HOOKS; hook++) {
        filter->hooks[hook] = LUA_NOREF;
    }
    filter->filter.hooks = 0;
    return script_call(runtime->script, take_hooks, &taking, result) == SCRIPT_RETURNED;
}

bool runtime_load(struct runtime *runtime, struct lua_filter *filter, struct bytes *problem) {
    struct script_result result;
    struct error error;
    int reference;
    params_set(runtime->values, filter->config);
    runtime->loading = filter;
    bool loaded = script_load(runtime->script, filter->file, &reference, &result) == SCRIPT_RETURNED;
    runtime->loading = NULL;
    if (!loaded) {
        bytes_append_text(problem, result.text);
        return false;
    }
    if (!runtime_take_hooks(runtime, filter, reference, &result)) {
        bytes_printf(problem, "%s: %s", filter->file, result.text);
        return false;
    }
    if (!params_were_taken(runtime->values, &error)) {
        bytes_append_text(problem, error.text);
        return false;
    }
    filter->runtime = runtime;
    return true;
}

/* --- at work ------------------------------------------------------------------------------------------------------ */

void runtime_start(struct runtime *runtime, struct engine *engine) {
    runtime->engine = engine;
    values_attach(runtime->values, &engine->now_us);
    views_set_clock(runtime->views, &engine->now_us);
    list_for_each (link, &runtime->tasks) {
        task_set_out(container_of(link, struct task, link));
    }
}

static struct task *runtime_find_farewell(const struct runtime *runtime) {
    for (struct link *link = runtime->tasks.head.next; link != &runtime->tasks.head; link = link->next) {
        struct task *task = container_of(link, struct task, link);
        if (task->at_retire) {
            return task;
        }
    }
    return NULL;
}

void runtime_retire(struct runtime *runtime) {
    list_for_each (link, &runtime->tasks) {
        struct task *task = container_of(link, struct task, link);
        if (task->conn == NULL && !task->at_retire) {
            task_drop(task);
        }
    }
    struct task *farewell;
    while (!runtime_is_dead(runtime) && (farewell = runtime_find_farewell(runtime)) != NULL) {
        farewell->at_retire = false; /* from here on a task like others: it may be gone when it has run */
        task_run(farewell, WAKE_DONE);
    }
}

void runtime_stop(struct runtime *runtime) {
    wheel_stop(&runtime->timer);
    runtime_drop_tasks(runtime);
    runtime->engine = NULL;
}

/* Runs those that are ready now, but not those that become so meanwhile. */
static void runtime_run_round(struct runtime *runtime) {
    struct list round;
    list_init(&round);
    list_move(&runtime->ready, &round);
    for (struct link *link = list_pop(&round); link != NULL && !runtime_is_dead(runtime); link = list_pop(&round)) {
        struct task *task = container_of(link, struct task, queue_link);
        task_run(task, task->wake);
    }
    list_move(&round, &runtime->ready); /* of a VM that died */
}

static void runtime_run_ready(struct runtime *runtime) {
    for (int count = 0; count < ROUNDS_MAX && !list_is_empty(&runtime->ready); count++) {
        runtime_run_round(runtime);
    }
    if (!list_is_empty(&runtime->ready)) {
        wheel_set(&runtime->engine->wheel, &runtime->timer, engine_now_ms(runtime->engine));
    }
}

/* An entry of its own for each conn that somebody else's entry closed. */
static void runtime_end_conns(struct runtime *runtime) {
    for (struct link *link = list_pop(&runtime->ends); link != NULL; link = list_pop(&runtime->ends)) {
        struct conn *conn = container_of(link, struct conn, end_link);
        struct filter_session *filter_session = conn->filter_session;
        enum filter_close how = conn->ends;
        struct filter_facts facts;
        filter_facts(filter_session, &facts);
        if (facts.reason == NULL) {
            filter_enter(runtime->engine, filter_session, HOOK_TASK);
            filter_close(filter_session, how);
            filter_leave(runtime->engine, filter_session, HOOK_TASK, HOOK_ENDS);
        }
    }
}

void runtime_turn(struct runtime *runtime) {
    runtime_run_ready(runtime);
    runtime_end_conns(runtime);
    if (!runtime_is_dead(runtime) && !script_collect(runtime->script)) {
        log_error("a Lua VM was stopped while it collected garbage: %s", runtime->script->text);
    }
}

/* --- the end of a killed VM --------------------------------------------------------------------------------------- */

/* A hook of it that waits, whose outcome the session needs to know; or none. */
static enum hook conn_waiting_hook(const struct conn *conn) {
    for (int hook = 0; hook < HOOKS; hook++) {
        if ((conn->filter_session->suspended & 1u << hook) != 0) {
            return (enum hook)hook;
        }
    }
    return HOOK_TASK;
}

static void conn_bury(struct conn *conn) {
    struct filter_session *filter_session = conn->filter_session;
    struct engine *engine = conn->runtime->engine;
    enum hook hook = conn_waiting_hook(conn);
    struct filter_facts facts;
    filter_facts(filter_session, &facts);
    conn_drop_tasks(conn);
    if (facts.reason == NULL || hook == HOOK_CLOSED) {
        filter_enter(engine, filter_session, hook);
        filter_leave(engine, filter_session, hook, HOOK_OVER);
    }
}

void runtime_bury(struct runtime *runtime) {
    struct list unburied;
    list_init(&unburied);
    list_move(&runtime->conns, &unburied);
    for (struct link *link = list_pop(&unburied); link != NULL; link = list_pop(&unburied)) {
        list_append(&runtime->conns, link);
        conn_bury(container_of(link, struct conn, link)); /* which may take others out of either list */
    }
    runtime_drop_tasks(runtime);
    runtime->buried = true;
}
