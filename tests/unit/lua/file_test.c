#include "lua/file.h"

#include "tests/unit/lua/library.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MR "local mr = require 'moonring'\n"

Test(file, is_read_whole_beside_the_configuration, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    workbench_write_bytes(&workbench, "some.txt", "a\0b\r\n", 5);
    expect_answers(&workbench,
                   MR "local text = mr.read_file 'some.txt' return function() return text:gsub('%z', '0') end",
                   "a0b\r\n");
    const struct source *source = &workbench.script->source;
    cr_assert_eq(source->files_count, 2);
    cr_assert_not_null(strstr(source->files[1].path, "/some.txt"));
    workbench_close(&workbench);
}

struct lines {
    const char *text;
    const char *answer; /* each line in brackets */
};

Test(file, has_lines_with_any_ends, .timeout = 10) {
    static const struct lines cases[] = {
        {"", ""},           {"\n", "()"},
        {"a", "(a)"},       {"a\n", "(a)"},
        {"a\n\n", "(a)()"}, {"a\r\nb\r\n", "(a)(b)"},
        {"\r\n\r", "()()"}, {" a # b\n", "( a # b)"},
    };
    struct workbench workbench;
    library_open(&workbench);
    for (size_t index = 0; index < sizeof(cases) / sizeof(cases[0]); index++) {
        workbench_write(&workbench, "some.txt", cases[index].text);
        expect_answers(
            &workbench,
            MR "local all = '' for _, line in ipairs(mr.lines 'some.txt') do all = all .. '(' .. line .. ')' end\n"
               "return function() return all end",
            cases[index].answer);
    }
    workbench_close(&workbench);
}

Test(file, that_cannot_be_read_is_named, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    expect_load_raises(&workbench, MR "mr.read_file 'none.txt'",
                       "test.lua:2: mr.read_file: none.txt: cannot be opened: No such file or directory");
    expect_load_raises(&workbench, MR "mr.lines '.'", "test.lua:2: mr.lines: .: is not a regular file");
    expect_load_raises(&workbench, MR "mr.lines()",
                       "test.lua:2: bad argument #1 to 'lines' (string expected, got no value)");
    expect_raises(&workbench, MR "return function() mr.lines 'x' end",
                  "mr.lines: only at the top level, since it stops every connection meanwhile");
    expect_raises(&workbench, MR "return function() mr.read_file 'x' end",
                  "mr.read_file: only at the top level, since it stops every connection meanwhile");
    workbench_close(&workbench);
}

Test(file, larger_than_the_memory_limit_raises, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = 4 << 20;
    library_start(&workbench);
    workbench_write(&workbench, "large.txt", "");
    char path[128];
    snprintf(path, sizeof(path), "%s/large.txt", workbench.folder);
    cr_assert_eq(truncate(path, 5 << 20), 0);
    expect_load_raises(&workbench, MR "mr.read_file 'large.txt'", "test.lua:2: over its memory limit");
    cr_assert_eq(truncate(path, 17 << 20), 0);
    expect_load_raises(&workbench, MR "mr.read_file 'large.txt'",
                       "test.lua:2: mr.read_file: large.txt: is larger than 16 MiB");
    workbench_close(&workbench);
}

Test(file, of_many_short_lines_raises_at_the_memory_limit, .timeout = 10) {
    struct workbench workbench;
    workbench_open(&workbench);
    workbench.options.memory_limit = 4 << 20;
    library_start(&workbench);
    static char newlines[200000];
    memset(newlines, '\n', sizeof(newlines));
    workbench_write_bytes(&workbench, "short.txt", newlines, sizeof(newlines));
    expect_load_raises(&workbench, MR "mr.lines 'short.txt'", "test.lua:2: over its memory limit");
    workbench_close(&workbench);
}

/* --- sets of addresses -------------------------------------------------------------------------------------------- */

Test(file, makes_a_set_of_addresses, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    workbench_write(&workbench, "block.txt", "# bad ones\n10.0.0.0/8 # all of it\n\n  ::1\t\r\n2001:db8::/32\n");
    expect_answers(
        &workbench,
        MR "local set = mr.cidr_set(mr.lines 'block.txt')\n"
           "return function()\n"
           "  local found = {}\n"
           "  for _, ip in ipairs { '10.1.2.3', '11.0.0.0', '::1', '::2', '2001:db8::5', '::ffff:10.0.0.1' } do\n"
           "    found[#found + 1] = tostring(set:contains(ip))\n"
           "  end\n"
           "  return table.concat(found, ' ')\n"
           "end",
        "true false true false true true");
    expect_answers(&workbench,
                   MR "local set = mr.cidr_set {} return function() return tostring(set:contains('::')) end", "false");
    workbench_close(&workbench);
}

