/* Code that does not end, or wants everything: what it costs, and that a fresh VM works afterwards. */
#include "tests/unit/lua/workbench.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

/* The budget is short, since nearly every case spends twice of it. */
enum { BUDGET_MS = 5, ROUNDS = 4, MEMORY_LIMIT = 16 << 20 };

enum ending {
    RAISES = 1u << SCRIPT_RAISED,
    HUNGRY = 1u << SCRIPT_OUT_OF_MEMORY,
    OVER_BUDGET = 1u << SCRIPT_OVER_BUDGET,
    KILLED = 1u << SCRIPT_KILLED,
    ENDS = OVER_BUDGET | KILLED,
    EATS = HUNGRY | OVER_BUDGET | KILLED,
};

struct runaway {
    const char *body;     /* of a function */
    unsigned interpreted; /* how it may end where nothing is compiled */
    unsigned compiled;    /* and where loops are */
};

static const struct runaway runaways[] = {
    {"while true do end", OVER_BUDGET, KILLED},
    {"local n = 0 while true do n = n + math.sin(n) end", OVER_BUDGET, KILLED},
    {"local n = 0 while true do n = n + math.log(n + 1) * 2 ^ (n % 3) % 7 end", OVER_BUDGET, KILLED},
    {"local n = 1ULL while true do n = n * 3 + 1 end", OVER_BUDGET, ENDS},
    /* errors caught for ever */
    {"local function f() end while true do pcall(f) end", OVER_BUDGET, KILLED},
    {"local function f() while true do end end while true do pcall(pcall, f) end", OVER_BUDGET, KILLED},
    {"while true do pcall(error, 'x') end", ENDS, ENDS},
    {"while true do xpcall(error, function() error('x') end) end", ENDS, ENDS},
    {"local function f() pcall(f) pcall(f) end f()", ENDS | RAISES, ENDS | RAISES},
    {"error(setmetatable({}, { __tostring = function() while true do end end }))", RAISES, RAISES | KILLED},
    /* C code of LuaJIT */
    {"string.find(('a'):rep(100000), '.-.-.-b')", KILLED, KILLED},
    {"while true do pcall(string.find, ('a'):rep(100000), '.-.-.-b') end", KILLED, KILLED},
    {"while true do ('a'):rep(100):gsub('a', function(c) return c .. c end) end", ENDS, ENDS},
    {"local t = {} for i = 1, 1000 do t[i] = i end\n"
     "while true do table.sort(t, function(a, b) return a > b end) end",
     ENDS, ENDS},
    /* calls */
    {"local function f() return 1 + f() end f()", RAISES | ENDS, RAISES | ENDS},
    {"local function f() return f() end f()", OVER_BUDGET, KILLED},
    {"local t = setmetatable({}, { __index = function(t, k) return t[k + 1] end }) local x = t[1]", RAISES | ENDS,
     RAISES | ENDS},
    {"tostring(setmetatable({}, { __tostring = function() while true do end end }))", OVER_BUDGET, KILLED},
    /* coroutines */
    {"coroutine.wrap(function() while true do end end)()", OVER_BUDGET, KILLED},
    {"local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end", ENDS, ENDS},
    {"local function f() coroutine.wrap(f)() end f()", RAISES | EATS, RAISES | EATS},
    {"local t = {} while true do t[#t + 1] = coroutine.create(load) end", EATS, EATS},
    /* memory */
    {"local t = {} while true do t[#t + 1] = {} end", EATS, EATS},
    {"while true do local t = { 1, 2, {} } t[3][1] = t end", ENDS, ENDS},
    {"local s = 'x' while true do s = s .. s end", EATS, EATS},
    {"local t = {} for i = 1, 1e9 do t[i] = 'k' .. i end", EATS, EATS},
    {"local f = load while true do local g = f f = function() return g end end", EATS, EATS},
    {"local b = require('string.buffer').new() while true do b:put('x') b:put(1.5) end", EATS, EATS},
    /* LuaJIT's compiler, all the time */
    {"while true do load('local n = 0 for i = 1, 200 do n = n + i end')() end", ENDS, ENDS},
};
enum { RUNAWAYS = sizeof(runaways) / sizeof(runaways[0]) };

