#include "place.h"

#include "base/check.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>

/* How long Linux tries with tcp_syn_retries = 6, and how often here: a second is short enough to find the server that
 * answers again. */
static const uint64_t connect_timeout_ns = (uint64_t)127 * 1000 * 1000 * 1000;
static const uint64_t connect_again_ns = (uint64_t)1000 * 1000 * 1000;

struct address address_unnamed(struct world *world, bool local) {
    struct address address = {0};
    if (local) {
        address.length = sizeof(address.local.sun_family);
        address.local.sun_family = AF_UNIX;
        return address;
    }
    address_any_v4(&address, world->next_port++);
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + address_port(&address) % PLACE_NEIGHBOURS);
    return address;
}

/* --- places --------------------------------------------------------------------------------------------------------
 */

static bool place_is_taken(struct world *world, const struct place *wanted) {
    list_for_each (link, &world->places) {
        struct place *place = container_of(link, struct place, link);
        if (address_equal(&place->address, &wanted->address) && !(place->shared && wanted->shared)) {
            return true;
        }
    }
    return false;
}

int place_open(struct world *world, struct place *place, const struct address *address, bool shared) {
    *place = (struct place){.address = *address, .shared = shared};
    if (!address_is_unix(address) && address_port(address) == 0) {
        address_set_port(&place->address, world->next_port++);
    }
    list_init(&place->waiting);
    link_init(&place->link);
    if (place_is_taken(world, place)) {
        return -EADDRINUSE;
    }
    list_append(&world->places, &place->link);
    return 0;
}

void place_listen(struct place *place, uint32_t backlog) {
    place->backlog = backlog;
    place->listening = true;
}

struct stream *place_accept(struct place *place) {
    struct link *link = list_pop(&place->waiting);
    if (link == NULL) {
        return NULL;
    }
    place->waiting_count--;
    return container_of(link, struct stream, waiting);
}

void place_close(struct world *world, struct place *place) {
    for (struct stream *stream = place_accept(place); stream != NULL; stream = place_accept(place)) {
        world_trace(world, "world  closed listener resets who still waited");
        stream_reset(stream);
    }
    link_remove(&place->link);
}

/* One of those that listen there: with SO_REUSEPORT chance decides. */
static struct place *place_find(struct world *world, const struct address *address) {
    struct place *found = NULL;
    uint64_t count = 0;
    list_for_each (link, &world->places) {
        struct place *place = container_of(link, struct place, link);
        if (place->listening && address_equal(&place->address, address) && random_below(&world->random, ++count) == 0) {
            found = place;
        }
    }
    return found;
}

/* --- connecting ----------------------------------------------------------------------------------------------------
 */

static void connect_end(struct connect *connect, int result, struct stream *stream) {
    connect->ended = true;
    connect->result = result;
    connect->stream = stream;
    connect->news(connect->holder);
}

static enum place_answer place_ask(const struct place *place) {
    if (place == NULL) {
        return PLACE_REFUSES;
    }
    enum place_answer answer = place->answer == NULL ? PLACE_ACCEPTS : place->answer(place->holder);
    return answer == PLACE_ACCEPTS && place->waiting_count > place->backlog ? PLACE_IGNORES : answer;
}

static void connect_wait(struct connect *connect) {
    struct world *world = connect->world;
    if (connect->impatient) {
        connect_end(connect, -EAGAIN, NULL);
    } else if (!address_is_unix(&connect->to) && world->now_ns - connect->started_ns >= connect_timeout_ns) {
        connect_end(connect, -ETIMEDOUT, NULL);
    } else {
        world_after(world, &connect->event, connect_again_ns);
    }
}

static void connect_fire(struct event *event) {
    struct connect *connect = container_of(event, struct connect, event);
    struct place *place = place_find(connect->world, &connect->to);
    switch (place_ask(place)) {
    case PLACE_ACCEPTS: {
        struct stream *stream = stream_connect(connect->world, &connect->from, &connect->to);
        list_append(&place->waiting, &stream->other->waiting);
        place->waiting_count++;
        connect_end(connect, 0, stream);
        place->news(place->holder);
        break;
    }
    case PLACE_REFUSES:
        connect_end(connect, -ECONNREFUSED, NULL);
        break;
    case PLACE_UNREACHABLE:
        connect_end(connect, -EHOSTUNREACH, NULL);
        break;
    case PLACE_IGNORES:
        connect_wait(connect);
        break;
    }
}

void connect_init(struct connect *connect, struct world *world, stream_news_fn *news, void *holder) {
    *connect = (struct connect){.world = world, .news = news, .holder = holder};
    event_init(&connect->event, connect_fire);
}

void connect_start(struct connect *connect, const struct address *to) {
    connect_start_after(connect, to, address_is_unix(to) ? 0 : world_latency_ns(connect->world));
}

void connect_start_after(struct connect *connect, const struct address *to, uint64_t delay_ns) {
    check(!connect->started || connect->ended);
    struct world *world = connect->world;
    connect->started = true;
    connect->ended = false;
    connect->from = address_unnamed(world, address_is_unix(to));
    connect->to = *to;
    connect->started_ns = world->now_ns;
    world_moved(world);
    world_after(world, &connect->event, delay_ns);
}

void connect_stop(struct connect *connect) {
    world_forget(connect->world, &connect->event);
}