Test(file, names_the_item_that_is_no_address, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    expect_load_raises(&workbench, MR "mr.cidr_set { '::1', '10.0.0.0/33' }",
                       "test.lua:2: mr.cidr_set: item 2: \"10.0.0.0/33\": the number behind the slash is 0 to 32");
    expect_load_raises(&workbench, MR "mr.cidr_set { 5 }", "test.lua:2: mr.cidr_set: item 1 is a number, not a string");
    expect_load_raises(&workbench, MR "mr.cidr_set { '10.0.0.1\\0' }",
                       "test.lua:2: mr.cidr_set: item 1 is too long for an IP address, or holds a 0 byte");
    expect_load_raises(&workbench, MR "mr.cidr_set { ('1'):rep(100) }",
                       "test.lua:2: mr.cidr_set: item 1 is too long for an IP address, or holds a 0 byte");
    expect_load_raises(&workbench, MR "mr.cidr_set '10.0.0.0/8'",
                       "test.lua:2: bad argument #1 to 'cidr_set' (table expected, got string)");
    expect_raises(&workbench, MR "return function() mr.cidr_set {} end",
                  "mr.cidr_set: only at the top level, since it stops every connection meanwhile");
    workbench_close(&workbench);
}

/* What a script hands to `contains` besides a set and an address. */
Test(file, gives_no_way_around_a_set, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    static const char *const attempts[][2] = {
        {"set:contains('10.0.0')", "set:contains: '10.0.0' is not an IP address"},
        {"set:contains('10.0.0.1\\0')", "is not an IP address"},
        {"set:contains('10.0.0.0/8')", "is not an IP address"},
        {"set:contains()", "bad argument #1 to 'contains' (string expected, got no value)"},
        {"set.contains({}, '::1')", "bad argument #1 to 'contains' (mr.cidr_set expected, got table)"},
        {"set.contains(123ULL, '::1')", "bad argument #1 to 'contains' (mr.cidr_set expected, got cdata)"},
        {"set.contains(require('string.buffer').new(), '::1')", "(mr.cidr_set expected, got userdata)"},
        {"set.x = 1", "attempt to index"},
        {"getmetatable(set).__index = nil", "attempt to index a boolean value"},
        {"setmetatable(set, {})", "bad argument #1 to 'setmetatable'"},
        {"set.contains.x = 1", "attempt to index"},
    };
    for (size_t index = 0; index < sizeof(attempts) / sizeof(attempts[0]); index++) {
        char text[512];
        snprintf(text, sizeof(text),
                 MR "require 'string.buffer' local set = mr.cidr_set { '10.0.0.0/8' } return function() %s end",
                 attempts[index][0]);
        expect_raises(&workbench, text, attempts[index][1]);
    }
    workbench_close(&workbench);
}

/* 48 bytes a block; it takes no longer than a load may. */
Test(file, makes_a_set_of_a_hundred_thousand, .timeout = 20) {
    struct workbench workbench;
    library_open(&workbench);
    struct bytes text;
    bytes_init(&text);
    for (unsigned index = 0; index < 100000; index++) {
        unsigned mixed = index * 7919 % 100000; /* in no order */
        bytes_printf(&text, "%u.%u.%u.0/25\n", 1 + mixed / 65536, mixed / 256 % 256, mixed % 256);
    }
    workbench_write(&workbench, "large.txt", text.data);
    bytes_finish(&text);
    expect_answers(
        &workbench,
        MR "local set = mr.cidr_set(mr.lines 'large.txt')\n"
           "return function()\n"
           "  local found = 0\n"
           "  for i = 0, 99999, 97 do\n"
           "    local block = ('%d.%d.%d.'):format(1 + math.floor(i / 65536), math.floor(i / 256) % 256, i % 256)\n"
           "    if set:contains(block .. '127') and not set:contains(block .. '128') then found = found + 1 end\n"
           "  end\n"
           "  return tostring(found)\n"
           "end",
        "1031");
    workbench_close(&workbench);
}
