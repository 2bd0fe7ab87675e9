/* `moonring ctl upstreams`, `drain`, `disable`, `enable` and `weight`: what they do to sessions, and that reloads keep
 * it. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

enum { SERVERS = 2, DONE = 0, REFUSED = 2 };

struct stage {
    struct moonring moonring;
    struct peer_listener servers[SERVERS];
    char socket[TEMPORARY_PATH_MAX + 8];
    char yaml[4096];
    struct process ctl;
};

/* In front of servers that are there already. */
static void stage_begin(struct stage *stage, const char *keys) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX];
    temporary_create(&folder);
    snprintf(stage->socket, sizeof(stage->socket), "unix:%s", temporary_path(&folder, "admin.sock", path));
    snprintf(stage->yaml, sizeof(stage->yaml),
             "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
             "upstreams:\n"
             "  pool:\n"
             "    servers: [{name: a, address: '%s'}, {name: b, address: '%s'}]\n"
             "    slow_start: off\n"
             "    %s\n"
             "process: {workers: 1}\n"
             "admin: {bind: '%s'}\n",
             stage->servers[0].address, stage->servers[1].address, keys, stage->socket);
    moonring_start(&stage->moonring, "%s", stage->yaml);
}

static void stage_start(struct stage *stage, const char *keys) {
    peer_listen(&stage->servers[0], "127.0.0.1:0");
    peer_listen(&stage->servers[1], "127.0.0.1:0");
    stage_begin(stage, keys);
}

/* Up to two operands. */
static const char *ctl(struct stage *stage, const char *order, const char *first, const char *second, int status,
                       const char *text) {
    struct process *process = &stage->ctl;
    process_start(process, NULL, ARGUMENTS(moonring_program(), "ctl", order, "--socket", stage->socket, first, second));
    int code = process_wait(process);
    cr_assert(code == status, "ctl %s ended with %d, not %d:\n%s", order, code, status, process_last_words(process));
    const char *said = process_text(status == DONE ? &process->output : &process->errors);
    cr_assert(strstr(said, text) != NULL, "ctl %s does not say \"%s\":\n%s", order, text, said);
    return said;
}

/* So many sessions, one after the other; that many of them go to server a. */
static void expect_on_a(struct stage *stage, int sessions, int wanted) {
    struct pair pair;
    int on_a = 0;
    for (int session = 0; session < sessions; session++) {
        struct pollfd polls[SERVERS] = {{.fd = stage->servers[0].fd, .events = POLLIN},
                                        {.fd = stage->servers[1].fd, .events = POLLIN}};
        peer_connect(&pair.client, stage->moonring.address);
        cr_assert(poll(polls, SERVERS, DEADLINE_MS) > 0, "no server was connected");
        on_a += polls[0].revents != 0;
        pair_accept(&pair, &stage->servers[polls[0].revents != 0 ? 0 : 1]);
        pair_exchange(&pair, 100);
        pair_close(&pair);
        moonring_wait_session(&stage->moonring);
    }
    cr_assert(on_a == wanted, "%d of %d on a, not %d", on_a, sessions, wanted);
}

Test(server_orders, drain_gives_no_new_sessions_and_keeps_those_there_are, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage, "");
    pair_open(&pair, stage.moonring.address, &stage.servers[0]);
    ctl(&stage, "drain", "pool/a", NULL, DONE, "pool/a is drained, weight 1, 1 sessions");
    expect_on_a(&stage, 3, 0);
    pair_exchange(&pair, 1000);
    ctl(&stage, "upstreams", NULL, NULL, DONE, "drained");
    ctl(&stage, "enable", "pool/a", NULL, DONE, "pool/a is up");
    pair_close(&pair);
    moonring_expect_session(&stage.moonring, "server=a reason=client_fin");
    expect_on_a(&stage, 10, 5);
}

