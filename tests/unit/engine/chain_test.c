#include "engine/chain.h"

#include "service.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A filter in C that notes what it is told, and does what its test wants. */
struct spy {
    struct filter filter;
    enum hook_outcome (*does)(struct filter_session *filter_session, enum hook hook);
    int begun[HOOKS];
    int opened;
    int closed;
    int quotas;
    struct filter_session *last;
};

static struct spy *spy_of(const struct filter_session *filter_session) {
    return container_of(filter_session->filter, struct spy, filter);
}

static bool spy_open(struct filter_session *filter_session) {
    spy_of(filter_session)->opened++;
    spy_of(filter_session)->last = filter_session;
    return true;
}

static enum hook_outcome spy_run(struct filter_session *filter_session, enum hook hook) {
    struct spy *spy = spy_of(filter_session);
    spy->begun[hook]++;
    return spy->does == NULL ? HOOK_RETURNED : spy->does(filter_session, hook);
}

static void spy_close(struct filter_session *filter_session) {
    spy_of(filter_session)->closed++;
}

static const struct filter_calls spy_calls = {.open = spy_open, .run = spy_run, .close = spy_close};

#define HAS(hook) (1u << HOOK_##hook)

static struct spy spy_make(uint32_t hooks) {
    return (struct spy){
        .filter = {.calls = &spy_calls, .name = "spy", .hooks = hooks, .hold_max = 64 * 1024, .hold_timeout_ms = 0}};
}

/* A service whose listener has these filters, the client's end first. */
struct filtered {
    struct service service;
    struct filter *filters[2];
    struct filter_list list;
};

static void filtered_open(struct filtered *filtered, struct spy *first, struct spy *second) {
    service_init(&filtered->service);
    filtered->service.io.splice = true;
    service_open(&filtered->service);
    filtered->filters[0] = &first->filter;
    filtered->filters[1] = second == NULL ? NULL : &second->filter;
    filtered->list = (struct filter_list){.filters = filtered->filters, .count = second == NULL ? 1 : 2};
    filtered->service.epoch->filter_lists = &filtered->list;
}

