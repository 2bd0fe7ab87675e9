#include "lua/heads.h"

#include "lua/script.h"
#include "protocol/http1.h"
#include "protocol/http1_byte.h"
#include "protocol/postgres.h"
#include "protocol/tls.h"

#include <lauxlib.h>
#include <string.h>

/* --- what they have in common ------------------------------------------------------------------------------------- */

/* The first argument. */
static const uint8_t *check_bytes(lua_State *L, const char *function, size_t *size) {
    struct views *views = lua_touserdata(L, lua_upvalueindex(1));
    bool is_string = lua_type(L, 1) == LUA_TSTRING;
    const char *bytes = is_string ? lua_tolstring(L, 1, size) : view_bytes(L, views, 1, size);
    if (bytes == NULL) {
        script_error(L, "%s reads a string, buf, view or frame, not a %s", function, luaL_typename(L, 1));
    }
    return (const uint8_t *)bytes;
}

/* Of PARSE_MORE and PARSE_NO. */
static int push_failure(lua_State *L, enum parse_result result, const char *reason) {
    lua_pushnil(L);
    lua_pushstring(L, result == PARSE_MORE ? "more" : "no");
    lua_pushstring(L, reason);
    return 3;
}

static void set_text(lua_State *L, const char *name, const void *text, size_t size) {
    lua_pushlstring(L, text, size);
    lua_setfield(L, -2, name);
}

static void set_span(lua_State *L, const char *name, const uint8_t *bytes, struct span span) {
    set_text(L, name, bytes + span.at, span.size);
}

