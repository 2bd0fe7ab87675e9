/* Counts what our code asks of malloc(3): the linker leads all such calls of these tests, and of what they test, to the
 * functions below (--wrap in the Makefile). */
#include "service.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static _Thread_local uint64_t allocations; /* of this thread */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_reallocarray(void *memory, size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_reallocarray(void *memory, size_t count, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) {
    allocations++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
    allocations++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size) {
    allocations++;
    return __real_realloc(memory, size);
}

void *__wrap_reallocarray(void *memory, size_t count, size_t size) {
    allocations++;
    return __real_reallocarray(memory, count, size);
}

char *__wrap_strdup(const char *text) {
    allocations++;
    return __real_strdup(text);
}

enum { MESSAGE_SIZE = 64, BULK_SIZE = 2 * 1024 * 1024, SESSIONS = 100 };

static void send_message(struct service *service, int from, int to) {
    static const char message[MESSAGE_SIZE];
    char heard[MESSAGE_SIZE];
    cr_assert_eq(send(from, message, MESSAGE_SIZE, 0), MESSAGE_SIZE);
    service_wait(service, recv(to, heard, MESSAGE_SIZE, MSG_DONTWAIT) == MESSAGE_SIZE);
}

/* More than sockets take at once. */
static void send_bulk(struct service *service, int from, int to) {
    static char piece[256 * 1024];
    size_t heard = 0;
    for (size_t sent = 0; heard < BULK_SIZE;) {
        ssize_t part = send(from, piece, sent < BULK_SIZE ? sizeof(piece) : 0, MSG_DONTWAIT);
        sent += part > 0 ? (size_t)part : 0;
        service_turn(service);
        part = recv(to, piece, sizeof(piece), MSG_DONTWAIT);
        heard += part > 0 ? (size_t)part : 0;
    }
}

/* A session with all that an ordinary one does: connect, messages both ways, bulk, an end, a line in the access log. */
static void live(struct service *service) {
    struct service_pair pair = service_pair(service);
    send_message(service, pair.client, pair.server);
    send_message(service, pair.server, pair.client);
    send_bulk(service, pair.server, pair.client);
    shutdown(pair.client, SHUT_WR);
    cr_assert_eq(service_expect_end(service, pair.server), 0);
    close(pair.server);
    cr_assert_eq(service_expect_end(service, pair.client), 0);
    close(pair.client);
    service_wait(service, service->worker.engine.sessions_count == 0);
}

static void expect_none(bool splice) {
    struct service service;
    struct error error = {.text = ""};
    uint64_t before = allocations;
    service_init(&service);
    service.io.splice = splice;
    service.access_log = access_log_create("/dev/null", NULL, &error);
    cr_assert_not_null(service.access_log, "%s", error.text);
    service_open(&service);
    live(&service); /* pools grow with the first */
    cr_assert_gt(allocations, before + 10, "who counts nothing proves nothing");
    before = allocations;
    for (int i = 0; i < SESSIONS; i++) {
        live(&service);
    }
    cr_assert_eq(allocations, before, "%lu allocations in %d sessions", (unsigned long)(allocations - before),
                 SESSIONS);
    cr_assert_eq(service_counters(&service)->splice_promotions > 0, splice);
    service_close(&service);
    access_log_destroy(service.access_log);
}

Test(allocation, is_done_by_no_session_that_has_no_filter, .timeout = 60) {
    expect_none(false);
}

Test(allocation, is_done_by_no_session_that_is_spliced, .timeout = 60) {
    expect_none(true);
}
