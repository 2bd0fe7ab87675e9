#include "lua/values.h"

#include "engine/ring.h"
#include "tests/support/sanitizer.h"
#include "tests/unit/lua/library.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MR "local mr = require 'moonring'\n"

/* --- clocks ------------------------------------------------------------------------------------------------------- */

Test(values, now_is_the_time_of_the_workers_turn, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    uint64_t now_us = 1234567;
    values_attach(library_values(&workbench), &now_us);
    expect_answers(&workbench, MR "return function() return tostring(mr.now()) end", "1.234567");
    now_us += 2000000;
    cr_assert_eq(workbench_call(&workbench), SCRIPT_RETURNED);
    cr_assert_str_eq(workbench_answer(&workbench), "3.234567");
    workbench_close(&workbench);
}

Test(values, now_is_the_monotonic_clock_where_there_is_no_turn, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    double before = (double)kernel_now_ns() / 1e9;
    cr_assert_eq(workbench_run(&workbench, MR "return function() return mr.now() end"), SCRIPT_RETURNED);
    double now = lua_tonumber(workbench.thread->state, 1);
    cr_assert(now >= before && now <= (double)kernel_now_ns() / 1e9, "%f", now);
    workbench_close(&workbench);
}

Test(values, time_is_the_wall_clock_with_fractions, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    double before = (double)kernel_wall_ms() / 1e3;
    cr_assert_eq(workbench_run(&workbench, MR "return function() return mr.time() end"), SCRIPT_RETURNED);
    double now = lua_tonumber(workbench.thread->state, 1);
    cr_assert(now >= before && now <= (double)kernel_wall_ms() / 1e3, "%f", now);
    cr_assert_gt(before, 1.7e9);
    workbench_close(&workbench);
}

/* --- random numbers ----------------------------------------------------------------------------------------------- */

Test(values, random_numbers_lie_evenly_in_their_range, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.budget_ms = 5000;
    library_start(&workbench);
    expect_answers(&workbench,
                   MR "return function()\n"
                      "  local counts, sum = {}, 0\n"
                      "  for i = 1, 60000 do\n"
                      "    local x, die = mr.random(), mr.random(6)\n"
                      "    if x < 0 or x >= 1 then error(x) end\n"
                      "    sum, counts[die] = sum + x, (counts[die] or 0) + 1\n"
                      "  end\n"
                      "  if sum < 29000 or sum > 31000 then error('sum ' .. sum) end\n"
                      "  for die = 1, 6 do\n"
                      "    if counts[die] < 9000 or counts[die] > 11000 then error(die .. ' ' .. counts[die]) end\n"
                      "    counts[die] = nil\n"
                      "  end\n"
                      "  for i = 1, 1000 do local n = mr.random(-2, 2); counts[n] = true end\n"
                      "  local seen = {}\n"
                      "  for n in pairs(counts) do seen[#seen + 1] = n end\n"
                      "  table.sort(seen)\n"
                      "  return table.concat(seen, ' ')\n"
                      "end",
                   "-2 -1 0 1 2");
    workbench_close(&workbench);
}

Test(values, every_script_has_its_own_random_numbers, .timeout = 10) {
    struct workbench workbench;
    char first[64];
    library_open(&workbench);
    cr_assert_eq(workbench_run(&workbench, MR "return function() return tostring(mr.random()) end"), SCRIPT_RETURNED);
    snprintf(first, sizeof(first), "%s", workbench_answer(&workbench));
    library_start(&workbench);
    cr_assert_eq(workbench_load_text(&workbench, MR "return function() return tostring(mr.random()) end"),
                 SCRIPT_RETURNED);
    cr_assert_eq(workbench_call(&workbench), SCRIPT_RETURNED);
    cr_assert_str_neq(workbench_answer(&workbench), first);
    workbench_close(&workbench);
}

/* --- texts made of numbers ---------------------------------------------------------------------------------------- */

