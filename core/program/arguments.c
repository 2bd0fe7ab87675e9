#include "program/arguments.h"

#include "config/nearest.h"

#include <ctype.h>
#include <string.h>

/* --- what there is ---------------------------------------------------------------------------------------------- */

struct command_row {
    const char *name;
    const char *summary;
    const char *usage; /* lines, each but the last with its newline */
    const char *more;  /* what stands below the options; "" or lines with their newlines */
};

#define ADDRESSES_HELP                                                                                                 \
    "\naddresses:\n"                                                                                                   \
    "  10.0.0.1:80  [::1]:80  unix:/run/app.sock  unix:@abstract\n"                                                    \
    "  :80          to listen on: every address of this machine, IPv6 and IPv4\n"                                      \
    "  name:80      to connect to: every address of that host\n"

static const struct command_row COMMANDS[] = {
    [COMMAND_NONE] = {"", "", "moonring COMMAND [OPTIONS]", ""},
    [COMMAND_RUN] =
        {"run", "relay connections until a signal ends it",
         "moonring run -c FILE [--print-config]\n"
         "moonring run -l ADDR[,ADDR...] -t ADDR[,ADDR...] [--print-config]",
         ADDRESSES_HELP
         "\nexamples:\n"
         "  moonring run -c /etc/moonring/moonring.yaml\n"
         "  moonring run -l :5432 -t 10.0.0.11:5432,10.0.0.12:5432\n"
         "  moonring run -l 127.0.0.1:6379 -t unix:/run/redis/redis.sock\n"
         "\nsignals:\n"
         "  TERM  drain: accept nothing new, let sessions end; a second one stops at once\n"
         "  INT   stop at once\n"
         "  USR1  open the logs again\n"
         "  USR2  print sessions and counters to the error log\n"
         "\nwithout a file there is one worker; with one, a worker for each CPU unless it says otherwise\n"},
    [COMMAND_CHECK] = {"check", "tell every mistake in a configuration, and change nothing",
                       "moonring check -c FILE [--as PATH]",
                       "\nexamples:\n"
                       "  moonring check -c moonring.yaml\n"
                       "  moonring check -c /tmp/moonring.yaml.new --as /etc/moonring/moonring.yaml\n"
                       "  generate | moonring check -c -\n"},
    [COMMAND_DOCTOR] = {"doctor", "look at this machine: kernel, io_uring, limits, settings that matter",
                        "moonring doctor",
                        "\nEach line is [ok], [advice] or [problem]; advice comes with the command to type.\n"
                        "The exit status is 1 if there is a problem that keeps moonring from running.\n"},
    [COMMAND_VERSION] = {"version", "print the version and what this binary was made of", "moonring version", ""},
    [COMMAND_DEMO_SERVER] = {"demo-server", "small web servers to try moonring with",
                             "moonring demo-server -l ADDR[,ADDR...] [-- COMMAND [ARGUMENTS]]",
                             "\nEach address becomes a server of its own, named A, B, C..., that tells its name.\n"
                             "With a COMMAND the servers live as long as it runs.\n"
                             "\nexamples:\n"
                             "  moonring demo-server -l 127.0.0.1:9001,127.0.0.1:9002\n"
                             "  moonring demo-server -l 127.0.0.1:9001 -- curl http://127.0.0.1:9001/\n"},
    [COMMAND_HELP] = {"help", "explain a command", "moonring help [COMMAND]", ""},
};
enum { COMMANDS_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

enum option { OPTION_CONFIG, OPTION_LISTEN, OPTION_TO, OPTION_PRINT_CONFIG, OPTION_AS, OPTION_HELP };

struct option_row {
    char letter; /* 0: none */
    const char *name;
    const char *value; /* its name in help; NULL: takes none */
    unsigned commands; /* a bit for each */
    const char *help;
};

#define IN(command) (1U << (command))

static const struct option_row OPTIONS[] = {
    [OPTION_CONFIG] = {'c', "config", "FILE", IN(COMMAND_RUN) | IN(COMMAND_CHECK),
                       "the configuration, YAML; - reads standard input"},
    [OPTION_LISTEN] = {'l', "listen", "ADDR[,ADDR...]", IN(COMMAND_RUN) | IN(COMMAND_DEMO_SERVER),
                       "accept connections here; may be repeated"},
    [OPTION_TO] = {'t', "to", "ADDR[,ADDR...]", IN(COMMAND_RUN), "relay them to these servers; may be repeated"},
    [OPTION_PRINT_CONFIG] = {0, "print-config", NULL, IN(COMMAND_RUN), "print the whole configuration and exit"},
    [OPTION_AS] = {0, "as", "PATH", IN(COMMAND_CHECK), "check FILE as if it lay at PATH (relative names, messages)"},
    [OPTION_HELP] = {'h', "help", NULL, ~0U, "explain"},
};
enum { OPTIONS_COUNT = sizeof(OPTIONS) / sizeof(OPTIONS[0]) };

static bool option_belongs(const struct option_row *option, enum command command) {
    return (option->commands & IN(command)) != 0;
}

/* --- commands --------------------------------------------------------------------------------------------------- */

static bool command_refuse(const char *word, struct error *error) {
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        nearest_offer(&nearest, COMMANDS[i].name);
    }
    if (nearest.best != NULL) {
        return error_set(error, "unknown command \"%.80s\"; did you mean \"%s\"?", word, nearest.best);
    }
    if (word[0] == '-') {
        return error_set(error, "\"%.80s\" stands before a command; try: moonring run %.80s ...", word, word);
    }
    return error_set(error, "unknown command \"%.80s\"; there are: run check doctor version demo-server help", word);
}

