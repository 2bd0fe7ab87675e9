#include "engine/wheel.h"

#include "base/check.h"

enum { SLOT_BITS = 6, SLOT_MASK = WHEEL_SLOTS - 1 };

static uint64_t level_shift(unsigned level) {
    return (uint64_t)level * SLOT_BITS;
}

void wheel_init(struct wheel *wheel, uint64_t now_ms) {
    wheel->now_ms = now_ms;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
}

void timer_init(struct timer *timer, timer_fired_fn *fired) {
    *timer = (struct timer){.fired = fired};
    link_init(&timer->link);
}

bool timer_is_set(const struct timer *timer) {
    return link_is_in_list(&timer->link);
}

/* The level is where `due` first differs from `now`: all slots above are the current ones. */
static unsigned level_of(uint64_t now_ms, uint64_t due_ms) {
    uint64_t difference = now_ms ^ due_ms;
    if (difference == 0) {
        return 0;
    }
    unsigned level = (63U - (unsigned)__builtin_clzll(difference)) / SLOT_BITS;
    return level < WHEEL_LEVELS ? level : WHEEL_LEVELS - 1;
}

static void wheel_place(struct wheel *wheel, struct timer *timer) {
    uint64_t due_ms = timer->due_ms > wheel->now_ms ? timer->due_ms : wheel->now_ms + 1;
    unsigned level = level_of(wheel->now_ms, due_ms);
    uint64_t current = wheel->now_ms >> level_shift(level);
    uint64_t ahead = (due_ms >> level_shift(level)) - current;
    /* Beyond the horizon: the slot just behind the current one comes round last. */
    unsigned slot = (unsigned)(current + (ahead < WHEEL_SLOTS ? ahead : WHEEL_SLOTS - 1)) & SLOT_MASK;
    wheel->occupied[level] |= UINT64_C(1) << slot;
    list_append(&wheel->slots[level][slot], &timer->link);
}

void wheel_set(struct wheel *wheel, struct timer *timer, uint64_t due_ms) {
    link_remove(&timer->link);
    timer->due_ms = due_ms;
    wheel_place(wheel, timer);
}

void wheel_stop(struct timer *timer) {
    link_remove(&timer->link);
}

/* Moves a slot's timers to `due`. The slot's bit is cleared: wheel_stop leaves bits of empty slots behind. */
static void slot_take(struct wheel *wheel, unsigned level, unsigned slot, struct list *due) {
    wheel->occupied[level] &= ~(UINT64_C(1) << slot);
    for (struct link *link = list_pop(&wheel->slots[level][slot]); link != NULL;
         link = list_pop(&wheel->slots[level][slot])) {
        list_append(due, link);
    }
}

/* now_ms has just entered new slots on every level up to the first whose digits below are not all zero: what lies
 * there is spread over the levels below, or is due. */
static void wheel_enter(struct wheel *wheel, struct list *due) {
    slot_take(wheel, 0, (unsigned)wheel->now_ms & SLOT_MASK, due);
    for (unsigned level = 1; level < WHEEL_LEVELS; level++) {
        if ((wheel->now_ms & ((UINT64_C(1) << level_shift(level)) - 1)) != 0) {
            return;
        }
        struct list spread;
        list_init(&spread);
        slot_take(wheel, level, (unsigned)(wheel->now_ms >> level_shift(level)) & SLOT_MASK, &spread);
        for (struct link *link = list_pop(&spread); link != NULL; link = list_pop(&spread)) {
            struct timer *timer = container_of(link, struct timer, link);
            if (timer->due_ms <= wheel->now_ms) {
                list_append(due, link);
            } else {
                wheel_place(wheel, timer);
            }
        }
    }
}

uint64_t wheel_wait_ms(const struct wheel *wheel) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0) {
            continue;
        }
        /* The distance, in slots of this level, to the next occupied one: 1 to 64. */
        unsigned current = (unsigned)(wheel->now_ms >> level_shift(level)) & SLOT_MASK;
        unsigned first = (current + 1) & SLOT_MASK;
        uint64_t turned = (wheel->occupied[level] >> first) | (wheel->occupied[level] << ((64 - first) & SLOT_MASK));
        uint64_t slots = (uint64_t)__builtin_ctzll(turned) + 1;
        uint64_t next_ms = ((wheel->now_ms >> level_shift(level)) + slots) << level_shift(level);
        return next_ms - wheel->now_ms;
    }
    return UINT64_MAX;
}

void wheel_advance(struct wheel *wheel, uint64_t now_ms) {
    struct list due;
    list_init(&due);
    while (wheel->now_ms < now_ms) {
        uint64_t wait_ms = wheel_wait_ms(wheel);
        if (wait_ms > now_ms - wheel->now_ms) {
            wheel->now_ms = now_ms; /* nothing lies on the way, and no level's slot with timers is entered */
            break;
        }
        wheel->now_ms += wait_ms;
        wheel_enter(wheel, &due);
    }
    for (struct link *link = list_pop(&due); link != NULL; link = list_pop(&due)) {
        struct timer *timer = container_of(link, struct timer, link);
        timer->fired(timer);
    }
}
