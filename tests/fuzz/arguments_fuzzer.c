/* Whatever is typed behind `moonring`, it is read or refused with a text, and what is read becomes YAML of a known
 * shape (as many lines as there are addresses and filters, and a fixed number of others), which loads or is refused
 * with a text, too. The words are separated by newlines. */
#include "base/check.h"
#include "program/arguments.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64, YAML_FIXED_LINES = 7, YAML_LINES_WITH_TO = 4, YAML_LINES_WITH_FILTER = 1 };

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size);

static int words_split(char *text, char **argv) {
    static char program[] = "moonring";
    int argc = 0;
    argv[argc++] = program;
    while (text != NULL && argc < WORDS_MAX) {
        argv[argc++] = strsep(&text, "\n");
    }
    argv[argc] = NULL;
    return argc;
}

static size_t lines_count(const struct bytes *bytes) {
    size_t lines = 0;
    for (size_t i = 0; i < bytes->size; i++) {
        lines += bytes->data[i] == '\n';
    }
    return lines;
}

static void yaml_check(const struct arguments *arguments) {
    struct bytes yaml;
    bytes_init(&yaml);
    arguments_to_yaml(arguments, &yaml);
    check(strlen(yaml.data) == yaml.size);
    size_t lines = YAML_FIXED_LINES + arguments->listen.count + arguments->to.count + arguments->filters_count;
    lines += arguments->to.count > 0 ? YAML_LINES_WITH_TO : 0;
    lines += arguments->filters_count > 0 ? YAML_LINES_WITH_FILTER : 0;
    check(lines_count(&yaml) == lines);
    bytes_finish(&yaml);
}

static void load_check(const struct arguments *arguments) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = arguments_load(arguments, &report);
    check((config == NULL) == (report.errors_count > 0));
    check(config != NULL || strncmp(report.text.data, "command line: ", strlen("command line: ")) == 0);
    check(config == NULL || config->listeners[0].filters_count == arguments->filters_count);
    config_destroy(config);
    config_report_finish(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t input_size) {
    char *argv[WORDS_MAX + 1];
    struct arguments arguments;
    struct error error = {.text = ""};
    char *text = strndup((const char *)input, input_size);
    check(text != NULL);
    if (!arguments_parse(&arguments, words_split(text, argv), argv, &error)) {
        check(error.text[0] != 0);
    } else if (arguments.command == COMMAND_RUN) {
        bool has_target = arguments.to.count > 0 || arguments.filters_count > 0;
        check((arguments.config_path != NULL) == (arguments.listen.count == 0));
        check((arguments.listen.count > 0) == has_target);
        yaml_check(&arguments);
        if (has_target) {
            load_check(&arguments);
        }
    }
    free(text);
    return 0;
}
