/* What moonring tells: the access log, the error log, and its state when asked. */
#include "tests/support/deadline.h"
#include "tests/support/moonring.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void session_run(struct moonring *moonring, const struct peer_listener *listener) {
    struct pair pair;
    pair_open(&pair, moonring->address, listener);
    pair_exchange(&pair, 1000);
    peer_end(&pair.client);
    peer_expect_end(&pair.server);
    peer_end(&pair.server);
    peer_expect_end(&pair.client);
    pair_close(&pair);
}

/* Reads a file until it contains `wanted`. */
static void file_wait(const char *path, const char *wanted, char *text, size_t text_size) {
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS);;) {
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        ssize_t size = fd < 0 ? 0 : read(fd, text, text_size - 1);
        close(fd);
        text[size < 0 ? 0 : size] = 0;
        if (strstr(text, wanted) != NULL) {
            return;
        }
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s has no \"%s\":\n%s", path, wanted, text);
        deadline_pause(2);
    }
}

/* --- content ----------------------------------------------------------------------------------------------------- */

Test(log, of_access_tells_each_session_in_one_line_of_text, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "");
    session_run(&moonring, &listener);
    char words[512];
    snprintf(words, sizeof(words),
             "listener=web server_address=%s tries=1 from_client_bytes=1000 from_server_bytes=1000 "
             "reason=client_fin ended_by=client",
             listener.address);
    const char *line = moonring_expect_session(&moonring, words);
    const char *keys[] = {
        "time=",         " id=",   " client=127.0.0.1:", " upstream=", " server=", " connect_ms=", " first_byte_ms=",
        " duration_ms=", " error="};
    for (size_t index = 0; index < sizeof(keys) / sizeof(keys[0]); index++) {
        cr_assert(strstr(line, keys[index]) != NULL, "no%s in: %s", keys[index], line);
    }
    session_run(&moonring, &listener);
    moonring_expect_session(&moonring, words);
    moonring_stop(&moonring);
    cr_assert(process_count_lines(&moonring.process.output, "reason=") == 2);
}

Test(log, of_access_tells_each_session_in_one_json_object, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "log: {access: {format: json}}\n");
    session_run(&moonring, &listener);
    const char *line = process_wait_line(&moonring.process, &moonring.process.output, "{");
    char address[256];
    snprintf(address, sizeof(address), "\"server_address\":\"%s\"", listener.address);
    const char *fields[] = {"{\"time\":\"20",
                            "\"id\":",
                            "\"listener\":\"web\"",
                            "\"client\":\"127.0.0.1:",
                            "\"upstream\":\"",
                            "\"server\":\"",
                            address,
                            "\"tries\":1",
                            "\"connect_ms\":",
                            "\"first_byte_ms\":",
                            "\"duration_ms\":",
                            "\"from_client_bytes\":1000",
                            "\"from_server_bytes\":1000",
                            "\"reason\":\"client_fin\"",
                            "\"ended_by\":\"client\"",
                            "\"error\":null"};
    for (size_t index = 0; index < sizeof(fields) / sizeof(fields[0]); index++) {
        cr_assert(strstr(line, fields[index]) != NULL, "no %s in: %s", fields[index], line);
    }
    cr_assert(line[strlen(line) - 1] == '}');
}

Test(log, of_access_can_be_off, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    moonring_start_web(&moonring, &listener, "", "log: {access: off}\n");
    session_run(&moonring, &listener);
    moonring_stop(&moonring);
    cr_assert_str_empty(process_text(&moonring.process.output));
}

/* A name from the configuration that would pass for another field, were it written as it is. (Blanks and control
 * characters are refused there, and clients' addresses have none.) */
static const char *line_of_odd_server(struct moonring *moonring, const char *format) {
    struct peer_listener listener;
    struct pair pair;
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(moonring,
                   "listeners: {web: {bind: '127.0.0.1:0', upstream: pool}}\n"
                   "upstreams: {pool: {servers: [{name: 'odd\"x\"reason=fake', address: '%s'}]}}\n"
                   "log: {access: {format: %s}}\n",
                   listener.address, format);
    pair_open(&pair, moonring->address, &listener);
    pair_close(&pair);
    return process_wait_line(&moonring->process, &moonring->process.output, "odd");
}

