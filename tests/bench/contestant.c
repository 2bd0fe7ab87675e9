#include "tests/bench/contestant.h"

#include "base/bytes.h"
#include "base/check.h"
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

enum { LARGE_MESSAGE = 65536, OUTPUT_SHOWN = 300 };
static const uint64_t READY_TIMEOUT_NS = 10000000000;
static const long READY_POLL_NS = 5000000;

/* ---- the table */

#define MOONRING_CONFIG                                                                                                \
    "process: {workers: 1}\n"                                                                                          \
    "log:\n"                                                                                                           \
    "  access: {target: \"file:@FOLDER@/access.log\"}\n"                                                               \
    "listeners:\n"                                                                                                     \
    "  bench: {bind: \"@LISTEN@\", upstream: \"@SERVER@\"}\n"

#define HAPROXY_CONFIG(buffer_size, option)                                                                            \
    "global\n"                                                                                                         \
    "  nbthread 1\n"                                                                                                   \
    "  maxconn 9900\n"                                                                                                 \
    "  no strict-limits\n"                                                                                             \
    "  tune.bufsize " buffer_size "\n"                                                                                 \
    "defaults\n"                                                                                                       \
    "  mode tcp\n"                                                                                                     \
    "  maxconn 9900\n"                                                                                                 \
    "  timeout connect 5s\n"                                                                                           \
    "  timeout client 10m\n"                                                                                           \
    "  timeout server 10m\n"                                                                                           \
    "  " option "\n"                                                                                                   \
    "listen bench\n"                                                                                                   \
    "  bind @LISTEN@\n"                                                                                                \
    "  server one @SERVER@\n"

#define NGINX_CONFIG(buffer_size)                                                                                      \
    "@STREAM_MODULE@"                                                                                                  \
    "daemon off;\n"                                                                                                    \
    "worker_processes 1;\n"                                                                                            \
    "pid @FOLDER@/nginx.pid;\n"                                                                                        \
    "error_log stderr error;\n"                                                                                        \
    "events { worker_connections 24000; }\n"                                                                           \
    "stream {\n"                                                                                                       \
    "  proxy_buffer_size " buffer_size ";\n"                                                                           \
    "  proxy_connect_timeout 5s;\n"                                                                                    \
    "  proxy_timeout 10m;\n"                                                                                           \
    "  server { listen @LISTEN@ backlog=4096; proxy_pass @SERVER@; }\n"                                                \
    "}\n"

#define HAPROXY_ARGUMENTS                                                                                              \
    { "-db", "-f", "@CONFIG@" }
#define NGINX_ARGUMENTS                                                                                                \
    { "-e", "stderr", "-p", "@FOLDER@", "-c", "@CONFIG@" }

static const struct contestant contestants[] = {
    {.name = "moonring",
     .program = "moonring",
     .about = "one worker, access log to a file, all else as it comes",
     .config = MOONRING_CONFIG,
     .version_argument = "version",
     .arguments = {"run", "-c", "@CONFIG@"}},
    {.name = "haproxy-16k",
     .program = "haproxy",
     .about = "mode tcp, nbthread 1, tune.bufsize 16384 (its default), no log",
     .config = HAPROXY_CONFIG("16384", ""),
     .version_argument = "-v",
     .arguments = HAPROXY_ARGUMENTS},
    {.name = "haproxy-64k",
     .program = "haproxy",
     .about = "the same, tune.bufsize 65536",
     .config = HAPROXY_CONFIG("65536", ""),
     .version_argument = "-v",
     .arguments = HAPROXY_ARGUMENTS,
     .message_size_min = LARGE_MESSAGE},
    {.name = "haproxy-splice",
     .program = "haproxy",
     .about = "the same, tune.bufsize 65536, option splice-auto",
     .config = HAPROXY_CONFIG("65536", "option splice-auto"),
     .version_argument = "-v",
     .arguments = HAPROXY_ARGUMENTS,
     .message_size_min = LARGE_MESSAGE},
    {.name = "nginx-16k",
     .program = "nginx",
     .about = "stream, one worker, proxy_buffer_size 16k (its default), no log",
     .config = NGINX_CONFIG("16k"),
     .version_argument = "-v",
     .arguments = NGINX_ARGUMENTS},
    {.name = "nginx-64k",
     .program = "nginx",
     .about = "the same, proxy_buffer_size 64k",
     .config = NGINX_CONFIG("64k"),
     .version_argument = "-v",
     .arguments = NGINX_ARGUMENTS,
     .message_size_min = LARGE_MESSAGE},
    {.name = "direct", .about = "no proxy: what the load generator itself can do", .only_named = true},
};

size_t contestant_count(void) {
    return sizeof contestants / sizeof contestants[0];
}

const struct contestant *contestant_at(size_t index) {
    check(index < contestant_count());
    return &contestants[index];
}

/* ---- what is installed */

