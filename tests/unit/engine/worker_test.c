#include "engine/worker.h"

#include "service.h"
#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <string.h>

/* --- mailbox -------------------------------------------------------------------------------------------------------
 */

/* A message that notes on which thread and as which one it ran. */
struct note {
    struct message message;
    pthread_t thread;
    int order; /* from 1; 0: it has not run */
    int *count;
};

static void note_run(struct worker *worker, struct message *message) {
    struct note *note = container_of(message, struct note, message);
    (void)worker;
    note->thread = pthread_self();
    note->order = ++*note->count;
}

enum { NOTES = 100 };

struct letter {
    struct worker *worker;
    struct note notes[NOTES];
    int count;
};

static void *letter_post(void *argument) {
    struct letter *letter = argument;
    for (int index = 0; index < NOTES; index++) {
        letter->notes[index] = (struct note){.message = {.run = note_run}, .count = &letter->count};
        worker_post(letter->worker, &letter->notes[index].message);
    }
    return NULL;
}

Test(worker, runs_the_messages_of_another_thread_on_its_own_in_their_order, .timeout = 10) {
    struct service service;
    struct letter letter = {.worker = &service.worker};
    pthread_t thread;
    service_init(&service);
    service_open(&service);
    cr_assert_eq(pthread_create(&thread, NULL, letter_post, &letter), 0);
    service_wait(&service, letter.count == NOTES);
    pthread_join(thread, NULL);
    for (int index = 0; index < NOTES; index++) {
        cr_assert_eq(letter.notes[index].order, index + 1);
        cr_assert(pthread_equal(letter.notes[index].thread, pthread_self()));
    }
    service_close(&service);
}

static void *post_later(void *argument) {
    deadline_pause(30); /* the worker sleeps meanwhile */
    return letter_post(argument);
}

Test(worker, is_woken_by_a_message, .timeout = 10) {
    struct service service;
    struct letter letter = {.worker = &service.worker};
    pthread_t thread;
    service_init(&service);
    service_open(&service);
    cr_assert_eq(pthread_create(&thread, NULL, post_later, &letter), 0);
    while (letter.count < NOTES) {
        worker_turn(&service.worker, UINT64_MAX);
    }
    pthread_join(thread, NULL);
    service_close(&service);
}

/* --- ending --------------------------------------------------------------------------------------------------------
 */

static void stop_run(struct worker *worker, struct message *message) {
    (void)message;
    worker_stop(worker);
}

Test(worker, ends_when_it_is_stopped_and_has_no_session, .timeout = 10) {
    struct service service;
    struct message message = {.run = stop_run};
    service_init(&service);
    service_open(&service);
    worker_post(&service.worker, &message);
    worker_run(&service.worker);
    cr_assert_eq(service.stops, 1);
    cr_assert_eq(service.sockets_done, 1);
    service_close(&service);
}

Test(worker, that_is_stopped_serves_its_sessions_to_their_end, .timeout = 10) {
    struct service service;
    service_init(&service);
    service_open(&service);
    struct service_pair pair = service_pair(&service);
    worker_stop(&service.worker);
    service_wait(&service, service.sockets_done == 1);
    socket_write(pair.client, 0, 1000);
    service_expect(&service, pair.server, 0, 1000);
    cr_assert_not(service.worker.ended);
    kernel_close(pair.client);
    kernel_close(pair.server);
    service_wait(&service, service.worker.ended);
    service_close(&service);
}

Test(worker, that_is_stopped_serves_clients_that_have_connected_already, .timeout = 10) {
    struct service service;
    int clients[10];
    service_init(&service);
    service_open(&service);
    for (size_t index = 0; index < 10; index++) {
        clients[index] = service_client(&service);
    }
    worker_stop(&service.worker);
    for (size_t index = 0; index < 10; index++) {
        socket_write(clients[index], 0, 10);
        service_expect(&service, service_server(&service, 0), 0, 10);
    }
    cr_assert_eq(service_counters(&service)->sessions_opened, 10);
    service_close(&service);
}

Test(worker, closes_all_sessions_at_once_when_it_is_told_to, .timeout = 10) {
    struct service service;
    struct service_pair pairs[5];
    service_init(&service);
    service_open(&service);
    for (size_t index = 0; index < 5; index++) {
        pairs[index] = service_pair(&service);
    }
    worker_close_sessions(&service.worker);
    service_expect_closed(&service, CLOSE_SHUTDOWN, 5);
    for (size_t index = 0; index < 5; index++) {
        cr_assert_eq(service_expect_end(&service, pairs[index].client), 0);
        cr_assert_eq(service_expect_end(&service, pairs[index].server), 0);
    }
    service_close(&service);
}

