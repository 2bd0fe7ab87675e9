/* The ring_* half of engine/ring.h on the world: requests wait for the world as they would in the kernel, complete in
 * any order that the kernel might choose, and every rule of ring.h is checked. */
#include "engine/ring.h"

#include "file.h"
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* A turn takes this long, so that time passes for who never sleeps. */
enum { TURN_NS = 1000 };

/* The longest that the kernel keeps the bytes of a zero-copy send. */
static const uint64_t kept_ns_max = (uint64_t)5 * 1000 * 1000 * 1000;

/* Turns and completions within a second in which nothing moved in the world, beyond which it is a spin. Each descriptor
 * may have a few for itself: timers that fire for nothing, requests that end and are started again. */
enum { IDLE_STEPS_MAX = 500, IDLE_STEPS_MAX_PER_FILE = 20 };

/* A receive may be asked for so often in vain. */
enum { INSISTENCE_MAX = 3 };
static const uint64_t idle_window_ns = (uint64_t)1000 * 1000 * 1000;

/* Nothing moved for so long, longer than any timeout in the simulated configurations: nothing ever will, though timers
 * go on firing. */
static const uint64_t hopeless_ns = (uint64_t)3600 * 1000 * 1000 * 1000;

enum request_kind {
    REQUEST_ACCEPT,
    REQUEST_CONNECT,
    REQUEST_RECEIVE,
    REQUEST_SEND,
    REQUEST_POLL_READ,
    REQUEST_POLL_WRITE,
    REQUEST_READ_EVENT
};

struct request {
    struct ring *ring;
    struct op *op;
    struct file *file; /* NULL: the kernel only keeps the bytes of a zero-copy send */
    int fd;
    enum request_kind kind;
    bool posted; /* `completion` is on its way */
    bool cancelled;
    uint32_t encores;  /* completions that a cancelled request still makes as if it were not */
    struct link link;  /* in file.requests */
    struct event step; /* tries, or delivers what is posted */
    struct completion completion;
    bool multishot;               /* of an accept */
    uint64_t limit;               /* of a receive: what is left of it */
    struct ring_message *message; /* of a send */
    size_t reads;                 /* of a send: its first bytes that the kernel still reads, */
    uint64_t digest;              /* and their fingerprint */
    bool zero_copy;
    uint64_t *value; /* of reading an event */
};

enum buffer_state { BUFFER_FREE, BUFFER_OUT };

struct receive_buffer {
    enum buffer_state state;
    bool has_after; /* `after` was filled by the same completion, and neither was given back */
    uint16_t after;
    uint32_t size;     /* bytes in it */
    uint32_t capacity; /* bytes that it could have taken */
};

struct ring {
    struct world *world;
    struct ring_options options;
    struct ring_features features;
    struct ring_counters counters;
    char *memory;                   /* ours */
    struct receive_buffer *buffers; /* ours */
    uint16_t *free;                 /* ours; a circle: the kernel takes buffers in the order in which they were given */
    uint32_t free_first;
    uint32_t free_count;
    uint64_t given_count; /* buffers given back, in all */
    uint32_t requests_count;
    struct list kept;      /* zero-copy sends that were sent, and whose bytes the kernel still reads */
    struct request *spare; /* ours: one that may be used again; its op points to the next */
    bool delivered;        /* in this turn */
};

static const char *request_name(const struct request *request) {
    switch (request->kind) {
    case REQUEST_ACCEPT:
        return "accept";
    case REQUEST_CONNECT:
        return "connect";
    case REQUEST_RECEIVE:
        return "recv";
    case REQUEST_SEND:
        return request->zero_copy ? "send (zero copy)" : "send";
    case REQUEST_POLL_READ:
        return "poll for reading";
    case REQUEST_POLL_WRITE:
        return "poll for writing";
    case REQUEST_READ_EVENT:
        return "read event";
    }
    return "?";
}

static void request_unlink(struct request *request);
static void request_give(struct request *request);

/* --- making one ----------------------------------------------------------------------------------------------------
 */

