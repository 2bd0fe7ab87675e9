#include "engine/buffer.h"

#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A queue that receives from one end of a pair of sockets, as a flow does. */
struct relay {
    struct stage stage;
    struct buffers buffers;
    struct queue queue;
    struct op op;
    int sockets[2];    /* what is written to the first comes out of the second */
    uint64_t written;  /* bytes of the pattern */
    uint64_t received; /* into the queue */
    uint64_t consumed; /* from the queue */
};

static void relay_received(struct op *op, const struct completion *completion) {
    struct relay *relay = container_of(op, struct relay, op);
    if (completion->has_buffer) {
        queue_receive(&relay->queue, &relay->buffers, completion);
        relay->received += (uint64_t)completion->result;
    }
}

static void relay_open(struct relay *relay) {
    *relay = (struct relay){.written = 0};
    stage_open_plain(&relay->stage);
    cr_assert(buffers_init(&relay->buffers, relay->stage.ring, BUFFERS));
    queue_init(&relay->queue);
    op_init(&relay->op, &relay->stage.owner, relay_received);
    sockets_open_unix(relay->sockets);
}

/* Everything must have come back. */
static void relay_close(struct relay *relay) {
    queue_clear(&relay->queue, &relay->buffers);
    cr_assert_eq(ring_buffers_free(relay->stage.ring), BUFFERS);
    cr_assert_eq(buffers_in_use(&relay->buffers), 0);
    buffers_finish(&relay->buffers);
    stage_close(&relay->stage);
    sockets_close(relay->sockets);
}

/* Writes so many bytes and receives them in as few pieces as possible. */
static void relay_receive(struct relay *relay, size_t size) {
    socket_write(relay->sockets[0], relay->written, size);
    relay->written += size;
    while (relay->received < relay->written) {
        ring_recv(relay->stage.ring, &relay->op, relay->sockets[1], relay->written - relay->received);
        stage_wait(&relay->stage, !relay->op.in_flight);
    }
}

/* What lies in the queue must be what was received and not consumed, byte for byte; and its sums must be right. */
static void relay_expect_whole(const struct relay *relay) {
    uint64_t offset = relay->consumed;
    uint32_t count = 0;
    for (const struct slice *slice = relay->queue.first; slice != NULL; slice = slice->next) {
        expect_pattern(slice->start, slice->size, offset);
        offset += slice->size;
        count++;
        cr_assert_eq(slice->next == NULL, slice == relay->queue.last);
    }
    cr_assert_eq(offset, relay->received);
    cr_assert_eq(relay->queue.bytes, relay->received - relay->consumed);
    cr_assert_eq(relay->queue.count, count);
}

static void relay_consume(struct relay *relay, size_t size) {
    queue_consume(&relay->queue, &relay->buffers, size);
    relay->consumed += size;
    relay_expect_whole(relay);
}

/* --- receiving -----------------------------------------------------------------------------------------------------
 */

Test(buffer, a_queue_is_empty_at_first, .timeout = 10) {
    struct relay relay;
    struct ring_message message;
    relay_open(&relay);
    cr_assert_null(relay.queue.first);
    cr_assert_eq(relay.queue.bytes, 0);
    cr_assert_eq(queue_message(&relay.queue, &message), 0);
    cr_assert_eq(message.count, 0);
    relay_close(&relay);
}

Test(buffer, bytes_keep_their_order_over_several_receives, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    const size_t sizes[] = {1, 100, BUFFER_SIZE, 3, BUFFER_SIZE + 1, 2 * BUFFER_SIZE};
    for (size_t index = 0; index < sizeof(sizes) / sizeof(sizes[0]); index++) {
        relay_receive(&relay, sizes[index]);
        relay_expect_whole(&relay);
    }
    relay_close(&relay);
}

Test(buffer, one_receive_of_several_buffers_becomes_a_slice_for_each, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, 5 * BUFFER_SIZE + 10);
    relay_expect_whole(&relay);
    cr_assert_eq(relay.queue.count, 6);
    cr_assert_eq(relay.queue.last->size, 10);
    cr_assert_eq(buffers_in_use(&relay.buffers), 6);
    relay_close(&relay);
}

