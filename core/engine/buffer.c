#include "engine/buffer.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLAB_CHUNK = 64 * 1024,
    HEAP_MIN = 128, /* a heap buffer has room for so much: many small pieces would else cost more than they bring */
    EVACUATION_MIN = 4096, /* a heap slice that is shorter is copied with what comes after it */
    FRAGMENTS_MAX = 16,    /* more pieces than that, */
    FRAGMENT_MIN = 256,    /* shorter than that on average, are copied to one */
};

bool buffers_init(struct buffers *buffers, struct ring *ring, uint32_t count) {
    *buffers = (struct buffers){.ring = ring, .count = count};
    slab_init(&buffers->slices, sizeof(struct slice), SLAB_CHUNK);
    slab_init(&buffers->messages, sizeof(struct ring_message), SLAB_CHUNK);
    list_init(&buffers->starved);
    list_init(&buffers->blocked);
    buffers->of_ring = calloc(count, sizeof *buffers->of_ring);
    if (buffers->of_ring == NULL) {
        return false;
    }
    for (uint32_t id = 0; id < count; id++) {
        buffers->of_ring[id].ring_id = (uint16_t)id;
    }
    return true;
}

void buffers_finish(struct buffers *buffers) {
    check(list_is_empty(&buffers->starved));
    check(list_is_empty(&buffers->blocked));
    check(buffers->heap_bytes == 0);
    slab_finish(&buffers->messages);
    slab_finish(&buffers->slices);
    free(buffers->of_ring);
}

bool buffers_are_scarce(const struct buffers *buffers) {
    return ring_buffers_free(buffers->ring) < buffers->count / 4;
}

uint32_t buffers_in_use(const struct buffers *buffers) {
    return buffers->count - ring_buffers_free(buffers->ring);
}

/* A heap buffer's bytes lie behind it. */
static char *heap_bytes(struct buffer *buffer) {
    return (char *)(buffer + 1);
}

static void buffer_drop(struct buffers *buffers, struct buffer *buffer) {
    check(buffer->references > 0);
    buffer->references--;
    if (buffer->references > 0) {
        return;
    }
    if (buffer->is_heap) {
        free(buffer);
    } else {
        ring_buffer_give(buffers->ring, buffer->ring_id);
    }
}

void queue_init(struct queue *queue) {
    *queue = (struct queue){.first = NULL};
}

static void queue_append(struct queue *queue, struct slice *slice) {
    slice->next = NULL;
    if (queue->last == NULL) {
        queue->first = slice;
    } else {
        queue->last->next = slice;
    }
    queue->last = slice;
    queue->bytes += slice->size;
    queue->count++;
}

/* Slices come from a slab that grows; the receive's limit bounds how far. Without memory for one the process is lost
 * anyway: the bytes could neither be kept nor be given up without breaking a stream. */
static struct slice *slice_take(struct buffers *buffers) {
    struct slice *slice = slab_take(&buffers->slices);
    check(slice != NULL);
    return slice;
}

void queue_receive(struct queue *queue, struct buffers *buffers, const struct completion *completion) {
    uint32_t left = (uint32_t)completion->result;
    uint16_t id = completion->buffer;
    for (;;) {
        struct slice *slice = slice_take(buffers);
        slice->buffer = &buffers->of_ring[id];
        check(slice->buffer->references == 0);
        slice->buffer->references = 1;
        slice->start = ring_buffer_bytes(buffers->ring, id);
        uint32_t size = ring_buffer_size(buffers->ring, id);
        slice->size = left < size ? left : size;
        queue_append(queue, slice);
        left -= slice->size;
        if (left == 0) {
            return;
        }
        id = ring_buffer_after(buffers->ring, id);
    }
}

static struct slice *queue_take_first(struct queue *queue) {
    struct slice *slice = queue->first;
    queue->first = slice->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    queue->bytes -= slice->size;
    queue->count--;
    return slice;
}

static void queue_drop_first(struct queue *queue, struct buffers *buffers) {
    struct slice *slice = queue_take_first(queue);
    if (slice->buffer->is_heap) {
        buffers->heap_bytes -= slice->size;
    }
    buffer_drop(buffers, slice->buffer);
    slab_give(&buffers->slices, slice);
}

