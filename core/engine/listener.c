#include "engine/listener.h"

#include "base/log.h"
#include "engine/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAUSE_MS = 100,         /* a paused acceptor looks again so often; usually a session that ends wakes it earlier */
    SHORT_US = 1000 * 1000, /* after descriptors ran out, clients are accepted one by one for so long */
    REPORT_AGAIN_US = 10 * 1000 * 1000,
    LEAVE_MS = 500,        /* longer than nearly every handshake */
    LEAVE_SPREAD_MS = 256, /* so that hundreds of sockets are not left in one turn */
    DRAIN_ACCEPTS = 65536, /* accepts when stopping: a bound, not an aim */
};

static void acceptor_accepted(struct op *op, const struct completion *completion);
static void acceptor_fired(struct timer *timer);
static void acceptor_release(struct owner *owner);
static void acceptor_arm(struct acceptor *acceptor);

struct acceptor *acceptor_make(void) {
    return malloc(sizeof(struct acceptor));
}

void acceptor_unmake(struct acceptor *acceptor) {
    free(acceptor);
}

static void epoch_count_acceptors(struct epoch *epoch, int64_t more) {
    uint64_t before = atomic_load_explicit(&epoch->acceptors, memory_order_relaxed);
    atomic_store_explicit(&epoch->acceptors, before + (uint64_t)more, memory_order_relaxed);
}

static void acceptor_use(const struct settings *settings) {
    engine_use(settings);
    epoch_count_acceptors(settings->epoch, 1);
}

static void acceptor_forgo(struct engine *engine, const struct settings *settings) {
    epoch_count_acceptors(settings->epoch, -1);
    engine_leave(engine, settings);
}

void acceptor_begin(struct acceptor *acceptor, struct engine *engine, struct listener *listener,
                    const struct settings *settings, int fd, struct list *acceptors) {
    check(settings->counted_by == listener);
    *acceptor = (struct acceptor){.engine = engine, .listener = listener, .settings = settings, .fd = fd};
    owner_init(&acceptor->owner, &engine->released, acceptor_release);
    link_init(&acceptor->link);
    op_init(&acceptor->accept_op, &acceptor->owner, acceptor_accepted);
    timer_init(&acceptor->timer, acceptor_fired);
    list_append(acceptors, &acceptor->link);
    acceptor_use(settings);
    acceptor_arm(acceptor);
}

void acceptor_adopt(struct acceptor *acceptor, struct listener *listener, const struct settings *settings) {
    const struct settings *before = acceptor->settings;
    check(settings->counted_by == listener);
    acceptor->listener = listener;
    acceptor->settings = settings;
    acceptor_use(settings);
    acceptor_forgo(acceptor->engine, before);
}

bool acceptor_is_waiting(const struct acceptor *acceptor) {
    return acceptor->state == ACCEPTOR_PAUSED || acceptor->parked_count > 0;
}

bool acceptor_is_ending(const struct acceptor *acceptor) {
    return acceptor->leaving || acceptor->state == ACCEPTOR_DRAINING || acceptor->state == ACCEPTOR_CLOSED;
}

/* --- limits ----------------------------------------------------------------------------------------------------- */

static bool quota_enter(struct quota *quota) {
    uint32_t active = atomic_fetch_add_explicit(&quota->active, 1, memory_order_relaxed) + 1;
    uint32_t max = atomic_load_explicit(&quota->max, memory_order_relaxed); /* a reload may change it any time */
    if (max != 0 && active > max) {
        atomic_fetch_sub_explicit(&quota->active, 1, memory_order_relaxed);
        return false;
    }
    return true;
}

static void quota_leave(struct quota *quota) {
    uint32_t before = atomic_fetch_sub_explicit(&quota->active, 1, memory_order_relaxed);
    check(before > 0);
}

static bool quota_has_room_for(const struct quota *quota, uint32_t count) {
    uint32_t max = atomic_load_explicit(&quota->max, memory_order_relaxed);
    return max == 0 || atomic_load_explicit(&quota->active, memory_order_relaxed) + count <= max;
}

/* Room for as many as may wait in one socket's queue. */
static bool listener_has_room_for_queue(const struct listener *listener) {
    return quota_has_room_for(&listener->quota, listener->backlog) &&
           quota_has_room_for(listener->process, listener->backlog);
}