Test(server_orders, drained_servers_stay_drained_over_reloads_and_say_so, .timeout = 30) {
    struct stage stage;
    stage_start(&stage, "");
    ctl(&stage, "drain", "pool/a", NULL, DONE, "drained");
    ctl(&stage, "weight", "pool/b", "7", DONE, "weight 7");
    const char *line = moonring_reload(&stage.moonring, "%s%s", stage.yaml, "shutdown: {drain_timeout: 1s}\n");
    cr_assert(strstr(line, "; by operators: pool/a drained, pool/b weight 7") != NULL, "%s", line);
    expect_on_a(&stage, 3, 0);
    ctl(&stage, "status", NULL, NULL, DONE, "servers: 1 up, 1 drained; by operators: pool/a drained, pool/b weight 7");
    ctl(&stage, "weight", "pool/b", NULL, DONE, "pool/b is up, weight 1");
    ctl(&stage, "enable", "pool/a", NULL, DONE, "pool/a is up");
    line = moonring_reload_again(&stage.moonring);
    cr_assert(strstr(line, "operators") == NULL, "%s", line);
}

/* The file without server a, and with it again: by a reload, and by a rollback. */
Test(server_orders, servers_that_leave_the_file_are_as_they_were_when_they_come_back, .timeout = 30) {
    struct stage stage;
    char without[4096];
    stage_start(&stage, "");
    snprintf(without, sizeof(without),
             "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
             "upstreams: {pool: {servers: [{name: b, address: '%s'}]}}\n"
             "process: {workers: 1}\n"
             "admin: {bind: '%s'}\n",
             stage.servers[1].address, stage.socket);
    ctl(&stage, "drain", "pool/a", NULL, DONE, "pool/a is drained");
    ctl(&stage, "weight", "pool/a", "5", DONE, "weight 5");
    const char *line = moonring_reload(&stage.moonring, "%s", without);
    cr_assert(strstr(line, "; by operators: pool/a drained weight 5 (absent)") != NULL, "%s", line);
    ctl(&stage, "status", NULL, NULL, DONE, "by operators: pool/a drained weight 5 (absent)");
    ctl(&stage, "rollback", NULL, NULL, DONE, "; by operators: pool/a drained weight 5");
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "reloaded: generation 3");
    expect_on_a(&stage, 3, 0);

    moonring_reload(&stage.moonring, "%s", without);
    line = moonring_reload(&stage.moonring, "%s", stage.yaml);
    cr_assert(strstr(line, "; by operators: pool/a drained weight 5") != NULL, "%s", line);
    cr_assert(strstr(line, "absent") == NULL, "%s", line);
    expect_on_a(&stage, 3, 0);

    moonring_reload(&stage.moonring, "%s", without);
    ctl(&stage, "enable", "pool/a", NULL, DONE, "pool/a is not in the configuration");
    ctl(&stage, "weight", "pool/a", NULL, DONE, "pool/a is not in the configuration");
    ctl(&stage, "enable", "pool/a", NULL, REFUSED, "there is no server \"pool/a\"");
    line = moonring_reload(&stage.moonring, "%s", stage.yaml);
    cr_assert(strstr(line, "operators") == NULL, "%s", line);
    expect_on_a(&stage, 10, 5);
}

/* --- host names ----------------------------------------------------------------------------------------------------
 */

/* A file of hosts of our own, for this process and those it starts. Needs root. */
static void hosts_mount(const struct temporary *folder) {
    char path[TEMPORARY_PATH_MAX];
    cr_assert(unshare(CLONE_NEWNS) == 0, "this test has to be run as root: %m");
    cr_assert(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "%m");
    cr_assert(mount(temporary_path(folder, "hosts", path), "/etc/hosts", NULL, MS_BIND, NULL) == 0, "%m");
}

