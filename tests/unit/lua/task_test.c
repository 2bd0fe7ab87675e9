#include "lua/task.h"

#include "tests/unit/lua/proxy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Opens a filter with a hook `from_client` that does `body`; `mr` and `say` (print) are there. */
static void open_body(struct proxy *proxy, const char *top, const char *body) {
    char text[2048];
    snprintf(text, sizeof(text),
             "local mr = require 'moonring'\n%s\nreturn { from_client = function(conn, buf)\n%s\nend }", top, body);
    proxy_open_with(proxy, text);
}

static void run_body(struct proxy *proxy, const char *top, const char *body) {
    open_body(proxy, top, body);
    proxy_connect(proxy);
    proxy_send(proxy->client, "go");
}

static void expect_says(const char *top, const char *body, const char *line) {
    struct proxy proxy;
    run_body(&proxy, top, body);
    proxy_expect_log(&proxy, line);
    proxy_close(&proxy);
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

Test(task, is_spawned_with_arguments_and_runs_after_the_hook, .timeout = 20) {
    expect_says("local order = {}",
                "mr.spawn(function(...) order[2] = 'task' print(table.concat(order, ' '), ...) end, 1, 'two', nil)\n"
                "order[1] = 'hook'",
                "hook task 1 two nil");
}

Test(task, comes_after_a_time, .timeout = 20) {
    expect_says("",
                "local before = mr.now()\n"
                "mr.after(0.03, function() print('after', mr.now() - before > 0.0299) end)",
                "after true");
}

Test(task, comes_again_until_it_is_cancelled, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "",
             "local count, every = 0\n"
             "every = mr.every(0.002, function()\n"
             "  count = count + 1\n"
             "  mr.sleep(0.001)\n"
             "  if count == 3 then every:cancel() every:cancel() print('third') end\n"
             "end)");
    proxy_expect_log(&proxy, "third");
    struct runtime *runtime = proxy_runtime(&proxy, 0);
    service_wait(&proxy.service, runtime->tasks_count == 0);
    proxy_close(&proxy);
}

Test(task, that_repeats_goes_on_after_an_error, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "",
             "local count = 0\n"
             "mr.every(0.002, function() count = count + 1 if count < 5 then error('no luck') end\n"
             "  print('fifth') end)");
    proxy_expect_log(&proxy, "fifth");
    cr_assert_eq(proxy_count_log(&proxy, "listener web: filter test: task: test.lua:5: no luck"), 1);
    proxy_close(&proxy);
}

Test(task, is_cancelled_before_it_starts_and_while_it_waits, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "",
             "mr.after(0.001, function() print('bad') end):cancel()\n"
             "mr.spawn(function() print('bad') end):cancel()\n"
             "local waiting = mr.spawn(function() mr.sleep(1) print('bad') end)\n"
             "mr.sleep(0.002) waiting:cancel()\n"
             "mr.sleep(1.1) print('good')");
    proxy_expect_log(&proxy, "good");
    cr_assert_eq(proxy_count_log(&proxy, "bad"), 0);
    cr_assert_eq(proxy_runtime(&proxy, 0)->tasks_count, 0);
    proxy_close(&proxy);
}

Test(task, of_a_session_ends_with_it, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "",
             "conn:spawn(function() print('waits') mr.sleep(2) print('bad') end)\n"
             "mr.spawn(function() mr.sleep(2.1) print('good') end)");
    proxy_expect_log(&proxy, "waits");
    proxy_hang_up(&proxy);
    proxy_expect_log(&proxy, "good");
    cr_assert_eq(proxy_count_log(&proxy, "bad"), 0);
    proxy_close(&proxy);
}

Test(task, of_a_session_writes_to_it_and_ends_it, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "",
             "conn:spawn(function() mr.sleep(0.002) conn.client:write('bye') conn:close() print('bad') end)");
    proxy_expect(&proxy, proxy.server, "go");
    proxy_expect(&proxy, proxy.client, "bye");
    cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
    cr_assert_eq(proxy_count_log(&proxy, "bad"), 0);
    proxy_close(&proxy);
}