Test(worker, that_closes_its_sessions_closes_also_who_still_waits_to_be_accepted, .timeout = 10) {
    struct service service;
    int clients[10];
    service_init(&service);
    service_open(&service);
    for (size_t index = 0; index < 10; index++) {
        clients[index] = service_client(&service);
    }
    worker_stop(&service.worker);
    worker_close_sessions(&service.worker);
    service_wait(&service, service.worker.ended);
    for (size_t index = 0; index < 10; index++) {
        cr_assert_leq(service_expect_end(&service, clients[index]), 0);
    }
    service_close(&service);
}

Test(worker, leaves_no_descriptor_behind, .timeout = 20) {
    struct service service;
    size_t count = 0;
    for (int round = 0; round < 3; round++) {
        service_init(&service);
        service_open(&service);
        struct service_pair pair = service_pair(&service);
        socket_write(pair.client, 0, 100);
        service_expect(&service, pair.server, 0, 100);
        service_close(&service);
        kernel_close(pair.client);
        kernel_close(pair.server);
        count = round == 0 ? descriptors_count() : count;
    }
    cr_assert_eq(descriptors_count(), count);
}

Test(worker, that_cannot_begin_says_why_and_leaves_nothing_behind, .timeout = 10) {
    struct service service;
    struct error error = {.text = ""};
    service_init(&service);
    service_open(&service);
    const struct worker_options options = service.worker.options;
    size_t count = descriptors_count();
    for (size_t more = 0; more < 4; more++) {
        struct worker worker;
        descriptors_limit(more);
        bool begun = worker_init(&worker, &options, &error);
        descriptors_unlimit();
        cr_assert_not(begun);
        cr_assert_gt(strlen(error.text), 0);
        cr_assert_eq(descriptors_count(), count);
    }
    service_close(&service);
}

/* --- sharing a socket -----------------------------------------------------------------------------------------------
 */

struct bequest {
    struct service first, heir;
};

/* The first one's `socket_done`, as the crew does it. */
static void tell_heir(void *argument, int fd) {
    struct bequest *bequest = container_of((struct service *)argument, struct bequest, first);
    cr_assert_eq(fd, bequest->first.socket);
    bequest->first.sockets_done++;
    worker_post_look(&bequest->heir.worker);
}

static void leave_socket(void *argument, int fd) {
    (void)argument;
    (void)fd;
}

/* The kernel wakes one of two workers, the one that leaves: its accept is cancelled before it takes the client. */
Test(worker, that_inherits_a_socket_serves_a_client_of_whom_only_the_other_was_told, .timeout = 10) {
    struct bequest bequest;
    struct service *first = &bequest.first, *heir = &bequest.heir;
    service_init(first);
    service_open(first);
    service_init(heir);
    service_open(heir);
    first->worker.options.socket_done = tell_heir;
    heir->worker.options.socket_done = leave_socket;
    cr_assert(worker_accept(&heir->worker, &heir->listener, 0, first->socket));
    service_turn(heir);
    int client = service_client(first);
    const struct worker_socket left = {.fd = first->socket};
    worker_adopt(&first->worker, first->epoch, &left, 1);
    service_wait(first, first->sockets_done == 1);
    cr_assert_eq(service_counters(first)->sessions_opened, 0);
    socket_write(client, 0, 10);
    service_expect(heir, service_server(heir, 0), 0, 10);
    kernel_close(client);
    service_close(heir);
    service_close(first);
}

/* --- many acceptors, many sessions ------------------------------------------------------------------------------- */

enum { MORE_SOCKETS = 5 };

/* A service with more sockets than its own, of which a turn minds one. */
struct crowd {
    struct service service;
    struct address addresses[MORE_SOCKETS];
    struct worker_socket sockets[1 + MORE_SOCKETS];
    struct epoch *next;
    int epochs_over;
};

static void crowd_epoch_over(void *argument, struct worker *worker, struct epoch *epoch) {
    struct crowd *crowd = container_of((struct service *)argument, struct crowd, service);
    (void)worker;
    cr_assert_eq(epoch, crowd->service.epoch);
    crowd->epochs_over++;
}

static void crowd_filters_over(void *argument, struct worker *worker, struct epoch *epoch) {
    (void)argument;
    (void)worker;
    (void)epoch;
}

