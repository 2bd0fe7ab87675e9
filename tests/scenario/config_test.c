/* The commands about configurations, and configurations of several files, as the program takes them. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void set_variables(void) {
    setenv("MOONRING_TEST_ADDRESS", "127.0.0.1:0", 1);
    unsetenv("MOONRING_TEST_UNSET");
}

/* What moonring printed to standard output until it ended with that exit code. */
static const char *output_of(struct process *process, int exit_code, const char *const arguments[]) {
    process_start(process, set_variables, arguments);
    int code = process_wait(process);
    cr_assert(code == exit_code, "exit code %d instead of %d; it wrote:\n%s%s", code, exit_code,
              process_text(&process->output), process_text(&process->errors));
    return process_text(&process->output);
}

static void expect_text(const char *text, const char *wanted) {
    cr_assert(strstr(text, wanted) != NULL, "no \"%s\" in:\n%s", wanted, text);
}

/* A configuration of three files, `main.yaml` is the one to name. */
static char *write_files(struct temporary *folder, const char *server, char path[TEMPORARY_PATH_MAX]) {
    temporary_create(folder);
    cr_assert_eq(mkdir(temporary_path(folder, "conf.d", path), 0755), 0);
    temporary_write(folder, "main.yaml", "include: [conf.d/*.yaml]\nprocess: {workers: 1}\n");
    temporary_write(folder, "conf.d/listeners.yaml",
                    "listeners:\n  web: {bind: \"${MOONRING_TEST_ADDRESS}\", upstream: app}\n");
    temporary_write(folder, "conf.d/upstreams.yaml", "upstreams:\n  app: {servers: ['%s']}\n", server);
    return temporary_path(folder, "main.yaml", path);
}

Test(config, of_several_files_with_variables_serves, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener server;
    struct pair pair;
    char path[TEMPORARY_PATH_MAX];
    peer_listen(&server, "127.0.0.1:0");
    write_files(&moonring.folder, server.address, path);
    process_start(&moonring.process, set_variables, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(&moonring);
    pair_open(&pair, moonring.address, &server);
    pair_exchange(&pair, 1000);
}

Test(config, dump_prints_one_file_that_means_the_same, .timeout = 30) {
    struct temporary folder;
    struct process first;
    struct process second;
    char path[TEMPORARY_PATH_MAX];
    const char *dump = output_of(
        &first, 0, ARGUMENTS(moonring_program(), "config", "dump", "-c", write_files(&folder, "127.0.0.1:9", path)));
    expect_text(dump, "      - address: \"127.0.0.1:0\"\n    upstream: \"app\"\n");
    expect_text(dump, "      idle: 1h\n");
    temporary_write(&folder, "dump.yaml", "%s", dump);
    const char *again = output_of(
        &second, 0, ARGUMENTS(moonring_program(), "config", "dump", "-c", temporary_path(&folder, "dump.yaml", path)));
    cr_expect_str_eq(dump, again);
}

Test(config, dump_of_a_wrong_file_prints_nothing_but_what_is_wrong, .timeout = 30) {
    struct temporary folder;
    struct process process;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "a.yaml", "listeners:\n  a: {bind: \"${MOONRING_TEST_UNSET}\", upstream: 'x:1'}\n");
    cr_expect_str_eq(
        output_of(&process, 2,
                  ARGUMENTS(moonring_program(), "config", "dump", "-c", temporary_path(&folder, "a.yaml", path))),
        "");
    expect_text(process_text(&process.errors),
                "a.yaml:2:13: error[E0318]: the variable MOONRING_TEST_UNSET is not set");
}

Test(config, schema_is_printed_for_editors, .timeout = 30) {
    struct process process;
    const char *schema = output_of(&process, 0, ARGUMENTS(moonring_program(), "config", "schema"));
    cr_expect_eq(strncmp(schema, "{\n", 2), 0);
    expect_text(schema, "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"");
    expect_text(schema, "\"listeners\": {");
}

Test(config, explain_tells_about_a_key, .timeout = 30) {
    struct process process;
    const char *text =
        output_of(&process, 0, ARGUMENTS(moonring_program(), "config", "explain", "listeners.*.timeouts.idle"));
    expect_text(text, "  default  1h");
}

Test(config, explain_of_an_unknown_key_exits_with_2, .timeout = 30) {
    struct process process;
    cr_expect_str_eq(output_of(&process, 2, ARGUMENTS(moonring_program(), "config", "explain", "listners")), "");
    expect_text(process_text(&process.errors), "did you mean \"listeners\"?");
}

Test(config, check_prints_json_whatever_it_finds, .timeout = 30) {
    struct temporary folder;
    struct process process;
    char path[TEMPORARY_PATH_MAX];
    write_files(&folder, "127.0.0.1:9", path);
    const char *text = output_of(&process, 0, ARGUMENTS(moonring_program(), "check", "-c", path, "--format", "json"));
    expect_text(text, "\"errors\": 0,");
    expect_text(text, "\"findings\": []");
    temporary_write(&folder, "conf.d/upstreams.yaml", "upstreams:\n  app: {servers: ['127.0.0.1:9'], blance: first}\n");
    struct process again;
    text = output_of(&again, 2, ARGUMENTS(moonring_program(), "check", "-c", path, "--format=json"));
    expect_text(text, "\"code\": \"E0203\",");
    expect_text(text, "conf.d/upstreams.yaml\",\n      \"line\": 2,\n      \"column\": 35,");
    expect_text(text, "\"help\": \"did you mean \\\"balance\\\"?\"");
    cr_expect_str_eq(process_text(&again.errors), "");
}

Test(config, check_takes_a_copy_as_if_it_lay_elsewhere, .timeout = 30) {
    struct temporary folder;
    struct process process;
    char path[TEMPORARY_PATH_MAX];
    char copy[TEMPORARY_PATH_MAX];
    write_files(&folder, "127.0.0.1:9", path);
    cr_assert_eq(mkdir(temporary_path(&folder, "copies", copy), 0755), 0);
    temporary_write(&folder, "copies/new.yaml", "include: [conf.d/*.yaml]\nlog: {access: off}\n");
    temporary_path(&folder, "copies/new.yaml", copy);
    output_of(&process, 2, ARGUMENTS(moonring_program(), "check", "-c", copy));
    struct process as_main;
    expect_text(output_of(&as_main, 0, ARGUMENTS(moonring_program(), "check", "-c", copy, "--as", path)), ": fine\n");
}
