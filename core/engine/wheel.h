/* Timers of one thread: a hierarchical wheel of millisecond ticks. Setting and stopping cost a few instructions
 * however many timers there are. A timer never fires early; it fires at the first wheel_advance at or after its time.
 */
#ifndef MOONRING_ENGINE_WHEEL_H
#define MOONRING_ENGINE_WHEEL_H

#include "base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct timer;
typedef void timer_fired_fn(struct timer *timer);

struct timer {
    struct link link; /* in a slot while it is set */
    uint64_t due_ms;
    timer_fired_fn *fired;
};

/* Six levels of 64 slots: 2^36 ms, two years. What is due later waits in the last slot and is placed again. */
enum { WHEEL_LEVELS = 6, WHEEL_SLOTS = 64 };

struct wheel {
    uint64_t now_ms;                 /* the time that was advanced to */
    uint64_t occupied[WHEEL_LEVELS]; /* a bit for each slot that may hold a timer */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);

void timer_init(struct timer *timer, timer_fired_fn *fired);
bool timer_is_set(const struct timer *timer);

/* (Re)sets the timer. A time that has passed fires at the first advance to a later millisecond. */
void wheel_set(struct wheel *wheel, struct timer *timer, uint64_t due_ms);
/* Stopping a timer that is not set is harmless. */
void wheel_stop(struct timer *timer);

/* Fires what is due, each timer once; a fired timer is no longer set and may be set again, also for now: then it
 * fires at the next advance. */
void wheel_advance(struct wheel *wheel, uint64_t now_ms);

/* Milliseconds from wheel->now_ms until the wheel wants to be advanced, at most; UINT64_MAX when nothing is set. It may
 * be less than the time to the next timer (a slot of an upper level must be spread first), never more. */
uint64_t wheel_wait_ms(const struct wheel *wheel);

#endif