void queue_consume(struct queue *queue, struct buffers *buffers, size_t size) {
    check(size <= queue->bytes);
    while (queue->first != NULL && size >= queue->first->size) {
        size -= queue->first->size;
        queue_drop_first(queue, buffers);
    }
    if (size > 0) {
        queue->first->start += size;
        queue->first->size -= (uint32_t)size;
        queue->bytes -= (uint32_t)size;
        if (queue->first->buffer->is_heap) {
            buffers->heap_bytes -= size;
        }
    }
}

/* Another slice of the same buffer. */
static struct slice *slice_share(struct buffers *buffers, const struct slice *of, uint32_t size) {
    struct slice *slice = slice_take(buffers);
    *slice = (struct slice){.buffer = of->buffer, .start = of->start, .size = size};
    slice->buffer->references++;
    return slice;
}

/* A slice of the first `size` bytes of the queue's first, which keeps the rest. */
static struct slice *queue_cut_first(struct queue *queue, struct buffers *buffers, uint32_t size) {
    struct slice *rest = queue->first;
    struct slice *cut = slice_share(buffers, rest, size);
    rest->start += size;
    rest->size -= size;
    queue->bytes -= size;
    return cut;
}

/* Bytes that lie behind each other become one slice again: a filter that passes a buffer in small pieces costs one
 * slice. Returns how many of the `size` bytes were moved so. */
static uint32_t queue_extend_last(struct queue *to, struct queue *from, struct buffers *buffers, size_t size) {
    struct slice *last = to->last;
    struct slice *first = from->first;
    if (last == NULL || last->buffer != first->buffer || last->start + last->size != first->start) {
        return 0;
    }
    uint32_t more = size < first->size ? (uint32_t)size : first->size;
    last->size += more;
    to->bytes += more;
    first->start += more;
    first->size -= more;
    from->bytes -= more;
    if (first->size == 0) {
        slab_give(&buffers->slices, queue_take_first(from));
        check(last->buffer->references > 1);
        last->buffer->references--;
    }
    return more;
}

void queue_move(struct queue *queue, struct buffers *buffers, size_t size, struct queue *to) {
    check(size <= queue->bytes);
    while (size > 0) {
        uint32_t extended = queue_extend_last(to, queue, buffers, size);
        if (extended > 0) {
            size -= extended;
            continue;
        }
        bool whole = size >= queue->first->size;
        struct slice *slice = whole ? queue_take_first(queue) : queue_cut_first(queue, buffers, (uint32_t)size);
        size -= slice->size;
        queue_append(to, slice);
    }
}

void queue_move_all(struct queue *queue, struct queue *to) {
    if (queue->first == NULL) {
        return;
    }
    if (to->last == NULL) {
        to->first = queue->first;
    } else {
        to->last->next = queue->first;
    }
    to->last = queue->last;
    to->bytes += queue->bytes;
    to->count += queue->count;
    queue_init(queue);
}

void queue_share(struct queue *queue, struct buffers *buffers, const struct queue *from, size_t size) {
    for (struct slice *slice = from->first; size > 0; slice = slice->next) {
        check(slice != NULL);
        struct slice *shared = slice_share(buffers, slice, slice->size < size ? slice->size : (uint32_t)size);
        if (shared->buffer->is_heap) {
            buffers->heap_bytes += shared->size;
        }
        queue_append(queue, shared);
        size -= shared->size;
    }
}

/* An empty slice of a new heap buffer with room for `size` bytes. */
static struct slice *slice_take_heap(struct buffers *buffers, size_t size) {
    size_t capacity = size < HEAP_MIN ? HEAP_MIN : size;
    struct buffer *heap = malloc(sizeof *heap + capacity);
    if (heap == NULL) {
        return NULL;
    }
    *heap = (struct buffer){.references = 1, .is_heap = true, .capacity = (uint32_t)capacity};
    struct slice *slice = slice_take(buffers);
    *slice = (struct slice){.buffer = heap, .start = heap_bytes(heap)};
    return slice;
}

static void slice_fill(struct slice *slice, struct buffers *buffers, const void *bytes, size_t size) {
    memcpy(slice->start + slice->size, bytes, size);
    slice->size += (uint32_t)size;
    buffers->heap_bytes += size;
}

/* How much can be written behind the last bytes: a heap buffer that no other slice shares may have room. A send that
 * reads the queue does not see it. */
static size_t queue_spare(const struct queue *queue) {
    const struct slice *last = queue->last;
    if (last == NULL || !last->buffer->is_heap || last->buffer->references > 1) {
        return 0;
    }
    return last->buffer->capacity - (size_t)(last->start + last->size - heap_bytes(last->buffer));
}

