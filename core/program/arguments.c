#include "program/arguments.h"

#include "config/nearest.h"

#include <ctype.h>
#include <string.h>

/* --- commands --------------------------------------------------------------------------------------------------- */

static bool command_refuse(const char *word, struct error *error) {
    char names[COMMANDS_COUNT][16]; /* of commands of two words, the first */
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        const char *name = command_row(i)->name;
        snprintf(names[i], sizeof(names[i]), "%.*s", (int)strcspn(name, " "), name);
        nearest_offer(&nearest, names[i]);
    }
    if (nearest.best != NULL) {
        return error_set(error, "unknown command \"%.80s\"; did you mean \"%s\"?", word, nearest.best);
    }
    if (word[0] == '-') {
        return error_set(error, "\"%.80s\" stands before a command; try: moonring run %.80s ...", word, word);
    }
    return error_set(error,
                     "unknown command \"%.80s\"; there are: run check config ctl doctor manual completion version help",
                     word);
}

/* The first of two words was right. */
static bool command_refuse_second(const char *first, const char *second, struct error *error) {
    char names[128] = "";
    struct nearest nearest;
    nearest_init(&nearest, second != NULL ? second : "");
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        const char *name = command_second_word(i);
        if (name != NULL && command_has_first_word(i, first)) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof(names) - used, "%s%s", used > 0 ? ", " : "", name);
            nearest_offer(&nearest, name);
        }
    }
    if (nearest.best != NULL) {
        return error_set(error, "unknown command \"%s %.80s\"; did you mean \"%s %s\"?", first, second, first,
                         nearest.best);
    }
    if (second == NULL || second[0] == 0 || second[0] == '-') {
        return error_set(error, "%s: which one? there are: %s", first, names);
    }
    return error_set(error, "unknown command \"%s %.80s\"; there are: %s", first, second, names);
}

/* COMMAND_NONE: there is none of these two words; second NULL: of this one word. */
static enum command command_of(const char *first, const char *second) {
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        const char *wanted = command_second_word(i);
        bool fits = wanted == NULL ? second == NULL : second != NULL && strcmp(wanted, second) == 0;
        if (fits && command_has_first_word(i, first)) {
            return i;
        }
    }
    return COMMAND_NONE;
}

static bool command_begins_with(const char *first) {
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        if (command_has_first_word(i, first)) {
            return true;
        }
    }
    return false;
}

