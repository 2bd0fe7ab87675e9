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

enum { SCRIPT_TASKS_MAX = 2, STEPS_MAX = 12, WRITES_MAX = 200 };

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

struct troupe_counters {
    uint64_t opened;
    uint64_t closed;
    uint64_t begun[HOOKS + 1];
    uint64_t waited;
    uint64_t rolled_back; /* entries that failed after they had put or written something */
    uint64_t bypassed;
    uint64_t segments;
};

struct troupe {
    struct engine *engine;
    struct world *world;
    struct cast *cast;
    const struct address *addresses; /* that an answer may name */
    const char *const *names;        /* of upstreams */
    size_t addresses_count;
    size_t names_count;
    struct list scripts;
    struct list passages;
    struct list ready;
    struct node *written[WRITES_MAX]; /* in this entry: nodes that got an insert */
    uint32_t written_count;
    struct troupe_counters counters;
};

extern const struct filter_calls script_calls;

void troupe_init(struct troupe *troupe, struct world *world, struct cast *cast);
/* Every session must be over. */
void troupe_finish(struct troupe *troupe);
/* The end of a turn: whoever waited for it goes on; what must hold between turns is checked. */
void troupe_turn(struct troupe *troupe);
/* To *sum. */
void troupe_add_counters(const struct troupe *troupe, struct troupe_counters *sum);
/* Of the session with that id, or NULL. */
struct passage *troupe_find(struct troupe *troupe, uint64_t id);

/* The session is cut off: its filter decides nothing more. */
void script_stop(const struct filter_session *filter_session);

/* --- between script.c, which runs acts, and script_hooks.c, which says what they do ---------------------------------
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

/* What came through the filter's stage so far, and how much went out behind it; both as nodes count. */
uint64_t script_in(const struct script *script, enum direction direction);
uint64_t script_out(const struct script *script, enum direction direction);

#endif