static bool command_find(enum command *command, const char *word, struct error *error) {
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        if (strcmp(word, COMMANDS[i].name) == 0) {
            *command = (enum command)i;
            return true;
        }
    }
    return command_refuse(word, error);
}

/* The first word: a command, or what people type before they know that there are commands. */
static bool command_parse(enum command *command, const char *word, struct error *error) {
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        *command = COMMAND_HELP;
        return true;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        *command = COMMAND_VERSION;
        return true;
    }
    return command_find(command, word, error);
}

/* --- options ---------------------------------------------------------------------------------------------------- */

/* The words that are left, and the command they belong to. */
struct parser {
    struct arguments *arguments;
    const char *command; /* its name, for messages */
    char **next;         /* ends with NULL */
    struct error *error;
};

/* `word` is what was typed; the option's name is in there. */
static bool option_refuse(const struct parser *parser, const char *word, const char *name, size_t name_size) {
    char typed[32];
    struct nearest nearest;
    snprintf(typed, sizeof(typed), "%.*s", (int)name_size, name);
    nearest_init(&nearest, typed);
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (option_belongs(&OPTIONS[i], parser->arguments->command)) {
            nearest_offer(&nearest, OPTIONS[i].name);
        }
    }
    if (nearest.best != NULL) {
        return error_set(parser->error, "%s: unknown option \"%.80s\"; did you mean \"--%s\"?", parser->command, word,
                         nearest.best);
    }
    return error_set(parser->error, "%s: unknown option \"%.80s\"; see: moonring %s --help", parser->command, word,
                     parser->command);
}

/* An option of the tables that this command does not have. */
static bool option_misplaced(const struct parser *parser, const struct option_row *option) {
    char owners[64] = "";
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        if (option_belongs(option, (enum command)i)) {
            size_t used = strlen(owners);
            snprintf(owners + used, sizeof(owners) - used, "%s%s", used > 0 ? " and " : "", COMMANDS[i].name);
        }
    }
    return error_set(parser->error, "%s: --%s is an option of %s", parser->command, option->name, owners);
}

static bool option_is_named(const struct option_row *option, const char *name, size_t name_size) {
    return strlen(option->name) == name_size && memcmp(option->name, name, name_size) == 0;
}

/* `-config`: with one dash it would be -c with the value "onfig". */
static bool option_lacks_a_dash(const char *word) {
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (option_is_named(&OPTIONS[i], word + 1, strcspn(word + 1, "="))) {
            return true;
        }
    }
    return false;
}

/* `--name`, `--name=value`, `-n`, `-nvalue`: finds the option, and the value that is stuck to it (NULL: none). */
static bool option_find(const struct parser *parser, const char *word, enum option *option, const char **value) {
    bool is_long = word[1] == '-';
    const char *name = word + (is_long ? 2 : 1);
    size_t name_size = is_long ? strcspn(name, "=") : 1;
    if (option_lacks_a_dash(word)) {
        return option_refuse(parser, word, name, strcspn(name, "="));
    }
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        if (is_long ? !option_is_named(&OPTIONS[i], name, name_size) : OPTIONS[i].letter != name[0]) {
            continue;
        }
        if (!option_belongs(&OPTIONS[i], parser->arguments->command)) {
            return option_misplaced(parser, &OPTIONS[i]);
        }
        *option = (enum option)i;
        *value = name[name_size] == 0 ? NULL : name + name_size + (is_long ? 1 : 0);
        return true;
    }
    return option_refuse(parser, word, name, name_size);
}

