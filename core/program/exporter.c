#include "program/exporter.h"

#include "base/check.h"
#include "base/log.h"
#include "config/place.h"
#include "engine/ring.h"
#include "program/metrics.h"
#include "program/version.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 10000, /* with a client, from its request to the last byte */
    HEAD_MS = 2000,      /* from its connection to the end of its request's head */
    PAUSE_MS = 100,      /* when there is no descriptor or memory for another client */
    BACKLOG = 64,
    REQUEST_MEMORY = 8 * 1024, /* for the head of a request */
    /* A page is shown again until it is so many times as old as it took to write: asking all the time takes at most a
     * tenth of a CPU. */
    PAGE_REUSE = 10,
};

struct exporter_client {
    int fd;     /* -1: this place is free. The library's */
    bool asked; /* its request is there */
    bool ended; /* by us: the library sees it closed */
    uint64_t since_ms;
    uint64_t until_ms;
};

struct exporter {
    struct program *program;
    struct address address; /* as the configuration has it */
    struct address bound;   /* with the port that was chosen for 0; all zero: not yet */
    bool dual_stack;
    int fd;       /* ours; that listens */
    int event_fd; /* ours; signalled when `begun` or `ending` was set */
    atomic_bool begun;
    atomic_bool ending;
    void (*thread_begins)(void);
    sem_t ready; /* posted once: the thread has given up its rights */
    pthread_t thread;
    struct MHD_Daemon *daemon; /* speaks HTTP with those that we have accepted */
    struct exporter_client clients[EXPORTER_CLIENTS_MAX];
    uint32_t clients_count;
    uint64_t accept_at_ms;     /* not before */
    struct MHD_Response *page; /* counted; the last one that was written, or NULL */
    uint64_t page_until_ns;    /* when it is too old */
};

static uint64_t now_ms(void) {
    return kernel_now_ns() / 1000000;
}

/* --- pages ------------------------------------------------------------------------------------------------------ */

/* Each answer ends its connection: who wants more asks again, and waits in the queue with everybody else. */
static struct MHD_Response *response_finish(struct MHD_Response *response, const char *type) {
    if (response != NULL && (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type) == MHD_NO ||
                             MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_NO)) {
        MHD_destroy_response(response);
        return NULL;
    }
    return response;
}

/* Takes over the text. NULL: memory is short. */
static struct MHD_Response *response_from(struct bytes *text, const char *type) {
    struct MHD_Response *response = NULL;
    if (!text->failed && text->capacity > 0) {
        response = MHD_create_response_from_buffer(text->size, text->data, MHD_RESPMEM_MUST_FREE);
    }
    if (response == NULL) {
        bytes_finish(text);
    }
    return response_finish(response, type);
}

static struct MHD_Response *response_say(const char *text) {
    struct bytes copy;
    bytes_init(&copy);
    bytes_append_text(&copy, text);
    return response_from(&copy, "text/plain; charset=utf-8");
}

static void page_forget(struct exporter *exporter) {
    if (exporter->page != NULL) {
        MHD_destroy_response(exporter->page); /* those who are still reading it keep it */
    }
    exporter->page = NULL;
}

static void page_write(struct exporter *exporter) {
    struct bytes text;
    uint64_t began_ns = kernel_thread_ns(); /* a page is not dear because others had the CPU meanwhile */
    bytes_init(&text);
    metrics_write(exporter->program, &text);
    page_forget(exporter);
    exporter->page = response_from(&text, "text/plain; version=0.0.4; charset=utf-8");
    exporter->page_until_ns = kernel_now_ns() + PAGE_REUSE * (kernel_thread_ns() - began_ns);
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response) {
    if (response == NULL) {
        return MHD_NO; /* the connection is closed: memory is short */
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_metrics(struct exporter *exporter, struct MHD_Connection *connection) {
    if (exporter->page == NULL || kernel_now_ns() >= exporter->page_until_ns) {
        page_write(exporter);
    }
    return exporter->page == NULL ? MHD_NO : MHD_queue_response(connection, MHD_HTTP_OK, exporter->page);
}

static enum MHD_Result answer_health(const struct exporter *exporter, struct MHD_Connection *connection) {
    bool stopping = atomic_load(&exporter->program->stopping);
    return stopping ? answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, response_say("stopping\n"))
                    : answer(connection, MHD_HTTP_OK, response_say("ok\n"));
}

static enum MHD_Result refuse_method(struct MHD_Connection *connection) {
    struct MHD_Response *response = response_say("only GET and HEAD\n");
    if (response != NULL) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, response);
}

