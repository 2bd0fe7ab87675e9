#include "lua/script.h"

#include "lua/libs.h"
#include "tests/support/sanitizer.h"
#include "tests/unit/lua/workbench.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void expect_text(const struct workbench *workbench, const char *part) {
    cr_assert_not_null(strstr(workbench->result.text, part), "says\n%s\ninstead of\n%s", workbench->result.text, part);
}

/* Makes a C function of ours a global of the files loaded from then on. */
struct addition {
    const char *name;
    lua_CFunction function;
};

static int add_function(lua_State *L, void *argument) {
    const struct addition *addition = argument;
    libs_push_globals(L);
    lua_pushcfunction(L, addition->function);
    lua_setfield(L, -2, addition->name);
    return 0;
}

static void workbench_add(struct workbench *workbench, const char *name, lua_CFunction function) {
    struct addition addition = {.name = name, .function = function};
    cr_assert_eq(script_call(workbench->script, add_function, &addition, &workbench->result), SCRIPT_RETURNED);
}

/* --- the door ----------------------------------------------------------------------------------------------------- */

static int wait_function(lua_State *L) {
    return lua_yield(L, lua_gettop(L));
}

Test(script, passes_values_in_and_out_of_a_thread_that_waits, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench_add(&workbench, "wait", wait_function);
    cr_assert_eq(workbench_run(&workbench, "return function() local n = 0\n"
                                           "repeat local more = pcall(function() n = n + wait(n) end) until n >= 30\n"
                                           "return n end"),
                 SCRIPT_YIELDED);
    lua_State *thread = workbench.thread->state;
    for (int round = 1; round <= 3; round++) {
        cr_assert_eq(lua_tonumber(thread, -1), (round - 1) * 10);
        lua_settop(thread, 0);
        lua_pushnumber(thread, 10);
        enum script_outcome expected = round < 3 ? SCRIPT_YIELDED : SCRIPT_RETURNED;
        cr_assert_eq(script_enter(workbench.script, workbench.thread, 1, &workbench.result), expected);
    }
    cr_assert_eq(lua_tonumber(thread, 1), 30);
    workbench_close(&workbench);
}

Test(script, uses_a_thread_again_when_it_has_returned, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    cr_assert_eq(workbench_run(&workbench, "local n = 0 return function() n = n + 1 return n end"), SCRIPT_RETURNED);
    for (int count = 2; count < 1000; count++) {
        lua_settop(workbench.thread->state, 0);
        lua_rawgeti(workbench.thread->state, LUA_REGISTRYINDEX, workbench.reference);
        cr_assert_eq(script_enter(workbench.script, workbench.thread, 0, &workbench.result), SCRIPT_RETURNED);
        cr_assert_eq(lua_tonumber(workbench.thread->state, 1), count);
    }
    struct script_thread *used = workbench.thread;
    script_thread_give(workbench.script, used);
    workbench.thread = script_thread_take(workbench.script);
    cr_assert_eq(workbench.thread, used);
    cr_assert_eq(lua_gettop(used->state), 0);
    workbench_close(&workbench);
}

Test(script, drops_threads_that_wait_or_failed, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench_add(&workbench, "wait", wait_function);
    cr_assert_eq(workbench_load_text(&workbench, "local n = 0 return function() n = n + 1\n"
                                                 "if n % 2 == 1 then wait() else error('x') end end"),
                 SCRIPT_RETURNED);
    size_t used = 0;
    for (int round = 1; round <= 20000; round++) {
        cr_assert_eq(workbench_call(&workbench), round % 2 == 1 ? SCRIPT_YIELDED : SCRIPT_RAISED);
        used = round == 5000 ? workbench.script->heap.used : used;
    }
    cr_assert_lt(workbench.script->heap.used, 4 * used, "%zu grew to %zu", used, workbench.script->heap.used);
    workbench_close(&workbench);
}

Test(script, tells_place_and_way_of_an_error, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_raises(
        &workbench, "local function inner()\nerror('broken')\nend\nreturn function()\ninner()\nend",
        "test.lua:2: broken\nstack traceback:\n\t[C]: in function 'error'\n\ttest.lua:2: in function 'inner'\n"
        "\ttest.lua:5: in function <test.lua:4>");
    expect_raises(&workbench, "return function() error({}) end", "table: 0x");
    expect_raises(&workbench, "return function() error() end", "nil");
    expect_raises(&workbench,
                  "return function() error(setmetatable({}, { __tostring = function() return 'told' end })) end",
                  "told");
    expect_raises(&workbench,
                  "return function() error(setmetatable({}, { __tostring = function() error('worse') end })) end",
                  "worse");
    expect_raises(&workbench, "return function() error(('long'):rep(100000)) end", "longlonglong");
    workbench_close(&workbench);
}

