#include "program/keeper.h"

#include "base/log.h"
#include "base/units.h"
#include "engine/outlier.h"
#include "engine/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    CHECKS_MAX = 1024,     /* at one time: no more than that many descriptors, even if every server is silent */
    LOOK_PAUSE_MS = 5,     /* between looks at suspects: a storm of failures must not become one of looks */
    FIRST_CHECK_MS = 1000, /* servers that nobody knows yet are checked within this time */
};

/* A server in our care. */
struct ward {
    struct keeper *keeper;
    struct server_state *state;      /* counted */
    const struct upstream *upstream; /* as the generation at work has it */
    const struct server *server;     /* the same; NULL: it is only being prepared */
    uint64_t generation;             /* the last one that has it */
    struct config_health config;     /* of one that is leaving: its upstream may be gone before it */
    struct link link;                /* in keeper->wards, or in keeper->leaving */
    struct link waiting;             /* in keeper->waiting, or in no list */
    struct timer timer;              /* set to the earliest of these: */
    uint64_t check_ms;               /* the next check; UINT64_MAX: it is not checked */
    uint64_t late_ms;                /* while fd is open: when the check has failed */
    uint64_t tend_ms;                /* something that time does */
    uint32_t sessions;               /* enum health_sessions, as workers were told last, */
    uint64_t down_ms;                /* and about sessions up to this time */
    int fd;                          /* of the check in flight; -1: none is */
};

static uint64_t clock_ms(void) {
    return kernel_now_ns() / 1000000;
}

static uint32_t out_of(const struct ward *ward) {
    return atomic_load_explicit(&ward->state->health.out, memory_order_relaxed);
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms) {
    return a_ms < b_ms ? a_ms : b_ms;
}

/* --- telling ---------------------------------------------------------------------------------------------------- */

/* "upstream web: server a is down: no answer within 1s, 3 checks in a row" */
static void ward_tell_check(const struct ward *ward, int error, bool is_first) {
    const struct config_health_check *config = &ward->upstream->health.check;
    const char *upstream = ward->upstream->name;
    const char *server = ward->server->name;
    char timeout[32];
    units_format_duration(config->timeout_ms * 1000, timeout, sizeof timeout);
    const char *before = error == ETIMEDOUT ? "no answer within " : "";
    const char *what = error == ETIMEDOUT ? timeout : error_name(error);
    if (error == 0) {
        log_info("upstream %s: server %s is up again: %u checks in a row have passed", upstream, server, config->rise);
    } else if (is_first) {
        log_warn("upstream %s: server %s is down: %s%s, the first check", upstream, server, before, what);
    } else {
        log_warn("upstream %s: server %s is down: %s%s, %u checks in a row", upstream, server, before, what,
                 config->fall);
    }
}

static void ward_tell_ejection(const struct ward *ward) {
    const struct server_state *state = ward->state;
    char time[32];
    units_format_duration(state->health.ejection_ms * 1000, time, sizeof time);
    log_warn("upstream %s: server %s is ejected for %s: %u connects in a row have failed, the last with: %s",
             ward->upstream->name, ward->server->name, time, atomic_load(&state->failures),
             error_name(atomic_load(&state->failure)));
}

static void tell_if_nobody_is_left(const struct upstream *upstream) {
    if (servers_are_out(upstream->servers, upstream->servers_count)) {
        log_warn("upstream %s: no server is in service: those that are not drained or disabled are tried anyway",
                 upstream->name);
    }
}

/* --- what becomes of a change ------------------------------------------------------------------------------------ */

static void ward_plan(struct ward *ward) {
    uint64_t check_ms = ward->fd >= 0 ? ward->late_ms : link_is_in_list(&ward->waiting) ? UINT64_MAX : ward->check_ms;
    uint64_t due_ms = earlier(check_ms, ward->tend_ms);
    if (due_ms == UINT64_MAX) {
        wheel_stop(&ward->timer);
    } else {
        wheel_set(&ward->keeper->wheel, &ward->timer, due_ms);
    }
}

