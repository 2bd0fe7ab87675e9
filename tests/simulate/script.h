/* What stands behind the filters in a simulation instead of Lua: scripts in C that play a part. One script is one
 * filter in one session. Its hooks are acts: they do their steps, wait where Lua would, and go on.
 *
 * A script refuses whatever the engine must not do: a hook that runs twice at once, out of turn, or for a session that
 * is gone; bytes that are not those that came. */
#ifndef MOONRING_SIMULATE_SCRIPT_H
#define MOONRING_SIMULATE_SCRIPT_H

#include "engine/wheel.h"
#include "part.h"
#include "passage.h"
#include "troupe.h"

enum { SCRIPT_TASKS_MAX = 2, STEPS_MAX = 12 };

enum step_kind {
    STEP_SLEEP,           /* amount: milliseconds */
    STEP_PEEK,            /* waits for so many bytes of a source, or its end */
    STEP_TAKE,            /* and consumes them, if they came */
    STEP_WRITE,           /* so many bytes into the stream of the direction */
    STEP_WRITE_ELSEWHERE, /* into that of another session */
    STEP_SPAWN,           /* a task that ends what was kept open in that direction */
    STEP_ANSWER,
    STEP_LIMIT, /* bytes a second */
    STEP_TIMEOUT,
    STEP_QUOTA,
    STEP_KEEP_OPEN,
    STEP_CLOSE_WRITE,
    STEP_DETACH,
    STEP_END, /* amount: enum filter_close */
    STEP_FAIL,
    STEP_OVERFLOW,
    STEP_RUN_OVER,
};

struct step {
    enum step_kind kind;
    enum direction direction;
    uint64_t amount;
};

enum act_state { ACT_IDLE, ACT_RUNS, ACT_WAITS };

/* A hook or a task in progress. */
struct act {
    struct script *script;
    enum hook hook;
    enum act_state state;
    struct step steps[STEPS_MAX];
    uint32_t count;
    uint32_t at;
    struct timer timer;
    struct stage_wait wait;
    struct link ready; /* in troupe.ready: goes on at the end of the turn */
};

enum hand_phase {
    HAND_BETWEEN,
    HAND_AWAITS,    /* the whole segment, */
    HAND_HESITATES, /* does something else first, */
    HAND_PUTS,
    HAND_MOVES, /* passes or drops it */
    HAND_PUTS_BEHIND,
    HAND_RESTS, /* nothing more will come */
};

/* A byte hook at its stream. */
struct hand {
    struct segments segments;
    struct segment segment;
    enum hand_phase phase;
    uint32_t done;   /* bytes of the segment that were passed or dropped */
    uint64_t number; /* of the segment */
    uint64_t in;     /* decided so far, and what came out: without what is written beside */
    uint64_t out;
};

struct script {
    struct link link; /* in troupe.scripts */
    struct troupe *troupe;
    struct part *part;
    struct filter_session *filter_session;
    struct passage *passage;
    struct random random;
    uint32_t index; /* of the filter */
    struct act acts[HOOKS];
    struct act tasks[SCRIPT_TASKS_MAX];
    struct act closers[2]; /* tasks that end what client_eof and server_eof kept open */
    struct hand hands[2];
    struct step trouble; /* that it will get into, */
    enum hook trouble_hook;
    uint64_t trouble_at;    /* in a byte hook: at that segment */
    bool is_in_trouble;     /* it has been */
    bool is_told[2];        /* the hook of the end began */
    uint64_t quota;         /* 0: none is set */
    uint64_t entered_in[2]; /* the hands, when this entry began */
    uint64_t entered_out[2];
    uint64_t wrote[2]; /* in this entry */
    bool closes_write[2];
    uint64_t closed_ns; /* when `closed` began; 0: it did not */
};

extern const struct filter_calls script_calls;

/* The session is cut off: its filter decides nothing more. */
void script_stop(const struct filter_session *filter_session);

/* --- script.c: where its bytes stand, and what each entry may do
 * ------------------------------------------------------ */

static inline struct chain *script_chain(const struct script *script) {
    return script->filter_session->chain;
}
static inline struct stage *script_stage(const struct script *script, enum direction direction) {
    return &script->filter_session->stages[direction];
}
static inline bool is_byte_hook(enum hook hook) {
    return hook == HOOK_FROM_CLIENT || hook == HOOK_FROM_SERVER;
}
static inline enum direction hook_direction(enum hook hook) {
    return hook == HOOK_FROM_CLIENT ? FROM_CLIENT : FROM_SERVER;
}

/* An entry begins; and is over, before the engine learns how: it then sends what was written, or gives it up. */
void script_enter_act(struct act *act);
void script_settle(struct act *act, enum hook_outcome outcome);
/* Where in its output something goes that is written now: behind the message in progress. */
uint64_t script_place(const struct script *script, enum direction direction);
/* The filter sees no bytes any more. */
void script_leave(struct script *script, enum direction direction);
_Noreturn void act_refuse(const struct act *act, const char *what);

/* --- act.c: does steps ---------------------------------------------------------------------------------------------
 */

void act_init(struct act *act, struct script *script, enum hook hook);
/* Does what it can, within an entry. */
enum hook_outcome act_go_on(struct act *act);
/* It goes on after a while; 0: at the end of the turn. False, as all that waits. */
bool act_sleep(struct act *act, uint64_t wait_ms);
/* What it waited for has come. */
void act_resume(struct act *act);
/* It waits no more. */
void act_stop(struct act *act);

/* --- script_hooks.c: which steps they are ---------------------------------------------------------------------------
 */

/* The steps of a hook that begins; none for byte hooks. */
void act_prepare(struct act *act);
void act_add(struct act *act, enum step_kind kind, enum direction direction, uint64_t amount);
void script_draw_trouble(struct script *script);

/* What a move of a byte hook came to. */
enum move {
    MOVE_DONE,
    MOVE_STEPS, /* some steps are to be done before the next */
    MOVE_WAIT,  /* for all of the segment */
    MOVE_RETURN,
};
enum move hand_move(struct act *act);

#endif