Test(buffer, clearing_a_queue_gives_back_every_buffer, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, BUFFERS * BUFFER_SIZE);
    cr_assert_eq(ring_buffers_free(relay.stage.ring), 0);
    queue_clear(&relay.queue, &relay.buffers);
    cr_assert_eq(ring_buffers_free(relay.stage.ring), BUFFERS);
    cr_assert_eq(relay.queue.bytes, 0);
    cr_assert_eq(relay.queue.count, 0);
    cr_assert_null(relay.queue.last);
    relay_close(&relay);
}

/* --- consuming -----------------------------------------------------------------------------------------------------
 */

Test(buffer, consuming_part_of_a_slice_keeps_its_buffer, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, 1000);
    relay_consume(&relay, 1);
    relay_consume(&relay, 998);
    cr_assert_eq(buffers_in_use(&relay.buffers), 1);
    relay_consume(&relay, 1);
    cr_assert_eq(buffers_in_use(&relay.buffers), 0);
    relay_close(&relay);
}

Test(buffer, consuming_across_slices_gives_back_those_that_are_done, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, 4 * BUFFER_SIZE);
    relay_consume(&relay, 2 * BUFFER_SIZE + 1);
    cr_assert_eq(buffers_in_use(&relay.buffers), 2);
    relay_consume(&relay, BUFFER_SIZE - 1);
    cr_assert_eq(buffers_in_use(&relay.buffers), 1);
    relay_consume(&relay, BUFFER_SIZE);
    cr_assert_null(relay.queue.first);
    cr_assert_null(relay.queue.last);
    relay_close(&relay);
}

Test(buffer, consuming_nothing_changes_nothing, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_consume(&relay, 0);
    relay_receive(&relay, 10);
    relay_consume(&relay, 0);
    cr_assert_eq(relay.queue.bytes, 10);
    relay_close(&relay);
}

Test(buffer, a_queue_that_was_emptied_receives_again, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    for (int round = 0; round < 5 * BUFFERS; round++) {
        relay_receive(&relay, 3000);
        relay_consume(&relay, 3000);
    }
    relay_close(&relay);
}

Test(buffer, aborts_when_more_is_consumed_than_there_is, .timeout = 10, .signal = SIGABRT) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, 10);
    queue_consume(&relay.queue, &relay.buffers, 11);
}

/* --- moving --------------------------------------------------------------------------------------------------------
 */

/* What lies in the other queue must be the `size` bytes before those of the relay's queue. */
static void relay_expect_moved(const struct relay *relay, const struct queue *to, size_t size) {
    uint64_t offset = relay->consumed - size;
    for (const struct slice *slice = to->first; slice != NULL; slice = slice->next) {
        expect_pattern(slice->start, slice->size, offset);
        offset += slice->size;
    }
    cr_assert_eq(offset, relay->consumed);
    cr_assert_eq(to->bytes, size);
}

static void relay_move(struct relay *relay, size_t size, struct queue *to) {
    queue_move(&relay->queue, &relay->buffers, size, to);
    relay->consumed += size;
    relay_expect_whole(relay);
}

Test(buffer, bytes_that_are_moved_to_another_queue_keep_their_order, .timeout = 10) {
    struct relay relay;
    struct queue to;
    relay_open(&relay);
    queue_init(&to);
    relay_receive(&relay, 3 * BUFFER_SIZE);
    relay_move(&relay, 0, &to);
    relay_expect_moved(&relay, &to, 0);
    relay_move(&relay, 100, &to);
    relay_move(&relay, BUFFER_SIZE, &to);
    relay_expect_moved(&relay, &to, BUFFER_SIZE + 100);
    relay_move(&relay, 2 * BUFFER_SIZE - 100, &to);
    relay_expect_moved(&relay, &to, 3 * BUFFER_SIZE);
    cr_assert_null(relay.queue.first);
    cr_assert_null(relay.queue.last);
    cr_assert_eq(buffers_in_use(&relay.buffers), 3);
    queue_clear(&to, &relay.buffers);
    relay_close(&relay);
}

