/* The JSON Schema, judged by a validator of others (Debian's python3-jsonschema) over the examples and the gallery. */
#include "loading.h"

#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JUDGEMENTS_SIZE = 1 << 20 };

/* What validate.py prints about the files that match. The caller frees it. */
static char *judge(const char *pattern) {
    struct temporary folder;
    struct bytes schema;
    char path[TEMPORARY_PATH_MAX];
    char command[512];
    temporary_create(&folder);
    bytes_init(&schema);
    config_schema(&schema);
    temporary_write(&folder, "schema.json", "%s", schema.data);
    bytes_finish(&schema);
    snprintf(command, sizeof(command), "/usr/bin/python3 tests/gallery/validate.py %s %s 2>&1",
             temporary_path(&folder, "schema.json", path), pattern);
    char *text = calloc(1, JUDGEMENTS_SIZE);
    FILE *output = popen(command, "r");
    cr_assert_not_null(output);
    cr_assert_gt(fread(text, 1, JUDGEMENTS_SIZE - 1, output), 0);
    cr_assert_eq(pclose(output), 0, "%s\n%s", command, text);
    temporary_remove(&folder);
    return text;
}

/* The line about a file: `valid NAME`, `refused NAME: why`, `unreadable NAME`. */
static const char *line_about(const char *judgements, const char *name) {
    size_t size = strlen(name);
    for (const char *at = strstr(judgements, name); at != NULL; at = strstr(at + 1, name)) {
        if (at > judgements && at[-1] == ' ' && (at[size] == ':' || at[size] == '\n')) {
            const char *line = at;
            while (line > judgements && line[-1] != '\n') {
                line--;
            }
            return line;
        }
    }
    return "";
}

static bool is_judged(const char *judgements, const char *name, const char *judgement) {
    const char *line = line_about(judgements, name);
    bool right = strncmp(line, judgement, strlen(judgement)) == 0;
    cr_expect(right, "%s should be %s: %.*s", name, judgement, (int)strcspn(line, "\n"), line);
    return right;
}

Test(json_schema, accepts_every_example, .timeout = 60) {
    char *judgements = judge("examples/*.yaml");
    cr_expect_null(strstr(judgements, "refused"), "%s", judgements);
    cr_expect_null(strstr(judgements, "unreadable"), "%s", judgements);
    is_judged(judgements, "web.yaml", "valid");
    is_judged(judgements, "redis_firewall.yaml", "valid");
    free(judgements);
}

/* ---- the gallery ---- */

/* Codes of errors that one value shows by itself. The others need more: two keys, a range of durations or sizes, the
 * environment, other files. */
static const char *const shape_codes[] = {"E0201", "E0202", "E0203", "E0205", "E0206", "E0207", "E0301", "E0302",
                                          "E0303", "E0304", "E0306", "E0307", "E0308", "E0309", "E0311", "E0312",
                                          "E0314", "E0315", "E0317", "E0320", "E0323", "E0330", "E0331", "E0332"};

enum expectation { EXPECT_ANYTHING, EXPECT_VALID, EXPECT_REFUSED };

/* Has the report an error of such a code that is about the file itself, not about one that it includes? */
static bool has_error_of(const char *report, const char *name, const char *code) {
    char begin[256];
    char middle[32];
    snprintf(begin, sizeof(begin), "# %s:", name);
    snprintf(middle, sizeof(middle), "error[%s]", code);
    for (const char *line = strstr(report, begin); line != NULL; line = strstr(line + 1, begin)) {
        const char *end = strchrnul(line, '\n');
        if (memmem(line, (size_t)(end - line), middle, strlen(middle)) != NULL) {
            return true;
        }
    }
    return false;
}

