#include "lua/meter.h"

#include "lua/metric.h"
#include "tests/unit/lua/library.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MR "local mr = require 'moonring'\n"

static void expect_line(const char *line) {
    struct bytes out;
    bytes_init(&out);
    bytes_append_char(&out, '\n');
    metrics_describe(&out);
    char whole[256];
    snprintf(whole, sizeof(whole), "\n%s\n", line);
    cr_assert_not_null(strstr(out.data, whole), "no line\n%s\nin\n%s", line, out.data);
    bytes_finish(&out);
}

static void expect_runs(struct workbench *workbench, const char *text) {
    enum script_outcome outcome = workbench_run(workbench, text);
    cr_assert_eq(outcome, SCRIPT_RETURNED, "%s: %s", text, workbench->result.text);
}

/* --- counting ----------------------------------------------------------------------------------------------------- */

Test(meter, counts, .timeout = 20) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 5000;
    for (int interpreted = 0; interpreted < 2; interpreted++) {
        workbench.options.interpreted = interpreted == 1;
        library_start(&workbench);
        expect_runs(&workbench,
                    MR "local hits = mr.counter('hits_total', 'Hits.')\n"
                       "local load = mr.gauge('load', 'Load.')\n"
                       "local took = mr.histogram('took_seconds', 'Time.', nil, { 1, 5, 10 })\n"
                       "local whole = mr.histogram('default_seconds', 'Time.')\n"
                       "return function()\n"
                       "  for i = 1, 1000 do\n"
                       "    hits:inc() hits:inc(0.5) load:set(3) load:inc() load:inc(4) load:dec() load:dec(2)\n"
                       "    took:observe(i % 20) whole:observe(-0.25)\n"
                       "  end\n"
                       "end");
    }
    expect_line("hits_total 3000");
    expect_line("load 5");
    expect_line("took_seconds_bucket{le=\"1\"} 200");
    expect_line("took_seconds_bucket{le=\"5\"} 600");
    expect_line("took_seconds_bucket{le=\"10\"} 1100");
    expect_line("took_seconds_bucket{le=\"+Inf\"} 2000");
    expect_line("took_seconds_sum 19000");
    expect_line("default_seconds_bucket{le=\"0.005\"} 2000");
    expect_line("default_seconds_bucket{le=\"10\"} 2000");
    expect_line("default_seconds_sum -500");
    workbench_close(&workbench);
}

Test(meter, counts_by_labels, .timeout = 20) {
    struct workbench workbench;
    library_open(&workbench);
    expect_runs(&workbench, MR
                "local hits = mr.counter('hits_total', 'Hits.', { 'who' })\n"
                "local load = mr.gauge('load', 'Load.', { 'a', 'b', 'c' })\n"
                "local kept = hits:with('kept')\n"
                "return function()\n"
                "  for i = 1, 300 do\n"
                "    kept:inc() hits:with('x'):inc() hits:with(7):inc() hits:with(true):inc()\n"
                "    load:with('a', 'b', i % 2):inc() load:with('a\\0', 'b', 0):inc() load:with('a', '\\0b', 0):inc()\n"
                "  end\n"
                "end");
    expect_line("hits_total{who=\"kept\"} 300");
    expect_line("hits_total{who=\"x\"} 300");
    expect_line("hits_total{who=\"7\"} 300");
    expect_line("hits_total{who=\"true\"} 300");
    expect_line("load{a=\"a\",b=\"b\",c=\"0\"} 150");
    expect_line("load{a=\"a\",b=\"b\",c=\"1\"} 150");
    expect_line("load{a=\"a\\\\x00\",b=\"b\",c=\"0\"} 300");
    expect_line("load{a=\"a\",b=\"\\\\x00b\",c=\"0\"} 300");
    workbench_close(&workbench);
}