Test(buffer, a_buffer_that_two_queues_share_goes_back_with_the_last_of_them, .timeout = 10) {
    for (int first = 0; first < 2; first++) {
        struct relay relay;
        struct queue to;
        relay_open(&relay);
        queue_init(&to);
        relay_receive(&relay, 1000);
        relay_move(&relay, 400, &to);
        cr_assert_eq(buffers_in_use(&relay.buffers), 1);
        queue_clear(first == 0 ? &to : &relay.queue, &relay.buffers);
        cr_assert_eq(buffers_in_use(&relay.buffers), 1);
        queue_clear(first == 0 ? &relay.queue : &to, &relay.buffers);
        cr_assert_eq(buffers_in_use(&relay.buffers), 0);
        relay_close(&relay);
    }
}

Test(buffer, an_evacuation_leaves_what_another_queue_shares, .timeout = 10) {
    struct relay relay;
    struct queue to;
    relay_open(&relay);
    queue_init(&to);
    relay_receive(&relay, 2 * BUFFER_SIZE);
    relay_move(&relay, 400, &to);
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    relay_expect_whole(&relay);
    relay_expect_moved(&relay, &to, 400);
    cr_assert_eq(buffers_in_use(&relay.buffers), 1);
    queue_clear(&to, &relay.buffers);
    relay_close(&relay);
}

Test(buffer, heap_bytes_are_counted_once_although_two_queues_share_them, .timeout = 10) {
    struct relay relay;
    struct queue to;
    relay_open(&relay);
    queue_init(&to);
    relay_receive(&relay, 1000);
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    relay_move(&relay, 400, &to);
    cr_assert_eq(relay.buffers.heap_bytes, 1000);
    relay_consume(&relay, 600);
    cr_assert_eq(relay.buffers.heap_bytes, 400);
    expect_pattern(to.first->start, to.first->size, 0);
    queue_clear(&to, &relay.buffers);
    cr_assert_eq(relay.buffers.heap_bytes, 0);
    relay_close(&relay);
}

/* --- messages ------------------------------------------------------------------------------------------------------
 */

Test(buffer, a_message_points_at_what_is_queued, .timeout = 10) {
    struct relay relay;
    struct ring_message message;
    relay_open(&relay);
    relay_receive(&relay, 2 * BUFFER_SIZE + 10);
    relay_consume(&relay, 100);
    cr_assert_eq(queue_message(&relay.queue, &message), 2 * BUFFER_SIZE - 90);
    cr_assert_eq(message.count, 3);
    uint64_t offset = 100;
    for (uint32_t index = 0; index < message.count; index++) {
        expect_pattern(message.iovecs[index].iov_base, message.iovecs[index].iov_len, offset);
        offset += message.iovecs[index].iov_len;
    }
    relay_close(&relay);
}

Test(buffer, a_message_holds_as_many_slices_as_fit, .timeout = 10) {
    const struct ring_options options = {
        .entries = 32, .completions = 256, .buffers_count = 128, .buffer_size = 64, .sqpoll_cpu = -1};
    struct relay relay;
    struct ring_message message;
    relay_open(&relay);
    stage_close(&relay.stage);
    buffers_finish(&relay.buffers);
    stage_open(&relay.stage, &options);
    cr_assert(buffers_init(&relay.buffers, relay.stage.ring, 128));
    op_init(&relay.op, &relay.stage.owner, relay_received);
    relay_receive(&relay, 100 * 64);
    relay_expect_whole(&relay);
    cr_assert_geq(relay.queue.count, 100);
    cr_assert_eq(queue_message(&relay.queue, &message), RING_SEND_MAX * 64);
    cr_assert_eq(message.count, RING_SEND_MAX);
    queue_clear(&relay.queue, &relay.buffers);
    buffers_finish(&relay.buffers);
    stage_close(&relay.stage);
}

/* --- evacuating ----------------------------------------------------------------------------------------------------
 */