bool queue_append_copy(struct queue *queue, struct buffers *buffers, const void *bytes, size_t size) {
    if (size <= queue_spare(queue)) {
        slice_fill(queue->last, buffers, bytes, size);
        queue->bytes += (uint32_t)size;
        return true;
    }
    struct slice *slice = slice_take_heap(buffers, size);
    if (slice == NULL) {
        return false;
    }
    slice_fill(slice, buffers, bytes, size);
    queue_append(queue, slice);
    return true;
}

void queue_join(struct queue *queue, struct buffers *buffers, struct queue *to) {
    struct slice *first = queue->first;
    if (first != NULL && first->buffer->is_heap && first->size <= queue_spare(to)) {
        queue_append_copy(to, buffers, first->start, first->size);
        queue_drop_first(queue, buffers);
    }
    queue_move_all(queue, to);
}

static void queue_prepend(struct queue *queue, struct slice *slice) {
    slice->next = queue->first;
    queue->first = slice;
    queue->last = queue->last == NULL ? slice : queue->last;
    queue->bytes += slice->size;
    queue->count++;
}

bool queue_gather(struct queue *queue, struct buffers *buffers, size_t size) {
    if (queue->first == NULL || queue->first->size >= size || queue->count == 1) {
        return true;
    }
    size_t gathered = 0;
    for (struct slice *slice = queue->first; slice != NULL && gathered < size; slice = slice->next) {
        gathered += slice->size;
    }
    struct slice *whole = slice_take_heap(buffers, gathered);
    if (whole == NULL) {
        return false;
    }
    while (whole->size < gathered) {
        slice_fill(whole, buffers, queue->first->start, queue->first->size);
        queue_drop_first(queue, buffers);
    }
    queue_prepend(queue, whole);
    return true;
}

void queue_clear(struct queue *queue, struct buffers *buffers) {
    while (queue->first != NULL) {
        queue_drop_first(queue, buffers);
    }
}

size_t queue_message(const struct queue *queue, struct ring_message *message) {
    size_t bytes = 0;
    message->count = 0;
    for (struct slice *slice = queue->first; slice != NULL && message->count < RING_SEND_MAX; slice = slice->next) {
        message->iovecs[message->count++] = (struct iovec){.iov_base = slice->start, .iov_len = slice->size};
        bytes += slice->size;
    }
    return bytes;
}

static bool queue_is_settled(const struct queue *queue) {
    if (queue->count > FRAGMENTS_MAX && queue->bytes / queue->count < FRAGMENT_MIN) {
        return false;
    }
    const struct slice *slice = queue->first;
    while (slice != NULL && slice->buffer->is_heap) {
        slice = slice->next;
    }
    return slice == NULL;
}

/* Large heap slices in front stay. A small one is copied again, with what follows it: bytes that come one by one would
 * else cost an allocation each. */
static struct slice *queue_last_kept(const struct queue *queue) {
    struct slice *last = NULL;
    struct slice *slice = queue->first;
    for (; slice != NULL && slice->buffer->is_heap && slice->size >= EVACUATION_MIN; slice = slice->next) {
        last = slice;
    }
    return last;
}

bool queue_evacuate(struct queue *queue, struct buffers *buffers) {
    if (queue_is_settled(queue)) {
        return true;
    }
    struct slice *kept = queue_last_kept(queue);
    struct slice *from = kept == NULL ? queue->first : kept->next;
    size_t size = 0;
    for (struct slice *slice = from; slice != NULL; slice = slice->next) {
        size += slice->size;
    }
    struct slice *copy = slice_take_heap(buffers, size);
    if (copy == NULL) {
        return false;
    }
    struct queue ring_part = {.first = from, .last = queue->last, .bytes = (uint32_t)size, .count = 0};
    for (struct slice *slice = from; slice != NULL; slice = slice->next) {
        slice_fill(copy, buffers, slice->start, slice->size);
        ring_part.count++;
    }
    queue->last = kept;
    queue->first = kept == NULL ? NULL : queue->first;
    if (kept != NULL) {
        kept->next = NULL;
    }
    queue->bytes -= ring_part.bytes;
    queue->count -= ring_part.count;
    queue_clear(&ring_part, buffers);
    queue_append(queue, copy);
    buffers->evacuations++;
    return true;
}