/* Clients choose the values: neither registry nor VM may grow with them. */
Test(meter, is_bounded_in_labels, .timeout = 20) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 5000;
    library_start(&workbench);
    expect_runs(&workbench, MR "local hits = mr.counter('hits_total', 'Hits.', { 'who' })\n"
                               "return function() for i = 1, 20000 do hits:with('user ' .. i):inc() end end");
    expect_line("hits_total{who=\"user 1\"} 1");
    expect_line("hits_total{who=\"user 1000\"} 1");
    expect_line("hits_total{who=\"overflow\"} 19000");
    cr_assert_lt(workbench.script->heap.used, 16 << 20);
    workbench_close(&workbench);
}

Test(meter, goes_on_counting_in_the_next_script, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    for (int round = 0; round < 3; round++) {
        expect_runs(&workbench, MR "local hits = mr.counter('hits_total', 'Hits.', { 'who' }):with('x')\n"
                                   "return function() hits:inc() end");
        library_start(&workbench);
    }
    expect_line("hits_total{who=\"x\"} 3");
    workbench_close(&workbench);
}

/* A VM that is stopped between two instructions leaves the registry, and its lock, as they should be. */
Test(meter, survives_scripts_that_count_for_ever, .timeout = 30) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 5;
    for (int round = 0; round < 12; round++) {
        library_start(&workbench);
        enum script_outcome outcome = workbench_run(
            &workbench, MR "local hits = mr.counter('hits_total', 'Hits.', { 'who' })\n"
                           "return function()\n"
                           "  local i = 0\n"
                           "  while true do i = i + 1 pcall(hits.with, hits, i) hits:with('x'):inc() end\n"
                           "end");
        cr_assert(outcome == SCRIPT_OVER_BUDGET || outcome == SCRIPT_KILLED, "%d: %s", outcome, workbench.result.text);
    }
    struct bytes out;
    bytes_init(&out);
    metrics_describe(&out);
    cr_assert_not_null(strstr(out.data, "hits_total{who=\"x\"} "));
    bytes_finish(&out);
    workbench_close(&workbench);
}

