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
         "\nwithout a file there is one worker; with one, a worker for each CPU unless it says otherwise\n"},
    [COMMAND_CHECK] = {"check", "tell every mistake in a configuration, and change nothing",
                       "moonring check -c FILE [--as PATH] [--format text|json]",
                       "\nexamples:\n"
                       "  moonring check -c moonring.yaml\n"
                       "  moonring check -c moonring.yaml --format json | jq .findings\n"
                       "  moonring check -c /tmp/moonring.yaml.new --as /etc/moonring/moonring.yaml\n"
                       "  generate | moonring check -c -\n"},
    [COMMAND_CONFIG_DUMP] = {"config dump", "print a whole configuration, defaults and included files in it",
                             "moonring config dump -c FILE [--as PATH]",
                             "\nWhat is printed means the same as FILE, wherever it lies.\n"},
    [COMMAND_CONFIG_SCHEMA] = {"config schema", "print a JSON Schema of the configuration, for editors",
                               "moonring config schema",
                               "\nexample:\n"
                               "  moonring config schema > moonring.schema.json\n"
                               "and then, as the first line of moonring.yaml:\n"
                               "  # yaml-language-server: $schema=moonring.schema.json\n"},
    [COMMAND_CONFIG_EXPLAIN] = {"config explain", "tell what a key means, what it may be and what it is by default",
                                "moonring config explain [KEY.PATH]",
                                "\nexamples:\n"
                                "  moonring config explain\n"
                                "  moonring config explain listeners.*.timeouts.idle\n"
                                "  moonring config explain upstreams.*.servers[].weight\n"},
    [COMMAND_CTL] = {"ctl", "tell a running moonring what to do, or ask how it does",
                     "moonring ctl [-c FILE | --socket ADDR] ORDER",
                     "\norders:\n"
                     "  reload       read the configuration and its filters again, and tell what became of it\n"
                     "  plan         tell what a reload would change, and change nothing\n"
                     "  rollback     return to the configuration before this one\n"
                     "  status       what it is and how it does\n"
                     "  generations  the configurations that sessions are open in\n"
                     "  sessions     a line for each session\n"
                     "  metrics      all counters, in Prometheus' text format\n"
                     "\nexit status: 0 done, or nothing was to be done; 2 refused; 3 nobody answers\n"},
    [COMMAND_DOCTOR] = {"doctor", "look at this machine: kernel, io_uring, limits, settings that matter",
                        "moonring doctor",
                        "\nEach line is [ok], [advice] or [problem]; advice comes with the command to type.\n"
                        "The exit status is 1 if there is a problem that keeps moonring from running.\n"},
    [COMMAND_VERSION] = {"version", "print the version and what this binary was made of", "moonring version", ""},
    [COMMAND_HELP] = {"help", "explain a command", "moonring help [COMMAND]", ""},
};
enum { COMMANDS_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

enum option {
    OPTION_CONFIG,
    OPTION_LISTEN,
    OPTION_TO,
    OPTION_FILTER,
    OPTION_TRACE,
    OPTION_PRINT_CONFIG,
    OPTION_AS,
    OPTION_FORMAT,
    OPTION_SOCKET,
    OPTION_HELP,
};

struct option_row {
    char letter; /* 0: none */
    const char *name;
    const char *value; /* its name in help; NULL: takes none */
    unsigned commands; /* a bit for each */
    const char *help;
};

#define IN(command) (1U << (command))

static const struct option_row OPTIONS[] = {
    [OPTION_CONFIG] = {'c', "config", "FILE",
                       IN(COMMAND_RUN) | IN(COMMAND_CHECK) | IN(COMMAND_CONFIG_DUMP) | IN(COMMAND_CTL),
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
    [OPTION_SOCKET] = {0, "socket", "ADDR", IN(COMMAND_CTL),
                       "where it takes orders; default: unix:/run/moonring/admin.sock"},
    [OPTION_HELP] = {'h', "help", NULL, ~0U, "explain"},
};
enum { OPTIONS_COUNT = sizeof(OPTIONS) / sizeof(OPTIONS[0]) };

static bool option_belongs(const struct option_row *option, enum command command) {
    return (option->commands & IN(command)) != 0;
}

/* --- commands --------------------------------------------------------------------------------------------------- */

static bool command_refuse(const char *word, struct error *error) {
    char names[COMMANDS_COUNT][16]; /* of commands of two words, the first */
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "%.*s", (int)strcspn(COMMANDS[i].name, " "), COMMANDS[i].name);
        nearest_offer(&nearest, names[i]);
    }
    if (nearest.best != NULL) {
        return error_set(error, "unknown command \"%.80s\"; did you mean \"%s\"?", word, nearest.best);
    }
    if (word[0] == '-') {
        return error_set(error, "\"%.80s\" stands before a command; try: moonring run %.80s ...", word, word);
    }
    return error_set(error, "unknown command \"%.80s\"; there are: run check config doctor version help", word);
}