Test(task, of_nobody_writes_to_a_session_and_ends_it, .timeout = 20) {
    struct proxy proxy;
    run_body(&proxy, "", "mr.spawn(function() conn.client:write('one ') conn:reject('two') print('goes on') end)");
    proxy_expect(&proxy, proxy.client, "one two");
    cr_assert_eq(proxy_expect_end(&proxy, proxy.client), 0);
    proxy_expect_log(&proxy, "goes on");
    proxy_close(&proxy);
}

Test(task, starts_from_the_top_level_once_the_worker_has_begun, .timeout = 20) {
    struct proxy proxy;
    proxy_open_with(&proxy, "local mr = require 'moonring'\n"
                            "mr.spawn(function(...) print('spawned', ...) end, 7)\n"
                            "mr.after(0.001, function() print('after') end)\n"
                            "mr.every(0.001, function() print('every') end)\n"
                            "return function() end");
    cr_assert_eq(proxy_count_log(&proxy, "spawned"), 0);
    proxy_expect_log(&proxy, "spawned 7");
    proxy_expect_log(&proxy, "after");
    proxy_expect_log(&proxy, "every");
    proxy_close(&proxy);
}

Test(task, that_repeats_from_the_top_level_runs_in_one_worker_unless_it_says_all, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.worker = 3;
    proxy_add(&proxy, "test",
              "local mr = require 'moonring'\n"
              "mr.every(0.001, function() print('bad') end):cancel()\n"
              "mr.every(0.001, function() print('bad') end)\n"
              "mr.every(0.002, function() print('everywhere') end, { where = 'all' })\n"
              "return function() end");
    proxy_open(&proxy);
    proxy_expect_log(&proxy, "everywhere");
    cr_assert_eq(proxy_count_log(&proxy, "bad"), 0);
    proxy_close(&proxy);
}

Test(task, is_one_of_so_many, .timeout = 60) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy.config.lua.memory = (size_t)1 << 30;
    proxy.config.lua.budget_ms = 20000;
    proxy_add(&proxy, "test",
              "local mr = require 'moonring'\n"
              "return { from_client = function(conn)\n"
              "  local count = 0\n"
              "  local good, why = pcall(function() while true do\n"
              "    mr.after(1000, function() end) count = count + 1 end end)\n"
              "  print(count, why) end }");
    proxy_open(&proxy);
    proxy_connect(&proxy);
    proxy_send(proxy.client, "go");
    proxy_expect_log(&proxy, "100000 test.lua:5: not enough memory, or more than 100000 tasks in one VM");
    cr_assert_eq(proxy_runtime(&proxy, 0)->tasks_count, TASKS_MAX);
    proxy_close(&proxy);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */

static void expect_raises_here(const char *top, const char *body, const char *message) {
    struct proxy proxy;
    run_body(&proxy, top, body);
    proxy_expect_log(&proxy, message);
    proxy_expect_closed(&proxy, CLOSE_FILTER_ERROR);
    proxy_close(&proxy);
}

Test(task, waits_only_in_its_own_coroutine, .timeout = 60) {
    expect_raises_here("", "coroutine.wrap(function() mr.sleep(1) end)()",
                       "test.lua:4: cannot wait inside a coroutine of yours");
    expect_raises_here("", "string.gsub('a', 'a', function() mr.sleep(1) end)",
                       "test.lua:4: cannot wait inside a function that a library function calls");
    expect_raises_here("", "coroutine.wrap(function() conn:close() end)()",
                       "test.lua:4: cannot wait inside a coroutine of yours");
    expect_raises_here("", "coroutine.yield(1)", "coroutine.yield outside of a coroutine of yours");
}

