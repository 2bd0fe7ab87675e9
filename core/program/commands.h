/* What can be typed behind `moonring`: commands and options, each with what is said of it. These two tables are what
 * arguments.c reads by, what --help prints, and what the manual page and the shell's completion are made from. */
#ifndef MOONRING_PROGRAM_COMMANDS_H
#define MOONRING_PROGRAM_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum command {
    COMMAND_NONE, /* a bare `moonring` */
    COMMAND_RUN,
    COMMAND_CHECK,
    COMMAND_CONFIG_DUMP,
    COMMAND_CONFIG_SCHEMA,
    COMMAND_CONFIG_EXPLAIN,
    COMMAND_CTL, /* without an order */
    COMMAND_CTL_STATUS,
    COMMAND_CTL_GENERATIONS,
    COMMAND_CTL_SESSIONS,
    COMMAND_CTL_KILL,
    COMMAND_CTL_METRICS,
    COMMAND_CTL_UPSTREAMS,
    COMMAND_CTL_DRAIN,
    COMMAND_CTL_DISABLE,
    COMMAND_CTL_ENABLE,
    COMMAND_CTL_WEIGHT,
    COMMAND_CTL_RELOAD,
    COMMAND_CTL_PLAN,
    COMMAND_CTL_ROLLBACK,
    COMMAND_CTL_LOG_LEVEL,
    COMMAND_DOCTOR,
    COMMAND_MANUAL,
    COMMAND_COMPLETION,
    COMMAND_VERSION,
    COMMAND_HELP,
};
enum { COMMANDS_COUNT = COMMAND_HELP + 1 };

struct command_row {
    const char *name; /* one word or two */
    const char *summary;
    const char *usage;   /* lines, each but the last with its newline */
    const char *more;    /* what stands below the options; "" or lines with their newlines */
    size_t operands_min; /* words that are no options */
    size_t operands_max;
};

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
    OPTION_LISTENER,
    OPTION_SERVER,
    OPTION_CLIENT,
    OPTION_STATE,
    OPTION_OLDER,
    OPTION_GENERATION,
    OPTION_ID,
    OPTION_ALL,
    OPTION_LIMIT,
    OPTION_JSON,
    OPTION_HELP,
};
enum { OPTIONS_COUNT = OPTION_HELP + 1 };

struct option_row {
    char letter; /* 0: none */
    const char *name;
    const char *value; /* its name in help; NULL: takes none */
    uint64_t commands; /* a bit for each */
    const char *help;
};

const struct command_row *command_row(enum command command);
const struct option_row *option_row(enum option option);
bool option_belongs(enum option option, enum command command);
/* The word is the only or the first one of the command's name. */
bool command_has_first_word(enum command command, const char *word);
/* `dump` of `config dump`; NULL: it is one word. */
const char *command_second_word(enum command command);
/* One of `moonring ctl`. */
bool command_is_order(enum command command);

/* What --help prints about a command; COMMAND_NONE: about the program. */
void command_print_help(enum command about, FILE *out);
/* A few lines for somebody who typed nothing but the program's name. */
void command_print_usage(FILE *out);

#endif
