/* A client connection and its server connection, from accept to release.
 *
 *   CONNECTING --connected--> RELAYING --both flows ended--> CLOSING --nothing in flight--> released
 *        |                        '--one side was reset--> RESETTING --the other has all--^
 *        '--- no server, timeout, stop ---------------------------------------------------^
 *
 * With filters (chain.h) ROUTING comes first, GREETING between connecting and relaying, and LINGERING last when a
 * filter closed the session. Before all that is INTRODUCING, where the client has to send a PROXY header. */
#ifndef MOONRING_ENGINE_SESSION_H
#define MOONRING_ENGINE_SESSION_H

#include "base/bytes.h"
#include "engine/engine.h"
#include "engine/flow.h"
#include "engine/introduction.h"
#include "engine/settings.h"

#include <netinet/in.h>

enum session_state {
    SESSION_INTRODUCING, /* the client's PROXY header is awaited */
    SESSION_ROUTING,     /* the filters say where to go */
    SESSION_CONNECTING,
    SESSION_GREETING, /* the filters' handshakes */
    SESSION_RELAYING,
    SESSION_RESETTING,
    SESSION_LINGERING, /* a filter closed it, all was sent: what still comes is read, since a reset would destroy that
                        */
    SESSION_CLOSING,
};
enum { SESSION_STATES = SESSION_CLOSING + 1 };

/* In lower case: `relaying`. */
const char *session_state_name(enum session_state state);

struct endpoint {
    int fd;     /* ours; -1: none */
    bool reset; /* its connection broke: it sends no more, and takes no more */
    bool cut;   /* CLOSING: it did not get all, and is reset */
};

/* An address as small as it gets; a unix address is not worth keeping. */
struct peer {
    union {
        struct in_addr v4;
        struct in6_addr v6;
    };
    uint32_t scope; /* of v6 */
    in_port_t port;
    uint8_t family; /* AF_UNSPEC: not known */
};

enum { SESSION_TRIES_MAX = 16 };
/* The servers that a session has tried in this round; only sessions whose first try failed have one. */
struct retry {
    struct server *tried[SESSION_TRIES_MAX];
    size_t tried_count;
};

/* In the order of use: what each chunk touches comes first, from the end of `owner` to that of the flows. */
struct session {
    struct owner owner;
    struct engine *engine;
    struct chain *chain;  /* ours; NULL: the listener has no filters */
    uint64_t progress_us; /* when the last byte moved */
    struct endpoint client_end;
    struct endpoint server_end; /* the connection to `server` */
    uint8_t state;              /* enum session_state; session_enter changes it */
    uint8_t reason;             /* enum close_reason, from CLOSING on */
    uint8_t tries;
    bool connected : 1;    /* it was, and perhaps still is */
    bool timed_out : 1;    /* the connect that is being cancelled was too slow */
    bool client_first : 1; /* the client ended first */
    bool fin_seen : 1;
    bool disconnected : 1; /* CLOSING: nothing is in flight any more, and the descriptors are closed */
    bool nonblocking : 1;  /* both descriptors are O_NONBLOCK, for splicing */
    uint32_t look_ms;      /* from one look to the next */
    struct flow from_client;
    struct flow from_server;
    struct link link;   /* in engine->sessions */
    struct timer timer; /* set to the earliest deadline or before it */
    const struct settings *settings;
    struct server *server;             /* counted in server->active; NULL: none */
    struct introduction *introduction; /* ours, from malloc; NULL: the listener wants no PROXY header */
    uint64_t id;
    uint64_t started_us;
    uint64_t deadline_us; /* of the state; CONNECTING: of this try, or of the wait for a descriptor; 0: not set yet;
                           * RESETTING: when to look again */
    union {
        struct {                 /* until it is connected */
            struct retry *retry; /* ours; NULL: none */
            uint64_t look_us;    /* CONNECTING: when to try (again); UINT64_MAX: not now */
        };
        struct { /* from then on */
            uint64_t connected_us;
            uint64_t first_byte_us; /* the server's; 0: none yet */
        };
    };
    const char *doing; /* for people: what it waits for */
    const char *error; /* a constant text, or NULL */
    struct peer peer;  /* who connected, a client or a proxy */
    uint32_t periods;  /* of epoch->access_lines.every_us that have passed */
    uint32_t source;   /* where settings->sources counts it; 0: nowhere */
};