bool ring_probe(struct ring_features *features, struct error *error) {
    (void)error;
    *features = world_here()->options.features;
    return true;
}

struct ring *ring_create(const struct ring_options *options, struct error *error) {
    (void)error;
    struct world *world = world_here();
    struct ring *ring = calloc(1, sizeof(*ring));
    check(ring != NULL);
    *ring = (struct ring){.world = world, .options = *options, .features = world->options.features};
    uint32_t buffers_max = world->options.buffers_max;
    ring->options.buffers_count =
        buffers_max > 0 && buffers_max < options->buffers_count ? buffers_max : options->buffers_count;
    ring->memory = malloc((size_t)ring->options.buffers_count * ring->options.buffer_size);
    ring->buffers = calloc(ring->options.buffers_count, sizeof(ring->buffers[0]));
    ring->free = calloc(ring->options.buffers_count, sizeof(ring->free[0]));
    check(ring->memory != NULL && ring->buffers != NULL && ring->free != NULL);
    for (uint32_t i = 0; i < ring->options.buffers_count; i++) {
        ring->free[i] = (uint16_t)i;
    }
    ring->free_count = ring->options.buffers_count;
    list_init(&ring->kept);
    world->counts.rings++;
    return ring;
}

/* Zero-copy sends may still be read: the kernel needs nobody for that. */
static void ring_forget_kept(struct ring *ring) {
    list_for_each (link, &ring->kept) {
        struct request *request = container_of(link, struct request, link);
        world_forget(ring->world, &request->step);
        request_unlink(request);
        request_give(request);
    }
}

void ring_destroy(struct ring *ring) {
    if (ring == NULL) {
        return;
    }
    ring_forget_kept(ring);
    if (ring->requests_count > 0) {
        world_violation("ring_destroy: %u requests are in flight", ring->requests_count);
    }
    while (ring->spare != NULL) {
        struct request *request = ring->spare;
        ring->spare = (struct request *)(void *)request->op;
        free(request);
    }
    ring->world->counts.rings--;
    free(ring->free);
    free(ring->buffers);
    free(ring->memory);
    free(ring);
}

const struct ring_features *ring_features(const struct ring *ring) {
    return &ring->features;
}

const struct ring_counters *ring_counters(const struct ring *ring) {
    return &ring->counters;
}

/* --- buffers -------------------------------------------------------------------------------------------------------
 */

static struct receive_buffer *buffer_out(const struct ring *ring, uint16_t buffer, const char *caller) {
    if (buffer >= ring->options.buffers_count) {
        world_violation("%s: there is no buffer %u", caller, buffer);
    }
    if (ring->buffers[buffer].state != BUFFER_OUT) {
        world_violation("%s: buffer %u is the kernel's: it was given back", caller, buffer);
    }
    return &ring->buffers[buffer];
}

char *ring_buffer_bytes(struct ring *ring, uint16_t buffer) {
    buffer_out(ring, buffer, __func__);
    return ring->memory + (size_t)buffer * ring->options.buffer_size;
}

uint32_t ring_buffer_size(const struct ring *ring, uint16_t buffer) {
    return buffer_out(ring, buffer, __func__)->capacity;
}

uint16_t ring_buffer_after(const struct ring *ring, uint16_t buffer) {
    struct receive_buffer *first = buffer_out(ring, buffer, __func__);
    if (!first->has_after) {
        world_violation("%s: no buffer was filled after %u in one completion", __func__, buffer);
    }
    buffer_out(ring, first->after, __func__);
    return first->after;
}

/* What was in the buffer is spoiled: who still reads it shall be found. */
void ring_buffer_give(struct ring *ring, uint16_t buffer) {
    struct receive_buffer *given = buffer_out(ring, buffer, __func__);
    memset(ring_buffer_bytes(ring, buffer), 0xdb, given->size);
    *given = (struct receive_buffer){.state = BUFFER_FREE};
    ring->free[(ring->free_first + ring->free_count) % ring->options.buffers_count] = buffer;
    ring->free_count++;
    ring->given_count++;
    ring->world->counts.buffers_out--;
    world_trace(ring->world, "buffer %u given back, %u free", buffer, ring->free_count);
}

