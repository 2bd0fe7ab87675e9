#include "engine/worker.h"

#include "base/log.h"
#include "engine/chain.h"
#include "engine/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    RING_ENTRIES = 1024,
    RING_COMPLETIONS = 8192, /* a hundred turns' worth. An overflow ends multishots; ring memory counts as locked */
    BUFFERS_COUNT = 128,     /* 2 MiB: what is in flight stays in the cache */
    BUFFER_SIZE = 16 * 1024,
    PIPES_MAX = 64,
    SLAB_CHUNK = 256 * 1024,
};

/* What a turn does at most of work that may be about every listener or every session: so the traffic waits for less
 * than half a millisecond, and the rest is done in the next turns. */
enum {
    VISITS_A_TURN = 512, /* to acceptors, and to sessions, */
    ACTS_A_TURN = 16,    /* of which so many have to do something: to close a session costs some 25 us */
};

static void worker_event_done(struct op *op, const struct completion *completion);
static void worker_session_ended(struct engine *engine, struct listener *listener);
static void worker_acceptor_ended(struct engine *engine, int fd);
static void worker_suspected(struct engine *engine);
static void worker_exhausted(struct engine *engine, int number);
static void worker_filters_over(struct engine *engine, struct epoch *epoch);
static void worker_epoch_over(struct engine *engine, struct epoch *epoch);
static void worker_acceptor_lags(struct engine *engine, struct acceptor *acceptor);

/* --- making one ------------------------------------------------------------------------------------------------- */

static struct ring *worker_ring_create(const struct worker_options *worker, struct error *error) {
    const struct config_io *io = worker->io;
    const struct ring_options options = {.entries = RING_ENTRIES,
                                         .completions = RING_COMPLETIONS,
                                         .buffers_count = BUFFERS_COUNT,
                                         .buffer_size = BUFFER_SIZE,
                                         .features = worker->features,
                                         .sqpoll = io->sqpoll,
                                         .sqpoll_idle_ms = (uint32_t)io->sqpoll_idle_ms,
                                         .sqpoll_cpu = io->sqpoll_cpu,
                                         .busy_poll_us = io->busy_poll_us};
    return ring_create(&options, error);
}

static void engine_init(struct engine *engine, const struct worker_options *options) {
    *engine = (struct engine){.number = options->number,
                              .now_us = kernel_now_ns() / 1000,
                              .splice = options->io->splice,
                              .zero_copy_send = options->io->zero_copy_send,
                              .session_ids = options->session_ids,
                              .epoch = options->epoch,
                              .session_ended = worker_session_ended,
                              .filters_over = worker_filters_over,
                              .epoch_over = worker_epoch_over,
                              .suspected = worker_suspected,
                              .exhausted = worker_exhausted,
                              .acceptor_lags = worker_acceptor_lags,
                              .acceptor_ended = worker_acceptor_ended};
    wheel_init(&engine->wheel, engine_now_ms(engine));
    splices_init(&engine->splices, PIPES_MAX);
    list_init(&engine->sessions);
    list_init(&engine->entry.touched);
    queue_init(&engine->entry.view);
    list_init(&engine->written_chains);
    list_init(&engine->closed_chains);
    zero_copies_init(&engine->zero_copies, &engine->buffers, &engine->released);
    slab_init(&engine->sessions_slab, sizeof(struct session), SLAB_CHUNK);
    slab_init(&engine->retries_slab, sizeof(struct retry), SLAB_CHUNK / 16);
}

static bool mailbox_init(struct worker *worker, struct error *error) {
    list_init(&worker->mailbox);
    owner_init(&worker->owner, &worker->engine.released, NULL);
    op_init(&worker->event_op, &worker->owner, worker_event_done);
    worker->event_fd = kernel_event_open();
    if (worker->event_fd < 0) {
        return error_set(error, "cannot make an eventfd: %s", strerror(-worker->event_fd));
    }
    check(pthread_mutex_init(&worker->mailbox_lock, NULL) == 0);
    return true;
}

