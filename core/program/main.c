/* moonring: where everything is put together. */
#include "base/bytes.h"
#include "config/load.h"
#include "program/arguments.h"
#include "program/control.h"
#include "program/demo_server.h"
#include "program/doctor.h"
#include "program/version.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_WRONG = 2 };

/* NULL when the configuration is wrong: what is wrong has been printed. */
static struct config *config_load(const struct arguments *arguments) {
    struct config_report report;
    config_report_init(&report);
    struct config *config = NULL;
    if (arguments->config_path != NULL) {
        config = config_load_file(arguments->config_path, arguments->as_path, &report);
    } else {
        struct bytes yaml;
        bytes_init(&yaml);
        arguments_to_yaml(arguments, &yaml);
        config = config_load_text(yaml.data, yaml.size, "command line", &report);
        bytes_finish(&yaml);
    }
    fputs(report.text.data, stderr);
    config_report_finish(&report);
    return config;
}

static int print_config(const struct config *config) {
    struct bytes yaml;
    bytes_init(&yaml);
    config_dump(config, &yaml);
    fwrite(yaml.data, 1, yaml.size, stdout);
    bytes_finish(&yaml);
    return EXIT_FINE;
}

static int run(const struct arguments *arguments) {
    struct config *config = config_load(arguments);
    if (config == NULL) {
        return EXIT_WRONG;
    }
    int status = arguments->print_config ? print_config(config) : control_run(config);
    config_destroy(config);
    return status;
}

static int check_config(const struct arguments *arguments) {
    struct config *config = config_load(arguments);
    if (config == NULL) {
        return EXIT_WRONG;
    }
    printf("%s: fine\n", arguments->as_path != NULL ? arguments->as_path : arguments->config_path);
    config_destroy(config);
    return EXIT_FINE;
}

static int command_run(const struct arguments *arguments) {
    switch (arguments->command) {
    case COMMAND_RUN:
        return run(arguments);
    case COMMAND_CHECK:
        return check_config(arguments);
    case COMMAND_DOCTOR:
        return doctor_run(stdout) ? EXIT_FINE : EXIT_FAILED;
    case COMMAND_VERSION:
        version_print(stdout);
        return EXIT_FINE;
    case COMMAND_DEMO_SERVER:
        return demo_server_main(arguments);
    case COMMAND_HELP:
        arguments_print_help(arguments->help_about, stdout);
        return EXIT_FINE;
    case COMMAND_NONE:
        break;
    }
    arguments_print_usage(stderr);
    return EXIT_WRONG;
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

int main(int argc, char **argv) {
    struct arguments arguments;
    struct error error;
    open_standard_streams();
    if (!arguments_parse(&arguments, argc, argv, &error)) {
        fprintf(stderr, "moonring: %s\n", error.text);
        return EXIT_WRONG;
    }
    return command_run(&arguments);
}
