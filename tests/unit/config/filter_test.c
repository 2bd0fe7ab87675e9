/* Filters and what holds for all scripts: `listeners.*.filters` and `lua`. */
#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTENER "listeners:\n  web:\n    bind: ':8080'\n    upstream: '10.0.0.1:80'\n"

static struct config *load_from(const char *name, const char *text) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load_text(text, strlen(text), name, &report);
    cr_assert_not_null(config, "%s", report.text.data);
    config_report_finish(&report);
    return config;
}

/* One listener with filters, a YAML list in brackets. */
static struct config *load_filters(const char *filters) {
    struct bytes text;
    bytes_init(&text);
    bytes_printf(&text, LISTENER "    filters: %s\n", filters);
    struct config *config = load_from("/etc/moonring/moonring.yaml", text.data);
    bytes_finish(&text);
    return config;
}

static void expect_place(const struct config_place *place, uint32_t line, uint32_t column) {
    cr_expect_str_eq(place->file, "test.yaml");
    cr_expect_eq(place->line, line, "%u:%u", place->line, place->column);
    cr_expect_eq(place->column, column, "%u:%u", place->line, place->column);
}

/* ---- filters ---- */

Test(filter, of_a_plain_path_has_the_default_of_every_key, .timeout = 10) {
    struct config *config = load_filters("[filters/redis_firewall.lua]");
    cr_assert_eq(config->listeners[0].filters_count, 1);
    const struct config_filter *filter = &config->listeners[0].filters[0];
    cr_expect_str_eq(filter->path, "/etc/moonring/filters/redis_firewall.lua");
    cr_expect_str_eq(filter->name, "redis_firewall");
    cr_expect_eq(filter->params.kind, CONFIG_VALUE_MAP);
    cr_expect_eq(filter->params.items_count, 0);
    cr_expect_eq(filter->params.place.line, 5);
    cr_expect_eq(filter->place.line, 5);
    cr_expect_eq(filter->place.column, 15);
    cr_expect_eq(filter->on_error, ON_ERROR_CLOSE);
    cr_expect(!filter->strict);
    cr_expect_eq(filter->hold_max, 64 * 1024);
    cr_expect_eq(filter->hold_timeout_ms, 10000);
    cr_expect(filter->jit);
    cr_expect(!filter->isolate);
    config_destroy(config);
}

Test(filter, has_every_key_that_is_written, .timeout = 10) {
    struct config *config =
        load_filters("[{lua: /a.lua, name: first-1, params: {a: 1}, on_error: bypass, strict: true, "
                     "hold_max: 64MiB, hold_timeout: off, jit: false, isolate: true}]");
    const struct config_filter *filter = &config->listeners[0].filters[0];
    cr_expect_str_eq(filter->path, "/a.lua");
    cr_expect_str_eq(filter->name, "first-1");
    cr_expect_eq(filter->params.items_count, 1);
    cr_expect_eq(filter->on_error, ON_ERROR_BYPASS);
    cr_expect(filter->strict);
    cr_expect_eq(filter->hold_max, 64 * 1024 * 1024);
    cr_expect_eq(filter->hold_timeout_ms, 0);
    cr_expect(!filter->jit);
    cr_expect(filter->isolate);
    config_destroy(config);
}

Test(filter, list_keeps_its_order, .timeout = 10) {
    struct config *config = load_filters("[c.lua, {lua: a.lua}, b.lua]");
    const struct config_listener *listener = &config->listeners[0];
    cr_assert_eq(listener->filters_count, 3);
    cr_expect_str_eq(listener->filters[0].name, "c");
    cr_expect_str_eq(listener->filters[1].name, "a");
    cr_expect_str_eq(listener->filters[2].name, "b");
    config_destroy(config);
}

