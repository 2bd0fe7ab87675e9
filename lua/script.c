#include "lua/script.h"

#include "base/check.h"
#include "lua/escape.h"
#include "lua/libs.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SCRIPT_PLACE_SIZE = 512 };

static const char budget_text[] = "over its CPU budget";
static const char memory_text[] = "over its memory limit";

struct script *script_of(lua_State *L) {
    void *heap = NULL;
    lua_getallocf(L, &heap);
    return container_of(heap, struct script, heap);
}

static void script_say(struct script *script, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void script_say(struct script *script, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(script->text, sizeof(script->text), format, arguments);
    va_end(arguments);
}

/* --- stopping ----------------------------------------------------------------------------------------------------- */

/* A collection may have helped where memory is what we stop for. */
static bool stop_is_needless(lua_State *L, struct script *script) {
    if (script->stop != SCRIPT_STOP_MEMORY) {
        return false;
    }
    lua_gc(L, LUA_GCCOLLECT, 0);
    return script->heap.used <= script->heap.limit - script->heap.limit / 8;
}

void script_error(lua_State *L, const char *format, ...) {
    lua_Debug place;
    bool found = place_find_activation(L, &place);
    lua_pushfstring(L, found ? "%s:%d: " : "", place.short_src, place.currentline);
    va_list arguments;
    va_start(arguments, format);
    lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    lua_concat(L, 2);
    lua_error(L);
    abort(); /* lua_error does not return, and does not say so */
}

static void script_stop_hook(lua_State *L, lua_Debug *activation) {
    (void)activation;
    struct script *script = script_of(L);
    if (stop_is_needless(L, script)) {
        script->stop = 0;
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    if (script->stopped_at.file == NULL) {
        script->stopped_at = place_of_running(L, &script->source);
    }
    bool over_budget = (script->stop & SCRIPT_STOP_BUDGET) != 0;
    script->stopped_by = over_budget ? SCRIPT_STOP_BUDGET : SCRIPT_STOP_MEMORY;
    script_error(L, over_budget ? budget_text : memory_text);
}

/* Makes interpreted code raise an error at its next instruction, and again at the next one when it is caught. Safe in
 * signal handlers and in allocations: LuaJIT made lua_sethook for that. */
static void script_ask_stop(struct script *script, enum script_stop stop) {
    script->stop |= (sig_atomic_t)stop;
    if (script->state != NULL) {
        lua_sethook(script->state, script_stop_hook, LUA_MASKCOUNT, 1);
    }
}

/* On and off: where the asking came in the middle of a change of LuaJIT's table of instructions, on first makes it
 * whole and off then restores it. */
static void script_forget_stop(struct script *script) {
    script->stop = 0;
    script->stopped_at.file = NULL;
    lua_sethook(script->state, script_stop_hook, LUA_MASKCOUNT, 1);
    lua_sethook(script->state, NULL, 0, 0);
}

static void script_overdue(void *argument, enum watch_deadline deadline, ucontext_t *context) {
    struct script *script = argument;
    script_ask_stop(script, SCRIPT_STOP_BUDGET);
    if (deadline == WATCH_BUDGET_TWICE && script->shield == 0 && script->entered) {
        escape_redirect(context, &script->door);
    }
}

static void script_memory_exceeded(struct heap *heap) {
    struct script *script = container_of(heap, struct script, heap);
    if (script->running != NULL && (script->stop & SCRIPT_STOP_MEMORY) == 0) {
        script_ask_stop(script, SCRIPT_STOP_MEMORY);
    }
}

static void script_memory_exhausted(struct heap *heap) {
    struct script *script = container_of(heap, struct script, heap);
    if (script->entered && script->shield == 0) {
        script->stop |= SCRIPT_STOP_MEMORY;
        siglongjmp(script->door, 1);
    }
}

/* --- the door ----------------------------------------------------------------------------------------------------- */

static void script_open_door(struct script *script) {
    script->entered = true;
    watch_enter(script->watch, script->budget_ms, script_overdue, script);
}

static void script_close_door(struct script *script) {
    watch_exit(script->watch);
    script->entered = false;
}

/* Code that was asked to stop, and caught the error, is known by its line. What LuaJIT compiled, and its own C code,
 * keep no track of where they are: their line is lost with the VM. */
static void script_say_kill(struct script *script) {
    char place[SCRIPT_PLACE_SIZE] = "";
    const char *text = "over twice its memory limit, or the system has no more";
    char budget[64];
    if (script->stopped_at.file != NULL) {
        snprintf(place, sizeof(place), "%s:%u: ", script->stopped_at.file, script->stopped_at.line);
    }
    if ((script->stop & SCRIPT_STOP_MEMORY) == 0) {
        snprintf(budget, sizeof(budget), "over twice its CPU budget, %u ms", script->budget_ms);
        text = budget;
    }
    script_say(script, "%sthe VM was stopped: %s", place, text);
}

/* What sigsetjmp of the door leads to when it returns a second time. */
static enum script_outcome script_killed(struct script *script) {
    escape_arrived();
    script_close_door(script);
    script->running = NULL;
    script->dead = true;
    script->watch->kills++;
    script_say_kill(script);
    return SCRIPT_KILLED;
}

static enum script_outcome script_name_error(const struct script *script, int status) {
    if (script->stopped_by == SCRIPT_STOP_BUDGET) {
        return SCRIPT_OVER_BUDGET;
    }
    bool memory = script->stopped_by == SCRIPT_STOP_MEMORY || status == LUA_ERRMEM;
    return memory ? SCRIPT_OUT_OF_MEMORY : SCRIPT_RAISED;
}

/* Passes the door; says nothing about what went wrong. */
static enum script_outcome script_pass(struct script *script, lua_State *thread, int arguments_count) {
    check(!script->entered);
    if (script->dead) {
        return SCRIPT_KILLED;
    }
    if (sigsetjmp(script->door, 0) != 0) {
        return script_killed(script);
    }
    script->stopped_by = 0;
    script->running = thread;
    script->stack_floor = (char *)__builtin_frame_address(0) - SCRIPT_STACK_SIZE;
    script_open_door(script);
    int status = lua_resume(thread, arguments_count);
    script_close_door(script);
    script->running = NULL;
    check(script->shield == 0);
    if (script->stop != 0) {
        script_forget_stop(script);
    }
    if (status <= LUA_YIELD) {
        return status == 0 ? SCRIPT_RETURNED : SCRIPT_YIELDED;
    }
    return script_name_error(script, status);
}

/* What names a function of C by its address: it is ours, or LuaJIT's. */
static void remove_addresses(char *text) {
    static const char mark[] = "]: at 0x";
    for (char *at = text; (at = strstr(at, mark)) != NULL;) {
        char *line = memrchr(text, '\n', (size_t)(at - text));
        char *from = line != NULL && strncmp(line, "\n\t[C]", 5) == 0 ? line : at + 1;
        char *rest = at + sizeof(mark) - 1;
        rest += strspn(rest, "0123456789abcdef");
        memmove(from, rest, strlen(rest) + 1);
        at = from;
    }
}

static bool is_ours(const char *line) {
    return strncmp(line, "\n\tmoonring:", 11) == 0;
}

/* The innermost lines of a traceback, while they are the library's: the place of the error is said already. */
static void remove_our_lines(char *text) {
    static const char head[] = "\nstack traceback:";
    char *lines = strstr(text, head);
    if (lines == NULL) {
        return;
    }
    char *first = lines + sizeof(head) - 1;
    char *rest = first;
    const char *after = strchr(rest, '\n') == NULL ? rest : strchr(rest + 1, '\n');
    if (strncmp(rest, "\n\t[C]: in function 'error'", 26) == 0 && after != NULL && is_ours(after)) {
        rest += after - rest;
    }
    while (is_ours(rest)) {
        rest += 1 + strcspn(rest + 1, "\n");
    }
    memmove(first, rest, strlen(rest) + 1);
    if (*first == '\0') {
        *lines = '\0';
    }
}

static void tidy_traceback(char *text) {
    remove_addresses(text);
    remove_our_lines(text);
}

/* Takes the error value from the top of the dead thread's stack. */
static int script_describe(lua_State *L, void *argument) {
    struct script *script = script_of(L);
    lua_State *thread = argument;
    lua_xmove(thread, L, 1);
    luaL_traceback(L, thread, libs_push_text(L, 1), 0);
    script_say(script, "%s", lua_tostring(L, -1));
    tidy_traceback(script->text);
    return 0;
}

enum script_outcome script_enter(struct script *script, struct script_thread *thread, int arguments_count,
                                 struct script_result *result) {
    enum script_outcome outcome = script_pass(script, thread->state, arguments_count);
    result->text = script->text;
    if (outcome <= SCRIPT_YIELDED || outcome == SCRIPT_KILLED) {
        return outcome;
    }
    struct script_result described;
    bool died = script_call(script, script_describe, thread->state, &described) == SCRIPT_KILLED;
    return died ? SCRIPT_KILLED : outcome;
}

/* --- our own code inside ------------------------------------------------------------------------------------------ */

static int service_traceback(lua_State *L) {
    luaL_traceback(L, L, libs_push_text(L, 1), 1);
    return 1;
}

static int service_function(lua_State *L) {
    struct script *script = script_of(L);
    return script->function(L, script->argument);
}

/* What the service thread runs: a protected call, so that the thread outlives errors. */
static int service_run(lua_State *L) {
    struct script *script = script_of(L);
    lua_pushcfunction(L, service_traceback);
    lua_pushcfunction(L, service_function);
    script->function_status = lua_pcall(L, 0, 0, 1);
    if (script->function_status != 0) {
        const char *text = lua_tostring(L, -1);
        script_say(script, "%s", text != NULL ? text : "an error in an error handler");
        tidy_traceback(script->text);
    }
    return 0;
}

/* Runs what allocates in the VM, and raises nothing, where there is no thread yet to run it on. False: the system has
 * no memory, and the script is dead. */
static bool script_run_bare(struct script *script, void (*function)(struct script *script)) {
    if (sigsetjmp(script->door, 0) != 0) {
        script_killed(script);
        return false;
    }
    script_open_door(script);
    function(script);
    script_close_door(script);
    return true;
}

/* Finalizers stay away: they might raise, and nobody would catch it. */
static void service_create(struct script *script) {
    lua_gc(script->state, LUA_GCSTOP, 0);
    script->service.state = lua_newthread(script->state);
    script->service.reference = luaL_ref(script->state, LUA_REGISTRYINDEX);
    lua_gc(script->state, LUA_GCRESTART, 0);
}

/* A stop may also come between the instructions of service_run, outside of its protected call. */
static enum script_outcome service_replace(struct script *script, enum script_outcome outcome) {
    script_say(script, "%s", outcome == SCRIPT_OVER_BUDGET ? budget_text : memory_text);
    luaL_unref(script->state, LUA_REGISTRYINDEX, script->service.reference);
    return script_run_bare(script, service_create) ? outcome : SCRIPT_KILLED;
}

enum script_outcome script_call(struct script *script, script_function_fn *function, void *argument,
                                struct script_result *result) {
    result->text = script->text;
    if (script->dead) {
        return SCRIPT_KILLED;
    }
    script->function = function;
    script->argument = argument;
    script->function_status = 0;
    lua_rawgeti(script->service.state, LUA_REGISTRYINDEX, script->service_function);
    enum script_outcome outcome = script_pass(script, script->service.state, 0);
    if (outcome == SCRIPT_RETURNED && script->function_status != 0) {
        return script_name_error(script, script->function_status);
    }
    bool broken = outcome != SCRIPT_RETURNED && outcome != SCRIPT_KILLED;
    return broken ? service_replace(script, outcome) : outcome;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* LuaJIT would end the process without a word. */
static int script_panic(lua_State *L) {
    const bool error_is_caught = L == NULL;
    check(error_is_caught);
    return 0;
}

static void script_open_state(struct script *script) {
    script->state = lua_newstate(heap_resize, &script->heap);
    if (script->state == NULL) {
        return; /* it found no random numbers to start from */
    }
    lua_atpanic(script->state, script_panic);
    lua_pushcfunction(script->state, service_run);
    script->service_function = luaL_ref(script->state, LUA_REGISTRYINDEX);
    service_create(script);
}

static int script_open_libraries(lua_State *L, void *argument) {
    (void)argument;
    libs_open(L);
    return 0;
}

/* What is still in use after a collection is no garbage: the next one begins when half of the rest is used up. */
static void script_plan_collection(struct script *script) {
    const struct heap *heap = &script->heap;
    size_t rest = heap->used < heap->limit ? heap->limit - heap->used : 0;
    script->collect_above = heap->used < heap->limit / 2 ? heap->limit / 2 : heap->used + rest / 2;
}

static uint32_t script_load_budget_ms(const struct script *script) {
    return script->options.load_budget_ms != 0 ? script->options.load_budget_ms : SCRIPT_LOAD_BUDGET_MS;
}

static bool script_open(struct script *script, struct error *error) {
    script->heap.exceeded = script_memory_exceeded;
    script->heap.exhausted = script_memory_exhausted;
    script->heap.fail_from = script->options.fail_from;
    if (getrandom(&script->secret, sizeof(script->secret), GRND_NONBLOCK) < 0) {
        script->secret = (uintptr_t)script; /* the system is just starting: its layout is random, too */
    }
    struct script_result result = {.text = "LuaJIT cannot start"};
    if (script_run_bare(script, script_open_state) && script->state != NULL &&
        script_call(script, script_open_libraries, NULL, &result) == SCRIPT_RETURNED) {
        script->heap.limit = script->options.memory_limit;
        script->heap.ceiling = 2 * script->options.memory_limit;
        script_plan_collection(script);
        return true;
    }
    script->dead = true; /* half a VM must not be closed: LuaJIT would use what it did not make */
    return error_set(error, "%s", result.text);
}

struct script *script_create(const struct script_options *options, struct watch *watch, struct error *error) {
    struct script *script = calloc(1, sizeof(*script));
    if (script == NULL || !heap_init(&script->heap)) {
        free(script);
        error_set(error, "not enough memory for a Lua VM");
        return NULL;
    }
    script->watch = watch;
    script->options = *options;
    script->options.interpreted |= !escape_is_possible();
    script->budget_ms = script_load_budget_ms(script);
    source_init(&script->source);
    if (!script_open(script, error)) {
        script_destroy(script);
        return NULL;
    }
    script->budget_ms = options->budget_ms;
    return script;
}

/* The handler of signals must not find a VM that is being taken down. */
static void script_close_state(struct script *script) {
    lua_State *state = script->state;
    script->state = NULL;
    lua_close(state);
}

void script_destroy(struct script *script) {
    if (script == NULL) {
        return;
    }
    check(!script->entered);
    if (!script->dead) {
        script_run_bare(script, script_close_state);
    }
    while (script->spare != NULL) {
        struct script_thread *thread = script->spare;
        script->spare = thread->next;
        free(thread);
    }
    heap_finish(&script->heap);
    source_finish(&script->source);
    free(script);
}

bool script_attach(struct script *script, struct watch *watch) {
    check(!script->entered);
    script->watch = watch;
    return watch->kills < SCRIPT_KILLS_MAX;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

struct load {
    const char *path;
    int *reference;
};

static int script_run_file(lua_State *L, void *argument) {
    struct script *script = script_of(L);
    const struct load *load = argument;
    struct error error;
    if (!source_read(&script->source, script->options.folder, load->path, &error)) {
        return luaL_error(L, "%s", error.text);
    }
    lua_pushfstring(L, "@%s", load->path);
    libs_run(L, script->source.text.data, script->source.text.size, lua_tostring(L, -1));
    *load->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

enum script_outcome script_load(struct script *script, const char *path, int *reference, struct script_result *result) {
    script->budget_ms = script_load_budget_ms(script);
    script->loading++;
    *reference = LUA_NOREF;
    struct load load = {.path = path, .reference = reference};
    enum script_outcome outcome = script_call(script, script_run_file, &load, result);
    script->loading--;
    script->budget_ms = script->options.budget_ms;
    return outcome;
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

static int script_create_thread(lua_State *L, void *argument) {
    struct script_thread *thread = argument;
    thread->state = lua_newthread(L);
    thread->reference = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct script_thread *script_take_spare(struct script *script) {
    struct script_thread *thread = script->spare;
    if (thread != NULL) {
        script->spare = thread->next;
        script->spares_count--;
    }
    return thread;
}

struct script_thread *script_thread_take(struct script *script) {
    struct script_thread *thread = script_take_spare(script);
    if (thread != NULL) {
        return thread;
    }
    thread = malloc(sizeof(*thread));
    struct script_result result;
    if (thread == NULL || script_call(script, script_create_thread, thread, &result) != SCRIPT_RETURNED) {
        free(thread);
        return NULL;
    }
    return thread;
}

struct script_thread *script_thread_make(lua_State *L) {
    struct script_thread *thread = script_take_spare(script_of(L));
    if (thread != NULL) {
        return thread;
    }
    struct script_thread made;
    script_create_thread(L, &made); /* this may be left for good: nothing is ours before it returns */
    thread = malloc(sizeof(*thread));
    if (thread == NULL) {
        luaL_unref(L, LUA_REGISTRYINDEX, made.reference);
        luaL_error(L, "not enough memory");
    }
    *thread = made;
    return thread;
}

void script_thread_give(struct script *script, struct script_thread *thread) {
    if (!script->dead && lua_status(thread->state) == 0 && script->spares_count < SCRIPT_SPARES_MAX) {
        lua_settop(thread->state, 0);
        thread->next = script->spare;
        script->spare = thread;
        script->spares_count++;
        return;
    }
    if (!script->dead) {
        luaL_unref(script->state, LUA_REGISTRYINDEX, thread->reference);
    }
    free(thread);
}

/* --- memory and stack --------------------------------------------------------------------------------------------- */

/* A step of that size takes some 0.1 ms: traffic waits for it. What became garbage while a collection was under way,
 * only the one after it finds. */
static int script_collect_some(lua_State *L, void *argument) {
    enum { STEP = 8 };
    struct script *script = script_of(L);
    (void)argument;
    if (lua_gc(L, LUA_GCSTEP, STEP) != 0 && ++script->collections % 2 == 0) {
        script_plan_collection(script);
    }
    return 0;
}

bool script_collect(struct script *script) {
    if (script->dead || script->heap.used <= script->collect_above) {
        return !script->dead;
    }
    struct script_result result;
    return script_call(script, script_collect_some, NULL, &result) != SCRIPT_KILLED;
}

static int script_collect_everything(lua_State *L, void *argument) {
    (void)argument;
    lua_gc(L, LUA_GCCOLLECT, 0);
    script_plan_collection(script_of(L));
    return 0;
}

bool script_collect_all(struct script *script) {
    struct script_result result;
    script->budget_ms = script_load_budget_ms(script);
    enum script_outcome outcome = script_call(script, script_collect_everything, NULL, &result);
    script->budget_ms = script->options.budget_ms;
    return outcome != SCRIPT_KILLED;
}

void script_check_stack(lua_State *L) {
    if ((char *)__builtin_frame_address(0) < script_of(L)->stack_floor) {
        script_error(L, "stack overflow (library functions or coroutines within each other)");
    }
}

void script_check_room(lua_State *L, double size) {
    const struct script *script = script_of(L);
    size_t limit = script->heap.limit;
    if (script->heap.used > limit || size > (double)(limit - script->heap.used)) {
        script_error(L, memory_text);
    }
}