struct written {
    const char *call;
    const char *hex;
};

static const struct written texts[] = {
    {"u8(0)", "00"},
    {"u8(255)", "ff"},
    {"u16be(0x1234)", "1234"},
    {"u16le(0x1234)", "3412"},
    {"u24be(0x123456)", "123456"},
    {"u24le(0x123456)", "563412"},
    {"u32be(0x12345678)", "12345678"},
    {"u32le(0x12345678)", "78563412"},
    {"u32be(0xfedcba98)", "fedcba98"},
    {"u32le(0xfedcba98)", "98badcfe"},
    {"u64be(1)", "0000000000000001"},
    {"u64le(1)", "0100000000000000"},
    {"u64be(0x001234fedcba9876)", "001234fedcba9876"},
    {"u64le(0x001234fedcba9876)", "7698badcfe341200"},
    {"u64be(2 ^ 53)", "0020000000000000"},
    {"varint(0)", "00"},
    {"varint(127)", "7f"},
    {"varint(128)", "8001"},
    {"varint(16383)", "ff7f"},
    {"varint(268435455)", "ffffff7f"},
    {"varint(2 ^ 53)", "8080808080808010"},
};

/* Each a hundred times, so that it is compiled too. */
Test(values, write_numbers_as_bytes, .timeout = 20) {
    struct workbench workbench;
    library_open(&workbench);
    for (size_t index = 0; index < sizeof(texts) / sizeof(texts[0]); index++) {
        char text[256];
        snprintf(text, sizeof(text),
                 MR "return function() local text for i = 1, 100 do text = mr.%s end\n"
                    "return (text:gsub('.', function(c) return ('%%02x'):format(c:byte()) end)) end",
                 texts[index].call);
        expect_answers(&workbench, text, texts[index].hex);
    }
    workbench_close(&workbench);
}

Test(values, refuse_numbers_that_do_not_fit, .timeout = 20) {
    struct workbench workbench;
    library_open(&workbench);
    expect_raises(&workbench, MR "return function() mr.u8(256) end",
                  "test.lua:2: mr.u8: 256 is not a whole number from 0 to 255\n");
    expect_raises(&workbench, MR "return function() mr.u16be(-1) end",
                  "test.lua:2: mr.u16be: -1 is not a whole number from 0 to 65535\n");
    expect_raises(&workbench, MR "return function() mr.u32le(1.5) end",
                  "test.lua:2: mr.u32le: 1.5 is not a whole number from 0 to 4294967295\n");
    expect_raises(&workbench, MR "return function() mr.u64be(2 ^ 53 + 2) end",
                  "test.lua:2: mr.u64be: 9.007199254741e+15 is not a whole number from 0 to 9007199254740992\n");
    expect_raises(&workbench, MR "return function() mr.varint(0 / 0) end",
                  "mr.varint: nan is not a whole number from 0");
    expect_raises(&workbench, MR "return function() mr.u24be('1') end", "mr.u24be: '1' is not a whole number from 0");
    expect_raises(&workbench, MR "return function() mr.u24be({}) end",
                  "mr.u24be: a table is not a whole number from 0");
    expect_raises(&workbench, MR "return function() mr.u8(1ULL) end", "mr.u8: a cdata is not a whole number from 0");
    expect_raises(&workbench, MR "return function() mr.random(0) end",
                  "test.lua:2: mr.random: 0 is not a whole number from 1 to 4503599627370496\n");
    expect_raises(&workbench, MR "return function() mr.random(5, 3) end",
                  "test.lua:2: mr.random: 3 is not a whole number from 5 to 4503599627370496\n");
    workbench_close(&workbench);
}

/* --- the worker, and what is not there ---------------------------------------------------------------------------- */

