/* The command line: what each command prints and which exit code it gives. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Runs moonring to its end and returns what it wrote to the stream that belongs to the exit code. */
static const char *command(struct process *process, int exit_code, const char *const arguments[]) {
    process_start(process, NULL, arguments);
    int code = process_wait(process);
    cr_assert(code == exit_code, "exit code %d instead of %d; it wrote:\n%s%s", code, exit_code,
              process_text(&process->output), process_text(&process->errors));
    return process_text(exit_code == 0 ? &process->output : &process->errors);
}

static void expect_text(const char *text, const char *wanted) {
    cr_assert(strstr(text, wanted) != NULL, "no \"%s\" in:\n%s", wanted, text);
}

Test(command, version_tells_the_version, .timeout = 30) {
    struct process process;
    expect_text(command(&process, 0, ARGUMENTS(moonring_program(), "version")), "moonring ");
}

Test(command, help_names_all_commands, .timeout = 30) {
    struct process process;
    const char *text = command(&process, 0, ARGUMENTS(moonring_program(), "--help"));
    const char *commands[] = {"run", "check", "doctor", "version"};
    for (size_t index = 0; index < sizeof(commands) / sizeof(commands[0]); index++) {
        expect_text(text, commands[index]);
    }
}

Test(command, help_of_run_names_its_options, .timeout = 30) {
    struct process process;
    const char *text = command(&process, 0, ARGUMENTS(moonring_program(), "run", "--help"));
    expect_text(text, "--listen");
    expect_text(text, "--to");
}

Test(command, that_is_unknown_exits_with_2, .timeout = 30) {
    struct process process;
    expect_text(command(&process, 2, ARGUMENTS(moonring_program(), "rnu")), "\"run\"");
}

Test(command, run_without_a_configuration_exits_with_2, .timeout = 30) {
    struct process process;
    command(&process, 2, ARGUMENTS(moonring_program(), "run"));
}

Test(command, run_with_a_file_that_is_not_there_exits_with_2, .timeout = 30) {
    struct process process;
    expect_text(command(&process, 2, ARGUMENTS(moonring_program(), "run", "-c", "/nonexistent/moonring.yaml")),
                "/nonexistent/moonring.yaml");
}

/* What a shell makes of it. `$MOONRING` stands for the program. */
static const char *shell(struct process *process, const char *script) {
    char line[1024];
    snprintf(line, sizeof(line), "MOONRING=%s; %s", moonring_program(), script);
    return command(process, 0, ARGUMENTS("bash", "-o", "pipefail", "-c", line));
}

Test(command, manual_pages_are_well_formed, .timeout = 30) {
    struct process process;
    shell(&process, "$MOONRING manual moonring.1 | mandoc -Tlint -W warning");
    shell(&process, "$MOONRING manual moonring.yaml.5 | mandoc -Tlint -W warning");
    expect_text(command(&process, 2, ARGUMENTS(moonring_program(), "manual", "moonring.8")), "moonring.yaml.5");
}

Test(command, manual_pages_tell_every_command_and_every_key, .timeout = 30) {
    struct process process;
    const char *page = shell(&process, "$MOONRING manual moonring.1 | mandoc -Tutf8 | sed 's/.\\x08//g'");
    expect_text(page, "moonring ctl kill");
    expect_text(page, "--generation");
    expect_text(page, "--print-config");
    page = shell(&process, "$MOONRING manual moonring.yaml.5 | mandoc -Tutf8 | sed 's/.\\x08//g'");
    expect_text(page, "listeners.*.timeouts.idle");
    expect_text(page, "upstreams.*.servers[].weight");
    expect_text(page, "admin.bind");
}

Test(command, completion_knows_orders_and_options, .timeout = 30) {
    struct process process;
    const char *begin =
        "source <($MOONRING completion); complete_words() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); "
        "_moonring; echo \"${COMPREPLY[@]}\"; }; ";
    static const char *const lines[][2] = {
        {"complete_words moonring ch", "check\n"},
        {"complete_words moonring ctl rel", "reload\n"},
        {"complete_words moonring config d", "dump\n"},
        {"complete_words moonring ctl sessions --cl", "--client\n"},
        {"complete_words moonring run --lis", "--listen\n"},
    };
    for (size_t index = 0; index < sizeof(lines) / sizeof(lines[0]); index++) {
        char script[512];
        snprintf(script, sizeof(script), "%s%s", begin, lines[index][0]);
        const char *said = shell(&process, script);
        cr_assert(strcmp(said, lines[index][1]) == 0, "%s: %s", lines[index][0], said);
    }
}