Test(filter, name_is_made_of_the_name_of_the_file, .timeout = 10) {
    static const char *const names[][2] = {
        {"'filters/my filter.lua'", "my_filter"},
        {"filters/no_suffix", "no_suffix"},
        {"./a.b.lua", "a.b"},
        {".hidden.lua", "_hidden"},
        {"-x.lua", "_x"},
        {"/.lua", "_lua"},
        {"folder/", "_"},
        {"\xc3\xa9.lua", "__"},
        {"a2345678901234567890123456789012345678901234567890123456789012345.lua",
         "a234567890123456789012345678901234567890123456789012345678901234"},
    };
    for (size_t index = 0; index < sizeof(names) / sizeof(names[0]); index++) {
        char filters[256];
        snprintf(filters, sizeof(filters), "[%s]", names[index][0]);
        struct config *config = load_filters(filters);
        cr_expect_str_eq(config->listeners[0].filters[0].name, names[index][1]);
        config_destroy(config);
    }
}

Test(filter, may_use_the_script_of_another_one, .timeout = 10) {
    struct config *config = load_filters("[{lua: a.lua, name: one}, {name: two, lua: a.lua}]");
    cr_expect_str_eq(config->listeners[0].filters[0].path, config->listeners[0].filters[1].path);
    cr_expect_str_eq(config->listeners[0].filters[1].name, "two");
    config_destroy(config);
}

Test(filter, of_two_listeners_may_have_one_name, .timeout = 10) {
    config_destroy(loading_good("listeners:\n"
                                "  a: {bind: ':1', upstream: 'x:1', filters: [a.lua]}\n"
                                "  b: {bind: ':2', upstream: 'x:1', filters: [a.lua]}\n"));
}

Test(filter, makes_an_upstream_dispensable, .timeout = 10) {
    struct config *config = loading_good("listeners:\n  a: {bind: ':1', filters: [hello.lua]}\n");
    cr_expect_eq(config->listeners[0].upstream, CONFIG_NO_UPSTREAM);
    cr_expect_eq(config->upstreams_count, 0);
    config_destroy(config);
}

Test(filter, may_use_an_upstream_that_no_listener_names, .timeout = 10) {
    struct loading_result result = loading_from("listeners:\n  a: {bind: ':1', filters: [route.lua]}\n"
                                                "upstreams:\n  app: {servers: ['10.0.0.1:80']}\n");
    cr_expect_str_eq(result.report.text.data, "");
    loading_finish(&result);
}

Test(filter, sizes_are_checked_at_both_ends, .timeout = 10) {
    static const char form[] = LISTENER "    filters: [{lua: a.lua, hold_max: %s}]\nlua: {memory: %s, budget: %s}\n";
    char text[512];
    snprintf(text, sizeof(text), form, "1B", "1MiB", "1ms");
    config_destroy(loading_good(text));
    snprintf(text, sizeof(text), form, "64MiB", "4GiB", "10s");
    config_destroy(loading_good(text));
    snprintf(text, sizeof(text), form, "67108865B", "1MiB", "1ms");
    cr_expect(loading_fails_with(text, "E0316", "hold_max"));
    snprintf(text, sizeof(text), form, "1B", "1048575B", "1ms");
    cr_expect(loading_fails_with(text, "E0316", "memory"));
    snprintf(text, sizeof(text), form, "1B", "5GiB", "1ms");
    cr_expect(loading_fails_with(text, "E0316", "memory"));
    snprintf(text, sizeof(text), form, "1B", "1MiB", "999us");
    cr_expect(loading_fails_with(text, "E0313", "budget"));
}

Test(filter, path_may_be_as_long_as_linux_takes_it, .timeout = 10) {
    char path[4097];
    memset(path, 'a', sizeof(path));
    struct bytes text;
    bytes_init(&text);
    bytes_printf(&text, LISTENER "    filters: [/%.4094s]\n", path);
    config_destroy(loading_good(text.data));
    bytes_clear(&text);
    bytes_printf(&text, LISTENER "    filters: [/%.4095s]\n", path);
    cr_expect(loading_fails_with(text.data, "E0304", "is too long"));
    bytes_finish(&text);
}

/* ---- parameters ---- */

static const struct config_value *item(const struct config_value *map, const char *key) {
    cr_assert_eq(map->kind, CONFIG_VALUE_MAP);
    size_t index = 0;
    while (index < map->items_count && strcmp(map->items[index].key, key) != 0) {
        index++;
    }
    cr_assert_lt(index, map->items_count, "there is no %s", key);
    return &map->items[index];
}

