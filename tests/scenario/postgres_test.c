/* PostgreSQL behind moonring, over TCP and over its unix socket. */
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct postgres {
    struct process server;
    struct temporary folder; /* the database, and the unix socket */
    char programs[128];      /* the folder of initdb and postgres, which are not in PATH */
    char port[8];
    struct moonring moonring;
    char front_port[8];
};

static void find_programs(struct postgres *postgres) {
    glob_t found;
    cr_assert(glob("/usr/lib/postgresql/*/bin", GLOB_ONLYDIR, NULL, &found) == 0,
              "PostgreSQL is not installed: `make packages-test`");
    snprintf(postgres->programs, sizeof(postgres->programs), "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
}

/* PostgreSQL refuses to be root. */
static void become_postgres(void) {
    const struct passwd *user = getpwnam("postgres");
    if (user == NULL || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
        _exit(1);
    }
}

static void database_create(const struct postgres *postgres, const char *data) {
    char initdb[160];
    struct process process;
    snprintf(initdb, sizeof(initdb), "%s/initdb", postgres->programs);
    process_start(&process, become_postgres,
                  ARGUMENTS(initdb, "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "--locale=C"));
    cr_assert(process_wait_at_most(&process, 60000) == 0, "%s", process_text(&process.errors));
}

/* With moonring in front; `upstream` is a format for the folder of the unix socket and the port. */
static void postgres_start(struct postgres *postgres, const char *upstream_kind) {
    char data[TEMPORARY_PATH_MAX], program[160], ready[ADDRESS_TEXT_MAX], upstream[ADDRESS_TEXT_MAX];
    const struct passwd *user = getpwnam("postgres");
    find_programs(postgres);
    temporary_create(&postgres->folder);
    const char *folder = postgres->folder.path;
    cr_assert(user != NULL && chown(folder, user->pw_uid, user->pw_gid) == 0);
    database_create(postgres, temporary_path(&postgres->folder, "data", data));
    snprintf(postgres->port, sizeof(postgres->port), "%u", peer_free_port());
    snprintf(program, sizeof(program), "%s/postgres", postgres->programs);
    process_start(&postgres->server, become_postgres,
                  ARGUMENTS(program, "-D", data, "-F", "-h", "127.0.0.1", "-p", postgres->port, "-k", folder));
    process_wait_line(&postgres->server, &postgres->server.errors, "ready to accept connections");
    snprintf(ready, sizeof(ready), "unix:%s/.s.PGSQL.%s", folder, postgres->port);
    snprintf(upstream, sizeof(upstream), "127.0.0.1:%s", postgres->port);
    moonring_start(&postgres->moonring, "listeners: {pg: {bind: '127.0.0.1:0', upstream: '%s'}}\n",
                   strcmp(upstream_kind, "unix") == 0 ? ready : upstream);
    snprintf(postgres->front_port, sizeof(postgres->front_port), "%s", strrchr(postgres->moonring.address, ':') + 1);
}

static void postgres_stop(struct postgres *postgres) {
    moonring_stop(&postgres->moonring);
    process_signal(&postgres->server, SIGINT); /* its fast shutdown: gives its shared memory back */
    process_wait(&postgres->server);
}

/* The first result of a query, asked on this host and port. */
static const char *query(struct process *psql, const char *host, const char *port, const char *sql) {
    process_run(psql, ARGUMENTS("psql", "-h", host, "-p", port, "-U", "postgres", "-X", "-A", "-t", "-c", sql));
    return process_text(&psql->output);
}

static void answers_psql_as_if_there_were_no_proxy(const char *upstream_kind) {
    static const char sql[] = "select string_agg(md5(i::text), '') from generate_series(1, 300000) i"; /* 9.6 MB */
    struct postgres postgres;
    struct process direct, proxied;
    postgres_start(&postgres, upstream_kind);
    cr_assert_str_eq(query(&proxied, "127.0.0.1", postgres.front_port, "select 6 * 7"), "42\n");
    cr_assert_str_eq(query(&proxied, "127.0.0.1", postgres.front_port, sql),
                     query(&direct, postgres.folder.path, postgres.port, sql));
    postgres_stop(&postgres);
}

Test(postgres, answers_psql_as_if_there_were_no_proxy_over_tcp, .timeout = 90) {
    answers_psql_as_if_there_were_no_proxy("tcp");
}

Test(postgres, answers_psql_as_if_there_were_no_proxy_over_a_unix_socket, .timeout = 90) {
    answers_psql_as_if_there_were_no_proxy("unix");
}

Test(postgres, serves_pgbench_with_eight_clients, .timeout = 90) {
    struct postgres postgres;
    struct process bench;
    postgres_start(&postgres, "tcp");
    process_run(&bench, ARGUMENTS("pgbench", "-h", "127.0.0.1", "-p", postgres.front_port, "-U", "postgres", "-i", "-q",
                                  "postgres"));
    process_run(&bench, ARGUMENTS("pgbench", "-h", "127.0.0.1", "-p", postgres.front_port, "-U", "postgres", "-c", "8",
                                  "-j", "2", "-t", "100", "postgres"));
    cr_assert(process_count_lines(&bench.output, "actually processed: 800/800") == 1, "%s%s",
              process_text(&bench.output), process_text(&bench.errors));
    process_run(&bench, ARGUMENTS("pgbench", "-h", "127.0.0.1", "-p", postgres.front_port, "-U", "postgres", "-c", "8",
                                  "-j", "2", "-t", "20", "-C", "-S", "postgres")); /* a connection each */
    cr_assert(process_count_lines(&bench.output, "actually processed: 160/160") == 1, "%s%s",
              process_text(&bench.output), process_text(&bench.errors));
    postgres_stop(&postgres);
}