uint32_t ring_buffers_free(const struct ring *ring) {
    return ring->free_count;
}

static uint16_t buffer_take(struct ring *ring) {
    uint16_t buffer = ring->free[ring->free_first];
    ring->free_first = (ring->free_first + 1) % ring->options.buffers_count;
    ring->free_count--;
    ring->buffers[buffer].state = BUFFER_OUT;
    ring->world->counts.buffers_out++;
    return buffer;
}

/* --- starting ------------------------------------------------------------------------------------------------------
 */

static void request_step(struct event *event);

static struct request *request_take(struct ring *ring) {
    struct request *request = ring->spare;
    if (request == NULL) {
        request = malloc(sizeof(*request));
        check(request != NULL);
    } else {
        ring->spare = (struct request *)(void *)request->op;
    }
    *request = (struct request){.ring = ring};
    return request;
}

static void request_give(struct request *request) {
    struct ring *ring = request->ring;
    request->op = (struct op *)(void *)ring->spare;
    ring->spare = request;
}

/* The kernel would mix up two of them: neither says which bytes come first. */
static void refuse_second(const struct request *request) {
    bool twice = (request->kind == REQUEST_SEND && file_is_sending(request->file)) ||
                 (request->kind == REQUEST_RECEIVE && file_is_receiving(request->file));
    if (twice) {
        world_violation("ring_%s: another is in flight on fd %d: the order of the bytes is lost", request_name(request),
                        request->file->fd);
    }
}

static struct request *request_start(struct ring *ring, struct op *op, struct file *file, enum request_kind kind) {
    struct world *world = ring->world;
    struct request *request = request_take(ring);
    request->op = op;
    request->file = file;
    request->fd = file->fd;
    request->kind = kind;
    if (op->in_flight) {
        world_violation("%s on fd %d: the op is in flight already", request_name(request), file->fd);
    }
    if (op_owner(op)->closing) {
        world_violation("%s on fd %d: started by an owner that is closing", request_name(request), file->fd);
    }
    refuse_second(request);
    op->in_flight = true;
    op->kind = (uint8_t)kind;
    op->kept = file->fd; /* to find it again */
    owner_hold(op_owner(op));
    ring->requests_count++;
    ring->counters.submissions++;
    world->counts.requests++;
    world->requests_started++;
    list_append(&file->requests, &request->link);
    file->requests_count++;
    event_init(&request->step, request_step);
    world_after(world, &request->step, TURN_NS + world_delay_ns(world)); /* handed over by the next turn */
    return request;
}

void ring_accept(struct ring *ring, struct op *op, int fd, bool multishot) {
    world_trace(ring->world, "start  accept fd %d%s", fd, multishot ? ", multishot" : "");
    struct file *file = file_get_kind(ring->world, fd, FILE_LISTENER, __func__);
    request_start(ring, op, file, REQUEST_ACCEPT)->multishot = multishot;
}

void ring_connect(struct ring *ring, struct op *op, int fd, const struct address *address) {
    world_trace(ring->world, "start  connect fd %d", fd);
    struct file *file = file_get_kind(ring->world, fd, FILE_SOCKET, __func__);
    if (file->stream != NULL || (file->connect.started && !file->connect.ended)) {
        world_violation("%s: socket %d is connected, or connecting", __func__, fd);
    }
    request_start(ring, op, file, REQUEST_CONNECT);
    file->connect.impatient = file->nonblocking && address_is_unix(address);
    connect_start(&file->connect, address);
}

/* Who was told that there is no buffer has to wait until one was given back. */
static void refuse_insistence(const struct ring *ring, struct file *file) {
    if (ring->free_count > 0 || file->refused_at != ring->given_count) {
        file->refused_times = 0;
    } else if (++file->refused_times > INSISTENCE_MAX) {
        world_violation("ring_recv(%d): a spin: asks again %u times though no buffer was given back", file->fd,
                        file->refused_times);
    }
}

