/* What filters can reach. */
#include "lua/libs.h"

#include "tests/unit/lua/workbench.h"

#include <criterion/criterion.h>
#include <lauxlib.h>
#include <string.h>
#include <sys/stat.h>

/* An attempt to get out of `libs: safe`, as the body of a function: it must raise this, or return this. */
struct attempt {
    const char *body;
    const char *raises;  /* part of the message; NULL: it raises nothing */
    const char *returns; /* what it returns, a string */
};

static const struct attempt attempts[] = {
    /* names that are not there */
    {"return io.open('/etc/passwd')", "io is not there for filters", NULL},
    {"os.execute('id')", "os.execute is not there for filters", NULL},
    {"os.exit(1)", "os.exit is not there", NULL},
    {"return os.getenv('HOME')", "os.getenv is not there", NULL},
    {"os.remove('/tmp/x')", "os.remove is not there", NULL},
    {"return debug.getregistry()", "debug is not there", NULL},
    {"return ffi.new('int')", "ffi is not there", NULL},
    {"jit.off()", "jit is not there", NULL},
    {"return package.loaded.io", "package is not there", NULL},
    {"return getfenv(0)", "getfenv is not there", NULL},
    {"setfenv(1, {})", "setfenv is not there", NULL},
    {"return newproxy(true)", "newproxy is not there", NULL},
    {"collectgarbage('stop')", "collectgarbage is not there", NULL},
    {"return _G.io", "_G is not there", NULL},
    {"return dofile('/etc/passwd')", "dofile is not there", NULL},
    {"return loadfile('/etc/passwd')", "loadfile is not there", NULL},
    {"module('x', package.seeall)", "module is not there", NULL},
    {"return string.dump(function() end)", "string.dump is not there", NULL},
    {"return tostring(('').dump)", NULL, "nil"},
    /* environments and metatables */
    {"return tostring(getmetatable(''))", NULL, "false"},
    {"getmetatable('').__index = nil", "attempt to index a boolean value", NULL},
    {"setmetatable('', {})", "bad argument #1 to 'setmetatable' (table expected, got string)", NULL},
    {"return tostring(getmetatable(os))", NULL, "false"},
    {"setmetatable(os, nil)", "cannot change a protected metatable", NULL},
    {"('').rep.x = 1", "attempt to index", NULL},
    {"('').evil = 1", "attempt to index", NULL},
    {"load('leak = 1')()", "assignment to the global 'leak'", NULL},
    {"return tostring(pcall(load, '\\27LJ\\2\\0'))", NULL, "true"},
    {"return select(2, load('\\27LJ\\2\\10\\2\\0\\0'))", NULL, NULL},
    {"return load(function() return '\\27LJ' end)", "bad argument #1 to 'load' (string expected)", NULL},
    {"return load('return io', 'x', 'b', {})() or 'nothing'", NULL, "nothing"},
    {"return load('return io')()", "io is not there", NULL},
    {"return loadstring('return os.execute')()", "os.execute is not there", NULL},
    {"return tostring(rawget(os, 'execute'))", NULL, "nil"},
    {"return tostring(rawget(string, 'dump'))", NULL, "nil"},
    /* modules */
    {"return require 'ffi'", "only at the top level", NULL},
    {"return require '../../../etc/passwd'", "only at the top level", NULL},
    {"return tostring(rawget(require 'os', 'execute'))", NULL, "nil"},
    {"return tostring(require 'string'.dump)", "string.dump is not there", NULL},
    /* addresses and pointers */
    {"return string.format('%p', {})", "%p shows an address", NULL},
    {"return ('%10p'):format('x')", "%p shows an address", NULL},
    {"return ('%d%% p%%p'):format(1)", NULL, "1% p%p"},
    {"local b = require('string.buffer').new() return tostring(b.ref)", NULL, "nil"},
    {"local b = require('string.buffer').new() return b:reserve(10)", "attempt to call method 'reserve'", NULL},
    {"local b = require('string.buffer').new() return b:putcdata(123ULL, 8)", "attempt to call method 'putcdata'",
     NULL},
    {"local b = require('string.buffer').new() return b:set(123ULL, 8)", "string expected", NULL},
    {"local b = require('string.buffer').new() return b:set(require('string.buffer').decode('x'), 8)", "", NULL},
    {"local b = require('string.buffer').new() b:__gc() return 'x'", "attempt to call method '__gc'", NULL},
    {"local b = require('string.buffer').new() b:putf('%p', b)", "%p shows an address", NULL},
    {"local b = require('string.buffer').new() return tostring(getmetatable(b))", NULL, "buffer"},
    {"return (123ULL)[0]", "cannot be indexed", NULL},
    {"return (123ULL).x", "", NULL},
    {"return (123ULL)()", "", NULL},
    {"return (string.sub(123ULL, 1))", "bad argument #1 to 'sub'", NULL},
    {"return (1LL + {})", "", NULL},
    {"return (setmetatable(123ULL, {}))", "bad argument #1 to 'setmetatable'", NULL},
    {"return tostring(getmetatable(123ULL))", NULL, "ffi"},
    {"return table.concat({ 123ULL })", "invalid value (cdata)", NULL},
    {"return (unpack(123ULL))", "bad argument #1 to 'unpack'", NULL},
    {"return (rawset(123ULL, 1, 2))", "bad argument #1 to 'rawset'", NULL},
    /* coroutines */
    {"return tostring(coroutine.running())", NULL, "nil"},
    {"coroutine.yield(1)", "coroutine.yield outside of a coroutine of yours", NULL},
    {"return tostring(pcall(coroutine.wrap(coroutine.yield)))", NULL, "true"},
    {"local c = coroutine.create(function() error('x') end) coroutine.resume(c) return tostring(coroutine.resume(c))",
     NULL, "false"},
    {"return (coroutine.resume(coroutine.running()))", "bad argument #1 to", NULL},
    {"local c = coroutine.wrap(function() return getfenv end) c()", "getfenv is not there", NULL},
    {"return select(2, coroutine.resume(coroutine.create(function() return io end)))", NULL, NULL},
    {"return select(2, xpcall(function() return io end, function(m) return 'handled ' .. tostring(debug) end))", NULL,
     NULL},
    {"return select(2, xpcall(error, function(m) return 'handled' end))", NULL, "handled"},
    /* more than there is */
    {"return ('x'):rep(1e10)", "over its memory limit", NULL},
    {"return ('x'):rep(1e300)", "over its memory limit", NULL},
    {"return #(''):rep(1e9) .. ''", NULL, "0"},
    {"return string.rep('x', 1, ('y'):rep(1e9))", "over its memory limit", NULL},
    {"return unpack({}, 1, 1e8)", "too many results to unpack", NULL},
    {"return ('x'):rep(1e6):byte(1, -1)", "string slice too long", NULL},
    {"return require('string.buffer').new(2 ^ 31)", "over its memory limit", NULL},
    {"return require('table.new')(2 ^ 27, 0)", "over its memory limit", NULL},
    {"return require('table.new')(0, 2 ^ 30)", "over its memory limit", NULL},
    {"return load(('('):rep(1e5)) and 'good' or 'refused'", NULL, "refused"},
    {"return load(('{'):rep(1e5)) and 'good' or 'refused'", NULL, "refused"},
    {"return string.find(('a'):rep(1e5), ('a?'):rep(1e5)) and 'found'", "pattern too complex", NULL},
    {"local t = {} for i = 1, 1e5 do t = { t } end return require('string.buffer').encode(t)", "too deep", NULL},
    {"return os.date(('%c'):rep(1000)) and 'date'", NULL, "date"},
    {"return os.date('*t', 1e308)", NULL, NULL},
    {"return os.time({ year = 1e308, month = 0/0, day = 2 ^ 63 }) and 'time'", NULL, NULL},
    /* C code that calls Lua without an end */
    {"local function f() string.gsub('a', 'a', f) end f()", "stack overflow", NULL},
    {"local function f() table.sort({ 1, 2, 3 }, f) end f()", "stack overflow", NULL},
    {"local function f() coroutine.wrap(f)() end f()", "stack overflow", NULL},
    {"local function f() local good, text = coroutine.resume(coroutine.create(f)) if not good then error(text, 0) end "
     "end f()",
     "stack overflow", NULL},
    {"local t t = setmetatable({}, { __tostring = function() return string.format('%s', t) end }) tostring(t)",
     "stack overflow", NULL},
    {"local t t = setmetatable({}, { __index = function() return os.time(t) end }) os.time(t)", "stack overflow", NULL},
    {"local b = require('string.buffer').new() local t\n"
     "t = setmetatable({}, { __tostring = function() b:put(t) end }) b:put(t)",
     "stack overflow", NULL},
    {"local all = {} for i = 1, 10000 do all[i] = coroutine.create(function() coroutine.resume(all[i + 1]) end) end\n"
     "coroutine.resume(all[1]) return 'back'",
     NULL, "back"},
};

