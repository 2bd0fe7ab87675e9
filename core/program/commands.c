#include "program/commands.h"

#include <string.h>

/* --- what there is ---------------------------------------------------------------------------------------------- */

#define ADDRESSES_HELP                                                                                                 \
    "\naddresses:\n"                                                                                                   \
    "  10.0.0.1:80  [::1]:80  unix:/run/app.sock  unix:@abstract\n"                                                    \
    "  :80          to listen on: every address of this machine, IPv6 and IPv4\n"                                      \
    "  name:80      to connect to: every address of that host\n"

#define CTL_EXIT "\nexit status: 0 done; 2 refused; 3 nobody answers\n"

#define SERVER_WISH                                                                                                    \
    "\nIt holds over reloads, as long as the server keeps its name and address, and ends with the process.\n"          \
    "A host with several addresses: UPSTREAM/SERVER means all, UPSTREAM/SERVER/ADDRESS one.\n"

static const struct command_row COMMANDS[COMMANDS_COUNT] = {
    [COMMAND_NONE] = {"", "", "moonring COMMAND [OPTIONS]", "", 0, 0},
    [COMMAND_RUN] = {"run", "relay connections until a signal ends it",
                     "moonring run -c FILE [--trace] [--print-config]\n"
                     "moonring run -l ADDR[,ADDR...] [-t ADDR[,ADDR...]] [-f FILE.lua]... [--trace]\n"
                     "             [--print-config]",
                     ADDRESSES_HELP
                     "\nexamples:\n"
                     "  moonring run -c /etc/moonring/moonring.yaml\n"
                     "  moonring run -l :5432 -t 10.0.0.11:5432,10.0.0.12:5432\n"
                     "  moonring run -l 127.0.0.1:6379 -t unix:/run/redis/redis.sock\n"
                     "  moonring run -l :8080 -t 127.0.0.1:80 -f log.lua --trace\n"
                     "  moonring run -l :8080 -f hello.lua        (a script that serves or routes by itself)\n"
                     "\nsignals:\n"
                     "  TERM  drain: accept nothing new, let sessions end; a second one stops at once\n"
                     "  INT   stop at once\n"
                     "  USR1  open the logs again\n"
                     "  USR2  print sessions and counters to the error log\n"
                     "\nwithout a file there is one worker; with one, a worker for each CPU unless it says otherwise\n",
                     0, 0},
    [COMMAND_CHECK] = {"check", "tell every mistake in a configuration, and change nothing",
                       "moonring check -c FILE [--as PATH] [--format text|json]",
                       "\nexamples:\n"
                       "  moonring check -c moonring.yaml\n"
                       "  moonring check -c moonring.yaml --format json | jq .findings\n"
                       "  moonring check -c /tmp/moonring.yaml.new --as /etc/moonring/moonring.yaml\n"
                       "  generate | moonring check -c -\n",
                       0, 0},
    [COMMAND_CONFIG_DUMP] = {"config dump", "print a whole configuration, defaults and included files in it",
                             "moonring config dump -c FILE [--as PATH]",
                             "\nWhat is printed means the same as FILE, wherever it lies.\n", 0, 0},
    [COMMAND_CONFIG_SCHEMA] = {"config schema", "print a JSON Schema of the configuration, for editors",
                               "moonring config schema",
                               "\nexample:\n"
                               "  moonring config schema > moonring.schema.json\n"
                               "and then, as the first line of moonring.yaml:\n"
                               "  # yaml-language-server: $schema=moonring.schema.json\n",
                               0, 0},
    [COMMAND_CONFIG_EXPLAIN] = {"config explain", "tell what a key means, what it may be and what it is by default",
                                "moonring config explain [KEY.PATH]",
                                "\nexamples:\n"
                                "  moonring config explain\n"
                                "  moonring config explain listeners.*.timeouts.idle\n"
                                "  moonring config explain upstreams.*.servers[].weight\n",
                                0, 1},
    [COMMAND_CTL] =
        {"ctl", "tell a running moonring what to do, or ask how it does",
         "moonring ctl [-c FILE | --socket ADDR] ORDER [OPTIONS]",
         "\nFILE's admin.bind says where it takes orders; `moonring ctl ORDER --help` tells more.\n" CTL_EXIT, 0, 0},
    [COMMAND_CTL_STATUS] = {"ctl status", "what it is and how it does: versions, ages, listeners, workers",
                            "moonring ctl status [--json]", CTL_EXIT, 0, 0},
    [COMMAND_CTL_GENERATIONS] = {"ctl generations", "the configurations that sessions are open in",
                                 "moonring ctl generations [--json]", CTL_EXIT, 0, 0},
    [COMMAND_CTL_SESSIONS] = {"ctl sessions", "the sessions that are open, the oldest first",
                              "moonring ctl sessions [FILTERS] [--limit N] [--json]",
                              "\nSeveral filters hold together.\n"
                              "\nexamples:\n"
                              "  moonring ctl sessions --listener web --older 1h\n"
                              "  moonring ctl sessions --client 10.0.0.0/8 --state connecting\n"
                              "  moonring ctl sessions --json | jq '.sessions[].client'\n" CTL_EXIT,
                              0, 0},
    [COMMAND_CTL_KILL] =
        {"ctl kill", "close sessions, and say how many",
         "moonring ctl kill FILTERS [--json]\nmoonring ctl kill --all [--json]",
         "\nSeveral filters hold together. A stream that flows is reset, since it is cut; one that has been\n"
         "quiet for a second ends in order. The access log gives the reason `killed`.\n"
         "\nexamples:\n"
         "  moonring ctl kill --id 4711\n"
         "  moonring ctl kill --server db1 --older 8h\n"
         "  moonring ctl kill --generation '<41'\n" CTL_EXIT,
         0, 0},
    [COMMAND_CTL_METRICS] = {"ctl metrics", "all counters, in Prometheus' text format", "moonring ctl metrics",
                             CTL_EXIT, 0, 0},
    [COMMAND_CTL_UPSTREAMS] = {"ctl upstreams", "servers: state and why, weight, sessions, checks",
                               "moonring ctl upstreams [UPSTREAM] [--json]", CTL_EXIT, 0, 1},
    [COMMAND_CTL_DRAIN] = {"ctl drain", "give a server no new sessions; those that it has go on",
                           "moonring ctl drain UPSTREAM/SERVER", SERVER_WISH CTL_EXIT, 1, 1},
    [COMMAND_CTL_DISABLE] = {"ctl disable", "as drain, without checks; on_server_down holds for its sessions",
                             "moonring ctl disable UPSTREAM/SERVER", SERVER_WISH CTL_EXIT, 1, 1},
    [COMMAND_CTL_ENABLE] = {"ctl enable", "take a server back that was drained, disabled or ejected",
                            "moonring ctl enable UPSTREAM/SERVER",
                            "\nOne that its checks find down stays down until they pass.\n" CTL_EXIT, 1, 1},
    [COMMAND_CTL_WEIGHT] = {"ctl weight", "give a server another weight, or its configured one again",
                            "moonring ctl weight UPSTREAM/SERVER [1-1000]", SERVER_WISH CTL_EXIT, 1, 2},
    [COMMAND_CTL_RELOAD] = {"ctl reload", "read the configuration and its filters again, and tell what became of it",
                            "moonring ctl reload [--json]",
                            "\nAs SIGHUP, but it waits for the result.\n"
                            "\nexit status: 0 applied, or nothing has changed; 2 refused; 3 nobody answers\n",
                            0, 0},
    [COMMAND_CTL_PLAN] = {"ctl plan", "tell what a reload would change, and change nothing",
                          "moonring ctl plan [--json]",
                          "\nIt does everything that a reload does up to the first effect, and undoes it.\n"
                          "\nexit status: 0 it would be applied; 2 it would be refused; 3 nobody answers\n",
                          0, 0},
    [COMMAND_CTL_ROLLBACK] = {"ctl rollback", "return to the configuration before this one",
                              "moonring ctl rollback [--json]",
                              "\nWhatever the file says now. Twice: there and back.\n" CTL_EXIT, 0, 0},
    [COMMAND_CTL_LOG_LEVEL] = {"ctl log-level", "show the error log's level, or set it until the next reload",
                               "moonring ctl log-level [error|warn|info|debug|trace] [--json]", CTL_EXIT, 0, 1},
    [COMMAND_DOCTOR] = {"doctor", "look at this machine: kernel, io_uring, limits, settings that matter",
                        "moonring doctor",
                        "\nEach line is [ok], [advice] or [problem]; advice comes with the command to type.\n"
                        "The exit status is 1 if there is a problem that keeps moonring from running.\n",
                        0, 0},
    [COMMAND_MANUAL] = {"manual", "print a manual page, for man", "moonring manual moonring.1|moonring.yaml.5",
                        "\nexample:\n"
                        "  moonring manual moonring.yaml.5 | man -l -\n",
                        1, 1},
    [COMMAND_COMPLETION] = {"completion", "print a script that completes command lines in bash", "moonring completion",
                            "\nexample:\n"
                            "  source <(moonring completion)\n",
                            0, 0},
    [COMMAND_VERSION] = {"version", "print the version and what this binary was made of", "moonring version", "", 0, 0},
    [COMMAND_HELP] = {"help", "explain a command", "moonring help [COMMAND]", "", 0, 0},
};

