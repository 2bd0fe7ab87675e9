/* `moonring ctl`: what it makes a running moonring do, what it shows, and what its exit status says. */
#include "tests/support/deadline.h"
#include "tests/support/mirror.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { DONE = 0, REFUSED = 2, NOBODY = 3 };

struct stage {
    struct moonring moonring;
    struct peer_listener servers[2];
    char address[ADDRESS_TEXT_MAX];
    char socket[TEMPORARY_PATH_MAX];
    char socket_address[TEMPORARY_PATH_MAX + 8];
    struct process ctl;
};

static void configure(struct stage *stage, size_t server, const char *rest) {
    temporary_write(&stage->moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '%s', upstream: '%s'}}\n"
                    "admin: {bind: 'unix:%s'}\n"
                    "%s",
                    stage->address, stage->servers[server].address, stage->socket, rest);
}

static void stage_start(struct stage *stage) {
    char path[TEMPORARY_PATH_MAX];
    peer_listen(&stage->servers[0], "127.0.0.1:0");
    peer_listen(&stage->servers[1], "127.0.0.1:0");
    snprintf(stage->address, sizeof(stage->address), "127.0.0.1:%u", peer_free_port());
    temporary_create(&stage->moonring.folder);
    temporary_path(&stage->moonring.folder, "admin.sock", stage->socket);
    snprintf(stage->socket_address, sizeof(stage->socket_address), "unix:%s", stage->socket);
    configure(stage, 0, "");
    temporary_path(&stage->moonring.folder, "moonring.yaml", path);
    process_start(&stage->moonring.process, NULL, ARGUMENTS(moonring_program(), "run", "-c", path));
    moonring_wait_ready(&stage->moonring);
}

enum { WORDS_MAX = 12 };

/* `words` are cut at their blanks. What it says goes to one of its two streams. */
static const char *ctl(struct stage *stage, const char *words, int status, const char *text) {
    struct process *process = &stage->ctl;
    char line[256];
    const char *arguments[WORDS_MAX + 5] = {moonring_program(), "ctl", "--socket", stage->socket_address};
    size_t count = 4;
    snprintf(line, sizeof(line), "%s", words);
    for (char *rest = line, *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        cr_assert(count < WORDS_MAX + 4);
        arguments[count++] = word;
    }
    process_start(process, NULL, arguments);
    int code = process_wait(process);
    cr_assert(code == status, "ctl %s ended with %d, not %d:\n%s", words, code, status, process_last_words(process));
    struct process_stream *stream = status == DONE ? &process->output : &process->errors;
    const char *said = process_text(stream);
    cr_assert(strstr(said, text) != NULL, "ctl %s does not say \"%s\":\n%s", words, text, process_last_words(process));
    return said;
}

Test(ctl, reload_waits_for_the_result_and_tells_it, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    ctl(&stage, "reload", DONE, "nothing has changed; generation 1 goes on");
    configure(&stage, 1, "");
    ctl(&stage, "reload", DONE, "reloaded: generation 2");
    cr_assert(strstr(process_text(&stage.ctl.output), stage.servers[1].address) != NULL, "no difference");
    pair_open(&pair, stage.address, &stage.servers[1]);
    configure(&stage, 1, "nonsense: 1\n");
    ctl(&stage, "reload", REFUSED, "unknown key \"nonsense\"");
    cr_assert(strstr(process_text(&stage.ctl.errors), "generation 2 is still serving") != NULL);
    pair_exchange(&pair, 1000);
}

Test(ctl, plan_tells_what_a_reload_would_do_and_does_nothing, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    struct peer client;
    char more[256];
    stage_start(&stage);
    size_t descriptors = process_descriptors_count(&stage.moonring.process);
    uint16_t port = peer_free_port();
    snprintf(more, sizeof(more), "process: {workers: 4}\nupstreams: {other: {servers: ['127.0.0.1:%u']}}\n", port);
    configure(&stage, 1, more);
    ctl(&stage, "plan", DONE, "workers");
    ctl(&stage, "plan", DONE, "generation 1 is still serving");
    configure(&stage, 1, "process: {user: nobody}\n");
    ctl(&stage, "plan", REFUSED, "process: user");
    cr_assert(process_descriptors_count(&stage.moonring.process) == descriptors);
    cr_assert(peer_try_connect(&client, stage.address) == 0);
    pair_open(&pair, stage.address, &stage.servers[0]);
    ctl(&stage, "status", DONE, "reloads: 0 applied, 0 without a change, 0 refused");
}