Test(log, of_access_quotes_names_in_text, .timeout = 30) {
    struct moonring moonring;
    const char *line = line_of_odd_server(&moonring, "text");
    cr_assert(strstr(line, " server=\"odd\\\"x\\\"reason=fake\" ") != NULL, "%s", line);
}

Test(log, of_access_quotes_names_in_json, .timeout = 30) {
    struct moonring moonring;
    const char *line = line_of_odd_server(&moonring, "json");
    cr_assert(strstr(line, ",\"server\":\"odd\\\"x\\\"reason=fake\",") != NULL, "%s", line);
}

Test(log, of_errors_has_levels, .timeout = 30) {
    struct moonring moonring;
    struct temporary folder;
    struct peer_listener listener;
    struct pair pair;
    char path[TEMPORARY_PATH_MAX], text[65536];
    temporary_create(&folder);
    peer_listen(&listener, "127.0.0.1:0");
    moonring_launch(&moonring, NULL,
                    "listeners: {web: {bind: 'unix:%s/web.sock', upstream: '%s'}}\n"
                    "log: {error: {target: 'file:%s/error.log', level: warn}}\n",
                    folder.path, listener.address, folder.path);
    snprintf(moonring.address, sizeof(moonring.address), "unix:%s/web.sock", folder.path);
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); peer_try_connect(&pair.client, moonring.address) != 0;) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s", process_text(&moonring.process.errors));
        deadline_pause(5);
    }
    pair_accept(&pair, &listener);
    process_signal(&moonring.process, SIGUSR2); /* was asked for: no level hides it */
    file_wait(temporary_path(&folder, "error.log", path), "# end", text, sizeof(text));
    cr_assert(strstr(text, " info ") == NULL, "%s", text);
}

/* --- a target that takes nothing --------------------------------------------------------------------------------- */

Test(log, of_access_that_nobody_reads_loses_lines_and_counts_them_but_stops_no_session, .timeout = 60) {
    enum { ROUNDS_MAX = 20000 };
    struct moonring moonring;
    struct peer_listener listener;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX], rest[256];
    temporary_create(&folder);
    cr_assert(mkfifo(temporary_path(&folder, "full", path), 0600) == 0);
    int reader = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    fcntl(reader, F_SETPIPE_SZ, 4096);
    snprintf(rest, sizeof(rest), "log: {access: {target: 'file:%s', format: json}}\nprocess: {workers: 1}\n", path);
    moonring_start_web(&moonring, &listener, "", rest);
    double lost = 0;
    for (int round = 0; round < ROUNDS_MAX && lost == 0; round++) {
        struct pair pair;
        pair_open(&pair, moonring.address, &listener);
        peer_reset(&pair.client); /* leaves no TIME_WAIT behind */
        peer_expect_reset(&pair.server);
        peer_close(&pair.server);
        lost = round % 500 == 499 ? moonring_counter(&moonring, "moonring_access_log_lost_lines_total") : 0;
    }
    cr_assert(lost > 0, "%d lines went where nobody reads", ROUNDS_MAX);

    char lines[65536];
    process_text(&moonring.process.errors);
    moonring.process.errors.next = moonring.process.errors.text.size;
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS);
         process_count_lines(&moonring.process.errors, " lines") == 0;) {
        struct pair pair;
        while (read(reader, lines, sizeof(lines)) > 0) {
        }
        pair_open(&pair, moonring.address, &listener); /* a line that finds room: the loss is told */
        pair_close(&pair);
        cr_assert(deadline_left_ms(deadline_ms) > 0, "the loss was never told:\n%s",
                  process_text(&moonring.process.errors));
        deadline_pause(5);
    }
}

/* --- signals ----------------------------------------------------------------------------------------------------- */