static void crowd_close_socket(void *argument, int fd) {
    struct service *service = argument;
    service->sockets_done++;
    if (fd != service->socket) {
        kernel_close(fd);
    }
}

static void crowd_open(struct crowd *crowd) {
    struct service *service = &crowd->service;
    service_init(service);
    service_open(service);
    service->worker.options.acts_a_turn = 1;
    service->worker.options.epoch_over = crowd_epoch_over;
    service->worker.options.filters_over = crowd_filters_over;
    service->worker.options.socket_done = crowd_close_socket;
    crowd->epochs_over = 0;
    crowd->sockets[0] = (struct worker_socket){.fd = service->socket, .listener = &service->listener};
    for (int i = 0; i < MORE_SOCKETS; i++) {
        int fd = listener_open(&crowd->addresses[i]);
        crowd->sockets[1 + i] = (struct worker_socket){.fd = fd, .listener = &service->listener};
        cr_assert_gt(fd, crowd->sockets[i].fd, "(they have to be sorted)");
    }
    crowd->next = epoch_create(&service->listener_config, 1, &service->upstream, 1, NULL, 43);
    cr_assert_not_null(crowd->next);
    crowd->next->settings[0].counted_by = &service->listener;
}

static void crowd_accept(struct crowd *crowd) {
    for (int i = 1; i <= MORE_SOCKETS; i++) {
        cr_assert(worker_accept(&crowd->service.worker, &crowd->service.listener, 0, crowd->sockets[i].fd));
    }
    service_turn(&crowd->service);
}

static void crowd_adopt(struct crowd *crowd) {
    worker_adopt(&crowd->service.worker, crowd->next, crowd->sockets, 1 + MORE_SOCKETS);
    cr_assert_eq(crowd->service.adoptions, 0, "not in one turn");
}

static void crowd_close(struct crowd *crowd) {
    service_close(&crowd->service);
    epoch_destroy(crowd->next);
}

Test(worker, goes_over_to_an_epoch_in_several_turns_and_no_client_begins_in_the_old_one, .timeout = 10) {
    struct crowd crowd;
    struct service *service = &crowd.service;
    crowd_open(&crowd);
    crowd_accept(&crowd);
    int client = client_open(&crowd.addresses[MORE_SOCKETS - 1]); /* of the acceptor that is the last to go over */
    crowd_adopt(&crowd);
    service_wait(service, service->worker.engine.sessions_count == 1);
    cr_assert_eq(service->adoptions, 0, "the client was there before");
    cr_assert_eq(service_session(service)->settings->epoch, crowd.next);
    service_wait(service, service->adoptions == 1);
    cr_assert_eq(crowd.epochs_over, 1);
    cr_assert_eq(epoch_users(service->epoch), 0);
    cr_assert_eq(epoch_users(crowd.next), 1 + MORE_SOCKETS + 1);
    kernel_close(client);
    crowd_close(&crowd);
}

Test(worker, begins_to_accept_on_many_sockets_in_several_turns, .timeout = 10) {
    struct crowd crowd;
    struct service *service = &crowd.service;
    crowd_open(&crowd);
    for (int i = 1; i <= MORE_SOCKETS; i++) {
        crowd.sockets[i].acceptor = acceptor_make();
        cr_assert_not_null(crowd.sockets[i].acceptor);
    }
    crowd_adopt(&crowd);
    int client = client_open(&crowd.addresses[MORE_SOCKETS - 1]); /* it waits in the queue meanwhile */
    service_wait(service, service->worker.engine.sessions_count == 1);
    cr_assert_eq(service->adoptions, 1);
    kernel_close(client);
    crowd_close(&crowd);
}

Test(worker, that_is_stopped_while_it_goes_over_to_an_epoch_stops, .timeout = 10) {
    struct crowd crowd;
    crowd_open(&crowd);
    for (int i = 1; i <= MORE_SOCKETS; i++) {
        crowd.sockets[i].acceptor = acceptor_make();
        cr_assert_not_null(crowd.sockets[i].acceptor);
    }
    crowd_adopt(&crowd);
    crowd_close(&crowd);
    cr_assert_eq(crowd.service.adoptions, 1);
    cr_assert_eq(crowd.service.sockets_done, 1 + MORE_SOCKETS);
}