#define IN(command) (UINT64_C(1) << (command))
/* What is about some sessions. */
#define IN_FILTERED (IN(COMMAND_CTL_SESSIONS) | IN(COMMAND_CTL_KILL))
/* What has its answer as JSON, too. */
#define IN_JSON                                                                                                        \
    (IN(COMMAND_CTL_STATUS) | IN_FILTERED | IN(COMMAND_CTL_GENERATIONS) | IN(COMMAND_CTL_RELOAD) |                     \
     IN(COMMAND_CTL_PLAN) | IN(COMMAND_CTL_ROLLBACK) | IN(COMMAND_CTL_LOG_LEVEL) | IN(COMMAND_CTL_UPSTREAMS))
/* What is about a server. */
#define IN_SERVER_WISH                                                                                                 \
    (IN(COMMAND_CTL_DRAIN) | IN(COMMAND_CTL_DISABLE) | IN(COMMAND_CTL_ENABLE) | IN(COMMAND_CTL_WEIGHT))
/* What goes to the admin socket. */
#define IN_CTL (IN(COMMAND_CTL) | IN(COMMAND_CTL_METRICS) | IN_SERVER_WISH | IN_JSON)

static const struct option_row OPTIONS[OPTIONS_COUNT] = {
    [OPTION_CONFIG] = {'c', "config", "FILE", IN(COMMAND_RUN) | IN(COMMAND_CHECK) | IN(COMMAND_CONFIG_DUMP) | IN_CTL,
                       "the configuration, YAML; - reads standard input"},
    [OPTION_LISTEN] = {'l', "listen", "ADDR[,ADDR...]", IN(COMMAND_RUN), "accept connections here; may be repeated"},
    [OPTION_TO] = {'t', "to", "ADDR[,ADDR...]", IN(COMMAND_RUN), "relay them to these servers; may be repeated"},
    [OPTION_FILTER] = {'f', "filter", "FILE.lua", IN(COMMAND_RUN),
                       "a script that sees the sessions; may be repeated, client's end first"},
    [OPTION_TRACE] = {0, "trace", NULL, IN(COMMAND_RUN), "print what each hook of each filter does"},
    [OPTION_PRINT_CONFIG] = {0, "print-config", NULL, IN(COMMAND_RUN), "print the whole configuration and exit"},
    [OPTION_AS] = {0, "as", "PATH", IN(COMMAND_CHECK) | IN(COMMAND_CONFIG_DUMP),
                   "take FILE as if it lay at PATH (relative names, messages)"},
    [OPTION_FORMAT] = {0, "format", "text|json", IN(COMMAND_CHECK), "how to print what is wrong; default: text"},
    [OPTION_SOCKET] = {0, "socket", "ADDR", IN_CTL, "where it takes orders; default: unix:/run/moonring/admin.sock"},
    [OPTION_LISTENER] = {0, "listener", "NAME", IN_FILTERED, "of this listener"},
    [OPTION_SERVER] = {0, "server", "SERVER", IN_FILTERED, "on this server: NAME or UPSTREAM/NAME"},
    [OPTION_CLIENT] = {0, "client", "CIDR", IN_FILTERED, "of clients with this address, or of this block"},
    [OPTION_STATE] = {0, "state", "STATE", IN_FILTERED,
                      "introducing|routing|connecting|greeting|relaying|resetting|lingering"},
    [OPTION_OLDER] = {0, "older", "DURATION", IN_FILTERED, "accepted longer ago than that: 30s, 5m, 2h"},
    [OPTION_GENERATION] = {0, "generation", "[<|>]N", IN_FILTERED,
                           "that began in generation N, before or after it; <=N, >=N"},
    [OPTION_ID] = {0, "id", "N", IN_FILTERED, "the one with this id"},
    [OPTION_ALL] = {0, "all", NULL, IN(COMMAND_CTL_KILL), "every session"},
    [OPTION_LIMIT] = {0, "limit", "N", IN(COMMAND_CTL_SESSIONS), "at most the N oldest of them"},
    [OPTION_JSON] = {0, "json", NULL, IN_JSON, "answer with JSON, for programs"},
    [OPTION_HELP] = {'h', "help", NULL, UINT64_MAX, "explain"},
};

