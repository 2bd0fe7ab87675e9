/* One request that the kernel may hold, and the owner of the memory it points into.
 *
 * The rule that keeps this program safe: an op is embedded in its owner, the owner counts what the kernel still holds,
 * and memory goes back in one place only, after the last completion. */
#ifndef MOONRING_ENGINE_OP_H
#define MOONRING_ENGINE_OP_H

#include "base/check.h"
#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct op;
struct owner;

/* What a request came to. */
struct completion {
    int result;      /* bytes, a descriptor or 0; -errno when it failed */
    bool more;       /* the request lives on and will complete again */
    bool has_buffer; /* a receive took buffers: `buffer` is the first, the others follow (ring_buffer_after) */
    uint16_t buffer;
};

/* Runs on the ring's thread, never inside the call that started the op. */
typedef void op_done_fn(struct op *op, const struct completion *completion);
typedef void owner_release_fn(struct owner *owner);

struct op {
    op_done_fn *done;
    int32_t kept;           /* ring.c: what it needs to remember until the last completion */
    int16_t owner_distance; /* from its owner to it, in steps of 8 bytes: a session has six ops, and is kept small */
    uint8_t kind;           /* ring.c: enum op_kind, where a completion is not simply passed on */
    bool in_flight;         /* from the call that started it to its last completion */
};

struct owner {
    struct owner *next;      /* in *released */
    struct owner **released; /* the worker's: a chain of owners whose release is due at the end of the turn */
    owner_release_fn *release;
    uint32_t held; /* requests in flight that still point into the owner */
    bool closing;  /* nothing new may be started; released once held is 0 */
    bool due;      /* in *released */
};

enum { OWNER_STEP = 8 };

static inline struct owner *op_owner(const struct op *op) {
    return (struct owner *)((uintptr_t)op - (uintptr_t)((intptr_t)op->owner_distance * OWNER_STEP));
}

/* The op must lie near its owner: at most 256 KiB away. */
static inline void op_init(struct op *op, struct owner *owner, op_done_fn *done) {
    intptr_t distance = (intptr_t)((uintptr_t)op - (uintptr_t)owner);
    check(distance % OWNER_STEP == 0 && distance / OWNER_STEP >= INT16_MIN && distance / OWNER_STEP <= INT16_MAX);
    *op = (struct op){.done = done, .owner_distance = (int16_t)(distance / OWNER_STEP)};
}

static inline void owner_init(struct owner *owner, struct owner **released, owner_release_fn *release) {
    *owner = (struct owner){.released = released, .release = release};
}

/* Releases it at the end of the turn, if it is closing and nothing holds it any more. */
static inline void owner_settle(struct owner *owner) {
    if (owner->held == 0 && owner->closing && !owner->due) {
        owner->due = true;
        owner->next = *owner->released;
        *owner->released = owner;
    }
}

static inline void owner_hold(struct owner *owner) {
    check(!owner->closing || owner->held > 0); /* a released owner cannot be held again */
    owner->held++;
}

static inline void owner_drop(struct owner *owner) {
    check(owner->held > 0);
    owner->held--;
    owner_settle(owner);
}

/* Begins the end of an owner: it is released at the end of the turn in which nothing holds it any more. Once only. */
static inline void owner_close(struct owner *owner) {
    check(!owner->closing);
    owner->closing = true;
    owner_settle(owner);
}

/* Releases every owner whose release is due. The worker calls it at the end of its turn: nobody frees "now". */
static inline void owners_release(struct owner **released) {
    for (struct owner *owner = *released; owner != NULL; owner = *released) {
        check(owner->held == 0);
        *released = owner->next;
        owner->due = false;
        owner->release(owner);
    }
}

#endif