static void say(int fd, const char *text) {
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Turns until exactly this text has come. */
static void expect(struct filtered *filtered, int fd, const char *text) {
    char heard[256];
    size_t size = 0;
    while (size < strlen(text)) {
        ssize_t part = -1;
        service_wait(&filtered->service,
                     (part = recv(fd, heard + size, strlen(text) - size, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
        cr_assert_gt(part, 0, "after %.*s", (int)size, heard);
        size += (size_t)part;
    }
    cr_assert_arr_eq(heard, text, size, "%.*s", (int)size, heard);
}

static void expect_end(struct filtered *filtered, int fd) {
    char byte;
    ssize_t part = -1;
    service_wait(&filtered->service, (part = recv(fd, &byte, 1, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
    cr_assert_eq(part, 0, "%zd: %s", part, strerror(errno));
}

static void pair_close(const struct service_pair *pair) {
    close(pair->client);
    close(pair->server);
}

/* Sends `size` bytes and takes them at the other end. */
static void transfer(struct filtered *filtered, int from, int to, size_t size) {
    static char piece[256 * 1024];
    size_t sent = 0;
    size_t heard = 0;
    while (heard < size) {
        size_t left = size - sent < sizeof(piece) ? size - sent : sizeof(piece);
        ssize_t part = left == 0 ? 0 : send(from, piece, left, MSG_DONTWAIT);
        sent += part > 0 ? (size_t)part : 0;
        service_turn(&filtered->service);
        part = recv(to, piece, sizeof(piece), MSG_DONTWAIT);
        heard += part > 0 ? (size_t)part : 0;
    }
    cr_assert_eq(heard, size);
}

enum { BULK = 8 * 1024 * 1024 };

Test(chain, whose_filters_have_no_byte_hook_leaves_bytes_to_the_splice, .timeout = 60) {
    struct spy spy = spy_make(HAS(ROUTE) | HAS(CLOSED));
    struct filtered filtered;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    transfer(&filtered, pair.client, pair.server, BULK);
    const struct engine_counters *counters = service_counters(&filtered.service);
    cr_assert_eq(counters->hooks, 1);
    cr_assert_gt(counters->splice_promotions, 0);
    cr_assert_gt(counters->splice_bytes, BULK / 2);
    cr_assert_eq(counters->from_client_bytes, BULK);
    pair_close(&pair);
    service_wait(&filtered.service, spy.closed == 1);
    cr_assert_eq(spy.begun[HOOK_ROUTE], 1);
    cr_assert_eq(spy.begun[HOOK_CLOSED], 1);
    cr_assert_eq(counters->hooks, 2);
    service_close(&filtered.service);
}

Test(chain, with_a_byte_hook_is_not_spliced, .timeout = 60) {
    struct spy spy = spy_make(HAS(FROM_CLIENT));
    struct filtered filtered;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    transfer(&filtered, pair.client, pair.server, BULK);
    cr_assert_eq(service_counters(&filtered.service)->splice_bytes, 0);
    cr_assert_gt(spy.begun[HOOK_FROM_CLIENT], 0);
    pair_close(&pair);
    service_close(&filtered.service);
    cr_assert_eq(spy.closed, 1);
}

static enum hook_outcome detach_at_once(struct filter_session *filter_session, enum hook hook) {
    if (hook == HOOK_FROM_CLIENT) {
        filter_detach(filter_session, FROM_CLIENT);
    }
    return HOOK_RETURNED;
}

Test(chain, whose_last_filter_detached_is_spliced_again, .timeout = 60) {
    struct spy spy = spy_make(HAS(FROM_CLIENT));
    struct filtered filtered;
    spy.does = detach_at_once;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    transfer(&filtered, pair.client, pair.server, BULK);
    cr_assert_eq(spy.begun[HOOK_FROM_CLIENT], 1);
    cr_assert_gt(service_counters(&filtered.service)->splice_bytes, BULK / 2);
    pair_close(&pair);
    service_close(&filtered.service);
}

/* Puts its name and a dash in front of all that passes. */
static enum hook_outcome put_name(struct filter_session *filter_session, enum hook hook) {
    enum direction direction = hook == HOOK_FROM_CLIENT ? FROM_CLIENT : FROM_SERVER;
    bool is_first = spy_of(filter_session)->begun[hook] == 1;
    if (is_first && (hook == HOOK_FROM_CLIENT || hook == HOOK_FROM_SERVER)) {
        filter_put(filter_session, direction, filter_session->filter->name, 1);
        filter_put(filter_session, direction, "-", 1);
    }
    return HOOK_RETURNED;
}

Test(chain, is_an_onion, .timeout = 20) {
    struct spy first = spy_make(HAS(FROM_CLIENT) | HAS(FROM_SERVER));
    struct spy second = spy_make(HAS(FROM_CLIENT) | HAS(FROM_SERVER));
    struct filtered filtered;
    first.does = put_name;
    second.does = put_name;
    first.filter.name = "a";
    second.filter.name = "b";
    filtered_open(&filtered, &first, &second);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "hello");
    expect(&filtered, pair.server, "b-a-hello");
    say(pair.server, "world");
    expect(&filtered, pair.client, "a-b-world");
    pair_close(&pair);
    service_close(&filtered.service);
}

static enum hook_outcome reject(struct filter_session *filter_session, enum hook hook) {
    if (hook != HOOK_FROM_CLIENT) {
        return HOOK_RETURNED;
    }
    filter_write(filter_session, FROM_SERVER, "no\n", 3);
    filter_close(filter_session, FILTER_REJECT);
    return HOOK_ENDS;
}

/* A close with bytes unread would be a reset, which may overtake and destroy what was said last. */
Test(chain, says_last_words_to_a_client_that_goes_on_sending, .timeout = 20) {
    struct spy spy = spy_make(HAS(FROM_CLIENT));
    struct filtered filtered;
    spy.does = reject;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "may I?");
    service_wait(&filtered.service, spy.begun[HOOK_FROM_CLIENT] == 1);
    say(pair.client, "and more");
    expect(&filtered, pair.client, "no\n");
    expect_end(&filtered, pair.client);
    expect_end(&filtered, pair.server);
    pair_close(&pair);
    service_expect_closed(&filtered.service, CLOSE_REJECTED, 1);
    service_close(&filtered.service);
}

static enum hook_outcome fail_after_output(struct filter_session *filter_session, enum hook hook) {
    if (hook != HOOK_FROM_CLIENT) {
        return HOOK_RETURNED;
    }
    filter_put(filter_session, FROM_CLIENT, "never", 5);
    filter_write(filter_session, FROM_SERVER, "never", 5);
    filter_pass(filter_session, FROM_CLIENT, 2);
    filter_drop(filter_session, FROM_CLIENT, 100);
    return HOOK_FAILED;
}

Test(chain, that_bypasses_a_filter_shows_nothing_of_what_it_did, .timeout = 20) {
    struct spy spy = spy_make(HAS(FROM_CLIENT) | HAS(CLOSED));
    struct filtered filtered;
    spy.does = fail_after_output;
    spy.filter.on_error = ON_ERROR_BYPASS;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "hello");
    expect(&filtered, pair.server, "hello");
    say(pair.client, ", world");
    expect(&filtered, pair.server, ", world");
    say(pair.server, "x");
    expect(&filtered, pair.client, "x");
    cr_assert_eq(spy.begun[HOOK_FROM_CLIENT], 1);
    cr_assert_eq(service_counters(&filtered.service)->filters_bypassed, 1);
    cr_assert_eq(spy.closed, 1);
    pair_close(&pair);
    service_close(&filtered.service);
    cr_assert_eq(spy.begun[HOOK_CLOSED], 0);
    cr_assert_eq(spy.closed, 1);
}

Test(chain, closes_a_session_whose_filter_fails, .timeout = 20) {
    struct spy spy = spy_make(HAS(FROM_CLIENT) | HAS(CLOSED));
    struct filtered filtered;
    spy.does = fail_after_output;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "hello");
    service_expect_closed(&filtered.service, CLOSE_FILTER_ERROR, 1);
    service_wait(&filtered.service, spy.closed == 1);
    cr_assert_eq(spy.begun[HOOK_CLOSED], 1);
    pair_close(&pair);
    service_close(&filtered.service);
}

static enum hook_outcome wait_in_closed(struct filter_session *filter_session, enum hook hook) {
    (void)filter_session;
    return hook == HOOK_CLOSED ? HOOK_WAITS : HOOK_RETURNED;
}

Test(chain, lets_nobody_wait_for_closed, .timeout = 20) {
    struct spy spy = spy_make(HAS(CLOSED));
    struct filtered filtered;
    spy.does = wait_in_closed;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "hello");
    expect(&filtered, pair.server, "hello");
    shutdown(pair.server, SHUT_WR);
    shutdown(pair.client, SHUT_WR);
    expect_end(&filtered, pair.client);
    expect_end(&filtered, pair.server);
    service_wait(&filtered.service, spy.begun[HOOK_CLOSED] == 1);
    cr_assert_eq(spy.closed, 0);
    filter_enter(&filtered.service.worker.engine, spy.last, HOOK_CLOSED);
    filter_leave(&filtered.service.worker.engine, spy.last, HOOK_CLOSED, HOOK_RETURNED);
    cr_assert_eq(spy.closed, 1);
    pair_close(&pair);
    service_close(&filtered.service);
}

/* Writes, and waits until something has come from the server. */
static enum hook_outcome shake_hands(struct filter_session *filter_session, enum hook hook) {
    if (hook != HOOK_CONNECTED) {
        return HOOK_RETURNED;
    }
    filter_write(filter_session, FROM_CLIENT, "user\n", 5);
    filter_listen(filter_session, FROM_SERVER);
    return HOOK_WAITS;
}

Test(chain, sends_what_connected_writes_while_it_waits, .timeout = 20) {
    struct spy spy = spy_make(HAS(CONNECTED));
    struct filtered filtered;
    spy.does = shake_hands;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "query");
    expect(&filtered, pair.server, "user\n");
    say(pair.server, "ok\nhello");
    struct stage *source = filter_source(spy.last, FROM_SERVER);
    service_wait(&filtered.service, source->input.bytes == 8);
    struct engine *engine = &filtered.service.worker.engine;
    filter_enter(engine, spy.last, HOOK_CONNECTED);
    stage_show(source, &engine->buffers, 3);
    stage_drop(source, &engine->buffers, 3);
    filter_leave(engine, spy.last, HOOK_CONNECTED, HOOK_RETURNED);
    expect(&filtered, pair.client, "hello");
    expect(&filtered, pair.server, "query");
    pair_close(&pair);
    service_close(&filtered.service);
}

static enum hook_outcome serve_once(struct filter_session *filter_session, enum hook hook) {
    if (hook == HOOK_SERVE) {
        filter_write(filter_session, FROM_SERVER, "served\n", 7);
    }
    return HOOK_RETURNED;
}

Test(chain, may_serve_without_any_server, .timeout = 20) {
    struct spy spy = spy_make(HAS(SERVE));
    struct filtered filtered;
    spy.does = serve_once;
    filtered_open(&filtered, &spy, NULL);
    int client = service_client(&filtered.service);
    expect(&filtered, client, "served\n");
    expect_end(&filtered, client);
    close(client);
    service_expect_closed(&filtered.service, CLOSE_SERVER_FIN, 1);
    cr_assert_eq(service_counters(&filtered.service)->connects, 0);
    service_close(&filtered.service);
}

static void count_quota(struct filter_session *filter_session) {
    spy_of(filter_session)->quotas++;
}

static enum hook_outcome set_quota(struct filter_session *filter_session, enum hook hook) {
    if (hook == HOOK_ROUTE) {
        filter_set_quota(filter_session, 10, count_quota);
    }
    return hook == HOOK_FROM_SERVER ? HOOK_FAILED : HOOK_RETURNED;
}

Test(chain, tells_of_a_quota_once, .timeout = 20) {
    struct spy spy = spy_make(HAS(ROUTE));
    struct filtered filtered;
    spy.does = set_quota;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "12345");
    expect(&filtered, pair.server, "12345");
    cr_assert_eq(spy.quotas, 0);
    say(pair.server, "67890");
    expect(&filtered, pair.client, "67890");
    cr_assert_eq(spy.quotas, 1);
    say(pair.client, "12345");
    expect(&filtered, pair.server, "12345");
    cr_assert_eq(spy.quotas, 1);
    pair_close(&pair);
    service_close(&filtered.service);
}

