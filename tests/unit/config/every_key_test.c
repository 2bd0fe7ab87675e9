/* Every key of the table, changed by itself: a reload must say so, and refuse what only a restart can change. A new key
 * has to be told what else it may be, at the end of this list, and to stand in every_key.yaml. */
#include "loading.h"

#include "config/diff.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, PATH_SIZE = 128 };

/* Other values than those of every_key.yaml. */
static const struct change {
    const char *path;
    const char *value;
} changes[] = {
    {"listeners.*.bind", "':90'"},
    {"listeners.*.bind[].address", "':90'"},
    {"listeners.*.bind[].mode", "'0660'"},
    {"listeners.*.bind[].group", "daemon"},
    {"listeners.*.upstream", "'10.0.0.9:1'"},
    {"listeners.*.filters", "[/lib/c.lua]"},
    {"listeners.*.filters[].lua", "/lib/c.lua"},
    {"listeners.*.filters[].name", "other"},
    {"listeners.*.filters[].params", "{deny: [A]}"},
    {"listeners.*.filters[].on_error", "close"},
    {"listeners.*.filters[].strict", "false"},
    {"listeners.*.filters[].hold_max", "2MiB"},
    {"listeners.*.filters[].hold_timeout", "1s"},
    {"listeners.*.filters[].jit", "true"},
    {"listeners.*.filters[].isolate", "false"},
    {"listeners.*.allow", "10.0.0.0/9"},
    {"listeners.*.deny", "10.2.0.0/16"},
    {"listeners.*.proxy_protocol", "off"},
    {"listeners.*.proxy_protocol.accept", "any"},
    {"listeners.*.proxy_protocol.trusted", "10.0.0.0/9"},
    {"listeners.*.timeouts.connect", "off"},
    {"listeners.*.timeouts.preread", "off"},
    {"listeners.*.timeouts.handshake", "off"},
    {"listeners.*.timeouts.idle", "89s"},
    {"listeners.*.timeouts.half_close", "1ms"},
    {"listeners.*.timeouts.send_stall", "8d"},
    {"listeners.*.timeouts.max_lifetime", "off"},
    {"listeners.*.limits.max_connections", "off"},
    {"listeners.*.limits.bandwidth", "off"},
    {"listeners.*.limits.per_source", "off"},
    {"listeners.*.limits.per_source.max_connections", "6"},
    {"listeners.*.limits.per_source.rate", "50/m"},
    {"listeners.*.limits.per_source.burst", "99"},
    {"listeners.*.limits.per_source.prefix_v4", "25"},
    {"listeners.*.limits.per_source.prefix_v6", "57"},
    {"listeners.*.tcp.nodelay", "true"},
    {"listeners.*.tcp.keepalive", "off"},
    {"listeners.*.tcp.keepalive.idle", "31s"},
    {"listeners.*.tcp.keepalive.interval", "6s"},
    {"listeners.*.tcp.keepalive.count", "126"},
    {"listeners.*.tcp.backlog", "65534"},
    {"upstreams.*.servers", "['10.0.0.9:1']"},
    {"upstreams.*.servers[].name", "two"},
    {"upstreams.*.servers[].address", "'10.0.0.9:1'"},
    {"upstreams.*.servers[].weight", "999"},
    {"upstreams.*.servers[].max_connections", "off"},
    {"upstreams.*.servers[].backup", "true"},
    {"upstreams.*.balance", "random"},
    {"upstreams.*.proxy_protocol", "v2"},
    {"upstreams.*.retry.attempts", "2"},
    {"upstreams.*.retry.backoff", "1ms"},
    {"upstreams.*.timeouts.connect", "1ms"},
    {"upstreams.*.health_check", "off"},
    {"upstreams.*.health_check.interval", "11s"},
    {"upstreams.*.health_check.timeout", "501ms"},
    {"upstreams.*.health_check.rise", "2"},
    {"upstreams.*.health_check.fall", "999"},
    {"upstreams.*.outlier_detection", "off"},
    {"upstreams.*.outlier_detection.consecutive_failures", "4"},
    {"upstreams.*.outlier_detection.ejection_time", "61s"},
    {"upstreams.*.outlier_detection.max_ejection", "99%"},
    {"upstreams.*.on_server_down", "keep"},
    {"upstreams.*.on_removed", "keep"},
    {"upstreams.*.slow_start", "1s"},
    {"log.error.target", "stderr"},
    {"log.error.level", "info"},
    {"log.access", "off"},
    {"log.access.target", "stdout"},
    {"log.access.format", "text"},
    {"log.access.when", "open"},
    {"log.access.every", "61s"},
    {"log.access.skip_empty", "false"},
    {"log.access.tcp_info", "false"},
    {"process.workers", "auto"},
    {"process.user", "daemon"},
    {"process.max_connections", "7"},
    {"io.sqpoll", "false"},
    {"io.sqpoll_idle", "2ms"},
    {"io.sqpoll_cpu", "8"},
    {"io.splice", "auto"},
    {"io.zero_copy_send", "false"},
    {"io.busy_poll", "off"},
    {"lua.path", "/x/?.lua"},
    {"lua.memory", "129MiB"},
    {"lua.budget", "11ms"},
    {"lua.libs", "safe"},
    {"lua.retired_max", "2"},
    {"lua.retire_timeout", "1s"},
    {"admin.bind", "'unix:/tmp/b.sock'"},
    {"admin.bind[].address", "'unix:/tmp/b.sock'"},
    {"admin.bind[].mode", "'0600'"},
    {"admin.bind[].group", "daemon"},
    {"metrics.bind", "'127.0.0.1:9103'"},
    {"metrics.bind[].address", "'127.0.0.1:9103'"},
    {"reload.watch", "false"},
    {"shutdown.drain_timeout", "1s"},
};