static void client_asked(struct exporter_client *client) {
    if (!client->asked) {
        client->asked = true;
        client->until_ms = now_ms() + PATIENCE_MS;
    }
}

static enum MHD_Result exporter_request(void *argument, struct MHD_Connection *connection, const char *path,
                                        const char *method, const char *version, const char *body, size_t *body_size,
                                        void **seen) {
    struct exporter *exporter = argument;
    (void)version;
    (void)body;
    (void)body_size;
    (void)seen;
    client_asked(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return refuse_method(connection);
    }
    if (strcmp(path, "/metrics") == 0) {
        return answer_metrics(exporter, connection);
    }
    if (strcmp(path, "/healthz") == 0) {
        return answer_health(exporter, connection);
    }
    if (strcmp(path, "/") == 0) {
        return answer(connection, MHD_HTTP_OK, response_say("moonring: /metrics, /healthz\n"));
    }
    return answer(connection, MHD_HTTP_NOT_FOUND, response_say("there is /metrics, and /healthz\n"));
}

/* --- clients ---------------------------------------------------------------------------------------------------- */

static void exporter_connection(void *argument, struct MHD_Connection *connection, void **place,
                                enum MHD_ConnectionNotificationCode what) {
    struct exporter *exporter = argument;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct exporter_client *client = *place;
        client->fd = -1;
        exporter->clients_count--;
        return;
    }
    struct exporter_client *client = exporter->clients;
    while (client->fd >= 0) {
        client++; /* there is a place, or nobody would have been accepted */
    }
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    *client = (struct exporter_client){.fd = fd, .since_ms = now_ms(), .until_ms = now_ms() + HEAD_MS};
    *place = client;
    exporter->clients_count++;
}

static void client_end(struct exporter_client *client) {
    shutdown(client->fd, SHUT_RDWR);
    client->ended = true;
    client->until_ms = UINT64_MAX;
}

/* Who has been here for longest without asking anything. NULL: nobody, or somebody's place is about to be free. */
static struct exporter_client *find_idlest(struct exporter *exporter) {
    struct exporter_client *idlest = NULL;
    for (size_t i = 0; i < EXPORTER_CLIENTS_MAX; i++) {
        struct exporter_client *client = &exporter->clients[i];
        if (client->fd < 0 || client->asked) {
            continue;
        }
        if (client->ended) {
            return NULL;
        }
        idlest = idlest == NULL || client->since_ms < idlest->since_ms ? client : idlest;
    }
    return idlest;
}

/* The library's own accepting would spin while there is no descriptor. */
static void exporter_accept(struct exporter *exporter) {
    struct address address = {.length = sizeof address.local};
    int fd = accept4(exporter->fd, &address.any, &address.length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        exporter->accept_at_ms = now_ms() + PAUSE_MS;
    } else if (fd >= 0) {
        MHD_add_connection(exporter->daemon, fd, &address.any, address.length); /* closes it if it cannot */
    }
}

/* Ends those whose time is over: the library sees them closed. Returns when to look again. */
static uint64_t expire_clients(struct exporter *exporter) {
    uint64_t now = now_ms();
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < EXPORTER_CLIENTS_MAX; i++) {
        struct exporter_client *client = &exporter->clients[i];
        if (client->fd < 0) {
            continue;
        }
        if (client->until_ms <= now) {
            client_end(client);
        }
        next_ms = client->until_ms < next_ms ? client->until_ms : next_ms;
    }
    return next_ms;
}

