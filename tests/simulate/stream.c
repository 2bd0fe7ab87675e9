#include "stream.h"

#include "base/check.h"
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct connection {
    struct stream ends[2];
    uint32_t holds;
};

static void way_fire(struct event *event);
static void reset_fire(struct event *event);

static void way_init(struct way *way, struct world *world) {
    const struct world_options *options = &world->options;
    way->send_window = (uint32_t)random_between(&world->random, options->window_min, options->window_max);
    way->receive_window = (uint32_t)random_between(&world->random, options->window_min, options->window_max);
    event_init(&way->delivery, way_fire);
}

struct stream *stream_connect(struct world *world, const struct address *from, const struct address *to) {
    struct connection *connection = calloc(1, sizeof(*connection));
    check(connection != NULL);
    for (int i = 0; i < 2; i++) {
        struct stream *stream = &connection->ends[i];
        stream->world = world;
        stream->other = &connection->ends[1 - i];
        stream->local = address_is_unix(to);
        stream->address = i == 0 ? *from : *to;
        stream->read_ns = world->now_ns;
        stream->wrote_ns = world->now_ns;
        stream->changed_ns = world->now_ns;
        way_init(&stream->in, world);
        event_init(&stream->reset, reset_fire);
        link_init(&stream->waiting);
    }
    world->connections++;
    world_moved(world);
    return &connection->ends[0];
}

/* The ends lie beside each other; the first is the one that connected. */
static struct connection *connection_of(struct stream *stream) {
    return container_of(stream < stream->other ? stream : stream->other, struct connection, ends[0]);
}

static bool stream_is_over(const struct stream *stream) {
    return stream->closed && stream->other->closed;
}

/* Nothing moves any more once both ends are closed. */
static void connection_finish(struct connection *connection) {
    struct world *world = connection->ends[0].world;
    for (int i = 0; i < 2; i++) {
        struct stream *stream = &connection->ends[i];
        world_forget(world, &stream->in.delivery);
        world_forget(world, &stream->reset);
        free(stream->in.bytes);
        stream->in.bytes = NULL;
    }
    world->connections--;
    if (connection->holds == 0) {
        free(connection);
    }
}

static void stream_finish_if_over(struct stream *stream) {
    if (stream_is_over(stream)) {
        connection_finish(connection_of(stream));
    }
}

void stream_hold(struct stream *stream) {
    connection_of(stream)->holds++;
}

void stream_drop(struct stream *stream) {
    struct connection *connection = connection_of(stream);
    connection->holds--;
    if (connection->holds == 0 && stream_is_over(stream)) {
        free(connection);
    }
}

static void stream_tell(struct stream *stream) {
    stream->changed_ns = stream->world->now_ns;
    if (stream->news != NULL) {
        stream->news(stream->holder);
    }
}

/* --- ways ----------------------------------------------------------------------------------------------------------
 */

/* Nothing waits on its way between unix sockets, nor where the world has no latency. */
static bool way_is_instant(const struct stream *to) {
    return to->local || to->world->options.latency_us_max == 0;
}

static uint32_t way_room(const struct stream *to) {
    const struct way *way = &to->in;
    uint32_t used = to->local ? way->size : way->size - way->arrived;
    uint32_t window = to->local ? way->receive_window : way->send_window;
    return used < window ? window - used : 0;
}

static void way_grow(struct way *way, uint32_t size) {
    uint32_t capacity = way->capacity == 0 ? 1024 : way->capacity;
    while (capacity < size) {
        capacity *= 2;
    }
    if (capacity == way->capacity) {
        return;
    }
    char *bytes = malloc(capacity);
    check(bytes != NULL);
    uint32_t first = way->capacity - way->head < way->size ? way->capacity - way->head : way->size;
    if (way->size > 0) {
        memcpy(bytes, way->bytes + way->head, first);
        memcpy(bytes + first, way->bytes, way->size - first);
    }
    free(way->bytes);
    way->bytes = bytes;
    way->capacity = capacity;
    way->head = 0;
}

static void way_append(struct way *way, const char *bytes, uint32_t size) {
    way_grow(way, way->size + size);
    uint32_t tail = (way->head + way->size) & (way->capacity - 1);
    uint32_t first = way->capacity - tail < size ? way->capacity - tail : size;
    memcpy(way->bytes + tail, bytes, first);
    memcpy(way->bytes, bytes + first, size - first);
    way->size += size;
}