void ring_recv(struct ring *ring, struct op *op, int fd, size_t limit) {
    struct world *world = ring->world;
    world_trace(world, "start  recv fd %d, at most %zu bytes", fd, limit);
    if (limit == 0 || (world->options.receive_max > 0 && limit > world->options.receive_max)) {
        world_violation("%s(%d): a limit of %zu bytes, allowed is 1 to %u", __func__, fd, limit,
                        world->options.receive_max);
    }
    struct file *file = file_get_kind(world, fd, FILE_SOCKET, __func__);
    refuse_insistence(ring, file);
    request_start(ring, op, file, REQUEST_RECEIVE)->limit = limit;
}

static uint64_t bytes_digest(uint64_t digest, const char *bytes, size_t size) {
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), bytes += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes, sizeof(word));
        digest = (random_rotated(digest, 5) ^ word) * 0x9e3779b97f4a7c15U;
    }
    for (; size > 0; size--, bytes++) {
        digest = (random_rotated(digest, 5) ^ (unsigned char)*bytes) * 0x9e3779b97f4a7c15U;
    }
    return digest;
}

static bool is_buffer(const struct ring *ring, const char *bytes) {
    return bytes >= ring->memory &&
           bytes < ring->memory + (size_t)ring->options.buffers_count * ring->options.buffer_size;
}

/* A fingerprint of what the kernel still reads of a send. All of it must be the engine's. */
static uint64_t send_digest(const struct request *request) {
    const struct ring *ring = request->ring;
    size_t left = request->reads;
    uint64_t digest = left;
    for (uint32_t i = 0; left > 0; i++) {
        const char *bytes = request->message->iovecs[i].iov_base;
        size_t size = request->message->iovecs[i].iov_len < left ? request->message->iovecs[i].iov_len : left;
        if (is_buffer(ring, bytes)) {
            uint16_t buffer = (uint16_t)((size_t)(bytes - ring->memory) / ring->options.buffer_size);
            if (ring->buffers[buffer].state != BUFFER_OUT) {
                world_violation("send on fd %d points into buffer %u, which was given back", request->fd, buffer);
            }
        }
        digest = bytes_digest(digest, bytes, size);
        left -= size;
    }
    return digest;
}

static size_t message_size(const struct ring_message *message) {
    size_t size = 0;
    for (uint32_t i = 0; i < message->count; i++) {
        size += message->iovecs[i].iov_len;
    }
    return size;
}

static size_t message_copied(const struct ring *ring, const struct ring_message *message) {
    size_t size = 0;
    for (uint32_t i = 0; i < message->count; i++) {
        size += is_buffer(ring, message->iovecs[i].iov_base) ? 0 : message->iovecs[i].iov_len;
    }
    return size;
}

void ring_send(struct ring *ring, struct op *op, int fd, struct ring_message *message, bool zero_copy) {
    world_trace(ring->world, "start  send fd %d, %zu bytes", fd, message_size(message));
    if (message->count < 1 || message->count > RING_SEND_MAX || message_size(message) == 0) {
        world_violation("%s(%d): %u iovecs of %zu bytes", __func__, fd, message->count, message_size(message));
    }
    struct file *file = file_get_kind(ring->world, fd, FILE_SOCKET, __func__);
    struct request *request = request_start(ring, op, file, REQUEST_SEND);
    request->message = message;
    request->zero_copy = zero_copy && ring->features.send_zero_copy;
    request->reads = message_size(message);
    request->digest = send_digest(request);
    ring->world->copied_bytes += message_copied(ring, message);
}

void ring_poll(struct ring *ring, struct op *op, int fd, enum ring_poll_events events) {
    world_trace(ring->world, "start  poll fd %d for %s", fd, events == RING_POLL_READ ? "reading" : "writing");
    struct file *file = file_get(ring->world, fd, __func__);
    request_start(ring, op, file, events == RING_POLL_READ ? REQUEST_POLL_READ : REQUEST_POLL_WRITE);
}

