#include "engine/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB_CHUNK = 64 * 1024 };

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

/* A slice of the first `size` bytes of the queue's first, which keeps the rest. */
static struct slice *queue_cut_first(struct queue *queue, struct buffers *buffers, uint32_t size) {
    struct slice *rest = queue->first;
    struct slice *cut = slice_take(buffers);
    *cut = (struct slice){.buffer = rest->buffer, .start = rest->start, .size = size};
    rest->buffer->references++;
    rest->start += size;
    rest->size -= size;
    queue->bytes -= size;
    return cut;
}

void queue_move(struct queue *queue, struct buffers *buffers, size_t size, struct queue *to) {
    check(size <= queue->bytes);
    while (size > 0) {
        bool whole = size >= queue->first->size;
        struct slice *slice = whole ? queue_take_first(queue) : queue_cut_first(queue, buffers, (uint32_t)size);
        size -= slice->size;
        queue_append(to, slice);
    }
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

/* Heap slices stand in front: an evacuation leaves nothing else behind, and receives append. */
static struct slice *queue_last_on_heap(const struct queue *queue) {
    struct slice *last = NULL;
    for (struct slice *slice = queue->first; slice != NULL && slice->buffer->is_heap; slice = slice->next) {
        last = slice;
    }
    return last;
}

bool queue_evacuate(struct queue *queue, struct buffers *buffers) {
    struct slice *kept = queue_last_on_heap(queue);
    struct slice *from = kept == NULL ? queue->first : kept->next;
    size_t size = 0;
    for (struct slice *slice = from; slice != NULL; slice = slice->next) {
        size += slice->size;
    }
    struct buffer *heap = size == 0 ? NULL : malloc(sizeof *heap + size);
    if (heap == NULL) {
        return size == 0;
    }
    *heap = (struct buffer){.references = 1, .is_heap = true};
    struct slice *copy = slice_take(buffers);
    *copy = (struct slice){.buffer = heap, .start = heap_bytes(heap)};
    struct queue ring_part = {.first = from, .last = queue->last, .bytes = (uint32_t)size, .count = 0};
    for (struct slice *slice = from; slice != NULL; slice = slice->next) {
        memcpy(copy->start + copy->size, slice->start, slice->size);
        copy->size += slice->size;
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
    buffers->heap_bytes += copy->size;
    buffers->evacuations++;
    return true;
}