static int raise_from_c(lua_State *L, void *argument) {
    return luaL_error(L, "from C: %s", (const char *)argument);
}

static int yield_from_c(lua_State *L, void *argument) {
    (void)argument;
    return lua_yield(L, 0);
}

static int loop_in_lua(lua_State *L, void *argument) {
    return luaL_dostring(L, (const char *)argument) ? lua_error(L) : 0;
}

Test(script, protects_our_own_code_inside, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    char text[] = "here";
    cr_assert_eq(script_call(workbench.script, raise_from_c, text, &workbench.result), SCRIPT_RAISED);
    expect_text(&workbench, "from C: here");
    cr_assert_eq(script_call(workbench.script, yield_from_c, NULL, &workbench.result), SCRIPT_RAISED);
    expect_text(&workbench, "attempt to yield across C-call boundary");
    char loop[] = "jit.off() while true do pcall(function() while true do end end) end";
    cr_assert_eq(script_call(workbench.script, loop_in_lua, loop, &workbench.result), SCRIPT_OVER_BUDGET);
    expect_answers(&workbench, "return function() return 'still good' end", "still good");
    workbench_close(&workbench);
}

/* --- files -------------------------------------------------------------------------------------------------------- */

static void expect_load_fails(struct workbench *workbench, const char *name, const char *part) {
    cr_assert_eq(workbench_load(workbench, name), SCRIPT_RAISED, "%s", name);
    expect_text(workbench, part);
    cr_assert_eq(workbench->reference, LUA_NOREF);
}

