#include "tests/bench/contestant.h"

#include "base/bytes.h"
#include "base/check.h"
#include "tests/bench/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGE_MESSAGE = 65536 };

/* ---- the table */

#define MOONRING_CONFIG(io, filters) MOONRING_CONFIG_OF("1", io, filters)
#define MOONRING_CONFIG_OF(workers, io, filters)                                                                       \
    "process: {workers: " workers "}\n"                                                                                \
    "admin: {bind: \"unix:@FOLDER@/admin.sock\"}\n"                                                                    \
    "log:\n"                                                                                                           \
    "  access: {target: \"file:@FOLDER@/access.log\"}\n" io "listeners:\n"                                             \
    "  bench:\n"                                                                                                       \
    "    bind: \"@LISTEN@\"\n"                                                                                         \
    "    upstream: \"@UPSTREAM@\"\n" filters "@LISTENERS@@UPSTREAMS@"
/* The second listener is what the first one is compared with: all is as there but the filter. Bytes that Lua sees are
 * not spliced, so those of the second are not either, unless the filter sees none. */
#define MOONRING_FILTER(io, path)                                                                                      \
    MOONRING_CONFIG(io, "    filters: [{lua: \"@SOURCE@/" path                                                         \
                        "\"}]\n  plain: {bind: \"@PLAIN@\", upstream: \"@PLAIN_SERVER@\"}\n")
#define COPIES "io: {splice: off}\n"

#define HAPROXY_CONFIG(buffer_size, global, option, filter) HAPROXY_CONFIG_OF("1", buffer_size, global, option, filter)
#define HAPROXY_CONFIG_OF(threads, buffer_size, global, option, filter)                                                \
    "global\n"                                                                                                         \
    "  nbthread " threads "\n"                                                                                         \
    "  maxconn 9900\n"                                                                                                 \
    "  no strict-limits\n"                                                                                             \
    "  tune.bufsize " buffer_size "\n" global "defaults\n"                                                             \
    "  mode tcp\n"                                                                                                     \
    "  maxconn 9900\n"                                                                                                 \
    "  timeout connect 5s\n"                                                                                           \
    "  timeout client 10m\n"                                                                                           \
    "  timeout server 10m\n" option "listen bench\n"                                                                   \
    "  bind @LISTEN@\n" filter "  server one @SERVER@\n"
#define HAPROXY_FILTER(name)                                                                                           \
    HAPROXY_CONFIG("16384", "  lua-load @SOURCE@/tests/bench/filters/haproxy.lua\n", "", "  filter lua." name "\n")    \
    "listen plain\n"                                                                                                   \
    "  bind @PLAIN@\n"                                                                                                 \
    "  server one @PLAIN_SERVER@\n"

#define NGINX_CONFIG(buffer_size, script, filter) NGINX_CONFIG_OF("1", "", buffer_size, script, filter)
#define NGINX_CONFIG_OF(workers, listen, buffer_size, script, filter)                                                  \
    "@MODULES@"                                                                                                        \
    "daemon off;\n"                                                                                                    \
    "worker_processes " workers ";\n"                                                                                  \
    "pid @FOLDER@/nginx.pid;\n"                                                                                        \
    "error_log stderr error;\n"                                                                                        \
    "events { worker_connections 24000; }\n"                                                                           \
    "stream {\n"                                                                                                       \
    "  proxy_buffer_size " buffer_size ";\n"                                                                           \
    "  proxy_connect_timeout 5s;\n"                                                                                    \
    "  proxy_timeout 10m;\n" script "  server { listen @LISTEN@ backlog=4096" listen "; " filter                       \
    "proxy_pass @SERVER@; }\n"                                                                                         \
    "}\n"
#define NGINX_FILTER(name)                                                                                             \
    NGINX_CONFIG("16k",                                                                                                \
                 "  js_import bench from @SOURCE@/tests/bench/filters/nginx.js;\n"                                     \
                 "  server { listen @PLAIN@ backlog=4096; proxy_pass @PLAIN_SERVER@; }\n",                             \
                 "js_filter bench." name "; ")

#define IN(contest) (1U << (contest))
/* Of one worker without a filter. */
#define IN_ALL                                                                                                         \
    (IN(CONTEST_PROXIES) | IN(CONTEST_TAIL) | IN(CONTEST_SLOW) | IN(CONTEST_PROFILE) | IN(CONTEST_START) |             \
     IN(CONTEST_CURVES))

#define MOONRING                                                                                                       \
    .program = "moonring", .tells_ring = true, .version_argument = "version", .arguments = {"run", "-c", "@CONFIG@"}
#define HAPROXY .program = "haproxy", .version_argument = "-v", .arguments = {"-db", "-f", "@CONFIG@"}
#define NGINX                                                                                                          \
    .program = "nginx", .version_argument = "-v", .arguments = {"-e", "stderr", "-p", "@FOLDER@", "-c", "@CONFIG@"}

