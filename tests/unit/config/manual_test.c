/* The manual's tables are written by the program. MOONRING_UPDATE=1 writes them anew. */
#include "loading.h"

#include "config/codes.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char manual[] = "config/README.md";

/* Replaces what stands between two marker lines of the page. */
static void replace_part(const char *page, const char *name, const char *part, struct bytes *out) {
    char begin[64];
    char end[64];
    snprintf(begin, sizeof(begin), "<!-- %s: begin -->\n", name);
    snprintf(end, sizeof(end), "<!-- %s: end -->\n", name);
    const char *begin_at = strstr(page, begin);
    const char *end_at = strstr(page, end);
    cr_assert_not_null(begin_at, "%s has no line %s", manual, begin);
    cr_assert_not_null(end_at, "%s has no line %s", manual, end);
    bytes_append(out, page, (size_t)(begin_at - page) + strlen(begin));
    bytes_append_text(out, part);
    bytes_append_text(out, end_at);
}

/* The page with both tables as they should be. */
static struct bytes manual_make(const char *page) {
    struct bytes keys;
    struct bytes codes;
    struct bytes with_keys;
    struct bytes with_both;
    bytes_init(&keys);
    bytes_init(&codes);
    bytes_init(&with_keys);
    bytes_init(&with_both);
    config_describe(&keys);
    codes_describe(&codes);
    replace_part(page, "keys", keys.data, &with_keys);
    replace_part(with_keys.data, "codes", codes.data, &with_both);
    bytes_finish(&keys);
    bytes_finish(&codes);
    bytes_finish(&with_keys);
    return with_both;
}

Test(manual, lists_every_key_and_code_as_the_program_knows_them, .timeout = 10) {
    size_t size;
    char *page = loading_read_file(manual, &size);
    struct bytes current = manual_make(page);
    if (strcmp(page, current.data) != 0 && getenv("MOONRING_UPDATE") != NULL) {
        FILE *file = fopen(manual, "wb");
        cr_assert_not_null(file);
        fputs(current.data, file);
        fclose(file);
    } else {
        cr_expect_str_eq(page, current.data, "%s is not current: run the tests with MOONRING_UPDATE=1", manual);
    }
    bytes_finish(&current);
    free(page);
}

Test(manual, has_a_line_for_each_key, .timeout = 10) {
    static const char *const keys[] = {
        "| `listeners.*.bind` |",
        "| `listeners.*.bind[].address` |",
        "| `listeners.*.timeouts.idle` | 1ms to 365d, or off | 1h |",
        "| `listeners.*.tcp.keepalive` | a section, or off | off |",
        "| `upstreams.*.servers[].weight` | 1 to 1000 | 1 |",
        "| `upstreams.*.balance` | round_robin, least_conn, random or first | round_robin |",
        "| `listeners.*.upstream` | an upstream's name or a server's address | must be there, or `filters` |",
        "| `listeners.*.filters` | a list, each item a script or a section |",
        "| `listeners.*.filters[].hold_max` | 1B to 64MiB | 64KiB |",
        "| `lua.path` |",
        "| `log.access` | a section, or off |",
        "| `process.workers` | 1 to 1024, or auto | auto |",
        "| `shutdown.drain_timeout` |",
    };
    struct bytes text;
    bytes_init(&text);
    config_describe(&text);
    for (size_t index = 0; index < sizeof(keys) / sizeof(keys[0]); index++) {
        cr_expect_not_null(strstr(text.data, keys[index]), "%s", keys[index]);
    }
    bytes_finish(&text);
}