static void expect_text(const struct config_value *value, const char *text, bool quoted) {
    cr_assert_eq(value->kind, CONFIG_VALUE_TEXT);
    cr_expect_str_eq(value->text, text);
    cr_expect_eq(value->quoted, quoted, "%s", text);
}

static const char params_text[] = LISTENER "    filters:\n"
                                           "      - lua: a.lua\n"
                                           "        params:\n"
                                           "          rate: 10\n"
                                           "          text: \"10\"\n"
                                           "          deny: [FLUSHALL, 'CONFIG']\n"
                                           "          hosts:\n"
                                           "            a.example: 1\n"
                                           "            nested: {x: [], y: {}}\n"
                                           "          \"\": >-\n"
                                           "            two\n"
                                           "            words\n";

Test(params, keep_what_is_written, .timeout = 10) {
    struct config *config = loading_good(params_text);
    const struct config_value *params = &config->listeners[0].filters[0].params;
    cr_assert_eq(params->items_count, 5);
    cr_expect_null(params->key);
    expect_text(item(params, "rate"), "10", false);
    expect_text(item(params, "text"), "10", true);
    const struct config_value *deny = item(params, "deny");
    cr_assert_eq(deny->kind, CONFIG_VALUE_LIST);
    cr_assert_eq(deny->items_count, 2);
    cr_expect_null(deny->items[0].key);
    expect_text(&deny->items[0], "FLUSHALL", false);
    expect_text(&deny->items[1], "CONFIG", true);
    const struct config_value *hosts = item(params, "hosts");
    expect_text(item(hosts, "a.example"), "1", false);
    const struct config_value *nested = item(hosts, "nested");
    cr_expect_eq(item(nested, "x")->kind, CONFIG_VALUE_LIST);
    cr_expect_eq(item(nested, "x")->items_count, 0);
    cr_expect_eq(item(nested, "y")->kind, CONFIG_VALUE_MAP);
    cr_expect_eq(item(nested, "y")->items_count, 0);
    expect_text(item(params, ""), "two words", true);
    config_destroy(config);
}

Test(params, know_where_each_value_and_each_key_stands, .timeout = 10) {
    struct config *config = loading_good(params_text);
    const struct config_value *params = &config->listeners[0].filters[0].params;
    expect_place(&params->key_place, 7, 9);
    expect_place(&params->place, 8, 11);
    expect_place(&item(params, "rate")->key_place, 8, 11);
    expect_place(&item(params, "rate")->place, 8, 17);
    expect_place(&item(params, "deny")->place, 10, 17);
    expect_place(&item(params, "deny")->items[1].place, 10, 28);
    expect_place(&item(params, "hosts")->key_place, 11, 11);
    expect_place(&item(params, "hosts")->place, 12, 13);
    const struct config_value *nested = item(item(params, "hosts"), "nested");
    expect_place(&item(nested, "y")->key_place, 13, 29);
    expect_place(&item(nested, "y")->place, 13, 32);
    config_destroy(config);
}

Test(params, are_an_empty_map_when_nothing_is_written, .timeout = 10) {
    static const char *const spellings[] = {"[{lua: a.lua}]", "[{lua: a.lua, params: }]", "[{lua: a.lua, params: {}}]"};
    for (size_t index = 0; index < 3; index++) {
        struct config *config = load_filters(spellings[index]);
        const struct config_value *params = &config->listeners[0].filters[0].params;
        cr_expect_eq(params->kind, CONFIG_VALUE_MAP);
        cr_expect_eq(params->items_count, 0);
        cr_expect_eq(params->place.line, 5);
        config_destroy(config);
    }
}

Test(params, may_stand_behind_aliases_and_merge_keys, .timeout = 10) {
    struct config *config = load_filters("[{lua: a.lua, params: &p {list: &l [1, 2], x: 3}},"
                                         " {lua: b.lua, params: {<<: *p, x: 4, again: *l}}]");
    const struct config_value *params = &config->listeners[0].filters[1].params;
    cr_assert_eq(params->items_count, 3);
    expect_text(item(params, "x"), "4", false);
    cr_expect_eq(item(params, "list")->items_count, 2);
    expect_text(&item(params, "again")->items[1], "2", false);
    config_destroy(config);
}