Test(script, refuses_files_that_are_not_text, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_load_fails(&workbench, "absent.lua", "absent.lua: cannot be opened: No such file or directory");
    expect_load_fails(&workbench, ".", ".: is not a regular file");
    workbench_write_bytes(&workbench, "bytecode.lua", "\033LJ\002\000", 5);
    expect_load_fails(&workbench, "bytecode.lua", "attempt to load chunk with wrong mode");
    char path[128];
    snprintf(path, sizeof(path), "%s/pipe", workbench.folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_load_fails(&workbench, "pipe", "pipe: is not a regular file");
    snprintf(path, sizeof(path), "%s/large.lua", workbench.folder);
    workbench_write(&workbench, "large.lua", "");
    cr_assert_eq(truncate(path, SOURCE_FILE_MAX + 1), 0);
    expect_load_fails(&workbench, "large.lua", "large.lua: is larger than 16 MiB");
    workbench_close(&workbench);
}

Test(script, names_the_line_of_what_the_top_level_did_wrong, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench_add(&workbench, "wait", wait_function);
    workbench_write(&workbench, "syntax.lua", "local x = 1\nlocal = 2");
    expect_load_fails(&workbench, "syntax.lua", "syntax.lua:2: '<name>' expected near '='");
    workbench_write(&workbench, "raises.lua", "\n\nerror('no')");
    expect_load_fails(&workbench, "raises.lua", "raises.lua:3: no");
    workbench_write(&workbench, "waits.lua", "wait()");
    expect_load_fails(&workbench, "waits.lua", "attempt to yield across C-call boundary");
    workbench_close(&workbench);
}

Test(script, ends_a_top_level_that_does_not_end, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.load_budget_ms = 20;
    workbench.options.interpreted = true;
    workbench_start(&workbench);
    cr_assert_eq(workbench_load_text(&workbench, "while true do end"), SCRIPT_OVER_BUDGET);
    expect_text(&workbench, "test.lua:1: over its CPU budget");
    workbench.options.interpreted = false;
    workbench_start(&workbench);
    cr_assert_eq(workbench_load_text(&workbench, "while true do end"), SCRIPT_KILLED);
    workbench_close(&workbench);
}

static uint64_t identity_after(struct workbench *workbench, const char *main_text, const char *module_text) {
    workbench_write(workbench, "module.lua", module_text);
    workbench_start(workbench);
    cr_assert_eq(workbench_load_text(workbench, main_text), SCRIPT_RETURNED, "%s", workbench->result.text);
    return workbench->script->source.identity;
}

Test(script, is_identified_by_the_content_of_all_its_files, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    uint64_t identity = identity_after(&workbench, "require 'module'", "return 1");
    cr_assert_eq(workbench.script->source.files_count, 2);
    cr_assert_not_null(strstr(workbench.script->source.files[0].path, "/test.lua"));
    cr_assert_not_null(strstr(workbench.script->source.files[1].path, "/module.lua"));
    cr_assert_eq(identity_after(&workbench, "require 'module'", "return 1"), identity);
    cr_assert_neq(identity_after(&workbench, "require 'module'", "return 2"), identity);
    cr_assert_neq(identity_after(&workbench, "require 'module' ", "return 1"), identity);
    cr_assert_neq(identity_after(&workbench, "", "return 1"), identity);
    workbench_close(&workbench);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

/* A bit of everything that allocates, compiled and not. */
static const char allocating[] =
    "local all = {}\n"
    "for i = 1, 300 do all[i] = { x = i, s = 'k' .. i } end\n"
    "return function()\n"
    "  local n, parts = 0, {}\n"
    "  for i = 1, 200 do parts[#parts + 1] = ('%d:%s'):format(i, tostring(i * 1.5)) end\n"
    "  local text = table.concat(parts, ',')\n"
    "  for k, v in text:gmatch('(%d+):([%d.]+)') do n = n + #v end\n"
    "  local co = coroutine.wrap(function(a) for i = 1, 100 do a = coroutine.yield(a .. i) end end)\n"
    "  for i = 1, 90 do n = n + #co('x') end\n"
    "  for i = 1, 200 do local p = { a = i } if i % 37 == 0 then all[#all + 1] = p end n = n + p.a end\n"
    "  pcall(function() for i = 1, 100 do local z = ('y'):rep(i) .. i end error('z') end)\n"
    "  local b = require('string.buffer').new() for i = 1, 200 do b:put(i, 'abc') end\n"
    "  local big = 1ULL for i = 1, 100 do big = big * 3 end\n"
    "  local f for i = 1, 100 do f = function() return i end end\n"
    "  local r = text:gsub('%d', function(d) return d .. '!' end)\n"
    "  return tostring(n + #b:tostring() + f() + #r)\n"
    "end\n";

/* Makes a script, loads, runs and destroys it. False when memory ran out on the way. */
static bool survive(struct workbench *workbench) {
    struct error error;
    workbench->script = script_create(&workbench->options, &workbench->watch, &error);
    if (workbench->script == NULL) {
        cr_assert_neq(error.text[0], 0);
        return false;
    }
    bool ran =
        workbench_load(workbench, "allocating.lua") == SCRIPT_RETURNED && workbench_call(workbench) == SCRIPT_RETURNED;
    cr_assert(!ran || strcmp(workbench_answer(workbench), "25020") == 0, "%s", workbench_answer(workbench));
    cr_assert(ran || strstr(workbench->result.text, "memory") != NULL || workbench->thread == NULL, "%s",
              workbench->result.text);
    workbench_stop(workbench);
    return ran;
}

Test(script, survives_the_failure_of_any_allocation_of_its_life, .timeout = 120) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench_write(&workbench, "allocating.lua", allocating);
    workbench.options.budget_ms = 2000;
    uint64_t number = 1;
    while (workbench.options.fail_from = number, !survive(&workbench)) {
        number += FAILURE_STEP;
    }
    cr_assert_gt(number, 3000);
    workbench_close(&workbench);
}

Test(script, survives_any_memory_limit, .timeout = 120) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench_write(&workbench, "allocating.lua", allocating);
    workbench.options.budget_ms = 2000;
    size_t limit = 1024;
    while (workbench.options.memory_limit = limit, !survive(&workbench)) {
        limit += 1024;
    }
    cr_assert_lt(limit, 4 << 20, "it took %zu bytes", limit);
    workbench_close(&workbench);
}

Test(script, ends_a_hook_at_the_limit_and_goes_on_with_the_next, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = 4 << 20;
    workbench.options.budget_ms = 2000;
    workbench.options.interpreted = true;
    workbench_start(&workbench);
    for (int round = 0; round < 20; round++) {
        enum script_outcome outcome = workbench_run(&workbench, "return function() local t = {}\n"
                                                                "while true do t[#t + 1] = { #t } end end");
        cr_assert_eq(outcome, SCRIPT_OUT_OF_MEMORY, "%d: %s", outcome, workbench.result.text);
        expect_text(&workbench, "test.lua:2: over its memory limit");
        expect_answers(&workbench, "return function() return 'fine' end", "fine");
    }
    workbench_close(&workbench);
}

