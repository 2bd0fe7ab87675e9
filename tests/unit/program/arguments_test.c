#include "program/arguments.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 128 };

/* A command line as main gets it: `words` cut at its blanks, behind the program's name. */
struct command_line {
    char text[2048];
    char *argv[WORDS_MAX];
    int argc;
};

static void split(struct command_line *line, const char *words) {
    cr_assert_lt((size_t)snprintf(line->text, sizeof(line->text), "moonring %s", words), sizeof(line->text));
    char *rest = line->text;
    line->argc = 0;
    for (char *word = strtok_r(rest, " ", &rest); word != NULL; word = strtok_r(rest, " ", &rest)) {
        line->argv[line->argc++] = word;
    }
    line->argv[line->argc] = NULL;
}

/* The pointers of *arguments go into *line. */
static void expect_read(struct arguments *arguments, struct command_line *line, const char *words) {
    struct error error = {.text = ""};
    split(line, words);
    cr_assert(arguments_parse(arguments, line->argc, line->argv, &error), "%s: %s", words, error.text);
}

static void expect_refused(const char *words, const char *wanted) {
    struct arguments arguments;
    struct command_line line;
    struct error error = {.text = ""};
    split(&line, words);
    cr_assert_not(arguments_parse(&arguments, line.argc, line.argv, &error), "\"%s\" was read", words);
    cr_assert_not_null(strstr(error.text, wanted), "\"%s\": %s", words, error.text);
}

static void expect_address(const struct argument_address *address, const char *wanted) {
    cr_assert_eq(address->size, strlen(wanted));
    cr_assert_arr_eq(address->text, wanted, address->size);
}

/* Free it. */
static char *help_of(enum command about) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    command_print_help(about, out);
    fclose(out);
    return text;
}

/* --- what is read ------------------------------------------------------------------------------------------------ */

Test(arguments, read_every_command, .timeout = 10) {
    static const struct {
        const char *words;
        enum command command;
    } lines[] = {
        {"run -c f", COMMAND_RUN},
        {"check -c f", COMMAND_CHECK},
        {"config dump -c f", COMMAND_CONFIG_DUMP},
        {"config schema", COMMAND_CONFIG_SCHEMA},
        {"config explain", COMMAND_CONFIG_EXPLAIN},
        {"doctor", COMMAND_DOCTOR},
        {"version", COMMAND_VERSION},
        {"help", COMMAND_HELP},
        {"--version", COMMAND_VERSION},
        {"-V", COMMAND_VERSION},
        {"--help", COMMAND_HELP},
        {"-h", COMMAND_HELP},
        {"", COMMAND_NONE},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct arguments arguments;
        struct command_line line;
        expect_read(&arguments, &line, lines[i].words);
        cr_assert_eq(arguments.command, lines[i].command, "%s", lines[i].words);
    }
}

Test(arguments, read_an_option_in_each_of_its_four_spellings, .timeout = 10) {
    const char *const spellings[] = {"run -c a.yaml", "run -ca.yaml", "run --config a.yaml", "run --config=a.yaml"};
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        struct arguments arguments;
        struct command_line line;
        expect_read(&arguments, &line, spellings[i]);
        cr_assert_str_eq(arguments.config_path, "a.yaml");
        cr_assert_not(arguments.print_config);
    }
}

Test(arguments, read_a_dash_as_the_name_of_standard_input, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "check -c - --as /etc/moonring/moonring.yaml");
    cr_assert_str_eq(arguments.config_path, "-");
    cr_assert_str_eq(arguments.as_path, "/etc/moonring/moonring.yaml");
}

Test(arguments, collect_addresses_from_commas_and_repeated_options, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "run -l :80,[::1]:81 -t a:1 --listen=unix:/x --to b:2,c:3 --print-config");
    cr_assert_eq(arguments.listen.count, 3);
    expect_address(&arguments.listen.items[0], ":80");
    expect_address(&arguments.listen.items[1], "[::1]:81");
    expect_address(&arguments.listen.items[2], "unix:/x");
    cr_assert_eq(arguments.to.count, 3);
    expect_address(&arguments.to.items[0], "a:1");
    expect_address(&arguments.to.items[2], "c:3");
    cr_assert(arguments.print_config);
    cr_assert_null(arguments.config_path);
}