Test(chain, tells_a_filter_that_has_left_of_nothing, .timeout = 20) {
    struct spy spy = spy_make(HAS(ROUTE) | HAS(FROM_SERVER));
    struct filtered filtered;
    spy.does = set_quota;
    spy.filter.on_error = ON_ERROR_BYPASS;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.server, "12345");
    expect(&filtered, pair.client, "12345");
    cr_assert_eq(spy.closed, 1);
    say(pair.server, "1234567890");
    expect(&filtered, pair.client, "1234567890");
    cr_assert_eq(spy.quotas, 0);
    pair_close(&pair);
    service_close(&filtered.service);
}

static enum hook_outcome wait_in_from_client(struct filter_session *filter_session, enum hook hook) {
    (void)filter_session;
    return hook == HOOK_FROM_CLIENT ? HOOK_WAITS : HOOK_RETURNED;
}

/* What is held before a filter that ends the session is dropped on purpose: nobody is to be reset for that. */
Test(chain, ends_in_order_whatever_is_held_before_the_filter_that_ends_it, .timeout = 20) {
    struct spy first = spy_make(HAS(FROM_CLIENT));
    struct spy second = spy_make(HAS(ROUTE));
    struct filtered filtered;
    first.does = wait_in_from_client;
    filtered_open(&filtered, &first, &second);
    struct service_pair pair = service_pair(&filtered.service);
    say(pair.client, "held");
    shutdown(pair.client, SHUT_WR);
    shutdown(pair.server, SHUT_WR);
    expect_end(&filtered, pair.client);
    service_wait(&filtered.service, first.begun[HOOK_FROM_CLIENT] == 1 && first.last->stages[FROM_CLIENT].ended);
    filter_enter(&filtered.service.worker.engine, second.last, HOOK_TASK);
    filter_close(second.last, FILTER_CLOSE);
    filter_leave(&filtered.service.worker.engine, second.last, HOOK_TASK, HOOK_ENDS);
    expect_end(&filtered, pair.server);
    service_expect_closed(&filtered.service, CLOSE_REJECTED, 1);
    pair_close(&pair);
    service_close(&filtered.service);
}