/* --- looking things up ------------------------------------------------------------------------------------------ */

const struct command_row *command_row(enum command command) {
    return &COMMANDS[command];
}

const struct option_row *option_row(enum option option) {
    return &OPTIONS[option];
}

bool option_belongs(enum option option, enum command command) {
    return (OPTIONS[option].commands & IN(command)) != 0;
}

const char *command_second_word(enum command command) {
    const char *blank = strchr(COMMANDS[command].name, ' ');
    return blank != NULL ? blank + 1 : NULL;
}

bool command_has_first_word(enum command command, const char *word) {
    size_t size = strcspn(COMMANDS[command].name, " ");
    return strlen(word) == size && memcmp(word, COMMANDS[command].name, size) == 0;
}

bool command_is_order(enum command command) {
    return command_has_first_word(command, "ctl") && command != COMMAND_CTL;
}

/* --- help ------------------------------------------------------------------------------------------------------- */

static void print_usage(const char *lines, FILE *out) {
    const char *before = "usage: ";
    while (*lines != 0) {
        size_t size = strcspn(lines, "\n");
        fprintf(out, "%s%.*s\n", before, (int)size, lines);
        before = "       ";
        lines += size + (lines[size] == '\n');
    }
}
/* Those of one group (`config`, `ctl`) by their second words; NULL: all, but the orders of `ctl` as one. */
static void print_commands(const char *group, FILE *out) {
    fprintf(out, "\n%s:\n", group == NULL ? "commands" : "orders");
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        bool belongs =
            group == NULL ? !command_is_order(i) : command_second_word(i) != NULL && command_has_first_word(i, group);
        if (belongs) {
            fprintf(out, "  %-14s %s\n", group == NULL ? COMMANDS[i].name : command_second_word(i),
                    COMMANDS[i].summary);
        }
    }
}