/* Takes over an accepted descriptor. Without memory for a session it is closed, and false is returned. */
bool session_open(struct engine *engine, const struct settings *settings, int fd);

/* Begins closing; the last completion frees the session. Safe to call twice. */
void session_close(struct session *session, enum close_reason reason);

/* Both sides are reset. */
void session_reset(struct session *session, enum close_reason reason);

/* Ends it if its server is down and that is what is to become of the server's sessions. */
void session_mind_server(struct session *session);
/* Who the client is: as it was noted, or as the kernel says now. length 0: not known. */
void session_client(const struct session *session, struct address *address);

/* Appends one line for people. */
void session_describe(const struct session *session, struct bytes *out);

/* --- what flows call -------------------------------------------------------------------------------------------- */

static inline struct session *session_of(struct flow *flow) {
    return flow->from_server ? container_of(flow, struct session, from_server)
                             : container_of(flow, struct session, from_client);
}

static inline struct endpoint *flow_source(struct flow *flow) {
    struct session *session = session_of(flow);
    return flow->from_server ? &session->server_end : &session->client_end;
}

static inline struct endpoint *flow_sink(struct flow *flow) {
    struct session *session = session_of(flow);
    return flow->from_server ? &session->client_end : &session->server_end;
}

/* --- what the chain calls ----------------------------------------------------------------------------------------- */

/* The filters were asked where to go: chain->upstream, or NULL. */
void session_routed(struct session *session);
/* A filter serves: there will be no server. */
void session_serve(struct session *session);
/* The filters had their handshakes. */
void session_greeted(struct session *session);
/* The filters know no way out: no server was reached. */
void session_give_up(struct session *session);
/* It was closed, and the last hooks have run. */
void session_hooks_are_over(struct session *session);
/* A filter has closed it: what is queued goes out, then the end, then it lingers. */
void session_say_last(struct session *session);
/* Where it goes; NULL: not known (yet). */
const struct upstream *session_upstream(const struct session *session);
/* The client's address, as its PROXY header says where it has one; length 0: not known. */
void session_peer(const struct session *session, struct address *address);
/* Who connected to us: the proxy where there is one, else the client. */
void session_direct_peer(const struct session *session, struct address *address);
/* Where the client had connected to: the PROXY header knows better than our socket. */
void session_destination(const struct session *session, struct address *address);

/* --- what the introduction calls ---------------------------------------------------------------------------------- */

/* The PROXY header was read: it goes on as if the client had connected just now. */
void session_introduced(struct session *session);

/* --- what flows call, too ----------------------------------------------------------------------------------------- */

/* A filter has closed it. */
bool session_lingers(const struct session *session);
/* Once both flows have ended, a peer may still be sending: a filter has ended them. */
bool session_will_linger(const struct session *session);
/* Received bytes are only read to be dropped; */
bool session_discards(const struct session *session);
/* so many were. */
void session_discarded(struct session *session, size_t size);

static inline const struct session *session_of_const(const struct flow *flow) {
    size_t offset = flow->from_server ? offsetof(struct session, from_server) : offsetof(struct session, from_client);
    return (const struct session *)(const void *)((const char *)flow - offset);
}

/* A byte moved: timeouts of inactivity begin anew. */
static inline void session_progress(struct session *session) {
    session->progress_us = session->engine->now_us;
}

/* The server has sent something for the first time. */
static inline void session_note_first_byte(struct session *session) {
    if (session->connected) {
        session->first_byte_us = session->engine->now_us;
    }
}

/* A deadline may have come nearer: the timer must not fire after it. */
void session_hurry(struct session *session);
/* Nothing more comes from the flow's source: 0 for its end, -errno for an error. */
void session_source_over(struct session *session, struct flow *flow, int result);
/* The flow has ended: its FIN was passed on, or its sink is broken. */
void session_flow_ended(struct session *session, struct flow *flow);
/* Splicing needs non-blocking descriptors, receiving prefers blocking ones. */
bool session_set_nonblocking(struct session *session, bool nonblocking);

#endif