static bool listener_enter(struct listener *listener) {
    if (!quota_enter(&listener->quota)) {
        return false;
    }
    if (!quota_enter(listener->process)) {
        quota_leave(&listener->quota);
        return false;
    }
    return true;
}

bool listener_leave(struct listener *listener) {
    quota_leave(&listener->quota);
    quota_leave(listener->process);
    return atomic_load_explicit(&listener->process->waiting, memory_order_relaxed) > 0;
}

/* A pause is reported when the listener had none for a while: at the limit they come by the thousand. */
static bool listener_should_report(struct listener *listener, const struct engine *engine) {
    uint64_t last_us = atomic_exchange(&listener->paused_us, engine->now_us);
    return last_us == 0 || engine->now_us - last_us > REPORT_AGAIN_US;
}

static void listener_report_limit(struct listener *listener, const struct engine *engine) {
    if (!listener_should_report(listener, engine)) {
        return;
    }
    uint32_t max = atomic_load(&listener->quota.max);
    bool own = max != 0 && atomic_load(&listener->quota.active) >= max;
    log_warn("listener %s: %s of %u is reached: new clients wait in the kernel's queue", listener->name,
             own ? "limits.max_connections" : "process.max_connections",
             own ? max : atomic_load(&listener->process->max));
}

static void listener_report_exhaustion(struct listener *listener, const struct engine *engine, int number) {
    if (listener_should_report(listener, engine)) {
        log_error("listener %s: cannot accept: %s: new clients wait in the kernel's queue; raise the limit of "
                  "descriptors (`ulimit -n`) or lower process.max_connections",
                  listener->name, strerror(number));
    }
}

/* --- parked clients --------------------------------------------------------------------------------------------- */

static bool parked_append(struct acceptor *acceptor, int fd) {
    if (acceptor->parked_first + acceptor->parked_count == acceptor->parked_capacity) {
        uint32_t capacity = acceptor->parked_count * 2 + 16;
        int *parked = malloc(capacity * sizeof *parked);
        if (parked == NULL) {
            return false;
        }
        if (acceptor->parked_count > 0) {
            memcpy(parked, acceptor->parked + acceptor->parked_first, acceptor->parked_count * sizeof *parked);
        }
        free(acceptor->parked);
        acceptor->parked = parked;
        acceptor->parked_first = 0;
        acceptor->parked_capacity = capacity;
    }
    acceptor->parked[acceptor->parked_first + acceptor->parked_count++] = fd;
    return true;
}

static void parked_close(struct acceptor *acceptor) {
    while (acceptor->parked_count > 0) {
        kernel_close(acceptor->parked[acceptor->parked_first++]);
        acceptor->parked_count--;
    }
    free(acceptor->parked);
    acceptor->parked = NULL;
    acceptor->parked_first = 0;
    acceptor->parked_capacity = 0;
}

/* While somebody waits, every session that ends says so. A race only costs PAUSE_MS. */
static void acceptor_count_waiting(struct acceptor *acceptor) {
    bool waiting = acceptor_is_waiting(acceptor);
    if (waiting == acceptor->waiting) {
        return;
    }
    acceptor->waiting = waiting;
    if (waiting) {
        atomic_fetch_add_explicit(&acceptor->listener->process->waiting, 1, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&acceptor->listener->process->waiting, 1, memory_order_relaxed);
    }
}

/* --- accepting -------------------------------------------------------------------------------------------------- */

static void acceptor_cancel(struct acceptor *acceptor) {
    if (acceptor->accept_op.in_flight) {
        ring_cancel(acceptor->engine->ring, &acceptor->accept_op);
    }
}

static bool acceptor_may_take_many(const struct acceptor *acceptor) {
    bool short_lately = acceptor->exhausted_us != 0 && acceptor->engine->now_us - acceptor->exhausted_us < SHORT_US;
    return !short_lately && listener_has_room_for_queue(acceptor->listener);
}

static void acceptor_arm(struct acceptor *acceptor) {
    acceptor->state = ACCEPTOR_ARMED;
    if (!acceptor->accept_op.in_flight) {
        acceptor->multishot = acceptor_may_take_many(acceptor);
        ring_accept(acceptor->engine->ring, &acceptor->accept_op, acceptor->fd, acceptor->multishot);
        counter_add(&acceptor->engine->counters.accepts_armed, 1);
    }
}