static void print_options(enum command command, FILE *out) {
    fprintf(out, "\noptions:\n");
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option_row *option = &OPTIONS[i];
        if (!option_belongs((enum option)i, command)) {
            continue;
        }
        char spelling[40];
        snprintf(spelling, sizeof(spelling), "--%s %s", option->name, option->value != NULL ? option->value : "");
        fprintf(out, "  %c%c%c %-24s %s\n", option->letter != 0 ? '-' : ' ', option->letter != 0 ? option->letter : ' ',
                option->letter != 0 ? ',' : ' ', spelling, option->help);
    }
}

static void print_program_help(FILE *out) {
    fprintf(out, "moonring - a TCP reverse proxy on io_uring\n\n");
    print_usage(COMMANDS[COMMAND_NONE].usage, out);
    print_commands(NULL, out);
    fprintf(out, "\nexamples:\n"
                 "  moonring run -l :5432 -t 10.0.0.11:5432,10.0.0.12:5432\n"
                 "  moonring run -c /etc/moonring/moonring.yaml\n"
                 "  moonring help run\n"
                 "\nexit status: 0 fine, 1 failed while running, 2 wrong usage or configuration\n");
}

void command_print_help(enum command about, FILE *out) {
    const struct command_row *command = &COMMANDS[about];
    if (about == COMMAND_NONE) {
        print_program_help(out);
        return;
    }
    fprintf(out, "moonring %s - %s\n\n", command->name, command->summary);
    print_usage(command->usage, out);
    if (about == COMMAND_CTL) {
        print_commands(command->name, out);
    }
    print_options(about, out);
    fprintf(out, "%s", command->more);
}

void command_print_usage(FILE *out) {
    print_usage(COMMANDS[COMMAND_NONE].usage, out);
    print_commands(NULL, out);
    fprintf(out, "\n`moonring help` tells more.\n");
}