static enum hook_outcome set_limit(struct filter_session *filter_session, enum hook hook) {
    (void)hook;
    filter_set_limit(filter_session, FROM_CLIENT, 20 * 1000);
    return HOOK_RETURNED;
}

Test(chain, goes_on_by_itself_when_a_limit_allows_more, .timeout = 20) {
    struct spy spy = spy_make(HAS(ROUTE));
    struct filtered filtered;
    spy.does = set_limit;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    transfer(&filtered, pair.client, pair.server, 6000);
    cr_assert_eq(service_counters(&filtered.service)->from_client_bytes, 6000);
    pair_close(&pair);
    service_close(&filtered.service);
}

/* What a filter does at a moment that no hook tells of. */
static void task(struct filtered *filtered, struct spy *spy, void (*does)(struct filter_session *filter_session),
                 enum hook_outcome outcome) {
    struct engine *engine = &filtered->service.worker.engine;
    filter_enter(engine, spy->last, HOOK_TASK);
    does(spy->last);
    filter_leave(engine, spy->last, HOOK_TASK, outcome);
}

static void limit_to_a_gigabyte(struct filter_session *filter_session) {
    filter_set_limit(filter_session, FROM_CLIENT, 1000 * 1000 * 1000);
}

Test(chain, that_limits_a_spliced_flow_makes_it_receive_again, .timeout = 60) {
    struct spy spy = spy_make(HAS(ROUTE));
    struct filtered filtered;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    transfer(&filtered, pair.client, pair.server, BULK);
    cr_assert(service_session(&filtered.service)->from_client.spliced);
    task(&filtered, &spy, limit_to_a_gigabyte, HOOK_RETURNED);
    transfer(&filtered, pair.client, pair.server, BULK);
    cr_assert_not(service_session(&filtered.service)->from_client.spliced);
    cr_assert_eq(service_counters(&filtered.service)->splice_demotions, 1);
    pair_close(&pair);
    service_close(&filtered.service);
}