Test(log, files_are_opened_again_at_sigusr1, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct temporary folder;
    char path[TEMPORARY_PATH_MAX], old_path[TEMPORARY_PATH_MAX], text[4096], rest[256];
    temporary_create(&folder);
    temporary_path(&folder, "access.log", path);
    temporary_path(&folder, "access.log.1", old_path);
    snprintf(rest, sizeof(rest), "log: {access: {target: 'file:%s'}}\n", path);
    moonring_start_web(&moonring, &listener, "", rest);
    session_run(&moonring, &listener);
    file_wait(path, "reason=client_fin", text, sizeof(text));
    cr_assert(rename(path, old_path) == 0);
    process_signal(&moonring.process, SIGUSR1);
    for (uint64_t deadline_ms = deadline_after(DEADLINE_MS); access(path, F_OK) != 0;) {
        cr_assert(deadline_left_ms(deadline_ms) > 0, "%s was not made again", path);
        deadline_pause(2);
    }
    session_run(&moonring, &listener);
    file_wait(path, "reason=client_fin", text, sizeof(text));
    cr_assert(strstr(strstr(text, "reason="), "\n") == strrchr(text, '\n'), "more than one line:\n%s", text);
}

/* A client of a unix socket may call itself anything. */
static void connect_with_name(struct pair *pair, const char *address, const struct peer_listener *listener,
                              const char *name) {
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    size_t size = strlen(name);
    memcpy(own.sun_path + 1, name, size); /* behind a 0: an abstract name */
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + size);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fd, (struct sockaddr *)&own, length) == 0);
    peer_connect_socket(&pair->client, fd, address);
    pair_accept(pair, listener);
}

Test(log, at_sigusr2_escapes_what_a_client_calls_itself, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct temporary folder;
    struct pair pair;
    char name[64];
    temporary_create(&folder);
    peer_listen(&listener, "127.0.0.1:0");
    moonring_start(&moonring, "listeners: {web: {bind: 'unix:%s/web.sock', upstream: '%s'}}\n", folder.path,
                   listener.address);
    snprintf(name, sizeof(name), "%d\x1b[31m\nfake line", getpid());
    connect_with_name(&pair, moonring.address, &listener, name);
    pair_exchange(&pair, 10);
    process_signal(&moonring.process, SIGUSR2);
    const char *line = process_wait_line(&moonring.process, &moonring.process.errors, "session 1 ");
    cr_assert(strchr(line, '\x1b') == NULL && strstr(line, "state=relaying") != NULL, "it wrote: %s", line);
}

Test(log, tells_sessions_and_counters_at_sigusr2, .timeout = 30) {
    struct moonring moonring;
    struct peer_listener listener;
    struct pair pair, other;
    moonring_start_web(&moonring, &listener, "", "");
    pair_open(&pair, moonring.address, &listener);
    pair_open(&other, moonring.address, &listener);
    pair_exchange(&pair, 1000);
    pair_exchange(&other, 1000); /* by then moonring, too, knows that it is connected */
    process_signal(&moonring.process, SIGUSR2);
    struct process *process = &moonring.process;
    for (int session = 0; session < 2; session++) {
        const char *line = process_wait_line(process, &process->errors, "session ");
        const char *words[] = {"listener=web", "state=relaying", "doing=\"", "age="};
        for (size_t index = 0; index < sizeof(words) / sizeof(words[0]); index++) {
            cr_assert(strstr(line, words[index]) != NULL, "no %s in: %s", words[index], line);
        }
    }
    process_wait_line(process, &process->errors, "# end");
    cr_assert(moonring_counter(&moonring, "moonring_sessions_active") == 2);
    cr_assert(moonring_counter(&moonring, "moonring_ring_system_calls_total") > 0);
    cr_assert(moonring_counter(&moonring, "moonring_ring_submissions_total") > 0);
    cr_assert(moonring_counter(&moonring, "moonring_ring_completions_total") > 0);
    pair_close(&pair);
    moonring_wait_counter_is(&moonring, "moonring_sessions_active", 1);
}
