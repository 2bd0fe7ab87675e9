#include "tests/bench/options.h"

#include "base/units.h"
#include "tests/bench/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECONDS_MAX = 60 };

const char *options_help(void) {
    return "usage: benchmark [options]\n"
           "Compares moonring with HAProxy, nginx and an epoll relay on this machine, in turn, round by round.\n"
           "  --moonring PATH       the binary (build/release/moonring)\n"
           "  --epoll-relay PATH    the epoll twin (build/release/tests/epoll-relay)\n"
           "  --source DIRECTORY    the project's root, where filters and examples lie (.)\n"
           "  --rounds N            of each workload (3); a few, of small differences, have some more\n"
           "  --seconds S           of each measurement (1); a few take twice as long\n"
           "  --only NAME,...       these workloads only; `proxies`, `filters` and so on stand for all of their kind\n"
           "  --contestants NAME,.. these contestants only; `haproxy` stands for all of its settings;\n"
           "                        the others are compared with the first one that takes part\n"
           "  --full                the workloads of the full set too\n"
           "  --json FILE           writes all figures there as well\n"
           "  --list                shows workloads and contestants\n";
}

static bool parse_seconds(const char *text, double *seconds, struct error *error) {
    char *end = NULL;
    *seconds = strtod(text, &end);
    if (end == text || *end != 0 || !(*seconds >= 0.1) || *seconds > SECONDS_MAX) {
        return error_set(error, "--seconds: %s is no time: 0.1 to %d are allowed", text, SECONDS_MAX);
    }
    return true;
}

static bool parse_rounds(const char *text, size_t *rounds, struct error *error) {
    uint64_t value = 0;
    if (!units_parse_integer(text, 1, ROUNDS_MAX, &value, error)) {
        return error_prefix(error, "--rounds: ");
    }
    *rounds = (size_t)value;
    return true;
}

static bool option_take(struct options *options, int option, const char *text, struct error *error) {
    switch (option) {
    case 'm':
        options->moonring = text;
        return true;
    case 'e':
        options->epoll_relay = text;
        return true;
    case 'p':
        options->source = text;
        return true;
    case 'r':
        return parse_rounds(text, &options->rounds, error);
    case 's':
        return parse_seconds(text, &options->seconds, error);
    case 'o':
        options->only = text;
        return true;
    case 'c':
        options->contestants = text;
        return true;
    case 'j':
        options->json = text;
        return true;
    case 'f':
        options->full = true;
        return true;
    case 'l':
        options->list = true;
        return true;
    case 'h':
        options->help = true;
        return true;
    default: /* getopt has said what is wrong */
        return error_set(error, "see --help");
    }
}

bool options_parse(struct options *options, int argument_count, char **arguments, struct error *error) {
    static const struct option known[] = {
        {"moonring", required_argument, NULL, 'm'},
        {"epoll-relay", required_argument, NULL, 'e'},
        {"source", required_argument, NULL, 'p'},
        {"rounds", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'},
        {"only", required_argument, NULL, 'o'},
        {"contestants", required_argument, NULL, 'c'},
        {"json", required_argument, NULL, 'j'},
        {"full", no_argument, NULL, 'f'},
        {"list", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.moonring = "build/release/moonring",
                                .epoll_relay = "build/release/tests/epoll-relay",
                                .source = ".",
                                .rounds = 3,
                                .seconds = 1};
    int option = getopt_long(argument_count, arguments, "", known, NULL);
    while (option != -1) {
        if (!option_take(options, option, optarg, error)) {
            return false;
        }
        option = getopt_long(argument_count, arguments, "", known, NULL);
    }
    if (optind < argument_count) {
        return error_set(error, "%s: no such argument; see --help", arguments[optind]);
    }
    return true;
}

bool options_check_names(const char *option, const char *list, options_known_fn *is_known, struct error *error) {
    char name[64];
    for (const char *word = list; word != NULL; word = strchr(word, ',')) {
        word += *word == ',' ? 1 : 0;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word, ","), word);
        if (!is_known(name)) {
            return error_set(error, "%s: `%s` is not known; --list shows the names", option, name);
        }
    }
    return true;
}

bool options_names(const char *list, const char *name) {
    size_t size = strlen(name);
    for (const char *word = list; *word != 0;) {
        size_t word_size = strcspn(word, ",");
        if (word_size == size && strncmp(word, name, size) == 0) {
            return true;
        }
        word += word_size;
        word += *word == ',' ? 1 : 0;
    }
    return false;
}