Test(ctl, rollback_returns_to_the_generation_before_whatever_the_file_says, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    ctl(&stage, "rollback", REFUSED, "there was no generation before");
    configure(&stage, 1, "");
    ctl(&stage, "reload", DONE, "generation 2");
    configure(&stage, 1, "nonsense: 1\n");
    ctl(&stage, "rollback", DONE, "reloaded: generation 3");
    pair_open(&pair, stage.address, &stage.servers[0]);
    pair_close(&pair);
    ctl(&stage, "rollback", DONE, "reloaded: generation 4");
    pair_open(&pair, stage.address, &stage.servers[1]);
}

Test(ctl, rollback_is_refused_when_a_filter_has_changed_since, .timeout = 30) {
    struct stage stage;
    static const char script[] = "return { from_client = function(_, buf) buf:pass() end } -- %d\n";
    stage_start(&stage);
    temporary_write(&stage.moonring.folder, "pass.lua", script, 1);
    temporary_write(&stage.moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '%s', upstream: '%s', filters: [pass.lua]}}\nadmin: {bind: '%s'}\n",
                    stage.address, stage.servers[0].address, stage.socket_address);
    ctl(&stage, "reload", DONE, "generation 2");
    temporary_write(&stage.moonring.folder, "pass.lua", script, 2);
    ctl(&stage, "reload", DONE, "generation 3");
    ctl(&stage, "rollback", REFUSED, "pass.lua is not what the generation before has loaded");
    temporary_write(&stage.moonring.folder, "pass.lua", script, 1);
    ctl(&stage, "rollback", DONE, "generation 4");
}

Test(ctl, shows_status_generations_metrics_and_sessions, .timeout = 30) {
    struct stage stage;
    struct pair before, after;
    stage_start(&stage);
    pair_open(&before, stage.address, &stage.servers[0]);
    configure(&stage, 1, "");
    ctl(&stage, "reload", DONE, "generation 2");
    pair_open(&after, stage.address, &stage.servers[1]);
    pair_exchange(&after, 100);
    ctl(&stage, "status", DONE, "sessions: 2 of at most ");
    ctl(&stage, "status", DONE, "\nLISTENER  ADDRESSES");
    const char *generations = ctl(&stage, "generations", DONE, "\n         2         1");
    cr_assert(strstr(generations, "\n         1         1") != NULL, "%s", generations);
    ctl(&stage, "metrics", DONE, "moonring_generations 2\n");
    ctl(&stage, "sessions", DONE, "  relaying  ");
    ctl(&stage, "no-such-order", REFUSED, "unknown command");
}

/* A program of its own reads what is meant for programs. */
static void expect_json(struct stage *stage, const char *words, int status, const char *expression) {
    char script[1024];
    struct process python;
    const char *said = ctl(stage, words, status, "{");
    temporary_write(&stage->moonring.folder, "answer.json", "%s", said);
    snprintf(script, sizeof(script), "import json; it = json.load(open('%s/answer.json')); assert %s, it",
             stage->moonring.folder.path, expression);
    process_run(&python, ARGUMENTS("python3", "-c", script));
}