static void ward_tell_workers(struct ward *ward) {
    const struct health *health = &ward->state->health;
    uint32_t sessions = atomic_load_explicit(&health->sessions, memory_order_relaxed);
    uint64_t down_ms = atomic_load_explicit(&health->down_ms, memory_order_relaxed);
    bool is_news = sessions != ward->sessions || down_ms != ward->down_ms;
    ward->keeper->minds |= sessions != HEALTH_SESSIONS_STAY && is_news;
    ward->sessions = sessions;
    ward->down_ms = down_ms;
}

/* Its health has changed, or time has passed. `before` is what it was out for then. */
static void ward_settle(struct ward *ward, uint32_t before, uint64_t now_ms) {
    struct keeper *keeper = ward->keeper;
    struct health *health = &ward->state->health;
    uint64_t drain_ms = keeper->generation->config->drain_timeout_ms;
    ward->tend_ms = health_tend(health, &ward->upstream->health, drain_ms, now_ms);
    uint32_t out = out_of(ward);
    if ((before & ~out & (HEALTH_EJECTED | HEALTH_DOWN)) != 0) {
        outlier_give_chance(ward->server); /* failures from before are no reason to eject it now */
    }
    if ((before & ~out & HEALTH_EJECTED) != 0) {
        log_info("upstream %s: server %s is no longer ejected", ward->upstream->name, ward->server->name);
    }
    if (before == 0 && out != 0) {
        tell_if_nobody_is_left(ward->upstream);
    }
    ward_tell_workers(ward);
    ward_plan(ward);
}

/* --- checks ----------------------------------------------------------------------------------------------------- */

/* Servers that are checked at the same instant would be for ever. */
static uint64_t next_check_ms(const struct ward *ward, uint64_t now_ms) {
    uint64_t interval_ms = ward->upstream->health.check.interval_ms;
    return now_ms + interval_ms - interval_ms / 10 + kernel_random() % (interval_ms / 5 + 1);
}

static bool ward_is_checked(const struct ward *ward) {
    return ward->upstream->health.check.on && (out_of(ward) & HEALTH_DISABLED) == 0;
}

/* With a reset: the server's port would be in TIME_WAIT otherwise, and there are many checks. */
static void ward_hang_up(struct ward *ward) {
    if (ward->fd >= 0) {
        kernel_reset(ward->fd);
        ward->fd = -1;
        ward->keeper->checks--;
    }
}

/* Want on our side is no verdict: the server is checked the next time. */
static void ward_check_done(struct ward *ward, int error, uint64_t now_ms) {
    struct health *health = &ward->state->health;
    uint32_t before = out_of(ward);
    bool is_first = !health->is_known;
    ward_hang_up(ward);
    if (failure_is_ours(error)) {
        ward_plan(ward);
        return;
    }
    health_note_check(health, &ward->upstream->health, error, now_ms);
    if (((before ^ out_of(ward)) & HEALTH_DOWN) != 0) {
        ward_tell_check(ward, error, is_first);
    }
    ward_settle(ward, before, now_ms);
}

static int connect_now(int fd, const struct address *address) {
    int result = kernel_set_nonblocking(fd, true);
    return result < 0 ? -result : connect(fd, &address->any, address->length) == 0 ? 0 : errno;
}

static void ward_check(struct ward *ward, uint64_t now_ms) {
    const struct address *address = &ward->server->address;
    struct keeper *keeper = ward->keeper;
    struct epoll_event event = {.events = EPOLLOUT | EPOLLONESHOT, .data.ptr = ward};
    ward->check_ms = next_check_ms(ward, now_ms);
    ward->late_ms = now_ms + ward->upstream->health.check.timeout_ms;
    ward->fd = kernel_socket(address_family(address));
    if (ward->fd < 0) {
        ward->fd = -1;
        ward_plan(ward);
        return;
    }
    keeper->checks++;
    int error = connect_now(ward->fd, address);
    if (error != EINPROGRESS) {
        ward_check_done(ward, error, now_ms);
    } else if (epoll_ctl(keeper->poll_fd, EPOLL_CTL_ADD, ward->fd, &event) < 0) {
        ward_hang_up(ward);
        ward_plan(ward);
    } else {
        ward_plan(ward);
    }
}

