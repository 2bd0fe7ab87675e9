#include "event.h"

#include "base/check.h"

#include <stdlib.h>

void schedule_init(struct schedule *schedule) {
    *schedule = (struct schedule){.capacity = 256};
    schedule->events = malloc(schedule->capacity * sizeof(schedule->events[0]));
    check(schedule->events != NULL);
}

void schedule_finish(struct schedule *schedule) {
    free(schedule->events);
}

static bool event_is_before(const struct event *a, const struct event *b) {
    return a->time_ns < b->time_ns || (a->time_ns == b->time_ns && a->order < b->order);
}

static void schedule_put(struct schedule *schedule, size_t place, struct event *event) {
    schedule->events[place] = event;
    event->place = place;
}

static void schedule_rise(struct schedule *schedule, struct event *event) {
    size_t place = event->place;
    for (; place > 1 && event_is_before(event, schedule->events[place / 2]); place /= 2) {
        schedule_put(schedule, place, schedule->events[place / 2]);
    }
    schedule_put(schedule, place, event);
}

static void schedule_sink(struct schedule *schedule, struct event *event) {
    size_t place = event->place;
    for (size_t child = 2 * place; child <= schedule->count; child = 2 * place) {
        if (child < schedule->count && event_is_before(schedule->events[child + 1], schedule->events[child])) {
            child++;
        }
        if (!event_is_before(schedule->events[child], event)) {
            break;
        }
        schedule_put(schedule, place, schedule->events[child]);
        place = child;
    }
    schedule_put(schedule, place, event);
}

void schedule_set(struct schedule *schedule, struct event *event, uint64_t time_ns, uint64_t order) {
    if (!event_is_set(event)) {
        if (schedule->count + 1 == schedule->capacity) {
            schedule->capacity *= 2;
            schedule->events = realloc(schedule->events, schedule->capacity * sizeof(schedule->events[0]));
            check(schedule->events != NULL);
        }
        schedule_put(schedule, ++schedule->count, event);
    }
    event->time_ns = time_ns;
    event->order = order;
    schedule_rise(schedule, event);
    schedule_sink(schedule, event);
}

void schedule_clear(struct schedule *schedule, struct event *event) {
    if (!event_is_set(event)) {
        return;
    }
    struct event *last = schedule->events[schedule->count--];
    if (last != event) {
        schedule_put(schedule, event->place, last);
        schedule_rise(schedule, last);
        schedule_sink(schedule, last);
    }
    event->place = 0;
}

struct event *schedule_first(const struct schedule *schedule) {
    return schedule->count == 0 ? NULL : schedule->events[1];
}
