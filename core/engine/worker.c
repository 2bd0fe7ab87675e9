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

static void worker_event_done(struct op *op, const struct completion *completion);
static void worker_session_ended(struct engine *engine, struct listener *listener);
static void worker_acceptor_ended(struct engine *engine, int fd);
static void worker_suspected(struct engine *engine);
static void worker_exhausted(struct engine *engine, int number);
static void worker_filters_over(struct engine *engine, struct epoch *epoch);
static void worker_epoch_over(struct engine *engine, struct epoch *epoch);
static void worker_resume_acceptors(struct worker *worker);

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
                              .acceptor_ended = worker_acceptor_ended};
    wheel_init(&engine->wheel, engine_now_ms(engine));
    splices_init(&engine->splices, PIPES_MAX);
    list_init(&engine->released);
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

/* Sockets that stay: their next client begins in the new epoch. The others are left. */
static void worker_adopt_acceptors(struct worker *worker, const struct worker_socket *sockets, size_t count) {
    const struct epoch *epoch = worker->engine.epoch;
    list_for_each (link, &worker->acceptors) {
        struct acceptor *acceptor = container_of(link, struct acceptor, link);
        const struct worker_socket wanted = {.fd = acceptor->fd};
        const struct worker_socket *socket =
            count == 0 ? NULL : bsearch(&wanted, sockets, count, sizeof *sockets, compare_sockets);
        if (acceptor_is_ending(acceptor)) {
            continue; /* it was left before; perhaps it is to be accepted on again, by another acceptor */
        }
        if (socket == NULL || socket->listener == NULL) {
            acceptor_leave(acceptor, socket != NULL);
        } else {
            acceptor_adopt(acceptor, socket->listener, &epoch->settings[socket->index]);
        }
    }
}

static void worker_adopt_new_sockets(struct worker *worker, const struct worker_socket *sockets, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct worker_socket *socket = &sockets[i];
        if (socket->acceptor != NULL) {
            worker_begin_to_accept(worker, socket->acceptor, socket->listener, socket->index, socket->fd);
        }
    }
}

void worker_adopt(struct worker *worker, struct epoch *epoch, const struct worker_socket *sockets, size_t count) {
    struct epoch *before = worker->engine.epoch;
    check(!worker->stopping);
    worker->engine.epoch = epoch;
    worker_adopt_acceptors(worker, sockets, count);
    worker_adopt_new_sockets(worker, sockets, count);
    if (before != NULL && before != epoch) {
        engine_retire(&worker->engine, before);
    }
    worker_resume_acceptors(worker); /* a limit may be higher now */
}

static void worker_resume_acceptors(struct worker *worker) {
    list_for_each (link, &worker->acceptors) {
        struct acceptor *acceptor = container_of(link, struct acceptor, link);
        if (acceptor_is_waiting(acceptor)) {
            acceptor_resume(acceptor);
        }
    }
}

static void worker_session_ended(struct engine *engine, struct listener *listener) {
    struct worker *worker = container_of(engine, struct worker, engine);
    if (listener_leave(listener)) {
        worker_resume_acceptors(worker);
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
    worker_resume_acceptors(worker);
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
    list_for_each (link, &worker->engine.sessions) {
        session_mind_server(container_of(link, struct session, link));
    }
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

void worker_stop(struct worker *worker) {
    worker->stopping = true;
    list_for_each (link, &worker->acceptors) {
        acceptor_stop(container_of(link, struct acceptor, link));
    }
}

void worker_close_sessions(struct worker *worker) {
    worker->closing = true;
    list_for_each (link, &worker->engine.sessions) {
        session_close(container_of(link, struct session, link), CLOSE_SHUTDOWN);
    }
}

void worker_close_filtered(struct worker *worker, const struct epoch *epoch, enum close_reason reason) {
    list_for_each (link, &worker->engine.sessions) {
        struct session *session = container_of(link, struct session, link);
        if (session->settings->epoch == epoch && session->chain != NULL && session->chain->count > 0) {
            session_close(session, reason);
        }
    }
}

static void worker_end_if_idle(struct worker *worker) {
    if (!worker->stopping || worker->ended || !list_is_empty(&worker->acceptors) || worker->engine.sessions_count > 0) {
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

/* --- turning ---------------------------------------------------------------------------------------------------- */

/* A receive that is asked again may find nothing to receive and take no buffer: then the next in line can have it, and
 * nothing would wake us for that. */
static bool worker_has_buffers_to_share(const struct engine *engine) {
    return !list_is_empty(&engine->buffers.starved) && ring_buffers_free(engine->ring) > 0;
}

static uint64_t worker_wait_us(const struct worker *worker, uint64_t max_wait_us) {
    const struct engine *engine = &worker->engine;
    bool has_left_over = !list_is_empty(&engine->closed_chains) || !list_is_empty(&engine->released);
    if (has_left_over || worker_has_buffers_to_share(engine)) {
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
    worker_show(engine);
    if (engine->turn_ended != NULL) {
        engine->turn_ended(engine->turn_ended_argument);
    }
    turns_add(&engine->turns, kernel_now_ns() / 1000 - engine->now_us);
}

void worker_run(struct worker *worker) {
    while (!worker->ended || worker->owner.held > 0) {
        worker_turn(worker, UINT64_MAX);
    }
    worker->options.stopped(worker->options.argument, worker);
}

/* --- walks ------------------------------------------------------------------------------------------------------ */

void worker_walk_begin(struct worker *worker, uint32_t number) {
    struct engine *engine = &worker->engine;
    check(number < ENGINE_WALKS_MAX);
    engine->walks[number] = (struct walk){.next = engine->sessions.head.next, .until_id = engine->last_session_id + 1};
    engine->walks_used = number < engine->walks_used ? engine->walks_used : number + 1;
}

/* Sessions stand in the order of their numbers. */
struct session *worker_walk_next(struct worker *worker, uint32_t number) {
    struct engine *engine = &worker->engine;
    struct walk *walk = &engine->walks[number];
    if (walk->next == NULL) {
        return NULL;
    }
    struct session *session = container_of(walk->next, struct session, link);
    if (walk->next == &engine->sessions.head || session->id >= walk->until_id) {
        walk->next = NULL;
        return NULL;
    }
    walk->next = walk->next->next;
    return session;
}