static enum expectation expectation_of(const char *path, const char *name) {
    size_t size;
    char *text = loading_read_file(path, &size);
    const char *report = strstr(text, "# expect:\n");
    enum expectation expectation = EXPECT_ANYTHING;
    if (report == NULL) {
        free(text); /* a file with a byte of 0 */
        return EXPECT_ANYTHING;
    }
    if (strstr(report, "error[") == NULL) {
        expectation = EXPECT_VALID;
    }
    for (size_t index = 0; index < sizeof(shape_codes) / sizeof(shape_codes[0]); index++) {
        if (has_error_of(report, name, shape_codes[index])) {
            expectation = EXPECT_REFUSED;
        }
    }
    free(text);
    return expectation;
}

static bool is_unreadable(const char *judgements, const char *name) {
    return strncmp(line_about(judgements, name), "unreadable", strlen("unreadable")) == 0;
}

Test(json_schema, refuses_each_wrong_file_of_the_gallery_whose_shape_is_wrong, .timeout = 60) {
    char *judgements = judge("tests/gallery/*.yaml");
    glob_t files;
    size_t counts[3] = {0};
    cr_assert_eq(glob("tests/gallery/*.yaml", 0, NULL, &files), 0);
    for (size_t index = 0; index < files.gl_pathc; index++) {
        const char *name = strrchr(files.gl_pathv[index], '/') + 1;
        enum expectation expectation = expectation_of(files.gl_pathv[index], name);
        counts[expectation]++;
        if (expectation == EXPECT_VALID) {
            is_judged(judgements, name, "valid");
        } else if (expectation == EXPECT_REFUSED && !is_unreadable(judgements, name)) {
            is_judged(judgements, name, "refused");
        }
    }
    cr_expect_geq(counts[EXPECT_VALID], 3);
    cr_expect_geq(counts[EXPECT_REFUSED], 70);
    globfree(&files);
    free(judgements);
}

/* ---- single files ---- */

static void expect_judgement(const char *judgement, const char *yaml) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "one.yaml", "%s", yaml);
    char *judgements = judge(temporary_path(&folder, "one.yaml", path));
    cr_expect(strncmp(judgements, judgement, strlen(judgement)) == 0, "should be %s:\n%s\n%s", judgement, yaml,
              judgements);
    free(judgements);
    temporary_remove(&folder);
}

Test(json_schema, accepts_a_configuration_with_every_key, .timeout = 60) {
    size_t size;
    char *text = loading_read_file("tests/fuzz/corpus/config_load/every_key.yaml", &size);
    config_destroy(loading_good(text));
    expect_judgement("valid", text);
    free(text);
}

Test(json_schema, accepts_what_the_program_writes_out, .timeout = 60) {
    struct config *config = loading_good(LOADING_SMALL "lua: {path: /lib/?.lua}\n"
                                                       "log: {error: {target: 'file:/a $$ b'}}\n");
    struct bytes text;
    bytes_init(&text);
    config_dump(config, &text);
    expect_judgement("valid", text.data);
    bytes_finish(&text);
    config_destroy(config);
}

Test(json_schema, accepts_variables_wherever_a_value_may_stand, .timeout = 60) {
    expect_judgement("valid", "listeners:\n"
                              "  a:\n"
                              "    bind: ${A}\n"
                              "    upstream: ${B:-x}\n"
                              "    timeouts: {idle: \"${I:-1h}\"}\n"
                              "    limits: {max_connections: \"${MAX:?how many}\"}\n"
                              "    tcp: {nodelay: \"${N}\", keepalive: \"${K}\"}\n"
                              "    filters: [\"${F}\", {lua: \"${F}\", hold_max: \"${H}\"}]\n");
    expect_judgement("refused", "listeners:\n  a: {bind: ':1', upstream: x, timeouts: {idle: '${I'}}\n");
    expect_judgement("refused", "listeners:\n  a: {bind: ':1', upstream: x, timeouts: {idle: '$$1s'}}\n");
}

Test(json_schema, accepts_merge_keys_and_files_without_listeners, .timeout = 60) {
    expect_judgement("valid", "upstreams:\n"
                              "  a: &a {servers: ['10.0.0.1:80', 'db.internal:1', 'unix:@x'], retry: {attempts: 2}}\n"
                              "  b: {<<: *a, balance: first}\n");
    expect_judgement("refused", "upstreams:\n  a: &a {servers: ['x:1'], retry: {attempts: 0}}\n  b: {<<: *a}\n");
}