Test(command, doctor_finds_io_uring_here, .timeout = 30) {
    struct process process;
    expect_text(command(&process, 0, ARGUMENTS(moonring_program(), "doctor")), "io_uring");
}

Test(command, run_with_a_wrong_key_tells_its_place_and_exits_with_2, .timeout = 30) {
    struct moonring moonring;
    moonring_launch(&moonring, NULL, "listeners:\n  web:\n    bind: 127.0.0.1:0\n    upstraem: 127.0.0.1:9\n");
    moonring_expect_refusal(&moonring, 2, "moonring.yaml:4:5: error[");
    expect_text(process_text(&moonring.process.errors), "did you mean \"upstream\"?");
}

Test(command, check_finds_all_errors_at_once, .timeout = 30) {
    struct temporary folder;
    struct process process;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "bad.yaml",
                    "listeners:\n  web:\n    bind: 127.0.0.1:70000\n    upstream: nowhere\n"
                    "    timeouts: {idle: 5}\n");
    const char *text =
        command(&process, 2, ARGUMENTS(moonring_program(), "check", "-c", temporary_path(&folder, "bad.yaml", path)));
    expect_text(text, "bad.yaml:3:");
    expect_text(text, "bad.yaml:4:");
    expect_text(text, "bad.yaml:5:");
    expect_text(text, "5s");
    expect_text(text, "3 errors");
}

Test(command, check_speaks_of_the_path_it_is_told, .timeout = 30) {
    struct temporary folder;
    struct process process;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    temporary_write(&folder, "copy", "listeners: 5\n");
    const char *text = command(&process, 2,
                               ARGUMENTS(moonring_program(), "check", "-c", temporary_path(&folder, "copy", path),
                                         "--as", "/etc/moonring/moonring.yaml"));
    expect_text(text, "/etc/moonring/moonring.yaml:1:12:");
}

Test(command, check_of_a_good_file_exits_with_0_and_binds_nothing, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct process process;
    char path[TEMPORARY_PATH_MAX];
    peer_listen(&listener, "127.0.0.1:0"); /* its address is in use: run would fail */
    temporary_create(&moonring.folder);
    temporary_write(&moonring.folder, "good.yaml", "listeners: {web: {bind: '%s', upstream: '127.0.0.1:9'}}\n",
                    listener.address);
    command(&process, 0,
            ARGUMENTS(moonring_program(), "check", "-c", temporary_path(&moonring.folder, "good.yaml", path)));
}

Test(command, run_needs_no_file, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener first, second;
    struct pair pair;
    char servers[2 * ADDRESS_TEXT_MAX];
    peer_listen(&first, "127.0.0.1:0");
    peer_listen(&second, "127.0.0.1:0");
    snprintf(servers, sizeof(servers), "%s,%s", first.address, second.address);
    process_start(&moonring.process, NULL, ARGUMENTS(moonring_program(), "run", "-l", "127.0.0.1:0", "-t", servers));
    moonring_wait_ready(&moonring);
    pair_open(&pair, moonring.address, &first);
    pair_exchange(&pair, 1000);
    pair_open(&pair, moonring.address, &second); /* the other's turn */
    pair_exchange(&pair, 1000);
}

Test(command, run_prints_the_configuration_that_a_file_may_begin_with, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct process process;
    struct pair pair;
    peer_listen(&listener, "127.0.0.1:0");
    const char *yaml =
        command(&process, 0,
                ARGUMENTS(moonring_program(), "run", "-l", "127.0.0.1:0", "-t", listener.address, "--print-config"));
    moonring_start(&moonring, "%s", yaml);
    pair_open(&pair, moonring.address, &listener);
    pair_exchange(&pair, 1000);
}