static void close_session(struct filter_session *filter_session) {
    filter_close(filter_session, FILTER_CLOSE);
}

Test(chain, that_ends_a_spliced_session_reads_what_still_comes, .timeout = 60) {
    struct spy spy = spy_make(HAS(ROUTE));
    struct filtered filtered;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    transfer(&filtered, pair.client, pair.server, BULK);
    cr_assert(service_session(&filtered.service)->from_client.spliced);
    task(&filtered, &spy, close_session, HOOK_ENDS);
    expect_end(&filtered, pair.client);
    expect_end(&filtered, pair.server);
    cr_assert_eq(service_counters(&filtered.service)->splice_demotions, 1);
    say(pair.client, "and more");
    service_wait(&filtered.service, service_session(&filtered.service)->chain->discarded == strlen("and more"));
    pair_close(&pair);
    service_expect_closed(&filtered.service, CLOSE_REJECTED, 1);
    service_close(&filtered.service);
}

static enum hook_outcome end_both_streams(struct filter_session *filter_session, enum hook hook) {
    if (hook != HOOK_CONNECTED) {
        return HOOK_RETURNED;
    }
    filter_close_write(filter_session, FROM_CLIENT);
    filter_close_write(filter_session, FROM_SERVER);
    return HOOK_WAITS;
}

Test(chain, may_end_both_streams_before_anything_is_relayed, .timeout = 20) {
    struct spy spy = spy_make(HAS(CONNECTED));
    struct filtered filtered;
    spy.does = end_both_streams;
    filtered_open(&filtered, &spy, NULL);
    struct service_pair pair = service_pair(&filtered.service);
    expect_end(&filtered, pair.client);
    expect_end(&filtered, pair.server);
    cr_assert_eq(service_session(&filtered.service)->state, SESSION_GREETING);
    filter_enter(&filtered.service.worker.engine, spy.last, HOOK_CONNECTED);
    filter_leave(&filtered.service.worker.engine, spy.last, HOOK_CONNECTED, HOOK_RETURNED);
    cr_assert_eq(service_session(&filtered.service)->state, SESSION_LINGERING);
    pair_close(&pair);
    service_expect_closed(&filtered.service, CLOSE_REJECTED, 1);
    service_close(&filtered.service);
}