/* Looks again soon; a session that ends says so earlier. */
static void acceptor_wait(struct acceptor *acceptor) {
    acceptor_count_waiting(acceptor);
    if (!timer_is_set(&acceptor->timer)) {
        wheel_set(&acceptor->engine->wheel, &acceptor->timer, engine_now_ms(acceptor->engine) + PAUSE_MS);
    }
}

static void acceptor_pause(struct acceptor *acceptor) {
    if (acceptor->state == ACCEPTOR_ARMED) {
        acceptor->state = ACCEPTOR_PAUSED;
        acceptor_cancel(acceptor);
    }
    acceptor_wait(acceptor);
}

/* Who comes from a reload on, begins with the settings of that. */
static void acceptor_catch_up(struct acceptor *acceptor) {
    struct engine *engine = acceptor->engine;
    if (acceptor->settings->epoch != engine->epoch) {
        engine->acceptor_lags(engine, acceptor);
    }
}

/* The client's place has been counted. */
static void acceptor_open(struct acceptor *acceptor, int fd) {
    struct listener *listener = acceptor->listener;
    atomic_fetch_add_explicit(&listener->accepted_total, 1, memory_order_relaxed);
    if (!session_open(acceptor->engine, acceptor->settings, fd)) {
        listener_leave(listener);
    }
}

static void acceptor_take(struct acceptor *acceptor, int fd) {
    acceptor_catch_up(acceptor);
    if (acceptor->parked_count == 0 && listener_enter(acceptor->listener)) {
        acceptor_open(acceptor, fd);
        return;
    }
    counter_add(&acceptor->engine->counters.accepts_limited, 1);
    listener_report_limit(acceptor->listener, acceptor->engine);
    if (!parked_append(acceptor, fd)) {
        kernel_close(fd);
    }
    acceptor_pause(acceptor);
}

static void acceptor_open_parked(struct acceptor *acceptor) {
    acceptor_catch_up(acceptor);
    while (acceptor->parked_count > 0 && listener_enter(acceptor->listener)) {
        int fd = acceptor->parked[acceptor->parked_first++];
        acceptor->parked_count--;
        acceptor_open(acceptor, fd);
    }
    if (acceptor->parked_count == 0) {
        acceptor->parked_first = 0;
    }
}

/* Room is tried by taking a place and giving it back. */
static bool listener_has_room(struct listener *listener) {
    bool room = listener_enter(listener);
    if (room) {
        listener_leave(listener);
    }
    return room;
}

static void acceptor_settle(struct acceptor *acceptor);
static void acceptor_drain(struct acceptor *acceptor);

void acceptor_resume(struct acceptor *acceptor) {
    if (acceptor->leaving && acceptor->state == ACCEPTOR_PAUSED) {
        acceptor_drain(acceptor);
        return;
    }
    acceptor_open_parked(acceptor);
    if (acceptor->state != ACCEPTOR_PAUSED) {
        acceptor_settle(acceptor);
        return;
    }
    if (acceptor->parked_count == 0 && listener_has_room(acceptor->listener)) {
        wheel_stop(&acceptor->timer);
        acceptor_arm(acceptor);
        acceptor_count_waiting(acceptor);
    } else {
        acceptor_pause(acceptor);
    }
}

/* An accept looks when it begins: this one ends and is armed again. */
void acceptor_look(struct acceptor *acceptor) {
    if (acceptor->state == ACCEPTOR_ARMED) {
        acceptor_cancel(acceptor);
    }
}

static void acceptor_fired(struct timer *timer) {
    struct acceptor *acceptor = container_of(timer, struct acceptor, timer);
    if (acceptor->leaving) {
        acceptor_drain(acceptor);
    } else {
        acceptor_resume(acceptor);
    }
}

/* Accepting again at once would fail again at once, or take the descriptor that a session's server needs. */
void acceptor_exhausted(struct acceptor *acceptor, int number) {
    if (acceptor->state != ACCEPTOR_ARMED) {
        return;
    }
    counter_add(&acceptor->engine->counters.accepts_exhausted, 1);
    acceptor->exhausted_us = acceptor->engine->now_us;
    listener_report_exhaustion(acceptor->listener, acceptor->engine, number);
    acceptor_pause(acceptor);
}

