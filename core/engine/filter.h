/* What the engine asks of scripts, and what it offers them. `lua` implements struct filter_calls; the engine knows
 * nothing of Lua. In tests, filters written in C stand here too.
 *
 * A filter is one entry of a listener's `filters`, on one worker. A filter session is one filter in one session: it
 * begins with `open`, runs hooks, and ends with `close`. The chain (chain.h) decides which hook runs when.
 *
 * Every entry into a script, whether a hook begins, goes on, or a task runs, is
 *
 *     filter_enter(engine, filter session, hook);       what it puts and writes is collected
 *     ... the script runs ...
 *     filter_leave(engine, filter session, hook, outcome);  and sent, or given up when it failed
 *
 * (the chain does that around `run`; whoever resumes a suspended hook or runs a task does it himself). Nothing of the
 * engine runs inside an entry, but the functions below that say so. */
#ifndef MOONRING_ENGINE_FILTER_H
#define MOONRING_ENGINE_FILTER_H

#include "config/config.h"
#include "engine/engine.h"
#include "engine/stage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;
struct chain;
struct filter_session;
struct introduction;

enum hook {
    HOOK_ROUTE,
    HOOK_CONNECT_FAILED,
    HOOK_CONNECTED,
    HOOK_FROM_CLIENT,
    HOOK_FROM_SERVER,
    HOOK_CLIENT_EOF,
    HOOK_SERVER_EOF,
    HOOK_SERVE,
    HOOK_CLOSED,
    HOOK_TASK, /* no hook: something that a script spawned */
};
enum { HOOKS = HOOK_TASK };
/* route, connect_failed, ...; task. */
const char *hook_name(enum hook hook);

enum direction { FROM_CLIENT, FROM_SERVER };
static inline enum direction direction_opposite(enum direction direction) {
    return direction == FROM_CLIENT ? FROM_SERVER : FROM_CLIENT;
}
/* The byte hook of a direction. */
static inline enum hook direction_hook(enum direction direction) {
    return direction == FROM_CLIENT ? HOOK_FROM_CLIENT : HOOK_FROM_SERVER;
}

enum hook_outcome {
    HOOK_RETURNED, /* its answer, if it has one, was given by filter_answer or filter_keep_open */
    HOOK_WAITS,    /* it is suspended and will be entered again; the script's side knows when */
    HOOK_ENDS,     /* it called filter_close: hook and session end */
    HOOK_FAILED,   /* it raised an error, which was logged: on_error decides */
    HOOK_OVER,     /* it was stopped, or its VM was: the session is closed with filter_budget */
};

struct filter {
    const struct filter_calls *calls;
    const char *name;
    uint32_t hooks; /* 1 << HOOK_..., what the script has */
    enum config_on_error on_error;
    bool strict;
    uint32_t hold_max;        /* bytes */
    uint64_t hold_timeout_ms; /* 0: off */
};

static inline bool filter_has(const struct filter *filter, enum hook hook) {
    return (filter->hooks & 1u << hook) != 0;
}

struct filter_calls {
    /* A session begins. What the script's side needs for it is made here, or on the first entry. False: it cannot, and
     * said why; the session is closed. */
    bool (*open)(struct filter_session *filter_session);
    /* Starts a hook, within filter_enter and filter_leave. For byte hooks the view is there: stage.shown. */
    enum hook_outcome (*run)(struct filter_session *filter_session, enum hook hook);
    /* The filter session ends: suspended hooks and its tasks are dropped, and nothing enters for it any more. Called
     * outside of any entry of its VM. */
    void (*close)(struct filter_session *filter_session);
    /* The filter holds too much of that direction, or for too long: it is bypassed or the session closed, and this
     * tells why. Called outside of any entry. */
    void (*tell_hold)(struct filter_session *filter_session, enum direction direction, const char *why);
};

/* One filter in one session. */
struct filter_session {
    struct filter *filter;
    struct chain *chain;
    void *script;           /* the script's side's own */
    struct stage stages[2]; /* by direction */
    struct queue outbox[2]; /* by direction: what this entry puts into the stream behind stages[direction], */
    struct queue behind[2]; /* and behind the message that it is just passing there */
    struct released {       /* by direction: of outbox, what earlier entries had written behind a message */
        uint32_t at;
        uint32_t size;
    } released[2];
    struct link touched; /* in engine.entry.touched while one of these has something */
    uint64_t quota;      /* UINT64_MAX: none */
    void (*quota_passed)(struct filter_session *filter_session);
    uint16_t suspended; /* 1 << hook, while it waits */
    uint8_t close_how;  /* enum filter_close, when an entry ends the session */
    bool is_open;       /* `open` was called, and `close` was not */
    bool gone;          /* bypassed: its hooks run no more, and what it still asks for is void. `open` may set it */
    bool keeps_open;    /* client_eof or server_eof said so */
    bool overflowed;    /* this entry asked for more than hold_max */
    bool ends_write[2]; /* this entry called filter_close_write */
};

/* --- entries ---------------------------------------------------------------------------------------------------- */

/* filter_session: whose hook it is, or NULL for a task of no session. */
void filter_enter(struct engine *engine, struct filter_session *filter_session, enum hook hook);
/* Sends what was collected, notes how the hook fared, and lets the session go on: it may run other hooks before it
 * returns, and may begin the session's end (then `close` has not been called yet when it returns, but will be). */
