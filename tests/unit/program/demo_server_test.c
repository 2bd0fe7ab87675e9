#include "program/demo_server.h"

#include "tests/support/peer.h"
#include "tests/support/temporary.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- the servers, in a thread ------------------------------------------------------------------------------------ */

struct demo {
    struct demo_server *server;
    int stop_fd;
    pthread_t thread;
    bool served; /* what the thread came to, once it has ended */
    struct error error;
};

static void *serve(void *argument) {
    struct demo *demo = argument;
    demo->served = demo_server_serve(demo->server, demo->stop_fd, &demo->error);
    return NULL;
}

/* Two servers, A and B. */
static void demo_start(struct demo *demo) {
    struct address addresses[2];
    struct error error = {.text = ""};
    cr_assert(address_parse(&addresses[0], "127.0.0.1:0", true, &error), "%s", error.text);
    addresses[1] = addresses[0];
    demo->server = demo_server_create(addresses, 2, &error);
    cr_assert_not_null(demo->server, "%s", error.text);
    demo->stop_fd = eventfd(0, EFD_CLOEXEC);
    cr_assert_eq(pthread_create(&demo->thread, NULL, serve, demo), 0);
}

static void demo_stop(struct demo *demo) {
    cr_assert_eq(eventfd_write(demo->stop_fd, 1), 0);
    cr_assert_eq(pthread_join(demo->thread, NULL), 0);
    cr_assert(demo->served, "%s", demo->error.text);
    demo_server_destroy(demo->server);
    close(demo->stop_fd);
}

static void demo_text(const struct demo *demo, size_t index, char text[ADDRESS_TEXT_MAX]) {
    address_format(demo_server_address(demo->server, index), text, ADDRESS_TEXT_MAX);
}

static void demo_connect(const struct demo *demo, size_t index, struct peer *client) {
    char text[ADDRESS_TEXT_MAX];
    demo_text(demo, index, text);
    peer_connect(client, text);
}

/* `fields`: what the reply's head has beside the usual. */
static void expect_hello(struct peer *client, const struct demo *demo, size_t index, int request, const char *fields) {
    char text[ADDRESS_TEXT_MAX];
    char line[256];
    char reply[512];
    demo_text(demo, index, text);
    snprintf(line, sizeof(line), "hello from server %c (%s), request %d\n", (char)('A' + index), text, request);
    snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s",
             strlen(line), fields, line);
    peer_expect(client, reply);
}