Test(arguments, collect_filters_in_their_order, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "run -l :80 -f a.lua --filter=b,c.lua -ta:1 --filter a.lua --trace");
    cr_assert_eq(arguments.filters_count, 3);
    cr_assert_str_eq(arguments.filters[0], "a.lua");
    cr_assert_str_eq(arguments.filters[1], "b,c.lua");
    cr_assert_str_eq(arguments.filters[2], "a.lua");
    cr_assert(arguments.trace);
}

Test(arguments, need_no_servers_where_a_filter_is, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "run -l :80 -f hello.lua");
    cr_assert_eq(arguments.to.count, 0);
    cr_assert_not(arguments.trace);
}

Test(arguments, allow_a_trace_with_a_file, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "run -c f --trace");
    cr_assert(arguments.trace);
}

Test(arguments, read_the_form_of_a_report, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "check -c f");
    cr_assert_not(arguments.json);
    expect_read(&arguments, &line, "check -c f --format text");
    cr_assert_not(arguments.json);
    expect_read(&arguments, &line, "check -c f --format=json");
    cr_assert(arguments.json);
    expect_refused("check -c f --format yaml", "check: --format is text or json, not \"yaml\"");
}

Test(arguments, read_the_path_of_a_key, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "config explain listeners.*.timeouts.idle");
    cr_assert_str_eq(arguments.operands[0], "listeners.*.timeouts.idle");
    expect_read(&arguments, &line, "config explain");
    cr_assert_eq(arguments.operands_count, 0);
    expect_refused("config explain a b", "config explain: unexpected \"b\"");
}

Test(arguments, may_be_read_more_than_once, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "run -l :1 -t :2");
    expect_read(&arguments, &line, "run -c f");
    cr_assert_eq(arguments.listen.count, 0);
    cr_assert_str_eq(arguments.config_path, "f");
}

/* --- what is refused --------------------------------------------------------------------------------------------- */

Test(arguments, propose_the_command_that_was_meant, .timeout = 10) {
    expect_refused("rnu", "did you mean \"run\"?");
    expect_refused("chek -c f", "did you mean \"check\"?");
    expect_refused("doktor", "did you mean \"doctor\"?");
    expect_refused("help doctr", "did you mean \"doctor\"?");
    expect_refused("frobnicate", "there are: run check config ctl doctor manual completion version help");
    expect_refused("x", "there are: run");
}

Test(arguments, propose_the_second_word_of_a_command, .timeout = 10) {
    expect_refused("config", "config: which one? there are: dump, schema, explain");
    expect_refused("config -c f", "config: which one?");
    expect_refused("config dmup", "unknown command \"config dmup\"; did you mean \"config dump\"?");
    expect_refused("help config shcema", "did you mean \"config schema\"?");
    expect_refused("confg dump", "did you mean \"config\"?");
}

Test(arguments, say_where_a_command_is_missing, .timeout = 10) {
    expect_refused("-c f", "try: moonring run -c ...");
    expect_refused("--listen :80", "try: moonring run --listen ...");
}

Test(arguments, propose_the_option_that_was_meant, .timeout = 10) {
    expect_refused("run --lsten :80", "run: unknown option \"--lsten\"; did you mean \"--listen\"?");
    expect_refused("run --conf f", "did you mean \"--config\"?");
    expect_refused("run --print_config", "did you mean \"--print-config\"?");
    expect_refused("check -c f --sa x", "did you mean \"--as\"?");
    expect_refused("run -config f", "did you mean \"--config\"?");
    expect_refused("run -listen=:80", "did you mean \"--listen\"?");
    expect_refused("run --something-entirely-different", "see: moonring run --help");
    expect_refused("run -x", "unknown option \"-x\"; see: moonring run --help");
}