/* Takes the word or the two words of a command. */
static bool command_find(enum command *command, char ***words, struct error *error) {
    const char *first = *(*words)++;
    const char *second = **words;
    *command = second == NULL ? COMMAND_NONE : command_of(first, second);
    if (*command != COMMAND_NONE) {
        ++*words;
        return true;
    }
    *command = command_of(first, NULL);
    if (*command != COMMAND_NONE) {
        return true;
    }
    return command_begins_with(first) ? command_refuse_second(first, second, error) : command_refuse(first, error);
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
    for (enum option i = 0; i <= OPTION_HELP; i++) {
        if (option_belongs(i, parser->arguments->command)) {
            nearest_offer(&nearest, option_row(i)->name);
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
static bool option_misplaced(const struct parser *parser, enum option option) {
    char owners[128] = "";
    for (enum command i = COMMAND_RUN; i <= COMMAND_HELP; i++) {
        size_t used = strlen(owners);
        if (option_belongs(option, i) && used < sizeof(owners) - 1) {
            snprintf(owners + used, sizeof(owners) - used, "%s%s", used > 0 ? " and " : "", command_row(i)->name);
        }
    }
    return error_set(parser->error, "%s: --%s is an option of %s", parser->command, option_row(option)->name, owners);
}

static bool option_is_named(const struct option_row *option, const char *name, size_t name_size) {
    return strlen(option->name) == name_size && memcmp(option->name, name, name_size) == 0;
}

/* `-config`: with one dash it would be -c with the value "onfig". */
static bool option_lacks_a_dash(const char *word) {
    for (enum option i = 0; i <= OPTION_HELP; i++) {
        if (option_is_named(option_row(i), word + 1, strcspn(word + 1, "="))) {
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
    for (enum option i = 0; i <= OPTION_HELP; i++) {
        if (is_long ? !option_is_named(option_row(i), name, name_size) : option_row(i)->letter != name[0]) {
            continue;
        }
        if (!option_belongs(i, parser->arguments->command)) {
            return option_misplaced(parser, i);
        }
        *option = i;
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
        return error_set(parser->error, "%s: --%s is given twice", parser->command, option_row(option)->name);
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
                             option_row(option)->name, value, size == 0 ? "empty" : "not printable");
        }
        if (addresses->count == ARGUMENTS_ADDRESSES_MAX) {
            return error_set(parser->error, "%s: more than %d addresses for --%s", parser->command,
                             ARGUMENTS_ADDRESSES_MAX, option_row(option)->name);
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

/* Of an order: it goes over the socket as it is. */
static bool given_set(const struct parser *parser, enum option option, const char *value) {
    const char *text = value == NULL ? "" : value;
    if (value != NULL && !text_is_plain(text, strlen(text))) {
        return error_set(parser->error, "%s: --%s \"%.80s\" is not printable", parser->command,
                         option_row(option)->name, text);
    }
    return path_set(parser, &parser->arguments->given[option], option, text);
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
    case OPTION_LISTENER:
    case OPTION_SERVER:
    case OPTION_CLIENT:
    case OPTION_STATE:
    case OPTION_OLDER:
    case OPTION_GENERATION:
    case OPTION_ID:
    case OPTION_ALL:
    case OPTION_LIMIT:
    case OPTION_JSON:
        return given_set(parser, option, value);
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
    return option_find(parser, word, &option, &value) && option_take_value(parser, option_row(option), &value) &&
           option_apply(parser, option, value);
}

/* --- words that are no options ---------------------------------------------------------------------------------- */

static bool word_refuse(const struct parser *parser, const char *word) {
    enum command command = parser->arguments->command;
    size_t size = strlen(word);
    if (command == COMMAND_RUN && size > 4 && strcmp(word + size - 4, ".lua") == 0) {
        return error_set(parser->error,
                         "%s: unexpected \"%.80s\"; a script is named by -f: moonring run -l ADDR -f %.80s",
                         parser->command, word, word);
    }
    if (option_belongs(OPTION_CONFIG, command) && !command_is_order(command)) {
        return error_set(parser->error,
                         "%s: unexpected \"%.80s\"; a configuration is named by -c: moonring %s -c %.80s",
                         parser->command, word, parser->command, word);
    }
    return error_set(parser->error, "%s: unexpected \"%.80s\"; see: moonring %s --help", parser->command, word,
                     parser->command);
}

/* `ctl -c FILE status`: the order comes behind options. */
static bool order_find(struct parser *parser, const char *word) {
    enum command order = command_of(parser->command, word);
    if (order == COMMAND_NONE) {
        return command_refuse_second(parser->command, word, parser->error);
    }
    parser->arguments->command = order;
    parser->command = command_row(order)->name;
    return true;
}

static bool operand_add(const struct parser *parser, const char *word) {
    struct arguments *arguments = parser->arguments;
    if (!text_is_plain(word, strlen(word))) {
        return error_set(parser->error, "%s: \"%.80s\" is not printable", parser->command, word);
    }
    arguments->operands[arguments->operands_count++] = word;
    return true;
}

static bool word_parse(struct parser *parser) {
    struct arguments *arguments = parser->arguments;
    if (arguments->command == COMMAND_HELP && arguments->help_about == COMMAND_NONE) {
        return command_find(&arguments->help_about, &parser->next, parser->error);
    }
    const char *word = *parser->next++;
    if (arguments->command == COMMAND_CTL) {
        return order_find(parser, word);
    }
    bool has_room = arguments->operands_count < command_row(arguments->command)->operands_max;
    return has_room ? operand_add(parser, word) : word_refuse(parser, word);
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

static bool operands_complete(const struct arguments *arguments, struct error *error) {
    const struct command_row *command = command_row(arguments->command);
    return arguments->operands_count >= command->operands_min ||
           error_set(error, "%s: something is missing: %s", command->name, command->usage);
}

static bool arguments_complete(const struct arguments *arguments, struct error *error) {
    enum command command = arguments->command;
    if (command == COMMAND_RUN) {
        return run_complete(arguments, error);
    }
    if ((command == COMMAND_CHECK || command == COMMAND_CONFIG_DUMP) && arguments->config_path == NULL) {
        const char *name = command_row(command)->name;
        return error_set(error, "%s: which file? moonring %s -c /etc/moonring/moonring.yaml", name, name);
    }
    if (command == COMMAND_CTL) {
        return error_set(error, "ctl: which order? See: moonring ctl --help");
    }
    if (command_is_order(command) && arguments->config_path != NULL && arguments->socket != NULL) {
        return error_set(error, "ctl: --config and --socket exclude each other: the file names the socket");
    }
    return operands_complete(arguments, error);
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
    struct parser parser = {arguments, command_row(arguments->command)->name, words, error};
    bool only_words = false; /* from `--` on */
    while (*parser.next != NULL) {
        const char *word = *parser.next;
        if (!only_words && strcmp(word, "--") == 0) {
            parser.next++;
            only_words = true;
            continue;
        }
        bool is_option = !only_words && word[0] == '-' && word[1] != 0;
        if (is_option ? !option_parse(&parser) : !word_parse(&parser)) {
            return false;
        }
        if (arguments->command == COMMAND_HELP && arguments->help_about != COMMAND_NONE) {
            break; /* `run -l :80 --help`: who asks for help need not get the rest right */
        }
    }
    return arguments_complete(arguments, error);
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

void arguments_to_order(const struct arguments *arguments, struct bytes *line) {
    bytes_append_text(line, command_second_word(arguments->command));
    for (enum option i = 0; i <= OPTION_HELP; i++) {
        if (arguments->given[i] != NULL) {
            bool has_value = option_row(i)->value != NULL;
            bytes_printf(line, "\t--%s%s%s", option_row(i)->name, has_value ? "=" : "", arguments->given[i]);
        }
    }
    for (size_t i = 0; i < arguments->operands_count; i++) {
        bytes_printf(line, "%s%s", i == 0 ? "\t--\t" : "\t", arguments->operands[i]);
    }
}

bool arguments_parse_order(struct arguments *arguments, char *line, struct error *error) {
    enum { WORDS_MAX = 32 };
    static char program[] = "moonring", ctl[] = "ctl";
    char *words[WORDS_MAX + 1] = {program, ctl};
    int count = 2;
    while (line != NULL && count < WORDS_MAX) {
        words[count++] = strsep(&line, "\t");
    }
    if (line != NULL) {
        return error_set(error, "an order has at most %d words", WORDS_MAX - 2);
    }
    words[count] = NULL;
    return arguments_parse(arguments, count, words, error) &&
           (command_is_order(arguments->command) || error_set(error, "\"%.80s\" is no order", words[2]));
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