/* Behind the first of two words: `dump` of `config dump`; NULL: it is one word. */
static const char *command_second_word(enum command command) {
    const char *blank = strchr(COMMANDS[command].name, ' ');
    return blank != NULL ? blank + 1 : NULL;
}

static bool command_has_first_word(enum command command, const char *word) {
    size_t size = strcspn(COMMANDS[command].name, " ");
    return strlen(word) == size && memcmp(word, COMMANDS[command].name, size) == 0;
}

/* The first of two words was right. */
static bool command_refuse_second(const char *first, const char *second, struct error *error) {
    char names[64] = "";
    struct nearest nearest;
    nearest_init(&nearest, second != NULL ? second : "");
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        if (command_has_first_word((enum command)i, first)) {
            size_t used = strlen(names);
            const char *name = command_second_word((enum command)i);
            snprintf(names + used, sizeof(names) - used, "%s%s", used > 0 ? ", " : "", name);
            nearest_offer(&nearest, name);
        }
    }
    if (nearest.best != NULL) {
        return error_set(error, "unknown command \"%s %.80s\"; did you mean \"%s %s\"?", first, second, first,
                         nearest.best);
    }
    return error_set(error, "%s: which one? there are: %s", first, names);
}

/* Takes the word or the two words of a command. */
static bool command_find(enum command *command, char ***words, struct error *error) {
    const char *first = *(*words)++;
    bool first_is_right = false;
    for (size_t i = COMMAND_RUN; i < COMMANDS_COUNT; i++) {
        const char *wanted = command_second_word((enum command)i);
        if (!command_has_first_word((enum command)i, first)) {
            continue;
        }
        first_is_right = true;
        if (wanted == NULL || (**words != NULL && strcmp(**words, wanted) == 0)) {
            *command = (enum command)i;
            *words += wanted != NULL;
            return true;
        }
    }
    return first_is_right ? command_refuse_second(first, **words, error) : command_refuse(first, error);
}

/* The first word: a command, or what people type before they know that there are commands. */
static bool command_parse(enum command *command, char ***words, struct error *error) {
    const char *word = **words;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        ++*words;
        *command = COMMAND_HELP;
        return true;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        ++*words;
        *command = COMMAND_VERSION;
        return true;
    }
    return command_find(command, words, error);
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

