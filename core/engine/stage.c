#include "engine/stage.h"

void stage_init(struct stage *stage) {
    *stage = (struct stage){.offset = 0};
    queue_init(&stage->input);
    queue_init(&stage->later);
    list_init(&stage->waits);
}

void stage_finish(struct stage *stage, struct buffers *buffers) {
    check(list_is_empty(&stage->waits));
    queue_clear(&stage->input, buffers);
    queue_clear(&stage->later, buffers);
}

uint32_t stage_wanted(const struct stage *stage) {
    uint32_t wanted = stage->need;
    for (struct link *link = stage->waits.head.next; link != &stage->waits.head; link = link->next) {
        const struct stage_wait *wait = container_of(link, struct stage_wait, link);
        wanted = !wait->for_room && wait->bytes > wanted ? wait->bytes : wanted;
    }
    return wanted;
}

void stage_came(struct stage *stage, uint64_t now_us) {
    stage->came_us = now_us;
    if (stage->fresh_us == 0) {
        stage->fresh_us = now_us;
    }
}

void stage_show(struct stage *stage, struct buffers *buffers, uint32_t size) {
    if (stage->input.first == NULL) {
        stage->shown = 0;
        return;
    }
    /* Without memory the view stays shorter; it grows with a later byte. */
    queue_gather(&stage->input, buffers, size);
    uint32_t whole = stage->input.first->size;
    if (stage->shown == 0 && stage->fresh_us != 0) {
        stage->held_us = stage->fresh_us;
    }
    if (whole > stage->shown) {
        stage->shown = whole;
        stage->fresh_us = stage->input.bytes > whole ? stage->came_us : 0; /* (or a little earlier) */
    }
}

void stage_clear(struct stage *stage, struct buffers *buffers) {
    queue_clear(&stage->input, buffers);
    stage->shown = 0;
}

static void stage_moved(struct stage *stage, uint32_t size) {
    stage->offset += size;
    stage->shown -= stage->shown < size ? stage->shown : size;
}

static uint32_t at_most(uint64_t size, uint32_t limit) {
    return size < limit ? (uint32_t)size : limit;
}

void stage_run_ahead(struct stage *stage, struct buffers *buffers, struct queue *out) {
    uint32_t passed = at_most(stage->pass_ahead, stage->input.bytes);
    queue_move(&stage->input, buffers, passed, out);
    stage->pass_ahead -= passed;
    uint32_t dropped = at_most(stage->drop_ahead, stage->input.bytes);
    queue_consume(&stage->input, buffers, dropped);
    stage->drop_ahead -= dropped;
    stage_moved(stage, passed + dropped);
    if (stage->pass_ahead == 0 && !stage->in_message) {
        queue_move_all(&stage->later, out);
    }
}

void stage_pass(struct stage *stage, struct buffers *buffers, uint64_t size, struct queue *out) {
    check(!stage_is_ahead(stage));
    uint32_t here = at_most(size, stage->shown);
    queue_move(&stage->input, buffers, here, out);
    stage->pass_ahead = size - here;
    stage_moved(stage, here);
}

void stage_drop(struct stage *stage, struct buffers *buffers, uint64_t size) {
    check(!stage_is_ahead(stage));
    uint32_t here = at_most(size, stage->shown);
    queue_consume(&stage->input, buffers, here);
    stage->drop_ahead = size - here;
    stage_moved(stage, here);
}

void stage_wait_init(struct stage_wait *wait, stage_wait_fn *satisfied) {
    *wait = (struct stage_wait){.satisfied = satisfied};
    link_init(&wait->link);
}

void stage_wait_stop(struct stage_wait *wait) {
    link_remove(&wait->link);
}
