#include "lua/params.h"

#include "config/config.h"
#include "tests/unit/lua/library.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MR "local mr = require 'moonring'\n"

/* --- a filter's part of the YAML, as the configuration has it ------------------------------------------------------
 */

#define AT(line_of, column_of)                                                                                         \
    { .file = "proxy.yaml", .line = line_of, .column = column_of }
#define TEXT(line_of, name, what)                                                                                      \
    { .place = AT(line_of, 20), .kind = CONFIG_VALUE_TEXT, .text = what, .key = name, .key_place = AT(line_of, 7) }
#define ITEM(line_of, what)                                                                                            \
    { .place = AT(line_of, 20), .kind = CONFIG_VALUE_TEXT, .text = what }
#define MANY(line_of, name, kind_of, all)                                                                              \
    {                                                                                                                  \
        .place = AT(line_of, 20), .kind = kind_of, .key = name, .key_place = AT(line_of, 7), .items = all,             \
        .items_count = sizeof(all) / sizeof(all[0])                                                                    \
    }

static void workbench_use(struct workbench *workbench, const struct config_value *params, size_t count) {
    static struct config_filter filter;
    filter = (struct config_filter){
        .place = AT(4, 5),
        .path = "/etc/moonring/test.lua",
        .name = "guard",
        .params = {.place = AT(5, 5), .kind = CONFIG_VALUE_MAP, .items = params, .items_count = count},
    };
    params_set(library_values(workbench), &filter);
}

#define USE(workbench, ...)                                                                                            \
    do {                                                                                                               \
        static const struct config_value given[] = {__VA_ARGS__};                                                      \
        workbench_use(workbench, given, sizeof(given) / sizeof(given[0]));                                             \
    } while (0)

/* --- values ------------------------------------------------------------------------------------------------------- */

static const char all_types[] =
    MR "local p = mr.params {\n"
       "  rate = 10, name = 'plain', strict = false, deny = { 'A', 'B' }, wait = mr.duration '200ms',\n"
       "  size = mr.size '64KiB', ports = mr.list 'number', hosts = mr.map 'string', mode = mr.one_of { 'a', 'b' },\n"
       "  key = mr.required 'string', waits = mr.map 'duration', each = mr.required(mr.list 'size'),\n"
       "}\n"
       "local function told(list)\n"
       "  local all = {}\n"
       "  for k, v in pairs(list) do all[#all + 1] = k .. '=' .. v end\n"
       "  table.sort(all)\n"
       "  return '{' .. table.concat(all, ' ') .. '}'\n"
       "end\n"
       "return function()\n"
       "  return table.concat({ p.rate, p.name, tostring(p.strict), told(p.deny), p.wait, p.size, told(p.ports),\n"
       "    told(p.hosts), p.mode, p.key, told(p.waits), told(p.each) }, ' ')\n"
       "end";

Test(params, have_their_defaults, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    static const struct config_value sizes[] = {ITEM(8, "1KiB")};
    USE(&workbench, TEXT(6, "key", "k"), MANY(7, "each", CONFIG_VALUE_LIST, sizes));
    expect_answers(&workbench, all_types, "10 plain false {1=A 2=B} 0.2 65536 {} {} a k {} {1=1024}");
    workbench_close(&workbench);
}

Test(params, are_what_the_yaml_says, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    static const struct config_value deny[] = {ITEM(6, "C"), ITEM(6, "10")};
    static const struct config_value ports[] = {ITEM(6, "80"), ITEM(6, "1e3"), ITEM(6, "-0.5")};
    static const struct config_value hosts[] = {TEXT(6, "x", "h1"), TEXT(6, "y z", "h2")};
    static const struct config_value waits[] = {TEXT(6, "x", "2m")};
    static const struct config_value sizes[] = {ITEM(8, "1KiB"), ITEM(8, "1KB")};
    USE(&workbench, TEXT(6, "rate", "2.5"), TEXT(6, "name", "12"), TEXT(6, "strict", "true"), TEXT(6, "wait", "3s"),
        TEXT(6, "size", "1MiB"), TEXT(6, "mode", "b"), TEXT(6, "key", ""), MANY(6, "deny", CONFIG_VALUE_LIST, deny),
        MANY(6, "ports", CONFIG_VALUE_LIST, ports), MANY(6, "hosts", CONFIG_VALUE_MAP, hosts),
        MANY(6, "waits", CONFIG_VALUE_MAP, waits), MANY(6, "each", CONFIG_VALUE_LIST, sizes));
    expect_answers(&workbench, all_types,
                   "2.5 12 true {1=C 2=10} 3 1048576 {1=80 2=1000 3=-0.5} {x=h1 y z=h2} b  {x=120} {1=1024 2=1000}");
    workbench_close(&workbench);
}

