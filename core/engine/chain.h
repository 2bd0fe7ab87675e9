/* The filters of one session: which hook runs when, and how bytes travel through the filters' stages.
 *
 *   ROUTE --answer--> (session connects) --> CONNECTED --> RELAY          client -> a -> b -> c -> server
 *     |                       '-- CONNECT_FAILED --'         |            client <- a <- b <- c <- server
 *     '-- a filter serves --> SERVE -------------------------+--> CLOSED: the last hooks, when the session is closed
 *
 * A session without filters and without a bound on its pace has no chain. A chain whose filters have no byte hook in a
 * direction leaves that direction to the flow (is_filtered false): the bytes go the same way as without filters. */
#ifndef MOONRING_ENGINE_CHAIN_H
#define MOONRING_ENGINE_CHAIN_H

#include "engine/filter.h"
#include "engine/flow.h"
#include "engine/limit.h"
#include "engine/upstream.h"

/* After a filter has closed a session its peers may send so much more before it is cut off. */
enum { CHAIN_DISCARD_MAX = 64 * 1024, CHAIN_LINGER_MS = 2000 };

enum chain_phase {
    PHASE_ROUTE,
    PHASE_CONNECT, /* the session connects; no hook runs */
    PHASE_CONNECT_FAILED,
    PHASE_CONNECTED,
    PHASE_RELAY,
    PHASE_SERVE,
    PHASE_CLOSED, /* the session is closed; the filters' last hooks run */
    PHASE_OVER,
};

struct chain {
    struct session *session;
    struct link link;                /* in engine.closed_chains */
    struct link written;             /* in engine.written_chains */
    struct upstream *upstream;       /* where a filter's answer leads; NULL: where the listener says */
    size_t upstream_index;           /* of the worker's balance for it */
    uint64_t key;                    /* the server is chosen by this hash, when has_key is set */
    struct config_timeouts timeouts; /* this session's own */
    struct limit limits[2];
    uint64_t quota;     /* the lowest of the filter sessions'; UINT64_MAX: none */
    uint64_t discarded; /* received after a filter had closed the session */
    uint32_t count;
    uint32_t turn;   /* ROUTE to CONNECTED, CLOSED: whose hook is on */
    uint8_t phase;   /* enum chain_phase */
    uint8_t detours; /* answers of connect_failed */
    uint8_t reason;  /* enum close_reason, when `ends` */
    bool answered;   /* by route or connect_failed */
    bool has_key;
    bool is_late;   /* timeouts.preread is over: routing goes on with the bytes that are there */
    bool advancing; /* chain_advance runs, */
    bool again;     /* and shall look once more */
    bool pumps;     /* bytes are being moved from stage to stage, in that direction: */
    enum direction pumped;
    bool is_blocked[2];     /* by direction: a hook was not entered since there is no room behind its filter */
    bool ends;              /* a filter closed the session: what was said last is on its way, or said */
    bool is_filtered[2];    /* by direction: received bytes go through the stages */
    bool is_listening[2];   /* by direction: bytes are received */
    struct upstream direct; /* of an answer that is an address: its only member is */
    struct server direct_server;
    struct server_state direct_state;
    char direct_name[ADDRESS_TEXT_MAX];
    struct filter_session sessions[];
};

/* A session of a listener with filters begins. False when memory is short, or a filter cannot run. */
bool chain_open(struct session *session);
/* Asks where to go: session_routed or session_serve follows, at once or later. */
void chain_route(struct chain *chain);
/* timeouts.preread is over: who waits for bytes goes on without them. session_routed may follow at once. */
void chain_route_late(struct chain *chain);
/* No server was reached. True: a filter is asked, and session_routed or session_give_up follows. */
bool chain_connect_failed(struct chain *chain);
/* The server is there: session_greeted follows. */
void chain_connected(struct chain *chain);
/* Does whatever can be done now: runs hooks, moves bytes. Safe to call at any depth. */
void chain_advance(struct chain *chain);
/* The same where nothing has changed but the flow of that direction: bytes have come, or have gone. */
void chain_advance_flow(struct chain *chain, enum direction direction);

/* Received bytes change nothing but the flow's queue: nobody needs to look. */
bool chain_is_quiet(const struct chain *chain);
/* Somebody waits until there is room in the queue of that flow. */
bool chain_wants_room(const struct chain *chain, enum direction direction);

/* Where received bytes go: the first stage of that direction, or the flow's queue. */
struct queue *chain_incoming(struct chain *chain, enum direction direction);
/* So many more bytes were received. */
void chain_count(struct chain *chain, enum direction direction, size_t size);
/* The source of that direction has ended, or broke. */
void chain_source_over(struct chain *chain, enum direction direction);
/* A timer of limits or held bytes may be due. */
void chain_fired(struct chain *chain);
/* Bytes between the source and the flow's queue that may still get there. */
size_t chain_held(const struct chain *chain, enum direction direction);
/* The same without those of stages where a filter wants more: these have a bound of their own, hold_max. */
size_t chain_backlog(const struct chain *chain, enum direction direction);
/* How many of `room` bytes may be received now. */
uint32_t chain_allowance(struct chain *chain, enum direction direction, uint32_t room);
/* Bytes of that direction go through stages, or are bounded: they cannot be spliced. */
bool chain_is_watched(const struct chain *chain, enum direction direction);
/* When chain_fired must be called; UINT64_MAX: not. */
uint64_t chain_due_us(const struct chain *chain);

/* The session was closed: its last hooks will run at the end of the turn. */
void chain_closing(struct chain *chain);
/* The time of the one that waits is over. */
void chain_abandon(struct chain *chain);
/* Runs the last hooks of the sessions that were closed in this turn. */
void chains_close(struct engine *engine);
void chain_free(struct chain *chain);

/* --- for filter.c ------------------------------------------------------------------------------------------------- */

/* What comes after the filter in that direction. */
struct stage *chain_next_stage(struct filter_session *filter_session, enum direction direction); /* NULL: the flow */
struct queue *chain_out(struct filter_session *filter_session, enum direction direction);
bool chain_has_room(struct filter_session *filter_session, enum direction direction);
/* Bytes leave the filter for chain_out: those of one that serves are what the server of that session sends. */
void chain_count_served(const struct filter_session *filter_session, enum direction direction, size_t size);
/* Bytes were moved to chain_out. */
void chain_sent(struct filter_session *filter_session, enum direction direction);
/* Nothing more goes out of the filter in that direction. */
void chain_pass_end(struct filter_session *filter_session, enum direction direction);
/* A filter closes the session. */
void chain_end(struct filter_session *filter_session, enum filter_close how);
/* A filter failed: on_error decides. */
void chain_fail(struct filter_session *filter_session, enum close_reason reason);
/* An entry is over, and what it had to send was sent. */
void chain_hook_left(struct filter_session *filter_session, enum hook hook, enum hook_outcome outcome);

/* One line for people about what a filter holds or waits for; false: nothing. */
bool chain_describe(const struct chain *chain, char *text, size_t text_size);

#endif
