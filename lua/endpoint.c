#include "lua/endpoint.h"

#include "lua/task.h"
#include "lua/view.h"

#include <lauxlib.h>
#include <string.h>

/* Its memory is the VM's. */
struct script_endpoint {
    struct conn *conn; /* NULL: its session is closed */
    enum direction direction;
};

enum { READ_HOOKS = 1 << HOOK_ROUTE | 1 << HOOK_CONNECTED | 1 << HOOK_SERVE };
enum { PEEK_HOOKS = READ_HOOKS | 1 << HOOK_CONNECT_FAILED };

/* --- life --------------------------------------------------------------------------------------------------------- */

static void endpoint_make(lua_State *L, struct conn *conn, enum direction direction) {
    struct script_endpoint *endpoint = lua_newuserdata(L, sizeof(*endpoint));
    *endpoint = (struct script_endpoint){.direction = direction};
    lua_rawgeti(L, LUA_REGISTRYINDEX, conn->runtime->endpoint_metatable);
    lua_setmetatable(L, -2);
    conn->endpoints[direction] = luaL_ref(L, LUA_REGISTRYINDEX);
    endpoint->conn = conn;
}

void endpoint_push(lua_State *L, struct conn *conn, enum direction direction) {
    if (conn->endpoints[direction] == LUA_NOREF) {
        endpoint_make(L, conn, direction);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, conn->endpoints[direction]);
}

void endpoint_forget(lua_State *L, int reference) {
    if (reference != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, reference);
        struct script_endpoint *endpoint = lua_touserdata(L, -1);
        endpoint->conn = NULL;
        lua_pop(L, 1);
        luaL_unref(L, LUA_REGISTRYINDEX, reference);
    }
}

static struct script_endpoint *endpoint_check(lua_State *L) {
    void *value = lua_touserdata(L, 1);
    bool good = false;
    if (value != NULL && lua_getmetatable(L, 1)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, runtime_of(L)->endpoint_metatable);
        good = lua_rawequal(L, -1, -2) != 0;
        lua_pop(L, 2);
    }
    if (!good) {
        script_error(L, "a method of an endpoint is called with a colon: conn.client:write(...)");
    }
    struct script_endpoint *endpoint = value;
    if (endpoint->conn == NULL) {
        script_error(L, "conn used after its session was closed");
    }
    return endpoint;
}

static const char *endpoint_name(const struct script_endpoint *endpoint) {
    return endpoint->direction == FROM_CLIENT ? "conn.client" : "conn.server";
}

/* --- facts -------------------------------------------------------------------------------------------------------- */

static void endpoint_address(const struct script_endpoint *endpoint, struct address *address) {
    if (endpoint->direction == FROM_CLIENT) {
        filter_client_address(endpoint->conn->filter_session, address);
    } else {
        filter_server_address(endpoint->conn->filter_session, address);
    }
}

void endpoint_push_ip(lua_State *L, const struct address *address) {
    char text[ADDRESS_TEXT_MAX];
    size_t size = address_format(address, text, sizeof(text));
    const char *colon = memrchr(text, ':', size);
    bool has_brackets = text[0] == '[' && colon != NULL;
    if (has_brackets) {
        lua_pushlstring(L, text + 1, (size_t)(colon - text) - 2);
    } else {
        lua_pushlstring(L, text, colon != NULL ? (size_t)(colon - text) : size);
    }
}

bool endpoint_has_ip(const struct address *address) {
    return address->length > 0 && !address_is_unix(address);
}

/* The client's does not change, and is what filters ask for the most. */
static int api_ip(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    int *kept = &endpoint->conn->client_ip;
    bool is_client = endpoint->direction == FROM_CLIENT;
    if (is_client && *kept != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, *kept);
        return 1;
    }
    struct address address;
    endpoint_address(endpoint, &address);
    if (!endpoint_has_ip(&address)) {
        return 0;
    }
    endpoint_push_ip(L, &address);
    if (is_client) {
        lua_pushvalue(L, -1);
        *kept = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 1;
}

static int api_port(lua_State *L) {
    struct address address;
    endpoint_address(endpoint_check(L), &address);
    if (!endpoint_has_ip(&address)) {
        return 0;
    }
    lua_pushnumber(L, address_port(&address));
    return 1;
}

/* The server's name in its upstream; the client's address. */
static int api_name(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct filter_facts facts;
    filter_facts(endpoint->conn->filter_session, &facts);
    if (endpoint->direction == FROM_SERVER) {
        lua_pushstring(L, facts.server);
        return 1;
    }
    struct address address;
    char text[ADDRESS_TEXT_MAX];
    endpoint_address(endpoint, &address);
    lua_pushlstring(L, text, address_format(&address, text, sizeof(text)));
    return 1;
}