Test(buffer, an_evacuation_keeps_the_bytes_and_gives_every_buffer_of_the_ring_back, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, 7 * BUFFER_SIZE + 123);
    relay_consume(&relay, 45);
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    relay_expect_whole(&relay);
    cr_assert_eq(relay.queue.count, 1);
    cr_assert_eq(ring_buffers_free(relay.stage.ring), BUFFERS);
    cr_assert_eq(relay.buffers.heap_bytes, relay.queue.bytes);
    cr_assert_eq(relay.buffers.evacuations, 1);
    relay_close(&relay);
    cr_assert_eq(relay.buffers.heap_bytes, 0);
}

Test(buffer, evacuated_bytes_stand_before_those_that_come_later, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    for (int round = 0; round < 4; round++) {
        relay_receive(&relay, BUFFER_SIZE + 7);
        cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
        relay_expect_whole(&relay);
        cr_assert_eq(ring_buffers_free(relay.stage.ring), BUFFERS);
    }
    relay_receive(&relay, 10);
    relay_expect_whole(&relay);
    cr_assert_eq(relay.queue.count, 5);
    cr_assert_eq(relay.buffers.heap_bytes, 4 * (BUFFER_SIZE + 7));
    relay_consume(&relay, 4 * (BUFFER_SIZE + 7) + 1);
    cr_assert_eq(relay.buffers.heap_bytes, 0);
    relay_close(&relay);
}

Test(buffer, an_evacuation_of_nothing_copies_nothing, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    relay_receive(&relay, 100);
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    const struct slice *copy = relay.queue.first;
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    cr_assert_eq(relay.queue.first, copy);
    cr_assert_eq(relay.buffers.evacuations, 1);
    relay_close(&relay);
}

Test(buffer, bytes_on_the_heap_are_counted_until_they_are_sent, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    relay_receive(&relay, 1000);
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    relay_receive(&relay, 1000);
    relay_consume(&relay, 400);
    cr_assert_eq(relay.buffers.heap_bytes, 600);
    relay_consume(&relay, 700);
    cr_assert_eq(relay.buffers.heap_bytes, 0);
    cr_assert_eq(relay.queue.bytes, 900);
    relay_close(&relay);
}

/* --- scarcity ------------------------------------------------------------------------------------------------------
 */

Test(buffer, buffers_are_scarce_when_fewer_than_a_quarter_is_free, .timeout = 10) {
    struct relay relay;
    relay_open(&relay);
    for (uint32_t used = 1; used <= BUFFERS; used++) {
        relay_receive(&relay, 1);
        cr_assert_eq(buffers_in_use(&relay.buffers), used);
        cr_assert_eq(buffers_are_scarce(&relay.buffers), BUFFERS - used < BUFFERS / 4, "%u used", used);
    }
    cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
    cr_assert_not(buffers_are_scarce(&relay.buffers));
    relay_expect_whole(&relay);
    relay_close(&relay);
}

/* --- everything at random ------------------------------------------------------------------------------------------
 */

Test(buffer, no_byte_and_no_buffer_is_lost_whatever_the_order, .timeout = 60) {
    struct relay relay;
    struct queue to;
    unsigned short seed[3] = {4, 5, 6};
    relay_open(&relay);
    queue_init(&to);
    for (int step = 0; step < 3000; step++) {
        long choice = nrand48(seed) % 16;
        uint32_t bytes_free = ring_buffers_free(relay.stage.ring) * BUFFER_SIZE;
        size_t part = (size_t)nrand48(seed) % (relay.queue.bytes + 1);
        if (choice < 8 && bytes_free > 0) {
            relay_receive(&relay, 1 + (size_t)nrand48(seed) % bytes_free);
        } else if (choice < 11) {
            relay_consume(&relay, part);
        } else if (choice < 13) {
            relay_move(&relay, part, &to);
            relay_expect_moved(&relay, &to, part);
            queue_clear(&to, &relay.buffers);
        } else {
            cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
            cr_assert_eq(ring_buffers_free(relay.stage.ring), BUFFERS);
        }
        relay_expect_whole(&relay);
    }
    relay_close(&relay);
}