Test(params, belong_to_one_use_of_a_script, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    workbench_write(&workbench, "filter.lua",
                    MR "local p = mr.params { name = 'none' } return function() return p.name end");
    int references[2];
    USE(&workbench, TEXT(6, "name", "first"));
    cr_assert_eq(workbench_load(&workbench, "filter.lua"), SCRIPT_RETURNED);
    references[0] = workbench.reference;
    USE(&workbench, TEXT(9, "name", "second"));
    cr_assert_eq(workbench_load(&workbench, "filter.lua"), SCRIPT_RETURNED);
    references[1] = workbench.reference;
    for (int round = 0; round < 4; round++) {
        workbench.reference = references[round % 2];
        cr_assert_eq(workbench_call(&workbench), SCRIPT_RETURNED);
        cr_assert_str_eq(workbench_answer(&workbench), round % 2 == 0 ? "first" : "second");
    }
    workbench_close(&workbench);
}

Test(params, have_their_defaults_where_there_is_no_configuration, .timeout = 10) {
    struct workbench workbench;
    struct error error = {.text = ""};
    library_open(&workbench);
    params_set(library_values(&workbench), NULL);
    expect_answers(&workbench, MR "local p = mr.params { name = 'none' } return function() return p.name end", "none");
    cr_assert(params_were_taken(library_values(&workbench), &error));
    workbench_close(&workbench);
}

/* --- errors in the YAML ------------------------------------------------------------------------------------------- */

#define DECLARED                                                                                                       \
    MR "mr.params { deny = { 'A' }, rate = 1, on = true, wait = mr.duration '1s', size = mr.size '1B',\n"              \
       "  mode = mr.one_of { 'a', 'b' }, hosts = mr.map 'number', name = 'x' }"

#define REFUSED(workbench, message, ...)                                                                               \
    do {                                                                                                               \
        USE(workbench, __VA_ARGS__);                                                                                   \
        expect_load_raises(workbench, DECLARED, message);                                                              \
    } while (0)

Test(params, name_the_place_of_what_nobody_declared, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    REFUSED(&workbench, "proxy.yaml:6:7: params.denny: unknown parameter; did you mean deny?", TEXT(6, "denny", "x"));
    REFUSED(&workbench,
            "proxy.yaml:6:7: params.zzz: unknown parameter; there are deny, hosts, mode, name, on, rate, size, wait",
            TEXT(6, "zzz", "x"));
    USE(&workbench, TEXT(6, "zzz", "x"));
    expect_load_raises(&workbench, MR "mr.params {}", "proxy.yaml:6:7: params.zzz: unknown parameter; there are none");
    workbench_close(&workbench);
}