/* nginx -V tells whether stream is built in, a module of its own, or absent. */
static bool nginx_find_stream(struct contestant_program *program, struct error *error) {
    struct bytes output;
    bytes_init(&output);
    process_capture((const char *const[]){program->path, "-V", NULL}, &output);
    bool is_module = strstr(output.data, "--with-stream=dynamic") != NULL;
    bool is_built_in = !is_module && strstr(output.data, "--with-stream") != NULL;
    char folder[CONTESTANT_PATH_SIZE - 32] = "/usr/lib/nginx/modules";
    const char *option = strstr(output.data, "--modules-path=");
    if (option != NULL) {
        sscanf(option, "--modules-path=%479s", folder);
    }
    bytes_finish(&output);
    char path[CONTESTANT_PATH_SIZE];
    snprintf(path, sizeof path, "%s/ngx_stream_module.so", folder);
    if (!is_built_in && access(path, R_OK) != 0) {
        return error_set(error, "%s has no stream module (Debian: libnginx-mod-stream)", program->path);
    }
    if (!is_built_in) {
        snprintf(program->stream_module, sizeof program->stream_module, "load_module %s;\n", path);
    }
    return true;
}

/* The first line of what it prints, without a web address at its end. */
static void version_find(const struct contestant *contestant, struct contestant_program *program) {
    struct bytes output;
    bytes_init(&output);
    process_capture((const char *const[]){program->path, contestant->version_argument, NULL}, &output);
    size_t size = strcspn(output.data, "\n");
    const char *address = strstr(output.data, " - http");
    if (address != NULL && (size_t)(address - output.data) < size) {
        size = (size_t)(address - output.data);
    }
    snprintf(program->version, sizeof program->version, "%.*s", (int)size, output.data);
    bytes_finish(&output);
}

bool contestant_find(const struct contestant *contestant, const char *given_path, struct contestant_program *program,
                     struct error *error) {
    *program = (struct contestant_program){0};
    if (contestant->program == NULL) {
        return true;
    }
    const char *name = given_path != NULL ? given_path : contestant->program;
    if (!process_find(name, program->path, sizeof program->path)) {
        return error_set(error, "%s is not installed", name);
    }
    if (strcmp(contestant->program, "nginx") == 0 && !nginx_find_stream(program, error)) {
        return false;
    }
    version_find(contestant, program);
    return true;
}

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
    bool started = process_start(&run->process, arguments, PROXY_CPU, output_path, error);
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
    while (!port_accepts(run->port)) {
        if (!process_is_alive(&run->process)) {
            return error_set(error, "did not start");
        }
        if (clock_now_ns() > deadline_ns) {
            return error_set(error, "did not accept on 127.0.0.1:%u within 10 s", run->port);
        }
        if (interrupt_pending()) {
            return error_set(error, "interrupted");
        }
        nanosleep(&(struct timespec){.tv_nsec = READY_POLL_NS}, NULL);
    }
    return true;
}

bool contestant_start(struct contestant_run *run, const struct contestant *contestant,
                      const struct contestant_program *program, uint16_t port, uint16_t server_port,
                      struct error *error) {
    *run = (struct contestant_run){.port = contestant->program == NULL ? server_port : port};
    if (contestant->program == NULL) {
        return true;
    }
    if (!folder_make(run, error)) {
        return false;
    }
    char listen_text[32];
    char server_text[32];
    char config_path[CONTESTANT_PATH_SIZE + 16];
    snprintf(listen_text, sizeof listen_text, "127.0.0.1:%u", port);
    snprintf(server_text, sizeof server_text, "127.0.0.1:%u", server_port);
    snprintf(config_path, sizeof config_path, "%s/config", run->folder);
    const struct replacement replacements[] = {
        {"@FOLDER@", run->folder},
        {"@CONFIG@", config_path},
        {"@LISTEN@", listen_text},
        {"@SERVER@", server_text},
        {"@STREAM_MODULE@", program->stream_module},
        {NULL, NULL},
    };
    if (config_write(config_path, contestant->config, replacements, error) &&
        program_launch(run, contestant, program->path, replacements, error) && run_wait_ready(run, error)) {
        return true;
    }
    contestant_explain(run, error);
    contestant_stop(run);
    return false;
}

void contestant_explain(struct contestant_run *run, struct error *error) {
    char path[CONTESTANT_PATH_SIZE + 16];
    char output[OUTPUT_SHOWN + 1] = "";
    snprintf(path, sizeof path, "%s/output", run->folder);
    FILE *file = run->folder[0] == 0 ? NULL : fopen(path, "re");
    if (file != NULL) {
        if (fseek(file, -OUTPUT_SHOWN, SEEK_END) != 0) {
            rewind(file); /* it is shorter */
        }
        output[fread(output, 1, OUTPUT_SHOWN, file)] = 0;
        fclose(file);
    }
    struct error cause = *error;
    bool died = run->folder[0] != 0 && !process_is_alive(&run->process);
    error_set(error, "%.160s%s%s%s", cause.text, died ? "; the program has ended" : "",
              output[0] != 0 ? "; it printed:\n" : "", output);
}

void contestant_stop(struct contestant_run *run) {
    process_stop(&run->process);
    folder_remove(run);
}