Test(arguments, name_the_commands_that_have_a_misplaced_option, .timeout = 10) {
    expect_refused("doctor -c f", "doctor: --config is an option of run and check");
    expect_refused("check -c f -l :80", "check: --listen is an option of run");
    expect_refused("run -c f --as g", "run: --as is an option of check and config dump");
    expect_refused("config schema -c f", "config schema: --config is an option of run and check and config dump");
}

Test(arguments, refuse_an_option_without_its_value, .timeout = 10) {
    expect_refused("run -c", "run: --config needs a value: --config FILE");
    expect_refused("run --config=", "--config needs a value");
    expect_refused("run --config --print-config", "--config needs a value");
    expect_refused("run -l -t :80", "--listen needs a value: --listen ADDR[,ADDR...]");
    expect_refused("run -l :80 -f --trace", "--filter needs a value: --filter FILE.lua");
}

Test(arguments, refuse_a_value_for_an_option_that_takes_none, .timeout = 10) {
    expect_refused("run --print-config=yes", "run: --print-config takes no value");
    expect_refused("run -hx", "run: --help takes no value");
    expect_refused("run -c f --trace=on", "run: --trace takes no value");
}

Test(arguments, refuse_words_that_belong_to_nothing, .timeout = 10) {
    expect_refused("run moonring.yaml", "moonring run -c moonring.yaml");
    expect_refused("run log.lua", "a script is named by -f: moonring run -l ADDR -f log.lua");
    expect_refused("doctor now", "doctor: unexpected \"now\"; see: moonring doctor --help");
    expect_refused("run -- f", "moonring run -c f");
    expect_refused("doctor -", "unexpected \"-\"");
}

Test(arguments, refuse_a_file_beside_addresses, .timeout = 10) {
    expect_refused("run -c f -l :80 -t :81", "--config and --listen exclude each other");
    expect_refused("run -t :81 -c f", "--config and --to exclude each other");
    expect_refused("run -c f -f a.lua", "--config and --filter exclude each other: the file names the filters");
}

Test(arguments, refuse_one_half_of_listen_and_to, .timeout = 10) {
    expect_refused("run -l :80", "run: --listen needs servers, or a script that serves or routes:\n"
                                 "  moonring run -l ADDR -t ADDR\n"
                                 "  moonring run -l ADDR -f FILE.lua");
    expect_refused("run -t :80", "run: --to needs --listen: moonring run -l ADDR -t ADDR");
    expect_refused("run -f a.lua", "run: --filter needs --listen: moonring run -l ADDR [-t ADDR] -f FILE.lua");
    expect_refused("run -f a.lua -t :1", "run: --to needs --listen: moonring run -l ADDR -t ADDR -f FILE.lua");
}

Test(arguments, propose_both_ways_to_say_what_to_relay, .timeout = 10) {
    expect_refused("run", "moonring run -c /etc/moonring/moonring.yaml");
    expect_refused("run --print-config", "moonring run -l :5432 -t");
    expect_refused("check", "check: which file?");
    expect_refused("config dump", "config dump: which file? moonring config dump -c");
}

Test(arguments, refuse_the_same_path_option_twice, .timeout = 10) {
    expect_refused("run -c a -c b", "run: --config is given twice");
    expect_refused("check -c a --as b --as=c", "check: --as is given twice");
}

Test(arguments, refuse_addresses_that_are_empty_or_not_printable, .timeout = 10) {
    expect_refused("run -l , -t :1", "an address is empty");
    expect_refused("run -l :80, -t :1", "run: --listen \":80,\": an address is empty");
    expect_refused("run -l :1 -t a:1,,b:2", "an address is empty");
    expect_refused("run -l unix:/a\nb -t :1", "an address is not printable");
    expect_refused("run -l :1 -f a\nb.lua", "a path is not printable");
}

Test(arguments, refuse_more_addresses_than_they_hold, .timeout = 10) {
    char words[WORDS_MAX * 4] = "run -t :1 -l :1";
    for (size_t i = 1; i < ARGUMENTS_ADDRESSES_MAX; i++) {
        strcat(words, ",:1");
    }
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, words);
    cr_assert_eq(arguments.listen.count, ARGUMENTS_ADDRESSES_MAX);
    strcat(words, ",:1");
    expect_refused(words, "run: more than 64 addresses for --listen");
}

