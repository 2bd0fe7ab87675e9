#include "engine/zero_copy.h"

enum { SLAB_CHUNK = 64 * 1024 };

void zero_copies_init(struct zero_copies *all, struct buffers *buffers, struct owner **released) {
    *all = (struct zero_copies){.buffers = buffers, .released = released};
    list_init(&all->open);
    slab_init(&all->slab, sizeof(struct zero_copy), SLAB_CHUNK);
}

static void zero_copy_free(struct zero_copy *zero_copy) {
    link_remove(&zero_copy->link);
    queue_clear(&zero_copy->queue, zero_copy->all->buffers);
    slab_give(&zero_copy->all->slab, zero_copy);
}

static void zero_copy_release(struct owner *owner) {
    zero_copy_free(container_of(owner, struct zero_copy, owner));
}

void zero_copies_abandon(struct zero_copies *all) {
    list_for_each (link, &all->open) {
        zero_copy_free(container_of(link, struct zero_copy, link));
    }
}

void zero_copies_finish(struct zero_copies *all) {
    slab_finish(&all->slab);
}

struct zero_copy *zero_copy_open(struct zero_copies *all, struct flow *flow, op_done_fn *done) {
    struct zero_copy *zero_copy = slab_take(&all->slab);
    if (zero_copy == NULL) {
        return NULL;
    }
    zero_copy->all = all;
    zero_copy->flow = flow;
    owner_init(&zero_copy->owner, all->released, zero_copy_release);
    op_init(&zero_copy->op, &zero_copy->owner, done);
    queue_init(&zero_copy->queue);
    link_init(&zero_copy->link);
    list_append(&all->open, &zero_copy->link);
    return zero_copy;
}

void zero_copy_close(struct zero_copy *zero_copy) {
    check(zero_copy->flow == NULL);
    owner_close(&zero_copy->owner);
}