Test(ctl, tells_programs_in_json, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    pair_open(&pair, stage.address, &stage.servers[0]);
    expect_json(&stage, "status --json", DONE, "it['sessions'] == 1 and it['listeners'][0]['listener'] == 'web'");
    expect_json(&stage, "reload --json", DONE, "it['result'] == 'unchanged' and it['generation'] == 1");
    configure(&stage, 1, "");
    expect_json(&stage, "plan --json", DONE, "it['plan'] and it['result'] == 'applied' and it['generation'] == 1");
    expect_json(&stage, "reload --json", DONE, "it['result'] == 'applied' and it['sessions_before'] == 1");
    expect_json(&stage, "generations --json", DONE, "[g['sessions'] for g in it['generations']] == [0, 1]");
    expect_json(&stage, "log-level --json", DONE, "it == {'level': 'info', 'configured': 'info'}");
    configure(&stage, 1, "nonsense: 1\n");
    expect_json(&stage, "reload --json", REFUSED, "it['result'] == 'refused' and 'nonsense' in it['report']");
}

Test(ctl, status_tells_of_lines_that_the_access_log_has_lost, .timeout = 30) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    ctl(&stage, "status", DONE, "lost lines of the access log: 0");
    configure(&stage, 0, "log: {access: {target: 'file:/dev/full'}}\n");
    ctl(&stage, "reload", DONE, "generation 2");
    pair_open(&pair, stage.address, &stage.servers[0]);
    pair_close(&pair);
    moonring_wait_counter_is(&stage.moonring, "moonring_access_log_lost_lines_total", 1);
    ctl(&stage, "status", DONE, "lost lines of the access log: 1");
    expect_json(&stage, "status --json", DONE, "it['access_log_lost_lines'] == 1");
}

Test(ctl, sets_the_log_level_until_the_next_reload, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    ctl(&stage, "log-level", DONE, "log level: info, as log.error.level says");
    ctl(&stage, "log-level debug", DONE, "log level: debug, until the next reload: log.error.level is info");
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "info admin: log-level -- debug, for");
    ctl(&stage, "status", DONE, "log level: debug");
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "debug admin: status");
    ctl(&stage, "log-level loud", REFUSED, "none of error warn info debug trace");
    ctl(&stage, "reload", DONE, "nothing has changed");
    ctl(&stage, "log-level", DONE, "log level: info, as");
}

/* --- sessions ----------------------------------------------------------------------------------------------------- */

/* Two listeners, each with a server of its own, and with one session. */
static void stage_start_two(struct stage *stage, struct pair pairs[2], char addresses[2][ADDRESS_TEXT_MAX]) {
    stage_start(stage);
    for (size_t i = 0; i < 2; i++) {
        snprintf(addresses[i], ADDRESS_TEXT_MAX, "127.0.0.1:%u", peer_free_port());
    }
    temporary_write(&stage->moonring.folder, "moonring.yaml",
                    "listeners:\n  web: {bind: '%s', upstream: first}\n  api: {bind: '%s', upstream: second}\n"
                    "upstreams:\n  first: {servers: [{address: '%s', name: one}]}\n"
                    "  second: {servers: [{address: '%s', name: two}]}\n"
                    "admin: {bind: '%s'}\n",
                    addresses[0], addresses[1], stage->servers[0].address, stage->servers[1].address,
                    stage->socket_address);
    ctl(stage, "reload", DONE, "generation 2");
    for (size_t i = 0; i < 2; i++) {
        pair_open(&pairs[i], addresses[i], &stage->servers[i]);
        pair_exchange(&pairs[i], 3000);
    }
}

static void expect_sessions(struct stage *stage, const char *filters, const char *listeners) {
    char words[128], expression[192];
    snprintf(words, sizeof(words), "sessions --json%s%s", filters[0] == 0 ? "" : " ", filters);
    snprintf(expression, sizeof(expression), "[s['listener'] for s in it['sessions']] == %s", listeners);
    expect_json(stage, words, DONE, expression);
}