Test(arguments, refuse_more_filters_than_they_hold, .timeout = 10) {
    char words[WORDS_MAX * 8] = "run -l :1";
    for (size_t i = 0; i < ARGUMENTS_FILTERS_MAX; i++) {
        strcat(words, " -fa");
    }
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, words);
    cr_assert_eq(arguments.filters_count, ARGUMENTS_FILTERS_MAX);
    strcat(words, " -fa");
    expect_refused(words, "run: more than 64 times --filter");
}

/* --- as YAML ----------------------------------------------------------------------------------------------------- */

Test(arguments, become_yaml_with_every_address_quoted, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    struct bytes yaml;
    bytes_init(&yaml);
    expect_read(&arguments, &line, "run -l :80,[::]:81 -t unix:/it's,*:1,a:#{2}");
    arguments_to_yaml(&arguments, &yaml);
    cr_assert_str_eq(yaml.data, "listeners:\n"
                                "  main:\n"
                                "    bind:\n"
                                "      - ':80'\n"
                                "      - '[::]:81'\n"
                                "    upstream: main\n"
                                "upstreams:\n"
                                "  main:\n"
                                "    servers:\n"
                                "      - 'unix:/it''s'\n"
                                "      - '*:1'\n"
                                "      - 'a:#{2}'\n"
                                "process:\n"
                                "  workers: 1\n"
                                "reload:\n"
                                "  watch: true\n");
    bytes_finish(&yaml);
}