/* A contestant with a filter stands behind the one without, so that they run one after the other. */
static const struct contestant contestants[] = {
    {.name = "moonring",
     MOONRING,
     .about = "one worker, access log to a file, all else as it comes",
     .config = MOONRING_CONFIG("", ""),
     .contests = IN_ALL | IN(CONTEST_RING)},
    {.name = "moonring-spin",
     MOONRING,
     .about = "the same with io.busy_poll: 50us",
     .config = MOONRING_CONFIG("io: {busy_poll: 50us}\n", ""),
     .contests = IN(CONTEST_PROXIES) | IN(CONTEST_RING),
     .spins = true},
    {.name = "moonring-sqpoll",
     MOONRING,
     .about = "the same with io.sqpoll on CPU 0, too",
     .config = MOONRING_CONFIG("io: {busy_poll: 50us, sqpoll: true, sqpoll_cpu: 0}\n", ""),
     .contests = IN(CONTEST_RING),
     .two_cpus = true},
    {.name = "moonring-2",
     MOONRING,
     .about = "two workers, on both CPUs",
     .config = MOONRING_CONFIG_OF("2", "", ""),
     .contests = IN(CONTEST_WORKERS),
     .two_cpus = true},
    {.name = "moonring-route",
     MOONRING,
     .about = "with a Lua filter that has only a route hook",
     .config = MOONRING_FILTER("", "tests/bench/filters/route.lua"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "route"},
    {.name = "moonring-copy",
     MOONRING,
     .about = "the same with io.splice: off, as it is for bytes that a filter sees",
     .config = MOONRING_CONFIG(COPIES, ""),
     .contests = IN(CONTEST_RING),
     .message_size_min = LARGE_MESSAGE},
    {.name = "moonring-empty",
     MOONRING,
     .about = "with a Lua filter whose hooks see every chunk and do nothing",
     .config = MOONRING_FILTER(COPIES, "tests/bench/filters/empty.lua"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "empty"},
    {.name = "moonring-bytes",
     MOONRING,
     .about = "with a Lua filter that reads ten bytes of every chunk",
     .config = MOONRING_FILTER(COPIES, "tests/bench/filters/bytes.lua"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "bytes"},
    {.name = "moonring-redis",
     MOONRING,
     .about = "with examples/redis_firewall.lua, which looks at every command of the clients",
     .config = MOONRING_FILTER(COPIES, "examples/redis_firewall.lua"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "redis",
     .one_way = true},
    {.name = "haproxy-16k",
     HAPROXY,
     .about = "mode tcp, nbthread 1, tune.bufsize 16384 (its default), no log",
     .config = HAPROXY_CONFIG("16384", "", "", ""),
     .contests = IN_ALL},
    {.name = "haproxy-spin",
     HAPROXY,
     .about = "the same with busy-polling: it never sleeps",
     .config = HAPROXY_CONFIG("16384", "  busy-polling\n", "", ""),
     .spins = true},
    {.name = "haproxy-empty",
     HAPROXY,
     .about = "the same with a Lua filter whose tcp_payload does nothing",
     .config = HAPROXY_FILTER("empty"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "empty"},
    {.name = "haproxy-bytes",
     HAPROXY,
     .about = "the same with a Lua filter that reads ten bytes",
     .config = HAPROXY_FILTER("bytes"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "bytes"},
    {.name = "haproxy-64k",
     HAPROXY,
     .about = "the same without a filter, tune.bufsize 65536",
     .config = HAPROXY_CONFIG("65536", "", "", ""),
     .message_size_min = LARGE_MESSAGE},
    {.name = "haproxy-splice",
     HAPROXY,
     .about = "the same, tune.bufsize 65536, option splice-auto",
     .config = HAPROXY_CONFIG("65536", "", "  option splice-auto\n", ""),
     .message_size_min = LARGE_MESSAGE},
    {.name = "haproxy-2",
     HAPROXY,
     .about = "mode tcp, nbthread 2, on both CPUs",
     .config = HAPROXY_CONFIG_OF("2", "16384", "", "", ""),
     .contests = IN(CONTEST_WORKERS),
     .two_cpus = true},
    {.name = "nginx-16k",
     NGINX,
     .about = "stream, one worker, proxy_buffer_size 16k (its default), no log",
     .config = NGINX_CONFIG("16k", "", ""),
     .contests = IN_ALL},
    {.name = "nginx-empty",
     NGINX,
     .about = "the same with a js_filter that passes on what it gets",
     .config = NGINX_FILTER("empty"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "empty"},
    {.name = "nginx-bytes",
     NGINX,
     .about = "the same with a js_filter that reads ten bytes",
     .config = NGINX_FILTER("bytes"),
     .contests = IN(CONTEST_FILTERS),
     .filter = "bytes"},
    {.name = "nginx-64k",
     NGINX,
     .about = "the same without a filter, proxy_buffer_size 64k",
     .config = NGINX_CONFIG("64k", "", ""),
     .message_size_min = LARGE_MESSAGE},
    {.name = "nginx-2",
     NGINX,
     .about = "stream, two workers with a socket each, on both CPUs",
     .config = NGINX_CONFIG_OF("2", " reuseport", "16k", "", ""),
     .contests = IN(CONTEST_WORKERS),
     .two_cpus = true},
    {.name = "epoll",
     .contests = IN_ALL & ~IN(CONTEST_TAIL),
     .program = "epoll-relay",
     .about = "the epoll twin of tests/bench/epoll: edge-triggered, vectored sends, bulk spliced",
     .config = "",
     .arguments = {"@LISTEN@", "@SERVER@"}},
    {.name = "epoll-spin",
     .program = "epoll-relay",
     .about = "the same, asks for 50 us before it sleeps",
     .config = "",
     .arguments = {"@LISTEN@", "@SERVER@", "50us"},
     .spins = true},
    {.name = "direct",
     .about = "no proxy: what the load generator itself can do",
     .contests = ~(IN(CONTEST_FILTERS) | IN(CONTEST_PROFILE)),
     .only_named = true},
};

size_t contestant_count(void) {
    return sizeof contestants / sizeof contestants[0];
}

const struct contestant *contestant_at(size_t index) {
    check(index < contestant_count());
    return &contestants[index];
}

/* More listeners and servers are for those whose configuration has them. */
static bool contestant_scales(const struct contestant *contestant) {
    return contestant->config != NULL && strstr(contestant->config, "@LISTENERS@") != NULL;
}

bool contestant_is_in(const struct contestant *contestant, enum contest contest) {
    unsigned contests = contestant->contests == 0 ? IN(CONTEST_PROXIES) : contestant->contests;
    return (contests & IN(contest)) != 0;
}

bool contestant_takes_part(const struct contestant *contestant, const struct workload *workload) {
    if ((contestant->spins && !workload->has_pauses) || (workload->listeners > 0 && !contestant_scales(contestant))) {
        return false;
    }
    return contestant_is_in(contestant, workload->contest) &&
           workload->plan.message_size >= contestant->message_size_min;
}

/* ---- what is installed */

static bool nginx_add_module(struct contestant_program *program, const char *folder, const char *file,
                             const char *package, struct error *error) {
    char path[CONTESTANT_PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (access(path, R_OK) != 0) {
        return error_set(error, "%s has no %s (Debian: %s)", program->path, file, package);
    }
    size_t size = strlen(program->modules);
    snprintf(program->modules + size, sizeof program->modules - size, "load_module %s;\n", path);
    return true;
}

/* nginx -V tells whether stream is built in, a module of its own, or absent. */
static bool nginx_find_modules(const struct contestant *contestant, struct contestant_program *program,
                               struct error *error) {
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
    bool needs_script = strstr(contestant->config, "js_import") != NULL;
    return (is_built_in || nginx_add_module(program, folder, "ngx_stream_module.so", "libnginx-mod-stream", error)) &&
           (!needs_script ||
            nginx_add_module(program, folder, "ngx_stream_js_module.so", "libnginx-mod-stream-js", error));
}

static bool haproxy_find_lua(const struct contestant *contestant, const struct contestant_program *program,
                             struct error *error) {
    if (strstr(contestant->config, "lua-load") == NULL) {
        return true;
    }
    struct bytes output;
    bytes_init(&output);
    process_capture((const char *const[]){program->path, "-vv", NULL}, &output);
    bool has_lua = strstr(output.data, "+LUA") != NULL;
    bytes_finish(&output);
    return has_lua || error_set(error, "%s was built without Lua", program->path);
}

static bool parts_find(const struct contestant *contestant, struct contestant_program *program, struct error *error) {
    if (strcmp(contestant->program, "nginx") == 0) {
        return nginx_find_modules(contestant, program, error);
    }
    if (strcmp(contestant->program, "haproxy") == 0) {
        return haproxy_find_lua(contestant, program, error);
    }
    return true;
}

/* The first line of what it prints, without a web address at its end. */
static void version_find(const struct contestant *contestant, struct contestant_program *program) {
    if (contestant->version_argument == NULL) {
        return;
    }
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

bool contestant_find(const struct contestant *contestant, const char *given_path, const char *source,
                     struct contestant_program *program, struct error *error) {
    *program = (struct contestant_program){0};
    if (contestant->program == NULL) {
        return true;
    }
    const char *name = given_path != NULL ? given_path : contestant->program;
    if (!process_find(name, program->path, sizeof program->path)) {
        return error_set(error, "%s is not installed", name);
    }
    char *root = realpath(source, NULL);
    if (root == NULL) {
        return error_set(error, "%s: %s", source, error_name(errno));
    }
    snprintf(program->source, sizeof program->source, "%s", root);
    free(root);
    if (!parts_find(contestant, program, error)) {
        return false;
    }
    version_find(contestant, program);
    return true;
}