/* The same port on two addresses, which `pool.test` may have. */
static void stage_start_named(struct stage *stage, const struct temporary *hosts) {
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX], second[ADDRESS_TEXT_MAX];
    temporary_create(&folder);
    temporary_write(hosts, "hosts", "127.0.0.1 pool.test\n");
    hosts_mount(hosts);
    peer_listen(&stage->servers[0], "127.0.0.1:0");
    const char *port = strrchr(stage->servers[0].address, ':');
    snprintf(second, sizeof(second), "127.0.0.2%s", port);
    peer_listen(&stage->servers[1], second);
    snprintf(stage->socket, sizeof(stage->socket), "unix:%s", temporary_path(&folder, "admin.sock", path));
    snprintf(stage->yaml, sizeof(stage->yaml),
             "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
             "upstreams: {pool: {servers: [{name: a, address: 'pool.test%s'}], slow_start: off}}\n"
             "process: {workers: 1}\n"
             "admin: {bind: '%s'}\n",
             port, stage->socket);
    moonring_start(&stage->moonring, "%s", stage->yaml);
}

Test(server_orders, a_drained_host_name_is_drained_whatever_its_addresses, .timeout = 30) {
    struct stage stage;
    struct temporary hosts;
    struct peer client;
    temporary_create(&hosts);
    stage_start_named(&stage, &hosts);
    expect_on_a(&stage, 2, 2);
    ctl(&stage, "drain", "pool/a", NULL, DONE, "pool/a is drained");
    temporary_write(&hosts, "hosts", "127.0.0.1 pool.test\n127.0.0.2 pool.test\n");
    const char *line = moonring_reload_again(&stage.moonring);
    cr_assert(strstr(line, "drained, pool/a/127.0.0.") != NULL, "%s", line);
    char difference[ADDRESS_TEXT_MAX + 32];
    snprintf(difference, sizeof(difference), ": addresses: pool(+%s)", stage.servers[1].address);
    cr_assert(strstr(line, difference) != NULL, "%s", line);
    peer_connect(&client, stage.moonring.address);
    peer_expect_closed(&client);
    moonring_expect_session(&stage.moonring, "reason=no_server tries=0");
    temporary_write(&hosts, "hosts", "127.0.0.2 pool.test\n");
    line = moonring_reload_again(&stage.moonring);
    cr_assert(strstr(line, "; by operators: pool/a drained") != NULL, "%s", line);
    ctl(&stage, "enable", "pool/a", NULL, DONE, "pool/a is up");
    expect_on_a(&stage, 2, 0);
}

/* One address is drained, and goes and comes; the other one is not. */
Test(server_orders, one_address_of_a_host_name_can_be_drained, .timeout = 30) {
    struct stage stage;
    struct temporary hosts;
    char first[ADDRESS_TEXT_MAX + 8];
    temporary_create(&hosts);
    stage_start_named(&stage, &hosts);
    snprintf(first, sizeof(first), "pool/a/%s", stage.servers[0].address);
    ctl(&stage, "drain", first, NULL, DONE, "pool/a is drained");
    temporary_write(&hosts, "hosts", "127.0.0.1 pool.test\n127.0.0.2 pool.test\n");
    moonring_reload_again(&stage.moonring);
    expect_on_a(&stage, 4, 0);
    temporary_write(&hosts, "hosts", "127.0.0.2 pool.test\n");
    const char *line = moonring_reload_again(&stage.moonring);
    cr_assert(strstr(line, " drained (absent)") != NULL, "%s", line);
    temporary_write(&hosts, "hosts", "127.0.0.1 pool.test\n127.0.0.2 pool.test\n");
    moonring_reload_again(&stage.moonring);
    expect_on_a(&stage, 4, 0);
    ctl(&stage, "drain", "pool/a", NULL, DONE, "drained");
    ctl(&stage, "enable", first, NULL, DONE, " is up");
    moonring_reload_again(&stage.moonring);
    expect_on_a(&stage, 2, 2);
    ctl(&stage, "enable", "pool/a", NULL, DONE, "is up");
    expect_on_a(&stage, 4, 2);
}

