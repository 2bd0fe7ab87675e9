#include "tests/scenario/example_world.h"

#include "tests/support/network.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

void world_enter(struct world *world) {
    network_enter();
    temporary_create(&world->folder);
}

void world_start(struct world *world, const char *name) {
    char path[128];
    snprintf(path, sizeof(path), "examples/%s", name);
    process_start(&world->moonring.process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(&world->moonring);
}

const char *world_run(struct world *world, const char *format, ...) {
    struct process shell;
    struct bytes script;
    bytes_init(&script);
    bytes_printf(&script, "set -e; cd %s; ", world->folder.path);
    va_list arguments;
    va_start(arguments, format);
    bytes_vprintf(&script, format, arguments);
    va_end(arguments);
    process_run(&shell, ARGUMENTS("bash", "-o", "pipefail", "-c", script.data));
    bytes_finish(&script);
    return process_text(&shell.output);
}

/* --- servers ------------------------------------------------------------------------------------------------------ */

void world_start_redis(struct world *world, struct process *server, const char *port) {
    process_start(server, NULL,
                  ARGUMENTS("redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", world->folder.path,
                            "--save", "", "--appendonly", "no"));
    process_wait_line(server, &server->output, "Ready to accept connections");
}

void world_start_nginx(struct world *world, struct process *server, const char *http, const char *address) {
    char path[TEMPORARY_PATH_MAX];
    temporary_write(&world->folder, "nginx.conf",
                    "daemon off; master_process off; pid nginx.pid; error_log stderr;\n"
                    "events {}\n"
                    "http { access_log off; client_max_body_size 0; client_body_temp_path body; %s }\n",
                    http);
    process_start(server, NULL,
                  ARGUMENTS("nginx", "-e", "stderr", "-p", world->folder.path, "-c",
                            temporary_path(&world->folder, "nginx.conf", path)));
    peer_wait_for_server(address);
}

void world_start_sshd(struct world *world, struct process *server, const char *port) {
    char path[TEMPORARY_PATH_MAX];
    const char *folder = world->folder.path;
    world_run(world, "ssh-keygen -q -t ed25519 -N '' -f host_key; ssh-keygen -q -t ed25519 -N '' -f user_key");
    temporary_write(&world->folder, "sshd_config",
                    "ListenAddress 127.0.0.1:%s\nHostKey %s/host_key\nAuthorizedKeysFile %s/user_key.pub\n"
                    "PermitRootLogin yes\nPasswordAuthentication no\nStrictModes no\nPidFile none\nUsePAM no\n",
                    port, folder, folder);
    mkdir("/run/sshd", 0755); /* sshd insists on it; its service would make it */
    process_start(server, NULL,
                  ARGUMENTS("/usr/sbin/sshd", "-D", "-e", "-f", temporary_path(&world->folder, "sshd_config", path)));
    process_wait_line(server, &server->errors, "Server listening on");
}

void world_make_certificate(struct world *world, const char *name) {
    world_run(world,
              "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=%s"
              " -keyout %s.key -out %s.crt 2>/dev/null",
              name, name, name);
}

void world_start_tls(struct world *world, struct process *server, const char *name, const char *port) {
    char file[128], certificate[TEMPORARY_PATH_MAX], key[TEMPORARY_PATH_MAX];
    world_make_certificate(world, name);
    snprintf(file, sizeof(file), "%s.crt", name);
    temporary_path(&world->folder, file, certificate);
    snprintf(file, sizeof(file), "%s.key", name);
    temporary_path(&world->folder, file, key);
    process_start(server, NULL,
                  ARGUMENTS("openssl", "s_server", "-accept", port, "-cert", certificate, "-key", key, "-www"));
    process_wait_line(server, &server->output, "ACCEPT");
}
