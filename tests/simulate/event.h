/* What will happen in the world and when: a heap of events by virtual time. Events of one instant come in random
 * order. An event lies in the object that it is about. */
#ifndef MOONRING_SIMULATE_EVENT_H
#define MOONRING_SIMULATE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
typedef void event_fire_fn(struct event *event);

struct event {
    event_fire_fn *fire;
    uint64_t time_ns;
    uint64_t order; /* among events of one instant */
    size_t place;   /* in the heap, from 1; 0: not set */
};

struct schedule {
    struct event **events; /* ours; events[1] comes first */
    size_t count;
    size_t capacity;
};

void schedule_init(struct schedule *schedule);
void schedule_finish(struct schedule *schedule);
/* Sets an event, or moves one that is set. */
void schedule_set(struct schedule *schedule, struct event *event, uint64_t time_ns, uint64_t order);
/* Takes an event out; nothing when it is not set. */
void schedule_clear(struct schedule *schedule, struct event *event);
/* The next one, or NULL. */
struct event *schedule_first(const struct schedule *schedule);

static inline void event_init(struct event *event, event_fire_fn *fire) {
    *event = (struct event){.fire = fire};
}

static inline bool event_is_set(const struct event *event) {
    return event->place > 0;
}

#endif
