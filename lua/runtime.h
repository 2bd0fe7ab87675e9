/* A script at work: one VM, the filters that live in it, the sessions that these are open in, and what of them waits.
 * Everything here belongs to one worker's thread once it is started; before that, to the thread that loads it. */
#ifndef MOONRING_LUA_RUNTIME_H
#define MOONRING_LUA_RUNTIME_H

#include "engine/filter.h"
#include "lua/fault.h"
#include "lua/script.h"
#include "lua/usage.h"

struct conn;
struct filters;
struct task;
struct values;
struct views;

enum { KILLS_REMEMBERED = 3, KILLS_WITHIN_S = 60 }; /* so many kills within that time switch a filter off */

/* A filter as the engine sees it, and what Lua has for it. */
struct lua_filter {
    struct filter filter;
    const struct config_filter *config;
    const char *listener;       /* its name */
    const char *file;           /* what it is loaded as: config->path, relative to the configuration's folder */
    struct runtime *runtime;    /* where it is open in sessions that begin now; NULL: switched off */
    int hooks[HOOKS];           /* functions, in the registry of its VM; LUA_NOREF: it has none */
    struct place places[HOOKS]; /* of these functions */
    const char *nearer[2];      /* by direction: a filter that sees bytes before this one does; NULL: none */
    uint32_t waiting;           /* tasks of it */
    uint64_t kills_us[KILLS_REMEMBERED]; /* when its VM was killed under it, the latest first; 0: never */
    struct faults faults;
    struct usage_cells *usage; /* taken */
};

/* Its VM was killed while it ran. */
void lua_filter_note_kill(struct lua_filter *filter, uint64_t now_us);
/* That happened too often in a short time. */
bool lua_filter_is_wild(const struct lua_filter *filter);

/* What runs at this moment. */
struct entry {
    struct lua_filter *filter; /* whose code; NULL: nothing runs */
    struct conn *conn;         /* NULL: of no session */
    struct task *task;         /* it has waited, or was spawned; NULL: a hook that has not waited yet */
    enum hook hook;
};

struct runtime {
    struct link link; /* in filters.runtimes */
    struct filters *filters;
    struct script *script; /* ours */
    struct values *values; /* the script's */
    struct views *views;   /* ours */
    struct engine *engine; /* NULL until it is started */
    struct entry entry;
    struct lua_filter *loading; /* whose top level runs; NULL: none */
    struct list conns;          /* open */
    struct list ends;           /* conns that somebody else's entry closed */
    struct list tasks;          /* all of them */
    struct list ready;          /* tasks that run at the end of the turn */
    uint32_t tasks_count;
    struct slab conns_slab;
    struct slab tasks_slab;
    struct timer timer; /* for what is left of a turn that had too much to do */
    uint32_t worker;    /* its number */
    int conns_table;    /* conn -> struct conn, in the registry, as are these: */
    int conn_metatable;
    int endpoint_metatable;
    int key_name; /* the string "key" */
    bool trace;   /* log every entry */
    bool buried;  /* dead, and its sessions were closed */
};

static inline bool hook_is_of_bytes(enum hook hook) {
    return hook == HOOK_FROM_CLIENT || hook == HOOK_FROM_SERVER;
}

/* Of a byte hook. */
static inline enum direction hook_direction(enum hook hook) {
    return hook == HOOK_FROM_SERVER ? FROM_SERVER : FROM_CLIENT;
}

static inline struct runtime *runtime_of(lua_State *L) {
    return script_of(L)->runtime;
}

static inline bool runtime_is_dead(const struct runtime *runtime) {
    return runtime->script->dead;
}

struct runtime_options {
    struct script_options script;
    uint32_t worker;
    bool trace;
};

/* Makes a VM with everything that filters may use. NULL: the error says why. */
struct runtime *runtime_create(const struct runtime_options *options, struct watch *watch, struct error *error);
/* Every session must be closed. NULL is fine. */
void runtime_destroy(struct runtime *runtime);

/* Loads the filter's file and takes its hooks; sessions that begin from then on are the runtime's. False: appends what
 * is wrong, which begins with the script's own place where there is one. */
bool runtime_load(struct runtime *runtime, struct lua_filter *filter, struct bytes *problem);

/* --- on the worker's thread, outside of any entry ----------------------------------------------------------------- */

/* From here on it runs what the top levels have spawned. */
void runtime_start(struct runtime *runtime, struct engine *engine);
/* Drops what runs beside the sessions, lets no top level's tasks run any more, and runs what mr.on_retire was given. */
void runtime_retire(struct runtime *runtime);
/* Drops what waits. Every session must be closed. */
void runtime_stop(struct runtime *runtime);
/* Runs what is ready, and collects garbage. */
void runtime_turn(struct runtime *runtime);
/* Closes every session of a killed VM, and drops what else waited in it. */
void runtime_bury(struct runtime *runtime);

#endif