void ring_read_event(struct ring *ring, struct op *op, int fd, uint64_t *value) {
    struct file *file = file_get_kind(ring->world, fd, FILE_EVENT, __func__);
    request_start(ring, op, file, REQUEST_READ_EVENT)->value = value;
}

/* A send never waits, so it is done before a cancel could find it. The same holds for what is posted. */
static bool request_can_be_cancelled(const struct request *request) {
    return request->kind != REQUEST_SEND && !request->cancelled && (!request->posted || request->completion.more);
}

static struct request *request_of(struct file *file, const struct op *op) {
    list_for_each (link, &file->requests) {
        struct request *request = container_of(link, struct request, link);
        if (request->op == op) {
            return request;
        }
    }
    return NULL;
}

void ring_cancel(struct ring *ring, struct op *op) {
    struct world *world = ring->world;
    check(op->in_flight);
    struct request *request = request_of(file_get(world, op->kept, __func__), op);
    bool found = request != NULL && request_can_be_cancelled(request);
    world_trace(world, "start  cancel on fd %d: %s", op->kept, found ? "finds it" : "too late");
    ring->counters.submissions++;
    if (found) {
        request->cancelled = true;
        request->encores = world_chance(world, world->options.late_chance) ? 1 : 0;
        if (!request->posted) {
            world_after(world, &request->step, TURN_NS + world_delay_ns(world));
        }
    }
}

/* --- files and their requests --------------------------------------------------------------------------------------
 */

static bool file_has(struct file *file, enum request_kind kind) {
    list_for_each (link, &file->requests) {
        if (container_of(link, struct request, link)->kind == kind) {
            return true;
        }
    }
    return false;
}

bool file_is_sending(struct file *file) {
    return file_has(file, REQUEST_SEND);
}

bool file_is_receiving(struct file *file) {
    return file_has(file, REQUEST_RECEIVE);
}

static bool request_is_ready(const struct request *request) {
    const struct file *file = request->file;
    switch (request->kind) {
    case REQUEST_ACCEPT:
        return file->place.waiting_count > 0;
    case REQUEST_CONNECT:
        return file->connect.ended;
    case REQUEST_RECEIVE:
        return file->stream == NULL || stream_poll_read(file->stream);
    case REQUEST_POLL_READ:
        return file->stream == NULL || stream_poll_read(file->stream);
    case REQUEST_POLL_WRITE:
        return file->stream == NULL || stream_poll_write(file->stream);
    case REQUEST_READ_EVENT:
        return file->signals > 0;
    case REQUEST_SEND:
        return true;
    }
    return true;
}

static void request_wake(struct request *request) {
    struct world *world = request->ring->world;
    if (!request->posted && !event_is_set(&request->step) && (request->cancelled || request_is_ready(request))) {
        world_after(world, &request->step, world_delay_ns(world));
    }
}

void file_news(void *holder) {
    struct file *file = holder;
    list_for_each (link, &file->requests) {
        request_wake(container_of(link, struct request, link));
    }
}

/* The descriptor is free of it. */
static void request_leave_file(struct request *request) {
    link_remove(&request->link);
    request->file->requests_count--;
    request->file = NULL;
}

static void request_unlink(struct request *request) {
    if (request->file != NULL) {
        request_leave_file(request);
    }
    link_remove(&request->link);
    request->ring->requests_count--;
    request->ring->world->counts.requests--;
}

void file_forget_requests(struct file *file) {
    list_for_each (link, &file->requests) {
        struct request *request = container_of(link, struct request, link);
        world_forget(file->world, &request->step);
        request_unlink(request);
        free(request);
    }
}

/* --- completing ----------------------------------------------------------------------------------------------------
 */

/* Completions of one descriptor come in the order in which they were made: else a send that was told why the connection
 * broke could be overtaken by a receive that then finds its end. */