Test(task, takes_arguments_that_make_sense, .timeout = 60) {
    static const char *const wrong[] = {"mr.sleep()",
                                        "mr.sleep('1')",
                                        "mr.sleep(-1)",
                                        "mr.sleep(0/0)",
                                        "mr.sleep(1e10)",
                                        "mr.sleep({})",
                                        "mr.spawn()",
                                        "mr.spawn(5)",
                                        "mr.after(1)",
                                        "mr.after('x', print)",
                                        "mr.every(0, print)",
                                        "mr.every(1, 2)",
                                        "mr.every(1, print, 'worker')",
                                        "mr.signal().set()",
                                        "mr.signal().set({})",
                                        "mr.signal().wait(mr.spawn(print))",
                                        "mr.signal():wait('x')",
                                        "mr.spawn(print).cancel(mr.signal())",
                                        "mr.all(print, 5)",
                                        "mr.race(nil)",
                                        "conn.spawn(print)",
                                        "conn:spawn()",
                                        "conn:spawn(1)",
                                        "mr.slep(1)",
                                        "mr.sleep = print"};
    for (size_t index = 0; index < sizeof(wrong) / sizeof(wrong[0]); index++) {
        expect_raises_here("", wrong[index], "from_client: test.lua:4: ");
    }
}

Test(task, cannot_wait_at_a_top_level, .timeout = 20) {
    struct proxy proxy;
    proxy_init(&proxy);
    proxy_add(&proxy, "test", "local mr = require 'moonring'\nmr.sleep(1)\nreturn function() end");
    const char *report = proxy_load_report(&proxy);
    cr_assert_not_null(strstr(report, "test.lua:2: error: the top level of a file must not wait"), "%s", report);
    proxy_close(&proxy);
}

Test(task, waits_for_a_signal, .timeout = 60) {
    expect_says("local s = mr.signal()", "mr.spawn(function() s:set() end) print('woken', s:wait())", "woken true");
    expect_says("local s = mr.signal()", "s:set() print('was set', s:wait())", "was set true");
    expect_says("local s = mr.signal()", "print('too late', s:wait(0.002))", "too late false");
    expect_says("local s = mr.signal()", "s:set() s:wait() print('once', s:wait(0.002))", "once false");
    expect_says("local s = mr.signal()",
                "local count = 0\n"
                "for i = 1, 3 do mr.spawn(function() s:wait() count = count + 1 end) end\n"
                "mr.sleep(0.002) s:set() mr.sleep(0.002) print('all', count, s:wait(0))",
                "all 3 false");
}

Test(task, runs_several_functions_at_the_same_time, .timeout = 60) {
    expect_says("",
                "print('all', mr.all(function() mr.sleep(0.002) return 1 end, function() return 2, 3 end,\n"
                "  function() end))",
                "all 1 2 nil");
    expect_says("", "print(pcall(mr.all, function() mr.sleep(0.002) end, function() error('no luck') end))",
                "false test.lua:4: no luck");
    expect_says("", "print('none', mr.all())", "none");
    expect_says("", "print('race', mr.race(function() mr.sleep(1000) end, function() mr.sleep(0.002) return 1, 2 end))",
                "race 1 2");
    expect_says("", "print(pcall(mr.race, function() mr.sleep(1000) end, function() error('no luck', 0) end))",
                "false no luck");
}

Test(task, that_sleeps_for_no_time_lets_others_run, .timeout = 20) {
    expect_says("",
                "local order = {}\n"
                "mr.spawn(function() order[#order + 1] = 'b' end)\n"
                "order[#order + 1] = 'a' mr.sleep(0) order[#order + 1] = 'c' print(table.concat(order))",
                "abc");
}

Test(task, in_great_numbers_leaves_nothing_behind, .timeout = 60) {
    struct proxy proxy;
    run_body(&proxy, "local done = 0",
             "for i = 1, 1000 do mr.spawn(function() mr.sleep(0.001 * (i % 5)) done = done + 1\n"
             "  if done == 1000 then print('all done') end end) end");
    proxy_expect_log(&proxy, "all done");
    struct runtime *runtime = proxy_runtime(&proxy, 0);
    service_wait(&proxy.service, runtime->tasks_count == 0);
    cr_assert_eq(runtime->tasks_slab.in_use, 0);
    cr_assert_eq(runtime->script->spares_count, SCRIPT_SPARES_MAX);
    proxy_close(&proxy);
}
