/* examples/postgres_router.yaml with two PostgreSQL servers and psql. */
#include "tests/scenario/example_world.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SERVERS = 2 };
static const char *const ports[SERVERS] = {"5432", "5433"};

struct databases {
    struct world world;
    struct process servers[SERVERS];
    char programs[128]; /* the folder of initdb and postgres, which are not in PATH */
};

/* PostgreSQL refuses to be root. */
static void become_postgres(void) {
    const struct passwd *user = getpwnam("postgres");
    if (user == NULL || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
        _exit(1);
    }
}

static void find_programs(struct databases *databases) {
    glob_t found;
    cr_assert(glob("/usr/lib/postgresql/*/bin", GLOB_ONLYDIR, NULL, &found) == 0,
              "PostgreSQL is not installed: `.ci/install test`");
    snprintf(databases->programs, sizeof(databases->programs), "%s", found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
}

/* One folder for each server: the second is a copy of the first, before either has started. */
static void make_folders(struct databases *databases) {
    struct world *world = &databases->world;
    char initdb[160], data[TEMPORARY_PATH_MAX];
    struct process process;
    world_run(world, "chown postgres .");
    snprintf(initdb, sizeof(initdb), "%s/initdb", databases->programs);
    process_start(&process, become_postgres,
                  ARGUMENTS(initdb, "-D", temporary_path(&world->folder, ports[0], data), "-U", "postgres", "-A",
                            "trust", "--no-sync", "--locale=C"));
    cr_assert(process_wait_at_most(&process, 60000) == 0, "%s", process_text(&process.errors));
    world_run(world, "cp -a %s %s", ports[0], ports[1]);
}

static void server_start(struct databases *databases, size_t index) {
    char data[TEMPORARY_PATH_MAX], program[160];
    const struct temporary *folder = &databases->world.folder;
    struct process *server = &databases->servers[index];
    snprintf(program, sizeof(program), "%s/postgres", databases->programs);
    process_start(server, become_postgres,
                  ARGUMENTS(program, "-D", temporary_path(folder, ports[index], data), "-F", "-h", "127.0.0.1", "-p",
                            ports[index], "-k", folder->path));
    process_wait_line(server, &server->errors, "ready to accept connections");
}

static void databases_start(struct databases *databases) {
    struct world *world = &databases->world;
    world_enter(world);
    find_programs(databases);
    make_folders(databases);
    for (size_t index = 0; index < SERVERS; index++) {
        server_start(databases, index);
    }
    world_run(world, "export PGHOST=127.0.0.1 PGUSER=postgres;"
                     "createdb -p 5432 shop; createdb -p 5432 orders; createdb -p 5433 staff");
    world_start(world, "postgres_router.yaml");
}

static void databases_stop(struct databases *databases) {
    moonring_stop(&databases->world.moonring);
    for (size_t index = 0; index < SERVERS; index++) {
        process_signal(&databases->servers[index], SIGINT); /* its fast shutdown: gives its shared memory back */
        process_wait(&databases->servers[index]);
    }
}

/* Which server answers, asked through moonring. */
static const char *port_of(struct databases *databases, const char *database, const char *mode) {
    return world_run(&databases->world,
                     "psql -XAt 'host=127.0.0.1 port=6433 user=postgres dbname=%s sslmode=%s' -c 'show port' 2>&1",
                     database, mode);
}

Test(example_postgres_router, leads_psql_to_the_server_of_its_database, .timeout = 90) {
    struct databases databases;
    databases_start(&databases);
    cr_assert_str_eq(port_of(&databases, "shop", "prefer"), "5432\n");
    cr_assert_str_eq(port_of(&databases, "orders", "disable"), "5432\n");
    cr_assert_str_eq(port_of(&databases, "staff", "prefer"), "5433\n");
    cr_assert_str_eq(port_of(&databases, "staff", "disable"), "5433\n");
    databases_stop(&databases);
}

/* What psql says when it cannot connect. */
static const char *refusal_of(struct databases *databases, const char *words) {
    return world_run(&databases->world,
                     "psql -X 'host=127.0.0.1 port=6433 user=postgres %s' -c 'select 1' 2>&1 || true", words);
}

Test(example_postgres_router, tells_psql_what_it_cannot_do, .timeout = 90) {
    struct databases databases;
    databases_start(&databases);
    const char *unknown = refusal_of(&databases, "dbname=attic");
    cr_assert(strstr(unknown, "FATAL:  database \"attic\" is not known here") != NULL, "%s", unknown);
    const char *encrypted = refusal_of(&databases, "dbname=shop sslmode=require");
    cr_assert(strstr(encrypted, "server does not support SSL, but SSL was required") != NULL, "%s", encrypted);
    databases_stop(&databases);
}

static void sleeper_start(struct process *psql, const char *database) {
    process_start(psql, NULL,
                  ARGUMENTS("psql", "-X", "-h", "127.0.0.1", "-p", "6433", "-U", "postgres", "-d", database, "-c",
                            "select pg_sleep(100)"));
}

/* Waits until so many sleep on that server. */
static void expect_sleepers(struct databases *databases, const char *port, int count) {
    world_run(&databases->world,
              "for try in $(seq 200); do"
              "  [ \"$(psql -XAt -h 127.0.0.1 -p %s -U postgres -c \"select count(*) from pg_stat_activity"
              "    where query = 'select pg_sleep(100)' and wait_event = 'PgSleep'\")\" = %d ] && exit 0; sleep 0.05;"
              "done; exit 1",
              port, count);
}

static void expect_cancelled(struct process *psql) {
    process_signal(psql, SIGINT); /* Ctrl-C */
    cr_assert(process_wait(psql) == 1);
    const char *text = process_text(&psql->errors);
    cr_assert(strstr(text, "canceling statement due to user request") != NULL, "%s", text);
}

Test(example_postgres_router, leads_a_cancel_to_the_server_of_its_query, .timeout = 90) {
    struct databases databases;
    struct process first, second;
    databases_start(&databases);
    sleeper_start(&first, "shop");
    sleeper_start(&second, "staff");
    expect_sleepers(&databases, "5432", 1);
    expect_sleepers(&databases, "5433", 1);
    expect_cancelled(&second);
    expect_sleepers(&databases, "5433", 0);
    expect_sleepers(&databases, "5432", 1);
    expect_cancelled(&first);
    databases_stop(&databases);
}

Test(example_postgres_router, serves_pgbench, .timeout = 90) {
    struct databases databases;
    databases_start(&databases);
    world_run(&databases.world, "export PGHOST=127.0.0.1 PGUSER=postgres PGPORT=6433;"
                                "pgbench -i -q shop 2>/dev/null; pgbench -c 8 -j 2 -t 50 shop >out 2>&1;"
                                "grep 'actually processed: 400/400' out;"
                                "pgbench -c 8 -j 2 -t 10 -C -S shop >out 2>&1; grep 'actually processed: 80/80' out");
    databases_stop(&databases);
}

Test(example_postgres_router, passes_a_row_of_16_mib, .timeout = 90) {
    struct databases databases;
    databases_start(&databases);
    const char *sizes =
        world_run(&databases.world, "psql -XAt 'host=127.0.0.1 port=6433 user=postgres dbname=shop'"
                                    " -c \"select repeat('0123456789abcdef', 1048576), 'behind'\" | md5sum;"
                                    "(printf '0123456789abcdef%%.0s' $(seq 1048576); echo '|behind') | md5sum");
    cr_assert_eq(strlen(sizes), 2 * 36, "%s", sizes);
    cr_assert(strncmp(sizes, sizes + 36, 32) == 0, "%s", sizes);
    databases_stop(&databases);
}
