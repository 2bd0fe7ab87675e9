/* A reload that fails, at each step at which it can: nothing changes, nothing is left behind, and the next one works.
 */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"
#include "tests/support/tamper.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Two listeners, one with a filter, and a session of each that was there before. */
struct stage {
    struct moonring moonring;
    struct peer_listener server;
    struct peer_listener taken;
    char plain[ADDRESS_TEXT_MAX];
    char filtered[ADDRESS_TEXT_MAX];
    char added[ADDRESS_TEXT_MAX];
    struct pair pairs[2];
    size_t descriptors;
    size_t threads;
};

enum { WORKERS = 2 };

static void write_script(const struct stage *stage, const char *name, const char *text) {
    temporary_write(&stage->moonring.folder, name, "%s", text);
}

static const char good_script[] = "return { from_client = function(_, buf) buf:pass() end }\n";

/* The lines that all have in common; `more` listeners, `rest`: other keys. */
static const char *configuration(const struct stage *stage, const char *more, const char *rest) {
    static char text[2048];
    snprintf(text, sizeof(text),
             "listeners:\n"
             "  plain: {bind: '%s', upstream: '%s'}\n"
             "  filtered: {bind: '%s', upstream: '%s', filters: [pass.lua]}\n"
             "%s"
             "%s",
             stage->plain, stage->server.address, stage->filtered, stage->server.address, more, rest);
    return text;
}

/* One listener more, and two workers more. */
static const char *larger_configuration(const struct stage *stage, const char *rest) {
    char more[512], all[512];
    snprintf(more, sizeof(more), "  added: {bind: '%s', upstream: '%s'}\n", stage->added, stage->server.address);
    snprintf(all, sizeof(all), "process: {workers: %d}\n%s", WORKERS + 2, rest);
    return configuration(stage, more, all);
}

static const char *first_configuration(const struct stage *stage) {
    static char rest[64];
    snprintf(rest, sizeof(rest), "process: {workers: %d}\n", WORKERS);
    return configuration(stage, "", rest);
}