/* A file for each value, which stands between the two texts, and whether the loader and the validator take it. */
static void expect_values(const char *judgement, const char *before, const char *after, const char *const *values) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    char name[32];
    size_t count = 0;
    temporary_create(&folder);
    for (; values[count] != NULL; count++) {
        struct bytes text;
        bytes_init(&text);
        bytes_printf(&text, "%s%s%s", before, values[count], after);
        struct loading_result result = loading_from(text.data);
        cr_expect_eq(result.config != NULL, strcmp(judgement, "valid") == 0, "%s", values[count]);
        loading_finish(&result);
        snprintf(name, sizeof(name), "%zu.yaml", count);
        temporary_write(&folder, name, "%s", text.data);
        bytes_finish(&text);
    }
    char *judgements = judge(temporary_path(&folder, "*.yaml", path));
    for (size_t index = 0; index < count; index++) {
        snprintf(name, sizeof(name), "%zu.yaml", index);
        cr_expect(is_judged(judgements, name, judgement), "%s", values[index]);
    }
    free(judgements);
    temporary_remove(&folder);
}

Test(json_schema, knows_addresses_as_the_loader_does, .timeout = 60) {
    static const char *const good[] = {"10.0.0.1:80", "[::1]:65535", "a-b.c_d:1", "1a:2",
                                       "unix:/x y",   "unix:@z",     "a.:1",      NULL};
    static const char *const bad[] = {"10.0.0.256:80", "10.0.0.1:0",  "10.0.0.1:65536", "[::1:80", "a..b:1", "-a:1",
                                      "10.1:80",       "a:080",       "unix:",          "unix:@",  ":80",    "*:80",
                                      "systemd:x",     "http://a:80", "a b:80",         NULL};
    static const char before[] = "listeners: {a: {bind: ':1', upstream: u}}\nupstreams: {u: {servers: ['";
    expect_values("valid", before, "']}}\n", good);
    expect_values("refused", before, "']}}\n", bad);
}

Test(json_schema, knows_blocks_of_addresses_as_the_loader_does, .timeout = 60) {
    static const char *const good[] = {"10.0.0.0/8", "0.0.0.0/0",     "10.0.0.1/32", "10.0.0.1",
                                       "::/0",       "2001:db8::/32", "::1",         NULL};
    static const char *const bad[] = {"10.0.0.0/33", "10/8",      "5",     "a",           "10.0.0.256", "10.0.0.1:80",
                                      "::/129",      "10.0.0.0/", "file:", "10.0.0.0/08", NULL};
    static const char before[] = "listeners: {a: {bind: ':1', upstream: 'x:1', deny: ['";
    expect_values("valid", before, "']}}\n", good);
    expect_values("refused", before, "']}}\n", bad);
}

Test(json_schema, knows_where_operators_and_scrapes_may_come_to, .timeout = 60) {
    static const char *const paths[] = {"unix:/a", "unix:a b", NULL};
    static const char *const no_paths[] = {":2", "127.0.0.1:2", "unix:@a", "systemd:a", NULL};
    static const char *const ips[] = {":2", "127.0.0.1:0", "[::1]:2", NULL};
    static const char *const no_ips[] = {"unix:/a", "unix:@a", "systemd:a", "localhost:2", NULL};
    static const char admin[] = "listeners: {a: {bind: ':1', upstream: 'x:1'}}\nadmin: {bind: {address: '";
    static const char metrics[] = "listeners: {a: {bind: ':1', upstream: 'x:1'}}\nmetrics: {bind: ['";
    expect_values("valid", admin, "'}}\n", paths);
    expect_values("refused", admin, "'}}\n", no_paths);
    expect_values("valid", metrics, "']}\n", ips);
    expect_values("refused", metrics, "']}\n", no_ips);
}
