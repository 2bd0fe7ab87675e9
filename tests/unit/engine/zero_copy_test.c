#include "engine/zero_copy.h"

#include "stage.h"
#include "tests/support/deadline.h"

#include <criterion/criterion.h>
#include <signal.h>

/* What a flow does with its zero-copy sends: the result frees the flow, the notification frees the bytes. */
struct sender {
    struct stage stage;
    struct buffers buffers;
    struct zero_copies all;
    struct queue queue;
    int from[2]; /* what is written to the first is received from the second */
    int to[2];
    struct op receive_op;
    int results[4]; /* of the completions of a send */
    uint32_t results_count;
    bool holds_back; /* does not close what has completed */
};

static void sender_received(struct op *op, const struct completion *completion) {
    struct sender *sender = container_of(op, struct sender, receive_op);
    if (completion->has_buffer) {
        queue_receive(&sender->queue, &sender->buffers, completion);
    }
}

static void sender_sent(struct op *op, const struct completion *completion) {
    struct zero_copy *zero_copy = container_of(op, struct zero_copy, op);
    struct sender *sender = container_of(zero_copy->all, struct sender, all);
    sender->results[sender->results_count++] = completion->result;
    if (zero_copy->flow != NULL) {
        zero_copy->flow = NULL;
        queue_move(&sender->queue, &sender->buffers, (size_t)completion->result, &zero_copy->queue);
    }
    if (!completion->more && !sender->holds_back) {
        zero_copy_close(zero_copy);
    }
}

static void sender_open(struct sender *sender) {
    *sender = (struct sender){.results_count = 0};
    stage_open_plain(&sender->stage);
    cr_assert(buffers_init(&sender->buffers, sender->stage.ring, BUFFERS));
    zero_copies_init(&sender->all, &sender->buffers, &sender->stage.released);
    queue_init(&sender->queue);
    op_init(&sender->receive_op, &sender->stage.owner, sender_received);
    sockets_open_tcp(sender->from);
    sockets_open_tcp(sender->to);
}

static void sender_close(struct sender *sender) {
    cr_assert_eq(ring_buffers_free(sender->stage.ring), BUFFERS);
    zero_copies_finish(&sender->all);
    buffers_finish(&sender->buffers);
    stage_close(&sender->stage);
}

static void sender_receive(struct sender *sender, uint32_t size) {
    socket_write(sender->from[0], 0, size);
    ring_recv(sender->stage.ring, &sender->receive_op, sender->from[1], size);
    stage_wait(&sender->stage, sender->queue.bytes == size && !sender->receive_op.in_flight);
}

static struct zero_copy *sender_send(struct sender *sender) {
    /* Nobody looks at the flow: that there is one says that the result has not come. */
    struct flow *flow = (struct flow *)(void *)sender;
    struct zero_copy *zero_copy = zero_copy_open(&sender->all, flow, sender_sent);
    cr_assert_not_null(zero_copy);
    cr_assert_eq(zero_copy->flow, flow);
    queue_message(&sender->queue, &zero_copy->message);
    ring_send(sender->stage.ring, &zero_copy->op, sender->to[0], &zero_copy->message, true);
    return zero_copy;
}

Test(zero_copy, gives_its_buffers_back_at_the_end_of_the_turn_in_which_the_kernel_let_go, .timeout = 10) {
    struct sender sender;
    sender_open(&sender);
    sender_receive(&sender, 2 * BUFFER_SIZE);
    struct zero_copy *zero_copy = sender_send(&sender);
    stage_wait(&sender.stage, !zero_copy->op.in_flight);
    cr_assert_eq(sender.results[0], 2 * BUFFER_SIZE);
    cr_assert_eq(sender.queue.bytes, 0, "the flow goes on with its next bytes");
    cr_assert_eq(ring_buffers_free(sender.stage.ring), BUFFERS - 2, "nobody frees now");
    cr_assert_not(list_is_empty(&sender.all.open));
    owners_release(&sender.stage.released);
    cr_assert_eq(ring_buffers_free(sender.stage.ring), BUFFERS);
    cr_assert(list_is_empty(&sender.all.open));
    socket_expect(sender.to[1], 0, 2 * BUFFER_SIZE);
    sender_close(&sender);
}

static bool sender_has_released(struct sender *sender) {
    owners_release(&sender->stage.released);
    return list_is_empty(&sender->all.open);
}

Test(zero_copy, several_may_be_open_at_once, .timeout = 10) {
    struct sender sender;
    sender_open(&sender);
    for (int round = 0; round < BUFFERS; round++) {
        sender_receive(&sender, BUFFER_SIZE / 2);
        sender.results_count = 0;
        struct zero_copy *zero_copy = sender_send(&sender);
        stage_wait(&sender.stage, zero_copy->flow == NULL);
        socket_expect(sender.to[1], 0, BUFFER_SIZE / 2);
        cr_assert_eq(sender.queue.bytes, 0);
    }
    stage_wait(&sender.stage, sender_has_released(&sender));
    sender_close(&sender);
}

Test(zero_copy, abandoning_gives_back_what_the_kernel_still_holds, .timeout = 10) {
    struct sender sender;
    sender_open(&sender);
    sender_receive(&sender, BUFFER_SIZE);
    sender.holds_back = true;
    struct zero_copy *zero_copy = sender_send(&sender);
    stage_wait(&sender.stage, !zero_copy->op.in_flight);
    owners_release(&sender.stage.released);
    cr_assert_eq(ring_buffers_free(sender.stage.ring), BUFFERS - 1);
    zero_copies_abandon(&sender.all);
    cr_assert(list_is_empty(&sender.all.open));
    cr_assert_eq(ring_buffers_free(sender.stage.ring), BUFFERS);
    sender_close(&sender);
}

Test(zero_copy, aborts_when_it_is_closed_before_its_flow_got_the_result, .timeout = 10, .signal = SIGABRT) {
    struct sender sender;
    sender_open(&sender);
    zero_copy_close(zero_copy_open(&sender.all, (struct flow *)(void *)&sender, sender_sent));
}