static void way_copy(const struct way *way, char *bytes, uint32_t size) {
    uint32_t first = way->capacity - way->head < size ? way->capacity - way->head : size;
    memcpy(bytes, way->bytes + way->head, first);
    memcpy(bytes + first, way->bytes, size - first);
}

static void way_take(struct way *way, char *bytes, uint32_t size) {
    way_copy(way, bytes, size);
    way->head = (way->head + size) & (way->capacity - 1);
    way->size -= size;
    way->arrived -= size;
}

static uint32_t way_deliverable(const struct stream *to) {
    const struct way *way = &to->in;
    uint32_t waiting = way->size - way->arrived;
    if (to->closed) {
        return waiting; /* the answer to bytes for a closed end is a RST, whatever its window was */
    }
    uint32_t room = to->local ? waiting : way->receive_window - way->arrived;
    return waiting < room ? waiting : room;
}

static void stream_answer_rst(struct stream *stream);

static void way_deliver(struct stream *to, uint32_t size) {
    struct way *way = &to->in;
    if (to->closed && size > 0) {
        stream_answer_rst(to);
        return;
    }
    way->arrived += size;
    if (way->fin && !way->fin_arrived && way->arrived == way->size) {
        way->fin_arrived = true;
        size++;
    }
    if (size > 0) {
        world_moved(to->world);
        stream_tell(to);
        stream_tell(to->other);
    }
}

/* Moves what can move, now or later. */
static void way_push(struct stream *to) {
    struct way *way = &to->in;
    uint32_t deliverable = way_deliverable(to);
    bool fin = way->fin && !way->fin_arrived && way->arrived + deliverable == way->size;
    if (to->dead || (deliverable == 0 && !fin) || event_is_set(&way->delivery)) {
        return;
    }
    if (way_is_instant(to)) {
        way_deliver(to, deliverable);
    } else {
        world_after(to->world, &way->delivery, world_latency_ns(to->world));
    }
}

static void way_fire(struct event *event) {
    struct stream *to = container_of(event, struct stream, in.delivery);
    way_deliver(to, world_part(to->world, way_deliverable(to)));
    way_push(to);
}

/* --- ends ----------------------------------------------------------------------------------------------------------
 */

static int stream_take_error(struct stream *stream) {
    int error = stream->error;
    stream->error = 0;
    return -error;
}

/* What a read says when no byte is there. */
static int64_t stream_read_nothing(struct stream *stream) {
    const struct way *way = &stream->in;
    /* A FIN that was received hides a later error, but not on unix sockets. */
    if (way->fin_arrived && !stream->local) {
        return 0;
    }
    if (stream->error != 0) {
        return stream_take_error(stream);
    }
    return way->fin_arrived || stream->dead ? 0 : -EAGAIN;
}

int64_t stream_peek(struct stream *stream, char *bytes, size_t size) {
    const struct way *way = &stream->in;
    uint32_t count = way->arrived < size ? way->arrived : (uint32_t)size;
    if (count == 0) {
        return stream_read_nothing(stream);
    }
    way_copy(way, bytes, count);
    return count;
}

int64_t stream_read(struct stream *stream, char *bytes, size_t size) {
    struct way *way = &stream->in;
    uint32_t count = way->arrived < size ? way->arrived : (uint32_t)size;
    if (count > 0) {
        way_take(way, bytes, count);
        uint32_t skipped = count < stream->preamble ? count : stream->preamble;
        stream->preamble -= skipped;
        stream->read += count - skipped;
        stream->read_ns = stream->world->now_ns;
        stream->changed_ns = stream->read_ns;
        world_moved(stream->world);
        if (stream->local) {
            stream_tell(stream->other);
        }
        way_push(stream);
        return count;
    }
    return stream_read_nothing(stream);
}

int64_t stream_write(struct stream *stream, const char *bytes, size_t size) {
    if (stream->error != 0 && !stream->local) {
        return stream_take_error(stream);
    }
    if (stream->shut || stream->dead) {
        return -EPIPE;
    }
    struct stream *to = stream->other;
    uint32_t room = way_room(to);
    uint32_t count = room < size ? room : (uint32_t)size;
    if (count == 0) {
        return -EAGAIN;
    }
    way_append(&to->in, bytes, count);
    stream->written += count;
    stream->wrote_ns = stream->world->now_ns;
    stream->changed_ns = stream->wrote_ns;
    world_moved(stream->world);
    if (stream->local) {
        to->in.arrived = to->in.size;
        stream_tell(to);
    } else {
        way_push(to);
    }
    return count;
}