Test(demo_server, each_server_tells_its_name_and_counts_its_own_requests, .timeout = 10) {
    struct demo demo;
    struct peer clients[2];
    demo_start(&demo);
    demo_connect(&demo, 0, &clients[0]);
    demo_connect(&demo, 1, &clients[1]);
    for (int request = 1; request <= 3; request++) {
        peer_send(&clients[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        expect_hello(&clients[0], &demo, 0, request, "");
    }
    peer_send(&clients[1], "GET /any/path?at=all HTTP/1.1\r\n\r\n");
    expect_hello(&clients[1], &demo, 1, 1, "");
    peer_close(&clients[0]);
    peer_close(&clients[1]);
    demo_stop(&demo);
}

Test(demo_server, answers_requests_that_come_together_or_in_pieces, .timeout = 10) {
    struct demo demo;
    struct peer client;
    demo_start(&demo);
    demo_connect(&demo, 0, &client);
    peer_send(&client, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HT");
    expect_hello(&client, &demo, 0, 1, "");
    expect_hello(&client, &demo, 0, 2, "");
    peer_send(&client, "TP/1.1\r\n\r");
    peer_send(&client, "\n");
    expect_hello(&client, &demo, 0, 3, "");
    peer_close(&client);
    demo_stop(&demo);
}

Test(demo_server, answers_head_without_a_body, .timeout = 10) {
    struct demo demo;
    struct peer client;
    char text[ADDRESS_TEXT_MAX];
    char reply[256];
    demo_start(&demo);
    demo_connect(&demo, 0, &client);
    demo_text(&demo, 0, text);
    peer_send(&client, "HEAD / HTTP/1.1\r\n\r\n");
    snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
             strlen("hello from server A (), request 1\n") + strlen(text));
    peer_expect(&client, reply);
    peer_send(&client, "GET / HTTP/1.1\r\n\r\n");
    expect_hello(&client, &demo, 0, 2, "");
    peer_close(&client);
    demo_stop(&demo);
}

Test(demo_server, closes_when_the_client_wants_no_more, .timeout = 10) {
    const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: x\r\nconnection:close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    };
    struct demo demo;
    demo_start(&demo);
    for (int i = 0; i < 3; i++) {
        struct peer client;
        demo_connect(&demo, 0, &client);
        peer_send(&client, requests[i]);
        expect_hello(&client, &demo, 0, i + 1, "Connection: close\r\n");
        peer_expect_end(&client);
        peer_close(&client);
    }
    demo_stop(&demo);
}

Test(demo_server, refuses_what_it_does_not_speak_without_a_reset, .timeout = 10) {
    static char long_request[4096 + 100000];
    memset(long_request, 'x', sizeof(long_request) - 1);
    memcpy(long_request, "GET /", 5);
    const struct {
        const char *request;
        const char *status;
        const char *body;
    } exchanges[] = {
        {"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed\r\nAllow: GET, HEAD",
         "only GET and HEAD\n"},
        {"hello\r\n\r\n", "400 Bad Request", "this is no HTTP/1.x request\n"},
        {"GET /\r\nX: HTTP/1.1\r\n\r\n", "400 Bad Request", "this is no HTTP/1.x request\n"},
        {long_request, "431 Request Header Fields Too Large", "at most 4 KiB\n"},
    };
    struct demo demo;
    demo_start(&demo);
    for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++) {
        struct peer client;
        char reply[512];
        demo_connect(&demo, 0, &client);
        peer_send(&client, exchanges[i].request);
        snprintf(reply, sizeof(reply),
                 "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 exchanges[i].status, strlen(exchanges[i].body), exchanges[i].body);
        peer_expect(&client, reply);
        peer_expect_end(&client);
        peer_close(&client);
    }
    demo_stop(&demo);
}

Test(demo_server, serves_clients_beyond_its_limit_once_others_have_gone, .timeout = 20) {
    struct demo demo;
    static struct peer clients[DEMO_CLIENTS_MAX + 1];
    demo_start(&demo);
    for (int i = 0; i < DEMO_CLIENTS_MAX; i++) {
        demo_connect(&demo, 0, &clients[i]);
        peer_send(&clients[i], "GET / HTTP/1.1\r\n\r\n");
        expect_hello(&clients[i], &demo, 0, i + 1, "");
    }
    struct peer *late = &clients[DEMO_CLIENTS_MAX];
    demo_connect(&demo, 0, late);
    peer_send(late, "GET / HTTP/1.1\r\n\r\n");
    peer_expect_silence(late, 50);
    peer_close(&clients[7]);
    expect_hello(late, &demo, 0, DEMO_CLIENTS_MAX + 1, "");
    demo_stop(&demo);
}

Test(demo_server, says_which_address_it_cannot_have, .timeout = 10) {
    struct peer_listener taken;
    struct address address;
    struct error error = {.text = ""};
    peer_listen(&taken, "127.0.0.1:0");
    cr_assert(address_parse(&address, taken.address, false, &error), "%s", error.text);
    cr_assert_null(demo_server_create(&address, 1, &error));
    cr_assert_not_null(strstr(error.text, taken.address), "%s", error.text);
    cr_assert_not_null(strstr(error.text, "Address already in use"), "%s", error.text);
    peer_listener_close(&taken);
}

/* --- the command, in a process ----------------------------------------------------------------------------------- */

static struct argument_addresses addresses_of(const char *text) {
    return (struct argument_addresses){.items = {{text, strlen(text)}}, .count = 1};
}

/* What it writes to standard error can be read from *errors_fd. */
static pid_t command_start(const char *listen, char **wrapped, int *errors_fd) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct arguments arguments = {.command = COMMAND_DEMO_SERVER, .listen = addresses_of(listen)};
        arguments.wrapped = wrapped;
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        _exit(demo_server_main(&arguments));
    }
    close(ends[1]);
    *errors_fd = ends[0];
    return pid;
}