void filter_leave(struct engine *engine, struct filter_session *filter_session, enum hook hook,
                  enum hook_outcome outcome);

/* --- within an entry: the verbs of a byte hook -------------------------------------------------------------------- */

/* Nothing is decided ahead and the hook of this direction is what runs, or is suspended: asked by the caller. */
void filter_pass(struct filter_session *filter_session, enum direction direction, uint64_t size);
void filter_drop(struct filter_session *filter_session, enum direction direction, uint64_t size);
/* Copies bytes into the stream where the view begins. False: more than FILTER_OUTBOX_MAX in one entry, or no memory. */
enum { FILTER_OUTBOX_MAX = 16 * 1024 * 1024 };
bool filter_put(struct filter_session *filter_session, enum direction direction, const void *bytes, size_t size);
/* The hook will return and wants to be called again with `size` bytes in view; as many as there are mean: one more.
 * More than hold_max is an error. */
void filter_need(struct filter_session *filter_session, enum direction direction, uint32_t size);
/* The hook is in the midst of a message whose size it does not know yet: what is written toward there waits; or it has
 * passed its end, and what waited goes out here. */
void filter_message(struct filter_session *filter_session, enum direction direction, bool in_message);
/* Grows the view to `size` bytes if they are there. */
void filter_show(struct filter_session *filter_session, enum direction direction, uint32_t size);

/* --- within an entry: from any hook or task of a live filter session ---------------------------------------------- */

/* Copies bytes into the stream of a direction behind this filter; behind the message that this filter is just passing
 * there. False as in filter_put. */
bool filter_write(struct filter_session *filter_session, enum direction direction, const void *bytes, size_t size);
/* What lies behind this filter in that direction is below its bound: a write need not wait. */
bool filter_has_room(const struct filter_session *filter_session, enum direction direction);
/* The name of the filter because of which there will be no room as long as the hook that writes has not returned: its
 * byte hook, which would take the bytes, does not run before all filters had their turn to greet. NULL: there is none.
 */
const char *filter_in_the_way(const struct filter_session *filter_session, enum direction direction);
/* After what is queued, the end. */
void filter_close_write(struct filter_session *filter_session, enum direction direction);

enum filter_close { FILTER_CLOSE, FILTER_REJECT, FILTER_RESET };
/* The session ends with this entry (which then answers HOOK_ENDS). While it connects to a server nothing more is sent.
 */
void filter_close(struct filter_session *filter_session, enum filter_close how);

/* No more hooks of this filter for that direction; one that runs or waits goes on. */
void filter_detach(struct filter_session *filter_session, enum direction direction);

/* --- within an entry: route, connect_failed, connected, serve ----------------------------------------------------- */

/* The stage whose input the endpoint's peek, read and consume work on. */
struct stage *filter_source(struct filter_session *filter_session, enum direction direction);
/* Starts to receive from that side, if it is not yet done: before a wait for its bytes. */
void filter_listen(struct filter_session *filter_session, enum direction direction);

/* timeouts.preread is over: a `route` hook waits for no byte any more. */
bool filter_is_late(const struct filter_session *filter_session);

/* Where to go: the name of an upstream or an address. key NULL: none. False: it is neither; the error says so. */
bool filter_answer(struct filter_session *filter_session, const char *where, size_t where_size, const char *key,
                   size_t key_size, struct error *error);
/* client_eof and server_eof: the other half stays open, until filter_close_write or until it has ended, too. */
void filter_keep_open(struct filter_session *filter_session);

/* --- at any time while the filter session lives ------------------------------------------------------------------- */

struct filter_facts {
    uint64_t id;
    const char *listener;
    const char *upstream; /* NULL: none yet */
    const char *server;   /* its name; NULL: none yet */
    uint64_t started_us;  /* monotonic */
    uint64_t bytes[2];    /* by direction: received so far */
    const char *error;    /* of the last try to connect, or what broke the session; NULL: nothing */
    const char *reason;   /* closed: why; else NULL */
    uint32_t tries;
    bool ended[2]; /* by direction: its end was received */
};
void filter_facts(const struct filter_session *filter_session, struct filter_facts *facts);
/* length 0: it is not known (any more). */
void filter_client_address(const struct filter_session *filter_session, struct address *address);
/* Who connected to us: the proxy where there is one, else the client. */
void filter_peer_address(const struct filter_session *filter_session, struct address *address);
/* What the PROXY header said; NULL: the listener wants none. */
const struct introduction *filter_introduction(const struct filter_session *filter_session);
void filter_server_address(const struct filter_session *filter_session, struct address *address);

enum filter_timeout { TIMEOUT_CONNECT, TIMEOUT_IDLE, TIMEOUT_HALF_CLOSE, TIMEOUT_SEND_STALL, TIMEOUT_MAX_LIFETIME };
/* Overrides a timeout of the listener for this session; 0: off. False: no memory. */
bool filter_set_timeout(struct filter_session *filter_session, enum filter_timeout timeout, uint64_t wait_ms);
/* Bytes a second that are received at the most; 0: no limit. False: no memory. */
bool filter_set_limit(struct filter_session *filter_session, enum direction direction, uint64_t bytes_per_second);
/* Calls `passed` once (outside of any entry) when both directions together have received `bytes`. One for each filter
 * session: a new one replaces it. */
typedef void filter_quota_fn(struct filter_session *filter_session);
bool filter_set_quota(struct filter_session *filter_session, uint64_t bytes, filter_quota_fn *passed);

#endif
