/* moonring: where everything is put together. */
#include "base/bytes.h"
#include "config/load.h"
#include "lua/filters.h"
#include "program/arguments.h"
#include "program/commands.h"
#include "program/completion.h"
#include "program/control.h"
#include "program/ctl.h"
#include "program/doctor.h"
#include "program/manual.h"
#include "program/version.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_WRONG = 2 };
enum { WATCHDOG_TICK_MS = 10 };

/* NULL when the configuration is wrong: the report says what is. */
static struct config *config_load(void *argument, struct config_report *report) {
    const struct arguments *arguments = argument;
    struct config *config = arguments->config_path != NULL
                                ? config_load_file(arguments->config_path, arguments->as_path, report)
                                : arguments_load(arguments, report);
    if (config != NULL && arguments->trace) {
        config->log.error_level = LOG_TRACE;
    }
    return config;
}

/* The same, and what is wrong has been printed. */
static struct config *config_load_or_print(struct arguments *arguments) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load(arguments, &report);
    fputs(report.text.data, stderr);
    config_report_finish(&report);
    return config;
}

static int print_and_finish(struct bytes *text) {
    bool printed = fwrite(text->data, 1, text->size, stdout) == text->size && fflush(stdout) == 0;
    bytes_finish(text);
    return printed ? EXIT_FINE : EXIT_FAILED;
}

static int print_config(const struct config *config) {
    struct bytes yaml;
    bytes_init(&yaml);
    config_dump(config, &yaml);
    return print_and_finish(&yaml);
}

static int run(struct arguments *arguments) {
    struct config *config = config_load_or_print(arguments);
    if (config == NULL) {
        return EXIT_WRONG;
    }
    if (arguments->print_config) {
        int status = print_config(config);
        config_destroy(config);
        return status;
    }
    bool from_standard_input = arguments->config_path != NULL && strcmp(arguments->config_path, "-") == 0;
    const struct control_options options = {
        .load = from_standard_input ? NULL : config_load, .argument = arguments, .trace = arguments->trace};
    return control_run(&options, config);
}

/* Loads the scripts, too, as `run` would. */
static bool check_filters(const struct config *config, struct config_report *report) {
    struct error error;
    struct watch watch;
    struct watchdog *watchdog = watchdog_create(WATCHDOG_TICK_MS, NULL, &error);
    bool joined = watchdog != NULL && watch_join(&watch, watchdog, &error);
    bool fine = joined && filters_check(config, &watch, report);
    if (joined) {
        watch_leave(&watch);
    } else {
        fprintf(stderr, "moonring: %s\n", error.text);
    }
    watchdog_destroy(watchdog);
    return fine;
}

static void print_report(const struct config_report *report, const struct arguments *arguments, bool fine) {
    const char *name = arguments->as_path != NULL ? arguments->as_path : arguments->config_path;
    if (arguments->json) {
        struct bytes json;
        bytes_init(&json);
        config_report_json(report, name, &json);
        print_and_finish(&json);
        return;
    }
    fputs(report->text.data, stderr);
    if (fine) {
        printf("%s: fine\n", name);
    }
}

static int check_config(struct arguments *arguments) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = config_load(arguments, &report);
    bool fine = config != NULL && check_filters(config, &report);
    print_report(&report, arguments, fine);
    config_report_finish(&report);
    config_destroy(config);
    return fine ? EXIT_FINE : EXIT_WRONG;
}

static int dump_config(struct arguments *arguments) {
    struct config *config = config_load_or_print(arguments);
    if (config == NULL) {
        return EXIT_WRONG;
    }
    int status = print_config(config);
    config_destroy(config);
    return status;
}

static int print_schema(struct arguments *arguments) {
    (void)arguments;
    struct bytes schema;
    bytes_init(&schema);
    config_schema(&schema);
    return print_and_finish(&schema);
}

static int explain_key(struct arguments *arguments) {
    const char *path = arguments->operands_count > 0 ? arguments->operands[0] : "";
    struct bytes text;
    struct error error;
    bytes_init(&text);
    if (!config_explain(path, &text, &error)) {
        fprintf(stderr, "moonring: config explain: %s\n", error.text);
        bytes_finish(&text);
        return EXIT_WRONG;
    }
    return print_and_finish(&text);
}

static int print_doctor(struct arguments *arguments) {
    (void)arguments;
    return doctor_run(stdout) ? EXIT_FINE : EXIT_FAILED;
}

static int print_manual(struct arguments *arguments) {
    struct bytes page;
    bytes_init(&page);
    if (!manual_write(arguments->operands[0], &page)) {
        fprintf(stderr, "moonring: manual: there is no page \"%.80s\"; there are: moonring.1, moonring.yaml.5\n",
                arguments->operands[0]);
        bytes_finish(&page);
        return EXIT_WRONG;
    }
    return print_and_finish(&page);
}

static int print_completion(struct arguments *arguments) {
    struct bytes script;
    (void)arguments;
    bytes_init(&script);
    completion_write(&script);
    return print_and_finish(&script);
}

static int print_version(struct arguments *arguments) {
    (void)arguments;
    version_print(stdout);
    return EXIT_FINE;
}

static int print_help(struct arguments *arguments) {
    command_print_help(arguments->help_about, stdout);
    return EXIT_FINE;
}

static int print_usage(struct arguments *arguments) {
    (void)arguments;
    command_print_usage(stderr);
    return EXIT_WRONG;
}

typedef int command_run_fn(struct arguments *arguments);

static int command_run(struct arguments *arguments) {
    static command_run_fn *const commands[COMMANDS_COUNT] = {
        [COMMAND_NONE] = print_usage,
        [COMMAND_RUN] = run,
        [COMMAND_CHECK] = check_config,
        [COMMAND_CONFIG_DUMP] = dump_config,
        [COMMAND_CONFIG_SCHEMA] = print_schema,
        [COMMAND_CONFIG_EXPLAIN] = explain_key,
        [COMMAND_DOCTOR] = print_doctor,
        [COMMAND_MANUAL] = print_manual,
        [COMMAND_COMPLETION] = print_completion,
        [COMMAND_VERSION] = print_version,
        [COMMAND_HELP] = print_help,
    };
    enum command command = arguments->command;
    return command_is_order(command) ? ctl_run(arguments) : commands[command](arguments);
}

/* Started with a standard stream closed, its number would become that of a ring or a socket, and be written to. */
static void open_standard_streams(void) {
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO) {
        fd = dup(fd);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Blocks of that size are the kernel's again when they are freed. glibc would raise the size with each one that is
 * freed, up to 32 MiB: then what reloads and workers that come and go have used stays in the heap, in pieces. */
static void return_large_blocks(void) {
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

int main(int argc, char **argv) {
    struct arguments arguments;
    struct error error;
    return_large_blocks();
    open_standard_streams();
    if (!arguments_parse(&arguments, argc, argv, &error)) {
        fprintf(stderr, "moonring: %s\n", error.text);
        return EXIT_WRONG;
    }
    return command_run(&arguments);
}