Test(params, name_place_and_value_of_what_has_the_wrong_type, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    static const struct config_value inner[] = {ITEM(7, "C")};
    static const struct config_value list[] = {ITEM(6, "C"), MANY(7, NULL, CONFIG_VALUE_LIST, inner)};
    static const struct config_value map[] = {TEXT(8, "web", "x")};
    REFUSED(&workbench, "proxy.yaml:6:20: params.rate: \"ten\" is not a number", TEXT(6, "rate", "ten"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.rate: \"0x10\" is not a number", TEXT(6, "rate", "0x10"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.rate: \"1e999\" is not a number", TEXT(6, "rate", "1e999"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.rate: \"nan\" is not a number", TEXT(6, "rate", "nan"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.on: \"yes\" is not true or false", TEXT(6, "on", "yes"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.wait: a duration needs a unit: write 600s or 10m",
            TEXT(6, "wait", "600"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.size: a size needs a unit: write 1024B or 1KiB",
            TEXT(6, "size", "1024"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.mode: \"c\" is not one of a, b", TEXT(6, "mode", "c"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.deny: \"A\" is not a list of strings", TEXT(6, "deny", "A"));
    REFUSED(&workbench, "proxy.yaml:6:20: params.deny: a map is not a list of strings",
            MANY(6, "deny", CONFIG_VALUE_MAP, map));
    REFUSED(&workbench, "proxy.yaml:7:20: params.deny[2]: a list is not a string",
            MANY(6, "deny", CONFIG_VALUE_LIST, list));
    REFUSED(&workbench, "proxy.yaml:6:20: params.name: a map is not a string", MANY(6, "name", CONFIG_VALUE_MAP, map));
    REFUSED(&workbench, "proxy.yaml:6:20: params.hosts: a list is not a map of numbers",
            MANY(6, "hosts", CONFIG_VALUE_LIST, list));
    REFUSED(&workbench, "proxy.yaml:8:20: params.hosts.web: \"x\" is not a number",
            MANY(6, "hosts", CONFIG_VALUE_MAP, map));
    workbench_close(&workbench);
}

Test(params, name_what_is_missing, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    workbench_use(&workbench, NULL, 0);
    expect_load_raises(&workbench, MR "mr.params { x = mr.required 'string', a = 1 }",
                       "proxy.yaml:5:5: params.x: is missing: a string");
    workbench_use(&workbench, NULL, 0);
    expect_load_raises(&workbench, MR "mr.params { x = mr.required(mr.one_of { 'a', 'b' }) }",
                       "proxy.yaml:5:5: params.x: is missing: one of a, b");
    params_set(library_values(&workbench), NULL);
    expect_load_raises(&workbench, MR "mr.params { x = mr.required 'string' }", "params.x: is missing: a string");
    workbench_close(&workbench);
}

Test(params, of_the_command_line_have_no_line, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    static const struct config_value given[] = {{.place = {.file = "command line: --filter"},
                                                 .text = "x",
                                                 .key = "zzz",
                                                 .key_place = {.file = "command line"}}};
    workbench_use(&workbench, given, 1);
    expect_load_raises(&workbench, MR "mr.params {}", "command line: params.zzz: unknown parameter; there are none");
    workbench_close(&workbench);
}

Test(params, must_be_asked_for_where_there_are_some, .timeout = 10) {
    struct workbench workbench;
    struct error error = {.text = ""};
    library_open(&workbench);
    USE(&workbench, TEXT(6, "rate", "1"));
    cr_assert_eq(workbench_load_text(&workbench, "return 1"), SCRIPT_RETURNED);
    cr_assert_not(params_were_taken(library_values(&workbench), &error));
    cr_assert_str_eq(error.text,
                     "proxy.yaml:6:7: params.rate: test.lua takes no parameters: it does not call mr.params");
    workbench_use(&workbench, NULL, 0);
    cr_assert(params_were_taken(library_values(&workbench), &error));
    USE(&workbench, TEXT(6, "rate", "1"));
    cr_assert_eq(workbench_load_text(&workbench, DECLARED), SCRIPT_RETURNED);
    cr_assert(params_were_taken(library_values(&workbench), &error));
    workbench_close(&workbench);
}

/* --- errors in the script ----------------------------------------------------------------------------------------- */

Test(params, refuse_wrong_declarations, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    expect_load_raises(&workbench, MR "mr.params()", "test.lua:2: bad argument #1 to 'params' (table expected)");
    expect_load_raises(&workbench, MR "mr.params { 1 }", "test.lua:2: mr.params: 1 is no name for a parameter");
    static const char wrong_default[] =
        "test.lua:2: mr.params: x: a default is a string, number, boolean, list of strings, or made by mr.duration, "
        "mr.size, mr.list, mr.map, mr.one_of or mr.required";
    expect_load_raises(&workbench, MR "mr.params { x = print }", wrong_default);
    expect_load_raises(&workbench, MR "mr.params { x = { 1, 2 } }", wrong_default);
    expect_load_raises(&workbench, MR "mr.params { x = { a = 'b' } }", wrong_default);
    expect_load_raises(&workbench, MR "mr.params { x = mr.duration '200' }",
                       "test.lua:2: mr.duration: a duration needs a unit: write 200s");
    expect_load_raises(&workbench, MR "mr.params { x = mr.size(5) }",
                       "test.lua:2: mr.size: 5 is not a string like '1s' or '1MiB'");
    expect_load_raises(&workbench, MR "mr.params { x = mr.list 'strng' }",
                       "test.lua:2: mr.list: 'strng' is none of boolean, duration, number, size, string");
    expect_load_raises(&workbench, MR "mr.params { x = mr.map() }",
                       "test.lua:2: mr.map: nil is none of boolean, duration, number, size, string");
    expect_load_raises(&workbench, MR "mr.params { x = mr.required {} }",
                       "test.lua:2: mr.required: a table is none of boolean, duration, number, size, string");
    expect_load_raises(&workbench, MR "mr.params { x = mr.one_of {} }",
                       "test.lua:2: mr.one_of: a list of strings, the first of which is the default");
    expect_load_raises(&workbench, MR "mr.duration('1s').x = 1", "test.lua:2: it is constant");
    expect_load_raises(&workbench, MR "local p = mr.params { deny = 'x' } print(p.denny)",
                       "test.lua:2: mr.params declared no 'denny' (did you mean 'deny'?)");
    workbench_close(&workbench);
}

Test(params, are_declared_once_and_at_the_top_level, .timeout = 10) {
    struct workbench workbench;
    library_open(&workbench);
    workbench_use(&workbench, NULL, 0);
    expect_load_raises(&workbench, MR "mr.params {}\nmr.params {}",
                       "test.lua:3: mr.params: called twice: all parameters are declared in one call");
    workbench_use(&workbench, NULL, 0);
    expect_raises(&workbench, MR "return function() mr.params {} end",
                  "test.lua:2: mr.params: only at the top level: what it returns does not change\n");
    workbench_close(&workbench);
}