static void expect_refused(struct workbench *workbench, const struct attempt *attempt) {
    char text[1024];
    snprintf(text, sizeof(text), "return function()\n%s\nend", attempt->body);
    enum script_outcome outcome = workbench_run(workbench, text);
    if (attempt->raises != NULL) {
        cr_expect_eq(outcome, SCRIPT_RAISED, "%s: ended with %d", attempt->body, outcome);
        cr_expect_not_null(strstr(workbench->result.text, attempt->raises), "%s: raised %s", attempt->body,
                           workbench->result.text);
        return;
    }
    cr_expect(outcome == SCRIPT_RETURNED || attempt->returns == NULL, "%s: raised %s", attempt->body,
              workbench->result.text);
    if (outcome == SCRIPT_RETURNED && attempt->returns != NULL) {
        cr_expect_str_eq(workbench_answer(workbench), attempt->returns, "%s: returned '%s'", attempt->body,
                         workbench_answer(workbench));
    }
}

Test(libs, let_no_filter_out, .timeout = 60) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 2000;
    workbench_start(&workbench);
    for (size_t index = 0; index < sizeof(attempts) / sizeof(attempts[0]); index++) {
        expect_refused(&workbench, &attempts[index]);
        expect_answers(&workbench, "return function() return ('a'):rep(3) .. string.format('%d', 4) end", "aaa4");
    }
    workbench_close(&workbench);
}