bool worker_init(struct worker *worker, const struct worker_options *options, struct error *error) {
    *worker = (struct worker){.options = *options};
    struct engine *engine = &worker->engine;
    list_init(&worker->acceptors);
    engine_init(engine, options);
    if (!mailbox_init(worker, error)) {
        return false;
    }
    engine->ring = worker_ring_create(options, error);
    if (engine->ring == NULL) {
        goto fail_mailbox;
    }
    if (!buffers_init(&engine->buffers, engine->ring, BUFFERS_COUNT)) {
        error_set(error, "no memory for the receive buffers");
        goto fail_ring;
    }
    ring_read_event(engine->ring, &worker->event_op, worker->event_fd, &worker->event_value);
    return true;
fail_ring:
    ring_destroy(engine->ring);
fail_mailbox:
    pthread_mutex_destroy(&worker->mailbox_lock);
    kernel_close(worker->event_fd);
    return false;
}

void worker_finish(struct worker *worker) {
    struct engine *engine = &worker->engine;
    check(worker->owner.held == 0);
    check(list_is_empty(&worker->acceptors));
    check(list_is_empty(&engine->sessions));
    splices_finish(&engine->splices);
    zero_copies_abandon(&engine->zero_copies);
    buffers_finish(&engine->buffers);
    ring_destroy(engine->ring);
    zero_copies_finish(&engine->zero_copies);
    slab_finish(&engine->sessions_slab);
    slab_finish(&engine->retries_slab);
    pthread_mutex_destroy(&worker->mailbox_lock);
    kernel_close(worker->event_fd);
}

/* --- walks ------------------------------------------------------------------------------------------------------ */

static void walk_begin(struct walk *walk, const struct list *list) {
    walk->next = list->head.next;
}

/* NULL: it is over. */
static struct link *walk_next(struct walk *walk, const struct list *list) {
    struct link *link = walk->next == &list->head ? NULL : walk->next;
    walk->next = link == NULL ? NULL : link->next;
    return link;
}

/* Sessions stand in the order of their numbers. */
static void sessions_walk_begin(struct engine *engine, struct walk *walk) {
    walk_begin(walk, &engine->sessions);
    walk->until_id = engine->last_session_id + 1;
}

static struct session *sessions_walk_next(struct engine *engine, struct walk *walk) {
    struct link *link = walk_next(walk, &engine->sessions);
    struct session *session = link == NULL ? NULL : container_of(link, struct session, link);
    if (session != NULL && session->id >= walk->until_id) {
        walk->next = NULL;
        return NULL;
    }
    return session;
}

void worker_walk_begin(struct worker *worker, uint32_t number) {
    struct engine *engine = &worker->engine;
    check(number < ENGINE_WALKS_MAX);
    sessions_walk_begin(engine, &engine->walks[number]);
    engine->walks_used = number < engine->walks_used ? engine->walks_used : number + 1;
}

struct session *worker_walk_next(struct worker *worker, uint32_t number) {
    return sessions_walk_next(&worker->engine, &worker->engine.walks[number]);
}

/* --- minding ---------------------------------------------------------------------------------------------------- */

/* Every acceptor is looked at, soon: it may have to accept again, to go over to another epoch, or to stop. */
static void worker_mind_acceptors(struct worker *worker) {
    struct walk *walk = &worker->engine.walks[WALK_OF_ACCEPTORS];
    worker->acceptors_again = walk->next != NULL;
    if (walk->next == NULL) {
        walk_begin(walk, &worker->acceptors);
    }
}

/* The same, from the first one on, wherever we are. */
static void worker_mind_acceptors_anew(struct worker *worker) {
    worker->acceptors_again = false;
    walk_begin(&worker->engine.walks[WALK_OF_ACCEPTORS], &worker->acceptors);
}

/* Every session is looked at, soon: it may have to end. */
static void worker_mind_sessions(struct worker *worker) {
    struct walk *walk = &worker->engine.walks[WALK_OF_SESSIONS];
    worker->sessions_again = walk->next != NULL;
    if (walk->next == NULL) {
        sessions_walk_begin(&worker->engine, walk);
    }
}