Test(script, collects_before_it_ends_a_hook_for_its_garbage, .timeout = 20) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = 4 << 20;
    workbench.options.budget_ms = 10000;
    for (int interpreted = 0; interpreted < 2; interpreted++) {
        workbench.options.interpreted = interpreted == 1;
        workbench_start(&workbench);
        expect_answers(&workbench,
                       "local kept = {} for i = 1, 20000 do kept[i] = { i } end\n"
                       "return function() local t for i = 1, 1e6 do t = { i } end return 'done' end",
                       "done");
    }
    workbench_close(&workbench);
}

Test(script, collects_between_turns_until_half_of_its_memory_is_free, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = 8 << 20;
    workbench.options.budget_ms = 2000;
    workbench_start(&workbench);
    expect_answers(&workbench, "return function() local t = {} for i = 1, 60000 do t[i] = { i } end return 'made' end",
                   "made");
    script_thread_give(workbench.script, workbench.thread);
    workbench.thread = NULL;
    cr_assert_gt(workbench.script->heap.used, 4 << 20);
    for (int turn = 0; turn < 1000 && workbench.script->heap.used > 4 << 20; turn++) {
        cr_assert(script_collect(workbench.script));
    }
    cr_assert_leq(workbench.script->heap.used, 4 << 20);
    workbench_close(&workbench);
}

/* Else a script that keeps much would cost every turn a step, for ever. */
Test(script, collects_nothing_between_turns_while_all_that_it_has_is_in_use, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = 8 << 20;
    workbench.options.budget_ms = 2000;
    workbench_start(&workbench);
    expect_answers(&workbench,
                   "local kept = {} for i = 1, 60000 do kept[i] = { i } end\n"
                   "return function() return 'kept ' .. #kept end",
                   "kept 60000");
    struct script *script = workbench.script;
    for (int turn = 0; turn < 20000; turn++) {
        cr_assert_gt(script->heap.used, 4 << 20);
        cr_assert(script_collect(script));
    }
    cr_expect_eq(script->collections, 2);
    workbench_close(&workbench);
}

Test(script, collects_all_at_once_when_it_is_asked_to, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench_start(&workbench);
    expect_answers(&workbench, "local t = {} for i = 1, 60000 do t[i] = { i } end return function() return 'made' end",
                   "made");
    size_t before = workbench.script->heap.used;
    cr_assert(script_collect_all(workbench.script));
    cr_expect_lt(workbench.script->heap.used, before);
    cr_expect_lt(workbench.script->heap.used, 1 << 20);
    workbench_close(&workbench);
}

/* --- budget ------------------------------------------------------------------------------------------------------- */

static double cpu_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static int shielded_passes;

/* Calls LuaJIT all the time. */
static void call_lua(lua_State *L, double milliseconds) {
    for (double end_ms = cpu_ms() + milliseconds; cpu_ms() < end_ms;) {
        for (int count = 0; count < 10000; count++) {
            lua_pushvalue(L, lua_upvalueindex(1));
            lua_rawequal(L, -1, -1);
            lua_pop(L, 1);
        }
    }
}

static int shielded_function(lua_State *L) {
    struct script *script = script_of(L);
    script_shield(script);
    call_lua(L, 60); /* three times the budget */
    script_unshield(script);
    shielded_passes++;
    return 0;
}

/* The watchdog may be late, and find it outside of LuaJIT more than once. */
static int unshielded_function(lua_State *L) {
    call_lua(L, 5000);
    return 0;
}

static int calling_function(lua_State *L) {
    script_check_stack(L);
    lua_call(L, 0, 0);
    return 0;
}

/* Once the shield is down it ends in the one way or the other. */
Test(script, is_not_killed_behind_a_shield, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 20;
    for (int passes = 1; passes <= 10; passes++) {
        workbench_start(&workbench);
        workbench_add(&workbench, "work", shielded_function);
        enum script_outcome outcome = workbench_run(&workbench, "return function()\nwork()\nwhile true do end end");
        cr_assert(outcome == SCRIPT_OVER_BUDGET || outcome == SCRIPT_KILLED, "%d: %s", outcome, workbench.result.text);
        cr_assert_eq(shielded_passes, passes);
    }
    workbench_close(&workbench);
}