Test(libs, of_the_safe_kind_do_what_they_always_did, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_answers(&workbench, "return function() return ('%s %s %5.1f %q'):format(1, true, 2.5, 'x') end",
                   "1 true   2.5 \"x\"");
    expect_answers(&workbench, "return function() return ('%s%s%s%s%s'):format(1, 2, nil, true, 'e') end",
                   "12niltruee");
    expect_answers(&workbench, "return function() return (('abc'):gsub('b', { b = 'X' })) end", "aXc");
    expect_answers(&workbench, "return function() return (('abc'):gsub('%w', '<%0>', 2)) end", "<a><b>c");
    expect_answers(&workbench, "return function() return ('ab'):rep(3, '-') end", "ab-ab-ab");
    expect_answers(&workbench, "return function() local t = { 3, 1, 2 } table.sort(t) return table.concat(t, ',') end",
                   "1,2,3");
    expect_answers(&workbench,
                   "return function() local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end)\n"
                   "return table.concat(t, ',') end",
                   "3,2,1");
    expect_answers(&workbench,
                   "return function() local all = {}\n"
                   "for a, b in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i, i * i) end end) do\n"
                   "all[#all + 1] = a .. b end return table.concat(all, ' ') end",
                   "11 24 39");
    expect_answers(&workbench, "return function() return tostring(1LL) .. tostring(nil) .. tostring(0.5) end",
                   "1LLnil0.5");
    expect_answers(&workbench, "return function() return os.date('!%Y-%m-%d', 0) .. type(os.time()) end",
                   "1970-01-01number");
    expect_answers(&workbench, "return function() return tostring(bit.bxor(0xff, 0x0f)) end", "240");
    expect_answers(&workbench, "return function() return load('return ...', 'name')('x') end", "x");
    expect_answers(&workbench, "return function() return (select(2, load('return +', '=name'))) end",
                   "name:1: unexpected symbol near '+'");
    expect_answers(&workbench,
                   "local b = require('string.buffer').new(100)\n"
                   "return function() b:put('a', 1):putf('%d', 2):set('x') b:put('y') return b:tostring() end",
                   "xy");
    workbench_close(&workbench);
}

/* The compiler of Debian's LuaJIT takes a negative end for one beyond the text, once it has compiled that. */
Test(libs, cut_strings_rightly_once_compiled, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_answers(&workbench,
                   "local ends = {} for i = 1, 400 do ends[i] = i <= 200 and 8 or -4 end\n"
                   "return function() local found = '' for i = 1, 400 do\n"
                   "local text = ('abcdef'):sub(3, ends[i]) if i % 100 == 0 then found = found .. text .. ' ' end end\n"
                   "return found end",
                   "cdef cdef c c ");
    expect_answers(
        &workbench,
        "return function() local t = 'abcdef' return t:sub(2) .. ' ' .. t:sub(-2) .. ' ' .. t:sub(0, 2) .. ' ' ..\n"
        "t:sub(5, 99) .. ' ' .. t:sub(4, 3) .. ' ' .. t:sub(2.5, 3) .. ' ' .. t:sub('2', '3') .. ' ' ..\n"
        "string.sub(123, 2) .. ' ' .. t:sub(-99, -5) end",
        "bcdef ef ab ef  bc bc 23 ab");
    workbench_close(&workbench);
}

