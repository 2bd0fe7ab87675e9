/* What the clients of tests/scenario/torture_test.c see of others that reload under load: HAProxy (its seamless reload:
 * a master that hands its sockets on) and nginx. Nothing is demanded of them; the figures are for comparison. The
 * environment variable TORTURE_RELOADS tells how many reloads; they get a fifth, at a fifth of the pace, since each of
 * theirs starts processes. */
#include "tests/support/crowd.h"
#include "tests/support/deadline.h"
#include "tests/support/mirror.h"
#include "tests/support/peer.h"
#include "tests/support/process.h"
#include "tests/support/residents.h"
#include "tests/support/temporary.h"
#include "tests/support/torture.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS = 64,
    RESIDENTS = 500,
    SIZE_MAX_BYTES = 32 * 1024,
    EVERY_MS = 250,
};

/* What a reload finds changed, one after the other: what both of them know. */
enum turn { NOTHING, TIMEOUT, SERVER_ADDED, LISTENER_ADDED, BROKEN, SERVER_REMOVED, LISTENER_REMOVED, TURNS };

struct rival {
    const char *name;
    int reload_signal;
    struct process process;
    struct temporary folder;
    struct mirror mirrors[2];
    char address[ADDRESS_TEXT_MAX];
    char extra[ADDRESS_TEXT_MAX];
    unsigned idle_s;
    bool has_second_server;
    bool has_extra;
    bool is_broken;
    void (*write_configuration)(const struct rival *rival);
};

/* --- configurations ---------------------------------------------------------------------------------------------- */

static void write_haproxy(const struct rival *rival) {
    temporary_write(&rival->folder, "haproxy.cfg",
                    "global\n"
                    "  maxconn 9000\n"
                    "  no strict-limits\n"
                    "  nbthread 2\n"
                    "  stats socket %s/haproxy.sock mode 600 level admin expose-fd listeners\n"
                    "defaults\n"
                    "  mode tcp\n"
                    "  timeout connect 5s\n"
                    "  timeout client %us\n"
                    "  timeout server %us\n"
                    "frontend main\n"
                    "  bind %s backlog 4096\n"
                    "  default_backend mirrors\n"
                    "%s%s%s"
                    "backend mirrors\n"
                    "  server a %s\n"
                    "%s%s%s"
                    "%s",
                    rival->folder.path, rival->idle_s, rival->idle_s, rival->address,
                    rival->has_extra ? "frontend extra\n  bind " : "", rival->has_extra ? rival->extra : "",
                    rival->has_extra ? "\n  default_backend mirrors\n" : "", rival->mirrors[0].address,
                    rival->has_second_server ? "  server b " : "",
                    rival->has_second_server ? rival->mirrors[1].address : "", rival->has_second_server ? "\n" : "",
                    rival->is_broken ? "nonsense\n" : "");
}

static void write_nginx(const struct rival *rival) {
    temporary_write(&rival->folder, "nginx.conf",
                    "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                    "daemon off; worker_processes 2; worker_rlimit_nofile 20000; pid nginx.pid; error_log stderr;\n"
                    "events { worker_connections 8192; }\n"
                    "stream {\n"
                    "  upstream mirrors { server %s; %s%s%s }\n"
                    "  server { listen %s backlog=4096; proxy_pass mirrors; proxy_timeout %us; }\n"
                    "  %s%s%s\n"
                    "  %s\n"
                    "}\n",
                    rival->mirrors[0].address, rival->has_second_server ? "server " : "",
                    rival->has_second_server ? rival->mirrors[1].address : "", rival->has_second_server ? ";" : "",
                    rival->address, rival->idle_s, rival->has_extra ? "server { listen " : "",
                    rival->has_extra ? rival->extra : "", rival->has_extra ? "; proxy_pass mirrors; }" : "",
                    rival->is_broken ? "nonsense;" : "");
}

/* --- running ----------------------------------------------------------------------------------------------------- */

static void rival_open(struct rival *rival) {
    rival->idle_s = 600;
    mirror_start(&rival->mirrors[0], "127.0.0.1:0");
    mirror_start(&rival->mirrors[1], "127.0.0.1:0");
    snprintf(rival->address, sizeof(rival->address), "127.0.0.1:%u", peer_free_port());
    snprintf(rival->extra, sizeof(rival->extra), "127.0.0.1:%u", peer_free_port());
    temporary_create(&rival->folder);
    rival->write_configuration(rival);
}

static void rival_turn(struct rival *rival, enum turn turn) {
    rival->is_broken = turn == BROKEN;
    switch (turn) {
    case TIMEOUT:
        rival->idle_s = 1300 - rival->idle_s;
        break;
    case SERVER_ADDED:
    case SERVER_REMOVED:
        rival->has_second_server = turn == SERVER_ADDED;
        break;
    case LISTENER_ADDED:
    case LISTENER_REMOVED:
        rival->has_extra = turn == LISTENER_ADDED;
        break;
    case NOTHING:
    case BROKEN:
    case TURNS:
        break;
    }
    rival->write_configuration(rival);
    process_signal(&rival->process, rival->reload_signal);
}

static size_t reloads_wanted(void) {
    const char *text = getenv("TORTURE_RELOADS");
    return text == NULL ? 2 * TURNS : strtoull(text, NULL, 10) / 5;
}

static void rival_torture(struct rival *rival) {
    struct residents residents;
    struct crowd crowd;
    size_t reloads = reloads_wanted();
    peer_wait_for_server(rival->address);
    residents_start(&residents, rival->address, RESIDENTS, 200);
    crowd_start(&crowd, rival->address, CLIENTS, SIZE_MAX_BYTES, 10);
    deadline_pause(500);
    struct footprint before = footprint_take(&rival->process);
    for (size_t index = 0; index < reloads; index++) {
        rival_turn(rival, (enum turn)(index % TURNS));
        deadline_pause(EVERY_MS);
    }
    struct footprint after = footprint_take(&rival->process);
    crowd_stop(&crowd);
    const struct torture_row row = {.name = rival->name,
                                    .reloads = reloads,
                                    .crowds = &crowd,
                                    .residents = &residents,
                                    .listeners = 1,
                                    .before = before,
                                    .after = after};
    torture_print(&row);
    cr_assert(atomic_load(&crowd.sessions) > 0);
}

Test(rivals, haproxy, .timeout = 600) {
    char path[TEMPORARY_PATH_MAX];
    struct rival rival = {.name = "HAProxy", .reload_signal = SIGUSR2, .write_configuration = write_haproxy};
    rival_open(&rival);
    process_start(&rival.process, NULL,
                  ARGUMENTS("haproxy", "-W", "-f", temporary_path(&rival.folder, "haproxy.cfg", path)));
    rival_torture(&rival);
}

Test(rivals, nginx, .timeout = 600) {
    char path[TEMPORARY_PATH_MAX];
    struct rival rival = {.name = "nginx", .reload_signal = SIGHUP, .write_configuration = write_nginx};
    rival_open(&rival);
    process_start(&rival.process, NULL,
                  ARGUMENTS("nginx", "-e", "stderr", "-p", rival.folder.path, "-c",
                            temporary_path(&rival.folder, "nginx.conf", path)));
    rival_torture(&rival);
}