/* Something of everything: compiled loops, errors through compiled code, strings, the x87 stack, garbage. */
static const char sound[] =
    "local function f(n) if n % 7 == 0 then error('seven') end return n end\n"
    "return function()\n"
    "  local sum, caught, parts = 0, 0, {}\n"
    "  for i = 1, 2000 do\n"
    "    local good, value = pcall(f, i)\n"
    "    if good then sum = sum + value else caught = caught + 1 end\n"
    "    if i % 10 == 0 then parts[#parts + 1] = tostring(i * 0.5) end\n"
    "  end\n"
    "  local text = table.concat(parts, ',')\n"
    "  local digits = select(2, text:gsub('%d', '%0'))\n"
    "  return sum .. ' ' .. caught .. ' ' .. digits .. ' ' .. tostring(math.log(8) / math.log(2))\n"
    "end\n";

static void expect_sound(struct workbench *workbench) {
    workbench->options.budget_ms = 5000;
    workbench_start(workbench);
    expect_answers(workbench, sound, "1715715 285 581 3");
}

static double cpu_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void expect_ends(struct workbench *workbench, const struct runaway *runaway, bool interpreted) {
    char text[512];
    snprintf(text, sizeof(text), "return function()\n%s\nend", runaway->body);
    workbench->options.interpreted = interpreted;
    workbench->options.budget_ms = BUDGET_MS;
    workbench->watch.kills = 0;
    workbench_start(workbench);
    double before_ms = cpu_ms();
    enum script_outcome outcome = workbench_run(workbench, text);
    double spent_ms = cpu_ms() - before_ms;
    unsigned expected = interpreted ? runaway->interpreted : runaway->compiled;
    cr_expect((1u << outcome & expected) != 0, "%s (%s): ended with %d: %s", runaway->body,
              interpreted ? "interpreted" : "compiled", outcome, workbench->result.text);
    /* Twice the budget and a tick; more where the time goes into the unwinder, in which nothing is stopped. */
    cr_expect_lt(spent_ms, 1000, "%s: %.1f ms", runaway->body, spent_ms);
}

Test(runaway, costs_its_hook_or_its_vm_and_a_fresh_vm_works, .timeout = 120) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = MEMORY_LIMIT;
    for (unsigned index = 0; index < ROUNDS * RUNAWAYS; index++) {
        expect_ends(&workbench, &runaways[index % RUNAWAYS], false);
        expect_sound(&workbench);
        expect_ends(&workbench, &runaways[index % RUNAWAYS], true);
        expect_sound(&workbench);
    }
    workbench_close(&workbench);
}

static void *run_beside(void *argument) {
    struct workbench workbench;
    workbench_open_beside(&workbench, argument);
    workbench.options.memory_limit = MEMORY_LIMIT;
    for (unsigned index = 0; index < RUNAWAYS; index++) {
        expect_ends(&workbench, &runaways[index], false);
        expect_sound(&workbench);
    }
    workbench_close(&workbench);
    return argument;
}

/* LuaJIT and the unwinder have tables for the whole process, which both threads change meanwhile. */
Test(runaway, on_one_thread_leaves_another_alone, .timeout = 120) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = MEMORY_LIMIT;
    pthread_t thread;
    void *result;
    cr_assert_eq(pthread_create(&thread, NULL, run_beside, &workbench), 0);
    for (unsigned index = RUNAWAYS; index > 0; index--) {
        expect_ends(&workbench, &runaways[index - 1], false);
        expect_sound(&workbench);
    }
    cr_assert_eq(pthread_join(thread, &result), 0);
    cr_assert_eq(result, &workbench);
    workbench_close(&workbench);
}