/* An option's value: stuck to it or the next word, unless that is another option. */
static bool option_take_value(struct parser *parser, const struct option_row *option, const char **value) {
    if (option->value == NULL) {
        return *value == NULL || error_set(parser->error, "%s: --%s takes no value", parser->command, option->name);
    }
    const char *following = *parser->next;
    if (*value == NULL && following != NULL && (following[0] != '-' || following[1] == 0)) {
        *value = *parser->next++;
    }
    if (*value == NULL || **value == 0) {
        return error_set(parser->error, "%s: --%s needs a value: --%s %s", parser->command, option->name, option->name,
                         option->value);
    }
    return true;
}

static bool path_set(const struct parser *parser, const char **path, enum option option, const char *value) {
    if (*path != NULL) {
        return error_set(parser->error, "%s: --%s is given twice", parser->command, OPTIONS[option].name);
    }
    *path = value;
    return true;
}

static bool address_is_plain(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (iscntrl((unsigned char)text[i])) {
            return false;
        }
    }
    return size > 0;
}

static bool addresses_add(const struct parser *parser, struct argument_addresses *addresses, enum option option,
                          const char *value) {
    for (const char *text = value;; text++) {
        size_t size = strcspn(text, ",");
        if (!address_is_plain(text, size)) {
            return error_set(parser->error, "%s: --%s \"%.80s\": an address is %s", parser->command,
                             OPTIONS[option].name, value, size == 0 ? "empty" : "not printable");
        }
        if (addresses->count == ARGUMENTS_ADDRESSES_MAX) {
            return error_set(parser->error, "%s: more than %d addresses for --%s", parser->command,
                             ARGUMENTS_ADDRESSES_MAX, OPTIONS[option].name);
        }
        addresses->items[addresses->count++] = (struct argument_address){text, size};
        text += size;
        if (*text == 0) {
            return true;
        }
    }
}

static bool option_apply(struct parser *parser, enum option option, const char *value) {
    struct arguments *arguments = parser->arguments;
    switch (option) {
    case OPTION_CONFIG:
        return path_set(parser, &arguments->config_path, option, value);
    case OPTION_AS:
        return path_set(parser, &arguments->as_path, option, value);
    case OPTION_LISTEN:
        return addresses_add(parser, &arguments->listen, option, value);
    case OPTION_TO:
        return addresses_add(parser, &arguments->to, option, value);
    case OPTION_PRINT_CONFIG:
        arguments->print_config = true;
        return true;
    case OPTION_HELP:
        arguments->help_about = arguments->command;
        arguments->command = COMMAND_HELP;
        return true;
    }
    return false;
}

static bool option_parse(struct parser *parser, const char *word) {
    enum option option = OPTION_HELP;
    const char *value = NULL;
    return option_find(parser, word, &option, &value) && option_take_value(parser, &OPTIONS[option], &value) &&
           option_apply(parser, option, value);
}

/* --- words that are no options ---------------------------------------------------------------------------------- */

static bool word_parse(const struct parser *parser, const char *word) {
    struct arguments *arguments = parser->arguments;
    if (arguments->command == COMMAND_HELP && arguments->help_about == COMMAND_NONE) {
        return command_find(&arguments->help_about, word, parser->error);
    }
    if (option_belongs(&OPTIONS[OPTION_CONFIG], arguments->command)) {
        return error_set(parser->error,
                         "%s: unexpected \"%.80s\"; a configuration is named by -c: moonring %s -c %.80s",
                         parser->command, word, parser->command, word);
    }
    return error_set(parser->error, "%s: unexpected \"%.80s\"; see: moonring %s --help", parser->command, word,
                     parser->command);
}

/* What follows `--`. */
static bool wrapped_parse(struct parser *parser) {
    if (parser->arguments->command != COMMAND_DEMO_SERVER) {
        return *parser->next == NULL || word_parse(parser, *parser->next);
    }
    if (*parser->next == NULL) {
        return error_set(parser->error, "%s: a command must follow --", parser->command);
    }
    parser->arguments->wrapped = parser->next;
    return true;
}

/* --- what must come together ------------------------------------------------------------------------------------ */

static bool run_complete(const struct arguments *arguments, struct error *error) {
    bool has_listen = arguments->listen.count > 0;
    bool has_to = arguments->to.count > 0;
    if (arguments->config_path != NULL && (has_listen || has_to)) {
        return error_set(error, "run: --config and --%s exclude each other: the file names the addresses",
                         has_listen ? "listen" : "to");
    }
    if (has_listen != has_to) {
        return error_set(error, "run: --%s needs --%s: moonring run -l ADDR -t ADDR", has_listen ? "listen" : "to",
                         has_listen ? "to" : "listen");
    }
    if (arguments->config_path == NULL && !has_listen) {
        return error_set(error, "run: what to relay is missing; either a file or addresses:\n"
                                "  moonring run -c /etc/moonring/moonring.yaml\n"
                                "  moonring run -l :5432 -t 10.0.0.11:5432,10.0.0.12:5432");
    }
    return true;
}

