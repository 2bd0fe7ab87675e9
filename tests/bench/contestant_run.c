#include "tests/bench/contestant_run.h"

#include "base/bytes.h"
#include "tests/bench/clock.h"
#include "tests/bench/interrupt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUTPUT_SHOWN = 160, ADDRESS_SIZE = 32 };
static const uint64_t READY_TIMEOUT_NS = 10000000000;
static const long READY_POLL_NS = 500000; /* it is a part of how long a start takes */

/* ---- its folder */

static int entry_remove(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static bool folder_make(struct contestant_run *run, struct error *error) {
    const char *parent = getenv("TMPDIR");
    snprintf(run->folder, sizeof run->folder, "%.400s/moonring-bench-XXXXXX", parent != NULL ? parent : "/tmp");
    if (mkdtemp(run->folder) == NULL) {
        error_set(error, "%s: %s", run->folder, error_name(errno));
        run->folder[0] = 0;
        return false;
    }
    return true;
}

static void folder_remove(struct contestant_run *run) {
    if (run->folder[0] != 0) {
        nftw(run->folder, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
        run->folder[0] = 0;
    }
}

/* ---- templates */

struct replacement {
    const char *mark;
    const char *text;
};

static void template_expand(const char *text, const struct replacement *replacements, struct bytes *result) {
    while (*text != 0) {
        const struct replacement *replacement = replacements;
        while (replacement->mark != NULL && strncmp(text, replacement->mark, strlen(replacement->mark)) != 0) {
            replacement++;
        }
        if (replacement->mark == NULL) {
            bytes_append_char(result, *text++);
        } else {
            bytes_append_text(result, replacement->text);
            text += strlen(replacement->mark);
        }
    }
}

static bool config_write(const char *path, const char *template, const struct replacement *replacements,
                         struct error *error) {
    struct bytes text;
    bytes_init(&text);
    template_expand(template, replacements, &text);
    FILE *file = fopen(path, "we");
    bool written = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;
    written = file != NULL && fclose(file) == 0 && written;
    bytes_finish(&text);
    return written || error_set(error, "%s: %s", path, error_name(errno));
}

/* ---- starting */

static bool program_launch(struct contestant_run *run, const struct contestant *contestant, const char *path,
                           const struct replacement *replacements, struct error *error) {
    struct bytes texts[CONTESTANT_ARGUMENTS_MAX];
    const char *arguments[CONTESTANT_ARGUMENTS_MAX + 2] = {path};
    size_t count = 0;
    while (count < CONTESTANT_ARGUMENTS_MAX && contestant->arguments[count] != NULL) {
        bytes_init(&texts[count]);
        template_expand(contestant->arguments[count], replacements, &texts[count]);
        arguments[count + 1] = texts[count].data;
        count++;
    }
    char output_path[CONTESTANT_PATH_SIZE + 16];
    snprintf(output_path, sizeof output_path, "%s/output", run->folder);
    bool started =
        process_start(&run->process, arguments, contestant->two_cpus ? PROCESS_ANY_CPU : PROXY_CPU, output_path, error);
    for (size_t i = 0; i < count; i++) {
        bytes_finish(&texts[i]);
    }
    return started;
}

static bool port_accepts(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool accepts = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return accepts;
}

static bool run_wait_ready(struct contestant_run *run, struct error *error) {
    uint64_t deadline_ns = clock_now_ns() + READY_TIMEOUT_NS;
    while (!port_accepts(run->ports.listen)) {
        if (!process_is_alive(&run->process)) {
            return error_set(error, "did not start");
        }
        if (clock_now_ns() > deadline_ns) {
            return error_set(error, "did not accept on 127.0.0.1:%u within 10 s", run->ports.listen);
        }
        if (interrupt_pending()) {
            return error_set(error, "interrupted");
        }
        nanosleep(&(struct timespec){.tv_nsec = READY_POLL_NS}, NULL);
    }
    return true;
}

/* Listeners that nobody connects to. */
static void listeners_write(const struct workload *workload, struct bytes *text) {
    for (size_t i = 1; i < workload->listeners; i++) {
        bytes_printf(text, "  more%zu: {bind: \"unix:@FOLDER@/%zu.sock\", upstream: \"@UPSTREAM@\"}\n", i, i);
    }
}

/* All of them are the one server, by different names. */
static void upstreams_write(const struct workload *workload, const char *server_text, struct bytes *text) {
    if (workload->servers > 1) {
        bytes_append_text(text, "upstreams:\n  many:\n    servers:\n");
    }
    for (size_t i = 1; i <= workload->servers && workload->servers > 1; i++) {
        bytes_printf(text, "      - {name: s%zu, address: \"%s\"}\n", i, server_text);
    }
}

/* What the marks for listeners and servers stand for may hold marks, too. */
static bool config_write_scaled(const char *path, const struct contestant *contestant, const struct workload *workload,
                                const char *server_text, const struct replacement *replacements, struct error *error) {
    struct bytes listeners, upstreams, text;
    bytes_init(&listeners);
    bytes_init(&upstreams);
    bytes_init(&text);
    listeners_write(workload, &listeners);
    upstreams_write(workload, server_text, &upstreams);
    const struct replacement scale[] = {
        {"@LISTENERS@", listeners.data},
        {"@UPSTREAMS@", upstreams.data},
        {NULL, NULL},
    };
    template_expand(contestant->config, scale, &text);
    bool written = config_write(path, text.data, replacements, error);
    bytes_finish(&listeners);
    bytes_finish(&upstreams);
    bytes_finish(&text);
    return written;
}

static void address_format(uint16_t port, char *text) {
    snprintf(text, ADDRESS_SIZE, "127.0.0.1:%u", port);
}

static bool run_begin(struct contestant_run *run, const struct contestant *contestant, const struct workload *workload,
                      const struct contestant_program *program, struct error *error) {
    char listen_text[ADDRESS_SIZE];
    char server_text[ADDRESS_SIZE];
    char plain_text[ADDRESS_SIZE];
    char plain_server_text[ADDRESS_SIZE];
    char config_path[CONTESTANT_PATH_SIZE + 16];
    address_format(run->ports.listen, listen_text);
    address_format(run->ports.server, server_text);
    address_format(run->ports.plain, plain_text);
    address_format(run->ports.plain_server, plain_server_text);
    snprintf(config_path, sizeof config_path, "%s/config", run->folder);
    const struct replacement replacements[] = {
        {"@FOLDER@", run->folder},
        {"@CONFIG@", config_path},
        {"@LISTEN@", listen_text},
        {"@SERVER@", server_text},
        {"@PLAIN@", plain_text},
        {"@PLAIN_SERVER@", plain_server_text},
        {"@UPSTREAM@", workload->servers > 1 ? "many" : server_text},
        {"@SOURCE@", program->source},
        {"@MODULES@", program->modules},
        {NULL, NULL},
    };
    return config_write_scaled(config_path, contestant, workload, server_text, replacements, error) &&
           program_launch(run, contestant, program->path, replacements, error) && run_wait_ready(run, error);
}

bool contestant_start(struct contestant_run *run, const struct contestant *contestant, const struct workload *workload,
                      const struct contestant_program *program, const struct contestant_ports *ports,
                      struct error *error) {
    *run = (struct contestant_run){.ports = *ports,
                                   .program_path = program->path,
                                   .started_ns = clock_now_ns(),
                                   .tells_ring = contestant->tells_ring};
    if (contestant->program == NULL) {
        run->ports.listen = ports->server;
        return true;
    }
    if (!folder_make(run, error)) {
        return false;
    }
    if (run_begin(run, contestant, workload, program, error)) {
        return true;
    }
    contestant_explain(run, error);
    contestant_stop(run);
    return false;
}

/* Appends the end of a file in the contestant's folder, if there is one. */
static void file_explain(const struct contestant_run *run, const char *name, struct bytes *text) {
    char path[CONTESTANT_PATH_SIZE + 16];
    char end[OUTPUT_SHOWN + 1] = "";
    snprintf(path, sizeof path, "%s/%s", run->folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    if (fseek(file, -OUTPUT_SHOWN, SEEK_END) != 0) {
        rewind(file); /* it is shorter */
    }
    end[fread(end, 1, OUTPUT_SHOWN, file)] = 0;
    fclose(file);
    if (end[0] != 0) {
        bytes_printf(text, "; its %s ends with:\n%s", name, end);
    }
}

void contestant_explain(struct contestant_run *run, struct error *error) {
    if (run->folder[0] == 0) {
        return;
    }
    struct bytes text;
    bytes_init(&text);
    bytes_printf(&text, "%.160s%s", error->text, process_is_alive(&run->process) ? "" : "; the program has ended");
    file_explain(run, "output", &text);
    file_explain(run, "access.log", &text);
    error_set(error, "%s", text.data);
    bytes_finish(&text);
}

void contestant_stop(struct contestant_run *run) {
    process_stop(&run->process);
    folder_remove(run);
}