static uint64_t post_delay_ns(struct request *request) {
    struct world *world = request->ring->world;
    struct file *file = request->file;
    uint64_t delay_ns = world_delay_ns(world);
    if (world->now_ns + delay_ns <= file->posted_ns) {
        delay_ns = file->posted_ns + 1 - world->now_ns;
    }
    file->posted_ns = world->now_ns + delay_ns;
    return delay_ns;
}

/* The completion is made; it is delivered now or later. */
static void request_post(struct request *request, int result, bool more) {
    request->posted = true;
    request->completion.result = result;
    request->completion.more = more;
    world_after(request->ring->world, &request->step, post_delay_ns(request));
}

/* A zero-copy send has told its result, be it an error. The kernel lets go of the bytes that it took when they were
 * acknowledged, which a slow peer may put off, whatever becomes of the descriptor. */
static void request_keep(struct request *request, int sent) {
    struct world *world = request->ring->world;
    request->reads = sent > 0 ? (size_t)sent : 0;
    request->digest = send_digest(request);
    request_leave_file(request);
    list_append(&request->ring->kept, &request->link);
    request->posted = true;
    uint64_t patience_ns = world_chance(world, world->options.delay_chance) ? kept_ns_max : 1;
    world_after(world, &request->step, world_latency_ns(world) + random_below(&world->random, patience_ns));
}

static void request_deliver(struct request *request) {
    struct ring *ring = request->ring;
    struct op *op = request->op;
    struct completion completion = request->completion;
    world_trace(ring->world, "done   %s fd %d: %d%s", request_name(request), request->fd, completion.result,
                completion.more ? ", more" : "");
    if (request->kind == REQUEST_SEND && send_digest(request) != request->digest) {
        world_violation("send on fd %d: the bytes changed before it completed", request->fd);
    }
    ring->delivered = true;
    ring->counters.completions++;
    ring->counters.no_buffers += completion.result == -ENOBUFS ? 1 : 0;
    ring->world->idle_completions++;
    if (request->file == NULL) {
        world_moved(ring->world); /* the peer has bytes that were sent before */
    }
    request->posted = false;
    request->completion = (struct completion){0};
    if (completion.more && request->kind == REQUEST_SEND) {
        request_keep(request, completion.result);
        op->done(op, &completion);
        return;
    }
    if (completion.more) {
        op->done(op, &completion);
        request_wake(request);
        return;
    }
    request_unlink(request);
    request_give(request);
    struct owner *owner = op_owner(op);
    op->in_flight = false;
    op->done(op, &completion);
    owner_drop(owner);
}

/* Whether a request that could go on does. */
static bool request_goes_on(const struct request *request) {
    struct world *world = request->ring->world;
    return !request->cancelled && !world_chance(world, world->options.end_chance);
}

static void accept_try(struct request *request) {
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ECONNABORTED, EINTR};
    struct world *world = request->ring->world;
    struct file *file = request->file;
    if (file->place.waiting_count > 0 && world_chance(world, world->options.accept_error_chance)) {
        request_post(request, -errors[random_below(&world->random, sizeof(errors) / sizeof(errors[0]))], false);
        return;
    }
    struct stream *stream = place_accept(&file->place);
    if (stream != NULL) {
        request_post(request, file_open_stream(world, stream)->fd, request->multishot && request_goes_on(request));
    }
}

static bool receives_bundles(const struct ring *ring) {
    return ring->features.recv_limit && ring->features.recv_bundle;
}

/* How many bytes one completion brings at the most. */
static uint32_t receive_size(const struct request *request) {
    struct ring *ring = request->ring;
    uint64_t most = (uint64_t)ring->options.buffer_size * (receives_bundles(ring) ? ring->free_count : 1);
    most = most < request->limit ? most : request->limit;
    uint32_t size = stream_readable(request->file->stream);
    return world_part(ring->world, size < most ? size : (uint32_t)most);
}