static bool text_is_plain(const char *text, size_t size) {
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
        if (!text_is_plain(text, size)) {
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

static bool filter_add(const struct parser *parser, const char *path) {
    struct arguments *arguments = parser->arguments;
    if (!text_is_plain(path, strlen(path))) {
        return error_set(parser->error, "%s: --filter \"%.80s\": a path is not printable", parser->command, path);
    }
    if (arguments->filters_count == ARGUMENTS_FILTERS_MAX) {
        return error_set(parser->error, "%s: more than %d times --filter", parser->command, ARGUMENTS_FILTERS_MAX);
    }
    arguments->filters[arguments->filters_count++] = path;
    return true;
}

static bool format_set(const struct parser *parser, const char *value) {
    bool json = strcmp(value, "json") == 0;
    if (!json && strcmp(value, "text") != 0) {
        return error_set(parser->error, "%s: --format is text or json, not \"%.80s\"", parser->command, value);
    }
    parser->arguments->json = json;
    return true;
}

static bool option_apply(struct parser *parser, enum option option, const char *value) {
    struct arguments *arguments = parser->arguments;
    switch (option) {
    case OPTION_CONFIG:
        return path_set(parser, &arguments->config_path, option, value);
    case OPTION_AS:
        return path_set(parser, &arguments->as_path, option, value);
    case OPTION_FORMAT:
        return format_set(parser, value);
    case OPTION_SOCKET:
        return path_set(parser, &arguments->socket, option, value);
    case OPTION_LISTEN:
        return addresses_add(parser, &arguments->listen, option, value);
    case OPTION_TO:
        return addresses_add(parser, &arguments->to, option, value);
    case OPTION_FILTER:
        return filter_add(parser, value);
    case OPTION_TRACE:
        arguments->trace = true;
        return true;
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

static bool option_parse(struct parser *parser) {
    const char *word = *parser->next++;
    enum option option = OPTION_HELP;
    const char *value = NULL;
    return option_find(parser, word, &option, &value) && option_take_value(parser, &OPTIONS[option], &value) &&
           option_apply(parser, option, value);
}

/* --- words that are no options ---------------------------------------------------------------------------------- */

static bool word_parse(struct parser *parser) {
    struct arguments *arguments = parser->arguments;
    if (arguments->command == COMMAND_HELP && arguments->help_about == COMMAND_NONE) {
        return command_find(&arguments->help_about, &parser->next, parser->error);
    }
    const char *word = *parser->next++;
    if (arguments->command == COMMAND_CONFIG_EXPLAIN && arguments->key_path == NULL) {
        arguments->key_path = word;
        return true;
    }
    if (arguments->command == COMMAND_CTL && arguments->order == NULL) {
        arguments->order = word;
        return true;
    }
    size_t size = strlen(word);
    if (arguments->command == COMMAND_RUN && size > 4 && strcmp(word + size - 4, ".lua") == 0) {
        return error_set(parser->error,
                         "%s: unexpected \"%.80s\"; a script is named by -f: moonring run -l ADDR -f %.80s",
                         parser->command, word, word);
    }
    if (option_belongs(&OPTIONS[OPTION_CONFIG], arguments->command)) {
        return error_set(parser->error,
                         "%s: unexpected \"%.80s\"; a configuration is named by -c: moonring %s -c %.80s",
                         parser->command, word, parser->command, word);
    }
    return error_set(parser->error, "%s: unexpected \"%.80s\"; see: moonring %s --help", parser->command, word,
                     parser->command);
}

/* --- what must come together ------------------------------------------------------------------------------------ */

static bool run_complete(const struct arguments *arguments, struct error *error) {
    bool has_listen = arguments->listen.count > 0;
    bool has_to = arguments->to.count > 0;
    bool has_filter = arguments->filters_count > 0;
    const char *target = has_to ? "to" : "filter";
    if (arguments->config_path != NULL && (has_listen || has_to || has_filter)) {
        return error_set(error, "run: --config and --%s exclude each other: the file names the %s",
                         has_listen ? "listen" : target, has_listen || has_to ? "addresses" : "filters");
    }
    if (has_listen && !has_to && !has_filter) {
        return error_set(error, "run: --listen needs servers, or a script that serves or routes:\n"
                                "  moonring run -l ADDR -t ADDR\n"
                                "  moonring run -l ADDR -f FILE.lua");
    }
    if (!has_listen && (has_to || has_filter)) {
        return error_set(error, "run: --%s needs --listen: moonring run -l ADDR%s%s", target,
                         has_to ? " -t ADDR" : " [-t ADDR]", has_filter ? " -f FILE.lua" : "");
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
    case COMMAND_CONFIG_DUMP:
        return arguments->config_path != NULL ||
               error_set(error, "config dump: which file? moonring config dump -c /etc/moonring/moonring.yaml");
    case COMMAND_CTL:
        if (arguments->config_path != NULL && arguments->socket != NULL) {
            return error_set(error, "ctl: --config and --socket exclude each other: the file names the socket");
        }
        return arguments->order != NULL || error_set(error, "ctl: which order? See: moonring ctl --help");
    case COMMAND_NONE:
    case COMMAND_CONFIG_SCHEMA:
    case COMMAND_CONFIG_EXPLAIN:
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
    char **words = argv + 1;
    if (!command_parse(&arguments->command, &words, error)) {
        return false;
    }
    struct parser parser = {arguments, COMMANDS[arguments->command].name, words, error};
    while (*parser.next != NULL) {
        const char *word = *parser.next;
        if (strcmp(word, "--") == 0) {
            parser.next++;
            return (*parser.next == NULL || word_parse(&parser)) && arguments_complete(arguments, error);
        }
        bool is_option = word[0] == '-' && word[1] != 0;
        if (is_option ? !option_parse(&parser) : !word_parse(&parser)) {
            return false;
        }
        if (arguments->command == COMMAND_HELP && arguments->help_about != COMMAND_NONE) {
            break; /* `run -l :80 --help`: who asks for help need not get the rest right */
        }
    }
    return arguments_complete(arguments, error);
}

/* --- as YAML ---------------------------------------------------------------------------------------------------- */

enum { YAML_LINES_MAX = 2 * ARGUMENTS_ADDRESSES_MAX + ARGUMENTS_FILTERS_MAX + 16 };

struct yaml {
    struct bytes *text;
    const char *origins[YAML_LINES_MAX]; /* the option that each line comes from */
    size_t lines_count;
};

static void yaml_end_line(struct yaml *yaml, const char *origin) {
    bytes_append_char(yaml->text, '\n');
    yaml->origins[yaml->lines_count++] = origin;
}

static void yaml_append_line(struct yaml *yaml, const char *line, const char *origin) {
    bytes_append_text(yaml->text, line);
    yaml_end_line(yaml, origin);
}

/* Single quotes: between them YAML gives a meaning to nothing but the quote itself, and a dollar begins a variable. */
static void yaml_append_item(struct yaml *yaml, const char *text, size_t size, const char *origin) {
    bytes_append_text(yaml->text, "      - '");
    for (size_t i = 0; i < size; i++) {
        bytes_append_text(yaml->text, text[i] == '\'' ? "'" : text[i] == '$' ? "$" : "");
        bytes_append_char(yaml->text, text[i]);
    }
    bytes_append_char(yaml->text, '\'');
    yaml_end_line(yaml, origin);
}

static void yaml_append_addresses(struct yaml *yaml, const char *key, const struct argument_addresses *addresses,
                                  const char *origin) {
    yaml_append_line(yaml, key, origin);
    for (size_t i = 0; i < addresses->count; i++) {
        yaml_append_item(yaml, addresses->items[i].text, addresses->items[i].size, origin);
    }
}

static void yaml_append_filters(struct yaml *yaml, const struct arguments *arguments) {
    yaml_append_line(yaml, "    filters:", "--filter");
    for (size_t i = 0; i < arguments->filters_count; i++) {
        yaml_append_item(yaml, arguments->filters[i], strlen(arguments->filters[i]), "--filter");
    }
}

static void yaml_append(struct yaml *yaml, const struct arguments *arguments) {
    yaml_append_line(yaml, "listeners:", NULL);
    yaml_append_line(yaml, "  main:", NULL);
    yaml_append_addresses(yaml, "    bind:", &arguments->listen, "--listen");
    if (arguments->filters_count > 0) {
        yaml_append_filters(yaml, arguments);
    }
    if (arguments->to.count > 0) {
        yaml_append_line(yaml, "    upstream: main", "--to");
        yaml_append_line(yaml, "upstreams:", NULL);
        yaml_append_line(yaml, "  main:", NULL);
        yaml_append_addresses(yaml, "    servers:", &arguments->to, "--to");
    }
    yaml_append_line(yaml, "process:", NULL);
    yaml_append_line(yaml, "  workers: 1", NULL);
    yaml_append_line(yaml, "reload:", NULL);
    yaml_append_line(yaml, "  watch: true", NULL);
}

void arguments_to_yaml(const struct arguments *arguments, struct bytes *yaml) {
    struct yaml lines = {.text = yaml};
    yaml_append(&lines, arguments);
}

struct config *arguments_load(const struct arguments *arguments, struct config_report *report) {
    struct bytes text;
    bytes_init(&text);
    struct yaml yaml = {.text = &text};
    yaml_append(&yaml, arguments);
    struct config *config =
        config_load_made(text.data, text.size, "command line", yaml.origins, yaml.lines_count, report);
    bytes_finish(&text);
    return config;
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
        fprintf(out, "  %-14s %s\n", COMMANDS[i].name, COMMANDS[i].summary);
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