/* --- pieces on the heap --------------------------------------------------------------------------------------------
 */

/* Buffers without a ring, and two queues. */
struct heap {
    struct buffers buffers;
    struct queue from;
    struct queue to;
};

static void heap_open(struct heap *heap) {
    cr_assert(buffers_init(&heap->buffers, NULL, 1));
    queue_init(&heap->from);
    queue_init(&heap->to);
}

/* Everything must have come back. */
static void heap_close(struct heap *heap) {
    queue_clear(&heap->from, &heap->buffers);
    queue_clear(&heap->to, &heap->buffers);
    buffers_finish(&heap->buffers);
}

/* Appends a slice of its own. */
static void heap_add(struct heap *heap, struct queue *queue, const char *text) {
    struct queue piece;
    queue_init(&piece);
    cr_assert(queue_append_copy(&piece, &heap->buffers, text, strlen(text)));
    queue_move_all(&piece, queue);
}

static void expect_text(const struct queue *queue, const char *text, uint32_t slices) {
    size_t at = 0;
    for (const struct slice *slice = queue->first; slice != NULL; slice = slice->next) {
        cr_assert_leq(at + slice->size, strlen(text));
        cr_assert_arr_eq(slice->start, text + at, slice->size);
        at += slice->size;
    }
    cr_assert_eq(at, strlen(text));
    cr_assert_eq(queue->bytes, at);
    cr_assert_eq(queue->count, slices);
}

Test(buffer, a_copy_is_independent_of_what_was_copied, .timeout = 10) {
    struct heap heap;
    char text[] = "abc";
    heap_open(&heap);
    cr_assert(queue_append_copy(&heap.from, &heap.buffers, text, 3));
    text[0] = '?';
    expect_text(&heap.from, "abc", 1);
    cr_assert_eq(heap.buffers.heap_bytes, 3);
    heap_close(&heap);
}

Test(buffer, small_copies_share_a_buffer, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    for (int i = 0; i < 100; i++) {
        cr_assert(queue_append_copy(&heap.from, &heap.buffers, "x", 1));
    }
    cr_assert_eq(heap.from.count, 1);
    cr_assert_eq(heap.from.bytes, 100);
    cr_assert_eq(heap.buffers.heap_bytes, 100);
    heap_close(&heap);
}

Test(buffer, a_copy_does_not_overwrite_what_another_slice_shares, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    cr_assert(queue_append_copy(&heap.from, &heap.buffers, "abcdef", 6));
    queue_move(&heap.from, &heap.buffers, 3, &heap.to);
    cr_assert(queue_append_copy(&heap.to, &heap.buffers, "!", 1));
    expect_text(&heap.to, "abc!", 2);
    expect_text(&heap.from, "def", 1);
    heap_close(&heap);
}

Test(buffer, small_pieces_join_those_that_were_copied_before, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    heap_add(&heap, &heap.to, "abc");
    heap_add(&heap, &heap.from, "def");
    queue_join(&heap.from, &heap.buffers, &heap.to);
    expect_text(&heap.to, "abcdef", 1);
    expect_text(&heap.from, "", 0);
    queue_join(&heap.from, &heap.buffers, &heap.to);
    expect_text(&heap.to, "abcdef", 1);
    heap_close(&heap);
}

Test(buffer, large_pieces_are_not_copied_to_join, .timeout = 10) {
    struct heap heap;
    static char large[1000];
    memset(large, 'x', sizeof(large) - 1);
    heap_open(&heap);
    heap_add(&heap, &heap.to, "abc");
    heap_add(&heap, &heap.from, large);
    const char *start = heap.from.first->start;
    queue_join(&heap.from, &heap.buffers, &heap.to);
    cr_assert_eq(heap.to.count, 2);
    cr_assert_eq(heap.to.last->start, start);
    heap_close(&heap);
}