/* The kernel may have cut the buffers of a bundle to some limit. */
static uint16_t receive_into_buffer(struct request *request, uint32_t size) {
    struct ring *ring = request->ring;
    uint16_t buffer = buffer_take(ring);
    struct receive_buffer *filled = &ring->buffers[buffer];
    filled->capacity =
        receives_bundles(ring) ? world_part(ring->world, ring->options.buffer_size) : ring->options.buffer_size;
    filled->size = size < filled->capacity ? size : filled->capacity;
    int64_t count = stream_read(request->file->stream, ring_buffer_bytes(ring, buffer), filled->size);
    check(count == filled->size);
    return buffer;
}

/* Fills buffers with up to `size` bytes of the stream. Returns the bytes. */
static uint32_t receive_into_buffers(struct request *request, uint32_t size) {
    struct ring *ring = request->ring;
    uint32_t done = 0;
    uint16_t previous = 0;
    while (done < size && ring->free_count > 0) {
        uint16_t buffer = receive_into_buffer(request, size - done);
        if (done == 0) {
            request->completion.buffer = buffer;
            request->completion.has_buffer = true;
        } else {
            ring->buffers[previous].has_after = true;
            ring->buffers[previous].after = buffer;
        }
        previous = buffer;
        done += ring->buffers[buffer].size;
    }
    return done;
}

/* A receive that all free buffers together could not satisfy ends with its first bytes, as every single-shot one. */
static void receive_bytes(struct request *request) {
    struct ring *ring = request->ring;
    bool lives = ring->features.recv_limit && request->limit <= (uint64_t)ring->options.buffer_size * ring->free_count;
    uint32_t size = receive_into_buffers(request, receive_size(request));
    request->limit -= size;
    request_post(request, (int)size, lives && request->limit > 0 && request_goes_on(request));
}

/* The kernel looks for a buffer before it looks whether there is something to receive. */
static void receive_try(struct request *request) {
    struct world *world = request->ring->world;
    struct stream *stream = request->file->stream;
    if (request->ring->free_count == 0 || world_chance(world, world->options.no_buffers_chance)) {
        request->file->refused_at = request->ring->given_count;
        request_post(request, -ENOBUFS, false);
    } else if (stream == NULL) {
        request_post(request, -ENOTCONN, false);
    } else if (stream_readable(stream) > 0) {
        receive_bytes(request);
    } else if (stream_poll_read(stream)) {
        char nothing;
        request_post(request, (int)stream_read(stream, &nothing, sizeof(nothing)), false);
    } else if (request->file->nonblocking && world_chance(world, world->options.refuse_chance)) {
        request_post(request, -EAGAIN, false); /* this kernel waits there too; older ones need not */
    }
}

static void send_try(struct request *request) {
    struct world *world = request->ring->world;
    struct stream *stream = request->file->stream;
    if (stream == NULL) {
        request_post(request, -ENOTCONN, false);
        return;
    }
    if (stream->local && request->zero_copy) {
        request_post(request, -EOPNOTSUPP, true);
        return;
    }
    if (world_chance(world, world->options.refuse_chance)) {
        request_post(request, -EAGAIN, request->zero_copy);
        return;
    }
    uint32_t wanted = world_part(world, (uint32_t)message_size(request->message));
    int64_t result = 0;
    int64_t sent = 0;
    for (uint32_t i = 0; wanted > 0 && i < request->message->count; i++) {
        size_t size = request->message->iovecs[i].iov_len;
        size = size < wanted ? size : wanted;
        result = stream_write(stream, request->message->iovecs[i].iov_base, size);
        sent += result > 0 ? result : 0;
        wanted -= result > 0 ? (uint32_t)result : 0;
        if (result < (int64_t)size || stream->dead) {
            break; /* what broke it meanwhile is for the next send to hear */
        }
    }
    request_post(request, sent > 0 ? (int)sent : (int)result, request->zero_copy);
}

static void poll_try(struct request *request) {
    if (request_is_ready(request)) {
        request_post(request, request->kind == REQUEST_POLL_READ ? POLLIN : POLLOUT, false);
    }
}