static bool is_exhaustion(int number) {
    return number == EMFILE || number == ENFILE || number == ENOMEM || number == ENOBUFS;
}

static void acceptor_accepted(struct op *op, const struct completion *completion) {
    struct acceptor *acceptor = container_of(op, struct acceptor, accept_op);
    if (completion->result >= 0) {
        acceptor_take(acceptor, completion->result);
    } else if (is_exhaustion(-completion->result)) {
        acceptor_exhausted(acceptor, -completion->result);
    }
    /* Anything else (ECONNABORTED, EINTR, a client that is gone) is about one client: go on. */
    if (completion->more) {
        if (!acceptor_may_take_many(acceptor)) {
            acceptor_cancel(acceptor); /* and is armed again for one at a time */
        }
        return;
    }
    if (acceptor->state == ACCEPTOR_ARMED) {
        acceptor_arm(acceptor);
    }
    acceptor_settle(acceptor);
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

static void acceptor_take_last(struct acceptor *acceptor, int fd) {
    if (acceptor->parked_count == 0 && listener_enter(acceptor->listener)) {
        acceptor_open(acceptor, fd);
    } else if (!acceptor->patient || !parked_append(acceptor, fd)) {
        kernel_close(fd);
    }
}

/* Takes whoever has connected already: the kernel would reset them. */
static void acceptor_empty_queue(struct acceptor *acceptor) {
    for (int i = 0; i < DRAIN_ACCEPTS; i++) {
        int fd = kernel_accept(acceptor->fd);
        if (fd < 0) {
            return;
        }
        acceptor_take_last(acceptor, fd);
    }
}

/* Once the cancelled accept is over, the queue is ours alone. */
static void acceptor_settle(struct acceptor *acceptor) {
    if (acceptor->state != ACCEPTOR_DRAINING || acceptor->accept_op.in_flight) {
        return;
    }
    acceptor_open_parked(acceptor);
    if (!acceptor->inherited) {
        acceptor_empty_queue(acceptor);
    }
    if (acceptor->patient && acceptor->parked_count > 0) {
        acceptor_wait(acceptor);
        return;
    }
    parked_close(acceptor);
    wheel_stop(&acceptor->timer);
    acceptor->state = ACCEPTOR_CLOSED;
    acceptor_count_waiting(acceptor);
    owner_close(&acceptor->owner);
}

static void acceptor_drain(struct acceptor *acceptor) {
    acceptor->leaving = false;
    if (acceptor->state != ACCEPTOR_DRAINING && acceptor->state != ACCEPTOR_CLOSED) {
        acceptor->state = ACCEPTOR_DRAINING;
        acceptor_cancel(acceptor);
    }
    acceptor_settle(acceptor);
}

void acceptor_stop(struct acceptor *acceptor) {
    acceptor->patient = false; /* also if a reload has told it to leave before */
    acceptor_drain(acceptor);
}

/* A unix socket has no handshake. Who is paused has parked clients, and leaves when they have room. */
static bool acceptor_may_miss_somebody(const struct acceptor *acceptor) {
    struct address address;
    return acceptor->state == ACCEPTOR_ARMED && !acceptor->inherited &&
           kernel_local_address(acceptor->fd, &address) == 0 && !address_is_unix(&address);
}

void acceptor_leave(struct acceptor *acceptor, bool inherited) {
    if (acceptor_is_ending(acceptor)) {
        return;
    }
    acceptor->patient = true;
    acceptor->inherited = inherited;
    if (acceptor_may_miss_somebody(acceptor)) {
        acceptor->leaving = true;
        uint64_t wait_ms = LEAVE_MS + (uint64_t)acceptor->fd % LEAVE_SPREAD_MS;
        wheel_set(&acceptor->engine->wheel, &acceptor->timer, engine_now_ms(acceptor->engine) + wait_ms);
    } else {
        acceptor_drain(acceptor);
    }
}

static void acceptor_release(struct owner *owner) {
    struct acceptor *acceptor = container_of(owner, struct acceptor, owner);
    struct engine *engine = acceptor->engine;
    int fd = acceptor->fd;
    acceptor_forgo(engine, acceptor->settings);
    engine_step_over_acceptor(engine, &acceptor->link);
    link_remove(&acceptor->link);
    free(acceptor);
    engine->acceptor_ended(engine, fd);
}