/* ---- lines of a dump ---- */

/* The names of the keys that a line stands in, by indentation; NULL where none does. */
struct names {
    char levels[DEPTH_MAX][64];
};

/* False: the line is an item without a key. */
static bool names_take(struct names *names, const char *line, char path[static PATH_SIZE]) {
    size_t level = strspn(line, " ") / 2;
    const char *key = line + 2 * level;
    if (key[0] == '-') {
        snprintf(names->levels[level++], sizeof(names->levels[0]), "[]");
        key += 2;
    }
    const char *colon = strpbrk(key, ":\n");
    bool is_item =
        level == 1 && (strcmp(names->levels[0], "listeners") == 0 || strcmp(names->levels[0], "upstreams") == 0);
    snprintf(names->levels[level], sizeof(names->levels[0]), "%.*s", is_item ? 1 : (int)(colon - key),
             is_item ? "*" : key);
    path[0] = 0;
    for (size_t at = 0; at <= level; at++) {
        bool is_list = strcmp(names->levels[at], "[]") == 0;
        size_t size = strlen(path);
        snprintf(path + size, PATH_SIZE - size, "%s%s", at == 0 || is_list ? "" : ".", names->levels[at]);
    }
    return *colon == ':';
}

/* The first line of the key; NULL: there is none. */
static const char *find_line(const char *text, const char *wanted) {
    struct names names;
    char path[PATH_SIZE];
    for (const char *line = text; *line != 0; line = strchr(line, '\n') + 1) {
        if (names_take(&names, line, path) && strcmp(path, wanted) == 0) {
            return line;
        }
    }
    return NULL;
}

/* Behind the value, which may take several lines. */
static const char *value_end(const char *line) {
    size_t indentation = strspn(line, " -");
    do {
        line = strchr(line, '\n') + 1;
    } while (strspn(line, " ") > indentation);
    return line;
}

/* The text with another value of the key. */
static struct bytes text_with(const char *text, const struct change *change) {
    struct bytes out;
    bytes_init(&out);
    const char *line = find_line(text, change->path);
    cr_assert_not_null(line, "every_key.yaml has no %s", change->path);
    bytes_append(&out, text, (size_t)(strchr(line, ':') + 1 - text));
    bytes_printf(&out, " %s\n%s", change->value, value_end(line));
    return out;
}

