/* A filter's byte hooks over real stages, without sessions, sockets and endpoints: what comes in is fed, what goes out
 * is collected. Where bytes are held, they move to other memory after each entry, so that a stale address is found. */
#ifndef MOONRING_TESTS_UNIT_LUA_VIEWING_H
#define MOONRING_TESTS_UNIT_LUA_VIEWING_H

#include "engine/chain.h"
#include "engine/session.h"
#include "lua/view.h"
#include "tests/unit/lua/workbench.h"

struct viewing_flow {
    struct bytes out;             /* what was sent */
    int buf;                      /* in the registry */
    struct script_thread *thread; /* of a hook that waits; NULL: none does */
    bool waits_for_bytes;         /* else for viewing_wake */
    uint32_t wanted;
    uint32_t entered; /* times that the hook began */
};

struct viewing {
    struct workbench workbench;
    struct engine engine;
    struct session session;
    struct filter filter;
    struct chain *chain;                   /* ours */
    struct filter_session *filter_session; /* in it */
    struct views *views;
    uint32_t slot;
    struct viewing_flow flows[2]; /* by direction */
    struct bytes notes;           /* what the script has said by note() */
    bool failed;                  /* a hook or a framer did; nothing runs any more */
    char reason[1024];
};

/* Starts a script with `mr`, pause(), which waits for viewing_wake, and note(text). */
void viewing_open(struct viewing *viewing);
/* The same in two steps: options of the workbench may be changed between them. */
void viewing_prepare(struct viewing *viewing);
void viewing_start(struct viewing *viewing);
void viewing_close(struct viewing *viewing);
/* Loads a script that returns a table of byte hooks, which get (buf), and begins a session. */
void viewing_begin(struct viewing *viewing, const char *script);
/* Ends the session; another one may begin. */
void viewing_finish(struct viewing *viewing);

/* Bytes come in one piece, and the hook runs as often as it would. */
void viewing_feed(struct viewing *viewing, enum direction direction, const void *bytes, size_t size);
void viewing_feed_text(struct viewing *viewing, enum direction direction, const char *text);
/* Nothing more comes. */
void viewing_end(struct viewing *viewing, enum direction direction);
/* A hook that has called pause() goes on. */
void viewing_wake(struct viewing *viewing, enum direction direction);

/* What went out; ends in a 0 byte. */
const char *viewing_out(const struct viewing *viewing, enum direction direction);
/* Bytes that were not decided. */
uint32_t viewing_held(const struct viewing *viewing, enum direction direction);

/* Runs the hook once over the bytes; the body gets `buf` and `mr`, and must not fail. */
void expect_body(const char *bytes, const char *body);
/* The same must raise an error with this text in it. */
void expect_body_fails(const char *bytes, const char *body, const char *reason);
/* Runs a script over bytes that come whole, cut at every place, and one by one. Each time it must note, and send, the
 * same; then comes the end. */
void expect_always(const char *script, enum direction direction, const void *bytes, size_t size, const char *notes,
                   const void *out, size_t out_size);
/* The same must fail. */
void expect_always_fails(const char *script, enum direction direction, const void *bytes, size_t size,
                         const char *reason);

#endif