static int api_eof(lua_State *L) {
    const struct script_endpoint *endpoint = endpoint_check(L);
    struct filter_facts facts;
    filter_facts(endpoint->conn->filter_session, &facts);
    lua_pushboolean(L, facts.ended[endpoint->direction]);
    return 1;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static struct buffers *buffers_of(const struct script_endpoint *endpoint) {
    return &endpoint->conn->runtime->engine->buffers;
}

/* The endpoint, which what runs now may read from: to be asked first, by (endpoint, method, hooks). */
static int api_check_source(lua_State *L) {
    const struct script_endpoint *endpoint = endpoint_check(L);
    const char *method = lua_tostring(L, 2);
    unsigned hooks = (unsigned)lua_tointeger(L, 3);
    const struct conn *conn = endpoint->conn;
    const struct entry *entry = &conn->runtime->entry;
    if (entry->conn != conn || (1u << entry->hook & hooks) == 0) {
        script_error(L, "%s:%s is possible in %sroute, connected and serve of its own session; this is %s",
                     endpoint_name(endpoint), method, hooks == PEEK_HOOKS ? "connect_failed, " : "",
                     entry->filter != NULL ? hook_name(entry->hook) : "the top level");
    }
    const char *nearer = conn->filter->nearer[endpoint->direction];
    if (entry->hook == HOOK_CONNECTED && nearer != NULL) {
        script_error(L, "%s:%s: the filter '%s' stands nearer to that side and has a hook for its bytes",
                     endpoint_name(endpoint), method, nearer);
    }
    view_end_peek(conn->runtime->views, conn->slot, endpoint->direction);
    return 0;
}

static struct stage *endpoint_source(const struct script_endpoint *endpoint) {
    return filter_source(endpoint->conn->filter_session, endpoint->direction);
}

static uint32_t check_count(lua_State *L, int index) {
    double count = lua_tonumber(L, index);
    if (lua_type(L, index) != LUA_TNUMBER || !(count >= 0 && count <= UINT32_MAX) || count != __builtin_floor(count)) {
        script_error(L, "a number of bytes is a whole number from 0 on");
    }
    return (uint32_t)count;
}

static int push_wake(lua_State *L, int wake) {
    lua_pushnumber(L, wake);
    return 1;
}

/* (endpoint, bytes, seconds): waits until so many are there. The answer is of enum wake, or REACH_LIMIT. */
enum { REACH_LIMIT = WAKE_TIMEOUT + 1 };
static int api_reach(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct filter_session *filter_session = endpoint->conn->filter_session;
    const struct stage *stage = endpoint_source(endpoint);
    uint32_t bytes = check_count(L, 2);
    double wait_ms = task_check_ms(L, 3);
    if (bytes > filter_session->filter->hold_max) {
        return push_wake(L, REACH_LIMIT);
    }
    if (stage->input.bytes >= bytes && stage->input.bytes > 0) {
        return push_wake(L, WAKE_DONE);
    }
    if (stage->ended) {
        return push_wake(L, WAKE_EOF);
    }
    filter_listen(filter_session, endpoint->direction);
    if (bytes == 0) {
        return push_wake(L, WAKE_DONE);
    }
    if (wait_ms == 0 || filter_is_late(filter_session)) {
        return push_wake(L, WAKE_TIMEOUT);
    }
    lua_pushnumber(L, endpoint->direction);
    lua_pushnumber(L, bytes);
    lua_pushnumber(L, wait_ms);
    return task_wait(L, WAIT_SOURCE, 3);
}

/* Makes the first bytes contiguous. */
static const char *show(lua_State *L, struct script_endpoint *endpoint, struct stage *stage, uint32_t bytes) {
    stage_show(stage, buffers_of(endpoint), bytes);
    if (stage->shown < bytes) {
        script_error(L, "not enough memory");
    }
    return stage_bytes(stage);
}

/* (endpoint, bytes): a view of so many, which are there; 0: of all. */
static int api_view(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct conn *conn = endpoint->conn;
    struct stage *stage = endpoint_source(endpoint);
    uint32_t bytes = check_count(L, 2);
    if (bytes == 0) {
        uint32_t hold_max = conn->filter->filter.hold_max;
        bytes = stage->input.bytes < hold_max ? stage->input.bytes : hold_max;
    }
    view_push_peek(L, conn->runtime->views, conn->slot, endpoint->direction, stage, buffers_of(endpoint), bytes);
    return 1;
}

/* (endpoint, bytes): so many, which are there, as a string; they are taken out. */
static int api_take(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct stage *stage = endpoint_source(endpoint);
    uint32_t bytes = check_count(L, 2);
    lua_pushlstring(L, show(L, endpoint, stage, bytes), bytes);
    stage_drop(stage, buffers_of(endpoint), bytes);
    return 1;
}

static int api_skip(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct stage *stage = endpoint_source(endpoint);
    uint32_t bytes = check_count(L, 2);
    show(L, endpoint, stage, bytes);
    stage_drop(stage, buffers_of(endpoint), bytes);
    return 0;
}

/* (endpoint, known): the size of the first line with its end, when its first `known` bytes have none; or nil, and how
 * many bytes are there. */
static int api_find_line(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct stage *stage = endpoint_source(endpoint);
    uint32_t known = check_count(L, 2);
    uint32_t there = stage->input.bytes;
    const char *bytes = show(L, endpoint, stage, there);
    const char *found = there > known ? memchr(bytes + known, '\n', there - known) : NULL;
    if (found != NULL) {
        lua_pushnumber(L, (double)(found - bytes) + 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushnumber(L, there);
    return 2;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* The stream that goes to the endpoint. */
static enum direction toward(const struct script_endpoint *endpoint) {
    return direction_opposite(endpoint->direction);
}

static bool stream_has_ended(const struct conn *conn, enum direction direction) {
    const struct filter_session *filter_session = conn->filter_session;
    return conn->closing || filter_session->stages[direction].passed_end || filter_session->ends_write[direction];
}

bool endpoint_write(lua_State *L, int index, struct conn *conn, enum direction direction) {
    size_t size = 0;
    struct views *views = conn->runtime->views;
    if (conn->has_slot && !view_settle(views, conn->slot, direction)) {
        script_error(L, "%s", view_reason(views));
    }
    const char *bytes =
        lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &size) : view_bytes(L, views, index, &size);
    if (bytes == NULL) {
        script_error(L, "what is written must be a string or a view, not a %s", luaL_typename(L, index));
    }
    if (stream_has_ended(conn, direction)) {
        return false;
    }
    if (!filter_write(conn->filter_session, direction, bytes, size)) {
        script_error(L, "not enough memory, or more than %d bytes written without a wait", FILTER_OUTBOX_MAX);
    }
    return true;
}

/* (endpoint): waits until a write may follow. */
static int api_await_room(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    struct conn *conn = endpoint->conn;
    if (filter_has_room(conn->filter_session, toward(endpoint)) || stream_has_ended(conn, toward(endpoint))) {
        return 0;
    }
    const char *filter = filter_in_the_way(conn->filter_session, toward(endpoint));
    if (filter != NULL) {
        script_error(
            L,
            "there is no room for more before the hook of filter '%s' runs, which is when all hooks `connected` "
            "have returned",
            filter);
    }
    lua_pushlightuserdata(L, conn);
    lua_pushnumber(L, toward(endpoint));
    return task_wait(L, WAIT_ROOM, 2);
}

/* (endpoint, string or view): false when that stream has ended. */
static int api_put(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    lua_pushboolean(L, endpoint_write(L, 2, endpoint->conn, toward(endpoint)));
    return 1;
}

static int api_close_write(lua_State *L) {
    struct script_endpoint *endpoint = endpoint_check(L);
    filter_close_write(endpoint->conn->filter_session, toward(endpoint));
    return 0;
}

/* --- the library -------------------------------------------------------------------------------------------------- */

static const luaL_Reg natives[] = {{"ip", api_ip},
                                   {"port", api_port},
                                   {"name", api_name},
                                   {"eof", api_eof},
                                   {"check_source", api_check_source},
                                   {"reach", api_reach},
                                   {"view", api_view},
                                   {"take", api_take},
                                   {"skip", api_skip},
                                   {"find_line", api_find_line},
                                   {"await_room", api_await_room},
                                   {"put", api_put},
                                   {"close_write", api_close_write},
                                   {NULL, NULL}};

void endpoint_push_natives(lua_State *L) {
    lua_newtable(L);
    luaL_register(L, NULL, natives);
    lua_pushinteger(L, READ_HOOKS);
    lua_setfield(L, -2, "read_hooks");
    lua_pushinteger(L, PEEK_HOOKS);
    lua_setfield(L, -2, "peek_hooks");
}