/* --- acceptors -------------------------------------------------------------------------------------------------- */

static void worker_begin_to_accept(struct worker *worker, struct acceptor *acceptor, struct listener *listener,
                                   size_t index, int fd) {
    struct engine *engine = &worker->engine;
    acceptor_begin(acceptor, engine, listener, &engine->epoch->settings[index], fd, &worker->acceptors);
}

bool worker_accept(struct worker *worker, struct listener *listener, size_t index, int fd) {
    struct acceptor *acceptor = acceptor_make();
    if (acceptor != NULL) {
        worker_begin_to_accept(worker, acceptor, listener, index, fd);
    }
    return acceptor != NULL;
}

static int compare_sockets(const void *a, const void *b) {
    const struct worker_socket *left = a;
    const struct worker_socket *right = b;
    return (left->fd > right->fd) - (left->fd < right->fd);
}

/* NULL: the worker has nothing to do with it. */
static const struct worker_socket *worker_find_socket(const struct worker *worker, int fd) {
    const struct adoption *adoption = &worker->adoption;
    const struct worker_socket wanted = {.fd = fd};
    return adoption->sockets_count == 0 ? NULL
                                        : bsearch(&wanted, adoption->sockets, adoption->sockets_count,
                                                  sizeof *adoption->sockets, compare_sockets);
}

/* A socket that stays: its next client begins in the new epoch. The others are left. */
static void worker_adopt_acceptor(struct worker *worker, struct acceptor *acceptor) {
    const struct worker_socket *socket = worker_find_socket(worker, acceptor->fd);
    if (acceptor_is_ending(acceptor)) {
        return; /* it was left before; perhaps it is to be accepted on again, by another acceptor */
    }
    if (socket == NULL || socket->listener == NULL) {
        acceptor_leave(acceptor, socket != NULL);
    } else {
        acceptor_adopt(acceptor, socket->listener, &worker->engine.epoch->settings[socket->index]);
    }
}

/* Its client is here before we are. One that is to be left, is left later. */
static void worker_acceptor_lags(struct engine *engine, struct acceptor *acceptor) {
    struct worker *worker = container_of(engine, struct worker, engine);
    if (worker->adoption.goes_on) {
        const struct worker_socket *socket = worker_find_socket(worker, acceptor->fd);
        if (socket != NULL && socket->listener != NULL) {
            worker_adopt_acceptor(worker, acceptor);
        }
    }
}

/* False: it is none. */
static bool worker_adopt_new_socket(struct worker *worker, const struct worker_socket *socket) {
    if (socket->acceptor != NULL) {
        worker_begin_to_accept(worker, socket->acceptor, socket->listener, socket->index, socket->fd);
    }
    return socket->acceptor != NULL;
}

static void worker_session_ended(struct engine *engine, struct listener *listener) {
    struct worker *worker = container_of(engine, struct worker, engine);
    if (listener_leave(listener)) {
        worker_mind_acceptors(worker);
        worker->options.room(worker->options.argument, worker);
    }
}

static void worker_filters_over(struct engine *engine, struct epoch *epoch) {
    struct worker *worker = container_of(engine, struct worker, engine);
    worker->options.filters_over(worker->options.argument, worker, epoch);
}

static void worker_epoch_over(struct engine *engine, struct epoch *epoch) {
    struct worker *worker = container_of(engine, struct worker, engine);
    worker->options.epoch_over(worker->options.argument, worker, epoch);
}

static void worker_suspected(struct engine *engine) {
    struct worker *worker = container_of(engine, struct worker, engine);
    worker->options.suspected(worker->options.argument);
}

static void worker_exhausted(struct engine *engine, int number) {
    struct worker *worker = container_of(engine, struct worker, engine);
    list_for_each (link, &worker->acceptors) {
        acceptor_exhausted(container_of(link, struct acceptor, link), number);
    }
}