Test(values, know_the_worker, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    cr_assert(values_set_worker(library_values(&workbench), 3));
    expect_answers(&workbench, MR "local id = mr.worker.id return function() return id .. ' ' .. mr.worker.id end",
                   "3 3");
    expect_raises(&workbench, MR "return function() return mr.worker.idd end",
                  "test.lua:2: mr.worker has no 'idd' (did you mean 'id'?)\n");
    expect_raises(&workbench, MR "return function() mr.worker.id = 5 end",
                  "test.lua:2: assignment to 'id' of mr.worker: every filter shares it\n");
    workbench_close(&workbench);
}

Test(values, name_what_a_misspelt_field_may_mean, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    expect_raises(&workbench, MR "return function() mr.cuonter('a', 'b') end", "(did you mean 'counter'?)");
    expect_raises(&workbench, MR "return function() mr.log.warning('x') end",
                  "test.lua:2: mr.log has no 'warning' (did you mean 'warn'?)\n");
    expect_raises(&workbench, MR "return function() mr.log.warn = print end",
                  "test.lua:2: assignment to 'warn' of mr.log: every filter shares it\n");
    expect_raises(&workbench, MR "return function() return mr.log[{}] end", "test.lua:2: mr.log has no a table\n");
    workbench_close(&workbench);
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static const char everything[] =
    MR "local p = mr.params { rate = 10, name = 'n', on = true, deny = { 'A', 'B' }, wait = mr.duration '200ms',\n"
       "  size = mr.size '64KiB', list = mr.list 'number', hosts = mr.map 'string', mode = mr.one_of { 'a', 'b' } }\n"
       "local lines = mr.lines 'list.txt'\n"
       "local set = mr.cidr_set(lines)\n"
       "local text = mr.read_file 'list.txt'\n"
       "local hits = mr.counter('hits_total', 'hits', { 'who' })\n"
       "local load = mr.gauge('load', 'load')\n"
       "local took = mr.histogram('took_seconds', 'time', { 'who', 'where' }, { 1, 2, 3 })\n"
       "return function()\n"
       "  for i = 1, 100 do\n"
       "    hits:with('x' .. i):inc() load:set(i) took:with(i, true):observe(i)\n"
       "    mr.log.info('line', i, load, {}) mr.random(i) mr.now() mr.time()\n"
       "    if not set:contains('10.0.0.' .. i) then error('not in it') end\n"
       "  end\n"
       "  print(mr.u64be(7), mr.varint(300))\n"
       "  return p.mode .. #lines .. #text .. p.wait .. mr.worker.id .. tostring(hits)\n"
       "end";

/* Makes a script with everything, loads, runs and destroys it. False when memory ran out on the way. */
static bool survive(struct workbench *workbench) {
    struct error error;
    workbench->script = script_create(&workbench->options, &workbench->watch, &error);
    if (workbench->script == NULL) {
        return false;
    }
    bool ran = library_add(workbench) == SCRIPT_RETURNED &&
               workbench_load(workbench, "everything.lua") == SCRIPT_RETURNED &&
               workbench_call(workbench) == SCRIPT_RETURNED;
    cr_assert(!ran || strcmp(workbench_answer(workbench), "a3400.20hits_total") == 0, "%s",
              workbench_answer(workbench));
    cr_assert(ran || strstr(workbench->result.text, "memory") != NULL || workbench->thread == NULL, "%s",
              workbench->result.text);
    workbench_stop(workbench);
    return ran;
}

Test(values, survive_the_failure_of_any_allocation, .timeout = 120) {
    struct workbench workbench;
    workbench_open(&workbench);
    library_log_open(&workbench);
    workbench_write(&workbench, "everything.lua", everything);
    workbench_write(&workbench, "list.txt", "# of ours\n10.0.0.0/8\n::1/128     # here\n");
    workbench.options.budget_ms = 2000;
    uint64_t number = 1;
    while (workbench.options.fail_from = number, !survive(&workbench)) {
        number += FAILURE_STEP;
    }
    cr_assert_gt(number, 3000);
    workbench_close(&workbench);
}