Test(worker, closes_sessions_in_several_turns_and_serves_the_others_meanwhile, .timeout = 10) {
    enum { COUNT = 6 };
    struct service service;
    struct service_pair pairs[COUNT];
    service_init(&service);
    service_open(&service);
    service.worker.options.acts_a_turn = 1;
    for (int i = 0; i < COUNT; i++) {
        pairs[i] = service_pair(&service);
    }
    worker_close_sessions(&service.worker);
    socket_write(pairs[COUNT - 1].client, 0, 10);
    service_turn(&service);
    cr_assert_eq(service_counters(&service)->sessions_closed[CLOSE_SHUTDOWN], 1);
    service_expect(&service, pairs[COUNT - 1].server, 0, 10);
    service_expect_closed(&service, CLOSE_SHUTDOWN, COUNT);
    for (int i = 0; i < COUNT; i++) {
        kernel_close(pairs[i].client);
        kernel_close(pairs[i].server);
    }
    service_close(&service);
}

/* --- walks ------------------------------------------------------------------------------------------------------- */

enum { SESSIONS = 6 };

static void open_sessions(struct service *service) {
    service_init(service);
    service_open(service);
    for (int i = 0; i < SESSIONS; i++) {
        service_pair(service);
    }
    service_wait(service, service->worker.engine.sessions_count == SESSIONS);
}

static void expect_next(struct service *service, uint32_t walk, uint64_t id) {
    const struct session *session = worker_walk_next(&service->worker, walk);
    cr_assert_not_null(session);
    cr_assert_eq(session->id, id);
}

static void close_next(struct service *service, uint32_t walk) {
    uint32_t before = service->worker.engine.sessions_count;
    session_close(worker_walk_next(&service->worker, walk), CLOSE_KILLED);
    service_wait(service, service->worker.engine.sessions_count < before);
}

Test(worker, walk_meets_each_session_once_the_oldest_first, .timeout = 10) {
    struct service service;
    open_sessions(&service);
    cr_assert_null(worker_walk_next(&service.worker, 3), "it has not begun");
    worker_walk_begin(&service.worker, 3);
    for (uint64_t id = 1; id <= SESSIONS; id++) {
        expect_next(&service, 3, id);
    }
    cr_assert_null(worker_walk_next(&service.worker, 3));
    cr_assert_null(worker_walk_next(&service.worker, 3));
    service_close(&service);
}

Test(worker, walk_steps_over_sessions_that_go_meanwhile, .timeout = 10) {
    struct service service;
    open_sessions(&service);
    worker_walk_begin(&service.worker, 0);
    expect_next(&service, 0, 1);
    worker_walk_begin(&service.worker, 1);
    for (int i = 0; i < 3; i++) {
        close_next(&service, 1); /* 1, then 2, where the other stands, and 3, where it stands then */
    }
    expect_next(&service, 0, 4);
    close_next(&service, 1);
    close_next(&service, 1);
    close_next(&service, 1); /* the last one */
    cr_assert_null(worker_walk_next(&service.worker, 0));
    cr_assert_null(worker_walk_next(&service.worker, 1));
    service_close(&service);
}

Test(worker, walk_ends_with_the_sessions_that_were_open_when_it_began, .timeout = 10) {
    struct service service;
    open_sessions(&service);
    worker_walk_begin(&service.worker, 0);
    for (uint64_t id = 1; id <= SESSIONS; id++) {
        expect_next(&service, 0, id);
    }
    service_pair(&service);
    service_wait(&service, service.worker.engine.sessions_count == SESSIONS + 1);
    cr_assert_null(worker_walk_next(&service.worker, 0));
    worker_walk_begin(&service.worker, 0);
    service_pair(&service);
    for (uint64_t id = 1; id <= SESSIONS + 1; id++) {
        expect_next(&service, 0, id);
    }
    cr_assert_null(worker_walk_next(&service.worker, 0), "a walk would never end while clients come");
    service_close(&service);
}

/* --- describing -------------------------------------------------------------------------------------------------- */

Test(worker, describes_a_session_in_a_line, .timeout = 10) {
    struct service service;
    struct bytes out;
    bytes_init(&out);
    service_init(&service);
    service_open(&service);
    service_pair(&service);
    service_wait(&service, service_session(&service)->state == SESSION_RELAYING);
    session_describe(service_session(&service), &out);
    cr_assert_eq(strncmp(out.data, "session 1 worker=0 listener=web client=127.0.0.1:", 48), 0, "%s", out.data);
    cr_assert_not_null(strstr(out.data, " server=one state=relaying doing=\"relays\" "), "%s", out.data);
    cr_assert_eq(strchr(out.data, '\n'), out.data + out.size - 1);
    bytes_finish(&out);
    service_close(&service);
}
