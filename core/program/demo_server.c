#include "program/demo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUEST_MAX = 4096, REPLY_MAX = 512, LISTEN_BACKLOG = 128, STATUS_NOT_FOUND = 127, STATUS_SIGNAL = 128 };

struct demo_listener {
    int fd;
    char name; /* A, B, ... */
    struct address address;
    char text[ADDRESS_TEXT_MAX];
    uint64_t requests;
};

struct demo_client {
    int fd;                         /* -1: the slot is free */
    struct demo_listener *listener; /* who accepted it */
    bool ends;                      /* nothing follows the reply that is on its way */
    bool drains;                    /* our side has ended: what comes is thrown away until the client's has */
    size_t received;
    size_t reply_size; /* 0: none on its way */
    size_t reply_sent;
    char request[REQUEST_MAX];
    char reply[REPLY_MAX];
};

struct demo_server {
    size_t listeners_count;
    size_t clients_count;
    struct demo_listener listeners[DEMO_SERVERS_MAX];
    struct demo_client clients[DEMO_CLIENTS_MAX];
};

/* --- HTTP ------------------------------------------------------------------------------------------------------- */

static void reply_set(struct demo_client *client, const char *status, const char *body, bool with_body) {
    int size = snprintf(client->reply, sizeof(client->reply),
                        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s", status,
                        strlen(body), client->ends ? "Connection: close\r\n" : "", with_body ? body : "");
    client->reply_size = (size_t)size;
    client->reply_sent = 0;
}

/* Anything but a plain GET or HEAD is the connection's last request: we would not know where the next one begins. */
static void reply_refuse(struct demo_client *client, const char *status, const char *body) {
    client->ends = true;
    reply_set(client, status, body, true);
}

/* Does the head (a text) have this field, with `word` in its value? `name` is the field's with its colon. */
static bool head_has(const char *head, const char *name, const char *word) {
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0) {
            const char *found = strcasestr(line, word);
            return found != NULL && found < line + strcspn(line, "\r");
        }
    }
    return false;
}

static void request_answer(struct demo_client *client, const char *head) {
    bool is_get = strncmp(head, "GET ", 4) == 0;
    bool is_head = strncmp(head, "HEAD ", 5) == 0;
    const char *version = strstr(head, " HTTP/1.");
    if (version == NULL || version > strstr(head, "\r\n")) {
        reply_refuse(client, "400 Bad Request", "this is no HTTP/1.x request\n");
        return;
    }
    if (!is_get && !is_head) {
        reply_refuse(client, "405 Method Not Allowed\r\nAllow: GET, HEAD", "only GET and HEAD\n");
        return;
    }
    client->ends = strncmp(version, " HTTP/1.0", 9) == 0 || head_has(head, "Connection:", "close") ||
                   head_has(head, "Content-Length:", "") || head_has(head, "Transfer-Encoding:", "");
    struct demo_listener *listener = client->listener;
    char line[ADDRESS_TEXT_MAX + 80];
    snprintf(line, sizeof(line), "hello from server %c (%s), request %" PRIu64 "\n", listener->name, listener->text,
             ++listener->requests);
    reply_set(client, "200 OK", line, is_get);
}

/* Takes the first whole request out of what was received and makes its reply. False when there is none. */
static bool request_take(struct demo_client *client) {
    char *end = memmem(client->request, client->received, "\r\n\r\n", 4);
    if (end == NULL) {
        if (client->received == REQUEST_MAX) {
            reply_refuse(client, "431 Request Header Fields Too Large", "at most 4 KiB\n");
        }
        return client->received == REQUEST_MAX;
    }
    end[2] = 0; /* a text of lines that all have their end */
    request_answer(client, client->request);
    size_t size = (size_t)(end + 4 - client->request);
    client->received -= size;
    memmove(client->request, client->request + size, client->received);
    return true;
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

static void client_open(struct demo_server *demo, struct demo_listener *listener) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return; /* it went away, or descriptors are short: the others go on */
    }
    struct demo_client *client = demo->clients;
    while (client->fd >= 0) {
        client++; /* there is a free slot, or we would not have polled the listener */
    }
    *client = (struct demo_client){.fd = fd, .listener = listener};
    demo->clients_count++;
}

static void client_close(struct demo_server *demo, struct demo_client *client) {
    close(client->fd);
    client->fd = -1;
    demo->clients_count--;
}

/* True when the whole reply, or the lack of one, is out. False: more later, or *broken. */
static bool client_send(struct demo_client *client, bool *broken) {
    while (client->reply_sent < client->reply_size) {
        ssize_t sent =
            send(client->fd, client->reply + client->reply_sent, client->reply_size - client->reply_sent, MSG_NOSIGNAL);
        if (sent < 0) {
            *broken = errno != EAGAIN;
            return false;
        }
        client->reply_sent += (size_t)sent;
    }
    client->reply_size = 0;
    client->reply_sent = 0;
    return true;
}