Test(libs, show_no_addresses_and_still_tell_values_apart, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    static const char *const values[] = {"{}",         "function() end",         "tostring",
                                         "string.rep", "coroutine.create(load)", "require('string.buffer').new"};
    for (size_t index = 0; index < sizeof(values) / sizeof(values[0]); index++) {
        char text[256];
        snprintf(text, sizeof(text), "v = %s return function() return tostring(v) .. '|' .. ('%%s'):format(v) end",
                 values[index]);
        cr_assert_eq(workbench_run(&workbench, text), SCRIPT_RETURNED, "%s", workbench.result.text);
        const char *answer = workbench_answer(&workbench);
        const char *second = strchr(answer, '|');
        cr_assert_eq(strncmp(answer, second + 1, (size_t)(second - answer)), 0, "%s", answer);
    }
    cr_assert_eq(workbench_run(&workbench, "local t = {} return function() return tostring(t), t end"),
                 SCRIPT_RETURNED);
    char address[32];
    snprintf(address, sizeof(address), "%lx", (unsigned long)lua_topointer(workbench.thread->state, 2));
    cr_assert_null(strstr(workbench_answer(&workbench), address), "%s", workbench_answer(&workbench));
    expect_answers(&workbench, "local a, b = {}, {} return function() return tostring(tostring(a) == tostring(b)) end",
                   "false");
    workbench_close(&workbench);
}

Test(libs, say_what_an_undefined_name_may_have_meant, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_raises(&workbench, "return function()\nreturn tostrng(1) end",
                  "test.lua:2: undefined variable 'tostrng' (did you mean 'tostring'?)");
    expect_raises(&workbench, "local function f() end function helper() end\nreturn function() helpr() end",
                  "test.lua:2: undefined variable 'helpr' (did you mean 'helper'?)");
    expect_raises(&workbench, "return function() local x = xyzzy end", "undefined variable 'xyzzy'\n");
    expect_raises(&workbench, "return function() io.write('x') end",
                  "test.lua:1: io is not there for filters (lua.libs: safe): mr.read_file");
    cr_assert_eq(workbench_load_text(&workbench, "prin('x')"), SCRIPT_RAISED);
    cr_assert_not_null(strstr(workbench.result.text, "test.lua:1: undefined variable 'prin'"), "%s",
                       workbench.result.text);
    workbench_close(&workbench);
}

Test(libs, let_globals_be_assigned_at_the_top_level_only, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_answers(&workbench, "count = 1 function get() return 'got ' .. count end return function() return get() end",
                   "got 1");
    expect_raises(&workbench, "count = 1 return function()\ncount = count + 1 end",
                  "test.lua:2: assignment to the global 'count'");
    expect_raises(&workbench, "return function() function helper() end end", "assignment to the global 'helper'");
    expect_raises(&workbench, "return function() coroutine.wrap(function() user = 'bob' end)() end",
                  "assignment to the global 'user'");
    workbench_close(&workbench);
}

Test(libs, give_each_file_globals_and_libraries_of_its_own, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench_write(&workbench, "first.lua",
                    "shared = 1 string.twice = function(s) return s .. s end return function() end");
    cr_assert_eq(workbench_load(&workbench, "first.lua"), SCRIPT_RETURNED, "%s", workbench.result.text);
    expect_raises(&workbench, "return function() return shared end", "undefined variable 'shared'");
    expect_answers(&workbench, "return function() return tostring(string.twice) end", "nil");
    workbench_close(&workbench);
}

Test(libs, of_the_full_kind_have_everything_and_still_close_globals, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.full_libraries = true;
    workbench_start(&workbench);
    expect_answers(&workbench, "local ffi = require 'ffi' return function() return tostring(ffi.sizeof('int')) end",
                   "4");
    expect_answers(&workbench, "return function() return type(io.open) .. type(os.execute) .. type(debug.getinfo) end",
                   "functionfunctionfunction");
    expect_raises(&workbench, "return function() x = 1 end", "assignment to the global 'x'");
    expect_raises(&workbench, "return function() return pirnt end", "did you mean 'print'?");
    expect_raises(&workbench, "return function() local function f() string.gsub('a', 'a', f) end f() end",
                  "stack overflow");
    expect_raises(&workbench, "return function() local function f() coroutine.wrap(f)() end f() end", "stack overflow");
    workbench_close(&workbench);
}