Test(ctl, shows_the_sessions_that_a_filter_lets_through, .timeout = 60) {
    struct stage stage;
    struct pair pairs[2];
    char addresses[2][ADDRESS_TEXT_MAX];
    stage_start_two(&stage, pairs, addresses);
    expect_sessions(&stage, "--listener web", "['web']");
    expect_sessions(&stage, "--server two", "['api']");
    expect_sessions(&stage, "--server second/two --client 127.0.0.1", "['api']");
    expect_sessions(&stage, "--server first/two", "[]");
    expect_sessions(&stage, "--client 127.0.0.0/8 --state relaying --generation >1", "['web', 'api']");
    expect_sessions(&stage, "--client 10.0.0.0/8", "[]");
    expect_sessions(&stage, "--state connecting", "[]");
    expect_sessions(&stage, "--older 1h", "[]");
    expect_sessions(&stage, "--older 1us", "['web', 'api']");
    expect_sessions(&stage, "--generation <2", "[]");
    expect_sessions(&stage, "--limit 1", "['web']");
    ctl(&stage, "sessions --limit 1", DONE, "sessions: 1, the oldest; --limit leaves out the others");
    ctl(&stage, "sessions", DONE, "\nsessions: 2\n");
    ctl(&stage, "sessions --older 5", REFUSED, "sessions: --older: ");
    ctl(&stage, "sessions --limit 0", REFUSED, "sessions: --limit: ");
}

Test(ctl, tells_programs_all_of_a_session, .timeout = 60) {
    struct stage stage;
    struct pair pairs[2];
    char addresses[2][ADDRESS_TEXT_MAX], expression[480];
    stage_start_two(&stage, pairs, addresses);
    snprintf(
        expression, sizeof(expression),
        "(lambda s: s['client'].startswith('127.0.0.1:') and s['upstream'] == 'first' and s['server'] == 'one' and "
        "s['server_address'] == '%s' and s['from_client_bytes'] == 3000 and s['from_server_bytes'] == 3000 and "
        "s['tries'] == 1 and s['generation'] == 2 and 0 < s['quiet_ms'] < s['age_ms'])(it['sessions'][0])",
        stage.servers[0].address);
    expect_json(&stage, "sessions --listener web --json", DONE, expression);
}

Test(ctl, kills_what_its_filters_name_and_nothing_else, .timeout = 60) {
    struct stage stage;
    struct pair pairs[2];
    char addresses[2][ADDRESS_TEXT_MAX];
    stage_start_two(&stage, pairs, addresses);
    ctl(&stage, "kill", REFUSED, "which sessions? Name them by filters");
    ctl(&stage, "kill --all --listener web", REFUSED, "--all and a filter exclude each other");
    ctl(&stage, "kill --listener nobody", DONE, "killed: 0\n");
    ctl(&stage, "kill --listener web", DONE, "killed: 1\n");
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors,
                      "info admin: kill --listener=web, for user 0, process ");
    peer_expect_closed(&pairs[0].client);
    peer_expect_closed(&pairs[0].server);
    moonring_expect_session(&stage.moonring, "listener=web reason=killed ended_by=moonring");
    pair_exchange(&pairs[1], 1000);
    expect_json(&stage, "kill --all --json", DONE, "it == {'killed': 1}");
    moonring_expect_session(&stage.moonring, "listener=api reason=killed");
    expect_sessions(&stage, "--state relaying", "[]");
}

Test(ctl, kills_a_session_by_its_id, .timeout = 60) {
    struct stage stage;
    struct pair pairs[2];
    char addresses[2][ADDRESS_TEXT_MAX], words[64];
    unsigned id = 0;
    stage_start_two(&stage, pairs, addresses);
    const char *table = ctl(&stage, "sessions --listener api", DONE, "ID ");
    cr_assert(sscanf(strchr(table, '\n'), " %u api ", &id) == 1, "%s", table);
    snprintf(words, sizeof(words), "kill --id %u", id);
    ctl(&stage, words, DONE, "killed: 1\n");
    ctl(&stage, words, DONE, "killed: 0\n");
    peer_expect_closed(&pairs[1].client);
    pair_exchange(&pairs[0], 1000);
}