/* What a poll reported. False: the client is done with. */
static bool client_serve(struct demo_client *client) {
    bool broken = false;
    if (client->reply_size == 0) {
        ssize_t received =
            recv(client->fd, client->request + client->received, REQUEST_MAX - client->received, MSG_DONTWAIT);
        if (received <= 0) {
            return received < 0 && errno == EAGAIN;
        }
        client->received = client->drains ? 0 : client->received + (size_t)received;
    }
    while (client_send(client, &broken)) {
        if (client->ends) {
            /* Closing now would be a reset if the client still sends, and a reset may overtake the reply. */
            client->received = 0;
            client->drains = true;
            client->ends = false;
            return shutdown(client->fd, SHUT_WR) == 0;
        }
        if (client->drains || !request_take(client)) {
            return true;
        }
    }
    return !broken;
}

/* --- listening -------------------------------------------------------------------------------------------------- */

static bool listener_open(struct demo_listener *listener, const struct address *address, struct error *error) {
    const int on = 1;
    address_format(address, listener->text, sizeof(listener->text));
    listener->fd = socket(address_family(address), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener->fd < 0) {
        return error_set(error, "demo-server: %s: %s", listener->text, error_name(errno));
    }
    if (!address_is_unix(address)) {
        setsockopt(listener->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (bind(listener->fd, &address->any, address->length) < 0 || listen(listener->fd, LISTEN_BACKLOG) < 0) {
        error_set(error, "demo-server: cannot listen on %s: %s%s", listener->text, error_name(errno),
                  errno == EADDRINUSE ? " (choose another one, or end who has it)" : "");
        close(listener->fd);
        return false;
    }
    /* Port 0 has become a real one. */
    listener->address = *address;
    listener->address.length = sizeof(listener->address) - offsetof(struct address, any);
    getsockname(listener->fd, &listener->address.any, &listener->address.length);
    address_format(&listener->address, listener->text, sizeof(listener->text));
    return true;
}

static void listener_close(struct demo_listener *listener) {
    close(listener->fd);
    if (address_is_unix(&listener->address) && listener->address.local.sun_path[0] != 0) {
        unlink(listener->address.local.sun_path);
    }
}

struct demo_server *demo_server_create(const struct address *addresses, size_t count, struct error *error) {
    if (count > DEMO_SERVERS_MAX) {
        error_set(error, "demo-server: more than %d addresses", DEMO_SERVERS_MAX);
        return NULL;
    }
    struct demo_server *demo = calloc(1, sizeof(*demo));
    if (demo == NULL) {
        error_set(error, "demo-server: %s", error_name(ENOMEM));
        return NULL;
    }
    for (size_t i = 0; i < DEMO_CLIENTS_MAX; i++) {
        demo->clients[i].fd = -1;
    }
    for (size_t i = 0; i < count; i++) {
        demo->listeners[i].name = (char)('A' + i);
        if (!listener_open(&demo->listeners[i], &addresses[i], error)) {
            demo_server_destroy(demo);
            return NULL;
        }
        demo->listeners_count++;
    }
    return demo;
}

void demo_server_destroy(struct demo_server *demo) {
    if (demo == NULL) {
        return;
    }
    for (size_t i = 0; i < DEMO_CLIENTS_MAX; i++) {
        if (demo->clients[i].fd >= 0) {
            client_close(demo, &demo->clients[i]);
        }
    }
    for (size_t i = 0; i < demo->listeners_count; i++) {
        listener_close(&demo->listeners[i]);
    }
    free(demo);
}

const struct address *demo_server_address(const struct demo_server *demo, size_t index) {
    return &demo->listeners[index].address;
}

/* --- serving ---------------------------------------------------------------------------------------------------- */

/* What is polled: who stops us, then the listeners, then every slot for a client; poll skips descriptors below 0. */
enum { POLL_STOP, POLL_LISTENERS, POLL_CLIENTS = POLL_LISTENERS + DEMO_SERVERS_MAX };
enum { POLLS_COUNT = POLL_CLIENTS + DEMO_CLIENTS_MAX };

static void polls_fill(struct pollfd *polls, const struct demo_server *demo, int stop_fd) {
    polls[POLL_STOP] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
    for (size_t i = 0; i < DEMO_SERVERS_MAX; i++) {
        bool accepts = i < demo->listeners_count && demo->clients_count < DEMO_CLIENTS_MAX;
        polls[POLL_LISTENERS + i] = (struct pollfd){.fd = accepts ? demo->listeners[i].fd : -1, .events = POLLIN};
    }
    for (size_t i = 0; i < DEMO_CLIENTS_MAX; i++) {
        const struct demo_client *client = &demo->clients[i];
        polls[POLL_CLIENTS + i] =
            (struct pollfd){.fd = client->fd, .events = client->reply_size > 0 ? POLLOUT : POLLIN};
    }
}

static void polls_serve(const struct pollfd *polls, struct demo_server *demo) {
    for (size_t i = 0; i < DEMO_CLIENTS_MAX; i++) {
        if (polls[POLL_CLIENTS + i].revents != 0 && !client_serve(&demo->clients[i])) {
            client_close(demo, &demo->clients[i]);
        }
    }
    for (size_t i = 0; i < demo->listeners_count; i++) {
        if (polls[POLL_LISTENERS + i].revents != 0 && demo->clients_count < DEMO_CLIENTS_MAX) {
            client_open(demo, &demo->listeners[i]);
        }
    }
}

bool demo_server_serve(struct demo_server *demo, int stop_fd, struct error *error) {
    struct pollfd polls[POLLS_COUNT];
    for (;;) {
        polls_fill(polls, demo, stop_fd);
        if (poll(polls, POLLS_COUNT, -1) < 0) {
            return error_set(error, "demo-server: poll: %s", error_name(errno));
        }
        if (polls[POLL_STOP].revents != 0) {
            return true;
        }
        polls_serve(polls, demo);
    }
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static struct demo_server *demo_server_open(const struct argument_addresses *listen, int *status, struct error *error) {
    struct address addresses[ARGUMENTS_ADDRESSES_MAX];
    for (size_t i = 0; i < listen->count; i++) {
        char text[ADDRESS_TEXT_MAX + 1];
        snprintf(text, sizeof(text), "%.*s", (int)listen->items[i].size, listen->items[i].text);
        if (!address_parse(&addresses[i], text, true, error)) {
            error_prefix(error, "demo-server: --listen: ");
            *status = 2;
            return NULL;
        }
    }
    *status = 1;
    struct demo_server *demo = demo_server_create(addresses, listen->count, error);
    if (demo == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < demo->listeners_count; i++) {
        fprintf(stderr, "demo server %c listens on %s\n", demo->listeners[i].name, demo->listeners[i].text);
    }
    return demo;
}

/* Signals become readable: SIGINT and SIGTERM, and SIGCHLD for the wrapped command. */
static int signals_open(sigset_t *before) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGCHLD);
    signal(SIGCHLD, SIG_DFL); /* if it is ignored the kernel throws away how a child ended */
    sigprocmask(SIG_BLOCK, &signals, before);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static pid_t wrapped_start(char **wrapped, const sigset_t *signals) {
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigprocmask(SIG_SETMASK, signals, NULL);
        execvp(wrapped[0], wrapped);
        fprintf(stderr, "moonring: demo-server: cannot run \"%s\": %s\n", wrapped[0], error_name(errno));
        _exit(STATUS_NOT_FOUND);
    }
    return pid;
}

/* What the signals that wait mean. True: it is over, with that exit status. */
static bool signals_handle(int signal_fd, pid_t wrapped, int *status) {
    struct signalfd_siginfo signal;
    int ended = 0;
    while (read(signal_fd, &signal, sizeof(signal)) == sizeof(signal)) {
        if (wrapped == 0 && signal.ssi_signo != SIGCHLD) {
            *status = 0;
            return true;
        }
        if (wrapped != 0 && signal.ssi_signo == SIGTERM) {
            kill(wrapped, SIGTERM);
        }
        if (wrapped != 0 && waitpid(wrapped, &ended, WNOHANG) == wrapped) {
            *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : STATUS_SIGNAL + WTERMSIG(ended);
            return true;
        }
    }
    return false;
}

/* Serves from when the signals can be read until one of them, or the wrapped command's end, ends it. */
static int demo_server_live(struct demo_server *demo, char **wrapped, int signal_fd, const sigset_t *signals,
                            struct error *error) {
    pid_t pid = wrapped != NULL ? wrapped_start(wrapped, signals) : 0;
    if (pid < 0) {
        error_set(error, "demo-server: cannot run \"%s\": %s", wrapped[0], error_name(errno));
        return 1;
    }
    int status = 1;
    while (demo_server_serve(demo, signal_fd, error) && !signals_handle(signal_fd, pid, &status)) {
    }
    return status;
}

int demo_server_main(const struct arguments *arguments) {
    struct error error = {.text = ""};
    sigset_t signals;
    int status = 1;
    int signal_fd = signals_open(&signals); /* before anybody can know that we are here and end us */
    if (signal_fd < 0) {
        fprintf(stderr, "moonring: demo-server: signalfd: %s\n", error_name(errno));
        return status;
    }
    struct demo_server *demo = demo_server_open(&arguments->listen, &status, &error);
    if (demo != NULL) {
        status = demo_server_live(demo, arguments->wrapped, signal_fd, &signals, &error);
    }
    demo_server_destroy(demo);
    close(signal_fd);
    if (error.text[0] != 0) {
        fprintf(stderr, "moonring: %s\n", error.text);
    }
    return status;
}