/* --- the thread ------------------------------------------------------------------------------------------------- */

static bool exporter_is_full(const struct exporter *exporter) {
    return exporter->clients_count == EXPORTER_CLIENTS_MAX;
}

static bool exporter_accepts(struct exporter *exporter) {
    return atomic_load(&exporter->begun) && exporter->accept_at_ms <= now_ms() &&
           (!exporter_is_full(exporter) || find_idlest(exporter) != NULL);
}

/* Somebody has connected. When all places are taken, the idlest one's is free in the next turn. */
static void exporter_welcome(struct exporter *exporter) {
    if (exporter_is_full(exporter)) {
        client_end(find_idlest(exporter));
    } else {
        exporter_accept(exporter);
    }
}

static int wait_ms(struct exporter *exporter) {
    uint64_t next_ms = expire_clients(exporter);
    uint64_t now = now_ms();
    MHD_UNSIGNED_LONG_LONG wanted_ms;
    if (exporter->accept_at_ms > now && exporter->accept_at_ms < next_ms) {
        next_ms = exporter->accept_at_ms;
    }
    uint64_t left_ms = next_ms == UINT64_MAX ? PATIENCE_MS : next_ms > now ? next_ms - now : 0;
    if (MHD_get_timeout(exporter->daemon, &wanted_ms) == MHD_YES && wanted_ms < left_ms) {
        left_ms = wanted_ms;
    }
    return (int)left_ms;
}

static void exporter_turn(struct exporter *exporter, int daemon_fd, struct courtesy *courtesy) {
    struct pollfd polls[] = {{.fd = exporter->event_fd, .events = POLLIN},
                             {.fd = daemon_fd, .events = POLLIN},
                             {.fd = exporter->fd, .events = POLLIN}};
    bool accepts = exporter_accepts(exporter);
    int count = poll(polls, accepts ? 3 : 2, wait_ms(exporter));
    if (count > 0 && polls[0].revents != 0) {
        uint64_t value;
        ssize_t size = read(exporter->event_fd, &value, sizeof value);
        (void)size; /* it says only "look again" */
    }
    if (count > 0 && accepts && polls[2].revents != 0) {
        exporter_welcome(exporter);
    }
    courtesy_begin(courtesy);
    MHD_run(exporter->daemon);
    courtesy_end(courtesy);
}

