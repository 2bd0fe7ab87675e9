/* Whatever is typed behind `moonring`, it is read or refused with a text, and what is read becomes YAML of a known
 * shape: as many lines as there are addresses, and a fixed number of others. The words are separated by newlines. */
#include "base/check.h"
#include "program/arguments.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64, YAML_FIXED_LINES = 9 };

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
    check(lines_count(&yaml) == YAML_FIXED_LINES + arguments->listen.count + arguments->to.count);
    bytes_finish(&yaml);
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
        check((arguments.config_path != NULL) == (arguments.listen.count == 0));
        check((arguments.listen.count == 0) == (arguments.to.count == 0));
        yaml_check(&arguments);
    }
    free(text);
    return 0;
}
