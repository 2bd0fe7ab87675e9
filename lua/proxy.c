#include "lua/proxy.h"

#include "engine/introduction.h"
#include "lua/endpoint.h"

static void set_name(lua_State *L, const char *field, const struct address *address) {
    char text[ADDRESS_TEXT_MAX];
    if (address->length > 0) {
        lua_pushlstring(L, text, address_format(address, text, sizeof(text)));
        lua_setfield(L, -2, field);
    }
}

/* Who speaks for the client. */
static void set_address(lua_State *L, const struct conn *conn) {
    struct address address;
    filter_peer_address(conn->filter_session, &address);
    set_name(L, "name", &address);
    if (endpoint_has_ip(&address)) {
        endpoint_push_ip(L, &address);
        lua_setfield(L, -2, "ip");
        lua_pushnumber(L, address_port(&address));
        lua_setfield(L, -2, "port");
    }
}

static void set_known_tlv(lua_State *L, const char *field, int type) {
    lua_rawgeti(L, -1, type);
    lua_setfield(L, -3, field);
}

/* The first of each type counts. */
static void set_tlvs(lua_State *L, const struct introduction *introduction) {
    const struct proxy_header *header = &introduction->header;
    struct proxy_tlv tlv;
    lua_newtable(L);
    for (uint32_t at = 0; proxy_tlv_next(header, introduction->bytes, &at, &tlv);) {
        lua_rawgeti(L, -1, tlv.type);
        bool is_first = lua_isnil(L, -1) != 0;
        lua_pop(L, 1);
        if (is_first) {
            lua_pushlstring(L, (const char *)introduction->bytes + tlv.value.at, tlv.value.size);
            lua_rawseti(L, -2, tlv.type);
        }
    }
    set_known_tlv(L, "alpn", PROXY_TLV_ALPN);
    set_known_tlv(L, "authority", PROXY_TLV_AUTHORITY);
    set_known_tlv(L, "unique_id", PROXY_TLV_UNIQUE_ID);
    lua_setfield(L, -2, "tlvs");
}

int proxy_push(lua_State *L, const struct conn *conn) {
    const struct introduction *introduction = filter_introduction(conn->filter_session);
    if (introduction == NULL) {
        return 0;
    }
    lua_newtable(L);
    set_address(L, conn);
    set_name(L, "destination", &introduction->header.destination);
    lua_pushnumber(L, introduction->header.version);
    lua_setfield(L, -2, "version");
    lua_pushboolean(L, introduction->header.is_local);
    lua_setfield(L, -2, "is_local");
    set_tlvs(L, introduction);
    return 1;
}