static bool arguments_complete(const struct arguments *arguments, struct error *error) {
    switch (arguments->command) {
    case COMMAND_RUN:
        return run_complete(arguments, error);
    case COMMAND_CHECK:
        return arguments->config_path != NULL ||
               error_set(error, "check: which file? moonring check -c /etc/moonring/moonring.yaml");
    case COMMAND_DEMO_SERVER:
        return arguments->listen.count > 0 ||
               error_set(error, "demo-server: on which address? moonring demo-server -l 127.0.0.1:9001,127.0.0.1:9002");
    case COMMAND_NONE:
    case COMMAND_DOCTOR:
    case COMMAND_VERSION:
    case COMMAND_HELP:
        return true;
    }
    return false;
}

bool arguments_parse(struct arguments *arguments, int argc, char **argv, struct error *error) {
    *arguments = (struct arguments){.command = COMMAND_NONE};
    if (argc < 2) {
        return true;
    }
    if (!command_parse(&arguments->command, argv[1], error)) {
        return false;
    }
    struct parser parser = {arguments, COMMANDS[arguments->command].name, argv + 2, error};
    while (*parser.next != NULL) {
        const char *word = *parser.next++;
        if (strcmp(word, "--") == 0) {
            if (!wrapped_parse(&parser)) {
                return false;
            }
            break;
        }
        bool is_option = word[0] == '-' && word[1] != 0;
        if (is_option ? !option_parse(&parser, word) : !word_parse(&parser, word)) {
            return false;
        }
        if (arguments->command == COMMAND_HELP && arguments->help_about != COMMAND_NONE) {
            break; /* `run -l :80 --help`: who asks for help need not get the rest right */
        }
    }
    return arguments_complete(arguments, error);
}

/* --- as YAML ---------------------------------------------------------------------------------------------------- */

/* Single quotes: between them YAML gives a meaning to nothing but the quote itself. */
static void yaml_append_quoted(struct bytes *yaml, const struct argument_address *address) {
    bytes_append_char(yaml, '\'');
    for (size_t i = 0; i < address->size; i++) {
        if (address->text[i] == '\'') {
            bytes_append_char(yaml, '\'');
        }
        bytes_append_char(yaml, address->text[i]);
    }
    bytes_append_char(yaml, '\'');
}

static void yaml_append_list(struct bytes *yaml, const char *key, const struct argument_addresses *addresses) {
    bytes_printf(yaml, "    %s:\n", key);
    for (size_t i = 0; i < addresses->count; i++) {
        bytes_append_text(yaml, "      - ");
        yaml_append_quoted(yaml, &addresses->items[i]);
        bytes_append_char(yaml, '\n');
    }
}

void arguments_to_yaml(const struct arguments *arguments, struct bytes *yaml) {
    bytes_append_text(yaml, "listeners:\n  main:\n");
    yaml_append_list(yaml, "bind", &arguments->listen);
    bytes_append_text(yaml, "    upstream: main\nupstreams:\n  main:\n");
    yaml_append_list(yaml, "servers", &arguments->to);
    bytes_append_text(yaml, "process:\n  workers: 1\n");
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

static void print_commands(FILE *out) {
    fprintf(out, "\ncommands:\n");
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        fprintf(out, "  %-12s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
    }
}

static void print_options(enum command command, FILE *out) {
    fprintf(out, "\noptions:\n");
    for (size_t i = 0; i < OPTIONS_COUNT; i++) {
        const struct option_row *option = &OPTIONS[i];
        if (!option_belongs(option, command)) {
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
    print_commands(out);
    fprintf(out, "\nexamples:\n"
                 "  moonring run -l :5432 -t 10.0.0.11:5432,10.0.0.12:5432\n"
                 "  moonring run -c /etc/moonring/moonring.yaml\n"
                 "  moonring help run\n"
                 "\nexit status: 0 fine, 1 failed while running, 2 wrong usage or configuration\n");
}

void arguments_print_help(enum command about, FILE *out) {
    const struct command_row *command = &COMMANDS[about];
    if (about == COMMAND_NONE) {
        print_program_help(out);
        return;
    }
    fprintf(out, "moonring %s - %s\n\n", command->name, command->summary);
    print_usage(command->usage, out);
    print_options(about, out);
    fprintf(out, "%s", command->more);
}

void arguments_print_usage(FILE *out) {
    print_usage(COMMANDS[COMMAND_NONE].usage, out);
    print_commands(out);
    fprintf(out, "\n`moonring help` tells more.\n");
}