Test(script, is_killed_in_luajit_below_c_code_without_a_shield, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 20;
    for (int round = 0; round < 10; round++) {
        workbench_start(&workbench);
        workbench_add(&workbench, "work", unshielded_function);
        cr_assert_eq(workbench_run(&workbench, "return function() work() end"), SCRIPT_KILLED);
        workbench_start(&workbench);
        workbench_add(&workbench, "call", calling_function);
        cr_assert_eq(workbench_run(&workbench, "return function() call(function() while true do end end) end"),
                     SCRIPT_KILLED);
    }
    workbench_close(&workbench);
}

Test(script, is_never_entered_again_when_it_was_killed, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 20;
    workbench_start(&workbench);
    cr_assert_eq(workbench_run(&workbench, "return function() while true do end end"), SCRIPT_KILLED);
    expect_text(&workbench, "the VM was stopped: over twice its CPU budget, 20 ms");
    cr_assert_eq(workbench.watch.kills, 1);
    cr_assert_eq(script_enter(workbench.script, workbench.thread, 0, &workbench.result), SCRIPT_KILLED);
    cr_assert_eq(script_call(workbench.script, raise_from_c, NULL, &workbench.result), SCRIPT_KILLED);
    cr_assert_eq(workbench_load_text(&workbench, "return 1"), SCRIPT_KILLED);
    cr_assert_null(script_thread_take(workbench.script));
    cr_assert_not(script_collect(workbench.script));
    expect_text(&workbench, "over twice its CPU budget");
    workbench_close(&workbench);
}

Test(script, is_refused_by_a_thread_on_which_many_were_killed, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench.watch.kills = SCRIPT_KILLS_MAX - 1;
    cr_assert(script_attach(workbench.script, &workbench.watch));
    workbench.watch.kills = SCRIPT_KILLS_MAX;
    cr_assert_not(script_attach(workbench.script, &workbench.watch));
    workbench_close(&workbench);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

static int finalized;

static int count_finalized(lua_State *L) {
    (void)L;
    finalized++;
    return 0;
}

static int add_finalizer(lua_State *L, void *argument) {
    (void)argument;
    lua_newuserdata(L, 8);
    lua_newtable(L);
    lua_pushcfunction(L, count_finalized);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

Test(script, runs_finalizers_when_it_is_destroyed_unless_it_was_killed, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    cr_assert_eq(script_call(workbench.script, add_finalizer, NULL, &workbench.result), SCRIPT_RETURNED);
    workbench_stop(&workbench);
    cr_assert_eq(finalized, 1);
    workbench.options.budget_ms = 20;
    workbench_start(&workbench);
    cr_assert_eq(script_call(workbench.script, add_finalizer, NULL, &workbench.result), SCRIPT_RETURNED);
    cr_assert_eq(workbench_run(&workbench, "return function() while true do end end"), SCRIPT_KILLED);
    workbench_close(&workbench);
    cr_assert_eq(finalized, 1);
}

Test(script, is_destroyed_though_a_finalizer_does_not_end, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.full_libraries = true;
    workbench.options.budget_ms = 20;
    workbench_start(&workbench);
    cr_assert_eq(workbench_load_text(&workbench, "local ffi = require 'ffi'\n"
                                                 "kept = ffi.gc(ffi.new('int[1]'), function() while true do end end)"),
                 SCRIPT_RETURNED, "%s", workbench.result.text);
    workbench_stop(&workbench);
    cr_assert_eq(workbench.watch.kills, 1);
    workbench_start(&workbench);
    expect_answers(&workbench, "return function() return 'fresh' end", "fresh");
    workbench_close(&workbench);
}

struct move {
    struct workbench *workbench;
    enum script_outcome outcome;
    bool joined;
};

static void *run_elsewhere(void *argument) {
    struct move *move = argument;
    struct watch watch;
    struct error error;
    move->joined = watch_join(&watch, move->workbench->watchdog, &error);
    if (move->joined) {
        script_attach(move->workbench->script, &watch);
        move->outcome = workbench_call(move->workbench);
        watch_leave(&watch);
    }
    return NULL;
}

Test(script, may_be_made_on_one_thread_and_used_on_another, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    cr_assert_eq(
        workbench_load_text(&workbench, "return function() local n = 0 for i = 1, 1e6 do n = n + i end return n end"),
        SCRIPT_RETURNED);
    struct move move = {.workbench = &workbench};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, run_elsewhere, &move), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(move.joined);
    cr_assert_eq(move.outcome, SCRIPT_RETURNED);
    cr_assert_eq(lua_tonumber(workbench.thread->state, 1), 500000500000.0);
    cr_assert(script_attach(workbench.script, &workbench.watch));
    workbench_close(&workbench);
}