static void worker_acceptor_ended(struct engine *engine, int fd) {
    struct worker *worker = container_of(engine, struct worker, engine);
    worker->options.socket_done(worker->options.argument, fd);
    if (worker->closing) {
        worker_close_sessions(worker);
    }
}

/* --- mailbox ---------------------------------------------------------------------------------------------------- */

void worker_post(struct worker *worker, struct message *message) {
    link_init(&message->link);
    pthread_mutex_lock(&worker->mailbox_lock);
    list_append(&worker->mailbox, &message->link);
    pthread_mutex_unlock(&worker->mailbox_lock);
    kernel_event_signal(worker->event_fd);
}

static void worker_run_resume(struct worker *worker, struct message *message) {
    (void)message;
    atomic_store(&worker->resume_posted, false);
    worker_mind_acceptors(worker);
}

void worker_post_resume(struct worker *worker) {
    if (!atomic_exchange(&worker->resume_posted, true)) {
        worker->resume_message.run = worker_run_resume;
        worker_post(worker, &worker->resume_message);
    }
}

static void worker_run_look(struct worker *worker, struct message *message) {
    (void)message;
    atomic_store(&worker->look_posted, false);
    list_for_each (link, &worker->acceptors) {
        acceptor_look(container_of(link, struct acceptor, link));
    }
}

void worker_post_look(struct worker *worker) {
    if (!atomic_exchange(&worker->look_posted, true)) {
        worker->look_message.run = worker_run_look;
        worker_post(worker, &worker->look_message);
    }
}

static void worker_run_servers(struct worker *worker, struct message *message) {
    (void)message;
    atomic_store(&worker->servers_posted, false);
    worker_mind_sessions(worker);
}

void worker_post_servers(struct worker *worker) {
    if (!atomic_exchange(&worker->servers_posted, true)) {
        worker->servers_message.run = worker_run_servers;
        worker_post(worker, &worker->servers_message);
    }
}

static struct message *mailbox_take(struct worker *worker) {
    pthread_mutex_lock(&worker->mailbox_lock);
    struct link *link = list_pop(&worker->mailbox);
    pthread_mutex_unlock(&worker->mailbox_lock);
    return link == NULL ? NULL : container_of(link, struct message, link);
}