static int command_end(pid_t pid, int errors_fd) {
    int status = -1;
    close(errors_fd);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "status %d", status);
    return WEXITSTATUS(status);
}

/* Waits until it has written something. */
static void expect_errors(int errors_fd, const char *wanted) {
    char text[1024] = "";
    cr_assert_gt(read(errors_fd, text, sizeof(text) - 1), 0);
    cr_assert_not_null(strstr(text, wanted), "%s", text);
}

Test(demo_server, command_serves_until_a_signal_and_removes_its_socket, .timeout = 10) {
    const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct temporary folder;
        char path[TEMPORARY_PATH_MAX];
        char listen[TEMPORARY_PATH_MAX + 8];
        struct peer client;
        int errors_fd;
        temporary_create(&folder);
        snprintf(listen, sizeof(listen), "unix:%s", temporary_path(&folder, "demo.sock", path));
        pid_t pid = command_start(listen, NULL, &errors_fd);
        expect_errors(errors_fd, "demo server A listens on unix:");
        peer_connect(&client, listen);
        peer_send(&client, "GET / HTTP/1.1\r\n\r\n");
        peer_expect(&client, "HTTP/1.1 200 OK\r\n");
        kill(pid, signals[i]);
        cr_assert_eq(command_end(pid, errors_fd), 0);
        cr_assert_neq(access(path, F_OK), 0);
        peer_close(&client);
        temporary_remove(&folder);
    }
}

static int status_of_wrapped(const char *script) {
    char shell[] = "sh";
    char option[] = "-c";
    char text[256];
    char *wrapped[] = {shell, option, text, NULL};
    int errors_fd;
    snprintf(text, sizeof(text), "%s", script);
    pid_t pid = command_start("127.0.0.1:0", wrapped, &errors_fd);
    expect_errors(errors_fd, "listens on 127.0.0.1:");
    return command_end(pid, errors_fd);
}

Test(demo_server, command_ends_with_the_exit_status_of_the_wrapped_one, .timeout = 10) {
    cr_assert_eq(status_of_wrapped("exit 0"), 0);
    cr_assert_eq(status_of_wrapped("exit 7"), 7);
    cr_assert_eq(status_of_wrapped("kill -KILL $$"), 128 + SIGKILL);
    cr_assert_eq(status_of_wrapped("exec no-such-program-anywhere 2>/dev/null"), 127);
}

Test(demo_server, command_passes_sigterm_on_to_the_wrapped_one, .timeout = 10) {
    char sleeper[] = "sleep";
    char seconds[] = "100";
    char *wrapped[] = {sleeper, seconds, NULL};
    int errors_fd;
    pid_t pid = command_start("127.0.0.1:0", wrapped, &errors_fd);
    expect_errors(errors_fd, "listens on 127.0.0.1:");
    kill(pid, SIGTERM);
    cr_assert_eq(command_end(pid, errors_fd), 128 + SIGTERM);
}

Test(demo_server, command_tells_bad_usage_from_an_address_it_cannot_have, .timeout = 10) {
    struct peer_listener taken;
    int errors_fd;
    peer_listen(&taken, "127.0.0.1:0");
    pid_t pid = command_start(taken.address, NULL, &errors_fd);
    expect_errors(errors_fd, "moonring: demo-server: cannot listen on ");
    cr_assert_eq(command_end(pid, errors_fd), 1);
    pid = command_start("nonsense", NULL, &errors_fd);
    expect_errors(errors_fd, "moonring: demo-server: --listen: ");
    cr_assert_eq(command_end(pid, errors_fd), 2);
    peer_listener_close(&taken);
}
