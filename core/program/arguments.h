/* The command line, read by the tables of commands.h. */
#ifndef MOONRING_PROGRAM_ARGUMENTS_H
#define MOONRING_PROGRAM_ARGUMENTS_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/load.h"
#include "program/commands.h"

#include <stdbool.h>
#include <stddef.h>

enum { ARGUMENTS_ADDRESSES_MAX = 64, ARGUMENTS_FILTERS_MAX = 64, ARGUMENTS_OPERANDS_MAX = 2 };

/* One address of a comma-separated list: a piece of an argument, so it does not end in 0. */
struct argument_address {
    const char *text;
    size_t size;
};

struct argument_addresses {
    struct argument_address items[ARGUMENTS_ADDRESSES_MAX];
    size_t count;
};

/* Every pointer goes into argv. */
struct arguments {
    enum command command;
    enum command help_about;          /* COMMAND_HELP: of which command; COMMAND_NONE: of the program */
    const char *config_path;          /* run, check, config dump, ctl: `-`: standard input; NULL: none */
    const char *as_path;              /* check, config dump: NULL: none */
    bool json;                        /* check: the report, instead of text */
    const char *socket;               /* ctl: NULL: none */
    const char *given[OPTIONS_COUNT]; /* orders of ctl: the option's value, "" if it takes none; NULL: not given */
    const char *operands[ARGUMENTS_OPERANDS_MAX]; /* words that are no options; NULL: none */
    size_t operands_count;
    bool print_config;                          /* run */
    bool trace;                                 /* run: print what each hook does */
    struct argument_addresses listen;           /* run */
    struct argument_addresses to;               /* run */
    const char *filters[ARGUMENTS_FILTERS_MAX]; /* run: paths of scripts, in the order of the command line */
    size_t filters_count;
};

/* Reads main's arguments. A true `run` has either a config_path, or addresses to listen on and servers, filters or
 * both; whether an address makes sense is the configuration's business. False: wrong usage, and the error says what
 * would be right. */
bool arguments_parse(struct arguments *arguments, int argc, char **argv, struct error *error);

/* Appends the YAML that means the same as --listen, --to and --filter. */
void arguments_to_yaml(const struct arguments *arguments, struct bytes *yaml);

/* Loads that YAML, as config_load_text does; messages name the options. */
struct config *arguments_load(const struct arguments *arguments, struct config_report *report);

/* Appends the words of an order of `ctl` as a line for the admin socket, separated by tabs; */
void arguments_to_order(const struct arguments *arguments, struct bytes *line);
/* and reads such a line (without its newline), which it cuts up: the pointers go into it. */
bool arguments_parse_order(struct arguments *arguments, char *line, struct error *error);

#endif