/* Over all workers, those that have ended included. */
Test(ctl, ids_are_given_once_in_a_process, .timeout = 60) {
    enum { SESSIONS = 24 };
    struct stage stage;
    struct pair pairs[SESSIONS];
    stage_start(&stage);
    configure(&stage, 0, "process: {workers: 3}\n");
    ctl(&stage, "reload", DONE, "workers");
    for (size_t index = 0; index < SESSIONS; index++) {
        if (index == SESSIONS / 3) {
            configure(&stage, 0, "process: {workers: 1}\n");
            ctl(&stage, "reload", DONE, "workers 3->1");
        } else if (index == SESSIONS * 2 / 3) {
            configure(&stage, 0, "process: {workers: 3}\n");
            ctl(&stage, "reload", DONE, "workers 1->3");
        }
        pair_open(&pairs[index], stage.address, &stage.servers[0]);
    }
    expect_json(&stage, "sessions --json", DONE,
                "sorted(s['id'] for s in it['sessions']) == list(range(1, 25)) and "
                "len(set(s['worker'] for s in it['sessions'])) > 1");
}

Test(ctl, killed_streams_are_reset_and_quiet_sessions_end_in_order, .timeout = 60) {
    struct stage stage;
    struct pair pairs[2];
    char addresses[2][ADDRESS_TEXT_MAX];
    stage_start_two(&stage, pairs, addresses);
    peer_send_until_stuck(&pairs[0].client, SIZE_MAX);
    ctl(&stage, "kill --listener web", DONE, "killed: 1\n");
    peer_expect_pattern_until_reset(&pairs[0].server);
    while (!strstr(ctl(&stage, "kill --listener api --older 2s", DONE, "killed: "), "killed: 1")) {
    }
    peer_expect_end(&pairs[1].client);
    peer_expect_end(&pairs[1].server);
}

Test(ctl, kills_what_earlier_generations_have_left, .timeout = 60) {
    struct stage stage;
    struct pair before, after;
    stage_start(&stage);
    pair_open(&before, stage.address, &stage.servers[0]);
    configure(&stage, 1, "");
    ctl(&stage, "reload", DONE, "generation 2");
    pair_open(&after, stage.address, &stage.servers[1]);
    ctl(&stage, "kill --generation <2", DONE, "killed: 1\n");
    peer_expect_closed(&before.client);
    pair_exchange(&after, 1000);
    ctl(&stage, "generations", DONE, "\n         2         1");
}

Test(ctl, sees_and_kills_sessions_while_moonring_drains, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    pair_open(&pair, stage.address, &stage.servers[0]);
    process_signal(&stage.moonring.process, SIGTERM);
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "stopping: no new clients");
    expect_sessions(&stage, "", "['web']");
    ctl(&stage, "kill --all", DONE, "killed: 1\n");
    peer_expect_closed(&pair.client);
    cr_assert(process_wait(&stage.moonring.process) == 0);
}

/* All clients are this process': each session costs it two descriptors. */
Test(ctl, lists_thousands_of_sessions_in_the_order_of_their_age, .timeout = 120) {
    enum { MANY = 2000 };
    static struct peer clients[MANY];
    struct stage stage;
    struct mirror mirror;
    char expression[256];
    stage_start(&stage);
    mirror_start(&mirror, "127.0.0.1:0");
    temporary_write(&stage.moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '%s', upstream: '%s'}}\nadmin: {bind: '%s'}\nprocess: {workers: 2}\n",
                    stage.address, mirror.address, stage.socket_address);
    ctl(&stage, "reload", DONE, "generation 2");
    for (size_t i = 0; i < MANY; i++) {
        peer_connect(&clients[i], stage.address);
    }
    moonring_wait_counter_is(&stage.moonring, "moonring_sessions_active", MANY);
    snprintf(
        expression, sizeof(expression),
        "(lambda ids: len(set(ids)) == len(ids) == %d and all([i for i in ids if i[0] == worker] == sorted(i for i in "
        "ids if i[0] == worker) for worker in (0, 1)))([(s['worker'], s['id']) for s in it['sessions']])",
        MANY);
    expect_json(&stage, "sessions --json", DONE, expression);
    ctl(&stage, "kill --all", DONE, "killed: 2000\n");
    mirror_stop(&mirror);
}

