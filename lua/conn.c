#include "lua/conn.h"

#include "lua/embed.h"
#include "lua/endpoint.h"
#include "lua/hooks.h"
#include "lua/libs.h"
#include "lua/proxy.h"
#include "lua/view.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

/* --- life --------------------------------------------------------------------------------------------------------- */

/* The filters of a session are opened one after the other: the one that was opened last in this VM is of the same
 * session, or there is none. */
static struct conn_shared *conn_shared_find(struct runtime *runtime, const struct filter_session *filter_session) {
    struct link *last = runtime->conns.head.previous;
    if (last != &runtime->conns.head) {
        struct conn *conn = container_of(last, struct conn, link);
        if (conn->filter_session->chain == filter_session->chain) {
            return conn->shared;
        }
    }
    struct conn_shared *shared = malloc(sizeof(*shared));
    if (shared != NULL) {
        *shared = (struct conn_shared){.reference = LUA_NOREF};
    }
    return shared;
}

static void conn_init(struct conn *conn, struct lua_filter *filter, struct filter_session *filter_session) {
    *conn = (struct conn){.runtime = filter->runtime,
                          .filter = filter,
                          .filter_session = filter_session,
                          .reference = LUA_NOREF,
                          .endpoints = {LUA_NOREF, LUA_NOREF},
                          .bufs = {LUA_NOREF, LUA_NOREF},
                          .client_ip = LUA_NOREF};
    link_init(&conn->link);
    link_init(&conn->end_link);
    list_init(&conn->tasks);
}

/* What happens to sessions of a filter that was switched off. */
static bool conn_open_without(const struct lua_filter *filter, struct filter_session *filter_session) {
    filter_session->script = NULL;
    filter_session->gone = true;
    return filter->filter.on_error == ON_ERROR_BYPASS;
}

bool conn_open(struct filter_session *filter_session) {
    struct lua_filter *filter = container_of(filter_session->filter, struct lua_filter, filter);
    struct runtime *runtime = filter->runtime;
    if (runtime == NULL) {
        return conn_open_without(filter, filter_session);
    }
    struct conn_shared *shared = conn_shared_find(runtime, filter_session);
    struct conn *conn = shared != NULL ? slab_take(&runtime->conns_slab) : NULL;
    if (conn == NULL) {
        if (shared != NULL && shared->users == 0) {
            free(shared);
        }
        return false;
    }
    conn_init(conn, filter, filter_session);
    conn->shared = shared;
    shared->users++;
    filter_session->script = conn;
    list_append(&runtime->conns, &conn->link);
    return true;
}

void conn_drop_tasks(struct conn *conn) {
    list_for_each (link, &conn->tasks) {
        task_drop(container_of(link, struct task, conn_link));
    }
}

/* Others may wait for room behind this filter, where they write to a session that is not theirs. */
static void conn_wake_writers(struct conn *conn) {
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        struct list *waits = &conn->filter_session->stages[direction].waits;
        for (struct link *link = list_pop(waits); link != NULL; link = list_pop(waits)) {
            task_make_ready(container_of(link, struct task, stage_wait.link), WAKE_EOF);
        }
    }
}

