/* What `moonring config explain` tells. */
#include "loading.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static void expect_told(const char *path, const char *expected) {
    struct bytes text;
    struct error error = {.text = ""};
    bytes_init(&text);
    cr_expect(config_explain(path, &text, &error), "%s: %s", path, error.text);
    cr_expect_str_eq(text.data, expected, "%s", text.data);
    bytes_finish(&text);
}

static bool tells(const char *path, const char *part) {
    struct bytes text;
    struct error error = {.text = ""};
    bytes_init(&text);
    bool told = config_explain(path, &text, &error) && strstr(text.data, part) != NULL;
    cr_expect(told, "%s: no \"%s\" in:\n%s%s", path, part, text.data, error.text);
    bytes_finish(&text);
    return told;
}

static void expect_refused(const char *path, const char *expected) {
    struct bytes text;
    struct error error = {.text = ""};
    bytes_init(&text);
    cr_expect_not(config_explain(path, &text, &error), "%s: %s", path, text.data);
    cr_expect_str_eq(error.text, expected);
    bytes_finish(&text);
}

Test(explain, tells_type_range_unit_default_and_meaning, .timeout = 10) {
    expect_told("listeners.*.timeouts.idle",
                "listeners.*.timeouts.idle\n"
                "  type     duration\n"
                "  range    1ms to 365d, or off\n"
                "  unit     us ms s m h d: it must be written\n"
                "  default  1h, unless defaults.timeouts.idle says otherwise\n"
                "  meaning  closes a session when no byte came from either side for so long\n");
    expect_told("process.workers", "process.workers\n"
                                   "  type     whole number\n"
                                   "  range    1 to 1024, or auto\n"
                                   "  default  auto\n"
                                   "  meaning  threads that serve sessions; `auto`: one for each CPU that the process "
                                   "may use\n");
    tells("listeners.*.bind.mode", "  value    four octal digits like \"0660\"\n");
    tells("lua.memory", "  unit     B KiB MiB GiB, or KB MB GB: it must be written\n");
    tells("upstreams.*.servers[].address", "  default  none: it must be there\n");
    tells("listeners.*.upstream", "  default  none: it must be there, or filters\n");
    tells("io.sqpoll", "  reload   refused: it takes a restart\n");
}

Test(explain, lists_the_keys_below_a_section, .timeout = 10) {
    expect_told("upstreams.*.retry", "upstreams.*.retry\n"
                                     "  type     section\n"
                                     "\n"
                                     "keys:\n"
                                     "  attempts         1 to 16; default 3\n"
                                     "  backoff          1ms to 1m, or off; default 50ms\n");
    tells("log.access", "  value    a section, or off\n");
    tells("", "keys:\n  include ");
    tells("", "\n  shutdown ");
}

Test(explain, takes_names_and_numbers_where_a_star_stands, .timeout = 10) {
    tells("listeners.web.timeouts.idle", "listeners.*.timeouts.idle\n");
    tells("upstreams.app.servers[0].weight", "upstreams.*.servers[].weight\n");
    tells("upstreams.app.servers.*.weight", "upstreams.*.servers[].weight\n");
    tells("upstreams.app.servers.weight", "upstreams.*.servers[].weight\n");
    tells("listeners.*", "listeners\n  type     map of sections\n");
}

/* Every key that the manual lists. */
Test(explain, knows_every_key, .timeout = 10) {
    struct bytes keys;
    bytes_init(&keys);
    config_describe(&keys);
    size_t count = 0;
    for (const char *at = strstr(keys.data, "\n| `"); at != NULL; at = strstr(at + 1, "\n| `")) {
        char path[128];
        const char *name = at + strlen("\n| `");
        snprintf(path, sizeof(path), "%.*s", (int)strcspn(name, "`"), name);
        count += tells(path, path);
    }
    cr_expect_geq(count, 60);
    bytes_finish(&keys);
}

Test(explain, proposes_the_key_that_was_meant, .timeout = 10) {
    expect_refused("lua.memry", "there is no key \"memry\" in lua; did you mean \"memory\"?");
    expect_refused("listners", "there is no key \"listners\"; did you mean \"listeners\"?");
    expect_refused("listeners.web.idle", "there is no key \"idle\" in listeners; did you mean \"timeouts.idle\"?");
    expect_refused("log.something", "there is no key \"something\" in log; see: moonring config explain log");
    expect_refused("something", "there is no key \"something\"; see: moonring config explain");
    expect_refused("process.user.name", "process.user has no keys below it that moonring knows");
    expect_refused("listeners.*.filters[].params.deny",
                   "listeners.*.filters[].params has no keys below it that moonring knows");
    expect_refused(".", "there is no key \"\"; see: moonring config explain");
}
