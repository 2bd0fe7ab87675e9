/* The command line: which command, with which options, and the help that goes with them. One table of options and one
 * of commands describe both what is parsed and what --help prints. */
#ifndef MOONRING_PROGRAM_ARGUMENTS_H
#define MOONRING_PROGRAM_ARGUMENTS_H

#include "base/bytes.h"
#include "base/error.h"
#include "config/load.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum command {
    COMMAND_NONE, /* a bare `moonring` */
    COMMAND_RUN,
    COMMAND_CHECK,
    COMMAND_CONFIG_DUMP,
    COMMAND_CONFIG_SCHEMA,
    COMMAND_CONFIG_EXPLAIN,
    COMMAND_CTL,
    COMMAND_DOCTOR,
    COMMAND_VERSION,
    COMMAND_HELP,
};

enum { ARGUMENTS_ADDRESSES_MAX = 64, ARGUMENTS_FILTERS_MAX = 64 };

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
    enum command help_about;                    /* COMMAND_HELP: of which command; COMMAND_NONE: of the program */
    const char *config_path;                    /* run, check, config dump, ctl: `-`: standard input; NULL: none */
    const char *as_path;                        /* check, config dump: NULL: none */
    bool json;                                  /* check: the report, instead of text */
    const char *key_path;                       /* config explain: NULL: none */
    const char *socket;                         /* ctl: NULL: none */
    const char *order;                          /* ctl: what is to be done */
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

/* What --help prints about a command; COMMAND_NONE: about the program. */
void arguments_print_help(enum command about, FILE *out);

/* A few lines for somebody who typed nothing but the program's name. */
void arguments_print_usage(FILE *out);

#endif