static void conn_forget_table(struct conn *conn) {
    struct runtime *runtime = conn->runtime;
    lua_State *L = runtime->script->state;
    lua_rawgeti(L, LUA_REGISTRYINDEX, runtime->conns_table);
    conn_push(L, conn);
    lua_rawget(L, -2);
    if (!lua_isnil(L, -1)) { /* a new key would allocate, outside of the door */
        conn_push(L, conn);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    lua_settop(L, 0);
    luaL_unref(L, LUA_REGISTRYINDEX, conn->reference);
}

/* Takes from the script what it may still hold of the session. */
static void conn_forget(struct conn *conn) {
    lua_State *L = conn->runtime->script->state;
    for (int direction = FROM_CLIENT; direction <= FROM_SERVER; direction++) {
        endpoint_forget(L, conn->endpoints[direction]);
        luaL_unref(L, LUA_REGISTRYINDEX, conn->bufs[direction]);
    }
    if (conn->reference != LUA_NOREF) {
        conn_forget_table(conn);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, conn->client_ip);
    if (conn->shared->users == 1) {
        luaL_unref(L, LUA_REGISTRYINDEX, conn->shared->reference);
    }
}

void conn_close(struct filter_session *filter_session) {
    struct conn *conn = filter_session->script;
    if (conn == NULL) {
        return;
    }
    conn_drop_tasks(conn);
    conn_wake_writers(conn);
    if (conn->has_slot) {
        views_give(conn->runtime->views, conn->slot);
    }
    if (!runtime_is_dead(conn->runtime)) {
        conn_forget(conn);
    }
    if (--conn->shared->users == 0) {
        free(conn->shared);
    }
    link_remove(&conn->link);
    link_remove(&conn->end_link);
    filter_session->script = NULL;
    slab_give(&conn->runtime->conns_slab, conn);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

static void conn_make_table(lua_State *L, struct conn *conn) {
    struct runtime *runtime = conn->runtime;
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, runtime->conn_metatable);
    lua_setmetatable(L, -2);
    conn->table = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    conn->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_rawgeti(L, LUA_REGISTRYINDEX, runtime->conns_table);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, conn);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

static void conn_make_buf(lua_State *L, struct conn *conn, enum direction direction) {
    if (conn->bufs[direction] == LUA_NOREF && filter_has(&conn->filter->filter, direction_hook(direction))) {
        view_push_buf(L, conn->runtime->views, conn->slot, direction);
        conn->bufs[direction] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

/* Each step may raise: what was done is known, and conn_forget undoes it. */
void conn_make(lua_State *L, struct conn *conn) {
    if (conn->made) {
        return;
    }
    if (!conn->has_slot && !views_take(conn->runtime->views, conn->filter_session, &conn->slot)) {
        luaL_error(L, "more than %d sessions of filters in one VM", VIEWS_SLOTS_MAX);
    }
    conn->has_slot = true;
    if (conn->reference == LUA_NOREF) {
        conn_make_table(L, conn);
    }
    conn_make_buf(L, conn, FROM_CLIENT);
    conn_make_buf(L, conn, FROM_SERVER);
    conn->made = true;
}

void conn_end_peeks(struct conn *conn) {
    if (conn->has_slot) {
        view_end_peek(conn->runtime->views, conn->slot, FROM_CLIENT);
        view_end_peek(conn->runtime->views, conn->slot, FROM_SERVER);
    }
}

static struct conn *conn_find(lua_State *L, int index) {
    struct runtime *runtime = runtime_of(L);
    struct conn *current = runtime->entry.conn;
    if (current != NULL && current->table == lua_topointer(L, index)) {
        return current;
    }
    if (!lua_istable(L, index)) {
        return NULL;
    }
    lua_pushvalue(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, runtime->conns_table);
    lua_insert(L, -2);
    lua_rawget(L, -2);
    struct conn *conn = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return conn;
}

static bool conn_was(lua_State *L, int index) {
    bool was = false;
    if (lua_istable(L, index) && lua_getmetatable(L, index)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, runtime_of(L)->conn_metatable);
        was = lua_rawequal(L, -1, -2) != 0;
        lua_pop(L, 2);
    }
    return was;
}

static struct conn *conn_check(lua_State *L) {
    struct conn *conn = conn_find(L, 1);
    if (conn == NULL) {
        script_error(L, conn_was(L, 1) ? "conn used after its session was closed"
                                       : "a method of conn is called with a colon: conn:close()");
    }
    return conn;
}

/* --- facts -------------------------------------------------------------------------------------------------------- */

static struct filter_facts check_facts(lua_State *L) {
    struct filter_facts facts;
    filter_facts(conn_check(L)->filter_session, &facts);
    return facts;
}

static int api_id(lua_State *L) {
    lua_pushnumber(L, (double)check_facts(L).id);
    return 1;
}

static int api_listener(lua_State *L) {
    lua_pushstring(L, check_facts(L).listener);
    return 1;
}

static int api_started(lua_State *L) {
    lua_pushnumber(L, (double)check_facts(L).started_us / 1e6);
    return 1;
}

static int api_from_client_bytes(lua_State *L) {
    lua_pushnumber(L, (double)check_facts(L).bytes[FROM_CLIENT]);
    return 1;
}

static int api_from_server_bytes(lua_State *L) {
    lua_pushnumber(L, (double)check_facts(L).bytes[FROM_SERVER]);
    return 1;
}

static int api_client(lua_State *L) {
    endpoint_push(L, conn_check(L), FROM_CLIENT);
    return 1;
}

static int api_server(lua_State *L) {
    struct conn *conn = conn_check(L);
    struct filter_facts facts;
    filter_facts(conn->filter_session, &facts);
    if (facts.server == NULL) {
        return 0;
    }
    endpoint_push(L, conn, FROM_SERVER);
    return 1;
}

static int api_proxy(lua_State *L) {
    return proxy_push(L, conn_check(L));
}

static int api_shared(lua_State *L) {
    struct conn_shared *shared = conn_check(L)->shared;
    if (shared->reference == LUA_NOREF) {
        lua_newtable(L);
        shared->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, shared->reference);
    return 1;
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

/* (conn [, last words]): the upvalue is enum filter_close. Whoever ends its own session does not go on. */
static int api_end(lua_State *L) {
    struct conn *conn = conn_check(L);
    struct runtime *runtime = conn->runtime;
    int how = (int)lua_tointeger(L, lua_upvalueindex(1));
    bool own = conn == runtime->entry.conn;
    if (own) {
        task_check_may_wait(L);
    }
    if (how == FILTER_REJECT && !lua_isnoneornil(L, 2)) {
        endpoint_write(L, 2, conn, FROM_SERVER);
    }
    if (own) {
        lua_pushnumber(L, how);
        return task_wait(L, WAIT_END, 1);
    }
    conn->ends = (uint8_t)how;
    link_remove(&conn->end_link);
    list_append(&runtime->ends, &conn->end_link);
    return 0;
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

static void detach(lua_State *L, struct conn *conn, enum direction direction) {
    struct views *views = conn->runtime->views;
    if (!conn->has_slot) {
        filter_detach(conn->filter_session, direction);
    } else if (!view_detach(views, conn->slot, direction)) {
        script_error(L, "%s", view_reason(views));
    }
}

static int api_detach(lua_State *L) {
    struct conn *conn = conn_check(L);
    const char *which = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    bool both = lua_isnoneornil(L, 2);
    bool from_client = both || strcmp(which, "from_client") == 0;
    bool from_server = both || strcmp(which, "from_server") == 0;
    if (!from_client && !from_server) {
        script_error(L, "conn:detach takes nothing, \"from_client\" or \"from_server\"");
    }
    if (from_client) {
        detach(L, conn, FROM_CLIENT);
    }
    if (from_server) {
        detach(L, conn, FROM_SERVER);
    }
    return 0;
}

/* (conn, direction, bytes a second): called by conn.lua, which has checked them. */
static int api_limit(lua_State *L) {
    struct conn *conn = conn_check(L);
    if (!filter_set_limit(conn->filter_session, (enum direction)lua_tonumber(L, 2), (uint64_t)lua_tonumber(L, 3))) {
        script_error(L, "conn:limit: not enough memory");
    }
    return 0;
}

/* (conn, enum filter_timeout, seconds): the same. */
static int api_timeout(lua_State *L) {
    struct conn *conn = conn_check(L);
    uint64_t wait_ms = (uint64_t)__builtin_ceil(lua_tonumber(L, 3) * 1000);
    if (!filter_set_timeout(conn->filter_session, (enum filter_timeout)lua_tonumber(L, 2), wait_ms)) {
        script_error(L, "conn:timeout: not enough memory");
    }
    return 0;
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

static int api_spawn(lua_State *L) {
    struct conn *conn = conn_check(L);
    if (lua_gettop(L) == 1) {
        lua_pushnil(L);
    }
    task_spawn(L, conn, lua_gettop(L) - 2, 0);
    return 1;
}

static void quota_passed(struct filter_session *filter_session) {
    struct conn *conn = filter_session->script;
    struct task *task = conn != NULL ? conn->quota : NULL; /* a filter that was bypassed is closed before its session */
    if (task != NULL) {
        conn->quota = NULL;
        task_run(task, WAKE_DONE);
    }
}

/* (conn, bytes, fn): the same. */
static int api_quota(lua_State *L) {
    struct conn *conn = conn_check(L);
    uint64_t bytes = (uint64_t)lua_tonumber(L, 2);
    lua_settop(L, 3);
    struct task *task = task_spawn(L, conn, 0, WAIT_FOR_EVER);
    if (conn->quota != NULL) {
        task_drop(conn->quota);
    }
    conn->quota = task;
    if (!filter_set_quota(conn->filter_session, bytes, quota_passed)) {
        script_error(L, "conn:quota: not enough memory");
    }
    return 0;
}

/* --- the library -------------------------------------------------------------------------------------------------- */

static const luaL_Reg natives[] = {{"id", api_id},
                                   {"listener", api_listener},
                                   {"started", api_started},
                                   {"from_client_bytes", api_from_client_bytes},
                                   {"from_server_bytes", api_from_server_bytes},
                                   {"client", api_client},
                                   {"server", api_server},
                                   {"proxy", api_proxy},
                                   {"shared", api_shared},
                                   {"detach", api_detach},
                                   {"limit", api_limit},
                                   {"timeout", api_timeout},
                                   {"spawn", api_spawn},
                                   {"quota", api_quota},
                                   {NULL, NULL}};

static void add_end(lua_State *L, const char *name, enum filter_close how) {
    lua_pushinteger(L, how);
    lua_pushcclosure(L, api_end, 1);
    lua_setfield(L, -2, name);
}

/* conn.lua: (natives of conn, natives of endpoints, the library) -> metatable of conn, metatable of endpoints. */
void conn_open_library(lua_State *L) {
    struct runtime *runtime = runtime_of(L);
    libs_push_chunk(L, embed_conn, embed_conn_end);
    lua_newtable(L);
    luaL_register(L, NULL, natives);
    add_end(L, "close", FILTER_CLOSE);
    add_end(L, "reject", FILTER_REJECT);
    add_end(L, "reset", FILTER_RESET);
    endpoint_push_natives(L);
    libs_push_library(L);
    lua_call(L, 3, 2);
    runtime->endpoint_metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    runtime->conn_metatable = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    runtime->conns_table = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "key");
    runtime->key_name = luaL_ref(L, LUA_REGISTRYINDEX);
}