/* The script is loaded while its worker may be counting for an older one. */
Test(meter, counts_apart_what_the_top_level_counts, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    struct values *values = library_values(&workbench);
    cr_assert(values_set_worker(values, 1));
    cr_assert_eq(workbench_load_text(&workbench, MR "local rules = mr.gauge('rules', 'Rules.') rules:set(40)\n"
                                                    "return function() rules:inc() end"),
                 SCRIPT_RETURNED);
    cr_assert_eq(metric_row(2)[0], 0);
    cr_assert_eq(metric_row(0)[0], 40);
    values_attach(values, NULL);
    cr_assert_eq(workbench_call(&workbench), SCRIPT_RETURNED);
    cr_assert_eq(metric_row(2)[0], 1);
    expect_line("rules 41");
    workbench_close(&workbench);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

Test(meter, refuses_wrong_definitions, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    expect_load_raises(&workbench, MR "mr.counter()", "test.lua:2: mr.counter: the name is a string, not nil");
    expect_load_raises(&workbench, MR "mr.gauge('a')", "test.lua:2: mr.gauge: the help text is a string, not nil");
    expect_load_raises(&workbench, MR "mr.gauge('a', 'b', 'c')",
                       "test.lua:2: mr.gauge: the list of labels is a table, not 'c'");
    expect_load_raises(&workbench, MR "mr.histogram('a', 'b', nil, 3)",
                       "test.lua:2: mr.histogram: the list of buckets is a table, not 3");
    expect_load_raises(&workbench, MR "mr.counter('a', 'b', { 1 })",
                       "test.lua:2: mr.counter: labels are a list of strings");
    expect_load_raises(&workbench, MR "mr.histogram('a', 'b', nil, { 'x' })",
                       "test.lua:2: mr.histogram: buckets are a list of numbers");
    expect_load_raises(&workbench, MR "mr.counter('a', 'b', { 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i' })",
                       "test.lua:2: mr.counter: too many labels (at most 8)");
    expect_load_raises(&workbench, MR "local all = {} for i = 1, 51 do all[i] = i end mr.histogram('a', 'b', nil, all)",
                       "test.lua:2: mr.histogram: too many buckets (at most 50)");
    expect_load_raises(&workbench, MR "mr.counter('a b', 'c')",
                       "test.lua:2: mr.counter: \"a b\" is no name for a metric (letters, digits, _ and :, no digit "
                       "first, at most 128)");
    expect_load_raises(&workbench, MR "mr.counter('a', 'b') mr.gauge('a', 'b')",
                       "test.lua:2: mr.gauge: a is a counter already, and keeps its type, labels and buckets until "
                       "moonring starts again");
    expect_raises(&workbench, MR "return function() mr.counter('a', 'b') end",
                  "test.lua:2: mr.counter: only at the top level: keep what it returns in a local\n");
    workbench_close(&workbench);
}

struct misuse {
    const char *body;
    const char *message;
};

static void expect_misuses(const struct misuse *misuses, size_t count) {
    struct workbench workbench;
    library_open(&workbench);
    for (size_t index = 0; index < count; index++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 MR "local hits, load = mr.counter('hits_total', 'Hits.'), mr.gauge('load', 'Load.')\n"
                    "local took = mr.histogram('took', 'Time.')\n"
                    "local by = mr.counter('by_total', 'By.', { 'who' })\n"
                    "local buffer = require 'string.buffer'\n"
                    "return function()\n%s\nend",
                 misuses[index].body);
        expect_raises(&workbench, text, misuses[index].message);
        /* Compiled, and caught each time. */
        snprintf(
            text, sizeof(text),
            MR "local hits, load = mr.counter('hits_total', 'Hits.'), mr.gauge('load', 'Load.')\n"
               "local took = mr.histogram('took', 'Time.')\n"
               "local by = mr.counter('by_total', 'By.', { 'who' })\n"
               "local buffer = require 'string.buffer'\n"
               "local function misuse()\n%s\nend\n"
               "return function() for i = 1, 200 do if pcall(misuse) then error('went well') end end error('each') end",
            misuses[index].body);
        expect_raises(&workbench, text, "each");
    }
    struct bytes out;
    bytes_init(&out);
    metrics_describe(&out);
    cr_assert_not_null(strstr(out.data, "\nhits_total 0\n"), "%s", out.data);
    cr_assert_not_null(strstr(out.data, "\nload 0\n"), "%s", out.data);
    cr_assert_not_null(strstr(out.data, "\ntook_count 0\n"), "%s", out.data);
    bytes_finish(&out);
    workbench_close(&workbench);
}

Test(meter, refuses_misuse, .timeout = 20) {
    static const struct misuse misuses[] = {
        {"hits:inc(-1)", "test.lua:7: metric:inc: -1 is not a number from 0 on: a counter only grows\n"},
        {"hits:inc(0 / 0)", "metric:inc: nan is not a number from 0 on: a counter only grows\n"},
        {"hits:inc(1 / 0)", "metric:inc: inf is not a number from 0 on: a counter only grows\n"},
        {"hits:inc('1')", "metric:inc: '1' is not a number from 0 on: a counter only grows\n"},
        {"hits:inc(1ULL)", "metric:inc: a cdata is not a number from 0 on: a counter only grows\n"},
        {"load:inc({})", "test.lua:7: metric:inc: a table is not a number\n"},
        {"load:dec(0 / 0)", "metric:dec: nan is not a number\n"},
        {"load:set()", "test.lua:7: metric:set: nil is not a number\n"},
        {"load:set(1 / 0)", "metric:set: inf is not a number\n"},
        {"took:observe(-1 / 0)", "metric:observe: -inf is not a number\n"},
        {"took:observe('1')", "metric:observe: '1' is not a number\n"},
        {"hits.inc()", "test.lua:7: metric:inc is called with a colon, on what mr.counter, mr.gauge, mr.histogram or "
                       ":with returned\n"},
        {"hits:dec()", "test.lua:7: a counter has no 'dec'\n"},
        {"hits:incc()", "test.lua:7: a counter has no 'incc' (did you mean 'inc'?)\n"},
        {"load:observe(1)", "test.lua:7: a gauge has no 'observe'\n"},
        {"took:inc()", "test.lua:7: a histogram has no 'inc'\n"},
        {"by:inc()", "test.lua:7: a metric with labels has no 'inc' (:with gives the one to count with)\n"},
        {"hits:with('x')", "test.lua:7: a counter has no 'with'\n"},
        {"by:with()", "test.lua:7: by_total:with has 0 values for 1 labels\n"},
        {"by:with('a', 'b')", "test.lua:7: by_total:with has 2 values for 1 labels\n"},
        {"by:with(nil)", "test.lua:7: by_total:with: value 1 is nil, not a string, number or boolean\n"},
        {"by:with({})", "test.lua:7: by_total:with: value 1 is a table, not a string, number or boolean\n"},
    };
    expect_misuses(misuses, sizeof(misuses) / sizeof(misuses[0]));
}