static int add_global_and_module(lua_State *L, void *argument) {
    (void)argument;
    libs_push_globals(L);
    lua_pushliteral(L, "from us");
    lua_setfield(L, -2, "greeting");
    libs_push_modules(L);
    lua_pushliteral(L, "a module");
    lua_setfield(L, -2, "moonring");
    return 0;
}

Test(libs, take_up_what_we_add, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    cr_assert_eq(script_call(workbench.script, add_global_and_module, NULL, &workbench.result), SCRIPT_RETURNED);
    expect_answers(&workbench, "local m = require 'moonring' return function() return greeting .. ' ' .. m end",
                   "from us a module");
    expect_answers(&workbench, "return function() return require 'moonring' end", "a module");
    workbench_close(&workbench);
}

/* --- require ------------------------------------------------------------------------------------------------------ */

Test(libs, find_modules_by_the_paths_in_their_order, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    char folder[128];
    snprintf(folder, sizeof(folder), "%s/lib", workbench.folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    workbench_write(&workbench, "lib/one.lua", "return { name = ..., where = 'lib' }");
    workbench_write(&workbench, "one.lua", "return { name = ..., where = 'root' }");
    workbench_write(&workbench, "two.lua", "local one = require 'one' return { one = one }");
    expect_answers(&workbench,
                   "local one, two = require 'one', require 'two'\n"
                   "return function() return one.name .. one.where .. tostring(two.one == one) end",
                   "onelibtrue");
    snprintf(folder, sizeof(folder), "%s/lib/one.lua", workbench.folder);
    remove(folder);
    workbench_close(&workbench);
}

static void expect_load_fails(struct workbench *workbench, const char *text, const char *message) {
    cr_assert_eq(workbench_load_text(workbench, text), SCRIPT_RAISED, "%s", text);
    cr_assert_not_null(strstr(workbench->result.text, message), "%s: says\n%s", text, workbench->result.text);
}

Test(libs, refuse_modules_that_are_no_files_below_the_paths, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    expect_load_fails(&workbench, "require 'nothing'", "no file 'lib/nothing.lua'\n\tno file 'nothing.lua'");
    static const char *const names[] = {"../x", "/etc/passwd", "a..b", ".a", "a.", "", "a/b", "?", "a%2eb", "a b"};
    for (size_t index = 0; index < sizeof(names) / sizeof(names[0]); index++) {
        char text[64];
        snprintf(text, sizeof(text), "require \"%s\"", names[index]);
        expect_load_fails(&workbench, text, "a name is words with dots between them");
    }
    expect_load_fails(&workbench, "require 'ffi'", "ffi is not there for filters");
    expect_load_fails(&workbench, "require(12)", "string expected");
    workbench_close(&workbench);
}

Test(libs, name_the_file_and_line_of_a_broken_module, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench_write(&workbench, "broken.lua", "\n\nreturn +");
    expect_load_fails(&workbench, "require 'broken'", "broken.lua:3: unexpected symbol");
    workbench_write(&workbench, "raising.lua", "\nerror 'no'");
    expect_load_fails(&workbench, "require 'raising'", "raising.lua:2: no");
    expect_load_fails(&workbench, "require 'raising'", "requires itself, or failed before");
    workbench_write(&workbench, "circle.lua", "require 'circle'");
    expect_load_fails(&workbench, "require 'circle'", "requires itself");
    workbench_write_bytes(&workbench, "binary.lua", "\033LJ\002\000", 5);
    expect_load_fails(&workbench, "require 'binary'", "attempt to load chunk with wrong mode");
    workbench_close(&workbench);
}

Test(libs, read_no_files_once_the_top_level_has_run, .timeout = 10) {
    struct workbench workbench;
    workbench_open_plain(&workbench);
    workbench_write(&workbench, "one.lua", "return 'one'");
    expect_raises(&workbench, "return function() return require 'one' end", "require 'one': only at the top level");
    expect_answers(&workbench, "require 'one' return function() return require 'one' end", "one");
    workbench_close(&workbench);
}