static void set_number(lua_State *L, const char *name, double number) {
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

static void set_boolean(lua_State *L, const char *name, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

/* --- HTTP/1 ------------------------------------------------------------------------------------------------------- */

static void push_lower(lua_State *L, const uint8_t *bytes, struct span span) {
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (uint32_t index = 0; index < span.size; index++) {
        luaL_addchar(&buffer, (char)http1_byte_lower(bytes[span.at + index]));
    }
    luaL_pushresult(&buffer);
}

/* By number as { name, value, at, size } of the whole line, and the first of each name by that in lower case. */
static void set_headers(lua_State *L, const struct http1_head *head, const uint8_t *bytes) {
    lua_createtable(L, (int)head->headers_count, (int)head->headers_count);
    for (uint32_t index = 0; index < head->headers_count; index++) {
        const struct http1_header *header = &head->headers[index];
        const uint8_t *end = memchr(bytes + header->value.at, '\n', head->size - header->value.at);
        lua_createtable(L, 0, 4);
        set_span(L, "name", bytes, header->name);
        set_span(L, "value", bytes, header->value);
        set_number(L, "at", header->name.at + 1);
        set_number(L, "size", (double)(end - bytes) + 1 - header->name.at);
        lua_rawseti(L, -2, (int)index + 1);
    }
    for (uint32_t index = head->headers_count; index > 0; index--) {
        const struct http1_header *header = &head->headers[index - 1];
        push_lower(L, bytes, header->name);
        lua_pushlstring(L, (const char *)bytes + header->value.at, header->value.size);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
}

static void push_head(lua_State *L, const struct http1_head *head, const uint8_t *bytes) {
    bool is_request = head->kind == HTTP1_REQUEST;
    lua_createtable(L, 0, 12);
    lua_pushstring(L, is_request ? "request" : "response");
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, head->minor_version == 0 ? "1.0" : "1.1");
    lua_setfield(L, -2, "version");
    if (is_request) {
        set_span(L, "method", bytes, head->method);
        set_span(L, "target", bytes, head->target);
    } else {
        set_number(L, "status", head->status);
        set_span(L, "phrase", bytes, head->phrase);
    }
    if (head->has_length) {
        set_number(L, "length", (double)head->content_length);
    }
    set_number(L, "size", head->size);
    set_boolean(L, "chunked", head->chunked);
    set_boolean(L, "keep_alive", head->keep_alive);
    set_boolean(L, "upgrade", head->upgrade);
    set_headers(L, head, bytes);
}

static int api_http1_head(lua_State *L) {
    size_t size = 0;
    const uint8_t *bytes = check_bytes(L, "mr.http1.head", &size);
    struct http1_head head;
    http1_head_begin(&head);
    enum parse_result result = http1_head_read(&head, bytes, size);
    if (result != PARSE_DONE) {
        return push_failure(L, result, head.reason);
    }
    push_head(L, &head, bytes);
    return 1;
}

/* --- TLS ---------------------------------------------------------------------------------------------------------- */

static void push_version(lua_State *L, uint16_t version) {
    switch (version) {
    case TLS_1_0:
    case TLS_1_1:
    case TLS_1_2:
    case TLS_1_3:
        lua_pushfstring(L, "1.%d", version - TLS_1_0);
        return;
    }
    lua_pushfstring(L, "%d.%d", version >> 8, version & 0xff);
}

static void set_versions(lua_State *L, const struct tls_hello *hello) {
    lua_createtable(L, (int)hello->versions_count, 0);
    for (uint32_t index = 0; index < hello->versions_count; index++) {
        push_version(L, hello->versions[index]);
        lua_rawseti(L, -2, (int)index + 1);
    }
    lua_setfield(L, -2, "versions");
}

static void set_alpn(lua_State *L, const struct tls_hello *hello) {
    struct span protocol;
    uint32_t at = 0;
    lua_newtable(L);
    for (int index = 1; tls_alpn_next(hello, &at, &protocol); index++) {
        lua_pushlstring(L, (const char *)hello->alpn + protocol.at, protocol.size);
        lua_rawseti(L, -2, index);
    }
    lua_setfield(L, -2, "alpn");
}

static int api_tls_hello(lua_State *L) {
    size_t size = 0;
    const uint8_t *bytes = check_bytes(L, "mr.tls.hello", &size);
    struct tls_hello hello;
    tls_hello_begin(&hello);
    enum parse_result result = tls_hello_read(&hello, bytes, size);
    if (result != PARSE_DONE) {
        return push_failure(L, result, hello.reason);
    }
    lua_createtable(L, 0, 5);
    if (hello.name[0] != 0) {
        set_text(L, "name", hello.name, strlen(hello.name));
    }
    push_version(L, hello.version_max);
    lua_setfield(L, -2, "version");
    set_versions(L, &hello);
    set_alpn(L, &hello);
    set_number(L, "size", hello.size);
    return 1;
}

/* --- PostgreSQL --------------------------------------------------------------------------------------------------- */

static const char *request_name(enum postgres_request request) {
    switch (request) {
    case POSTGRES_START:
        return "startup";
    case POSTGRES_TLS:
        return "tls";
    case POSTGRES_ENCRYPTION:
        return "encryption";
    case POSTGRES_CANCEL:
        return "cancel";
    }
    return "unknown";
}

static void set_parameters(lua_State *L, const struct postgres_startup *startup, const uint8_t *bytes) {
    struct span name;
    struct span value;
    uint32_t at = 0;
    lua_newtable(L);
    while (postgres_parameter_next(startup, bytes, &at, &name, &value)) {
        lua_pushlstring(L, (const char *)bytes + name.at, name.size);
        lua_pushlstring(L, (const char *)bytes + value.at, value.size);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "parameters");
}

static int api_postgres_startup(lua_State *L) {
    size_t size = 0;
    const uint8_t *bytes = check_bytes(L, "mr.pg.startup", &size);
    struct postgres_startup startup;
    postgres_startup_begin(&startup);
    enum parse_result result = postgres_startup_read(&startup, bytes, size);
    if (result != PARSE_DONE) {
        return push_failure(L, result, startup.reason);
    }
    lua_createtable(L, 0, 6);
    lua_pushstring(L, request_name(startup.request));
    lua_setfield(L, -2, "kind");
    set_number(L, "size", startup.size);
    if (startup.request == POSTGRES_START) {
        set_span(L, "user", bytes, startup.user);
        set_span(L, "database", bytes, startup.database);
        set_parameters(L, &startup, bytes);
    } else if (startup.request == POSTGRES_CANCEL) {
        set_number(L, "process", startup.process);
        set_span(L, "secret", bytes, startup.secret);
    }
    return 1;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void set_function(lua_State *L, struct views *views, const char *name, lua_CFunction function) {
    lua_pushlightuserdata(L, views);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void heads_push(lua_State *L, struct views *views) {
    lua_newtable(L);
    set_function(L, views, "http1_head", api_http1_head);
    set_function(L, views, "tls_hello", api_tls_hello);
    set_function(L, views, "postgres_startup", api_postgres_startup);
}