/* A cell that is not the metric's would be any memory. */
Test(meter, cannot_be_forged, .timeout = 20) {
    static const struct misuse misuses[] = {
        {"hits.inc({ metric = 0, cell = 1e9 })", "is called with a colon"},
        {"hits.inc(123ULL)", "is called with a colon"},
        {"hits.inc('hits', 5)", "is called with a colon"},
        {"hits.inc(load)", "is called with a colon"},
        {"load.set(hits, 5)", "is called with a colon"},
        {"load.set(took, 5)", "is called with a colon"},
        {"took.observe(by, 5)", "is called with a colon"},
        {"by.with({ metric = 0 }, 'x')", "is called with a colon"},
        {"by.with(hits, 'x')", "is called with a colon"},
        {"hits.inc(setmetatable({}, { __index = hits }))", "is called with a colon"},
        {"hits.inc(buffer.decode(buffer.encode(123ULL)))", "is called with a colon"},
        {"hits.cell = 5", "attempt to write to constant location"},
        {"hits.metric = 5", "attempt to write to constant location"},
        {"by.metric = 5", "attempt to write to constant location"},
        {"hits.x = 5", "has no member named 'x'"},
        {"hits.inc = nil", "has no member named 'inc'"},
        {"hits[0] = 5", "cannot be indexed"},
        {"return hits[0]", "a counter has no 0"},
        {"return hits[1e9]", "a counter has no 1000000000"},
        {"return hits[{}]", "a counter has no a table"},
        {"return hits + 1", "attempt to perform arithmetic on"},
        {"return hits - load", "attempt to perform arithmetic on"},
        {"return hits < load", "attempt to compare"},
        {"return #hits", "attempt to get length of"},
        {"return hits()", "is not callable"},
        {"return hits .. ''", "attempt to concatenate"},
        {"for k in pairs(hits) do end", "has no '__pairs' metamethod"},
        {"return buffer.encode(hits)", "cannot serialize"},
        {"setmetatable(hits, {})", "bad argument #1 to 'setmetatable'"},
        {"getmetatable(hits).__index = nil", ""},
        {"return ('%p'):format(hits)", "%p shows an address"},
        {"return tonumber(hits) + 1", ""},
        {"return bit.band(hits, 1)", "cannot convert 'struct"},
        {"return math.floor(hits)", "number expected, got cdata"},
        {"return ('x'):rep(hits)", "bad argument #"},
        {"return getfenv(hits.inc)", "getfenv is not there"},
    };
    expect_misuses(misuses, sizeof(misuses) / sizeof(misuses[0]));
}

Test(meter, shows_its_name_and_no_address, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    expect_answers(&workbench,
                   MR
                   "local hits, by = mr.counter('hits_total', 'Hits.'), mr.gauge('by', 'By.', { 'who' })\n"
                   "return function()\n"
                   "  return tostring(hits) .. ' ' .. ('%s'):format(by) .. ' ' .. tostring(by:with('x')) .. ' '\n"
                   "    .. require('string.buffer').new():put(hits):tostring() .. ' ' .. tostring(getmetatable(hits))\n"
                   "end",
                   "hits_total by by hits_total ffi");
    workbench_close(&workbench);
}
