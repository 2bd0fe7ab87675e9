/* One filter in one session, as its script sees it: the table `conn` and its two endpoints. */
#ifndef MOONRING_LUA_CONN_H
#define MOONRING_LUA_CONN_H

#include "lua/runtime.h"

/* What the filters of one session that live in one VM share. */
struct conn_shared {
    uint32_t users; /* conns */
    int reference;  /* a table, in the registry; LUA_NOREF: nobody asked for it yet */
};

struct conn {
    struct link link;     /* in runtime.conns */
    struct link end_link; /* in runtime.ends while another entry's `close` waits for the end of the turn */
    struct runtime *runtime;
    struct lua_filter *filter;
    struct filter_session *filter_session;
    struct conn_shared *shared; /* counted */
    struct list tasks;          /* hooks that wait, and what was spawned */
    struct task *quota;         /* to be started when the quota is passed; one of tasks; NULL: none */
    const void *table;          /* tells the table from others */
    int reference;              /* the table, in the registry, as are these; LUA_NOREF: nothing was entered yet */
    int endpoints[2];           /* by the direction that comes from there; LUA_NOREF: nobody asked for it yet */
    int bufs[2];                /* the views of its byte hooks */
    int client_ip;              /* the same */
    uint32_t slot;              /* of its views, when has_slot */
    bool has_slot;
    bool made;    /* by conn_make, wholly */
    bool closing; /* its last hook has begun */
    uint8_t ends; /* enum filter_close, in runtime.ends */
};

/* Adds what scripts find on conn and its endpoints. Inside the door. */
void conn_open_library(lua_State *L);

/* filter_calls.open and close. */
bool conn_open(struct filter_session *filter_session);
void conn_close(struct filter_session *filter_session);

/* Makes the table and what else hooks need, unless that was done. Inside the door; raises. */
void conn_make(lua_State *L, struct conn *conn);
/* Pushes the table, which must be made. */
static inline void conn_push(lua_State *L, const struct conn *conn) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, conn->reference);
}

/* What was peeked cannot be read any more. */
void conn_end_peeks(struct conn *conn);

/* Ends every hook and task of it that waits. */
void conn_drop_tasks(struct conn *conn);

#endif