Test(ctl, finds_its_socket_by_the_configuration, .timeout = 30) {
    struct stage stage;
    char path[TEMPORARY_PATH_MAX];
    stage_start(&stage);
    temporary_path(&stage.moonring.folder, "moonring.yaml", path);
    process_start(&stage.ctl, NULL, ARGUMENTS(moonring_program(), "ctl", "-c", path, "status"));
    cr_assert(process_wait(&stage.ctl) == DONE, "%s", process_last_words(&stage.ctl));
}

Test(ctl, says_so_when_nobody_is_there, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    moonring_stop(&stage.moonring);
    ctl(&stage, "status", NOBODY, "is moonring running, and does its configuration have");
    cr_assert(access(stage.socket, F_OK) < 0, "the socket's file was left behind");
}

/* --- who else may be there ---------------------------------------------------------------------------------------- */

/* Somebody else's socket, where moonring's would be. */
static int stranger_listen(struct stage *stage) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    temporary_create(&stage->moonring.folder);
    temporary_path(&stage->moonring.folder, "admin.sock", stage->socket);
    snprintf(stage->socket_address, sizeof(stage->socket_address), "unix:%s", stage->socket);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", stage->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0);
    return fd;
}

/* It says that to whoever comes, and ends. */
static void stranger_speaks(struct stage *stage, const char *words, const char *expected) {
    int listening = stranger_listen(stage);
    process_start(&stage->ctl, NULL, ARGUMENTS(moonring_program(), "ctl", "--socket", stage->socket_address, "status"));
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    char order[64];
    cr_assert(recv(fd, order, sizeof(order), 0) > 0 && memcmp(order, "status\n", 7) == 0);
    cr_assert(send(fd, words, strlen(words), MSG_NOSIGNAL) == (ssize_t)strlen(words));
    shutdown(fd, SHUT_RDWR);
    cr_assert(process_wait(&stage->ctl) == NOBODY, "%s", process_last_words(&stage->ctl));
    cr_assert(strstr(process_text(&stage->ctl.errors), expected) != NULL, "%s", process_last_words(&stage->ctl));
    close(fd);
    close(listening);
}

Test(ctl, knows_who_is_not_moonring, .timeout = 30) {
    struct stage stage;
    stranger_speaks(&stage, "-ERR unknown command\r\n\x1b[2J", "is not moonring; it says \"-ERR unkno...\"");
    stranger_speaks(&stage, "\x1b]0;evil\n", "says \"\\x1b]0;evil\\x0a...\"");
}

Test(ctl, does_not_take_half_an_answer_for_one, .timeout = 30) {
    struct stage stage;
    stranger_speaks(&stage, "", "went away before the end of its answer");
    stranger_speaks(&stage, "moonring 1.0\nworkers: 2\n", "went away before the end of its answer");
    stranger_speaks(&stage, "moonring 1.0\nexit 0", "went away before the end of its answer");
}

Test(ctl, says_that_the_file_was_left_behind, .timeout = 30) {
    struct stage stage;
    close(stranger_listen(&stage));
    ctl(&stage, "status", NOBODY, "has left this file behind");
}

Test(ctl, waits_for_one_that_is_stopped_for_a_while_only, .timeout = 60) {
    struct stage stage;
    stage_start(&stage);
    process_signal(&stage.moonring.process, SIGSTOP);
    process_start(&stage.ctl, NULL, ARGUMENTS(moonring_program(), "ctl", "--socket", stage.socket_address, "status"));
    cr_assert(process_wait_at_most(&stage.ctl, 2 * DEADLINE_MS) == NOBODY, "%s", process_last_words(&stage.ctl));
    const char *said = process_text(&stage.ctl.errors);
    cr_assert(strstr(said, "takes the order and is silent for 10 s: it is stopped") != NULL, "%s", said);
    process_signal(&stage.moonring.process, SIGCONT);
    ctl(&stage, "status", DONE, "generation 1");
}

