#include "engine/op.h"

#include <criterion/criterion.h>
#include <signal.h>

/* An owner that counts how often it was released. */
struct thing {
    struct owner owner;
    int released_count;
};

static void thing_release(struct owner *owner) {
    container_of(owner, struct thing, owner)->released_count++;
}

/* Owners and the list that they are released from. */
struct turn {
    struct owner *released;
    struct thing first;
    struct thing second;
};

static void turn_init(struct turn *turn) {
    *turn = (struct turn){.first = {.released_count = 0}};
    turn->released = NULL;
    owner_init(&turn->first.owner, &turn->released, thing_release);
    owner_init(&turn->second.owner, &turn->released, thing_release);
}

Test(owner, is_not_released_while_it_is_open, .timeout = 10) {
    struct turn turn;
    turn_init(&turn);
    owner_hold(&turn.first.owner);
    owner_drop(&turn.first.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 0);
}

Test(owner, that_nothing_holds_is_released_at_the_end_of_the_turn_and_not_within_the_call, .timeout = 10) {
    struct turn turn;
    turn_init(&turn);
    owner_close(&turn.first.owner);
    cr_assert(turn.first.owner.closing);
    cr_assert_eq(turn.first.released_count, 0);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 1);
    cr_assert_null(turn.released);
}

Test(owner, is_released_once_after_the_last_of_what_holds_it, .timeout = 10) {
    struct turn turn;
    turn_init(&turn);
    owner_hold(&turn.first.owner);
    owner_hold(&turn.first.owner);
    owner_close(&turn.first.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 0);
    owner_drop(&turn.first.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 0);
    owner_drop(&turn.first.owner);
    cr_assert_eq(turn.first.released_count, 0, "a drop frees nothing now");
    owners_release(&turn.released);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 1);
}

Test(owner, that_closes_may_be_held_again_while_something_holds_it, .timeout = 10) {
    struct turn turn;
    turn_init(&turn);
    owner_hold(&turn.first.owner);
    owner_close(&turn.first.owner);
    owner_hold(&turn.first.owner);
    owner_drop(&turn.first.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 0);
    owner_drop(&turn.first.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 1);
}

Test(owner, others_are_released_in_the_same_turn, .timeout = 10) {
    struct turn turn;
    turn_init(&turn);
    owner_close(&turn.first.owner);
    owner_close(&turn.second.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 1);
    cr_assert_eq(turn.second.released_count, 1);
}

static struct owner *closed_by_release;

static void release_closing_another(struct owner *owner) {
    thing_release(owner);
    owner_close(closed_by_release);
}

Test(owner, that_a_release_closes_is_released_in_the_same_turn, .timeout = 10) {
    struct turn turn;
    turn_init(&turn);
    closed_by_release = &turn.second.owner;
    turn.first.owner.release = release_closing_another;
    owner_close(&turn.first.owner);
    owners_release(&turn.released);
    cr_assert_eq(turn.first.released_count, 1);
    cr_assert_eq(turn.second.released_count, 1);
}

Test(owner, aborts_when_it_is_closed_twice, .timeout = 10, .signal = SIGABRT) {
    struct turn turn;
    turn_init(&turn);
    owner_close(&turn.first.owner);
    owner_close(&turn.first.owner);
}

Test(owner, aborts_when_it_is_dropped_more_often_than_held, .timeout = 10, .signal = SIGABRT) {
    struct turn turn;
    turn_init(&turn);
    owner_drop(&turn.first.owner);
}

Test(owner, aborts_when_it_is_held_again_although_its_release_is_due, .timeout = 10, .signal = SIGABRT) {
    struct turn turn;
    turn_init(&turn);
    owner_close(&turn.first.owner);
    owner_hold(&turn.first.owner);
}

static void done_nothing(struct op *op, const struct completion *completion) {
    (void)op;
    (void)completion;
}

Test(op, begins_with_nothing_in_flight, .timeout = 10) {
    struct turn turn;
    struct op op = {.in_flight = true, .kind = 7};
    turn_init(&turn);
    op_init(&op, &turn.first.owner, done_nothing);
    cr_assert_not(op.in_flight);
    cr_assert_eq(op_owner(&op), &turn.first.owner);
    cr_assert_eq(op.done, done_nothing);
    cr_assert_eq(turn.first.owner.held, 0);
}