uint32_t stream_readable(const struct stream *stream) {
    return stream->in.arrived;
}

uint32_t stream_writable(const struct stream *stream) {
    return stream->shut || stream->dead ? 0 : way_room(stream->other);
}

bool stream_poll_read(const struct stream *stream) {
    return stream->in.arrived > 0 || stream->in.fin_arrived || stream->dead || stream->error != 0;
}

bool stream_poll_write(const struct stream *stream) {
    const struct way *out = &stream->other->in;
    uint32_t window = stream->local ? out->receive_window : out->send_window;
    return stream->shut || stream->dead || stream->error != 0 || way_room(stream->other) >= (window + 2) / 3;
}

int stream_shutdown(struct stream *stream) {
    if (stream->dead && !stream->local) {
        return -ENOTCONN;
    }
    if (!stream->shut && !stream->dead) {
        stream->shut = true;
        stream->shut_ns = stream->world->now_ns;
        stream->other->in.fin = true;
        world_moved(stream->world);
        way_push(stream->other);
    }
    return 0;
}

uint32_t stream_unsent(const struct stream *stream) {
    const struct way *out = &stream->other->in;
    return stream->local ? out->size : out->size - out->arrived;
}

/* The connection is gone for this end; what arrived can still be read. */
static void stream_break(struct stream *stream, int error) {
    if (stream->dead || stream->closed) {
        return;
    }
    stream->error = error;
    stream->dead = true;
    stream->in.size = stream->in.arrived;
    world_forget(stream->world, &stream->in.delivery);
    world_moved(stream->world);
    stream_tell(stream);
}

static void reset_fire(struct event *event) {
    struct stream *stream = container_of(event, struct stream, reset);
    stream_break(stream, stream->in.fin_arrived ? EPIPE : ECONNRESET);
}

/* This end is closed and answers with a RST: what it had sent and had not arrived yet is lost. */
static void stream_answer_rst(struct stream *stream) {
    struct stream *other = stream->other;
    stream->dead = true;
    other->in.size = other->in.arrived;
    other->in.fin = other->in.fin_arrived;
    world_forget(stream->world, &other->in.delivery);
    world_forget(stream->world, &stream->in.delivery);
    if (other->closed || other->dead || event_is_set(&other->reset)) {
        return;
    }
    if (way_is_instant(other)) {
        reset_fire(&other->reset);
    } else {
        world_after(stream->world, &other->reset, world_latency_ns(stream->world));
    }
}

/* Unix sockets tell at once, and nothing that was written gets lost. */
static void stream_close_local(struct stream *stream) {
    struct stream *other = stream->other;
    other->error = stream->in.arrived > 0 ? ECONNRESET : other->error;
    stream->in.size = 0; /* what was never read is gone, and no longer unsent */
    stream->in.arrived = 0;
    other->in.fin_arrived = true;
    other->dead = true;
    stream_tell(other);
}

void stream_close(struct stream *stream) {
    check(!stream->closed);
    bool unread = stream->in.arrived > 0;
    stream->news = NULL;
    stream->closed = true;
    if (stream->local && !stream->other->closed) {
        stream_close_local(stream);
    } else if (!stream->local && !stream->dead && unread) {
        stream_answer_rst(stream);
    } else if (!stream->dead) {
        stream_shutdown(stream);
        way_push(stream); /* what is on its way meets a closed end */
    }
    world_moved(stream->world);
    stream_finish_if_over(stream);
}

void stream_reset(struct stream *stream) {
    check(!stream->closed);
    if (stream->local) {
        stream_close(stream);
        return;
    }
    stream->news = NULL;
    stream->closed = true;
    if (!stream->dead) {
        stream_answer_rst(stream);
    }
    world_moved(stream->world);
    stream_finish_if_over(stream);
}

void stream_fail(struct stream *stream, int error) {
    struct stream *other = stream->other;
    stream_break(stream, error);
    stream_break(other, error);
}