static void worker_event_done(struct op *op, const struct completion *completion) {
    struct worker *worker = container_of(op, struct worker, event_op);
    (void)completion;
    for (struct message *message = mailbox_take(worker); message != NULL; message = mailbox_take(worker)) {
        message->run(worker, message);
    }
    if (!worker->ended) {
        ring_read_event(worker->engine.ring, &worker->event_op, worker->event_fd, &worker->event_value);
    }
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

void worker_close_sessions(struct worker *worker) {
    worker->closing = true;
    worker_mind_sessions(worker);
}

void worker_retire(struct worker *worker, struct epoch *epoch) {
    epoch->retired = true;
    worker_mind_sessions(worker);
}

static void worker_end_if_idle(struct worker *worker) {
    if (!worker->stopping || worker->ended || !list_is_empty(&worker->acceptors) || worker->engine.sessions_count > 0) {
        return;
    }
    if (worker->adoption.goes_on) {
        return;
    }
    if (!list_is_empty(&worker->engine.zero_copies.open) && !worker->closing) {
        return; /* the kernel still reads what was sent last */
    }
    worker->ended = true;
    if (worker->event_op.in_flight) {
        ring_cancel(worker->engine.ring, &worker->event_op);
    }
}

/* --- minding, the portion of a turn ----------------------------------------------------------------------------- */

static uint32_t worker_acts_a_turn(const struct worker *worker) {
    return worker->options.acts_a_turn != 0 ? worker->options.acts_a_turn : ACTS_A_TURN;
}

/* False: there was nothing to do. */
static bool worker_mind_acceptor(struct worker *worker, struct acceptor *acceptor) {
    if (worker->stopping) {
        acceptor_stop(acceptor);
        return true;
    }
    if (worker->adoption.goes_on) {
        worker_adopt_acceptor(worker, acceptor);
    }
    bool waits = acceptor_is_waiting(acceptor);
    if (waits) {
        acceptor_resume(acceptor); /* there may be room now, or a higher limit */
    }
    return waits || worker->adoption.goes_on;
}

/* Returns how many acts are left. */
static uint32_t worker_visit_acceptors(struct worker *worker, uint32_t acts) {
    struct walk *walk = &worker->engine.walks[WALK_OF_ACCEPTORS];
    for (int visits = 0; visits < VISITS_A_TURN && acts > 0; visits++) {
        struct link *link = walk_next(walk, &worker->acceptors);
        if (link == NULL) {
            break;
        }
        acts -= worker_mind_acceptor(worker, container_of(link, struct acceptor, link));
    }
    return acts;
}

/* Once all that were there have been visited. */
static void worker_go_on_to_adopt(struct worker *worker, uint32_t acts) {
    struct adoption *adoption = &worker->adoption;
    for (; acts > 0 && adoption->begun < adoption->sockets_count; adoption->begun++) {
        acts -= worker_adopt_new_socket(worker, &adoption->sockets[adoption->begun]);
    }
    if (adoption->begun == adoption->sockets_count) {
        adoption->goes_on = false;
        worker->acceptors_again = worker->acceptors_again || worker->stopping; /* the new ones stop, too */
        worker->options.adopted(worker->options.argument, worker);
    }
}

static void worker_go_on_with_acceptors(struct worker *worker) {
    const struct walk *walk = &worker->engine.walks[WALK_OF_ACCEPTORS];
    struct adoption *adoption = &worker->adoption;
    uint32_t acts = worker_visit_acceptors(worker, worker_acts_a_turn(worker));
    adoption->visited = adoption->visited || walk->next == NULL;
    if (adoption->goes_on && adoption->visited) {
        worker_go_on_to_adopt(worker, acts);
    }
    if (walk->next == NULL && worker->acceptors_again) {
        worker_mind_acceptors_anew(worker);
    }
}

/* The first portion at once: mostly that is all. */
static void worker_begin_with_acceptors(struct worker *worker) {
    worker_mind_acceptors_anew(worker);
    worker_go_on_with_acceptors(worker);
}

void worker_adopt(struct worker *worker, struct epoch *epoch, const struct worker_socket *sockets, size_t count) {
    struct epoch *before = worker->engine.epoch;
    check(!worker->stopping);
    check(!worker->adoption.goes_on);
    worker->engine.epoch = epoch;
    worker->adoption = (struct adoption){.sockets = sockets, .sockets_count = count, .goes_on = true};
    if (before != NULL && before != epoch) {
        engine_retire(&worker->engine, before);
    }
    worker_begin_with_acceptors(worker);
}

void worker_stop(struct worker *worker) {
    worker->stopping = true;
    worker_begin_with_acceptors(worker);
}

/* Ends it if there is a reason to. False: there is none. */
static bool worker_mind_session(const struct worker *worker, struct session *session) {
    if (session->state == SESSION_CLOSING) {
        return false;
    }
    if (worker->closing) {
        session_close(session, CLOSE_SHUTDOWN);
    } else if (session->settings->epoch->retired && session->chain != NULL && session->chain->count > 0) {
        session_close(session, CLOSE_RETIRED);
    } else {
        session_mind_server(session);
    }
    return session->state == SESSION_CLOSING;
}

static void worker_go_on_with_sessions(struct worker *worker) {
    struct walk *walk = &worker->engine.walks[WALK_OF_SESSIONS];
    uint32_t acts = worker_acts_a_turn(worker);
    for (int visits = 0; visits < VISITS_A_TURN && acts > 0; visits++) {
        struct session *session = sessions_walk_next(&worker->engine, walk);
        if (session == NULL) {
            break;
        }
        acts -= worker_mind_session(worker, session);
    }
    if (walk->next == NULL && worker->sessions_again) {
        worker_mind_sessions(worker);
    }
}

/* There is more to do than the last turn did. */
static bool worker_goes_on(const struct worker *worker) {
    const struct engine *engine = &worker->engine;
    return engine->walks[WALK_OF_ACCEPTORS].next != NULL || engine->walks[WALK_OF_SESSIONS].next != NULL ||
           worker->adoption.goes_on;
}

static void worker_go_on(struct worker *worker) {
    if (worker_goes_on(worker)) {
        worker_go_on_with_acceptors(worker);
        worker_go_on_with_sessions(worker);
    }
}

/* --- turning ---------------------------------------------------------------------------------------------------- */

/* A receive that is asked again may find nothing to receive and take no buffer: then the next in line can have it, and
 * nothing would wake us for that. */
static bool worker_has_buffers_to_share(const struct engine *engine) {
    return !list_is_empty(&engine->buffers.starved) && ring_buffers_free(engine->ring) > 0;
}

static uint64_t worker_wait_us(const struct worker *worker, uint64_t max_wait_us) {
    const struct engine *engine = &worker->engine;
    bool has_left_over = !list_is_empty(&engine->closed_chains) || engine->released != NULL;
    if (has_left_over || worker_goes_on(worker) || worker_has_buffers_to_share(engine)) {
        return 0; /* (what ran at the end of the last turn has closed sessions) */
    }
    uint64_t wait_ms = wheel_wait_ms(&engine->wheel);
    if (wait_ms == UINT64_MAX) {
        return max_wait_us;
    }
    uint64_t due_us = (engine->wheel.now_ms + wait_ms) * 1000;
    uint64_t wait_us = due_us > engine->now_us ? due_us - engine->now_us : 0;
    return wait_us < max_wait_us ? wait_us : max_wait_us;
}

/* Slow receivers give way first: their bytes move to the heap when buffers become few. Then whoever found no buffer
 * asks again, the longest waiting first, and only as many as there are buffers for. */
static void worker_share_buffers(struct engine *engine) {
    struct buffers *buffers = &engine->buffers;
    while (buffers_are_scarce(buffers) && !list_is_empty(&buffers->blocked)) {
        flow_evacuate(container_of(list_first(&buffers->blocked), struct flow, link));
    }
    for (uint32_t free = ring_buffers_free(engine->ring); free > 0 && !list_is_empty(&buffers->starved); free--) {
        flow_resume(container_of(list_first(&buffers->starved), struct flow, link));
    }
}

/* For whoever looks from another thread. */
static void worker_show(struct engine *engine) {
    struct engine_gauges *gauges = &engine->gauges;
    counter_set(&gauges->sessions, engine->sessions_count);
    counter_set(&gauges->buffers_in_use, buffers_in_use(&engine->buffers));
    counter_set(&gauges->heap_bytes, engine->buffers.heap_bytes);
    counter_set(&gauges->evacuations, engine->buffers.evacuations);
    counter_set(&gauges->pipes_open, engine->splices.open_count);
}

void worker_turn(struct worker *worker, uint64_t max_wait_us) {
    struct engine *engine = &worker->engine;
    worker_end_if_idle(worker); /* before it sleeps: what it starts then is submitted at once */
    ring_run(engine->ring, worker_wait_us(worker, max_wait_us), &engine->now_us);
    wheel_advance(&engine->wheel, engine_now_ms(engine));
    worker_share_buffers(engine);
    chains_close(engine);
    owners_release(&engine->released);
    worker_go_on(worker); /* now: who waits for room has been told of it */
    worker_show(engine);
    if (engine->turn_ended != NULL) {
        engine->turn_ended(engine->turn_ended_argument);
    }
    turns_end(&engine->turns, engine->now_us);
}

void worker_run(struct worker *worker) {
    while (!worker->ended || worker->owner.held > 0) {
        worker_turn(worker, UINT64_MAX);
    }
    worker->options.stopped(worker->options.argument, worker);
}
