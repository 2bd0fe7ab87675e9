/* Received bytes on their way: buffers, slices of them, queues of slices, and who waits for a free buffer.
 *
 * A buffer of the receive ring is shared by the whole worker and scarce. It is held only by bytes that are about to be
 * sent. A flow whose receiver is slow (blocked) keeps its bytes where they are as long as there are enough buffers;
 * when they become few its queue is copied to the heap, so that slow receivers cannot starve the others. */
#ifndef MOONRING_ENGINE_BUFFER_H
#define MOONRING_ENGINE_BUFFER_H

#include "base/list.h"
#include "base/slab.h"
#include "engine/ring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A run of bytes that slices point into. */
struct buffer {
    uint32_t references; /* slices that point here; 0 gives the memory back */
    uint32_t capacity;   /* of a heap buffer */
    uint16_t ring_id;
    bool is_heap; /* the bytes follow this struct, from malloc; else they belong to the receive ring */
};

struct slice {
    struct slice *next;
    struct buffer *buffer; /* holds one reference */
    char *start;
    uint32_t size;
};

/* First in, first out. */
struct queue {
    struct slice *first;
    struct slice *last;
    uint32_t bytes;
    uint32_t count;
};

/* All buffers of one worker. */
struct buffers {
    struct ring *ring;
    uint32_t count;
    struct buffer *of_ring; /* ours: one for each buffer of the ring, by its id */
    struct slab slices;
    struct slab messages; /* struct ring_message */
    struct list starved;  /* flows that found no buffer, the longest waiting first */
    struct list blocked;  /* flows whose queues could move to the heap */
    uint64_t heap_bytes;
    uint64_t evacuations; /* queues copied to the heap */
};

/* False when memory is short. */
bool buffers_init(struct buffers *buffers, struct ring *ring, uint32_t count);
/* Every slice must have been given back. */
void buffers_finish(struct buffers *buffers);
/* Few enough are free that blocked flows should move their bytes to the heap. */
bool buffers_are_scarce(const struct buffers *buffers);
uint32_t buffers_in_use(const struct buffers *buffers);

void queue_init(struct queue *queue);
/* Appends what a receive brought; the queue owns it from then on. */
void queue_receive(struct queue *queue, struct buffers *buffers, const struct completion *completion);
/* Drops the first `size` bytes: they were sent. */
void queue_consume(struct queue *queue, struct buffers *buffers, size_t size);
/* Moves the first `size` bytes to the end of another queue. A buffer that is cut is shared by both. */
void queue_move(struct queue *queue, struct buffers *buffers, size_t size, struct queue *to);
/* Moves everything to the end of another queue. */
void queue_move_all(struct queue *queue, struct queue *to);
/* The same; a few bytes that were copied before join others that were. */
void queue_join(struct queue *queue, struct buffers *buffers, struct queue *to);
/* Appends slices of the first `size` bytes of `from` without taking them out. */
void queue_share(struct queue *queue, struct buffers *buffers, const struct queue *from, size_t size);
/* Appends a copy of the bytes, on the heap. False when memory is short: the queue is as it was. */
bool queue_append_copy(struct queue *queue, struct buffers *buffers, const void *bytes, size_t size);
/* Makes the first slice at least `size` bytes (or all there are), by copying whole slices to the heap. False when
 * memory is short: the queue is as it was. */
bool queue_gather(struct queue *queue, struct buffers *buffers, size_t size);
void queue_clear(struct queue *queue, struct buffers *buffers);
/* Fills the message with the first slices, as many as fit. Returns their bytes. */
size_t queue_message(const struct queue *queue, struct ring_message *message);
/* Copies what lies in buffers of the ring to one heap buffer and gives them back; and pieces that have become many and
 * small. Nothing may be reading the queue. False when memory is short: the queue is as it was. */
bool queue_evacuate(struct queue *queue, struct buffers *buffers);

#endif