static void *exporter_run(void *argument) {
    struct exporter *exporter = argument;
    struct courtesy courtesy;
    pthread_setname_np(pthread_self(), "metrics");
    courtesy_open(&courtesy);
    if (exporter->thread_begins != NULL) {
        exporter->thread_begins();
    }
    sem_post(&exporter->ready);
    int daemon_fd = MHD_get_daemon_info(exporter->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    while (!atomic_load(&exporter->ending)) {
        exporter_turn(exporter, daemon_fd, &courtesy);
    }
    courtesy_close(&courtesy);
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

/* Where the one at work listens, it goes on until the next is there. */
static const char *bind_advice(const struct program *program, const struct config_bind *bind, int number) {
    if (number != EADDRINUSE) {
        return "see bind(2)";
    }
    if (program->exporter != NULL && addresses_overlap(&program->exporter->bound, &bind->address)) {
        return "this moonring's own page of metrics is on that port until then: choose another port, or reload first "
               "without `metrics`, then with the new address";
    }
    if (sockets_overlap(&program->sockets, &bind->address)) {
        return "a listener of this moonring is there, or was until now: choose another address, or reload first "
               "without that listener's address, then with `metrics` on it";
    }
    return "another program (or another moonring) listens there: `ss -lnp` shows which";
}

static bool exporter_listen(struct exporter *exporter, const struct config_bind *bind, struct error *error) {
    const struct kernel_listen_options options = {.dual_stack = bind->dual_stack, .backlog = BACKLOG};
    char place[CONFIG_PLACE_MAX];
    exporter->fd = kernel_socket(address_family(&bind->address));
    int result = exporter->fd < 0 ? exporter->fd : kernel_bind(exporter->fd, &bind->address, &options);
    result = result < 0 ? result : kernel_set_nonblocking(exporter->fd, true);
    result = result < 0 ? result : kernel_listen(exporter->fd, &options);
    if (result == 0) {
        kernel_local_address(exporter->fd, &exporter->bound);
    }
    config_place_format(&bind->place, place, sizeof place);
    return result == 0 || error_set(error, "%s: metrics: cannot bind %s: %s: %s", place, bind->text,
                                    error_name(-result), bind_advice(exporter->program, bind, -result));
}

static bool exporter_make_daemon(struct exporter *exporter, struct error *error) {
    exporter->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, exporter_request,
                                        exporter, MHD_OPTION_CONNECTION_LIMIT, (unsigned)EXPORTER_CLIENTS_MAX,
                                        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MEMORY,
                                        MHD_OPTION_NOTIFY_CONNECTION, exporter_connection, exporter, MHD_OPTION_END);
    return exporter->daemon != NULL || error_set(error, "metrics: no memory or no descriptor for the HTTP server");
}

static bool exporter_start_thread(struct exporter *exporter, struct error *error) {
    int failure = pthread_create(&exporter->thread, NULL, exporter_run, exporter);
    while (failure == 0 && sem_wait(&exporter->ready) < 0) { /* a signal, perhaps of a debugger */
        check(errno == EINTR);
    }
    return failure == 0 || error_set(error, "metrics: cannot start a thread: %s", error_name(failure));
}

static void exporter_free(struct exporter *exporter) {
    MHD_stop_daemon(exporter->daemon); /* may be NULL */
    page_forget(exporter);
    if (exporter->fd >= 0) {
        kernel_close(exporter->fd);
    }
    if (exporter->event_fd >= 0) {
        kernel_close(exporter->event_fd);
    }
    sem_destroy(&exporter->ready);
    free(exporter);
}

struct exporter *exporter_create(struct program *program, const struct config_bind *bind, void (*thread_begins)(void),
                                 struct error *error) {
    struct exporter *exporter = malloc(sizeof *exporter);
    if (exporter == NULL) {
        error_set(error, "metrics: no memory");
        return NULL;
    }
    *exporter = (struct exporter){.program = program,
                                  .address = bind->address,
                                  .dual_stack = bind->dual_stack,
                                  .fd = -1,
                                  .event_fd = kernel_event_open(),
                                  .thread_begins = thread_begins};
    for (size_t i = 0; i < EXPORTER_CLIENTS_MAX; i++) {
        exporter->clients[i].fd = -1;
    }
    check(sem_init(&exporter->ready, 0, 0) == 0);
    bool made = exporter->event_fd >= 0 || error_set(error, "metrics: no descriptor is left");
    if (made && exporter_listen(exporter, bind, error) && exporter_make_daemon(exporter, error) &&
        exporter_start_thread(exporter, error)) {
        return exporter;
    }
    exporter_free(exporter);
    return NULL;
}

void exporter_begin(struct exporter *exporter) {
    char text[ADDRESS_TEXT_MAX];
    address_format(&exporter->bound, text, sizeof text);
    log_info("metrics: listening on %s", text);
    atomic_store(&exporter->begun, true);
    kernel_event_signal(exporter->event_fd);
}

bool exporter_is_for(const struct exporter *exporter, const struct config_bind *bind) {
    return exporter->dual_stack == bind->dual_stack && address_equal(&exporter->address, &bind->address);
}

struct address exporter_address(const struct exporter *exporter) {
    return exporter == NULL ? (struct address){.length = 0} : exporter->bound;
}

void exporter_destroy(struct exporter *exporter) {
    if (exporter == NULL) {
        return;
    }
    atomic_store(&exporter->ending, true);
    kernel_event_signal(exporter->event_fd);
    pthread_join(exporter->thread, NULL);
    exporter_free(exporter);
}