Test(server_orders, weight_changes_the_shares, .timeout = 30) {
    struct stage stage;
    stage_start(&stage, "");
    ctl(&stage, "weight", "pool/a", "3", DONE, "pool/a is up, weight 3");
    expect_on_a(&stage, 40, 30);
}

Test(server_orders, disable_does_to_sessions_what_on_server_down_says, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage, "on_server_down: reset");
    pair_open(&pair, stage.moonring.address, &stage.servers[0]);
    ctl(&stage, "drain", "pool/a", NULL, DONE, "drained");
    pair_exchange(&pair, 1000);
    ctl(&stage, "disable", "pool/a", NULL, DONE, "disabled");
    peer_expect_reset(&pair.client);
    moonring_expect_session(&stage.moonring, "server=a reason=server_down");
    expect_on_a(&stage, 2, 0);
}

/* It is tried while it is down, since no other is left. */
Test(server_orders, disable_ends_sessions_that_began_while_it_was_down, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    peer_refuse(&stage.servers[0], "127.0.0.1:0");
    peer_refuse(&stage.servers[1], "127.0.0.1:0");
    stage_begin(&stage, "on_server_down: reset\n    health_check: {interval: 1h}");
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "pool: no server is in service");
    peer_listener_open(&stage.servers[0]);
    pair_open(&pair, stage.moonring.address, &stage.servers[0]);
    pair_exchange(&pair, 1000);
    ctl(&stage, "disable", "pool/a", NULL, DONE, "disabled");
    peer_expect_reset(&pair.client);
    moonring_expect_session(&stage.moonring, "server=a reason=server_down");
}

Test(server_orders, servers_that_are_all_drained_get_nothing, .timeout = 30) {
    struct stage stage;
    struct peer client;
    stage_start(&stage, "");
    ctl(&stage, "drain", "pool/a", NULL, DONE, "drained");
    ctl(&stage, "drain", "pool/b", NULL, DONE, "drained");
    peer_connect(&client, stage.moonring.address);
    peer_expect_closed(&client);
    moonring_expect_session(&stage.moonring, "reason=no_server tries=0");
}

Test(server_orders, what_is_not_there_or_not_allowed_is_refused, .timeout = 30) {
    struct stage stage;
    stage_start(&stage, "");
    ctl(&stage, "drain", "pool/c", NULL, REFUSED, "there is no server \"pool/c\"");
    ctl(&stage, "drain", "pool", NULL, REFUSED, "there is no server \"pool\"");
    ctl(&stage, "drain", NULL, NULL, REFUSED, "moonring ctl drain UPSTREAM/SERVER");
    ctl(&stage, "weight", "pool/a", "0", REFUSED, "moonring ctl drain");
    ctl(&stage, "upstreams", "nothing", NULL, REFUSED, "there is no upstream \"nothing\"");
}

Test(server_orders, a_unix_path_is_not_the_folder_of_another, .timeout = 30) {
    struct stage stage;
    stage_start(&stage, "on_server_down: keep\n  names: {servers: ['unix:/run/n', 'unix:/run/n/x.sock']}");
    const char *said = ctl(&stage, "disable", "names/unix:/run/n", NULL, DONE, "names/unix:/run/n is disabled");
    cr_assert(strstr(said, "x.sock") == NULL, "%s", said);
}

Test(server_orders, upstreams_are_told_as_json_too, .timeout = 30) {
    struct stage stage;
    struct process jq;
    char command[4096];
    stage_start(&stage, "");
    ctl(&stage, "drain", "pool/b", NULL, DONE, "drained");
    snprintf(command, sizeof(command),
             "'%s' ctl upstreams --json --socket '%s' | jq -c '.servers[] | [.server, .state]'", moonring_program(),
             stage.socket);
    process_run(&jq, ARGUMENTS("sh", "-c", command));
    cr_assert_str_eq(process_text(&jq.output), "[\"a\",\"up\"]\n[\"b\",\"drained\"]\n");
}