static void stage_start(struct stage *stage) {
    char path[TEMPORARY_PATH_MAX];
    struct moonring *moonring = &stage->moonring;
    peer_listen(&stage->server, "127.0.0.1:0");
    peer_listen(&stage->taken, "127.0.0.1:0");
    char *const addresses[] = {stage->plain, stage->filtered, stage->added};
    for (size_t index = 0; index < 3; index++) {
        snprintf(addresses[index], ADDRESS_TEXT_MAX, "127.0.0.1:%u", peer_free_port());
    }
    temporary_create(&moonring->folder);
    write_script(stage, "pass.lua", good_script);
    temporary_write(&moonring->folder, "moonring.yaml", "%s", first_configuration(stage));
    temporary_path(&moonring->folder, "moonring.yaml", path);
    process_start(&moonring->process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(moonring);
    pair_open(&stage->pairs[0], stage->plain, &stage->server);
    pair_open(&stage->pairs[1], stage->filtered, &stage->server);
    pair_exchange(&stage->pairs[0], 1000);
    pair_exchange(&stage->pairs[1], 1000);
    stage->descriptors = process_descriptors_count(&moonring->process);
    stage->threads = process_threads_count(&moonring->process);
}

static void expect_serving(const struct stage *stage, const char *address) {
    struct pair pair;
    pair_open(&pair, address, &stage->server);
    pair_exchange(&pair, 1000);
    pair_close(&pair);
}

static void expect_as_before(struct stage *stage) {
    struct moonring *moonring = &stage->moonring;
    struct peer client;
    pair_exchange(&stage->pairs[0], 1000);
    pair_exchange(&stage->pairs[1], 1000);
    expect_serving(stage, stage->plain);
    expect_serving(stage, stage->filtered);
    cr_assert(peer_try_connect(&client, stage->added) == ECONNREFUSED);
    moonring_wait_counter_is(moonring, "moonring_sessions_active", 2);
    moonring_wait_counter_is(moonring, "moonring_generations", 1);
    cr_assert(process_descriptors_count(&moonring->process) == stage->descriptors, "%zu descriptors, %zu before",
              process_descriptors_count(&moonring->process), stage->descriptors);
    cr_assert(process_threads_count(&moonring->process) == stage->threads);
}

/* The larger one works, and from there the way back. */
static void expect_next_to_work(struct stage *stage) {
    moonring_reload(&stage->moonring, "%s", larger_configuration(stage, ""));
    expect_serving(stage, stage->added);
    for (size_t index = 0; index < 2; index++) {
        pair_exchange(&stage->pairs[index], 1000);
        pair_close(&stage->pairs[index]);
    }
    moonring_stop(&stage->moonring);
}

static void refuse(struct stage *stage, const char *text, const char *wanted) {
    moonring_expect_reload_refused(&stage->moonring, wanted, "%s", text);
    cr_assert(strstr(stage->moonring.process.errors.line, "generation 1 is still serving") != NULL, "%s",
              stage->moonring.process.errors.line);
    expect_as_before(stage);
}

/* --- what is written wrong ---------------------------------------------------------------------------------------- */

Test(reload_failure, of_the_file_changes_nothing, .timeout = 60) {
    struct stage stage;
    stage_start(&stage);
    for (int round = 0; round < 3; round++) {
        refuse(&stage, larger_configuration(&stage, "{\n"), "moonring.yaml:");
        refuse(&stage, larger_configuration(&stage, "nonsense: 1\n"), "unknown key \"nonsense\"");
        refuse(&stage, configuration(&stage, "  other: {bind: ':0', upstream: nowhere}\n", ""), "nowhere");
        refuse(&stage, larger_configuration(&stage, "upstreams: {a: {servers: ['no-such-host.invalid:1']}}\n"),
               "no-such-host.invalid");
    }
    expect_next_to_work(&stage);
}

Test(reload_failure, of_a_file_that_is_not_there_changes_nothing, .timeout = 60) {
    struct stage stage;
    char path[TEMPORARY_PATH_MAX];
    stage_start(&stage);
    cr_assert(unlink(temporary_path(&stage.moonring.folder, "moonring.yaml", path)) == 0);
    cr_assert(strstr(moonring_reload_again(&stage.moonring), "refused") != NULL);
    expect_as_before(&stage);
    expect_next_to_work(&stage);
}

/* A pipe, say, that nobody writes into. */
Test(reload_failure, of_a_file_that_never_comes_to_its_end_changes_nothing, .timeout = 60) {
    struct stage stage;
    struct process *process = &stage.moonring.process;
    char path[TEMPORARY_PATH_MAX];
    stage_start(&stage);
    cr_assert(unlink(temporary_path(&stage.moonring.folder, "moonring.yaml", path)) == 0);
    cr_assert(mkfifo(path, 0600) == 0);
    process_signal(process, SIGHUP);
    process_wait_line(process, &process->errors, "moonring.yaml: error[E0101]: cannot read");
    process_wait_line(process, &process->errors, "reload refused; generation 1 is still serving");
    expect_as_before(&stage);
    cr_assert(unlink(path) == 0);
    expect_next_to_work(&stage);
}

Test(reload_failure, of_a_script_changes_nothing, .timeout = 60) {
    struct stage stage;
    stage_start(&stage);
    static const char *const wrong[][2] = {
        {"this is no Lua\n", "pass.lua:1:"},
        {"error('on purpose')\n", "on purpose"},
        {"return {}\n", "pass.lua"},
        {"local t = {} for i = 1, 1e9 do t[i] = {} end\n", "filter 'pass'"},
        {"require 'no_such_module'\n", "no_such_module"},
    };
    for (size_t index = 0; index < sizeof(wrong) / sizeof(wrong[0]); index++) {
        write_script(&stage, "pass.lua", wrong[index][0]);
        refuse(&stage, larger_configuration(&stage, "lua: {memory: 8MiB}\n"), wrong[index][1]);
    }
    write_script(&stage, "pass.lua", good_script);
    expect_next_to_work(&stage);
}

/* Those of the first workers have been made by then. */
Test(reload_failure, of_one_of_the_vms_changes_nothing, .timeout = 60) {
    struct stage stage;
    stage_start(&stage);
    for (int worker = 0; worker < WORKERS + 2; worker++) {
        char script[256];
        snprintf(script, sizeof(script),
                 "local mr = require 'moonring'\nif mr.worker.id == %d then error('not here') end\n%s", worker,
                 good_script);
        write_script(&stage, "pass.lua", script);
        refuse(&stage, larger_configuration(&stage, ""), "pass.lua:2: error: not here");
    }
    write_script(&stage, "pass.lua", good_script);
    expect_next_to_work(&stage);
}

/* --- what the system refuses -------------------------------------------------------------------------------------- */

Test(reload_failure, of_an_address_changes_nothing, .timeout = 60) {
    struct stage stage;
    char more[512];
    stage_start(&stage);
    const char *const addresses[] = {stage.taken.address, "192.0.2.1:80", "unix:/no/such/folder/socket"};
    for (size_t index = 0; index < 3; index++) {
        snprintf(more, sizeof(more), "  added: {bind: ['%s', '%s'], upstream: '%s'}\n", stage.added, addresses[index],
                 stage.server.address);
        refuse(&stage, configuration(&stage, more, "process: {workers: 3}\n"), addresses[index]);
    }
    expect_next_to_work(&stage);
}

/* Sockets that stay: their rights change at the commit, which cannot fail. */
Test(reload_failure, of_the_group_of_a_unix_socket_changes_nothing, .timeout = 60) {
    static const char yaml[] = "listeners: {web: {bind: {address: 'unix:%s/web', group: %s}, upstream: 'unix:/none'}}\n"
                               "admin: {bind: {address: 'unix:%s/admin', group: %s}}\n";
    struct moonring moonring;
    const char *folder = moonring.folder.path;
    temporary_create(&moonring.folder);
    char path[TEMPORARY_PATH_MAX];
    temporary_write(&moonring.folder, "moonring.yaml", yaml, folder, "root", folder, "root");
    process_start(&moonring.process, NULL,
                  ARGUMENTS(moonring_program(), "run", "-c", temporary_path(&moonring.folder, "moonring.yaml", path)));
    moonring_wait_ready(&moonring);
    moonring_expect_reload_refused(&moonring, "moonring.yaml:1:25: listener web: unix socket", yaml, folder, "no-such",
                                   folder, "root");
    moonring_expect_reload_refused(&moonring, "moonring.yaml:2:15: admin: unix socket", yaml, folder, "root", folder,
                                   "no-such");
    moonring_reload(&moonring, yaml, folder, "daemon", folder, "daemon");
    struct stat status;
    cr_assert(stat(temporary_path(&moonring.folder, "web", path), &status) == 0);
    cr_assert(status.st_gid == getgrnam("daemon")->gr_gid);
    cr_assert(stat(temporary_path(&moonring.folder, "admin", path), &status) == 0);
    cr_assert(status.st_gid == getgrnam("daemon")->gr_gid);
}

Test(reload_failure, of_a_log_changes_nothing, .timeout = 60) {
    struct stage stage;
    stage_start(&stage);
    refuse(&stage, larger_configuration(&stage, "log: {access: {target: 'file:/no/such/folder/access.log'}}\n"),
           "log.access.target: access log /no/such/folder/access.log");
    refuse(&stage, larger_configuration(&stage, "log: {error: {target: 'file:/no/such/folder/error.log'}}\n"),
           "log.error.target: cannot open the log /no/such/folder/error.log");
    expect_next_to_work(&stage);
}

static void ask_to_reload(void *argument) {
    struct stage *stage = argument;
    temporary_write(&stage->moonring.folder, "moonring.yaml", "%s", larger_configuration(stage, ""));
    process_signal(&stage->moonring.process, SIGHUP);
}

/* The n-th call of that kind fails, of those that the control thread makes. */
static void refuse_call(struct stage *stage, long number, size_t nth, int failure) {
    struct process *process = &stage->moonring.process;
    cr_assert(tamper_fail_call(process->pid, number, nth, failure, ask_to_reload, stage),
              "it makes no call %ld for the %zu. time", number, nth);
    const char *line = process_wait_line(process, &process->errors, " ms");
    cr_assert(strstr(line, " reload refused; generation 1 is still serving") != NULL, "call %ld, %zu: %s", number, nth,
              line);
    expect_as_before(stage);
}

Test(reload_failure, of_any_call_before_the_commit_changes_nothing, .timeout = 120) {
    struct stage stage;
    stage_start(&stage);
    /* A probe and four sockets of the new address, two more sockets of each of the others. */
    for (size_t nth = 1; nth <= 9; nth++) {
        refuse_call(&stage, SYS_socket, nth, EMFILE);
        refuse_call(&stage, SYS_bind, nth, EACCES);
    }
    for (size_t nth = 1; nth <= 8; nth++) {
        refuse_call(&stage, SYS_listen, nth, EADDRINUSE);
    }
    for (size_t nth = 1; nth <= 2; nth++) {
        refuse_call(&stage, SYS_clone3, nth, EAGAIN); /* a worker's thread */
    }
    expect_next_to_work(&stage);
}

/* --- what runs out ------------------------------------------------------------------------------------------------ */

/* The soft one: it is raised again only at a commit. */
static void set_limit(const struct stage *stage, enum __rlimit_resource resource, rlim_t value) {
    struct rlimit limit;
    pid_t pid = stage->moonring.process.pid;
    cr_assert(prlimit(pid, resource, NULL, &limit) == 0);
    limit.rlim_cur = value < limit.rlim_max ? value : limit.rlim_max;
    cr_assert(prlimit(pid, resource, &limit, NULL) == 0, "%m");
}

Test(reload_failure, for_want_of_descriptors_changes_nothing, .timeout = 120) {
    struct stage stage;
    size_t refused = 0;
    stage_start(&stage);
    for (size_t more = 0;; more++) {
        set_limit(&stage, RLIMIT_NOFILE, stage.descriptors + more);
        temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", larger_configuration(&stage, ""));
        bool enough = strstr(moonring_reload_again(&stage.moonring), "refused") == NULL;
        set_limit(&stage, RLIMIT_NOFILE, RLIM_INFINITY);
        if (enough) {
            break;
        }
        refused++;
        expect_as_before(&stage);
    }
    cr_assert(refused >= 10, "%zu", refused); /* eight sockets and a probe at least */
    expect_serving(&stage, stage.added);
}

static uint64_t address_space(const struct process *process) {
    char path[64];
    unsigned long long pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", process->pid);
    FILE *file = fopen(path, "re");
    cr_assert(file != NULL && fscanf(file, "%llu", &pages) == 1);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Small steps first, since much is made of little; then ever larger ones, since VMs reserve much that they never use.
 */
Test(reload_failure, for_want_of_memory_changes_nothing, .timeout = 120) {
    enum { STEP = 128 * 1024, SMALL_STEPS = 20 };
    struct stage stage;
    size_t refused = 0;
    stage_start(&stage);
    for (uint64_t more = 0;; more += more < SMALL_STEPS * STEP ? STEP : more / 8) {
        set_limit(&stage, RLIMIT_AS, address_space(&stage.moonring.process) + more);
        temporary_write(&stage.moonring.folder, "moonring.yaml", "%s", larger_configuration(&stage, ""));
        bool enough = strstr(moonring_reload_again(&stage.moonring), "refused") == NULL;
        set_limit(&stage, RLIMIT_AS, RLIM_INFINITY);
        if (enough) {
            break;
        }
        refused++;
        expect_as_before(&stage);
    }
    cr_assert(refused >= SMALL_STEPS, "%zu", refused);
    expect_serving(&stage, stage.added);
}

Test(reload_failure, of_a_worker_that_does_not_answer_changes_nothing, .timeout = 60) {
    struct stage stage;
    struct process *process = &stage.moonring.process;
    stage_start(&stage);
    pid_t worker = tamper_find_thread(process->pid, "worker 1");
    tamper_hold(worker);
    ask_to_reload(&stage);
    process_wait_line(process, &process->errors, "worker 1 did not answer within 5000 ms");
    process_wait_line(process, &process->errors, " reload refused; generation 1 is still serving");
    tamper_let_go(worker);
    expect_as_before(&stage);
    expect_next_to_work(&stage);
}