static void read_event_try(struct request *request) {
    struct file *file = request->file;
    if (file->signals > 0) {
        *request->value = file->signals;
        file->signals = 0;
        request_post(request, (int)sizeof(*request->value), false);
    }
}

static void request_try(struct request *request) {
    switch (request->kind) {
    case REQUEST_ACCEPT:
        accept_try(request);
        return;
    case REQUEST_CONNECT:
        if (request->file->connect.ended) {
            request_post(request, request->file->connect.result, false);
        }
        return;
    case REQUEST_RECEIVE:
        receive_try(request);
        return;
    case REQUEST_SEND:
        send_try(request);
        return;
    case REQUEST_POLL_READ:
    case REQUEST_POLL_WRITE:
        poll_try(request);
        return;
    case REQUEST_READ_EVENT:
        read_event_try(request);
        return;
    }
}

static void request_step(struct event *event) {
    struct request *request = container_of(event, struct request, step);
    if (request->posted) {
        request_deliver(request);
    } else if (request->cancelled && (request->encores == 0 || !request_is_ready(request))) {
        request_post(request, -ECANCELED, false);
    } else {
        request->encores -= request->encores > 0 ? 1 : 0;
        request_try(request);
    }
}

/* --- turning -------------------------------------------------------------------------------------------------------
 */

static void refuse_spin(struct ring *ring) {
    struct world *world = ring->world;
    uint64_t files = (uint64_t)world->counts.sockets + world->counts.listeners + world->counts.pipe_ends;
    uint64_t allowed = IDLE_STEPS_MAX + IDLE_STEPS_MAX_PER_FILE * files;
    if (world->now_ns - world->moved_ns > hopeless_ns && schedule_first(&world->schedule) == NULL) {
        world_violation("ring_run: turns for ever: nothing has moved for an hour, and nothing is left that could");
    }
    if (world->idle_turns > allowed || world->idle_completions > allowed) {
        world_violation("ring_run: a spin: %llu turns and %llu completions without a byte, a connection or its end",
                        (unsigned long long)world->idle_turns, (unsigned long long)world->idle_completions);
    }
}

/* Nothing more happens at this instant: goes on to the next. False when the turn is over. */
static bool turn_waits(struct ring *ring, uint64_t deadline_ns) {
    struct world *world = ring->world;
    struct event *event = schedule_first(&world->schedule);
    if (ring->delivered || world->now_ns >= deadline_ns) {
        return false;
    }
    if (event == NULL && deadline_ns == UINT64_MAX) {
        world_violation("ring_run: sleeps for ever: nothing is left that could happen, with %u requests in flight",
                        world->counts.requests);
    }
    world->now_ns = event != NULL && event->time_ns < deadline_ns ? event->time_ns : deadline_ns;
    return true;
}

void ring_expect_more(struct ring *ring, uint64_t bytes) {
    (void)ring;
    (void)bytes; /* the world's time does not pass while somebody looks for work */
}

void ring_run(struct ring *ring, uint64_t timeout_us, uint64_t *now_us) {
    struct world *world = ring->world;
    uint64_t deadline_ns =
        timeout_us >= UINT64_MAX / 1000 - world->now_ns ? UINT64_MAX : world->now_ns + timeout_us * 1000;
    ring->counters.turns++;
    ring->counters.system_calls++;
    if (world->now_ns - world->idle_since_ns > idle_window_ns) {
        world->idle_since_ns = world->now_ns;
        world->idle_turns = 0;
        world->idle_completions = 0;
    }
    world->idle_turns++;
    refuse_spin(ring);
    ring->delivered = false;
    *now_us = world->now_ns / 1000;
    for (;;) {
        struct event *event = schedule_first(&world->schedule);
        if (event != NULL && event->time_ns <= world->now_ns) {
            world_forget(world, event);
            event->fire(event);
        } else if (turn_waits(ring, deadline_ns)) {
            *now_us = world->now_ns / 1000;
        } else {
            break;
        }
    }
    world->now_ns += TURN_NS;
}