Test(arguments, become_yaml_in_which_no_dollar_is_a_variable, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    struct config_report report;
    config_report_init(&report);
    expect_read(&arguments, &line, "run -l unix:/a$b -f /$HOME/${x}.lua");
    struct config *config = arguments_load(&arguments, &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_assert_str_eq(config->listeners[0].binds[0].text, "unix:/a$b");
    cr_assert_str_eq(config->listeners[0].filters[0].path, "/$HOME/${x}.lua");
    config_destroy(config);
    config_report_finish(&report);
}

Test(arguments, become_yaml_without_upstreams_where_filters_do_their_work, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    struct bytes yaml;
    bytes_init(&yaml);
    expect_read(&arguments, &line, "run -l :80 -f it's.lua -f b.lua");
    arguments_to_yaml(&arguments, &yaml);
    cr_assert_str_eq(yaml.data, "listeners:\n"
                                "  main:\n"
                                "    bind:\n"
                                "      - ':80'\n"
                                "    filters:\n"
                                "      - 'it''s.lua'\n"
                                "      - 'b.lua'\n"
                                "process:\n"
                                "  workers: 1\n"
                                "reload:\n"
                                "  watch: true\n");
    bytes_finish(&yaml);
}

/* --- as a configuration ------------------------------------------------------------------------------------------ */

static struct config *load(const char *words, struct config_report *report) {
    struct arguments arguments;
    struct command_line line;
    config_report_init(report);
    expect_read(&arguments, &line, words);
    return arguments_load(&arguments, report);
}

static void expect_report(const char *words, const char *wanted) {
    struct config_report report;
    cr_assert_null(load(words, &report), "%s", words);
    cr_assert_str_eq(report.text.data, wanted);
    config_report_finish(&report);
}

Test(arguments, load_as_a_configuration_of_one_listener_and_one_worker, .timeout = 10) {
    struct config_report report;
    struct config *config = load("run -l :80,:81 -t 10.0.0.1:1,a:2 -f /x/log.lua -f /y.lua", &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_assert_eq(config->listeners_count, 1);
    const struct config_listener *listener = &config->listeners[0];
    cr_assert_str_eq(listener->name, "main");
    cr_assert_eq(listener->binds_count, 2);
    cr_assert_eq(listener->filters_count, 2);
    cr_assert_str_eq(listener->filters[0].path, "/x/log.lua");
    cr_assert_str_eq(listener->filters[0].name, "log");
    cr_assert_str_eq(listener->filters[1].place.file, "command line: --filter");
    cr_assert_eq(listener->filters[1].place.line, 0);
    cr_assert_eq(config->upstreams[listener->upstream].servers_count, 2);
    cr_assert_eq(config->process.workers, 1);
    config_destroy(config);
    config_report_finish(&report);
}

Test(arguments, load_without_an_upstream_where_only_filters_are, .timeout = 10) {
    struct config_report report;
    struct config *config = load("run -l :80 -f hello.lua", &report);
    cr_assert_not_null(config, "%s", report.text.data);
    cr_assert_eq(config->listeners[0].upstream, CONFIG_NO_UPSTREAM);
    cr_assert_eq(config->listeners[0].filters[0].path[0], '/');
    cr_assert_str_eq(report.text.data, "");
    config_destroy(config);
    config_report_finish(&report);
}

Test(arguments, are_named_in_what_is_wrong_with_them, .timeout = 10) {
    expect_report("run -l *:80 -t http://app",
                  "command line: --listen: error[E0306]: address: \"*:80\" is not an address\n"
                  "      = write \":80\" for every address of this machine\n"
                  "command line: --to: error[E0306]: address: \"http://app\" is a URL, and an address is a host and a "
                  "port\n"
                  "      = write \"app:80\"\n"
                  "2 errors: nothing was applied\n");
    expect_report("run -l :80 -f a/log.lua -f b/log.lua",
                  "command line: --filter: error[E0408]: listener \"main\" has two filters \"log\"\n"
                  "      = give it a \"name\" of its own, or remove it\n"
                  "command line: --filter: note: the other one\n"
                  "1 error: nothing was applied\n");
}

/* --- help -------------------------------------------------------------------------------------------------------- */

Test(arguments, turn_into_help_wherever_it_is_asked_for, .timeout = 10) {
    static const struct {
        const char *words;
        enum command about;
    } lines[] = {
        {"help", COMMAND_NONE},
        {"help run", COMMAND_RUN},
        {"--help", COMMAND_NONE},
        {"run --help", COMMAND_RUN},
        {"run -h", COMMAND_RUN},
        {"run -l :80 --help", COMMAND_RUN},
        {"check --help", COMMAND_CHECK},
        {"help help", COMMAND_HELP},
        {"help --help", COMMAND_HELP},
        {"help config dump", COMMAND_CONFIG_DUMP},
        {"config explain -h", COMMAND_CONFIG_EXPLAIN},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct arguments arguments;
        struct command_line line;
        expect_read(&arguments, &line, lines[i].words);
        cr_assert_eq(arguments.command, COMMAND_HELP, "%s", lines[i].words);
        cr_assert_eq(arguments.help_about, lines[i].about, "%s", lines[i].words);
    }
}

Test(arguments, of_ctl_are_an_order_and_where_it_goes, .timeout = 10) {
    struct arguments arguments;
    struct command_line line;
    expect_read(&arguments, &line, "ctl --socket unix:/run/a.sock reload");
    cr_expect_eq(arguments.command, COMMAND_CTL_RELOAD);
    cr_expect_str_eq(arguments.socket, "unix:/run/a.sock");
    expect_read(&arguments, &line, "ctl status -c moonring.yaml --json");
    cr_expect_str_eq(arguments.config_path, "moonring.yaml");
    cr_expect_eq(arguments.command, COMMAND_CTL_STATUS);
    cr_expect_not_null(arguments.given[OPTION_JSON]);
    expect_read(&arguments, &line, "ctl log-level debug");
    cr_expect_eq(arguments.operands_count, 1);
    cr_expect_str_eq(arguments.operands[0], "debug");
    expect_refused("ctl", "which order?");
    expect_refused("ctl -c moonring.yaml --socket unix:/run/a.sock reload", "exclude each other");
    expect_refused("ctl reload now", "unexpected \"now\"");
    expect_refused("ctl relaod", "did you mean \"ctl reload\"?");
    expect_refused("ctl -c f sesions", "did you mean \"ctl sessions\"?");
    expect_refused("ctl status --json --json", "given twice");
    expect_refused("run --socket unix:/run/a.sock", "--socket");
}

/* Through the socket, and what comes out at the other end. */
static void expect_carried(const char *words, const char *wanted) {
    struct arguments arguments, received;
    struct command_line line;
    struct error error = {.text = ""};
    struct bytes order, again;
    bytes_init(&order);
    bytes_init(&again);
    expect_read(&arguments, &line, words);
    arguments_to_order(&arguments, &order);
    cr_assert_str_eq(order.data, wanted);
    cr_assert(arguments_parse_order(&received, order.data, &error), "%s", error.text);
    cr_assert_eq(received.command, arguments.command);
    arguments_to_order(&received, &again);
    cr_assert_str_eq(again.data, wanted);
    bytes_finish(&order);
    bytes_finish(&again);
}

Test(arguments, of_an_order_are_the_same_behind_the_socket, .timeout = 10) {
    expect_carried("ctl status", "status");
    expect_carried("ctl -c f status --json", "status\t--json");
    expect_carried("ctl log-level debug --json", "log-level\t--json\t--\tdebug");
}

Test(arguments, of_an_order_that_no_ctl_would_send_are_refused, .timeout = 10) {
    static const char *const lines[][2] = {
        {"", "ctl: which one?"},
        {"run\t-c\tf", "unknown command \"ctl run\""},
        {"status\t--help", "is no order"},
        {"log-level\tdebug\tinfo", "unexpected \"info\""},
        {"log-level\t--\t\x1b[2J", "is not printable"},
        {"status\t--json=1", "takes no value"},
        {"\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t", "at most 30 words"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct arguments arguments;
        struct error error = {.text = ""};
        char line[128];
        snprintf(line, sizeof(line), "%s", lines[i][0]);
        cr_assert_not(arguments_parse_order(&arguments, line, &error), "%s", lines[i][0]);
        cr_assert_not_null(strstr(error.text, lines[i][1]), "%s", error.text);
    }
}

Test(arguments, help_about_ctl_lists_the_orders, .timeout = 10) {
    char *help = help_of(COMMAND_CTL);
    cr_assert_not_null(strstr(help, "\n  reload "));
    cr_assert_not_null(strstr(help, "\n  log-level "));
    free(help);
}

Test(arguments, help_about_the_program_lists_every_command, .timeout = 10) {
    const char *const commands[] = {"run ", "check ",  "config dump ", "config schema ", "config explain ",
                                    "ctl ", "doctor ", "version ",     "help "};
    char *help = help_of(COMMAND_NONE);
    cr_assert_not_null(strstr(help, "usage: moonring COMMAND"));
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        cr_assert_not_null(strstr(help, commands[i]), "%s", commands[i]);
    }
    free(help);
}

Test(arguments, help_about_a_command_has_its_own_options_only, .timeout = 10) {
    char *run = help_of(COMMAND_RUN);
    cr_assert_not_null(strstr(run, "usage: moonring run -c FILE"));
    cr_assert_not_null(strstr(run, "-l, --listen ADDR[,ADDR...]"));
    cr_assert_not_null(strstr(run, "-f, --filter FILE.lua"));
    cr_assert_not_null(strstr(run, "    --trace"));
    cr_assert_null(strstr(run, "--as"));
    char *check = help_of(COMMAND_CHECK);
    cr_assert_not_null(strstr(check, "    --as PATH"));
    cr_assert_null(strstr(check, "--listen"));
    free(run);
    free(check);
}

Test(arguments, help_fits_a_terminal_of_100_columns, .timeout = 10) {
    for (enum command about = COMMAND_NONE; about <= COMMAND_HELP; about++) {
        char *help = help_of(about);
        for (const char *line = help; *line != 0; line += strcspn(line, "\n") + 1) {
            cr_assert_leq(strcspn(line, "\n"), 100, "%s", line);
        }
        free(help);
    }
}