static struct bytes dump_of_every_key(void) {
    size_t size;
    struct bytes text;
    char *file = loading_read_file("tests/fuzz/corpus/config_load/every_key.yaml", &size);
    struct config *config = loading_good(file);
    bytes_init(&text);
    config_dump(config, &text);
    config_destroy(config);
    free(file);
    return text;
}

/* ---- rows of the manual ---- */

/* The row of the table, or NULL. */
static const char *find_row(const char *table, const char *path) {
    char begin[PATH_SIZE + 8];
    snprintf(begin, sizeof(begin), "\n| `%s` |", path);
    return strstr(table, begin);
}

static bool row_is_fixed(const char *row) {
    static const char words[] = "(a change takes a restart)";
    return memmem(row + 1, (size_t)(strchr(row + 1, '\n') - row), words, strlen(words)) != NULL;
}

static const struct change *find_change(const char *path, size_t size) {
    for (size_t index = 0; index < sizeof(changes) / sizeof(changes[0]); index++) {
        if (strlen(changes[index].path) == size && memcmp(changes[index].path, path, size) == 0) {
            return &changes[index];
        }
    }
    return NULL;
}

/* What stands elsewhere after loading, and maps of items. */
static bool is_no_key_of_its_own(const char *path) {
    return strncmp(path, "include`", 8) == 0 || strncmp(path, "defaults.", 9) == 0 ||
           strncmp(path, "listeners`", 10) == 0 || strncmp(path, "upstreams`", 10) == 0;
}

/* ---- tests ---- */

Test(every_key, has_a_change_in_this_list, .timeout = 10) {
    struct bytes table;
    size_t count = 0;
    bytes_init(&table);
    config_describe(&table);
    for (const char *at = strstr(table.data, "\n| `"); at != NULL; at = strstr(at + 1, "\n| `")) {
        const char *path = at + strlen("\n| `");
        size_t size = strcspn(path, "`");
        if (!is_no_key_of_its_own(path)) {
            cr_expect_not_null(find_change(path, size), "%.*s", (int)size, path);
            count++;
        }
    }
    cr_expect_eq(count, sizeof(changes) / sizeof(changes[0]));
    bytes_finish(&table);
}

/* An item is told of by its own name, `+:90`; another key by its own. */
static bool is_told(const char *difference, const struct change *change) {
    const char *dot = strrchr(change->path, '.');
    char value[64];
    snprintf(value, sizeof(value), "%s", change->value + strspn(change->value, "['"));
    value[strcspn(value, "]'")] = 0;
    return strstr(difference, dot + 1) != NULL || strstr(difference, value) != NULL;
}

static void expect_told(const char *text, const struct change *change, const char *row) {
    struct bytes changed = text_with(text, change);
    struct config *before = loading_good(text);
    struct config *after = loading_good(changed.data);
    struct bytes difference;
    bytes_init(&difference);
    cr_expect(config_diff(before, after, &difference), "%s: nobody notices", change->path);
    cr_expect(is_told(difference.data, change), "%s: %s", change->path, difference.data);
    bytes_clear(&difference);
    cr_expect_eq(config_diff_fixed(before, after, &difference), row_is_fixed(row), "%s", change->path);
    cr_expect(!row_is_fixed(row) || is_told(difference.data, change), "%s: %s", change->path, difference.data);
    bytes_finish(&difference);
    bytes_finish(&changed);
    config_destroy(before);
    config_destroy(after);
}

Test(every_key, that_changes_is_told_of_and_refused_where_it_takes_a_restart, .timeout = 30) {
    struct bytes text = dump_of_every_key();
    struct bytes table;
    bytes_init(&table);
    config_describe(&table);
    for (size_t index = 0; index < sizeof(changes) / sizeof(changes[0]); index++) {
        const char *row = find_row(table.data, changes[index].path);
        cr_assert_not_null(row, "there is no key %s", changes[index].path);
        expect_told(text.data, &changes[index], row);
    }
    bytes_finish(&table);
    bytes_finish(&text);
}