static void become_nobody(void) {
    const struct passwd *nobody = getpwnam("nobody");
    if (nobody == NULL || setgid(nobody->pw_gid) != 0 || setuid(nobody->pw_uid) != 0) {
        _exit(127);
    }
}

Test(ctl, says_whom_to_ask_as_where_it_is_not_permitted, .timeout = 30) {
    struct stage stage;
    stage_start(&stage);
    cr_assert(chmod(stage.moonring.folder.path, 0755) == 0);
    process_start(&stage.ctl, become_nobody,
                  ARGUMENTS(moonring_program(), "ctl", "--socket", stage.socket_address, "status"));
    cr_assert(process_wait(&stage.ctl) == NOBODY, "%s", process_last_words(&stage.ctl));
    cr_assert(strstr(process_text(&stage.ctl.errors), "you may not; ask as its owner") != NULL);
}

Test(ctl, socket_is_for_its_owner_alone_unless_the_mode_says_otherwise, .timeout = 30) {
    struct stage stage;
    struct stat status;
    stage_start(&stage);
    cr_assert(stat(stage.socket, &status) == 0 && (status.st_mode & 0777) == 0600);
    temporary_write(&stage.moonring.folder, "moonring.yaml",
                    "listeners: {web: {bind: '%s', upstream: '%s'}}\n"
                    "admin: {bind: {address: 'unix:%s', mode: '0660'}}\n",
                    stage.address, stage.servers[0].address, stage.socket);
    ctl(&stage, "reload", DONE, "generation 2");
    cr_assert(stat(stage.socket, &status) == 0 && (status.st_mode & 0777) == 0660);
    process_wait_line(&stage.moonring.process, &stage.moonring.process.errors, "admin: reload, for user 0, process ");
}

Test(ctl, socket_moves_with_a_reload, .timeout = 30) {
    struct stage stage;
    char before[TEMPORARY_PATH_MAX];
    stage_start(&stage);
    snprintf(before, sizeof(before), "%s", stage.socket);
    char moved[TEMPORARY_PATH_MAX];
    temporary_path(&stage.moonring.folder, "moved.sock", moved);
    snprintf(stage.socket, sizeof(stage.socket), "%s", moved);
    configure(&stage, 0, "");
    ctl(&stage, "reload", DONE, "generation 2");
    snprintf(stage.socket_address, sizeof(stage.socket_address), "unix:%s", moved);
    ctl(&stage, "status", DONE, "generation 2");
    cr_assert(access(before, F_OK) < 0);
}

/* --- clients that are up to no good ------------------------------------------------------------------------------- */

static int admin_connect(const struct stage *stage) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", stage->socket);
    cr_assert(connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

Test(ctl, is_served_beside_clients_that_say_nothing_or_too_much, .timeout = 60) {
    enum { SILENT = 15 };
    struct stage stage;
    char flood[4000], byte;
    stage_start(&stage);
    memset(flood, 'x', sizeof(flood));
    for (int index = 0; index < SILENT; index++) {
        admin_connect(&stage);
    }
    int talker = admin_connect(&stage);
    cr_assert(send(talker, flood, sizeof(flood), MSG_NOSIGNAL) > 0);
    cr_assert(recv(talker, &byte, 1, 0) <= 0);
    ctl(&stage, "status", DONE, "generation 1");
    admin_connect(&stage); /* every place is taken: the next one waits until those who say nothing are given up */
    ctl(&stage, "status", DONE, "generation 1");
}

Test(ctl, that_does_not_read_holds_nobody_up, .timeout = 60) {
    struct stage stage;
    struct pair pair;
    stage_start(&stage);
    int deaf = admin_connect(&stage);
    int size = 1;
    setsockopt(deaf, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    cr_assert(send(deaf, "metrics\n", 8, MSG_NOSIGNAL) == 8);
    ctl(&stage, "status", DONE, "generation 1");
    configure(&stage, 1, "");
    ctl(&stage, "reload", DONE, "generation 2");
    pair_open(&pair, stage.address, &stage.servers[1]);
}