Test(params, have_keys_of_256_bytes_at_most, .timeout = 10) {
    char key[257];
    memset(key, '"', sizeof(key)); /* the longest when it is written out again */
    struct bytes text;
    bytes_init(&text);
    bytes_printf(&text, LISTENER "    filters: [{lua: a.lua, params: {'%.256s': 1}}]\n", key);
    struct config *config = loading_good(text.data);
    struct bytes written;
    bytes_init(&written);
    config_dump(config, &written);
    config_destroy(loading_good(written.data));
    config_destroy(config);
    bytes_clear(&text);
    bytes_printf(&text, LISTENER "    filters: [{lua: a.lua, params: {'%.257s': 1}}]\n", key);
    cr_expect(loading_fails_with(text.data, "E0304", "the name of a parameter is too long"));
    bytes_finish(&written);
    bytes_finish(&text);
}

Test(params, are_as_deep_as_the_file_may_be_with_aliases_or_without, .timeout = 10) {
    static const char form[] = LISTENER "    filters: [{lua: a.lua, params: {a: &a %.*s1%.*s, b: %.*s*a%.*s}}]\n";
    static const char open[] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";
    static const char closed[] = "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]";
    char text[512];
    /* listeners, web, filters, the filter and params are six levels with the file itself. */
    snprintf(text, sizeof(text), form, 13, open, 13, closed, 13, open, 13, closed);
    struct config *config = loading_good(text);
    struct bytes written;
    bytes_init(&written);
    config_dump(config, &written);
    config_destroy(loading_good(written.data));
    config_destroy(config);
    bytes_finish(&written);
    snprintf(text, sizeof(text), form, 13, open, 13, closed, 14, open, 14, closed);
    cr_expect(loading_fails_with(text, "E0107", "those that the alias repeats included"));
}

Test(params, that_aliases_multiply_are_refused, .timeout = 10) {
    struct bytes text;
    bytes_init(&text);
    bytes_append_text(&text, LISTENER "    filters:\n    - lua: a.lua\n      params:\n        a0: &a0 [x]\n");
    for (int level = 1; level < 20; level++) {
        bytes_printf(&text, "        a%d: &a%d [*a%d, *a%d]\n", level, level, level - 1, level - 1);
    }
    cr_expect(loading_fails_with(text.data, "E0112", "more than 250000 values"));
    bytes_finish(&text);
}

/* ---- what holds for all scripts ---- */

Test(lua, has_a_default_for_every_key, .timeout = 10) {
    struct config *config = loading_good(LISTENER);
    cr_expect_eq(config->lua.paths_count, 0);
    cr_expect_eq(config->lua.memory, 64 * 1024 * 1024);
    cr_expect_eq(config->lua.budget_ms, 100);
    cr_expect(!config->lua.full_libraries);
    config_destroy(config);
}

Test(lua, has_every_key_that_is_written, .timeout = 10) {
    struct config *config =
        load_from("/etc/moonring/moonring.yaml",
                  LISTENER "lua: {path: ['lib/?.lua', ./?.lua, '/usr/share/x/?/init.lua'], memory: 1GiB, budget: 2s, "
                           "libs: full}\n");
    cr_assert_eq(config->lua.paths_count, 3);
    cr_expect_str_eq(config->lua.paths[0], "/etc/moonring/lib/?.lua");
    cr_expect_str_eq(config->lua.paths[1], "/etc/moonring/?.lua");
    cr_expect_str_eq(config->lua.paths[2], "/usr/share/x/?/init.lua");
    cr_expect_eq(config->lua.memory, 1024 * 1024 * 1024);
    cr_expect_eq(config->lua.budget_ms, 2000);
    cr_expect(config->lua.full_libraries);
    config_destroy(config);
}

Test(lua, path_of_one_pattern_needs_no_brackets, .timeout = 10) {
    struct config *config = load_from("/a/b.yaml", LISTENER "lua: {path: lib/?.lua}\n");
    cr_assert_eq(config->lua.paths_count, 1);
    cr_expect_str_eq(config->lua.paths[0], "/a/lib/?.lua");
    cr_expect_str_eq(config->folder, "/a");
    config_destroy(config);
}