Test(buffer, pieces_of_one_buffer_become_one_again_when_they_are_moved, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    heap_add(&heap, &heap.from, "abcdefghi");
    queue_move(&heap.from, &heap.buffers, 2, &heap.to);
    queue_move(&heap.from, &heap.buffers, 3, &heap.to);
    expect_text(&heap.to, "abcde", 1);
    queue_move(&heap.from, &heap.buffers, 4, &heap.to);
    expect_text(&heap.to, "abcdefghi", 1);
    expect_text(&heap.from, "", 0);
    cr_assert_eq(heap.to.first->buffer->references, 1);
    heap_close(&heap);
}

Test(buffer, pieces_with_something_in_between_stay_apart, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    heap_add(&heap, &heap.from, "abcdef");
    queue_move(&heap.from, &heap.buffers, 2, &heap.to);
    queue_consume(&heap.from, &heap.buffers, 1);
    queue_move(&heap.from, &heap.buffers, 3, &heap.to);
    expect_text(&heap.to, "abdef", 2);
    heap_close(&heap);
}

Test(buffer, what_is_shared_stays_where_it_is, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    heap_add(&heap, &heap.from, "abc");
    heap_add(&heap, &heap.from, "def");
    queue_share(&heap.to, &heap.buffers, &heap.from, 4);
    expect_text(&heap.from, "abcdef", 2);
    expect_text(&heap.to, "abcd", 2);
    cr_assert_eq(heap.from.first->buffer->references, 2);
    queue_clear(&heap.from, &heap.buffers);
    expect_text(&heap.to, "abcd", 2);
    heap_close(&heap);
}

Test(buffer, a_gathered_queue_begins_with_as_much_as_was_asked_for, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    heap_add(&heap, &heap.from, "abc");
    heap_add(&heap, &heap.from, "def");
    heap_add(&heap, &heap.from, "ghi");
    cr_assert(queue_gather(&heap.from, &heap.buffers, 3));
    expect_text(&heap.from, "abcdefghi", 3);
    cr_assert(queue_gather(&heap.from, &heap.buffers, 5));
    expect_text(&heap.from, "abcdefghi", 2);
    cr_assert_eq(heap.from.first->size, 6);
    cr_assert(queue_gather(&heap.from, &heap.buffers, 1000));
    expect_text(&heap.from, "abcdefghi", 1);
    cr_assert_eq(heap.buffers.heap_bytes, 9);
    heap_close(&heap);
}

Test(buffer, gathering_leaves_what_another_queue_shares, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    heap_add(&heap, &heap.from, "abc");
    heap_add(&heap, &heap.from, "def");
    queue_share(&heap.to, &heap.buffers, &heap.from, 6);
    cr_assert(queue_gather(&heap.from, &heap.buffers, 6));
    expect_text(&heap.from, "abcdef", 1);
    expect_text(&heap.to, "abcdef", 2);
    heap_close(&heap);
}

/* Else each byte that comes alone would cost an allocation, and each arrival a walk over all of them. */
Test(buffer, bytes_that_come_one_by_one_do_not_stay_apart, .timeout = 30) {
    struct relay relay;
    relay_open(&relay);
    for (int i = 0; i < 5000; i++) {
        relay_receive(&relay, 1);
        cr_assert(queue_evacuate(&relay.queue, &relay.buffers));
        cr_assert_leq(relay.queue.count, 2);
    }
    cr_assert_eq(relay.queue.bytes, 5000);
    relay_close(&relay);
}

Test(buffer, many_small_pieces_are_gathered_by_an_evacuation, .timeout = 10) {
    struct heap heap;
    heap_open(&heap);
    for (int i = 0; i < 16; i++) {
        heap_add(&heap, &heap.from, "x");
    }
    cr_assert(queue_evacuate(&heap.from, &heap.buffers));
    cr_assert_eq(heap.from.count, 16);
    heap_add(&heap, &heap.from, "x");
    cr_assert(queue_evacuate(&heap.from, &heap.buffers));
    expect_text(&heap.from, "xxxxxxxxxxxxxxxxx", 1);
    heap_close(&heap);
}