static void ward_check_soon(struct ward *ward, uint64_t now_ms) {
    struct keeper *keeper = ward->keeper;
    if (keeper->checks < keeper->checks_max) {
        ward_check(ward, now_ms);
    } else if (!link_is_in_list(&ward->waiting)) {
        list_append(&keeper->waiting, &ward->waiting);
        ward_plan(ward);
    }
}

static void ward_fired(struct timer *timer) {
    struct ward *ward = container_of(timer, struct ward, timer);
    uint64_t now_ms = ward->keeper->now_ms;
    if (ward->fd >= 0 && ward->late_ms <= now_ms) {
        ward_check_done(ward, ETIMEDOUT, now_ms);
    } else if (ward->fd < 0 && ward->check_ms <= now_ms) {
        ward_check_soon(ward, now_ms);
    }
    if (ward->tend_ms <= now_ms) {
        ward_settle(ward, out_of(ward), now_ms);
    }
    ward_plan(ward);
}

static int error_of_socket(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

/* Those that have an answer; a late one counts as long as nobody has looked at the clock. */
static void keeper_take_answers(struct keeper *keeper, uint64_t now_ms) {
    enum { EVENTS = 64 };
    struct epoll_event events[EVENTS];
    int count = EVENTS;
    while (count == EVENTS) {
        count = epoll_wait(keeper->poll_fd, events, EVENTS, 0);
        for (int i = 0; i < count; i++) {
            struct ward *ward = events[i].data.ptr;
            ward_check_done(ward, error_of_socket(ward->fd), now_ms);
        }
    }
}

static void keeper_fill_places(struct keeper *keeper, uint64_t now_ms) {
    while (keeper->checks < keeper->checks_max && !list_is_empty(&keeper->waiting)) {
        struct ward *ward = container_of(list_pop(&keeper->waiting), struct ward, waiting);
        ward_check(ward, now_ms);
    }
}

/* --- suspects --------------------------------------------------------------------------------------------------- */

static void keeper_told(void *argument, const struct upstream *upstream, const struct server *server,
                        enum outlier_news news) {
    struct ward *ward = server->state->ward;
    const struct keeper *keeper = argument;
    switch (news) {
    case OUTLIER_EJECTED:
        ward_tell_ejection(ward);
        ward_settle(ward, 0, keeper->now_ms);
        return;
    case OUTLIER_SPARED:
        log_warn("upstream %s: server %s cannot be connected to: %s; it is not ejected: max_ejection is %u%%",
                 upstream->name, server->name, error_name(atomic_load(&server->state->failure)),
                 upstream->health.outlier.ejection_max);
        return;
    case OUTLIER_ANSWERED:
        ward_settle(ward, out_of(ward) | HEALTH_EJECTED, keeper->now_ms);
        return;
    }
}

static void keeper_look_at_suspects(struct keeper *keeper, uint64_t now_ms) {
    const struct generation *generation = keeper->generation;
    if (atomic_exchange(&keeper->crew->suspected, false)) {
        keeper->look_at_ms = keeper->looked_ms + LOOK_PAUSE_MS;
    }
    if (keeper->look_at_ms > now_ms) {
        return;
    }
    keeper->look_at_ms = UINT64_MAX;
    keeper->looked_ms = now_ms;
    for (size_t i = 0; i < generation->config->upstreams_count; i++) {
        if (generation->upstreams[i].health.outlier.on) {
            outlier_look(&generation->upstreams[i], now_ms, keeper_told, keeper);
        }
    }
}

/* --- turning ---------------------------------------------------------------------------------------------------- */

uint64_t keeper_turn(struct keeper *keeper, uint64_t now_ms) {
    if (keeper->generation == NULL) {
        return UINT64_MAX;
    }
    keeper->now_ms = now_ms;
    keeper_take_answers(keeper, now_ms);
    wheel_advance(&keeper->wheel, now_ms);
    keeper_look_at_suspects(keeper, now_ms);
    keeper_fill_places(keeper, now_ms);
    if (keeper->minds) {
        keeper->minds = false;
        crew_mind_servers(keeper->crew);
    }
    uint64_t wait_ms = wheel_wait_ms(&keeper->wheel);
    return earlier(keeper->look_at_ms, wait_ms == UINT64_MAX ? UINT64_MAX : keeper->wheel.now_ms + wait_ms);
}

/* --- wards ------------------------------------------------------------------------------------------------------ */

static bool ward_create(struct keeper *keeper, struct server_state *state) {
    struct ward *ward = malloc(sizeof *ward);
    if (ward == NULL) {
        return false;
    }
    *ward = (struct ward){.keeper = keeper, .state = state, .check_ms = UINT64_MAX, .tend_ms = UINT64_MAX, .fd = -1};
    link_init(&ward->link);
    link_init(&ward->waiting);
    timer_init(&ward->timer, ward_fired);
    atomic_fetch_add(&state->references, 1);
    state->ward = ward;
    return true;
}

static void ward_destroy(struct ward *ward) {
    ward_hang_up(ward);
    wheel_stop(&ward->timer);
    link_remove(&ward->waiting);
    link_remove(&ward->link);
    ward->state->ward = NULL;
    server_state_drop(ward->state);
    free(ward);
}

/* What is to become of a leaving server's sessions, as long as there are any. */
static void ward_see_off(struct ward *ward, uint64_t now_ms) {
    struct keeper *keeper = ward->keeper;
    uint64_t drain_ms = keeper->generation->config->drain_timeout_ms;
    uint64_t due_ms = UINT64_MAX;
    if (atomic_load_explicit(&ward->state->active, memory_order_relaxed) > 0) {
        due_ms = health_tend(&ward->state->health, &ward->config, drain_ms, now_ms);
        ward_tell_workers(ward);
    }
    if (due_ms == UINT64_MAX) {
        ward_destroy(ward);
    } else {
        wheel_set(&keeper->wheel, &ward->timer, due_ms);
    }
}

static void ward_fired_leaving(struct timer *timer) {
    struct ward *ward = container_of(timer, struct ward, timer);
    ward_see_off(ward, ward->keeper->now_ms);
}

/* As the reload that removes its server says, if that still knows the upstream. */
static enum config_server_down ward_on_removed(const struct ward *ward, const struct generation *next) {
    for (size_t i = 0; i < next->config->upstreams_count; i++) {
        if (strcmp(next->upstreams[i].name, ward->upstream->name) == 0) {
            return next->upstreams[i].health.on_removed;
        }
    }
    return ward->upstream->health.on_removed;
}

/* It is as if it went down at this moment, for whatever reason it was out before. */
static void ward_end_sessions(struct ward *ward, enum config_server_down on_removed, uint64_t now_ms) {
    struct health *health = &ward->state->health;
    ward->config.on_server_down = on_removed;
    health_order(health, &ward->config, 0, now_ms);
    health_order(health, &ward->config, HEALTH_DISABLED, now_ms);
    uint32_t sessions = atomic_load_explicit(&ward->state->active, memory_order_relaxed);
    if (sessions > 0) {
        log_info("upstream %s: server %s was removed: its %u sessions are %s", ward->upstream->name, ward->server->name,
                 sessions, on_removed == SERVER_DOWN_RESET ? "reset" : "drained");
    }
}

/* A reload has removed its server, but on_server_down still holds for sessions: a server that was down when it left is
 * drained. */
static void ward_leave(struct ward *ward, const struct generation *next, uint64_t now_ms) {
    enum config_server_down on_removed = ward_on_removed(ward, next);
    ward_hang_up(ward);
    wheel_stop(&ward->timer);
    timer_init(&ward->timer, ward_fired_leaving);
    link_remove(&ward->waiting);
    link_remove(&ward->link);
    list_append(&ward->keeper->leaving, &ward->link);
    ward->config = ward->upstream->health;
    if (on_removed != SERVER_DOWN_KEEP) {
        ward_end_sessions(ward, on_removed, now_ms);
    }
    ward->upstream = NULL;
    ward->server = NULL;
}

static void ward_stop_checking(struct ward *ward, uint64_t now_ms) {
    ward_hang_up(ward);
    link_remove(&ward->waiting);
    ward->check_ms = UINT64_MAX;
    health_forget_checks(&ward->state->health, &ward->upstream->health, now_ms);
}

/* Checks begin, go on, or end, as the configuration and operators want it. */
static void ward_plan_checks(struct ward *ward, uint64_t now_ms) {
    if (!ward_is_checked(ward)) {
        ward_stop_checking(ward, now_ms);
    } else if (ward->check_ms == UINT64_MAX) {
        uint64_t interval_ms = ward->upstream->health.check.interval_ms;
        ward->check_ms = now_ms + kernel_random() % earlier(interval_ms, FIRST_CHECK_MS);
    } else {
        ward->check_ms = earlier(ward->check_ms, next_check_ms(ward, now_ms)); /* it may be more often now */
    }
}

/* What operators want of it; news if it has just come (back). */
static void ward_obey(struct ward *ward, uint64_t now_ms) {
    const struct standing_place place = {
        .upstream = ward->upstream, .server = ward->server, .generation = ward->generation};
    const struct standing_order *order = standing_orders_find(&ward->keeper->orders, &place);
    uint32_t wanted = order == NULL ? 0 : order->wanted[STANDING_OUT];
    uint32_t weight = order == NULL ? 0 : order->wanted[STANDING_WEIGHT];
    if ((out_of(ward) & HEALTH_BY_OPERATOR) != wanted) {
        health_order(&ward->state->health, &ward->upstream->health, wanted, now_ms);
    }
    atomic_store_explicit(&ward->state->health.weight, weight, memory_order_relaxed);
}

static void ward_adopt(struct ward *ward, const struct upstream *upstream, const struct server *server,
                       uint64_t now_ms) {
    uint32_t before = out_of(ward);
    ward->upstream = upstream;
    ward->server = server;
    ward_obey(ward, now_ms);
    ward_plan_checks(ward, now_ms);
    ward_settle(ward, before, now_ms);
}

#define for_each_server(upstream, server, generation)                                                                  \
    for (const struct upstream *upstream = (generation)->upstreams;                                                    \
         upstream < (generation)->upstreams + (generation)->config->upstreams_count; upstream++)                       \
        for (const struct server *server = upstream->servers; server < upstream->servers + upstream->servers_count;    \
             server++)

bool keeper_prepare(struct keeper *keeper, struct generation *next, struct error *error) {
    for_each_server(upstream, server, next) {
        if (server->state->ward == NULL && !ward_create(keeper, server->state)) {
            return error_set(error, "no memory for the servers of \"%s\"", upstream->name);
        }
    }
    return true;
}

void keeper_commit(struct keeper *keeper, const struct generation *next) {
    uint64_t now_ms = clock_ms();
    keeper->generation = next;
    for_each_server(upstream, server, next) {
        struct ward *ward = server->state->ward;
        ward->generation = next->number;
        link_remove(&ward->link);
        list_append(&keeper->wards, &ward->link);
        ward_adopt(ward, upstream, server, now_ms);
    }
    list_for_each (link, &keeper->wards) {
        struct ward *ward = container_of(link, struct ward, link);
        if (ward->generation != next->number) {
            ward_leave(ward, next, now_ms);
        }
    }
    list_for_each (link, &keeper->leaving) {
        ward_see_off(container_of(link, struct ward, link), now_ms);
    }
}

void keeper_abandon(struct keeper *keeper, const struct generation *next) {
    (void)keeper;
    for_each_server(upstream, server, next) {
        struct ward *ward = server->state->ward;
        if (ward != NULL && ward->server == NULL) {
            ward_destroy(ward);
        }
    }
}

uint32_t keeper_descriptors(const struct generation *generation, uint64_t descriptors) {
    uint64_t count = 0;
    for_each_server(upstream, server, generation) {
        count += upstream->health.check.on;
    }
    uint64_t most = descriptors / 8 < CHECKS_MAX ? descriptors / 8 : CHECKS_MAX;
    return (uint32_t)(count < most ? count : most);
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

static bool keeper_note(struct keeper *keeper, const struct upstream *upstream, const struct server *server,
                        bool is_one, enum standing_kind kind, uint32_t value) {
    const struct standing_place place = {
        .upstream = upstream, .server = server, .generation = keeper->generation->number, .is_one = is_one};
    return standing_orders_note(&keeper->orders, &place, kind, value);
}

bool keeper_order(struct keeper *keeper, const struct upstream *upstream, const struct server *server, bool is_one,
                  uint32_t wanted) {
    struct ward *ward = server->state->ward;
    uint64_t now_ms = clock_ms();
    uint32_t before = out_of(ward);
    if (!keeper_note(keeper, upstream, server, is_one, STANDING_OUT, wanted)) {
        return false;
    }
    if (wanted == 0) {
        atomic_store_explicit(&ward->state->failures, 0, memory_order_relaxed);
    }
    health_order(&ward->state->health, &upstream->health, wanted, now_ms);
    if (((before ^ out_of(ward)) & HEALTH_BY_OPERATOR) != 0) {
        log_info("upstream %s: server %s is %s", upstream->name, server->name,
                 wanted == 0 ? "enabled" : health_name(wanted));
    }
    ward_plan_checks(ward, now_ms);
    ward_settle(ward, before, now_ms);
    return true;
}

bool keeper_weigh(struct keeper *keeper, const struct upstream *upstream, const struct server *server, bool is_one,
                  uint32_t weight) {
    if (!keeper_note(keeper, upstream, server, is_one, STANDING_WEIGHT, weight)) {
        return false;
    }
    atomic_store_explicit(&server->state->health.weight, weight, memory_order_relaxed);
    log_info("upstream %s: server %s has weight %u", upstream->name, server->name,
             weight == 0 ? server->weight : weight);
    return true;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void keeper_init(struct keeper *keeper) {
    *keeper = (struct keeper){.poll_fd = -1, .look_at_ms = UINT64_MAX};
    list_init(&keeper->wards);
    list_init(&keeper->leaving);
    list_init(&keeper->waiting);
    standing_orders_init(&keeper->orders);
    wheel_init(&keeper->wheel, clock_ms());
}

bool keeper_open(struct keeper *keeper, struct crew *crew, struct error *error) {
    keeper->crew = crew;
    keeper->poll_fd = epoll_create1(EPOLL_CLOEXEC);
    return keeper->poll_fd >= 0 || error_set(error, "cannot make an epoll descriptor: %s", error_name(errno));
}

void keeper_finish(struct keeper *keeper) {
    list_for_each (link, &keeper->wards) {
        ward_destroy(container_of(link, struct ward, link));
    }
    list_for_each (link, &keeper->leaving) {
        ward_destroy(container_of(link, struct ward, link));
    }
    standing_orders_finish(&keeper->orders);
    if (keeper->poll_fd >= 0) {
        kernel_close(keeper->poll_fd);
    }
}
